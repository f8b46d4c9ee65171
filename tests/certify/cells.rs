//! Family `branch` by cells: bounds that come to what enumeration and points find, joint over the outputs; the search spends
//! its budget where gaps are wide, and is the same at any thread count.

use secateur::certify::Certified;
use secateur::certify::cells::CellRequest;
use secateur::float::{FloatNetwork, rational_to_float};
use secateur::policy::ActivationSpec;
use secateur_checker::family::Family;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::load::{load_masks, load_policy};
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::Rational;
use secateur_checker::reader::safetensors::Safetensors;
use secateur_checker::rejection::Reason;
use secateur_checker::table::Quantity;
use secateur_testkit::problem::{self, Problem, Spec, key, linf};
use secateur_testkit::programs::{run, secateur};
use secateur_testkit::random::Random;

fn written(spec: &Spec) -> (tempfile::TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), spec);
    (folder, problem)
}

fn request(gap: &str, cells: u64) -> CellRequest {
    CellRequest { gap: Rational::parse(gap).expect("a number"), cells }
}

/// Crown and cells, with points from below.
fn certified(folder: &std::path::Path, set: &PerturbationSet, cells: &CellRequest) -> Certified {
    problem::certify_cells(folder, &[Family::Crown, Family::Branch], set, &key(1), cells).expect("certified")
}

fn networks(problem: &Problem) -> Vec<FloatNetwork> {
    let policy = load_policy(&problem.policy_dir()).expect("a policy");
    let masks = load_masks(&problem.masks_dir(), &policy.files).expect("masks").masks;
    let float = |mask| FloatNetwork::from_model(&policy.files.policy.network, Some(mask)).expect("floats");
    masks.iter().map(float).collect()
}

/// One quantity of a family, by mask and state.
fn values(problem: &Problem, set: &PerturbationSet, family: Family, witness: &[u8]) -> Vec<Vec<f64>> {
    let policy = load_policy(&problem.policy_dir()).expect("a policy").files.policy;
    let head = HeadBounds::new(&policy.head).expect("a head");
    let table = problem.table(set, family, Some(witness)).expect("accepted");
    let of = |mask| table.values(&head, Quantity::TotalVariation, mask, None).expect("values");
    (0..table.masks.len()).map(|mask| of(mask).iter().map(rational_to_float).collect()).collect()
}

/// What the certificate claims from below, by mask and state.
fn attained(certified: &Certified) -> Vec<Vec<f64>> {
    let claims = certified.verified.certificate().counterexample.iter();
    let claims = claims.filter(|c| c.quantity == Quantity::TotalVariation.name());
    let float = |text: &String| rational_to_float(&Rational::parse(text).expect("a number"));
    claims.map(|c| c.at_least.iter().map(float).collect()).collect()
}

/// Of smooth and piecewise linear networks, Gaussian and categorical, every bracket closes to the gap asked for, and random
/// points of the ball never move an output more than its bound.
#[test]
fn every_bracket_closes_and_holds() {
    for (seed, gaussian, activation) in [
        (31, true, ActivationSpec::Tanh),
        (32, false, ActivationSpec::Tanh),
        (33, true, ActivationSpec::Relu),
    ] {
        let (folder, problem) = written(&Spec { gaussian, activation, ..Spec::small(seed) });
        let set = linf("1/4");
        let certified = certified(folder.path(), &set, &request("0.1", 4000));
        let witness = certified.witness.as_deref().expect("a witness");
        let found = values(&problem, &set, Family::Branch, witness);
        let crown = values(&problem, &set, Family::Crown, witness);
        let below = attained(&certified);
        for ((above, below), crown) in
            found.iter().flatten().zip(below.iter().flatten()).zip(crown.iter().flatten())
        {
            assert!(below <= above && *below >= 0.9 * above, "seed {seed}: {below} {above}");
            assert!(above <= crown, "seed {seed}: {above} {crown}");
        }
        let total = |all: &[Vec<f64>]| all.iter().flatten().sum::<f64>();
        assert!(total(&found) < 0.95 * total(&crown), "seed {seed}: it gained nothing");
        let table = problem.table(&set, Family::Branch, Some(witness)).expect("accepted");
        let mut random = Random(seed);
        for (network, of_mask) in networks(&problem).iter().zip(&table.masks) {
            for (row, change) in
                problem.states.chunks(problem.states.len() / of_mask.changes.len()).zip(&of_mask.changes)
            {
                let clean = network.forward(row);
                for _ in 0..2000 {
                    let step = |x: &f64| x + 0.25 * f64::from(random.weight()).clamp(-1.0, 1.0);
                    let moved: Vec<f64> = row.iter().map(step).collect();
                    let moved = network.forward(&moved);
                    let moves: Vec<f64> = moved.iter().zip(&clean).map(|(a, b)| a - b).collect();
                    let holds = moves.iter().zip(&change.deviation);
                    assert!(holds.into_iter().all(|(m, d)| m.abs() <= rational_to_float(d) + 1e-9));
                    assert!((moves[0] - moves[1]).abs() <= rational_to_float(&change.oscillation) + 1e-9);
                }
            }
        }
    }
}

