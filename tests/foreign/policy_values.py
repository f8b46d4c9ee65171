"""Policy directories read and evaluated in binary64, after spec/certificate-files.md. Needs numpy."""

import json
import struct

import numpy as np

DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


def read_policy(folder):
    manifest = json.loads((folder / "policy.json").read_text())
    data = (folder / "policy.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        begin, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + length + begin : 8 + length + end], DTYPES[entry["dtype"]])
        tensors[name] = raw.reshape(entry["shape"]).astype(np.float64)
    return manifest, tensors


def number(text):
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def activate(spec, x):
    if isinstance(spec, str):
        return {
            "identity": lambda: x,
            "relu": lambda: np.maximum(x, 0),
            "tanh": lambda: np.tanh(x),
            "sigmoid": lambda: 1 / (1 + np.exp(-x)),
            "silu": lambda: x / (1 + np.exp(-x)),
            "hardtanh": lambda: np.clip(x, -1, 1),
        }[spec]()
    if spec["kind"] == "elu":
        return np.where(x >= 0, x, number(spec["alpha"]) * np.expm1(np.minimum(x, 0)))
    if spec["kind"] == "leaky_relu":
        return np.where(x >= 0, x, number(spec["slope"]) * x)
    return np.clip(x, number(spec["lower"]), number(spec["upper"]))


def evaluate(manifest, tensors, x):
    normaliser = manifest.get("normaliser")
    if normaliser:
        x = x - tensors[normaliser["mean"]]
        x = x * tensors[normaliser["factor"]] if "factor" in normaliser else x / tensors[normaliser["std"]]
        if "clip" in normaliser:
            x = np.clip(x, -number(normaliser["clip"]), number(normaliser["clip"]))
    for layer in manifest["layers"]:
        x = activate(layer["activation"], x @ tensors[layer["weight"]].T + tensors[layer["bias"]])
    return x
