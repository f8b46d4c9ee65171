//! Small foreign files written by hand: PyTorch zip archives of any dictionaries, safetensors, NPZ.

use std::io::{Cursor, Write};
use std::path::PathBuf;

/// A temporary folder of files.
pub struct Folder(tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self(tempfile::tempdir().expect("temporary folder"))
    }
}

impl Folder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }
}

/// A named tensor of binary32 numbers.
pub type Tensor = (String, Vec<usize>, Vec<f32>);

/// What a pickle may hold.
#[derive(Clone, Debug)]
pub enum Value {
    Tensor(Vec<usize>, Vec<f32>),
    Count(i64),
    Dict(Vec<(String, Value)>),
    List(Vec<Value>),
    Text(String),
    Number(f64),
    Nothing,
    /// Module, class and state.
    Object(&'static str, &'static str, Box<Value>),
}

/// A dictionary of tensors, in this order.
pub fn dictionary(tensors: &[Tensor]) -> Value {
    Value::Dict(tensors.iter().map(|(n, s, v)| (n.clone(), Value::Tensor(s.clone(), v.clone()))).collect())
}

pub fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).expect("entry");
        writer.write_all(content).expect("content");
    }
    writer.finish().expect("archive").into_inner()
}

/// What `torch.save` writes: `data.pkl` and a storage for each tensor.
pub fn torch_file(root: &Value) -> Vec<u8> {
    let mut writer = Pickler { out: b"\x80\x02".to_vec(), storages: Vec::new() };
    writer.value(root);
    writer.out.push(b'.');
    let mut entries: Vec<(String, Vec<u8>)> = vec![("archive/data.pkl".into(), writer.out)];
    let storages = writer.storages.into_iter().enumerate();
    entries.extend(storages.map(|(index, bytes)| (format!("archive/data/{index}"), bytes)));
    zip_of(&entries.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect::<Vec<_>>())
}

struct Pickler {
    out: Vec<u8>,
    storages: Vec<Vec<u8>>,
}

impl Pickler {
    fn text(&mut self, text: &str) {
        self.out.push(b'X');
        self.out.extend((text.len() as u32).to_le_bytes());
        self.out.extend(text.as_bytes());
    }

    fn integer(&mut self, value: i64) {
        self.out.push(b'J');
        self.out.extend((value as i32).to_le_bytes());
    }

    fn sizes(&mut self, sizes: &[usize]) {
        self.out.push(b'(');
        sizes.iter().for_each(|size| self.integer(*size as i64));
        self.out.push(b't');
    }

    fn tensor(&mut self, shape: &[usize], class: &str, bytes: Vec<u8>) {
        let entries = shape.iter().product::<usize>();
        let stride: Vec<usize> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
        self.out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.out.extend(format!("ctorch\n{class}\n").bytes());
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.integer(entries as i64);
        self.out.extend(b"tQ");
        self.integer(0);
        self.sizes(shape);
        self.sizes(&stride);
        self.out.extend(b"\x89NtR");
        self.storages.push(bytes);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Tensor(shape, numbers) => {
                self.tensor(shape, "FloatStorage", numbers.iter().flat_map(|v| v.to_le_bytes()).collect());
            }
            Value::Count(count) => self.tensor(&[], "LongStorage", count.to_le_bytes().to_vec()),
            Value::Dict(entries) => {
                self.out.extend(b"}(");
                for (key, value) in entries {
                    self.text(key);
                    self.value(value);
                }
                self.out.push(b'u');
            }
            Value::List(items) => {
                self.out.extend(b"](");
                items.iter().for_each(|item| self.value(item));
                self.out.push(b'e');
            }
            Value::Text(text) => self.text(text),
            Value::Number(number) => {
                self.out.push(b'G');
                self.out.extend(number.to_be_bytes());
            }
            Value::Nothing => self.out.push(b'N'),
            Value::Object(module, class, state) => {
                self.out.extend(format!("c{module}\n{class}\n)").bytes());
                self.out.push(0x81);
                self.value(state);
                self.out.push(b'b');
            }
        }
    }
}

/// A safetensors file, sorted by name as its writers do.
pub fn safetensors(tensors: &[Tensor], metadata: &[(&str, &str)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let begin = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert(name.clone(), entry);
    }
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), metadata.iter().map(|(k, v)| (*k, *v)).collect());
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

fn npy(description: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side},")).collect();
    let header = format!("{{'descr': '{description}', 'fortran_order': False, 'shape': ({sides}), }}");
    let header = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

/// An NPZ archive; `texts` are arrays of one word each.
pub fn npz(tensors: &[Tensor], texts: &[(&str, &[&str])]) -> Vec<u8> {
    let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, shape, values) in tensors {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        entries.push((format!("{name}.npy"), npy("<f4", shape, &data)));
    }
    for (name, words) in texts {
        let width = words.iter().map(|word| word.len()).max().unwrap_or(1);
        let padded = words.iter().flat_map(|word| word.chars().chain(std::iter::repeat('\0')).take(width));
        let data: Vec<u8> = padded.flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let shape: &[usize] = if words.len() == 1 { &[] } else { &[words.len()] };
        entries.push((format!("{name}.npy"), npy(&format!("<U{width}"), shape, &data)));
    }
    zip_of(&entries.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect::<Vec<_>>())
}
