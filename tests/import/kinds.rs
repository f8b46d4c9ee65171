//! A row for each kind of state dictionary that people keep: what it computes, or why it is refused. `spec/import.md`.
//! The files are written here, so that each says what the row is about and nothing else.

use proptest::prelude::*;
use secateur::import::masks::import_mask;
use secateur::import::{HeadKind, ImportOptions, Imported, LogStd, import, import_accounted, read_arrays};
use secateur::policy::{ActivationSpec, HeadData, PolicyData};

use secateur_testkit::foreign::{self, Folder, Tensor, Value, dictionary, npz, safetensors, torch_file};

/// How the tensors of a row are packed.
#[derive(Clone, Copy)]
enum Format {
    Torch,
    Safetensors(&'static [(&'static str, &'static str)]),
    Npz(&'static [(&'static str, &'static [&'static str])]),
}

impl Format {
    fn pack(self, tensors: &[Tensor]) -> Vec<u8> {
        match self {
            Self::Torch => torch_file(&dictionary(tensors)),
            Self::Safetensors(metadata) => safetensors(tensors, metadata),
            Self::Npz(texts) => npz(tensors, texts),
        }
    }
}

type Outputs = fn(&Reference, &[f64]) -> Vec<f64>;

/// A file that is read: its tensors, options and what it computes.
struct Row {
    name: &'static str,
    format: Format,
    tensors: Vec<Tensor>,
    options: ImportOptions,
    outputs: Outputs,
}

/// The numbers of the reference network: 2 inputs, 3 and 3 hidden units, 2 outputs, relu.
struct Reference {
    weights: [Vec<f32>; 3],
    biases: [Vec<f32>; 3],
}

const SHAPES: [[usize; 2]; 3] = [[3, 2], [3, 3], [2, 3]];

/// `n` numbers in (-1, 1), none of them 0.
fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| (((i * 7 + seed * 13) % 31) as f32 - 15.5) / 16.0).collect()
}

fn reference() -> Reference {
    let weights = [0, 1, 2].map(|i| numbers(SHAPES[i][0] * SHAPES[i][1], i + 1));
    Reference { weights, biases: [0, 1, 2].map(|i| numbers(SHAPES[i][0], i + 5)) }
}

fn affine(weight: &[f32], bias: &[f32], input: &[f64]) -> Vec<f64> {
    let rows = weight.chunks_exact(input.len()).zip(bias);
    rows.map(|(row, b)| row.iter().zip(input).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*b))
        .collect()
}

fn relu(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|v| v.max(0.0)).collect()
}

fn elu(value: f64, alpha: f64) -> f64 {
    if value >= 0.0 { value } else { alpha * value.exp_m1() }
}

fn silu(value: f64) -> f64 {
    value / (1.0 + (-value).exp())
}

fn fraction(text: &str) -> f64 {
    let (over, under) = text.split_once('/').unwrap_or((text, "1"));
    over.parse::<f64>().expect("a number") / under.parse::<f64>().expect("a number")
}

/// The reference network with another function in place of relu.
fn with_hidden(net: &Reference, input: &[f64], hidden: impl Fn(f64) -> f64) -> Vec<f64> {
    let through = |values: Vec<f64>| values.into_iter().map(&hidden).collect::<Vec<f64>>();
    let first = through(affine(&net.weights[0], &net.biases[0], input));
    let second = through(affine(&net.weights[1], &net.biases[1], &first));
    affine(&net.weights[2], &net.biases[2], &second)
}

/// The reference network itself.
fn plain(net: &Reference, input: &[f64]) -> Vec<f64> {
    let first = relu(affine(&net.weights[0], &net.biases[0], input));
    let second = relu(affine(&net.weights[1], &net.biases[1], &first));
    affine(&net.weights[2], &net.biases[2], &second)
}

fn tensor(name: &str, shape: &[usize], values: Vec<f32>) -> Tensor {
    (name.to_owned(), shape.to_vec(), values)
}

/// The reference network under these stems, weights and biases.
fn network(stems: [&str; 3]) -> Vec<Tensor> {
    let net = reference();
    let layers = stems.iter().enumerate().flat_map(|(i, stem)| {
        [
            tensor(&format!("{stem}.weight"), &SHAPES[i], net.weights[i].clone()),
            tensor(&format!("{stem}.bias"), &[SHAPES[i][0]], net.biases[i].clone()),
        ]
    });
    layers.collect()
}

fn with(mut tensors: Vec<Tensor>, more: Vec<Tensor>) -> Vec<Tensor> {
    tensors.extend(more);
    tensors
}

/// Other tensors under the names of one layer.
fn replaced(tensors: Vec<Tensor>, name: &str, by: Vec<Tensor>) -> Vec<Tensor> {
    let place = tensors.iter().position(|(n, ..)| n == name).expect("the tensor is there");
    let mut tensors = tensors;
    tensors.splice(place..=place, by);
    tensors
}

fn critic(stem: &str) -> Vec<Tensor> {
    vec![
        tensor(&format!("{stem}.0.weight"), &[3, 2], numbers(6, 20)),
        tensor(&format!("{stem}.0.bias"), &[3], numbers(3, 21)),
        tensor(&format!("{stem}.2.weight"), &[1, 3], numbers(3, 22)),
        tensor(&format!("{stem}.2.bias"), &[1], numbers(1, 23)),
    ]
}

fn deterministic() -> ImportOptions {
    ImportOptions {
        head: Some(HeadKind::Deterministic),
        activation: Some(ActivationSpec::Relu),
        ..ImportOptions::default()
    }
}

fn row(name: &'static str, tensors: Vec<Tensor>) -> Row {
    Row { name, format: Format::Torch, tensors, options: deterministic(), outputs: plain }
}

const ACTOR: [&str; 3] = ["actor.0", "actor.2", "actor.4"];
const PLAIN: [&str; 3] = ["fc1", "fc2", "fc3"];

