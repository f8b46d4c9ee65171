//! Regions: a random box of states cut by a random tree, each cell and the whole against evaluation at states inside, and
//! the shares of the volume against their sum. `spec/rules/region.md`.

use secateur_checker::claim::region::{RegionProblem, prove_region};
use secateur_checker::kernel::fault::Fault;
use secateur_checker::model::Perturbation;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::regions::{RegionClaim, RegionEntry, Share};
use secateur_testkit::case::{Case, r};
use secateur_testkit::random::Random;

use super::claims::{Proved, asked, listed, story, truth_at};
use super::generate::mask_bits;
use super::points::{Place, Point};
use super::tally::{Claim, Tally, head_word};
use super::truth::Truth;
use super::witness::cut;

pub const WORD: &str = "region";
/// States evaluated in a cell.
const STATES: usize = 2;

/// A box of states and the cells of a tree, with the tree's bytes.
struct Cover {
    cells: Vec<(Vec<Rational>, Vec<Rational>)>,
    bytes: Vec<u8>,
}

impl Cover {
    fn grow(&mut self, random: &mut Random, depth: usize, lower: Vec<Rational>, upper: Vec<Rational>) {
        if depth > 0 && !random.one_in(4) {
            let at = random.between(0, lower.len() as i64 - 1) as usize;
            if let Some((place, exact)) = cut(random, &lower[at], &upper[at]) {
                self.bytes.push(3);
                self.bytes.extend((at as u16).to_le_bytes());
                self.bytes.extend(place.to_le_bytes());
                let (mut below, mut above) = (upper.clone(), lower.clone());
                (below[at], above[at]) = (exact.clone(), exact);
                self.grow(random, depth - 1, lower, below);
                self.grow(random, depth - 1, above, upper);
                return;
            }
        }
        self.bytes.push(0);
        self.cells.push((lower, upper));
    }
}

fn volume((lower, upper): (&[Rational], &[Rational])) -> Rational {
    let lengths = lower.iter().zip(upper).map(|(l, u)| u.sub(l)).filter(|length| length.is_positive());
    lengths.fold(Rational::one(), |product, length| product.mul(&length))
}

/// A state of a cell: a corner, its middle, or another.
fn inside(random: &mut Random, (lower, upper): (&[Rational], &[Rational])) -> Vec<Rational> {
    let corner = random.one_in(2);
    let share = |random: &mut Random| if corner { random.pick(&[0, 16]) } else { random.between(0, 16) };
    let ends = lower.iter().zip(upper);
    ends.map(|(l, u)| l.add(&u.sub(l).mul(&Rational::from_dyadic(share(random).into(), -4)))).collect()
}

struct Seen {
    cell: usize,
    state: Vec<Rational>,
    points: Vec<Point>,
    truth: Truth,
}

fn unlimited(case: &Case) -> Case {
    let (policy, masks, states) = (case.policy.clone(), case.masks.clone(), case.states.clone());
    let mut set = case.set.clone();
    if let Perturbation::Sensor(set) = &mut set.shape {
        set.limits.clear();
    }
    Case { policy, masks, states, set }
}

