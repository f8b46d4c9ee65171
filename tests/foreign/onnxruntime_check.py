"""Compares imported policies with ONNX Runtime. Needs numpy, onnxruntime.

    onnxruntime_check.py LIST [ROWS]    lines of LIST: model, policy folder, output or nothing, `softmax` or `log-softmax`
                                        if the model goes on after the logits, tolerance or nothing; separated by tabs.
                                        ROWS observations are drawn for each, 32 unless stated

The policy is evaluated in binary64. ONNX Runtime works in binary32: outputs of these widths agree to 2e-5 of the largest.
"""
import sys
from pathlib import Path

import numpy as np

from policy_values import evaluate, read_policy

TOLERANCE = 2e-5
ROWS = 32


def observations(manifest, tensors, count):
    """Drawn around 0, or around the mean of the normaliser by its deviations."""
    inputs = tensors[manifest["layers"][0]["weight"]].shape[1]
    rows = np.random.default_rng(1).normal(size=(count, inputs)) * 2
    normaliser = manifest.get("normaliser")
    if normaliser is None or count == ROWS:
        return rows
    std = 1 / tensors[normaliser["factor"]] if "factor" in normaliser else tensors[normaliser["std"]]
    return tensors[normaliser["mean"]] + rows * std


def check(model, folder, output, after, tolerance, count):
    """Difference from ONNX Runtime relative to the largest output, and whether it is tolerable."""
    import onnxruntime

    manifest, tensors = read_policy(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    inputs = tensors[manifest["layers"][0]["weight"]].shape[1]
    rows = observations(manifest, tensors, count)
    (entry, *others) = session.get_inputs()
    dtype = {
        "tensor(double)": np.float64,
        "tensor(float16)": np.float16,
        "tensor(int64)": np.int64,
        "tensor(int8)": np.int8,
    }
    rows = rows.astype(dtype.get(entry.type, np.float32))
    shape = [side if isinstance(side, int) else 1 for side in entry.shape or []]
    if np.prod(shape, dtype=int) != inputs:
        shape = [1] * (len(shape) - 1 or 1) + [inputs]
    extra = {other.name: np.zeros([1], np.float32) for other in others}
    run = lambda row: session.run([output] if output else None, {entry.name: row.reshape(shape), **extra})
    theirs = np.stack([run(row)[0].reshape(-1) for row in rows]).astype(np.float64)
    ours = evaluate(manifest, tensors, rows.astype(np.float64))
    if after:
        ours = ours - np.log(np.exp(ours).sum(axis=1, keepdims=True))
        ours = np.exp(ours) if after == "softmax" else ours
    if ours.shape != theirs.shape:
        return np.inf, False
    worst = np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max())
    return worst, worst < tolerance


def main(listed, count=ROWS):
    failed = []
    for line in Path(listed).read_text().splitlines():
        model, folder, output, after, tolerance = line.split("\t")
        worst, good = check(Path(model), Path(folder), output, after, float(tolerance or TOLERANCE), count)
        if not good:
            failed.append(f"{model}: the imported policy differs from ONNX Runtime by {worst:.2e}")
        elif worst > float(tolerance or TOLERANCE) / 10:
            print(f"{Path(model).name}: {worst:.2e}")
        if count != ROWS:
            print(f"{Path(model).name}: largest difference {worst:.2e} of the largest output, {count} observations")
    if failed:
        sys.exit("\n".join(failed))


main(sys.argv[1], *map(int, sys.argv[2:]))
