//! The JSON Schema of a certificate's payload, from an untrusted mirror of the checker's reader. `spec/certificate.schema.json`.
//!
//! The schema describes shape only; `secateur_checker::reader::certificate` decides what is read.

#![allow(dead_code)] // the types exist for their schemas alone

use schemars::{JsonSchema, schema_for};
use serde::Serialize;

/// A count: `0` or digits without a leading zero.
#[derive(Serialize, JsonSchema)]
struct Count(#[schemars(regex(pattern = r"^(0|[1-9][0-9]*)$"))] String);

/// An exact number: a decimal or a fraction.
#[derive(Serialize, JsonSchema)]
struct Number(
    #[schemars(length(max = 4112), regex(pattern = r"^-?[0-9]+((\.[0-9]+)?([eE][+-]?[0-9]+)?|/[0-9]+)$"))]
    String,
);

/// A plain SHA-256.
#[derive(Serialize, JsonSchema)]
struct Hex(#[schemars(regex(pattern = r"^[0-9a-f]{64}$"))] String);

/// A digest of an object, whatever file holds it.
#[derive(Serialize, JsonSchema)]
struct ObjectDigest(#[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))] String);

/// An in-toto Statement v1 with a Secateur certificate as its predicate.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Secateur certificate, version 1.2.0")]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: StatementType,
    #[serde(rename = "predicateType")]
    predicate_type: PredicateType,
    /// `policy.json`, then `policy.safetensors`.
    #[schemars(length(equal = 2))]
    subject: Vec<File>,
    predicate: Predicate,
}

#[derive(Serialize, JsonSchema)]
enum StatementType {
    #[serde(rename = "https://in-toto.io/Statement/v1")]
    V1,
}

#[derive(Serialize, JsonSchema)]
enum PredicateType {
    #[serde(rename = "https://secateur.dev/certificate/v1")]
    V1,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Digest {
    sha256: Hex,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    digest: Digest,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    role: Role,
    name: String,
    digest: Digest,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Role {
    Chain,
    Mask,
    States,
    Source,
    Model,
    Normaliser,
    LogStd,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Predicate {
    schema_version: Version,
    result: Outcome,
    model: Model,
    method: Method,
    #[schemars(length(min = 1))]
    claims: Vec<Claim>,
    chain: Chain,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<RegionBox>", length(min = 1, max = 1024))]
    regions: Option<Vec<RegionBox>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Radius>", length(min = 1, max = 4096))]
    radius: Option<Vec<Radius>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Regret>", length(min = 1, max = 4096))]
    regret: Option<Vec<Regret>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Statistical>", length(min = 1, max = 4096))]
    statistical: Option<Vec<Statistical>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Counterexample>", length(min = 1, max = 65536))]
    counterexample: Option<Vec<Counterexample>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Witness")]
    witness: Option<Witness>,
    assumptions: Vec<String>,
    limits: Vec<String>,
    inputs: Vec<Input>,
    verifier: Program,
    checker: Program,
    seed: String,
}

#[derive(Serialize, JsonSchema)]
enum Version {
    #[serde(rename = "1.2.0")]
    V1,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Verified,
}

#[derive(Serialize, JsonSchema)]
enum Semantics {
    #[serde(rename = "real-arithmetic")]
    Real,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Head {
    Gaussian,
    Categorical,
    Deterministic,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Model {
    semantics: Semantics,
    weights_digest: ObjectDigest,
    head: Head,
    #[schemars(length(min = 1, max = 1024))]
    masks: Vec<Mask>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mask {
    name: String,
    digest: ObjectDigest,
    pruned: Count,
    total: Count,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Units {
    Raw,
    Normalised,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Method {
    perturbation: Perturbation,
    state_units: Units,
    states: Count,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Perturbation {
    Ball(Ball),
    Radii(Radii),
    Sensor(Sensor),
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sensor {
    shape: SensorShape,
    radii: Vec<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<Vec<SharedOffset>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Vec<InputLimit>>,
    units: Units,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SensorShape {
    Sensor,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SharedOffset {
    radius: Number,
    inputs: Vec<Count>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InputLimit {
    input: Count,
    lower: Number,
    upper: Number,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ball {
    shape: BallShape,
    radius: Number,
    units: Units,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum BallShape {
    Linf,
    L2,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Radii {
    shape: RadiiShape,
    radii: Vec<Number>,
    units: Units,
}

#[derive(Serialize, JsonSchema)]
enum RadiiShape {
    #[serde(rename = "per-coordinate")]
    PerCoordinate,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Claim {
    family: String,
    mask: Count,
    quantity: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    output: Option<Count>,
    values: Vec<Number>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Quantity {
    ActionDeviation,
    TotalVariation,
    KlDivergence,
    SameActionMargin,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Chain {
    verdicts: Vec<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Bracket>", length(min = 1, max = 2048))]
    bracket: Option<Vec<Bracket>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Bracket {
    of: FromBelow,
    step: Count,
    verdict: Shown,
    hurt: Count,
    places: Count,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Place")]
    at: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Number")]
    at_most_before: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Number")]
    at_least_after: Option<Number>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Shown {
    Hurt,
    NotShown,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum FromBelow {
    ActionDeviation,
    TotalVariation,
}

/// What the witness file's points show from below.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Counterexample {
    mask: Count,
    quantity: FromBelow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    output: Option<Count>,
    at_least: Vec<Number>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Verdict {
    family: String,
    of: Compared,
    step: Count,
    verdict: Word,
    tightened: Count,
    unchanged: Count,
    loosened: Count,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Place")]
    at: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Number")]
    before: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Number")]
    after: Option<Number>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Compared {
    ActionDeviation,
    LayerNorm,
    Product,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Word {
    TightensByTheorem,
    Tightened,
    Unchanged,
    Loosened,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    state: Option<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    index: Option<Count>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Witness {
    name: String,
    digest: Digest,
    size: Count,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Program {
    id: String,
    version: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    lower: Number,
    upper: Number,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    Sup,
    Expectation,
    Horizon,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Region {
    AllStates,
    ListedStates,
}

/// Every state of a box under one mask.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RegionBox {
    lower: Vec<Number>,
    upper: Vec<Number>,
    mask: Count,
    #[schemars(length(min = 1))]
    claims: Vec<RegionClaim>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RegionClaim {
    quantity: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    output: Option<Count>,
    value: Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Share>")]
    shares: Option<Vec<Share>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Share {
    threshold: Number,
    fraction: Number,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Radius {
    family: String,
    mask: Count,
    quantity: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Multiple")]
    limit: Option<Multiple>,
    proved: Vec<Multiple>,
    broken: Vec<Broken>,
}

/// An exact number that is at least 0.
#[derive(Serialize, JsonSchema)]
struct Multiple(
    #[schemars(length(max = 4112), regex(pattern = r"^[0-9]+((\.[0-9]+)?([eE][+-]?[0-9]+)?|/[0-9]+)$"))]
    String,
);

/// A multiple, or `none`.
#[derive(Serialize, JsonSchema)]
struct Broken(
    #[schemars(
        length(max = 4112),
        regex(pattern = r"^(none|[0-9]+((\.[0-9]+)?([eE][+-]?[0-9]+)?|/[0-9]+))$")
    )]
    String,
);

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Regret {
    family: String,
    mask: Count,
    form: Form,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Number")]
    discount: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    horizon: Option<Count>,
    reward_range: Range,
    episodes_can_end: bool,
    region: Region,
    value: Number,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Expected {
    reward_range: Range,
    episodes_can_end: bool,
    value: Number,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Statistical {
    kind: Kind,
    family: String,
    mask: Count,
    sampler: String,
    discount: Number,
    samples: Count,
    ended: Count,
    cut_off: Count,
    confidence: Number,
    masks: Count,
    inequalities: Count,
    method: String,
    value: Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Expected")]
    regret: Option<Expected>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Statistical,
}

/// The schema as a document of lines, with a final line feed.
pub fn certificate_schema() -> String {
    format!("{:#}\n", schema_for!(Statement).to_value())
}
