//! Reads the reference networks, states and bounds of `../shared/reference`; `None` (and a line that says so) when they
//! are absent.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use secateur::float::{FloatActivation, FloatLayer, FloatNetwork};

/// The folder `../shared/reference`, if it is there.
pub fn reference() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference");
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

/// Shape and values of an array of little-endian float32, float64 or bytes.
pub fn parse_npy(bytes: &[u8]) -> (Vec<usize>, Vec<f64>) {
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("'fortran_order': False"));
    let shape = header.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let shape: Vec<usize> = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let data = &bytes[10 + length..];
    let values = if header.contains("'<f4'") {
        data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    } else if header.contains("'<f8'") {
        data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    } else {
        data.iter().map(|b| f64::from(*b)).collect()
    };
    (shape, values)
}

struct Archive(zip::ZipArchive<File>);

impl Archive {
    fn open(path: &Path) -> Self {
        Self(zip::ZipArchive::new(File::open(path).unwrap()).unwrap())
    }

    fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.by_name(&format!("{name}.npy")).ok()?.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }
}

/// A network `a ...` by its file stem, with a mask (`"mask90"`) applied if one is named.
pub fn network(stem: &str, mask: Option<&str>) -> Option<FloatNetwork> {
    let folder = reference()?.join("networks");
    let mut file = Archive::open(&folder.join(format!("{stem}.npz")));
    let mut masks = mask.map(|m| Archive::open(&folder.join(format!("{stem}_{m}.npz"))));
    let name = file.bytes("act").unwrap();
    let hidden = if name.ends_with(b"t\0\0\0a\0\0\0n\0\0\0h\0\0\0") {
        FloatActivation::Tanh
    } else {
        FloatActivation::Relu
    };
    let mut parts = Vec::new();
    while let Some(weight) = file.bytes(&format!("W{}", parts.len())) {
        let (shape, mut weight) = parse_npy(&weight);
        let (_, bias) = parse_npy(&file.bytes(&format!("b{}", parts.len())).unwrap());
        if let Some(masks) = &mut masks {
            let (_, kept) = parse_npy(&masks.bytes(&format!("M{}", parts.len())).unwrap());
            weight.iter_mut().zip(kept).for_each(|(w, k)| *w *= k);
        }
        parts.push((shape[1], weight, bias));
    }
    let count = parts.len();
    let layers = parts.into_iter().enumerate().map(|(index, (inputs, weight, bias))| {
        let activation = if index + 1 == count { FloatActivation::Identity } else { hidden };
        FloatLayer::new(inputs, weight, bias, activation).unwrap()
    });
    Some(FloatNetwork::new(layers.collect()).unwrap())
}

/// The states of a network, one per row.
pub fn states(stem: &str) -> Option<Vec<Vec<f64>>> {
    let path = reference()?.join(format!("networks/{stem}_states.npy"));
    let (shape, values) = parse_npy(&std::fs::read(path).unwrap());
    Some(values.chunks_exact(shape[1]).map(<[f64]>::to_vec).collect())
}

/// The recorded mean width of a kind of run (`single`, `single64`, `batch`), radius and method.
pub fn recorded_width(stem: &str, kind: &str, radius: f64, method: &str) -> f64 {
    let path = reference().unwrap().join(format!("bounds/lirpa_{stem}_t1.json"));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let runs = json["runs"].as_array().unwrap();
    let run = runs.iter().find(|r| r["kind"] == kind && r["eps"] == radius && r["method"] == method);
    run.unwrap()["mean_width"].as_f64().unwrap()
}

/// File stems of the five reference networks.
pub const NETWORKS: [&str; 5] =
    ["a_tanh17x64x64x6", "b_tanh11x64x64x3", "c_relu4x64x64x2", "d_relu17x256x256x6", "f_mnist256x4"];
