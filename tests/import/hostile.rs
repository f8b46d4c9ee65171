//! Files that lie, and small files of every format made here: each refusal has its reason.

use secateur::import::masks::import_mask;
use secateur::import::{HeadKind, ImportOptions, LogStd, Problem, import, import_accounted};
use secateur::policy::emit::emit_npy;
use secateur::policy::{ActivationSpec, HeadData, PolicyData};

use secateur_testkit::foreign::{self, Folder, zip_of};

fn stated() -> ImportOptions {
    ImportOptions {
        head: Some(HeadKind::Deterministic),
        activation: Some(ActivationSpec::Tanh),
        ..ImportOptions::default()
    }
}

/// For networks of one layer, which have no hidden activation.
fn bare(no_bias: bool) -> ImportOptions {
    ImportOptions { activation: None, no_bias, ..stated() }
}

fn read(bytes: &[u8], options: &ImportOptions) -> Result<PolicyData, Problem> {
    let folder = Folder::new();
    import(&folder.file("policy", bytes), options).map_err(|error| error.problem)
}

fn owned(list: &[(&str, &[usize], &[f32])]) -> Vec<foreign::Tensor> {
    list.iter().map(|(name, shape, values)| ((*name).to_owned(), shape.to_vec(), values.to_vec())).collect()
}

/// A safetensors file of binary32 tensors.
fn tensors(list: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    foreign::safetensors(&owned(list), &[])
}

fn torch_zip(list: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    foreign::torch_file(&foreign::dictionary(&owned(list)))
}

/// A length-delimited protobuf field.
fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[tag << 3 | 2, content.len() as u8][..], content].concat()
}

fn onnx(nodes: &[Vec<u8>], initializers: &[Vec<u8>]) -> Vec<u8> {
    let mut graph: Vec<u8> = nodes.iter().flat_map(|n| field(1, n)).collect();
    graph.extend(initializers.iter().flat_map(|t| field(5, t)));
    graph.extend([field(11, &field(1, b"x")), field(12, &field(1, b"y"))].concat());
    assert!(graph.len() < 1 << 14);
    let length = [(graph.len() & 127) as u8 | 128, (graph.len() >> 7) as u8];
    // opset 13 of the standard domain
    [&[0x08, 8, 7 << 3 | 2][..], &length, &graph, &[8 << 3 | 2, 2, 2 << 3, 13]].concat()
}

fn node(kind: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    [inputs, field(2, output.as_bytes()), field(4, kind.as_bytes())].concat()
}

fn matrix(name: &str, rows: u8, columns: u8, values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    [vec![8, rows, 8, columns, 16, 1], field(8, name.as_bytes()), field(9, &raw)].concat()
}

/// SiLU, ELU and a selection of outputs in one small graph.
fn gated() -> Vec<u8> {
    let nodes = [
        node("MatMul", &["x", "w"], "h"),
        node("Sigmoid", &["h"], "s"),
        node("Mul", &["s", "h"], "a"),
        node("MatMul", &["a", "v"], "o"),
        node("Split", &["o"], "l"),
        node("Elu", &["l"], "y"),
    ];
    let mut split = nodes.to_vec();
    split[4].extend(field(2, b"unread"));
    // axis -1, an integer
    split[4].extend(field(5, &[field(1, b"axis"), vec![0x18], vec![255; 9], vec![1, 0xa0, 1, 2]].concat()));
    let weights = [matrix("w", 2, 2, &[1.0, 2.0, 3.0, 4.0]), matrix("v", 2, 2, &[5.0, 6.0, 7.0, 8.0])];
    onnx(&split, &weights)
}

#[test]
fn a_graph_with_any_bit_changed_is_read_or_refused() {
    let whole = gated();
    let folder = Folder::new();
    let imported = import_accounted(&folder.file("policy", &whole), &bare(false)).expect("readable");
    let note = "of the 2 outputs of \"v\" the graph uses 0 (node 4 (Split \"\")); the others are no part of the policy";
    assert_eq!(imported.notes, [note]);
    let policy = imported.policy;
    assert_eq!(policy.layers[0].activation, ActivationSpec::Silu);
    assert_eq!(policy.layers[1].activation, ActivationSpec::Elu("1".into()));
    assert_eq!(policy.layers[1].weight.floats(), [5.0, 7.0]);
    let mut refused = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            refused += u32::from(read(&bytes, &bare(false)).is_err());
        }
    }
    assert!(refused > 1000, "{refused} of {}", 8 * whole.len());
}

