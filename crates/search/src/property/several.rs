//! Properties over several networks that read shared variables, as VNN-LIB 2.0 asks them. Untrusted.
//! `spec/vnnlib.md`.

use num_bigint::BigInt;
use secateur_checker::kernel::split::Case;
use secateur_checker::number::Rational;

use super::vnnlib::Property;

/// Bits of the step by which [`SeveralCase::tightened`] keeps strict comparisons.
const STEP_BITS: usize = 40;

/// A declared network: its interface, no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredNetwork {
    /// Its name.
    pub name: String,
    /// The network declared before it whose file it is (`equal-to`), or whose structure it has (`isomorphic-to`).
    pub relation: Option<NetworkRelation>,
    /// Its input tensor.
    pub input: DeclaredTensor,
    /// Its output tensor.
    pub output: DeclaredTensor,
    /// The shared variable that each input reads, in row-major order of the tensor.
    pub reads: Vec<usize>,
}

/// What a network is to one declared before it, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkRelation {
    /// The same file.
    EqualTo(usize),
    /// The same layers of the same widths, with other numbers.
    IsomorphicTo(usize),
}

/// A declared tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTensor {
    /// Its name.
    pub name: String,
    /// `real`, `float32` or `float64`, as it is written.
    pub element: String,
    /// Its shape; a scalar has none.
    pub shape: Vec<usize>,
}

/// Asks whether some values of the variables satisfy some case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Several {
    /// The networks, in the order of their declarations, at least one.
    pub networks: Vec<DeclaredNetwork>,
    /// What each variable is called: the first declared input that reads it.
    pub variables: Vec<String>,
    /// The cases, at least one; those with an empty box are left out.
    pub cases: Vec<SeveralCase>,
}

/// A box of the variables and affine constraints.
///
/// Coefficients stand for the outputs of the first network, those of the second, ..., then the variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeveralCase {
    /// The case with every strict comparison relaxed to the closed one.
    pub case: Case,
    /// Whether each constraint is strict.
    pub strict: Vec<bool>,
    /// Whether the lower and the upper end of each variable is left out.
    pub open: Vec<[bool; 2]>,
}

impl DeclaredTensor {
    /// Number of its elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What an element is called, by its place in row-major order.
    pub fn element_name(&self, element: usize) -> String {
        if self.shape.is_empty() {
            return self.name.clone();
        }
        let mut rest = element;
        let mut indices: Vec<String> = Vec::new();
        for size in self.shape.iter().rev() {
            indices.push((rest % size).to_string());
            rest /= size;
        }
        indices.reverse();
        format!("{}[{}]", self.name, indices.join(","))
    }
}

impl Several {
    /// Number of outputs of all networks together.
    pub fn outputs(&self) -> usize {
        self.networks.iter().map(|n| n.output.len()).sum()
    }

    /// Whether some constraint reads a variable, so that the outputs alone do not tell whether it holds.
    pub fn constrains_variables(&self) -> bool {
        let outputs = self.outputs();
        let reads = |c: &[Rational]| c.iter().skip(outputs).any(|c| !c.is_zero());
        self.cases.iter().any(|c| c.case.constraints.iter().any(|c| reads(&c.coefficients)))
    }

    /// Whether some comparison is strict.
    pub fn is_strict(&self) -> bool {
        self.cases.iter().any(SeveralCase::is_strict)
    }

    /// The cases with strict comparisons relaxed to closed ones: where none of them holds, none of the stated ones does.
    pub fn relaxed(&self) -> Vec<Case> {
        self.cases.iter().map(|c| c.case.clone()).collect()
    }

    /// For each case, one of closed comparisons that implies it; `None` where that has an empty box.
    pub fn tightened(&self) -> Vec<Option<Case>> {
        self.cases.iter().map(SeveralCase::tightened).collect()
    }

    /// The property of one network whose constraints read outputs only.
    pub fn single(&self) -> Option<Property> {
        let [network] = self.networks.as_slice() else { return None };
        let (inputs, outputs) = (self.variables.len(), network.output.len());
        // Two inputs that are the same variable are no box.
        let in_order = network.reads.iter().copied().eq(0..inputs);
        if !in_order || self.constrains_variables() {
            return None;
        }
        let of_outputs = |mut case: Case| {
            case.constraints.iter_mut().for_each(|c| c.coefficients.truncate(outputs));
            case
        };
        let cases = self.relaxed().into_iter().map(of_outputs).collect();
        let strict = self.is_strict();
        let tightened = strict.then(|| self.tightened().into_iter().map(|c| c.map(of_outputs)).collect());
        let tensors = Some([network.input.clone(), network.output.clone()]);
        Some(Property { inputs, outputs, cases, tightened, tensors })
    }
}

impl From<Property> for Several {
    /// A property of VNN-LIB 1.0, whose comparisons are closed; its tensors are called X and Y.
    fn from(property: Property) -> Self {
        let (inputs, outputs) = (property.inputs, property.outputs);
        let tensor = |name: &str, size| DeclaredTensor {
            name: name.to_owned(),
            element: "real".to_owned(),
            shape: vec![size],
        };
        let case = |mut case: Case| {
            let strict = vec![false; case.constraints.len()];
            case.constraints
                .iter_mut()
                .for_each(|c| c.coefficients.resize(outputs + inputs, Rational::zero()));
            SeveralCase { case, strict, open: vec![[false; 2]; inputs] }
        };
        Self {
            networks: vec![DeclaredNetwork {
                name: "network".to_owned(),
                relation: None,
                input: tensor("X", inputs),
                output: tensor("Y", outputs),
                reads: (0..inputs).collect(),
            }],
            variables: (0..inputs).map(|input| format!("X_{input}")).collect(),
            cases: property.cases.into_iter().map(case).collect(),
        }
    }
}

impl SeveralCase {
    /// Whether some comparison is strict.
    pub fn is_strict(&self) -> bool {
        self.strict.contains(&true) || self.open.iter().any(|ends| ends.contains(&true))
    }

    /// A case of closed comparisons that implies this one: `a . y < b` becomes `a . y <= b - s`, where `s` is 2^-40 times
    /// the largest coefficient, and an end that is left out moves inward by 2^-40 or a quarter of the width. `None` if
    /// the box is then empty.
    pub fn tightened(&self) -> Option<Case> {
        let mut case = self.case.clone();
        let step = Rational::parse(&format!("1/{}", BigInt::from(1) << STEP_BITS)).ok()?;
        let quarter = Rational::parse("1/4").ok()?;
        for (constraint, strict) in case.constraints.iter_mut().zip(&self.strict) {
            if *strict {
                let largest = constraint.coefficients.iter().map(Rational::abs).max()?;
                constraint.bound = constraint.bound.add(&largest.mul(&step).neg());
            }
        }
        let sides = case.lower.iter_mut().zip(&mut case.upper);
        for ((lower, upper), [above, below]) in sides.zip(&self.open) {
            let inward = upper.add(&lower.neg()).mul(&quarter).min(step.clone());
            if (*above || *below) && !inward.is_positive() {
                return None;
            }
            if *above {
                *lower = lower.add(&inward);
            }
            if *below {
                *upper = upper.add(&inward.neg());
            }
        }
        Some(case)
    }
}