/// The tensors of cells and trees in a witness file.
fn tensors(witness: &[u8]) -> Vec<usize> {
    let file = Safetensors::parse(witness).expect("safetensors");
    (0..2).map(|mask| file.tensor(&format!("cells.{mask}")).expect("cells").bytes.len()).collect()
}

/// A budget is kept, about, and goes to the widest gap; a gap that is closed takes no more of it.
#[test]
fn the_budget_goes_where_the_gap_is_wide() {
    let (folder, _problem) = written(&Spec { masks: 2, ..Spec::small(34) });
    let set = linf("1/4");
    let bytes = |gap: &str, cells: u64| {
        tensors(certified(folder.path(), &set, &request(gap, cells)).witness.as_deref().expect("a witness"))
    };
    let (few, more, closed) = (bytes("0", 200), bytes("0", 800), bytes("0.9", 800));
    let sum = |sizes: &[usize]| sizes.iter().sum::<usize>();
    assert!(sum(&closed) < sum(&few) && sum(&few) < sum(&more), "{closed:?} {few:?} {more:?}");
}

#[test]
fn the_cells_do_not_depend_on_the_number_of_threads() {
    let (folder, _problem) = written(&Spec::small(35));
    let files = [1, 2, 8].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let found = pool.install(|| certified(folder.path(), &linf("1/4"), &request("0.05", 300)));
        found.witness.expect("a witness")
    });
    assert!(files.iter().all(|f| *f == files[0]));
}

/// An l2 ball and raw units with cells: accepted, and below `crown`.
#[test]
fn balls_are_cut_soundly() {
    let (folder, problem) = written(&Spec::small(36));
    let radius = Rational::parse("1/2").expect("a number");
    let set = PerturbationSet { shape: Perturbation::L2 { radius }, units: Units::Normalised };
    let certified = certified(folder.path(), &set, &request("0.2", 500));
    let witness = certified.witness.as_deref().expect("a witness");
    let found = values(&problem, &set, Family::Branch, witness);
    for (above, below) in found.iter().flatten().zip(attained(&certified).iter().flatten()) {
        assert!(below <= above, "{below} {above}");
    }
}

/// A file that has cells is read by them: cells of another form are refused, never passed over for trees.
#[test]
fn cells_of_another_form_are_refused() {
    let (folder, problem) = written(&Spec { gaussian: false, ..Spec::small(37) });
    let set = linf("1/4");
    let good = certified(folder.path(), &set, &request("0.1", 300)).witness.expect("a witness");
    let start = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
    let file = Safetensors::parse(&good).expect("safetensors");
    let own = file.tensor("cells.0").expect("cells").bytes;
    let at = start + good[start..].windows(own.len()).position(|w| w == own).expect("its place");
    let fault = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        match problem.table(&set, Family::Branch, Some(&bytes)) {
            Err(reason) => reason.fault().map(|fault| fault.condition().clone()),
            Ok(_) => None,
        }
    };
    assert_eq!(fault(&|_| {}), None);
    let end = |bytes: &mut Vec<u8>, add: i64| {
        let old = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        bytes[at..at + 8].copy_from_slice(&old.wrapping_add_signed(add).to_le_bytes());
    };
    assert_eq!(fault(&|bytes| end(bytes, -1)), Some(Fault::TreeTruncated));
    assert_eq!(fault(&|bytes| end(bytes, 1)), Some(Fault::TreeTrailing));
    assert_eq!(fault(&|bytes| bytes[at..at + 8].fill(255)), Some(Fault::TreesMissing { mask: 0 }));
    // The last byte of state 0's tree is a leaf.
    let leaf = at + own.len() - 1;
    assert_eq!(fault(&|bytes| bytes[leaf] = 9), Some(Fault::UnknownNode));
    let none = problem.table(&set, Family::Branch, None);
    assert!(matches!(none, Err(reason) if reason.fault() == Some(&Fault::TreesMissing { mask: 0 })));
}

