//! What a certificate's payload states, whatever its kind. Untrusted; nothing is checked. `spec/certificate.md`,
//! `spec/property.md`.

use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::verdict::{PREDICATE_TYPE, PropertyCertificate, parse_verdict};

/// A statement of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// What an adversary can push a policy into.
    Policy(Box<Certificate>),
    /// Whether a network satisfies a property.
    Property(Box<PropertyCertificate>),
}

impl Statement {
    /// Reads a payload with the checker's own reader of its kind, and with its caps.
    ///
    /// # Errors
    /// [`Clause`], of the kind that the payload says it is.
    pub fn parse(payload: &[u8]) -> Result<Self, Clause> {
        // In canonical JSON these bytes are a key and its value, never part of a text.
        let mark = format!("\"predicateType\":\"{PREDICATE_TYPE}\"");
        let property = payload.windows(mark.len()).any(|window| window == mark.as_bytes());
        Ok(if property {
            Self::Property(Box::new(parse_verdict(payload)?))
        } else {
            Self::Policy(Box::new(parse_certificate(payload)?))
        })
    }
}
