//! What changed from one certificate to another: every stated number of both, compared exactly. Untrusted; it compares
//! what the certificates claim, and checks neither. `spec/snapshot.md#diff`.

mod facts;
mod items;
pub mod print;

use std::collections::BTreeMap;

use secateur_checker::number::Rational;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::dsse::Envelope;
use secateur_checker::reader::verdict::{Claimed, PropertyCertificate};

pub use facts::Fact;
pub use items::{About, Direction, Item};

use crate::certify::statement::Statement;

/// What became of a list of stated numbers, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// At least one number is worse, by more than the tolerance.
    Worse,
    /// The new certificate claims nothing of it.
    Removed,
    /// It cannot be compared.
    NotComparable,
    /// At least one number is worse, none by more than the tolerance.
    Within,
    /// The old certificate claimed nothing of it.
    Added,
    /// Something is better, nothing worse.
    Better,
    /// All numbers are the same.
    Same,
}

impl Change {
    /// Every change with its word.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Worse, "worse"),
        (Self::Removed, "removed"),
        (Self::NotComparable, "not comparable"),
        (Self::Within, "within the tolerance"),
        (Self::Added, "added"),
        (Self::Better, "better"),
        (Self::Same, "same"),
    ];

    /// The change's word.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(change, _)| *change == self).map_or("", |(_, name)| name)
    }
}

/// How the numbers of a list moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Larger than before.
    pub rose: usize,
    /// As before.
    pub stayed: usize,
    /// Smaller than before.
    pub fell: usize,
}

/// The number of a list that moved most: for the worse if one did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extreme {
    /// Its state, if there is one number per state.
    pub state: Option<usize>,
    /// Before.
    pub old: Rational,
    /// After.
    pub new: Rational,
}

/// One list of stated numbers, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the numbers are about.
    pub about: About,
    /// Which way is worse.
    pub direction: Direction,
    /// What became of it.
    pub change: Change,
    /// Why it cannot be compared.
    pub reason: Option<String>,
    /// How the numbers moved, if they were compared.
    pub counts: Counts,
    /// The one that moved most.
    pub most: Option<Extreme>,
}

/// A place where the new certificate's attack reaches more than any policy of the old one's claims could be pushed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What is reached.
    pub about: About,
    /// Number of states where it is.
    pub states: usize,
    /// Where by most.
    pub most: Extreme,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Stated numbers, worst changes first.
    pub rows: Vec<Row>,
    /// True values that rose if both certificates hold.
    pub passed: Vec<Passed>,
    /// Everything else that differs.
    pub facts: Vec<Fact>,
    /// What a number may be worse by.
    pub tolerance: Rational,
}

/// Why two certificates have nothing to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one certificate is about a policy and an adversary, the other about a network and a property")]
pub struct OtherKind;

impl Diff {
    /// Compares two statements and the signatures that came with them; nothing is verified.
    ///
    /// # Errors
    /// [`OtherKind`].
    pub fn new(
        old: (&Statement, &Envelope),
        new: (&Statement, &Envelope),
        tolerance: Rational,
    ) -> Result<Self, OtherKind> {
        let mut facts = match (old.0, new.0) {
            (Statement::Policy(a), Statement::Policy(b)) => facts::of_policies(a, b),
            (Statement::Property(a), Statement::Property(b)) => facts::of_properties(a, b),
            _ => return Err(OtherKind),
        };
        facts.extend(facts::of_signatures(old.1, new.1));
        let (mut rows, passed) = match (old.0, new.0) {
            (Statement::Policy(a), Statement::Policy(b)) => (rows(a, b, &tolerance), passed(a, b)),
            (Statement::Property(a), Statement::Property(b)) => (vec![result_row(a, b)], Vec::new()),
            _ => return Err(OtherKind),
        };
        rows.sort_by_key(|row| row.change);
        Ok(Self { rows, passed, facts, tolerance })
    }

