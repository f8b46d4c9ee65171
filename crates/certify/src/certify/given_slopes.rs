//! Slopes that another tool found, in place of a search of our own. Untrusted: any slopes give a sound bound, and the numbers
//! of a certificate are what the checker's rules make of these. `spec/leaves.md#slopes`.

use std::collections::BTreeMap;

use secateur_checker::model::Network;

use crate::search::slopes::witness::SlopeWitness;

/// Most entries of all tables together.
const MAX_ENTRIES: usize = 1 << 27;

/// Why arrays are no slopes of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GivenSlopesError {
    /// A name that means nothing.
    #[error("the array {0} means nothing here; expected slopes.MASK.TARGET.LAYER or upper.MASK.TARGET.LAYER")]
    Name(String),
    /// An array for a mask, a target or a layer that is not there.
    #[error(
        "the array {0} is of a mask, target or layer that is not there; LAYER is below TARGET, TARGET below {1}"
    )]
    Place(String, usize),
    /// An array of another shape.
    #[error(
        "the array {name} has shape {found:?}; expected {expected:?}: states, below and above, rows, neurons"
    )]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What it should be.
        expected: [usize; 4],
    },
    /// A number that is none.
    #[error("the array {0} has an entry that is not finite")]
    NotFinite(String),
    /// Nothing in it.
    #[error("it has no array slopes.MASK.TARGET.LAYER")]
    Empty,
    /// Too many entries.
    #[error("its arrays have more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// Which slopes: of the lines above or below the activation, mask, target, layer.
type Key = (bool, usize, usize, usize);

/// Slopes by mask, target (the layer whose pre-activations are bounded; the last one for outputs) and layer below it, for
/// every state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenSlopes {
    /// States x (bound from below, from above) x rows of the target x neurons of the layer.
    tables: BTreeMap<Key, (Vec<f64>, [usize; 4])>,
}

impl GivenSlopes {
    /// Takes named arrays of floats, row-major with their shapes: `slopes.MASK.TARGET.LAYER` for the lines below the
    /// activations, `upper.MASK.TARGET.LAYER` for those above curves.
    ///
    /// # Errors
    /// [`GivenSlopesError`].
    pub fn new(
        network: &Network,
        masks: usize,
        states: usize,
        arrays: impl IntoIterator<Item = (String, Vec<usize>, Vec<f64>)>,
    ) -> Result<Self, GivenSlopesError> {
        let mut tables = BTreeMap::new();
        let mut entries = 0;
        for (name, shape, values) in arrays {
            let place = parse_name(&name).ok_or_else(|| GivenSlopesError::Name(name.clone()))?;
            let (_, mask, target, layer) = place;
            let depth = network.layers.len();
            if mask >= masks || target >= depth || layer >= target {
                return Err(GivenSlopesError::Place(name, depth));
            }
            let rows = |layer: usize| network.layers[layer].weight.rows;
            let expected = [states, 2, rows(target), rows(layer)];
            if shape != expected {
                return Err(GivenSlopesError::Shape { name, found: shape, expected });
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err(GivenSlopesError::NotFinite(name));
            }
            entries += values.len();
            if entries > MAX_ENTRIES {
                return Err(GivenSlopesError::TooMany);
            }
            tables.insert(place, (values, expected));
        }
        if tables.keys().any(|(above, ..)| !above) {
            Ok(Self { tables })
        } else {
            Err(GivenSlopesError::Empty)
        }
    }

    /// Puts the slopes of a state under a mask in the place of those of a witness.
    pub(super) fn replace(&self, witness: &mut SlopeWitness, mask: usize, state: usize) {
        for target in &mut witness.targets {
            let columns = target.columns.len();
            for (above, table) in [(false, &mut target.lower_slope), (true, &mut target.upper_slope)] {
                for (layer, entries) in table.iter_mut().enumerate() {
                    let given = self.tables.get(&(above, mask, target.target, layer));
                    let Some((values, [_, _, rows, neurons])) = given else { continue };
                    for (column, of) in target.columns.iter().enumerate() {
                        let row = (state * 2 + usize::from(of.upper)) * rows + of.row as usize;
                        let from = values.iter().skip(row * neurons).take(*neurons);
                        for (entry, value) in entries.iter_mut().skip(column).step_by(columns).zip(from) {
                            *entry = *value;
                        }
                    }
                }
            }
        }
    }
}

fn parse_name(name: &str) -> Option<Key> {
    let mut parts = name.split('.');
    let above = match parts.next()? {
        "slopes" => false,
        "upper" => true,
        _ => return None,
    };
    let mut number = || parts.next().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?.parse().ok();
    let place = (above, number()?, number()?, number()?);
    parts.next().is_none().then_some(place)
}
