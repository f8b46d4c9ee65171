//! The bound families: one row each, data only; `local` and `global` evaluate them. Trusted. `spec/rules/README.md`.

use crate::reader::escaped::Escaped;

/// The tightest mask of a band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BandEnd {
    /// A mask of the list, from 0; the band has no bound under later masks.
    Mask(usize),
    /// The mask that keeps nothing: the band holds every submask.
    Zero,
}

/// Where a bound holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At every state.
    AllStates,
    /// At the listed states.
    ListedStates,
}

/// Whether a smaller mask can have a larger bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monotone {
    /// Never, by theorem.
    ByTheorem,
    /// It can.
    No,
}

/// What a family reads from the witness file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessKind {
    /// Nothing.
    None,
    /// A vector a layer and mask.
    Vectors,
    /// A triangular factor a layer and mask.
    Factors,
    /// Slopes a state and mask.
    Slopes,
    /// Split trees a state and mask.
    Trees,
}

/// Which network the bound is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// The function over the real numbers.
    Reals,
    /// Inference in binary32.
    Binary32,
}

/// Which two actions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compares {
    /// A policy's clean and its perturbed one, as regret under an adversary needs.
    Perturbed,
    /// The dense policy's and the pruned one's, on the same input.
    Dense,
}

/// A family's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name in certificates; of a band, before its end.
    pub name: &'static str,
    /// Where its bounds hold.
    pub scope: Scope,
    /// Whether they tighten along a chain.
    pub monotone: Monotone,
    /// Its witness.
    pub witness: WitnessKind,
    /// Its arithmetic.
    pub arithmetic: Arithmetic,
    /// What it compares.
    pub compares: Compares,
}