    /// Number of rows with this change.
    pub fn count(&self, change: Change) -> usize {
        self.rows.iter().filter(|row| row.change == change).count()
    }

    /// Number of rows whose numbers were compared.
    pub fn compared(&self) -> usize {
        let all = [Change::Worse, Change::Within, Change::Better, Change::Same];
        all.into_iter().map(|change| self.count(change)).sum()
    }

    /// Whether nothing got worse, and something could be compared at all.
    pub fn holds(&self) -> bool {
        self.count(Change::Worse) == 0 && self.passed.is_empty() && self.compared() > 0
    }
}

fn rows(old: &Certificate, new: &Certificate, tolerance: &Rational) -> Vec<Row> {
    // In the order in which they are first met.
    let mut both: Vec<(Vec<Item>, Vec<Item>)> = Vec::new();
    let mut positions: BTreeMap<String, usize> = BTreeMap::new();
    let before = items::of(old).into_iter().map(|item| (item, false));
    let after = items::of(new).into_iter().map(|item| (item, true));
    for (item, is_new) in before.chain(after) {
        let position = *positions.entry(item.about.words()).or_insert(both.len());
        if position == both.len() {
            both.push((Vec::new(), Vec::new()));
        }
        let (before, after) = &mut both[position];
        if is_new { after.push(item) } else { before.push(item) }
    }
    let apart = items::Apart::new(old, new);
    both.into_iter().filter_map(|(old, new)| row(&old, &new, &apart, tolerance)).collect()
}

fn row(old: &[Item], new: &[Item], apart: &items::Apart, tolerance: &Rational) -> Option<Row> {
    let first = old.first().or(new.first())?;
    let bare = Row {
        about: first.about.clone(),
        direction: first.direction,
        change: Change::Same,
        reason: None,
        counts: Counts::default(),
        most: None,
    };
    let (old, new) = match (old, new) {
        ([], _) => return Some(Row { change: Change::Added, ..bare }),
        (_, []) => return Some(Row { change: Change::Removed, ..bare }),
        ([old], [new]) => (old, new),
        _ => {
            let reason = Some("it is claimed more than once".to_owned());
            return Some(Row { change: Change::NotComparable, reason, ..bare });
        }
    };
    if let Some(reason) = apart.reason(old, new) {
        return Some(Row { change: Change::NotComparable, reason: Some(reason), ..bare });
    }
    let numbers =
        |item: &Item| item.values.iter().map(|v| Rational::parse(v).ok()).collect::<Option<Vec<_>>>();
    let (Some(before), Some(after)) = (numbers(old), numbers(new)) else {
        let reason = Some("it is no number".to_owned());
        return Some(Row { change: Change::NotComparable, reason, ..bare });
    };
    Some(compare(bare, old.per_state, &before, &after, tolerance))
}

fn compare(row: Row, per_state: bool, old: &[Rational], new: &[Rational], tolerance: &Rational) -> Row {
    let (mut counts, mut most) = (Counts::default(), None);
    // How much worse the extreme is; below 0 if it is better.
    let mut worst: Option<Rational> = None;
    for (state, (before, after)) in old.iter().zip(new).enumerate() {
        let rise = after.sub(before);
        if rise.is_zero() {
            counts.stayed += 1;
            continue;
        }
        if rise.is_positive() {
            counts.rose += 1;
        } else {
            counts.fell += 1;
        }
        let worse = if row.direction.worse_up() { rise } else { rise.neg() };
        let further = match &worst {
            None => true,
            Some(worst) if worst.is_positive() => worse > *worst,
            Some(worst) => worse.is_positive() || worse < *worst,
        };
        if further {
            worst = Some(worse);
            let state = per_state.then_some(state);
            most = Some(Extreme { state, old: before.clone(), new: after.clone() });
        }
    }
    let change = match worst {
        None => Change::Same,
        Some(worst) if worst > *tolerance => Change::Worse,
        Some(worst) if worst.is_positive() => Change::Within,
        Some(_) => Change::Better,
    };
    Row { change, counts, most, ..row }
}