/// Rows whose network is the reference itself, under the names that people use.
fn named_rows() -> Vec<Row> {
    let counter = |name: &str| tensor(name, &[], vec![7.0]);
    vec![
        row("a bare sequence", network(["0", "2", "4"])),
        row(
            "a trunk with two heads",
            with(
                network(["body.0", "body.2", "policy_head"]),
                vec![
                    tensor("value_head.weight", &[1, 3], numbers(3, 9)),
                    tensor("value_head.bias", &[1], numbers(1, 9)),
                ],
            ),
        ),
        row(
            "fc_pi beside fc_v",
            with(
                network(["fc1", "fc2", "fc_pi"]),
                vec![tensor("fc_v.weight", &[1, 3], numbers(3, 9)), tensor("fc_v.bias", &[1], numbers(1, 9))],
            ),
        ),
        row(
            "an encoder for each",
            with(
                network([
                    "encoder.actor_encoder.net.mlp.0",
                    "encoder.actor_encoder.net.mlp.2",
                    "pi.net.mlp.0",
                ]),
                with(critic("encoder.critic_encoder.net.mlp"), critic("vf.net.mlp")),
            ),
        ),
        row(
            "a target copy",
            with(network(ACTOR), network(["actor_target.0", "actor_target.2", "actor_target.4"])),
        ),
        row("an average copy", with(network(PLAIN), network(["ema.fc1", "ema.fc2", "ema.fc3"]))),
        row("values of actions as outputs", network(["fc1", "fc2", "q_values"])),
        row("a value network that is the policy", network(["value_net.0", "value_net.2", "value_net.4"])),
        row(
            "a head of several values beside the policy",
            with(
                network(["fc1", "fc2", "pi"]),
                vec![
                    tensor("value_head.weight", &[4, 3], numbers(12, 9)),
                    tensor("value_head.bias", &[4], numbers(4, 9)),
                ],
            ),
        ),
        row(
            "a variance beside the mean",
            with(
                network(["fc1", "fc2", "fc_mu"]),
                vec![
                    tensor("fc_var.weight", &[2, 3], numbers(6, 9)),
                    tensor("fc_var.bias", &[2], numbers(2, 9)),
                ],
            ),
        ),
        row("a temperature", with(network(PLAIN), vec![tensor("log_alpha", &[1], vec![0.5])])),
        row("counters", with(network(PLAIN), vec![counter("epoch"), counter("global_step")])),
        Row {
            options: ImportOptions { prefix: Some("pi".into()), ..deterministic() },
            ..row(
                "a prefix",
                with(network(["pi.0", "pi.2", "pi.4"]), network(["other.0", "other.2", "other.4"])),
            )
        },
        Row {
            options: ImportOptions { ignore: vec!["disc".into()], ..deterministic() },
            ..row("a network that the person names", with(network(PLAIN), critic("disc")))
        },
        Row { format: Format::Safetensors(&[]), ..row("safetensors", network(["net.2", "net.4", "net.10"])) },
        Row {
            format: Format::Npz(&[("activation", &["relu"])]),
            options: ImportOptions { activation: None, ..deterministic() },
            tensors: npz_names(),
            ..row("NPZ that says its activation", Vec::new())
        },
        Row {
            format: Format::Npz(&[("activation", &["relu", "relu"])]),
            options: ImportOptions { activation: None, ..deterministic() },
            tensors: npz_names(),
            ..row("NPZ with an activation for each layer", Vec::new())
        },
        Row {
            options: ImportOptions { activation: Some(ActivationSpec::Silu), ..deterministic() },
            outputs: |net, x| with_hidden(net, x, silu),
            ..row("swish as the person says it", network(PLAIN))
        },
        Row {
            format: Format::Npz(&[("activation", &["ELU"])]),
            options: ImportOptions { activation: None, ..deterministic() },
            outputs: |net, x| with_hidden(net, x, |v| elu(v, 1.0)),
            tensors: npz_names(),
            ..row("ELU by the name of its class", Vec::new())
        },
        Row {
            format: Format::Safetensors(&[("activation", "elu:0.25")]),
            options: ImportOptions { activation: None, ..deterministic() },
            outputs: |net, x| with_hidden(net, x, |v| elu(v, 0.25)),
            ..row("ELU with its alpha", network(["0", "2", "4"]))
        },
        Row {
            format: Format::Safetensors(&[("activation", "swish,SiLU")]),
            options: ImportOptions { activation: None, ..deterministic() },
            outputs: |net, x| with_hidden(net, x, silu),
            ..row("SiLU by both of its names", network(["0", "2", "4"]))
        },
        Row {
            format: Format::Safetensors(&[]),
            options: ImportOptions {
                layers: Some(["b", "a", "c"].map(str::to_owned).to_vec()),
                ..deterministic()
            },
            ..row("names without order, and --layers", network(["b", "a", "c"]))
        },
    ]
}

fn npz_names() -> Vec<Tensor> {
    let short = |name: String| match name.split_once('.') {
        Some((number, "weight")) => format!("W{number}"),
        Some((number, _)) => format!("b{number}"),
        None => name,
    };
    network(["0", "1", "2"]).into_iter().map(|(name, shape, values)| (short(name), shape, values)).collect()
}

/// Rows whose weights are computed from what the file holds.
fn computed_rows() -> Vec<Row> {
    let net = reference();
    let weight = || net.weights[1].clone();
    let masked = |extra: Vec<Tensor>| {
        with(
            replaced(
                network(PLAIN),
                "fc2.weight",
                vec![
                    tensor("fc2.weight_orig", &[3, 3], weight()),
                    tensor("fc2.weight_mask", &[3, 3], vec![1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]),
                ],
            ),
            extra,
        )
    };
    vec![
        Row {
            outputs: |net, x| {
                let mut pruned = Reference { weights: net.weights.clone(), biases: net.biases.clone() };
                for index in [1, 5, 6] {
                    pruned.weights[1][index] = 0.0;
                }
                plain(&pruned, x)
            },
            ..row("a pruned weight", masked(vec![]))
        },
        Row {
            outputs: |net, x| {
                let mut pruned = Reference { weights: net.weights.clone(), biases: net.biases.clone() };
                pruned.biases[0][1] = 0.0;
                plain(&pruned, x)
            },
            ..row(
                "a pruned bias",
                replaced(
                    network(PLAIN),
                    "fc1.bias",
                    vec![
                        tensor("fc1.bias_orig", &[3], net.biases[0].clone()),
                        tensor("fc1.bias_mask", &[3], vec![1.0, 0.0, 1.0]),
                    ],
                ),
            )
        },
        // the direction is the weight and the magnitude its rows' norms, so that the product is the weight again
        row(
            "weight norm",
            replaced(
                network(PLAIN),
                "fc2.weight",
                vec![
                    tensor("fc2.parametrizations.weight.original0", &[3, 1], row_norms(&weight())),
                    tensor(
                        "fc2.parametrizations.weight.original1",
                        &[3, 3],
                        weight().iter().map(|w| w * 2.0).collect(),
                    ),
                ],
            ),
        ),
        row(
            "the older weight norm",
            replaced(
                network(PLAIN),
                "fc2.weight",
                vec![
                    tensor("fc2.weight_g", &[3, 1], row_norms(&weight())),
                    tensor("fc2.weight_v", &[3, 3], weight()),
                ],
            ),
        ),
        // u and v pick the first entry, which is 4 times that of the weight
        row(
            "spectral norm",
            replaced(
                network(PLAIN),
                "fc2.weight",
                vec![
                    tensor("fc2.weight_orig", &[3, 3], weight().iter().map(|w| w * 4.0).collect()),
                    tensor("fc2.weight_u", &[3], vec![1.0 / weight()[0], 0.0, 0.0]),
                    tensor("fc2.weight_v", &[3], vec![1.0, 0.0, 0.0]),
                ],
            ),
        ),
        Row {
            format: Format::Safetensors(&[("c.weight", "b.weight"), ("c.bias", "b.bias"), ("format", "pt")]),
            outputs: |net, x| {
                let first = relu(affine(&net.weights[0], &net.biases[0], x));
                let second = relu(affine(&net.weights[1], &net.biases[1], &first));
                let third = relu(affine(&net.weights[1], &net.biases[1], &second));
                affine(&net.weights[2], &net.biases[2], &third)
            },
            options: ImportOptions {
                layers: Some(["a", "b", "c", "d"].map(str::to_owned).to_vec()),
                ..deterministic()
            },
            ..row("tied tensors", network(["a", "b", "d"]))
        },
        Row {
            outputs: |net, x| {
                let first = affine(&net.weights[0], &net.biases[0], x);
                let root = (0.25f64 + 1e-5).sqrt();
                let normed = first.iter().map(|v| (v - 0.5) / root * 2.0 + 1.0).collect();
                let second = relu(affine(&net.weights[1], &net.biases[1], &relu(normed)));
                affine(&net.weights[2], &net.biases[2], &second)
            },
            ..row("BatchNorm before its activation", with(network(["0", "3", "5"]), batch_norm("1", true)))
        },
        Row {
            outputs: |net, x| {
                let first = relu(affine(&net.weights[0], &net.biases[0], x));
                let root = (0.25f64 + 1e-5).sqrt();
                let normed: Vec<f64> = first.iter().map(|v| (v - 0.5) / root).collect();
                let second = relu(affine(&net.weights[1], &net.biases[1], &normed));
                affine(&net.weights[2], &net.biases[2], &second)
            },
            ..row("BatchNorm after its activation", with(network(["0", "3", "5"]), batch_norm("2", false)))
        },
    ]
}

