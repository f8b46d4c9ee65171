//! Files that are not read, by what they are: an error names the kind and the next thing to try. Untrusted.
//! `spec/import-sb3.md#messages`.

use super::archive;
use super::pickle::Pickle;
use crate::import::problem::Problem;

const ONNX: &str = "export the policy as ONNX and import that";
const STATE_DICT: &str =
    "save its tensors with torch.save(model.state_dict(), \"policy.pt\") and import that file";

/// First bytes, what they mean, what to do.
const MAGIC: [(&[u8], &str, &str); 16] = [
    (b"\x1f\x8b", "gzip-compressed", "unpack it with gunzip first"),
    (b"BZh", "bzip2-compressed", "unpack it with bunzip2 first"),
    (b"\xfd7zXZ\0", "xz-compressed", "unpack it with unxz first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it with unzstd first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, TensorFlow)", ONNX),
    (b"GGUF", "a GGUF file (llama.cpp)", ONNX),
    (b"\x89PNG", "a PNG picture", "give the policy's file"),
    (b"%PDF", "a PDF document", "give the policy's file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch it with git lfs pull"),
    (b"<!DOCTYPE", "a web page", "download the file itself, not the page that shows it"),
    (b"<!doctype", "a web page", "download the file itself, not the page that shows it"),
    (b"<html", "a web page", "download the file itself, not the page that shows it"),
    (b"<?xml", "an XML file (OpenVINO keeps networks so)", ONNX),
    (b"{", "a JSON file", "save arrays as .npz or .safetensors, networks as ONNX"),
];

/// An error for a file of a known kind that is not read; `None` for what readers should look at.
///
/// # Errors
/// [`Problem::Zip`] for a broken archive.
pub(super) fn known(bytes: &[u8]) -> Result<Option<Problem>, Problem> {
    let foreign = |what: &str, next: &'static str| Some(Problem::OtherFile { what: what.to_owned(), next });
    if bytes.is_empty() {
        return Ok(foreign("empty", "fetch or save it again"));
    }
    if let Some((_, what, next)) = MAGIC.iter().find(|(magic, _, _)| bytes.starts_with(magic)) {
        return Ok(foreign(what, next));
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Ok(foreign("a tar archive", "unpack it and give the policy's file"));
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Ok(foreign("a TensorFlow Lite file", ONNX));
    }
    if is_message_pack(bytes) {
        return Ok(foreign(
            "MessagePack (Flax and other JAX libraries save so)",
            "save its arrays as .npz, or export ONNX",
        ));
    }
    if archive::is_zip(bytes) { Ok(zip(&archive::entry_names(bytes)?)) } else { Ok(None) }
}

/// A map whose first key is a short string: `{"params": ...}`.
fn is_message_pack(bytes: &[u8]) -> bool {
    let after_map = match bytes {
        [0x81..=0x8f, rest @ ..] | [0xde, _, _, rest @ ..] => rest,
        _ => return false,
    };
    matches!(after_map, [0xa1..=0xbf, first, ..] if first.is_ascii_lowercase() || *first == b'_')
}

fn zip(names: &[String]) -> Option<Problem> {
    let has = |name: &str| names.iter().any(|n| n == name);
    let ends = |end: &str| names.iter().any(|n| n.ends_with(end));
    let foreign = |what: String, next: &'static str| Some(Problem::OtherFile { what, next });
    if has("policy.pth") {
        return None;
    }
    if ends("/policy.pth") {
        let what = "an archive with a Stable-Baselines3 model in a folder of its own".to_owned();
        return foreign(what, "zip the folder's contents, not the folder (zip -r ../model.zip . inside it)");
    }
    if has("data") && has("parameters") {
        return foreign("a Stable-Baselines 2 model (TensorFlow), which is not read".to_owned(), ONNX);
    }
    if has("data") && has("_stable_baselines3_version") {
        let what = "a Stable-Baselines3 archive without policy.pth, as SBX (JAX) writes them".to_owned();
        return foreign(what, "save a PyTorch model, or export ONNX");
    }
    if ends("constants.pkl") {
        let what =
            "a TorchScript archive (code/, constants.pkl): its forward is a program, which is not read"
                .to_owned();
        let next = "save the tensors with torch.save(torch.jit.load(FILE).state_dict(), \"policy.pt\") and state the \
                    activation, or export ONNX";
        return foreign(what, next);
    }
    if ends("serialized_exported_program.json") || ends("archive_format") {
        return foreign("a torch.export program, which is not read".to_owned(), STATE_DICT);
    }
    if ends("extern_modules") {
        return foreign("a torch.package archive, whose code is not run".to_owned(), STATE_DICT);
    }
    if has("model.weights.h5") || ends("saved_model.pb") {
        return foreign("a Keras or TensorFlow model".to_owned(), ONNX);
    }
    if ends(".npy") || ends("data.pkl") {
        return None;
    }
    if names.is_empty() {
        return foreign("a zip archive with nothing in it".to_owned(), "write the file anew");
    }
    let inside: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    let next = "unpack it and give the policy's file";
    foreign(format!("a zip archive of other files (it begins with {})", inside.join(", ")), next)
}

/// What a pickle is that holds no checkpoint, by the class of its root.
pub(super) fn pickle(pickle: &Pickle, root: usize) -> Problem {
    let foreign = |what: String, next: &'static str| Problem::OtherFile { what, next };
    let Some((module, class)) = pickle.class_path(root) else {
        let what = "a pickle of plain values, no PyTorch checkpoint".to_owned();
        return foreign(
            what,
            "save the weights as .npz or .safetensors; a normaliser is given with --normaliser",
        );
    };
    let path = format!("{module}.{class}");
    if pickle.attribute(root, "obs_rms").is_some()
        || matches!(class, "VecNormalize" | "RunningMeanStd" | "ZFilter")
    {
        return foreign(
            format!("observation statistics ({path}), no network"),
            "give the model here and this file with --normaliser",
        );
    }
    if class.ends_with("Buffer") {
        return foreign(format!("a buffer of experience ({path}), no network"), "give the model's file");
    }
    foreign(format!("a pickle of {path}, which is not read"), STATE_DICT)
}

/// Why a file that should be a normaliser is none, where it is a whole model.
pub(super) fn model_as_normaliser() -> Problem {
    Problem::OtherFile {
        what: "a model, no normaliser".to_owned(),
        next: "VecNormalize.save() writes the statistics to a file of their own, often vecnormalize.pkl beside the \
               model or in a folder of its name",
    }
}
