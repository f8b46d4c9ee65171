//! Tests of this reader, and the files they share with others.

#![allow(clippy::disallowed_types)]
use super::super::safetensors::tests::{f32s, tensors};
use super::*;

const LAYERS: &str = r#""layers":[{"weight":"w0","bias":"b0","activation":"tanh"},{"weight":"w1","bias":"b1","activation":"identity"}]"#;
const GAUSSIAN: &str = r#""head":{"kind":"gaussian","logStd":"s"}"#;
const NORMALISER: &str = r#""normaliser":{"mean":"m","std":"d","clip":"10"}"#;

type Stored<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

fn stored() -> Vec<Stored<'static>> {
    vec![
        ("w0", "F32", &[3, 2], f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("b0", "F32", &[3], f32s(&[0.5, 0.0, -0.5])),
        ("w1", "F32", &[1, 3], f32s(&[1.0, -1.0, 0.25])),
        ("b1", "F32", &[1], f32s(&[0.0])),
        ("s", "F32", &[1], f32s(&[-1.0])),
        ("m", "F64", &[2], [0.1f64, 0.2].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("d", "F32", &[2], f32s(&[1.0, 2.0])),
    ]
}

fn manifest(parts: &[&str]) -> String {
    format!(r#"{{"format":"secateur.policy/1",{}}}"#, parts.join(","))
}

fn read(parts: &[&str], stored: &[Stored<'_>]) -> Result<PolicyFiles, Clause> {
    parse_policy(manifest(parts).as_bytes(), &tensors(stored))
}

/// The policy of these tests: 2-3-1, tanh, Gaussian, with a normaliser.
pub(crate) fn sample() -> PolicyFiles {
    read(&[LAYERS, GAUSSIAN, NORMALISER], &stored()).unwrap()
}

/// The complete policy with one tensor changed.
fn with(name: &'static str, dtype: &'static str, shape: &'static [usize], bytes: Vec<u8>) -> Clause {
    let mut all = stored();
    let slot = all.iter_mut().find(|t| t.0 == name).unwrap();
    *slot = (name, dtype, shape, bytes);
    read(&[LAYERS, GAUSSIAN, NORMALISER], &all).unwrap_err()
}

#[test]
fn a_policy_is_read_exactly() {
    let source = format!(r#""source":{{"name":"hopper.onnx","sha256":"{}"}}"#, "ab".repeat(32));
    let files = read(&[LAYERS, GAUSSIAN, NORMALISER, &source], &stored()).unwrap();
    assert_eq!(files.weight_names, ["w0", "w1"]);
    assert_eq!(files.fixed_names.iter().map(String::as_str).collect::<Vec<_>>(), ["b0", "b1", "d", "m", "s"]);
    let policy = files.policy;
    assert_eq!((policy.network.inputs(), policy.network.outputs()), (2, 1));
    let second = &policy.network.layers[1];
    let values = vec![Dyadic::new(1, 0), Dyadic::new(-1, 0), Dyadic::new(1, -2)];
    assert_eq!(second.weight, Matrix { rows: 1, columns: 3, values });
    assert_eq!(policy.network.layers[0].activation, Activation::Tanh);
    assert_eq!(policy.head, Head::Gaussian { log_std: vec![Dyadic::new(-1, 0)] });
    let normaliser = policy.normaliser.unwrap();
    assert_eq!(normaliser.mean[0], Dyadic::from_ieee(0.1f64.to_bits(), 52, 11).unwrap());
    assert_eq!(normaliser.clip, Some(Rational::parse("10").unwrap()));
    let source = policy.source.unwrap();
    let file = SourceFile { role: "source", name: "hopper.onnx".into(), sha256: "ab".repeat(32) };
    assert_eq!(source, Source { files: vec![file], options: vec![] });
}

#[test]
fn every_activation_has_one_spelling() {
    let r = |t: &str| Rational::parse(t).unwrap();
    let spelled = [
        (r#""identity""#, Activation::Identity),
        (r#""relu""#, Activation::Relu),
        (r#""sigmoid""#, Activation::Sigmoid),
        (r#""hardtanh""#, Activation::Clip { lower: r("-1"), upper: r("1") }),
        (r#"{"kind":"leaky_relu","slope":"0.01"}"#, Activation::LeakyRelu { slope: r("1/100") }),
        (
            r#"{"kind":"clip","lower":"-1","upper":"5/2"}"#,
            Activation::Clip { lower: r("-1"), upper: r("2.5") },
        ),
    ];
    let head = r#""head":{"kind":"deterministic"}"#;
    for (text, activation) in spelled {
        let layers = format!(r#""layers":[{{"weight":"w1","bias":"b1","activation":{text}}}]"#);
        let files = read(&[&layers, head], &stored()[2..4]).unwrap();
        assert_eq!(files.policy.network.layers[0].activation, activation);
    }
    for bad in [
        r#""gelu""#,
        "null",
        r#"{"kind":"relu"}"#,
        r#"{"kind":"leaky_relu"}"#,
        r#"{"kind":"leaky_relu","slope":"1.5"}"#,
        r#"{"kind":"leaky_relu","slope":"-0.1"}"#,
        r#"{"kind":"clip","lower":"1","upper":"1"}"#,
        r#"{"kind":"clip","lower":"0","upper":"1","x":null}"#,
    ] {
        let layers = format!(r#""layers":[{{"weight":"w1","bias":"b1","activation":{bad}}}]"#);
        let error = read(&[&layers, head], &stored()[2..4]).unwrap_err();
        assert!(matches!(&error, Clause::Within { part: Part::PolicyManifest, .. }), "{bad}: {error}");
    }
}

#[test]
fn heads_that_the_bounds_do_not_cover_say_why() {
    for (kind, reason) in [
        ("gsde", Clause::StateDependentStd),
        ("squashed_gaussian", Clause::SquashedGaussian),
        ("recurrent", Clause::Recurrent),
    ] {
        let head = format!(r#""head":{{"kind":"{kind}","logStd":"s"}}"#);
        assert_eq!(read(&[LAYERS, &head], &stored()), Err(reason));
    }
    assert_eq!(with("s", "F32", &[1, 1], f32s(&[0.0])), Clause::StateDependentStd);
    let beta = read(&[LAYERS, r#""head":{"kind":"beta"}"#], &stored());
    assert!(matches!(beta.map_err(|e| e.condition().clone()), Err(Clause::UnknownWord { .. })));
}

#[test]
fn shapes_form_a_chain() {
    let mismatch = with("w1", "F32", &[1, 2], f32s(&[1.0, 1.0]));
    assert_eq!(mismatch, Clause::WidthMismatch { layer: 1, expected: 3, found: 2 });
    for (name, expected) in [("b0", 3), ("s", 1), ("m", 2), ("d", 2)] {
        let error = with(name, "F32", &[4], f32s(&[1.0; 4]));
        assert_eq!(error, Clause::LengthMismatch { name: name.into(), expected, found: 4 });
    }
    assert_eq!(with("w0", "F32", &[0, 2], vec![]), Clause::LayerWidth { layer: 0, width: 0 });
    assert_eq!(with("w0", "F32", &[3, 0], vec![]), Clause::LayerWidth { layer: 0, width: 0 });
    let wide = with("w0", "F16", &[65_537, 2], vec![0; 4 * 65_537]);
    assert_eq!(wide, Clause::LayerWidth { layer: 0, width: 65_537 });
    let vector = with("w0", "F32", &[6], f32s(&[1.0; 6]));
    assert_eq!(
        vector,
        Clause::WrongRank { name: "w0".into(), expected: 2, found: 1 }.within(Part::PolicyTensors)
    );
}

#[test]
fn tensors_and_manifest_name_each_other() {
    let unnamed = read(&[LAYERS, GAUSSIAN], &stored());
    assert_eq!(unnamed, Err(Clause::UnnamedTensor { name: "d".into() }));
    let missing = read(&[LAYERS, GAUSSIAN], &stored()[..4]);
    assert_eq!(missing, Err(Clause::NoTensor { name: "s".into() }.within(Part::PolicyTensors)));
    let twice = read(&[LAYERS, r#""head":{"kind":"gaussian","logStd":"b1"}"#], &stored());
    assert_eq!(twice, Err(Clause::RepeatedName { name: "b1".into() }));
    let head = r#""head":{"kind":"gaussian","logStd":"a\u001b[2J"}"#;
    let error = read(&[LAYERS, head], &stored()).unwrap_err();
    assert_eq!(error, Clause::UnsafeName { name: "a\u{1b}[2J".into() });
    assert!(error.to_string().is_ascii() && !error.to_string().contains('\u{1b}'));
}

/// Factors 1/2 and 4 are standard deviations 2 and 1/4; 3 is 1/3, which no float is.
#[test]
fn a_normaliser_may_store_factors() {
    let normaliser = r#""normaliser":{"mean":"m","factor":"d","clip":"10"}"#;
    let with = |values: &[f32]| {
        let mut all = stored();
        all.last_mut().unwrap().3 = f32s(values);
        read(&[LAYERS, GAUSSIAN, normaliser], &all).map(|files| files.policy.normaliser.unwrap().std)
    };
    let r = |t: &str| Rational::parse(t).unwrap();
    assert_eq!(with(&[0.5, 4.0]), Ok(vec![r("2"), r("1/4")]));
    assert_eq!(with(&[1.0, 3.0]), Ok(vec![r("1"), r("1/3")]));
    for bad in [0.0, -0.0, -1.0] {
        assert_eq!(with(&[1.0, bad]), Err(Clause::StdNotPositive { index: 1 }));
    }
    let both = r#""normaliser":{"mean":"m","std":"d","factor":"d"}"#;
    let error = read(&[LAYERS, GAUSSIAN, both], &stored()).unwrap_err();
    assert!(matches!(error.condition(), Clause::UnknownKey { .. }), "{error}");
}

/// A 1-2 policy with the scale layer diag(2, 3) after it, whose weight no mask may touch.
#[test]
fn scale_layers_are_diagonal_and_not_masked() {
    let all = |scale: &[f32]| {
        vec![
            ("w0", "F32", &[2, 1][..], f32s(&[1.0, -1.0])),
            ("b0", "F32", &[2][..], f32s(&[0.0; 2])),
            ("w1", "F32", &[2, 2][..], f32s(scale)),
            ("b1", "F32", &[2][..], f32s(&[1.0; 2])),
        ]
    };
    let head = r#""head":{"kind":"deterministic"}"#;
    let layers = |first: &str, second: &str| {
        format!(
            r#""layers":[{{"weight":"w0","bias":"b0","activation":"tanh"{first}}},{{"weight":"w1","bias":"b1","activation":"identity"{second}}}]"#
        )
    };
    let fixed = r#","fixed":true"#;
    let files = read(&[&layers("", fixed), head], &all(&[2.0, 0.0, 0.0, 3.0])).unwrap();
    let flags: Vec<bool> = files.policy.network.layers.iter().map(|l| l.fixed).collect();
    assert_eq!(flags, [false, true]);
    assert!(files.fixed_names.contains("w1") && !files.fixed_names.contains("w0"));
    let plain = read(&[&layers("", r#","fixed":false"#), head], &all(&[2.0, 0.5, 0.0, 3.0])).unwrap();
    assert!(!plain.policy.network.layers[1].fixed);
    for full in [[2.0, 0.5, 0.0, 3.0], [2.0, 0.0, -0.5, 3.0]] {
        let error = read(&[&layers("", fixed), head], &all(&full));
        assert_eq!(error, Err(Clause::FixedNotDiagonal { layer: 1 }));
    }
    let error = read(&[&layers(fixed, ""), head], &all(&[2.0, 0.0, 0.0, 3.0]));
    assert_eq!(error, Err(Clause::FixedNotDiagonal { layer: 0 }));
    let alone = format!(r#""layers":[{{"weight":"w1","bias":"b1","activation":"identity"{fixed}}}]"#);
    let error = read(&[&alone, head], &all(&[2.0, 0.0, 0.0, 3.0])[2..]);
    assert_eq!(error, Err(Clause::AllFixed));
}

#[test]
fn normalisers_divide_by_positive_numbers() {
    for bad in [0.0, -0.0, -1.0] {
        let error = with("d", "F32", &[2], f32s(&[1.0, bad]));
        assert_eq!(error, Clause::StdNotPositive { index: 1 });
    }
    let clip = r#""normaliser":{"mean":"m","std":"d","clip":"0"}"#;
    let error = read(&[LAYERS, GAUSSIAN, clip], &stored()).unwrap_err();
    assert!(matches!(error.condition(), Clause::OutOfRange { .. }));
    let free = r#""normaliser":{"mean":"m","std":"d"}"#;
    let files = read(&[LAYERS, GAUSSIAN, free], &stored()).unwrap();
    assert_eq!(files.policy.normaliser.unwrap().clip, None);
}

#[test]
fn numbers_must_be_finite() {
    let error = with("w1", "F32", &[1, 3], f32s(&[0.0, 0.0, f32::NAN]));
    assert_eq!(error, Clause::NotFinite { name: "w1".into(), index: 2 }.within(Part::PolicyTensors));
}

#[test]
fn manifests_are_strict() {
    let extra = read(&[LAYERS, GAUSSIAN, NORMALISER, r#""x":null"#], &stored());
    assert!(matches!(extra.map_err(|e| e.condition().clone()), Err(Clause::UnknownKey { .. })));
    let other = parse_policy(br#"{"format":"secateur.policy/2"}"#, &tensors(&stored()));
    assert!(matches!(other.map_err(|e| e.condition().clone()), Err(Clause::UnknownWord { .. })));
    let number = read(&[LAYERS, GAUSSIAN, r#""normaliser":{"mean":"m","std":"d","clip":10}"#], &stored());
    assert!(matches!(number.map_err(|e| e.condition().clone()), Err(Clause::NumberToken { .. })));
    assert_eq!(read(&[r#""layers":[]"#, GAUSSIAN], &stored()), Err(Clause::NoLayers));
    let layer = r#"{"weight":"w0","bias":"b0","activation":"relu"}"#;
    let many = format!(r#""layers":[{}]"#, vec![layer; 65].join(","));
    assert_eq!(read(&[&many, GAUSSIAN], &stored()), Err(Clause::TooManyLayers { found: 65 }));
    let large = vec![b' '; MAX_MANIFEST + 1];
    let error = parse_policy(&large, &[]).unwrap_err();
    assert_eq!(
        error,
        Clause::TooLarge { size: MAX_MANIFEST + 1, cap: MAX_MANIFEST }.within(Part::PolicyManifest)
    );
    for (name, sha256) in
        [("../x", "ab".repeat(32)), ("a/b", "ab".repeat(32)), ("x", "AB".repeat(32)), ("x", "ab".into())]
    {
        let source = format!(r#""source":{{"name":"{name}","sha256":"{sha256}"}}"#);
        let error = read(&[LAYERS, GAUSSIAN, NORMALISER, &source], &stored()).unwrap_err();
        assert!(matches!(error.condition(), Clause::UnknownWord { .. }));
    }
}

#[test]
fn a_source_says_what_decided_the_import() {
    let read_source = |text: &str| {
        let source = format!(r#""source":{text}"#);
        match read(&[LAYERS, GAUSSIAN, NORMALISER, &source], &stored()) {
            Ok(files) => Ok(files.policy.source.unwrap()),
            Err(Clause::Within { part: Part::PolicyManifest, clause }) => Err(*clause),
            Err(other) => panic!("{other}"),
        }
    };
    let file = |name: &str| format!(r#"{{"name":"{name}","sha256":"{}"}}"#, "ab".repeat(32));
    let (model, other) = (file("a.onnx"), file("b.npy"));
    let full = format!(
        r#"{{"files":{{"log-std":{other},"model":{model},"normaliser":{other}}},"options":{{"prefix":"","head":"gaussian"}}}}"#
    );
    let source = read_source(&full).unwrap();
    let found: Vec<_> = source.files.iter().map(|f| (f.role, f.name.as_str())).collect();
    assert_eq!(found, [("model", "a.onnx"), ("normaliser", "b.npy"), ("log-std", "b.npy")]);
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(source.options, [option("head", "gaussian"), option("prefix", "")]);
    let with =
        |files: &str, rest: &str| read_source(&format!(r#"{{"files":{{{files}}}{rest}}}"#)).unwrap_err();
    let model = format!(r#""model":{model}"#);
    let none = r#","options":{}"#;
    assert!(matches!(with(&model, "").condition(), Clause::MissingKey { .. }));
    assert!(matches!(with("", none).condition(), Clause::MissingKey { .. }));
    assert!(matches!(
        with(&format!(r#"{model},"mask":{other}"#), none).condition(),
        Clause::UnknownKey { .. }
    ));
    assert!(matches!(
        with(&format!(r#"{model},"source":{other}"#), none).condition(),
        Clause::UnknownKey { .. }
    ));
    assert!(matches!(with(&model, r#","options":{},"name":"a""#).condition(), Clause::UnknownKey { .. }));
    assert!(matches!(
        with(r#""model":{"name":"a/b","sha256":""}"#, none).condition(),
        Clause::UnknownWord { .. }
    ));
    let options = |list: &str| with(&model, &format!(r#","options":{{{list}}}"#));
    assert!(matches!(options(r#""a b":"x""#).condition(), Clause::OutOfRange { .. }));
    assert!(matches!(options(r#""a":["x"]"#).condition(), Clause::WrongType { .. }));
    let long = format!(r#""a":"{}""#, "x".repeat(MAX_OPTION + 1));
    assert!(matches!(options(&long).condition(), Clause::OutOfRange { .. }));
    let many: Vec<String> = (0..=MAX_OPTIONS).map(|i| format!(r#""o{i}":"x""#)).collect();
    assert!(matches!(options(&many.join(",")).condition(), Clause::OutOfRange { .. }));
    let most = format!(r#"{{"files":{{{model}}},"options":{{{}}}}}"#, many[1..].join(","));
    assert_eq!(read_source(&most).unwrap().options.len(), MAX_OPTIONS);
}

/// The sample with further members of the manifest.
pub(crate) fn named(more: &[&str]) -> Result<PolicyFiles, Clause> {
    read(&[&[LAYERS, GAUSSIAN, NORMALISER], more].concat(), &stored())
}