#[test]
fn a_pickle_that_asks_for_a_shell_is_read_as_nothing() {
    let marker = std::env::temp_dir().join("secateur-pickle-was-executed");
    let attack = format!("\u{0}cos\nsystem\n(S'touch {}'\ntR.", marker.display());
    let bytes = [&[0x80, 2][..], &attack.as_bytes()[1..]].concat();
    assert!(matches!(read(&bytes, &stated()), Err(Problem::OtherFile { .. })));
    let inside = zip_of(&[("archive/data.pkl", &bytes)]);
    assert!(matches!(read(&inside, &stated()), Err(Problem::NoLayers(_))));
    assert!(!marker.exists());
}

#[test]
fn a_zip_bomb_is_refused() {
    let bomb = zip_of(&[("W0.npy", &vec![0; 64 << 20])]);
    assert!(matches!(read(&bomb, &stated()), Err(Problem::ZipBomb { .. })));
}

#[test]
fn files_cut_short_are_refused_at_every_length() {
    let whole = [
        (tensors(&[("0.weight", &[1, 2], &[1.0, 2.0]), ("0.bias", &[1], &[0.0])]), bare(false)),
        (zip_of(&[("W0.npy", &emit_npy(1, 2, &[1.0, 2.0]))]), bare(true)),
        (torch_zip(&[("0.weight", &[1, 2], &[1.0, 2.0])]), bare(true)),
        (onnx(&[node("MatMul", &["x", "w"], "y")], &[matrix("w", 2, 1, &[1.0, 2.0])]), bare(false)),
        (gated(), bare(false)),
    ];
    for (bytes, options) in &whole {
        assert!(read(bytes, options).is_ok());
        for length in 0..bytes.len() {
            assert!(
                read(&bytes[..length], options).is_err(),
                "{length} of {} bytes were accepted",
                bytes.len()
            );
        }
    }
}

#[test]
fn numbers_and_layers_that_are_none() {
    let nan = tensors(&[("0.weight", &[1, 2], &[1.0, f32::NAN])]);
    assert_eq!(read(&nan, &bare(true)), Err(Problem::NotFinite { name: "0.weight".into(), index: 1 }));
    let lstm = tensors(&[("lstm.weight_ih_l0", &[4, 1], &[0.0; 4]), ("0.weight", &[1, 1], &[1.0])]);
    assert_eq!(read(&lstm, &bare(true)), Err(Problem::Recurrent("lstm.weight_ih_l0".into())));
    let image = tensors(&[("0.weight", &[1, 1, 1, 1], &[1.0])]);
    assert!(matches!(read(&image, &bare(true)), Err(Problem::NotAffine { .. })));
    let ragged = tensors(&[("0.weight", &[2, 1], &[1.0; 2]), ("2.weight", &[2, 3], &[1.0; 6])]);
    let wanted = Problem::Chain { before: "0".into(), gives: 2, after: "2".into(), reads: 3 };
    assert_eq!(read(&ragged, &ImportOptions { no_bias: true, ..stated() }), Err(wanted));
    let noise = tensors(&[("0.weight", &[1, 1], &[1.0]), ("log_std", &[64, 1], &[0.0; 64])]);
    let sampled = ImportOptions { head: None, ..bare(true) };
    assert!(matches!(read(&noise, &sampled), Err(Problem::StateDependentNoise(_))));
    assert!(read(&noise, &bare(true)).is_ok(), "the mean alone");
    let squashed =
        tensors(&[("actor.mu.weight", &[1, 1], &[1.0]), ("actor.log_std.weight", &[1, 1], &[1.0])]);
    assert!(matches!(read(&squashed, &sampled), Err(Problem::StateDependentNoise(_))));
    assert_eq!(read(b"hello", &stated()), Err(Problem::UnknownFormat));
}