/// The families, a row each: name in certificates (of a band, before its end), where its bounds hold, whether they tighten
/// along a chain, its witness, its arithmetic, what it compares. Makes [`Family`], [`Family::ALL`] and [`Family::entry`].
macro_rules! families {
    (
        plain { $($(#[$doc:meta])* $plain:ident = $row:tt;)+ }
        bands { $($(#[$band_doc:meta])* $band:ident = $band_row:tt;)+ }
    ) => {
        /// A bound family. `spec/rules/README.md` lists what each assumes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Family {
            $($(#[$doc])* $plain,)+
            $($(#[$band_doc])* $band(BandEnd),)+
        }

        impl Family {
            /// Every family that has no parameter, in the order certificates list them.
            pub const ALL: [Self; [$(Self::$plain),+].len()] = [$(Self::$plain),+];

            /// The family's row.
            pub const fn entry(self) -> Entry {
                use self::{Arithmetic::*, Compares::*, Monotone::*, Scope::*, WitnessKind::*};
                let (name, scope, monotone, witness, arithmetic, compares) = match self {
                    $(Self::$plain => $row,)+
                    $(Self::$band(_) => $band_row,)+
                };
                Entry { name, scope, monotone, witness, arithmetic, compares }
            }
        }
    };
}

families! {
    plain {
        /// Coordinate-wise sensitivity.
        Sensitivity = ("sensitivity", AllStates, ByTheorem, None, Reals, Perturbed);
        /// Product of row-sum norms.
        NormLinf = ("norm-product/linf", AllStates, ByTheorem, None, Reals, Perturbed);
        /// Product of column-sum norms.
        NormL1 = ("norm-product/l1", AllStates, ByTheorem, None, Reals, Perturbed);
        /// Product of Frobenius norms.
        NormFrobenius = ("norm-product/frobenius", AllStates, ByTheorem, None, Reals, Perturbed);
        /// Product of spectral norms of the absolute weights; witness: one vector a layer.
        NormAbsSpectral = ("norm-product/abs-spectral", AllStates, ByTheorem, Vectors, Reals, Perturbed);
        /// Product of spectral norms; witness: one factor a layer.
        Spectral = ("spectral", AllStates, No, Factors, Reals, Perturbed);
        /// Interval bound propagation.
        Ibp = ("ibp", ListedStates, No, None, Reals, Perturbed);
        /// Backward linear bounds with derived slopes.
        Crown = ("crown", ListedStates, No, None, Reals, Perturbed);
        /// Backward bounds by parabolas of smooth activations beside the lines.
        CrownQuadratic = ("crown-quadratic", ListedStates, No, None, Reals, Perturbed);
        /// Backward linear bounds with slopes found by gradient steps.
        CrownOptimised = ("crown-optimised", ListedStates, No, Slopes, Reals, Perturbed);
        /// Backward linear bounds with slopes from the dual of the triangle relaxation.
        Lp = ("lp", ListedStates, No, Slopes, Reals, Perturbed);
        /// Backward linear bounds over the regions of a split tree.
        Branch = ("branch", ListedStates, No, Trees, Reals, Perturbed);
        /// Slopes over the hull of the listed masks; monotone within the list.
        ChainHull = ("chain-hull", ListedStates, ByTheorem, None, Reals, Perturbed);
        /// The largest interval bound over the mask and all later ones of the list.
        EnvelopeIbp = ("envelope/ibp", ListedStates, ByTheorem, None, Reals, Perturbed);
        /// The largest backward bound over the mask and all later ones of the list.
        EnvelopeCrown = ("envelope/crown", ListedStates, ByTheorem, None, Reals, Perturbed);
        /// The pruned policy against the dense one, on the same input.
        PrunedDeviation = ("pruned-deviation", ListedStates, No, None, Reals, Dense);
        /// `ibp` for binary32 inference.
        Binary32Ibp = ("float32/ibp", ListedStates, No, None, Binary32, Perturbed);
        /// `crown` for binary32 inference.
        Binary32Crown = ("float32/crown", ListedStates, No, None, Binary32, Perturbed);
    }
    bands {
        /// Every mask from the listed one down to the band's end.
        Band = ("band", ListedStates, ByTheorem, None, Reals, Perturbed);
        /// The same by backward bounds over the band; the least along the list.
        BandCrown = ("band-crown", ListedStates, ByTheorem, None, Reals, Perturbed);
    }
}

impl Family {
    /// The family with this name; `band/K` and `band-crown/K` end at mask K, `band/zero` at the mask that keeps nothing.
    pub fn parse(name: &str) -> Option<Self> {
        let end = |text: &str| match text {
            "zero" => Some(BandEnd::Zero),
            _ => text.parse().ok().filter(|k: &usize| k.to_string() == text).map(BandEnd::Mask),
        };
        match name.split_once('/') {
            Some(("band", text)) => end(text).map(Self::Band),
            Some(("band-crown", text)) => end(text).map(Self::BandCrown),
            Some(_) | None => Self::ALL.into_iter().find(|family| family.entry().name == name),
        }
    }

    /// The family's name.
    pub fn name(self) -> String {
        let name = self.entry().name;
        match self.band_end() {
            Some(BandEnd::Mask(mask)) => format!("{name}/{mask}"),
            Some(BandEnd::Zero) => format!("{name}/zero"),
            None => name.to_owned(),
        }
    }

    /// The name of the family that is called so; one that no checker knows in quotes.
    pub(crate) fn words(name: &str) -> String {
        Self::parse(name).map_or_else(|| Escaped(name).to_string(), Self::name)
    }

    /// Where a band family's bands end.
    pub fn band_end(self) -> Option<BandEnd> {
        if let Self::Band(end) | Self::BandCrown(end) = self { Some(end) } else { None }
    }

    /// How many of a list's masks it has bounds for: the first ones. 0 if it ends at a mask that the list does not have.
    pub fn covers(self, masks: usize) -> usize {
        match self.band_end() {
            Some(BandEnd::Mask(last)) if last < masks => last.saturating_add(1),
            Some(BandEnd::Mask(_)) => 0,
            Some(BandEnd::Zero) | None => masks,
        }
    }

    /// Whether the bound holds at listed states only.
    pub fn is_local(self) -> bool {
        self.entry().scope == Scope::ListedStates
    }

    /// Whether a smaller mask can never have a larger bound, by theorem.
    pub fn is_monotone(self) -> bool {
        self.entry().monotone == Monotone::ByTheorem
    }

    /// Whether it covers binary32 inference, beside the network over the reals.
    pub fn is_float32(self) -> bool {
        self.entry().arithmetic == Arithmetic::Binary32
    }

    /// Whether the bound compares a policy's clean and perturbed action.
    pub fn bounds_adversary(self) -> bool {
        self.entry().compares == Compares::Perturbed
    }

    /// Whether its witness takes a search at every state.
    pub fn is_searched(self) -> bool {
        matches!(self.entry().witness, WitnessKind::Slopes | WitnessKind::Trees)
    }
}