/// Whatever a byte of the cells becomes, they are refused or prove what points do not contradict.
#[test]
fn any_changed_byte_is_refused_or_proves_a_true_bound() {
    let (folder, problem) = written(&Spec::small(38));
    let set = linf("1/4");
    let certified = certified(folder.path(), &set, &request("0.1", 120));
    let good = certified.witness.as_deref().expect("a witness");
    let below = attained(&certified);
    let file = Safetensors::parse(good).expect("safetensors");
    let own = file.tensor("cells.0").expect("cells").bytes;
    let at = good.windows(own.len()).position(|w| w == own).expect("its place");
    let mut random = Random(8);
    let (mut refused, mut proved) = (0, 0);
    for position in (at..at + own.len()).step_by(own.len() / 150 + 1) {
        let mut bytes = good.to_vec();
        bytes[position] ^= 1 + random.below(255) as u8;
        match problem.table(&set, Family::Branch, Some(&bytes)) {
            Err(Reason::WitnessFile { .. }) => panic!("only cells were changed"),
            Err(_) => refused += 1,
            Ok(_) => {
                proved += 1;
                let found = values(&problem, &set, Family::Branch, &bytes);
                assert!(found[0].iter().zip(&below[0]).all(|(above, below)| above >= below));
            }
        }
    }
    assert!(refused > 5 && proved > 5, "{refused} refused, {proved} proved");
}

/// The program asks for a gap in its range, with bounds from below.
#[test]
fn the_command_line_takes_a_gap() {
    let (folder, _problem) = written(&Spec::small(39));
    std::fs::write(folder.path().join("k.pem"), key(1).private_pem()).expect("key written");
    let certify = |options: &[&str]| {
        let files = ["--masks", "masks", "--states", "states.npy", "--epsilon", "1/4"];
        let out = ["--key", "k.pem", "--out", "c.cert.dsse.json", "--force", "--family", "ibp"];
        let mut command = secateur(folder.path());
        run(command.args(["--quiet", "certify", "policy"]).args(files).args(out).args(options))
    };
    let found = certify(&["--gap", "0.2", "--cells", "300"]);
    assert!(found.code == 0 && found.stdout.contains("branch"), "{found:?}");
    let file = std::fs::read(folder.path().join("c.witness.safetensors")).expect("a witness");
    assert!(file.windows(8).any(|w| w == b"\"cells.0"), "cells");
    for wrong in [
        &["--gap", "1"][..],
        &["--gap=-0.1"],
        &["--gap", "wide"],
        &["--gap", "0.1", "--cells", "0"],
        &["--cells", "10"],
        &["--gap", "0.1", "--no-counterexample"],
    ] {
        let refused = certify(wrong);
        assert!(
            refused.code == 2 && refused.stderr.contains("gap") | refused.stderr.contains("cells"),
            "{refused:?}"
        );
    }
}

/// `audit` takes the gap from its file, or from its command line instead; what it writes has cells, brackets and is accepted.
#[test]
fn an_audit_closes_the_gap() {
    let (folder, _problem) = written(&Spec::small(39));
    let root = folder.path();
    let write = |more: &str| {
        let common = "states = \"../states.npy\"\nstate-units = \"normalised\"\nepsilon = \"0.25\"\n";
        let settings = format!("{common}families = [\"ibp\", \"branch\"]\n{more}");
        std::fs::write(root.join("policy/audit.toml"), settings).expect("settings written");
    };
    let audit = |out: &str, options: &[&str]| {
        let mut command = secateur(root);
        run(command.args(["--quiet", "audit", "policy", "--out", out]).args(options))
    };
    let with_cells = |out: &str| {
        let witness = std::fs::read(root.join(out).join("policy.witness.safetensors")).expect("a witness");
        witness.windows(8).any(|w| w == b"\"cells.0")
    };
    write("");
    let ran = audit("plain", &[]);
    assert!(ran.code == 0 && !with_cells("plain"), "{ran:?}");
    let ran = audit("line", &["--gap", "0.5", "--cells", "40"]);
    assert!(ran.code == 0 && with_cells("line"), "{ran:?}");
    write("gap = \"0.2\"\ncells = 300\n");
    let ran = audit("cells", &[]);
    assert!(ran.code == 0 && with_cells("cells"), "{ran:?}");
    assert!(ran.stdout.contains("an attack reaches at least"), "{ran:?}");
    let files = ["--states", "states.npy", "--trust", "cells/trust.json", "cells/policy.cert.dsse.json"];
    let ran = run(secateur(root).args(["--quiet", "check", "policy"]).args(files));
    assert_eq!(ran.code, 0, "{ran:?}");
    for wrong in ["gap = \"2\"\n", "cells = 10\n", "gap = \"0.1\"\ncounterexample = false\n"] {
        write(wrong);
        let ran = audit("wrong", &[]);
        assert!(ran.code == 2 && ran.stderr.contains("gap"), "{ran:?}");
        assert!(!root.join("wrong/policy.cert.dsse.json").exists(), "{wrong}");
    }
}
