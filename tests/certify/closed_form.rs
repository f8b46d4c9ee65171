//! Linear networks, where the largest change of an output over a box is known in closed form: `|W_L ... W_1| r`.

use secateur_checker::family::Family;
use secateur_checker::load::load_policy;
use secateur_checker::model::{Mask, Network};
use secateur_checker::number::Rational;
use secateur_testkit::problem::{Problem, Spec, certify_directory, key, linf, rational};

type Table = Vec<Vec<Rational>>;

fn masked(network: &Network, mask: &Mask, layer: usize) -> Table {
    let weight = &network.layers[layer].weight;
    let entry = |index: usize| {
        if mask.layers[layer][index] { weight.values[index].to_rational() } else { Rational::zero() }
    };
    (0..weight.rows)
        .map(|row| (0..weight.columns).map(|column| entry(row * weight.columns + column)).collect())
        .collect()
}

fn product(left: &Table, right: &Table) -> Table {
    let dot = |row: &[Rational], column: usize| {
        row.iter().zip(right).fold(Rational::zero(), |sum, (a, r)| sum.add(&a.mul(&r[column])))
    };
    left.iter().map(|row| (0..right[0].len()).map(|column| dot(row, column)).collect()).collect()
}

fn absolute(table: &Table) -> Table {
    table.iter().map(|row| row.iter().map(Rational::abs).collect()).collect()
}

/// Row sums of absolute values, times the radius.
fn reach(table: &Table, radius: &Rational) -> Vec<Rational> {
    absolute(table).iter().map(|row| row.iter().fold(Rational::zero(), |s, w| s.add(w)).mul(radius)).collect()
}

/// At least `exact`, and above it by no more than 1e-9 of it or 1e-12: the excess that the grid is allowed.
fn assert_close(bound: &Rational, exact: &Rational, what: &str) {
    let excess = bound.sub(exact);
    assert!(!excess.is_negative(), "{what}: {bound} is below the true {exact}");
    let allowed = exact.mul(&rational("1e-9")).max(rational("1e-12"));
    assert!(excess <= allowed, "{what}: {bound} exceeds the true {exact} by {excess}");
}

fn check_linear(widths: &[usize], seed: u64, radius: &str) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let spec = Spec { widths: widths.to_vec(), ..Spec::linear(seed) };
    let problem = Problem::write(folder.path(), &spec);
    let families = [Family::Sensitivity, Family::Ibp, Family::Crown, Family::ChainHull];
    let certified = certify_directory(folder.path(), &families, &linf(radius), &key(1)).expect("certified");
    let policy = load_policy(&problem.policy_dir()).expect("a policy").files;
    let masks = secateur_checker::load::load_masks(&problem.masks_dir(), &policy).expect("masks").masks;
    let network = &policy.policy.network;
    let radius = rational(radius);
    for (index, mask) in masks.iter().enumerate() {
        let layers: Vec<Table> = (0..widths.len() - 1).map(|layer| masked(network, mask, layer)).collect();
        let chained = |tables: &[Table]| tables.iter().skip(1).fold(tables[0].clone(), |p, t| product(t, &p));
        let exact = reach(&chained(&layers), &radius);
        let absolute: Vec<Table> = layers.iter().map(absolute).collect();
        let coordinatewise = reach(&chained(&absolute), &radius);
        for table in certified.verified.tables() {
            for change in &table.masks[index].changes {
                for (output, bound) in change.deviation.iter().enumerate() {
                    let what = format!("{} mask {index} output {output}", table.family.name());
                    match table.family {
                        Family::Sensitivity => assert_eq!(bound, &coordinatewise[output], "{what}"),
                        Family::Crown => assert_close(bound, &exact[output], &what),
                        _ => assert_close(bound, &coordinatewise[output], &what),
                    }
                    assert!(bound >= &exact[output], "{what} is below the truth");
                }
            }
        }
    }
}

/// One layer: every family equals the truth, `sum_j |w_ij| r`.
#[test]
fn one_layer() {
    for seed in 0..8 {
        check_linear(&[5, 3], seed, "1/16");
        check_linear(&[4, 2], seed, "0.075");
    }
}

/// Several layers: `crown` equals `|W_L ... W_1| r`, the coordinate-wise families equal `|W_L| ... |W_1| r`.
#[test]
fn several_layers() {
    for seed in 0..6 {
        check_linear(&[3, 6, 2], seed, "1/16");
        check_linear(&[3, 4, 5, 2], seed, "0.05");
    }
}
