//! Side conditions that do not hold: one line each, with the place, a class and a sentence. Trusted; `spec/rules/`, the
//! side conditions of each section.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::number::Rational;

/// What a condition that does not hold says about the files, and with it the exit code of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Something is not what its format says: exit code 2.
    Malformed,
    /// What is put forward as evidence proves less than is claimed: exit code 3.
    Evidence,
    /// Larger or finer than the checker computes with, which says nothing about the claim: exit code 4.
    Limit,
}

/// A condition's stable name in kebab case.
pub type Code = String;

/// `HighLow` as `high-low`: how the name of a condition becomes its code.
pub fn kebab(name: &str) -> Code {
    let mut code = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !code.is_empty() {
            code.push('-');
        }
        code.push(letter.to_ascii_lowercase());
    }
    code
}

/// A list of conditions, a line each: `Name { fields } => Class, "sentence with {fields}";`. Makes the enum, its
/// `Display`, and `own_code` and `own_class`: the name in kebab case, which tests and sidecars refer to, and the class.
#[macro_export]
macro_rules! conditions {
    ($(#[$outer:meta])* pub enum $list:ident {
        $($name:ident $({ $($field:ident: $kind:ty),+ })? => $class:ident, $sentence:literal;)+
    }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs)] // the sentence says what each is
        pub enum $list {
            $(#[doc = $sentence] $name $({ $($field: $kind),+ })?,)+
        }

        impl $list {
            /// The name of this condition in kebab case.
            fn own_code(&self) -> $crate::fault::Code {
                $crate::fault::kebab(match self {
                    $(Self::$name $({ $($field: _),+ })? => stringify!($name),)+
                })
            }

            /// The class of this condition.
            fn own_class(&self) -> $crate::fault::Class {
                match self {
                    $(Self::$name $({ $($field: _),+ })? => $crate::fault::Class::$class,)+
                }
            }
        }

        impl core::fmt::Display for $list {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$name $({ $($field),+ })? => write!(f, $sentence),)+
                }
            }
        }

        impl core::error::Error for $list {}
    };
}