fn row_norms(weight: &[f32]) -> Vec<f32> {
    weight.chunks_exact(3).map(|row| row.iter().map(|w| w * w).sum::<f32>().sqrt()).collect()
}

fn batch_norm(stem: &str, affine: bool) -> Vec<Tensor> {
    let named = |leaf: &str, shape: &[usize], value: f32| {
        tensor(&format!("{stem}.{leaf}"), shape, vec![value; shape.iter().product()])
    };
    let mut all = vec![
        named("running_mean", &[3], 0.5),
        named("running_var", &[3], 0.25),
        named("num_batches_tracked", &[], 9.0),
    ];
    if affine {
        all.extend([named("weight", &[3], 2.0), named("bias", &[3], 1.0)]);
    }
    all
}

/// Rows with statistics of observations, noise or scaled actions.
fn deployed_rows() -> Vec<Row> {
    let mean = || vec![0.25, -0.5];
    let gaussian = || ImportOptions { head: None, ..deterministic() };
    let rsl = |stem: &str| {
        vec![
            tensor(&format!("{stem}._mean"), &[1, 2], mean()),
            tensor(&format!("{stem}._var"), &[1, 2], vec![4.0, 0.25]),
            tensor(&format!("{stem}._std"), &[1, 2], vec![2.0, 0.5]),
            tensor(&format!("{stem}.count"), &[], vec![9.0]),
        ]
    };
    let rsl_outputs: Outputs = |net, x| plain(net, &[(x[0] - 0.25) / 2.01, (x[1] + 0.5) / 0.51]);
    let in_model = |name: &str| format!("model_state_dict.{name}");
    let model = |tensors: Vec<Tensor>| -> Vec<Tensor> {
        tensors.into_iter().map(|(name, shape, values)| (in_model(&name), shape, values)).collect()
    };
    let actor = || with(network(ACTOR), vec![tensor("std", &[2], vec![0.4, 0.5])]);
    vec![
        Row {
            options: gaussian(),
            outputs: rsl_outputs,
            ..row(
                "rsl_rl",
                model(with(
                    with(actor(), critic("critic")),
                    with(rsl("actor_obs_normalizer"), rsl("critic_obs_normalizer")),
                )),
            )
        },
        Row {
            options: ImportOptions { activation: Some(ActivationSpec::Elu("1".into())), ..gaussian() },
            outputs: |net, x| with_hidden(net, &[(x[0] - 0.25) / 2.01, (x[1] + 0.5) / 0.51], |v| elu(v, 1.0)),
            ..row(
                "rsl_rl with ELU, noise by its logarithm",
                model(with(
                    with(network(ACTOR), vec![tensor("log_std", &[2], vec![-0.5, 0.25])]),
                    with(critic("critic"), with(rsl("actor_obs_normalizer"), rsl("critic_obs_normalizer"))),
                )),
            )
        },
        Row {
            options: gaussian(),
            outputs: rsl_outputs,
            ..row(
                "rsl_rl's earlier layout",
                with(
                    model(with(actor(), critic("critic"))),
                    with(rsl("obs_norm_state_dict"), rsl("critic_obs_norm_state_dict")),
                ),
            )
        },
        Row {
            options: ImportOptions { prefix: Some("model_state_dict.actor".into()), ..gaussian() },
            outputs: rsl_outputs,
            ..row("rsl_rl by its prefix", with(model(actor()), rsl("obs_norm_state_dict")))
        },
        Row {
            outputs: |net, x| {
                let root = |v: f64| (v + 1e-5).sqrt();
                let normed = [(x[0] - 0.25) / root(4.0), (x[1] + 0.5) / root(0.25)];
                plain(net, &normed.map(|v| v.clamp(-5.0, 5.0)))
            },
            ..row(
                "rl_games",
                with(
                    with(
                        vec![
                            tensor("model.running_mean_std.running_mean", &[2], mean()),
                            tensor("model.running_mean_std.running_var", &[2], vec![4.0, 0.25]),
                            tensor("model.running_mean_std.count", &[], vec![9.0]),
                            tensor("model.value_mean_std.running_mean", &[1], vec![3.0]),
                            tensor("model.value_mean_std.running_var", &[1], vec![3.0]),
                            tensor("model.a2c_network.sigma", &[2], vec![0.0, -1.0]),
                        ],
                        network([
                            "model.a2c_network.actor_mlp.0",
                            "model.a2c_network.actor_mlp.2",
                            "model.a2c_network.mu",
                        ]),
                    ),
                    vec![
                        tensor("model.a2c_network.value.weight", &[1, 3], numbers(3, 4)),
                        tensor("model.a2c_network.value.bias", &[1], numbers(1, 4)),
                    ],
                ),
            )
        },
        Row {
            options: ImportOptions {
                normaliser_epsilon: Some("1e-8".into()),
                clip: Some("10".into()),
                ..deterministic()
            },
            outputs: |net, x| {
                let normed = [(x[0] - 0.25) / (4.0f64 + 1e-8).sqrt(), (x[1] + 0.5) / (0.25f64 + 1e-8).sqrt()];
                plain(net, &normed.map(|v| v.clamp(-10.0, 10.0)))
            },
            ..row(
                "obs_rms beside the model",
                with(
                    network(PLAIN),
                    vec![
                        tensor("obs_rms.mean", &[2], mean()),
                        tensor("obs_rms.var", &[2], vec![4.0, 0.25]),
                        tensor("obs_rms.count", &[], vec![9.0]),
                    ],
                ),
            )
        },
        Row {
            outputs: |net, x| plain(net, x).iter().map(|y| y.tanh() * 2.0 + 0.5).collect(),
            ..row(
                "CleanRL's scaled actions",
                with(
                    vec![tensor("action_scale", &[1], vec![2.0]), tensor("action_bias", &[1], vec![0.5])],
                    network(["fc1", "fc2", "fc_mu"]),
                ),
            )
        },
        row(
            "the mean of a policy that computes its noise",
            with(
                network(["fc1", "fc2", "fc_mean"]),
                vec![
                    tensor("fc_logstd.weight", &[2, 3], numbers(6, 3)),
                    tensor("fc_logstd.bias", &[2], numbers(2, 3)),
                ],
            ),
        ),
        Row {
            options: gaussian(),
            ..row(
                "a log_std of its own",
                with(
                    network(["pi.mu_net.0", "pi.mu_net.2", "pi.mu_net.4"]),
                    vec![tensor("pi.log_std", &[2], vec![-0.5, 0.5])],
                ),
            )
        },
    ]
}