#[test]
fn what_the_file_does_not_show_is_asked_for() {
    let plain = tensors(&[
        ("0.weight", &[2, 1], &[1.0; 2]),
        ("0.bias", &[2], &[0.0; 2]),
        ("2.weight", &[1, 2], &[1.0; 2]),
        ("2.bias", &[1], &[0.0]),
    ]);
    assert_eq!(read(&plain, &ImportOptions::default()), Err(Problem::NoActivation));
    assert_eq!(read(&plain, &ImportOptions { head: None, ..stated() }), Err(Problem::NoHead));
    let gaussian = ImportOptions { head: Some(HeadKind::Gaussian), ..stated() };
    assert_eq!(read(&plain, &gaussian), Err(Problem::NoLogStd));
    let with = ImportOptions { log_std: Some(LogStd::Values(vec!["-0.5".into()])), ..gaussian };
    let Ok(PolicyData { head: HeadData::Gaussian { log_std }, .. }) = read(&plain, &with) else {
        panic!("the stated log_std is not used")
    };
    assert_eq!(log_std.floats(), [-0.5]);
}

#[test]
fn data_outside_an_onnx_file_is_never_opened() {
    for (path, wanted) in [
        ("../../etc/passwd", "its path climbs out of the model's folder"),
        ("/etc/passwd", "its path is absolute"),
        ("w.bin", "other files, which may be links, are never opened"),
    ] {
        let entry = [field(1, b"location"), field(2, path.as_bytes())].concat();
        let tensor = [vec![8, 2, 8, 1, 16, 1], field(8, b"w"), field(13, &entry), vec![14 << 3, 1]].concat();
        let error = read(&onnx(&[node("MatMul", &["x", "w"], "y")], &[tensor]), &stated());
        let location = path.to_owned();
        assert_eq!(error, Err(Problem::ExternalData { name: "w".into(), location, reason: wanted }));
    }
}

#[test]
fn onnx_nodes_that_are_no_chain_are_named() {
    let weights = || vec![matrix("w", 1, 1, &[2.0]), matrix("t", 1, 1, &[3.0])];
    let refused = |nodes: &[Vec<u8>]| match read(&onnx(nodes, &weights()), &stated()) {
        Err(Problem::OnnxNode { node, .. }) => node,
        other => panic!("{other:?}"),
    };
    let first = || node("MatMul", &["x", "w"], "h");
    assert_eq!(refused(&[first(), node("Add", &["h", "x"], "y")]), "1 (Add \"\")");
    assert_eq!(
        refused(&[first(), node("Softmax", &["h"], "s"), node("Relu", &["s"], "y")]),
        "1 (Softmax \"\")"
    );
    assert_eq!(refused(&[first(), node("Add", &["h", "h"], "y")]), "1 (Add \"\")");
    assert_eq!(refused(&[first(), node("Div", &["h", "t"], "y")]), "1 (Div \"\")");
}

/// On its own the file is the pruned network; where its masks are imported apart, its weights are those before pruning.
#[test]
fn pytorch_pruning_pairs_give_a_policy_and_its_mask() {
    let file = torch_zip(&[
        ("0.weight_orig", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        ("0.weight_mask", &[2, 2], &[1.0, 0.0, 0.0, 1.0]),
        ("0.bias", &[2], &[0.0, 0.0]),
        ("2.weight_orig", &[1, 2], &[5.0, 6.0]),
        ("2.weight_mask", &[1, 2], &[1.0, 1.0]),
        ("2.bias", &[1], &[0.0]),
    ]);
    let folder = Folder::new();
    let path = folder.file("pruned.pt", &file);
    let pruned = import(&path, &stated()).expect("readable");
    assert_eq!(pruned.layers[0].weight.floats(), [1.0, 0.0, 0.0, 4.0]);
    let apart = ImportOptions { masks_apart: true, ..stated() };
    let dense = import_accounted(&path, &apart).expect("readable");
    assert_eq!(dense.policy.layers[0].weight.floats(), [1.0, 2.0, 3.0, 4.0]);
    let mask = import_mask(&path, &dense).expect("a mask");
    assert_eq!(mask.layers[0].kept, [true, false, false, true]);
    assert_eq!((mask.layers[1].kept.as_slice(), mask.sparsity.as_str()), (&[true, true][..], "1/3"));
}