pub fn hold_region(seed: u64, random: &mut Random, case: &Case, proved: &Proved<'_>, tally: &mut Tally) {
    let around = listed(case, random.between(0, case.states.values.rows as i64 - 1) as usize);
    let widths = ["0", "1e-6", "1/8", "1/2", "1", "3"].map(r);
    let sides: Vec<Rational> = around.iter().map(|_| random.pick(&widths)).collect();
    let lower: Vec<Rational> = around.iter().zip(&sides).map(|(x, side)| x.sub(side)).collect();
    let upper: Vec<Rational> = around.iter().zip(&sides).map(|(x, side)| x.add(side)).collect();
    let index = random.between(0, case.masks.len() as i64 - 1) as usize;
    // States of the box may be outside limits that the listed ones are within.
    let case = &unlimited(case);
    let mask = &case.masks[index];
    let (units, set) = (case.states.units, &case.set);
    let problem = RegionProblem::new(&case.policy, mask, (&lower, &upper), units, set, true);
    let mut cover = Cover { cells: Vec::new(), bytes: Vec::new() };
    cover.grow(random, 3, lower.clone(), upper.clone());
    let tables = problem.and_then(|problem| {
        let cells = cover.cells.iter().map(|(l, u)| problem.cell((l, u)).map(|b| problem.table(&b)));
        Ok((cells.collect::<Result<Vec<_>, Fault>>()?, problem))
    });
    let (tables, problem) = match tables {
        Ok(found) => found,
        Err(reason) => {
            *tally.refused.entry(format!("{WORD}: {reason}")).or_default() += 1;
            return;
        }
    };
    let seen: Vec<Seen> = (0..cover.cells.len())
        .flat_map(|cell| [cell; STATES])
        .map(|cell| {
            let (l, u) = &cover.cells[cell];
            let state = inside(random, (l, u));
            let points = Place { case, state: state.clone() }.points(random, std::slice::from_ref(mask), 2);
            let truth = truth_at(case, mask, &points);
            Seen { cell, state, points, truth }
        })
        .collect();
    for (quantity, output) in asked(case.policy.network.outputs()) {
        let values = tables.iter().map(|t| t.values(&proved.head, quantity, 0, output));
        let Ok(values) = values.map(|v| v.map(|mut v| v.remove(0))).collect::<Result<Vec<_>, _>>() else {
            continue;
        };
        tally.claimed(WORD, &case.policy.head, quantity.name());
        let threshold = random.pick(&values);
        let entry = RegionEntry {
            lower: lower.clone(),
            upper: upper.clone(),
            mask: index,
            claims: vec![RegionClaim {
                quantity: quantity.name().to_owned(),
                output,
                value: String::new(),
                shares: vec![Share { threshold: threshold.clone(), fraction: Rational::zero() }],
            }],
        };
        let found = prove_region(&problem, &entry, &cover.bytes, &proved.head, &mut |_, _| {});
        let whole = found.unwrap_or_else(|e| panic!("seed {seed}: {e}")).remove(0);
        let worst = whole.worst.expect("cells");
        for seen in &seen {
            for value in [&worst, &values[seen.cell]] {
                let head = &case.policy.head;
                let claim = Claim { family: WORD, head, quantity, output, value };
                tally.hold(&claim, &seen.truth, &|pair| {
                    let change = seen.points.get(pair).map(|p| &p.change);
                    let (cell, bits) = (&cover.cells[seen.cell], mask_bits(mask));
                    format!(
                        "  output {output:?}, mask {bits}, cell {cell:?}\n  state {:?}, change {change:?}\n{}",
                        seen.state,
                        story(seed, case)
                    )
                });
            }
        }
        let keeps = |value: &Rational| match quantity.rounding() {
            Rounding::Up => *value <= threshold,
            Rounding::Down => *value > threshold,
        };
        let kept = cover.cells.iter().zip(&values).filter(|(_, value)| keeps(value));
        let kept = kept.fold(Rational::zero(), |sum, ((l, u), _)| sum.add(&volume_in(l, u, &lower, &upper)));
        let share = kept.div(&volume((&lower, &upper))).expect("a volume");
        if whole.shares != [(threshold, share.clone())] {
            let kind = (WORD.to_owned(), head_word(&case.policy.head), quantity.name());
            tally.violation(kind, &format!("shares {:?}, found {share}", whole.shares), &story(seed, case));
        }
    }
}

/// The cell's volume over the inputs in which the whole box has an extent.
fn volume_in(lower: &[Rational], upper: &[Rational], from: &[Rational], to: &[Rational]) -> Rational {
    let sides = lower.iter().zip(upper).zip(from.iter().zip(to));
    let wide = sides.filter(|(_, (from, to))| from < to).map(|((l, u), _)| u.sub(l));
    wide.fold(Rational::one(), |product, side| product.mul(&side))
}