fn rows() -> Vec<Row> {
    named_rows().into_iter().chain(computed_rows()).chain(deployed_rows()).collect()
}

/// What an imported policy computes, in binary64.
fn evaluate(policy: &PolicyData, input: &[f64]) -> Vec<f64> {
    let mut values = input.to_vec();
    if let Some(normaliser) = &policy.normaliser {
        let (mean, std) = (normaliser.mean.floats(), normaliser.scaling.tensor().floats());
        values = values.iter().zip(mean.iter().zip(&std)).map(|(x, (m, s))| (x - m) / s).collect();
        if let Some(clip) = &normaliser.clip {
            let clip: f64 = clip.parse().expect("an integer");
            values.iter_mut().for_each(|v| *v = v.clamp(-clip, clip));
        }
    }
    for layer in &policy.layers {
        let (weight, bias) = (layer.weight.floats(), layer.bias.floats());
        let rows = weight.chunks_exact(values.len()).zip(&bias);
        values = rows.map(|(row, b)| row.iter().zip(&values).map(|(w, x)| w * x).sum::<f64>() + b).collect();
        for value in &mut values {
            *value = match &layer.activation {
                ActivationSpec::Identity => *value,
                ActivationSpec::Relu => value.max(0.0),
                ActivationSpec::Tanh => value.tanh(),
                ActivationSpec::Elu(alpha) => elu(*value, fraction(alpha)),
                ActivationSpec::Silu => silu(*value),
                other => panic!("{other:?}"),
            };
        }
    }
    values
}

fn read(bytes: &[u8], options: &ImportOptions) -> Result<Imported, String> {
    let folder = Folder::new();
    import_accounted(&folder.file("policy", bytes), options).map_err(|error| error.problem.to_string())
}

const INPUTS: [[f64; 2]; 4] = [[0.0, 0.0], [1.0, -1.0], [0.3, 4.0], [-20.0, 0.7]];

#[test]
fn every_kind_computes_what_its_framework_computes() {
    let net = reference();
    for row in rows() {
        let imported = read(&row.format.pack(&row.tensors), &row.options);
        let policy = imported.unwrap_or_else(|error| panic!("{}: {error}", row.name)).policy;
        for input in &INPUTS {
            let (found, wanted) = (evaluate(&policy, input), (row.outputs)(&net, input));
            let close = found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0));
            assert!(close && found.len() == wanted.len(), "{}: {found:?} instead of {wanted:?}", row.name);
        }
    }
}

