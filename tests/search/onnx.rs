//! The three reference networks of `../shared/reference/vnnlib`, read by a walk over the protobuf wire format that knows
//! Flatten, Gemm with transB = 1, MatMul, Add and Relu in a chain; anything else panics.

use std::collections::HashMap;

use secateur::float::{FloatActivation, FloatLayer, FloatNetwork};

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            return value;
        }
    }
}

/// Field number, varint value, bytes.
fn fields(bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let key = varint(bytes, &mut at);
        let (value, length) = match key & 7 {
            0 => (varint(bytes, &mut at), 0),
            2 => (0, varint(bytes, &mut at) as usize),
            1 => (0, 8),
            5 => (0, 4),
            kind => panic!("wire type {kind}"),
        };
        found.push((key >> 3, value, &bytes[at..at + length]));
        at += length;
    }
    found
}

fn texts(node: &[(u64, u64, &[u8])], field: u64) -> Vec<String> {
    node.iter().filter(|f| f.0 == field).map(|f| String::from_utf8(f.2.to_vec()).unwrap()).collect()
}

struct Tensor {
    dims: Vec<usize>,
    values: Vec<f64>,
}

/// Reads a chain of layers.
pub fn network(bytes: &[u8]) -> FloatNetwork {
    let model = fields(bytes);
    let graph = fields(model.iter().find(|f| f.0 == 7).unwrap().2);
    let mut tensors = HashMap::new();
    for (_, _, bytes) in graph.iter().filter(|f| f.0 == 5) {
        let tensor = fields(bytes);
        let dims = tensor.iter().filter(|f| f.0 == 1).map(|f| f.1 as usize).collect();
        assert!(tensor.iter().any(|f| f.0 == 2 && f.1 == 1), "float32 only");
        let raw = tensor.iter().find(|f| f.0 == 9).unwrap().2;
        let values = raw.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
        tensors.insert(texts(&tensor, 8)[0].clone(), Tensor { dims, values: values.collect() });
    }
    let mut layers: Vec<(usize, Vec<f64>, Vec<f64>, FloatActivation)> = Vec::new();
    for (_, _, bytes) in graph.iter().filter(|f| f.0 == 1) {
        let node = fields(bytes);
        let inputs = texts(&node, 1);
        match texts(&node, 4)[0].as_str() {
            "Flatten" => {}
            "Gemm" => {
                let (weight, bias) = (&tensors[&inputs[1]], &tensors[&inputs[2]]);
                let columns = weight.dims[1];
                let weight = weight.values.clone();
                layers.push((columns, weight, bias.values.clone(), FloatActivation::Identity));
            }
            "MatMul" => {
                let weight = &tensors[&inputs[1]];
                let (rows, columns) = (weight.dims[0], weight.dims[1]);
                let turned = (0..rows * columns).map(|i| weight.values[(i % rows) * columns + i / rows]);
                layers.push((rows, turned.collect(), Vec::new(), FloatActivation::Identity));
            }
            "Add" => layers.last_mut().unwrap().2 = tensors[&inputs[1]].values.clone(),
            "Relu" => layers.last_mut().unwrap().3 = FloatActivation::Relu,
            other => panic!("operator {other}"),
        }
    }
    let made = layers.into_iter().map(|(i, w, b, a)| FloatLayer::new(i, w, b, a).unwrap());
    FloatNetwork::new(made.collect()).unwrap()
}