/// Where something was found, outermost first in messages; numbers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words of `Display` say what each is
pub enum Place {
    Case(usize),
    Family(&'static str),
    Mask(usize),
    Node(usize),
    Region(usize),
    State(usize),
    Tree(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Case(case) => write!(f, "case {case}"),
            Self::Family(name) => f.write_str(name),
            Self::Mask(mask) => write!(f, "mask {mask}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Region(region) => write!(f, "region {region}"),
            Self::State(state) => write!(f, "state {state}"),
            Self::Tree(tree) => write!(f, "split tree {tree} of the witness file"),
        }
    }
}

conditions! {
    /// A side condition of a rule that does not hold. Indices count from 0.
    pub enum Fault {
        At { place: Place, fault: Box<Fault> } => Limit, "{place}: {fault}";

        // Numbers that leave the range in which a rule computes.
        ExpArgumentTooLarge => Limit, "the argument of exp is too large";
        LogarithmBelowOne => Malformed, "logarithm of a number below 1";
        SqrtOfNegative => Malformed, "square root of a negative number";
        NegativeDistance => Malformed, "a distance between means is negative";
        TanhTable { index: u64 } => Limit, "entry {index} of the table of tanh is not known to one unit";
        ZeroDenominator => Malformed, "division by zero";
        MagnitudeTooLarge { layer: usize } => Limit, "magnitudes at layer {layer} are too large for the integer grid";
        Overflow { layer: usize } => Limit, "a bound left the integer grid at layer {layer}";
        EmptyInterval { layer: usize, neuron: usize } => Limit, "the interval of layer {layer}, neuron {neuron} is empty";

        // Networks, masks and perturbations.
        EmptyNetwork => Malformed, "the network has no layers";
        LayerShape { layer: usize } => Malformed, "layer {layer} does not fit its shape or the layer before it";
        ShapeMismatch { layer: usize } => Malformed, "lengths disagree at layer {layer}";
        MaskLayers { expected: usize, found: usize } => Malformed, "the mask has {found} layers, the network {expected}";
        MaskShape { layer: usize, expected: usize, found: usize } => Malformed,
            "the mask of layer {layer} has {found} entries, the weight {expected}";
        MaskDoesNotFit { step: usize, layer: usize } => Evidence, "mask {step} does not fit the weight of layer {layer}";
        NotNested { step: usize, layer: usize, row: usize, column: usize } => Evidence,
            "mask {step} keeps the weight at row {row}, column {column} of layer {layer}, which the mask before it pruned";
        BandNotNested { layer: usize, weight: usize } => Malformed,
            "a band's tightest mask keeps weight {weight} of layer {layer}, its loosest does not";
        NoBand => Malformed, "a band ends at a mask that is not in the list";
        OtherScope { family: &'static str } => Malformed, "the family {family} is evaluated elsewhere";
        RadiiLength { expected: usize, found: usize } => Malformed, "{found} radii for {expected} inputs";
        NegativeRadius { coordinate: usize } => Malformed, "the radius of input {coordinate} is negative";
        NegativeOffset { offset: usize } => Malformed, "the radius of shared offset {offset} is negative";
        OffsetTwice { coordinate: usize } => Malformed, "input {coordinate} is of two shared offsets, or twice of one";
        EmptyLimits { coordinate: usize } => Malformed, "the limits of input {coordinate} are empty or given twice";
        NoSuchInput { coordinate: usize } => Malformed, "there is no input {coordinate} to shift or to limit";
        OutsideLimits { coordinate: usize } => Evidence, "input {coordinate} of the state is outside its limits";
        StdNotPositive { coordinate: usize } => Malformed, "the normaliser's std is not positive in coordinate {coordinate}";
        TooManyInputs { inputs: usize } => Limit, "{inputs} inputs are more than bounds by parabolas are made for";
        ParameterTooLong { layer: usize } => Limit, "the activation of layer {layer} has a parameter with more than 30 bits";
        ParameterOutOfRange { layer: usize } => Malformed, "the activation of layer {layer} has a parameter out of range";
        NotBinary32 { layer: usize } => Limit, "a weight or bias of layer {layer} is no binary32 number";
        ActivationInBinary32 { layer: usize } => Limit,
            "the activation of layer {layer} is elu or silu, for which no family bounds binary32's rounding errors";
        TooWideForBinary32 { layer: usize } => Limit,
            "layer {layer} is too wide for the bounds on binary32's rounding errors";

        // Heads.
        HeadShape => Malformed, "a deviation has another length than the head";
        StandardDeviation { output: usize } => Limit, "the standard deviation of output {output} is too large or too small";
        NoDistribution => Malformed, "a deterministic head has no total variation or divergence";

        // Witnesses of norm products.
        WitnessCount { expected: usize, found: usize } => Evidence,
            "the witness has {found} parts where {expected} are needed";
        WitnessLength { layer: usize, expected: usize, found: usize } => Evidence,
            "the witness of layer {layer} has {found} entries where {expected} are needed";
        WitnessNotPositive { layer: usize, coordinate: usize } => Evidence,
            "entry {coordinate} of the witness of layer {layer} is not positive";
        WitnessTooLong { layer: usize } => Evidence, "the witness of layer {layer} has an entry with too many bits";
        MissingWitness { mask: usize } => Evidence, "mask {mask} has no witness and no earlier one to use";

        // Slopes, multipliers and split trees.
        SlopesMissing { mask: usize } => Evidence,
            "the witness file has no table of slopes of the right shape for mask {mask}";
        SlopeOutOfRange { layer: usize, neuron: usize } => Evidence,
            "the slope of layer {layer}, neuron {neuron} is outside [-1, 1], of silu [-9/8, 9/8]";
        NegativeMultiplier { layer: usize, neuron: usize } => Evidence,
            "the multiplier of layer {layer}, neuron {neuron} is negative";
        UnfoundedMultiplier { layer: usize, neuron: usize } => Evidence,
            "the multiplier of layer {layer}, neuron {neuron} has no constraint that holds";
        WitnessTooLarge { layer: usize } => Evidence,
            "a leaf's slopes and multipliers drive its bound out of range at layer {layer}";
        TreesMissing { mask: usize } => Evidence, "the witness file has no readable split trees for mask {mask}";
        TreeTruncated => Evidence, "it ends early";
        TreeTrailing => Evidence, "it is followed by bytes of no tree";
        UnknownNode => Evidence, "it has a node of no known kind";
        TooManyNodes => Limit, "it has too many nodes";
        TooDeep => Limit, "it is too deep";
        CutAtNoNumber => Evidence, "it cuts an input at no number";
        SlopesOutOfOrder => Evidence, "it lists slopes out of order";
        NoTree => Evidence, "it is no tree";
        CaseShape => Evidence, "a case does not fit the network";
        CasesApart => Evidence, "a tree stands for cases of different boxes, or for none";
        StackDepth { network: usize } => Evidence, "network {network} has another number of layers than the first";
        StackActivation { network: usize, layer: usize } => Evidence,
            "network {network} has another activation at layer {layer} than the first";
        StackReads { network: usize } => Evidence,
            "the inputs of network {network} do not read one variable each, every one another";
        StackUnread { variable: usize } => Evidence, "no network reads variable {variable}";
        StackNormaliser { variable: usize } => Evidence,
            "variable {variable} is read behind another normaliser than the rest";
        StackObserved => Evidence, "constraints on inputs are not read behind a normaliser";
        StackCarried { layer: usize } => Evidence,
            "constraints on inputs need ReLU layers and a last one without activation; layer {layer} is neither";
        BadChild { node: usize } => Evidence, "node {node}: a child is missing, comes before it or has two parents";
        Orphan { node: usize } => Evidence, "node {node} has no parent";
        CutOutside { node: usize } => Evidence, "node {node} cuts an input outside its interval";
        NoSuchPlace { node: usize } => Evidence, "node {node} names a place that does not exist or is split already";
        NegativeFactor { node: usize, constraint: usize } => Evidence,
            "leaf {node}: the multiplier of constraint {constraint} is negative";
        NotProved { node: usize, least: Box<Rational>, bound: Box<Rational> } => Evidence,
            "leaf {node}: the constraint's least value is only proved to be {least}, not above {bound}";
        NothingKept { node: usize } => Evidence, "leaf {node}: no bounds of the whole box were kept that it could go on from";
        SlopesInCell { node: usize } => Evidence, "leaf {node}: a cell has no slopes of its own";
        NotEmpty { node: usize } => Evidence, "leaf {node}: the region is not shown to be empty";

        // Points.
        PointShape => Evidence, "the point has another width than the policy's input";
        PointTooFar { coordinate: usize } => Evidence,
            "coordinate {coordinate} of the point is farther from the state than the radius";
        PointOutsideBall => Evidence, "the point is farther from the state than the radius";
        PointOutside { coordinate: usize } => Evidence, "the point leaves the box at input {coordinate}";
        PointFails { constraint: usize } => Evidence, "the point is not shown to satisfy constraint {constraint}";

        // Regret and statistics.
        DiscountOutOfRange { discount: Box<Rational> } => Evidence, "the discount {discount} is not in [0, 1)";
        SupNotAProbability { value: Box<Rational> } => Evidence,
            "the bound on the supremum of the total variation is {value}, not in [0, 1]";
        MeanNotAProbability { value: Box<Rational> } => Evidence,
            "the bound on the expected total variation is {value}, not in [0, 1]";
        EmptyRewardRange { lower: Box<Rational>, upper: Box<Rational> } => Evidence,
            "the reward range is empty: its lower end {lower} exceeds its upper end {upper}";
        HorizonOutOfRange { horizon: u32, most: u32 } => Evidence, "the horizon {horizon} is not in 1..={most}";
        TooFewSamples { samples: usize, needed: usize } => Evidence, "{samples} samples, at least {needed} needed";
        TooManySamples { samples: usize, most: usize } => Evidence, "{samples} samples, at most {most} accepted";
        NegativeSample { index: usize } => Evidence,
            "the upper bound of sample {index} is negative, which no total variation is";
        ConfidenceOutOfRange { confidence: Box<Rational> } => Evidence,
            "the confidence {confidence} is not strictly between 0 and 1";
        EmptySplit => Evidence, "the confidence is split over no mask or no inequality";
    }
}

impl Fault {
    /// The same fault, found at `place`.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self::At { place, fault: Box::new(self) }
    }

    /// The condition itself, without the places where it was found.
    pub fn condition(&self) -> &Self {
        let mut inner = self;
        while let Self::At { fault, .. } = inner {
            inner = fault;
        }
        inner
    }

    /// The condition's stable code, for sidecars, tests and JSON.
    pub fn code(&self) -> Code {
        self.condition().own_code()
    }

    /// The condition's class.
    pub fn class(&self) -> Class {
        self.condition().own_class()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn codes_sentences_and_classes_are_those_of_the_condition_wherever_it_was_found() {
        let fault = Fault::NegativeMultiplier { layer: 1, neuron: 2 };
        assert_eq!(fault.code(), "negative-multiplier");
        assert_eq!(fault.to_string(), "the multiplier of layer 1, neuron 2 is negative");
        let found = fault.clone().at(Place::Node(3)).at(Place::State(4));
        assert_eq!(found.to_string(), "state 4: node 3: the multiplier of layer 1, neuron 2 is negative");
        assert_eq!((found.code(), found.class()), (fault.code(), Class::Evidence));
        assert_eq!(found.condition(), &fault);
        assert_eq!(Fault::Overflow { layer: 0 }.at(Place::Mask(1)).class(), Class::Limit);
        assert_eq!(Fault::NotBinary32 { layer: 0 }.code(), "not-binary32");
    }
}