/// Scale layers are no weights, and stored deviations become their logarithms.
#[test]
fn heads_and_scale_layers() {
    let by_name = |name: &str| rows().into_iter().find(|row| row.name == name).expect("a row");
    let policy = |row: &Row| read(&row.format.pack(&row.tensors), &row.options).expect("readable").policy;
    let scaled = policy(&by_name("CleanRL's scaled actions"));
    assert_eq!(
        scaled.layers.iter().map(|layer| layer.fixed).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    let HeadData::Gaussian { log_std } = policy(&by_name("rsl_rl")).head else { panic!("a gaussian head") };
    assert_eq!(log_std.floats(), [f64::from(0.4f32).ln(), 0.5f64.ln()]);
    let row = by_name("rl_games");
    let gaussian = ImportOptions { head: None, ..row.options.clone() };
    let HeadData::Gaussian { log_std } = policy(&Row { options: gaussian, ..row }).head else { panic!() };
    assert_eq!(log_std.floats(), [0.0, -1.0]);
}

#[test]
fn every_tensor_is_used_or_ignored_by_a_written_rule() {
    let spec = include_str!("../../spec/import.md");
    for row in rows() {
        let bytes = row.format.pack(&row.tensors);
        let folder = Folder::new();
        let path = folder.file("policy", &bytes);
        let imported = import_accounted(&path, &row.options).unwrap_or_else(|e| panic!("{}: {e}", row.name));
        let ignored: Vec<&String> = imported.ignored.iter().map(|(name, _)| name).collect();
        for name in read_arrays(&path).expect("arrays").named.keys() {
            let times = usize::from(imported.used.contains(name)) + usize::from(ignored.contains(&name));
            assert_eq!(times, 1, "{}: {name}", row.name);
        }
        for (name, reason) in &imported.ignored {
            assert!(spec.contains(&format!("| {reason} |")), "{}: {name} is ignored as {reason:?}", row.name);
        }
    }
}

/// Name of a refused file, its tensors, how it is asked for, and words of the refusal.
type Refusal = (&'static str, Vec<Tensor>, ImportOptions, &'static str);

fn refused_rows() -> Vec<Refusal> {
    let one = |name: &str, shape: &[usize]| vec![tensor(name, shape, numbers(shape.iter().product(), 3))];
    let without = |name: &str| -> Vec<Tensor> {
        network(PLAIN).into_iter().filter(|(other, ..)| other != name).collect()
    };
    let square = |stems: [&str; 3]| -> Vec<Tensor> {
        let layers = stems.iter().enumerate().flat_map(|(i, stem)| {
            [
                tensor(&format!("{stem}.weight"), &[2, 2], numbers(4, i)),
                tensor(&format!("{stem}.bias"), &[2], numbers(2, i)),
            ]
        });
        layers.collect()
    };
    let base = deterministic;
    vec![
        ("a stray vector", with(network(PLAIN), one("gate", &[3])), base(), "\"gate\" is used by no layer"),
        ("a stray layer", with(network(PLAIN), one("extra.weight", &[5, 7])), base(), "--prefix or --layers"),
        ("a lost bias", without("fc2.bias"), base(), "--no-bias"),
        ("a lost weight", without("fc2.weight"), base(), "the file is incomplete"),
        (
            "deviations that fit no head",
            with(network(PLAIN), with(one("std_in.weight", &[3, 9]), one("std_in.bias", &[3]))),
            base(),
            "--prefix or --layers",
        ),
        (
            "LayerNorm",
            with(network(PLAIN), with(one("norm.weight", &[3]), one("norm.bias", &[3]))),
            base(),
            "normalisation layer",
        ),
        (
            "BatchNorm by name alone",
            with(network(PLAIN), batch_norm("bn1", true)),
            base(),
            "normalisation layer",
        ),
        ("a convolution", with(network(PLAIN), one("conv.weight", &[3, 2, 3, 3])), base(), "no affine layer"),
        ("a recurrence", with(network(PLAIN), one("lstm.weight_ih_l0", &[3, 3])), base(), "recurrent"),
        ("attention", with(network(PLAIN), one("attn.q_proj.weight", &[3, 3])), base(), "attention"),
        ("two streams", with(network(PLAIN), one("advantage.weight", &[2, 3])), base(), "duelling"),
        ("A beside V", with(network(["fc1", "fc2", "A"]), one("V.weight", &[1, 3])), base(), "duelling"),
        ("Q beside V", with(network(["m.0", "m.2", "Q.0"]), one("V.0.weight", &[1, 3])), base(), "duelling"),
        (
            "action_values beside state_value",
            with(network(["fc1", "fc2", "action_values"]), one("state_value.weight", &[1, 3])),
            base(),
            "duelling",
        ),
        ("values that the policy would read", square(["fc1", "value", "fc_out"]), base(), "value.weight"),
        ("a residual block", square(["fc1", "res1", "out"]), base(), "residual"),
        (
            "numbered blocks of two layers",
            square(["blocks.0.linear1", "blocks.0.linear2", "out"]),
            base(),
            "residual",
        ),
        ("projections of attention", square(["to_q", "to_k", "out"]), base(), "attention"),
        ("a scale beside a mean", square(["fc1", "scale_layer", "loc_layer"]), base(), "scale_layer.weight"),
        ("two encoders", square(["obs_encoder", "goal_encoder", "policy"]), base(), "two networks"),
        ("a gate", square(["fc1", "gate", "fc_out"]), base(), "gated"),
        ("two heads by their words", square(["fc1", "policy_head", "skill_head"]), base(), "--layers"),
        ("two heads by their name", square(["fc1", "arm_head", "gripper_head"]), base(), "two networks"),
        ("two outputs by number", square(["fc1", "out1", "out2"]), base(), "two networks"),
        ("a Beta distribution", square(["fc1", "fc_alpha", "fc_beta"]), base(), "two networks"),
        ("a head of rewards", square(["fc1", "pi", "reward_head"]), base(), "reward_head.weight"),
        ("a head that ends options", square(["body.0", "policy", "termination"]), base(), "termination"),
        (
            "an ensemble",
            with(
                square(["models.0.0", "models.0.2", "models.0.4"]),
                square(["models.1.0", "models.1.2", "models.1.4"]),
            ),
            base(),
            "--prefix models.0",
        ),
        (
            "statistics of actions",
            with(
                square(PLAIN),
                with(one("act_rms.mean", &[2]), vec![tensor("act_rms.var", &[2], vec![1.0, 2.0])]),
            ),
            ImportOptions { normaliser_epsilon: Some("1e-8".into()), clip: Some("10".into()), ..base() },
            "act_rms.mean",
        ),
        (
            "an epsilon that contradicts",
            with(
                network(PLAIN),
                vec![
                    tensor("obs_rms.mean", &[2], vec![0.0; 2]),
                    tensor("obs_rms.var", &[2], vec![1.0; 2]),
                    tensor("obs_rms.epsilon", &[], vec![0.5]),
                ],
            ),
            ImportOptions { normaliser_epsilon: Some("1e-8".into()), clip: Some("10".into()), ..base() },
            "--normaliser-epsilon 1e-8 contradicts",
        ),
        (
            "statistics of another name outside the prefix",
            with(network(ACTOR), with(one("state_mean", &[2]), one("state_std", &[2]))),
            ImportOptions { prefix: Some("actor".into()), ..base() },
            "state_mean",
        ),
        (
            "masks outside the prefix",
            with(network(ACTOR), one("masks.fc1", &[3, 2])),
            ImportOptions { prefix: Some("actor".into()), ..base() },
            "masks.fc1",
        ),
        (
            "a normaliser of another layout outside the prefix",
            with(network(ACTOR), with(one("normalizer.mu", &[2]), one("normalizer.sigma", &[2]))),
            ImportOptions { prefix: Some("actor".into()), ..base() },
            "normalizer.mu",
        ),
        ("an order that numbers contradict", square(["fc2", "fc1", "fc3"]), base(), "--layers"),
        ("an order that nothing says", square(["b", "a", "c"]), base(), "--layers"),
        (
            "two policies",
            with(network(ACTOR), network(["other.0", "other.2", "other.4"])),
            base(),
            "--prefix actor or --prefix other",
        ),
        (
            "two actors one after the other",
            with(square(["one.0", "one.2", "one.4"]), square(["two.0", "two.2", "two.4"])),
            base(),
            "two networks",
        ),
        (
            "noise from the state",
            with(network(["fc1", "fc2", "fc_mean"]), one("fc_logstd.weight", &[2, 3])),
            ImportOptions { head: None, ..base() },
            "--head deterministic",
        ),
        (
            "gSDE",
            with(network(PLAIN), one("log_std", &[3, 2])),
            ImportOptions { head: None, ..base() },
            "gSDE",
        ),
        (
            "a sigma that may be either",
            with(network(PLAIN), vec![tensor("sigma", &[2], vec![0.5, 0.5])]),
            ImportOptions { head: None, ..base() },
            "standard deviations or their logarithms",
        ),
        (
            "statistics without epsilon",
            with(network(PLAIN), with(one("obs_rms.mean", &[2]), one("obs_rms.var", &[2]))),
            base(),
            "--normaliser-epsilon",
        ),
        (
            "half a normaliser",
            with(network(PLAIN), one("obs_norm.mean", &[2])),
            base(),
            "\"obs_norm.mean\" is used by no layer",
        ),
        (
            "a scale without its bias",
            with(network(PLAIN), one("action_scale", &[2])),
            base(),
            "\"action_scale\" is used by no layer",
        ),
        (
            "a mask beside a weight",
            with(network(PLAIN), vec![tensor("fc2.weight_mask", &[3, 3], vec![0.0; 9])]),
            base(),
            "--mask FILE",
        ),
        (
            "an unknown parametrisation",
            replaced(network(PLAIN), "fc2.weight", one("fc2.parametrizations.weight.original", &[3, 3])),
            base(),
            "remove_parametrizations",
        ),
        (
            "--prefix of nothing",
            network(PLAIN),
            ImportOptions { prefix: Some("actor".into()), ..base() },
            "no tensor starts with",
        ),
        (
            "--ignore of nothing",
            network(PLAIN),
            ImportOptions { ignore: vec!["actor".into()], ..base() },
            "--ignore has no effect",
        ),
        (
            "--layers that are none",
            network(PLAIN),
            ImportOptions { layers: Some(vec!["fc9".into()]), ..base() },
            "the layers are fc1, fc2, fc3",
        ),
        (
            "--layers almost",
            network(["actor.first", "actor.second", "actor.third"]),
            ImportOptions { layers: Some(vec!["actor.frist".into()]), ..base() },
            "did you mean actor.first?",
        ),
        (
            "--ignore almost",
            with(network(PLAIN), critic("disc")),
            ImportOptions { ignore: vec!["dsic".into()], ..base() },
            "did you mean disc?",
        ),
        (
            "--prefix almost",
            network(ACTOR),
            ImportOptions { prefix: Some("actr".into()), ..base() },
            "did you mean actor?",
        ),
        (
            "--layers that leave one out",
            network(PLAIN),
            ImportOptions { layers: Some(vec!["fc1".into(), "fc3".into()]), ..base() },
            "used by no layer",
        ),
        (
            "--no-bias of layers with biases",
            network(PLAIN),
            ImportOptions { no_bias: true, ..base() },
            "--no-bias has no effect",
        ),
        (
            "--clip without a normaliser",
            network(PLAIN),
            ImportOptions { clip: Some("5".into()), ..base() },
            "--clip has no effect",
        ),
        (
            "--log-std of a deterministic head",
            network(PLAIN),
            ImportOptions { log_std: Some(LogStd::Values(vec!["-1".into()])), ..base() },
            "--log-std has no effect",
        ),
        (
            "--activation of one layer",
            vec![tensor("0.weight", &[2, 2], numbers(4, 1)), tensor("0.bias", &[2], numbers(2, 1))],
            base(),
            "--activation has no effect",
        ),
        (
            "--head categorical of a gaussian",
            with(network(PLAIN), one("log_std", &[2])),
            ImportOptions { head: Some(HeadKind::Categorical), ..base() },
            "--head categorical contradicts the file, which says gaussian",
        ),
        (
            "another output activation than tanh",
            with(network(PLAIN), with(one("action_scale", &[2]), one("action_bias", &[2]))),
            ImportOptions { output_activation: Some(ActivationSpec::Relu), ..base() },
            "--output-activation relu contradicts",
        ),
    ]
}

/// What people typed, in the words that they would type; no words of the program's own types.
#[test]
fn activations_are_said_as_they_are_typed() {
    let says = |text: &'static str, stated: Option<ActivationSpec>| {
        let format = Format::Npz(Vec::leak(vec![("activation", &*Vec::leak(vec![text]))]));
        let options = ImportOptions { activation: stated, ..deterministic() };
        read(&format.pack(&npz_names()), &options).expect_err(text)
    };
    let elu = |alpha: &str| Some(ActivationSpec::Elu(alpha.into()));
    assert!(says("elu", elu("1/2")).contains("--activation elu:1/2 contradicts the file, which says elu:1"));
    assert!(says("silu", elu("1")).contains("--activation elu:1 contradicts the file, which says silu"));
    assert!(says("elu:1.5", None).contains("\"elu:1.5\" is not bounded here"));
    for name in ["gelu", "softplus", "mish", "selu", "hardswish"] {
        let said = says(name, None);
        assert!(said.contains(&format!("{name:?} is not bounded here")) && said.contains("silu"), "{said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_nearest() {
    let folder = Folder::new();
    let there = folder.file("policy it's.pt", &torch_file(&dictionary(&network(PLAIN))));
    let said =
        import(&there.with_file_name("polcy it's.pt"), &deterministic()).expect_err("absent").to_string();
    let near = there.display().to_string().replace('\'', "'\\''");
    assert!(said.contains(&format!("there is no such file; did you mean '{near}'?")), "{said}");
    let said = import(&there.with_file_name("other"), &deterministic()).expect_err("absent").to_string();
    assert!(said.ends_with("there is no such file"), "{said}");
    let within = there.parent().expect("a folder");
    let said = import(within, &deterministic()).expect_err("a folder").to_string();
    assert!(said.contains(&format!("it is a folder; give the file in it, such as '{near}'")), "{said}");
}

#[test]
fn every_refusal_says_what_and_what_to_do() {
    for (name, tensors, options, words) in refused_rows() {
        match read(&torch_file(&dictionary(&tensors)), &options) {
            Err(message) => assert!(message.contains(words), "{name}: {message:?} does not say {words:?}"),
            Ok(_) => panic!("{name}: was read"),
        }
    }
    let per_layer = safetensors(&network(PLAIN), &[("fc1.activation", "tanh")]);
    assert!(read(&per_layer, &deterministic()).is_err_and(|e| e.contains("no activation for each layer")));
    let says_tanh = safetensors(&network(PLAIN), &[("activation", "tanh")]);
    assert!(read(&says_tanh, &deterministic()).is_err_and(|e| e.contains("--activation relu contradicts")));
    let many = npz(&npz_names(), &[("activation", &["relu", "relu", "relu", "relu"])]);
    let unstated = ImportOptions { activation: None, ..deterministic() };
    assert!(read(&many, &unstated).is_err_and(|e| e.contains("no activation for each layer")));
}

/// A module of PyTorch's own class.
fn module(class: &'static str, state: Vec<(&str, Value)>) -> Value {
    let modules = ("_modules".to_owned(), Value::Dict(vec![]));
    let mut entries: Vec<(String, Value)> = state.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    if !entries.iter().any(|(key, _)| key == "_modules") {
        entries.push(modules);
    }
    Value::Object("torch.nn.modules.any", class, Box::new(Value::Dict(entries)))
}

fn sequential(hidden: Value, bias: bool, hooks: Vec<(String, Value)>) -> Value {
    let net = reference();
    let linear = |i: usize| {
        let bias =
            if bias { Value::Tensor(vec![SHAPES[i][0]], net.biases[i].clone()) } else { Value::Nothing };
        let weight = Value::Tensor(SHAPES[i].to_vec(), net.weights[i].clone());
        module(
            "Linear",
            vec![("_parameters", Value::Dict(vec![("weight".into(), weight), ("bias".into(), bias)]))],
        )
    };
    let relu = || module("ReLU", vec![]);
    let children = [linear(0), relu(), linear(1), hidden, linear(2)];
    let children = children.into_iter().enumerate().map(|(i, child)| (i.to_string(), child)).collect();
    module(
        "Sequential",
        vec![("_modules", Value::Dict(children)), ("_forward_pre_hooks", Value::Dict(hooks))],
    )
}

#[test]
fn whole_modules_are_read_where_their_classes_are_known() {
    let unstated = ImportOptions { activation: None, ..deterministic() };
    let own = |value: Value| read(&torch_file(&value), &unstated);
    let read_well = own(sequential(module("ReLU", vec![]), true, vec![])).expect("readable").policy;
    assert_eq!(evaluate(&read_well, &INPUTS[1]), plain(&reference(), &INPUTS[1]));
    let without = own(sequential(module("ReLU", vec![]), false, vec![])).expect("readable").policy;
    assert_eq!(without.layers[0].bias.floats(), [0.0; 3]);
    let tanh = sequential(module("Tanh", vec![]), true, vec![]);
    let stated = read(&torch_file(&tanh), &deterministic());
    assert!(stated.is_err_and(|e| e.contains("--activation relu contradicts the file, which says tanh")));
    let refused =
        |value: Value, words: &str| assert!(own(value).is_err_and(|e| e.contains(words)), "{words}");
    refused(sequential(module("LayerNorm", vec![]), true, vec![]), "LayerNorm");
    refused(sequential(module("ReLU", vec![]), true, vec![("0".into(), Value::Nothing)]), "hooks");
    let Value::Object(_, _, state) = sequential(module("ReLU", vec![]), true, vec![]) else { panic!() };
    refused(Value::Object("__main__", "Agent", state), "__main__.Agent");
    let pair = Value::Dict(vec![
        ("one".into(), sequential(module("ReLU", vec![]), true, vec![])),
        ("two".into(), sequential(module("ReLU", vec![]), true, vec![])),
    ]);
    refused(pair, "--prefix one or --prefix two");
}

/// CleanRL saves a tuple of an actor and its critics; other checkpoints hold numbers and words too.
#[test]
fn lists_of_dictionaries_are_read_by_their_places() {
    let critic = dictionary(&critic("qf"));
    let list =
        Value::List(vec![dictionary(&network(PLAIN)), critic, Value::Text("notes".into()), Value::Count(3)]);
    let bytes = torch_file(&Value::Dict(vec![("saved".into(), list), ("loss".into(), Value::Number(0.5))]));
    let options = ImportOptions { prefix: Some("saved.0".into()), ..deterministic() };
    let policy = read(&bytes, &options).expect("readable").policy;
    assert_eq!(evaluate(&policy, &INPUTS[2]), plain(&reference(), &INPUTS[2]));
}

/// What a checkpoint holds beside tensors: numbers, lists, objects and settings are read, confirm the options, or stop.
#[test]
fn what_stands_beside_the_tensors_is_not_lost() {
    let beside = |entries: Vec<(&str, Value)>| {
        let mut all = vec![("model".to_owned(), dictionary(&network(PLAIN)))];
        all.extend(entries.into_iter().map(|(name, value)| (name.to_owned(), value)));
        read(&torch_file(&Value::Dict(all)), &deterministic())
    };
    let text = |text: &str| Value::Text(text.into());
    let settings = |key: &str, value: Value| Value::Dict(vec![(key.into(), value)]);
    let list = |values: [f64; 2]| Value::List(values.map(Value::Number).to_vec());
    let statistics = || {
        let row = |values: [f32; 2]| Value::Tensor(vec![2], values.to_vec());
        let entries = [("mean", row([0.5, 1.0])), ("std", row([2.0, 4.0]))];
        Value::Dict(entries.map(|(name, value)| (name.to_owned(), value)).to_vec())
    };
    let normaliser = |class| Value::Object("lab.filters", class, Box::new(statistics()));

    let net = reference();
    let listed =
        beside(vec![("obs_mean", list([0.5, 1.0])), ("obs_std", list([2.0, 4.0]))]).expect("read").policy;
    assert_eq!(evaluate(&listed, &[1.0, 2.0]), plain(&net, &[0.25, 0.25]));
    let scaled = beside(vec![("action_scale", Value::Number(2.0)), ("action_bias", Value::Number(0.5))]);
    let wanted: Vec<f64> = plain(&net, &INPUTS[1]).iter().map(|v| v.tanh() * 2.0 + 0.5).collect();
    assert_eq!(evaluate(&scaled.expect("read").policy, &INPUTS[1]), wanted);
    let confirmed =
        beside(vec![("args", settings("activation_fn", text("nn.ReLU()"))), ("lr", Value::Number(0.1))]);
    assert_eq!(evaluate(&confirmed.expect("read").policy, &INPUTS[1]), plain(&net, &INPUTS[1]));

    let refused = |entries, words: &str| match beside(entries) {
        Err(message) => assert!(message.contains(words), "{message}"),
        Ok(_) => panic!("{words}: was read"),
    };
    refused(vec![("filter", normaliser("Filter"))], "filter.mean");
    let state = Value::Dict(vec![("pi".into(), sequential(module("ReLU", vec![]), true, vec![]))]);
    refused(vec![("agent", Value::Object("lab.agents", "Agent", Box::new(state)))], "agent.pi");
    refused(vec![("max_action", Value::Number(2.0))], "max_action");
    refused(vec![("args", settings("hidden_activation", text("elu")))], "args.hidden_activation");
    refused(vec![("args", settings("output_activation", text("tanh")))], "--output-activation");
    let rms = |name: &str| {
        let row = |values: [f32; 2]| Value::Tensor(vec![2], values.to_vec());
        (
            name.to_owned(),
            Value::Dict(vec![("mean".into(), row([0.5, 1.0])), ("var".into(), row([2.0, 4.0]))]),
        )
    };
    let outermost =
        vec![("obs_rms", rms("").1), ("epsilon", Value::Number(0.1)), ("clip", Value::Number(0.2))];
    refused(outermost, "--normaliser-epsilon");
}

/// A tensor of a kind that is not read is no missing tensor.
#[test]
fn tensors_of_other_kinds_are_refused() {
    let pickle = b"\x80\x02}(X\x0a\x00\x00\x00fc1.weightctorch._utils\n_rebuild_sparse_tensor\n)Ru.";
    let sparse = foreign::zip_of(&[("p/data.pkl", pickle)]);
    assert!(read(&sparse, &deterministic()).is_err_and(|e| e.contains("save it as a plain tensor")));
}

#[test]
fn masks_belong_to_the_layers_of_their_stems() {
    let mask = |stem: &str, shape: &[usize], kept: f32| {
        tensor(&format!("{stem}.weight_mask"), shape, vec![kept; shape.iter().product()])
    };
    let folder = Folder::new();
    let both = with(network(ACTOR), critic("critic"));
    let apart = ImportOptions { masks_apart: true, ..deterministic() };
    let policy =
        import_accounted(&folder.file("p", &torch_file(&dictionary(&both))), &apart).expect("readable");
    let masks = |tensors: &[Tensor]| {
        import_mask(&folder.file("m", &torch_file(&dictionary(tensors))), &policy).map_err(|e| e.to_string())
    };
    let kept = |mask: &secateur::policy::mask::MaskData| -> Vec<bool> {
        mask.layers.iter().map(|table| table.kept.iter().all(|kept| *kept)).collect()
    };
    // the masks stand in another order, one layer has none, and the critic's is not touched
    let found = masks(&[
        mask("critic.0", &[3, 2], 0.0),
        mask("actor.4", &[2, 3], 0.0),
        mask("actor.2", &[3, 3], 1.0),
    ]);
    assert_eq!(found.map(|mask| kept(&mask)), Ok(vec![true, true, false]));
    let stray = masks(&[mask("actor.4", &[2, 3], 0.0), mask("actor.6", &[2, 2], 0.0)]);
    assert!(stray.is_err_and(|e| e.contains("actor.6.weight_mask") && e.contains("belongs to no layer")));
    assert!(masks(&[tensor("gate", &[1], vec![1.0])]).is_err_and(|e| e.contains("actor.0.weight_mask")));
    let bias = masks(&[mask("actor.4", &[2, 3], 1.0), tensor("actor.4.bias_mask", &[2], vec![0.0; 2])]);
    assert!(bias.is_err_and(|e| e.contains("prunes a bias")));
    let by_number = masks(&[tensor("M0", &[3, 2], vec![1.0; 6]), tensor("M1", &[3, 3], vec![0.0; 9])]);
    assert!(by_number.is_err_and(|e| e.contains("\"M2\" is missing")));
}

/// What a property test does to the tensors of a file.
#[derive(Clone, Debug)]
enum Change {
    Shuffle(Vec<usize>),
    Drop(usize),
    Rename(usize, &'static str),
    Add(&'static str, &'static [usize]),
}

fn change() -> impl Strategy<Value = Change> {
    let shapes: [&'static [usize]; 6] = [&[], &[2], &[3], &[3, 3], &[2, 3], &[1, 2]];
    let names = [
        "extra.weight",
        "extra.bias",
        "extra",
        "fc9.weight",
        "critic.9.weight",
        "epoch",
        "num_batches_tracked",
        "action_scale",
        "obs_rms.mean",
        "norm.running_mean",
        "actor.1.weight",
        "fc2.weight_mask",
        "M1",
        "target.fc1.weight",
        "actor.3.bias",
        "optimizer.state.0.exp_avg",
        "weight",
        "bias",
    ];
    prop_oneof![
        proptest::collection::vec(0usize..1000, 40).prop_map(Change::Shuffle),
        (0usize..1000).prop_map(Change::Drop),
        (0usize..1000, proptest::sample::select(vec!["renamed", "renamed.weight", "zz.bias", "aa.0.weight"]))
            .prop_map(|(index, name)| Change::Rename(index, name)),
        (proptest::sample::select(names.to_vec()), proptest::sample::select(shapes.to_vec()))
            .prop_map(|(name, shape)| Change::Add(name, shape)),
    ]
}

fn changed(tensors: &[Tensor], change: &Change) -> Vec<Tensor> {
    let mut tensors = tensors.to_vec();
    let count = tensors.len();
    match change {
        Change::Shuffle(keys) => {
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by_key(|i| keys[*i % keys.len()]);
            tensors = order.into_iter().map(|i| tensors[i].clone()).collect();
        }
        Change::Drop(index) => {
            tensors.remove(index % count);
        }
        Change::Rename(index, name) => tensors[index % count].0 = (*name).to_owned(),
        Change::Add(name, shape) => {
            if !tensors.iter().any(|(other, ..)| other == name) {
                tensors.push(tensor(name, shape, numbers(shape.iter().product(), 17)));
            }
        }
    }
    tensors
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A file with one tensor more, less or elsewhere is the same network or none, never another.
    #[test]
    fn a_changed_file_gives_the_same_network_or_none(pick in 0usize..1000, change in change()) {
        let mut rows = rows();
        let row = rows.swap_remove(pick % rows.len());
        let before = read(&row.format.pack(&row.tensors), &row.options).expect("readable").policy;
        let tensors = changed(&row.tensors, &change);
        if let Ok(after) = read(&row.format.pack(&tensors), &row.options) {
            let parts = |p: &PolicyData| (p.layers.clone(), p.head.clone(), p.normaliser.clone());
            prop_assert_eq!(parts(&before), parts(&after.policy), "{}: {:?}", row.name, change);
        }
    }
}

#[test]
fn a_program_is_refused_by_name() {
    let bytes = foreign::zip_of(&[
        ("p/data.pkl", b"\x80\x02}."),
        ("p/constants.pkl", b"\x80\x02)."),
        ("p/version", b"3"),
    ]);
    let folder = Folder::new();
    let error = import(&folder.file("p.pt", &bytes), &deterministic()).expect_err("a program");
    assert!(error.to_string().contains("TorchScript"), "{error}");
}

#[test]
fn archives_of_nothing_known_say_what_they_hold() {
    let folder = Folder::new();
    let said = |name: &str, parts: &[(&str, &[u8])]| {
        let file = folder.file(name, &foreign::zip_of(parts));
        import(&file, &deterministic()).expect_err("no policy").to_string()
    };
    let some = said("some.zip", &[("notes.txt", b"x"), ("photo.jpg", b"y")]);
    assert!(some.contains("a zip archive of other files (it begins with notes.txt, photo.jpg)"), "{some}");
    let none = said("none.zip", &[]);
    assert!(none.contains("a zip archive with nothing in it; write the file anew"), "{none}");
}
