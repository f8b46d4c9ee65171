"""Compares imported policies with ONNX Runtime. Needs numpy, onnx, onnxruntime.

    onnxruntime_check.py make FOLDER           writes small ONNX models that use every operator the importer reads
    onnxruntime_check.py check MODEL POLICY    evaluates the policy folder in binary64 and the model in ONNX Runtime

Tolerance: ONNX Runtime works in binary32; outputs of these widths agree to 2e-5 relative to the largest output.
"""
import json
import struct
import sys
from pathlib import Path

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
            "hardtanh": lambda: np.clip(x, -1, 1),
        }[spec]()
    if spec["kind"] == "leaky_relu":
        return np.where(x >= 0, x, number(spec["slope"]) * x)
    return np.clip(x, number(spec["lower"]), number(spec["upper"]))


def evaluate(manifest, tensors, x):
    normaliser = manifest.get("normaliser")
    if normaliser:
        x = (x - tensors[normaliser["mean"]]) / tensors[normaliser["std"]]
        if "clip" in normaliser:
            x = np.clip(x, -number(normaliser["clip"]), number(normaliser["clip"]))
    for layer in manifest["layers"]:
        x = activate(layer["activation"], x @ tensors[layer["weight"]].T + tensors[layer["bias"]])
    return x


def check(model, folder):
    import onnxruntime

    manifest, tensors = read_policy(folder)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    inputs = tensors[manifest["layers"][0]["weight"]].shape[1]
    rows = np.random.default_rng(1).normal(size=(64, inputs)).astype(np.float32)
    shape = [side if isinstance(side, int) and side > 0 else 1 for side in entry.shape]
    shape[0] = 1
    theirs = np.stack([session.run(None, {entry.name: row.reshape(shape)})[0].reshape(-1) for row in rows])
    ours = evaluate(manifest, tensors, rows.astype(np.float64))
    worst = np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max())
    print(f"{model.name}: {worst:.2e}")
    if ours.shape != theirs.shape or not worst < 2e-5:
        sys.exit(f"{model.name}: the imported policy differs from ONNX Runtime by {worst:.2e}")


def make(folder):
    from onnx import TensorProto, helper, numpy_helper, save

    draw = np.random.default_rng(7)
    constants = {}

    def constant(name, *shape, positive=False):
        values = draw.normal(size=shape).astype(np.float32)
        constants[name] = np.abs(values) + 0.5 if positive else values
        return name

    def model(name, nodes, outputs, opset):
        used = {n for node in nodes for n in node.input}
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs])],
            [numpy_helper.from_array(v, k) for k, v in constants.items() if k in used],
        )
        built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        save(built, str(folder / f"{name}.onnx"))

    node = helper.make_node
    weight, bias = constant("w", 5, 4), constant("b", 4)
    last, shift = constant("v", 3, 4), constant("c", 3)
    mean, std = constant("mean", 5), constant("std", 5, positive=True)
    constants["two"], constants["minus_two"] = np.float32(2), np.float32(-2)
    constants["low"], constants["shape"] = np.float32(-0.25), np.array([-1, 5])
    scale = constant("scale", 4)
    gemm = lambda a, b: node("Gemm", [a, last, shift], [b], transB=1)
    model("gemm", [node("Gemm", ["x", weight, bias], ["h"]), node("Relu", ["h"], ["r"]), gemm("r", "y")], 3, 13)
    start = [
        node("Sub", ["x", mean], ["d"]),
        node("Div", ["d", std], ["q"]),
        node("Clip", ["q", "minus_two", "two"], ["n"]),
        node("MatMul", ["n", weight], ["p"]),
        node("Add", [bias, "p"], ["h"]),
    ]
    model("normaliser", [*start, node("Tanh", ["h"], ["t"]), gemm("t", "y")], 3, 13)
    between = [
        node("Reshape", ["x", "shape"], ["f"]),
        node("MatMul", ["f", weight], ["p"]),
        node("Sub", ["p", bias], ["h"]),
        node("LeakyRelu", ["h"], ["l"], alpha=0.2),
        node("Mul", ["l", scale], ["m"]),
        node("Add", ["m", bias], ["s"]),
        node("Sigmoid", ["s"], ["g"]),
        node("Sub", [scale, "g"], ["z"]),
        node("Clip", ["z", "low", "two"], ["k"]),
        node("Identity", ["k"], ["i"]),
        gemm("i", "o"),
        node("Tanh", ["o"], ["y"]),
    ]
    model("elementwise", between, 3, 13)
    old = [
        node("Constant", [], ["u"], value=numpy_helper.from_array(constants["v"])),
        node("Transpose", ["u"], ["ut"], perm=[1, 0]),
        node("Clip", ["x"], ["e"], min=-0.5, max=0.5),
        node("Gemm", ["e", weight, bias], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Tanh", ["r"], ["t"]),
        node("MatMul", ["t", "ut"], ["y"]),
    ]
    model("attributes", old, 3, 8)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            make(Path(folder))
        case ["check", model, folder]:
            check(Path(model), Path(folder))
        case _:
            sys.exit(__doc__)
