//! The predicate's optional array `regions`: shape only, `claim/region` decides what is true. Trusted.
//! `spec/certificate.md#regions`.

use crate::number::Rational;
use crate::reader::clause::Clause;
use crate::reader::fields::Fields;
use crate::reader::record::{Read, fraction, list, rationals, record};
use crate::reader::tensor::MAX_WIDTH;

/// Most regions of a certificate.
pub const MAX_REGIONS: usize = 1024;
/// Most shares of a claim; each is compared at every cell.
pub(crate) const MAX_SHARES: usize = 1024;

record! {
    /// A part of a box's volume on which a quantity is proved to keep a threshold.
    pub struct Share {
        /// The threshold.
        threshold: Rational,
        /// Claimed fraction of the volume, in [0, 1].
        fraction: Rational => fraction,
    }
}

record! {
    /// A bound on a quantity that holds at every state of a box.
    pub struct RegionClaim {
        /// Quantity name.
        quantity: String,
        /// Output, for quantities that have one bound per output.
        output: Option<usize>,
        /// Claimed bound as written.
        value: String,
        /// Shares of the volume that keep a threshold.
        shares: Vec<Share> => shares,
    }
}

record! {
    /// All states of a box under one mask.
    pub struct RegionEntry {
        /// Least value per input, in the states' units.
        lower: Vec<Rational> => rationals::<MAX_WIDTH>,
        /// Greatest value per input.
        upper: Vec<Rational> => rationals::<MAX_WIDTH>,
        /// Position of the mask in the chain, from 0.
        mask: usize,
        /// What is claimed of them.
        claims: Vec<RegionClaim> => list("a region's claims", usize::MAX),
    }
}

/// None if the key is absent.
fn shares(fields: &mut Fields<'_>, key: &str) -> Result<Vec<Share>, Clause> {
    let Some(field) = fields.optional(key) else { return Ok(Vec::new()) };
    let items = field.array()?;
    if items.len() > MAX_SHARES {
        return Err(field.clause(Clause::TooMany { cap: MAX_SHARES }));
    }
    items.iter().map(Share::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::clause::Part;
    use crate::reader::fields::Document;
    use crate::reader::json::{Numbers, parse};
    use crate::reader::record::list_or_absent;

    /// More ends than any policy has inputs are refused before one of them is read; a fraction lies in [0, 1].
    #[test]
    fn entries_are_refused_by_clause() {
        let read = |lower: &str, fraction: &str| -> Result<usize, Clause> {
            let shares = format!(r#"[{{"fraction":"{fraction}","threshold":"0"}}]"#);
            let claim = format!(r#"{{"quantity":"total-variation","shares":{shares},"value":"1"}}"#);
            let text = format!(
                r#"{{"regions":[{{"claims":[{claim}],"lower":[{lower}],"mask":"0","upper":["1"]}}]}}"#
            );
            let value = parse(text.as_bytes(), 1 << 22, Numbers::Refused).unwrap();
            let document = Document::new(value, None);
            let entries: Vec<RegionEntry> =
                list_or_absent("regions", MAX_REGIONS)(&mut document.root().object()?, "regions")?;
            Ok(entries.len())
        };
        assert_eq!((read(r#""0""#, "1"), read(r#""0""#, "0")), (Ok(1), Ok(1)));
        let path = "regions[0].lower".to_owned();
        let many = Clause::TooMany { cap: MAX_WIDTH }.within(Part::Value(path));
        assert_eq!(read(&vec![r#""x""#; MAX_WIDTH + 1].join(","), "1"), Err(many));
        let shares = vec![r#"1","threshold":"0"},{"fraction":"1"#; MAX_SHARES]
            .join(r#"","threshold":"0"},{"fraction":""#);
        let path = "regions[0].claims[0].shares".to_owned();
        let many = Clause::TooMany { cap: MAX_SHARES }.within(Part::Value(path));
        assert_eq!(read(r#""0""#, &shares), Err(many));
        let path = || "regions[0].claims[0].shares[0].fraction".to_owned();
        for outside in ["-1/8", "1.0001"] {
            let error = Clause::OutOfRange { expected: "a fraction in [0, 1]" }.within(Part::Value(path()));
            assert_eq!(read(r#""0""#, outside), Err(error));
        }
    }
}