/// Where an attack of the new certificate is above the least claim of the old one: then the true value rose, whatever the
/// looseness of either. Same states and same adversary only.
fn passed(old: &Certificate, new: &Certificate) -> Vec<Passed> {
    if items::Apart::new(old, new).states_apart() {
        return Vec::new();
    }
    let found = new.counterexample.iter().filter_map(|claim| {
        let reached: Vec<Rational> =
            claim.at_least.iter().map(|v| Rational::parse(v).ok()).collect::<Option<_>>()?;
        let most = items::least_claims(old, claim, reached.len())?;
        let mut above: Vec<Extreme> = Vec::new();
        for (state, (old, new)) in most.into_iter().zip(reached).enumerate() {
            if new > old {
                above.push(Extreme { state: Some(state), old, new });
            }
        }
        let states = above.len();
        let most = above.into_iter().max_by(|a, b| a.new.sub(&a.old).cmp(&b.new.sub(&b.old)))?;
        Some(Passed { about: About::attack(claim), states, most })
    });
    found.collect()
}

fn result_row(old: &PropertyCertificate, new: &PropertyCertificate) -> Row {
    let property = |c: &PropertyCertificate| c.subjects.get(2).map(|file| file.sha256.clone());
    let sat = |c: &PropertyCertificate| matches!(c.claimed, Claimed::Sat { .. });
    let other = property(old) != property(new);
    let change = match (sat(old), sat(new)) {
        _ if other => Change::NotComparable,
        (false, true) => Change::Worse,
        (true, false) => Change::Better,
        _ => Change::Same,
    };
    Row {
        about: About::result(),
        direction: Direction::AtMost,
        change,
        reason: other.then(|| "another property".to_owned()),
        counts: Counts::default(),
        most: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).expect("a number")
    }

    fn compared(direction: Direction, old: &[&str], new: &[&str], tolerance: &str) -> Row {
        let row = Row {
            about: About::result(),
            direction,
            change: Change::Same,
            reason: None,
            counts: Counts::default(),
            most: None,
        };
        let numbers = |texts: &[&str]| texts.iter().map(|text| r(text)).collect::<Vec<_>>();
        compare(row, true, &numbers(old), &numbers(new), &r(tolerance))
    }

    /// A rise of 10^-30 is a rise; the largest worsening is named although a larger improvement stands beside it.
    #[test]
    fn numbers_are_compared_exactly() {
        let tiny = "0.500000000000000000000000000001";
        let row = compared(Direction::AtMost, &["0.5", "3"], &[tiny, "1"], "0");
        assert_eq!((row.change, row.counts), (Change::Worse, Counts { rose: 1, stayed: 0, fell: 1 }));
        assert_eq!(row.most, Some(Extreme { state: Some(0), old: r("1/2"), new: r(tiny) }));
        let row = compared(Direction::AtMost, &["3", "1/3"], &["1", "1/3"], "0");
        assert_eq!((row.change, row.most.map(|most| most.state)), (Change::Better, Some(Some(0))));
        assert_eq!(compared(Direction::AtMost, &["1/2"], &["0.50"], "0").change, Change::Same);
    }

    #[test]
    fn a_margin_is_worse_if_it_fell() {
        assert_eq!(compared(Direction::AtLeast, &["1"], &["2"], "0").change, Change::Better);
        assert_eq!(compared(Direction::AtLeast, &["2"], &["1"], "0").change, Change::Worse);
        assert_eq!(compared(Direction::Reached, &["1"], &["2"], "0").change, Change::Worse);
    }

    /// The tolerance itself is tolerated, and nothing above it.
    #[test]
    fn a_tolerance_is_exact() {
        let row = |tolerance| compared(Direction::AtMost, &["1"], &["1.1"], tolerance).change;
        assert_eq!(row("0.1"), Change::Within);
        assert_eq!(row("0.09999999999999999999"), Change::Worse);
    }
}
