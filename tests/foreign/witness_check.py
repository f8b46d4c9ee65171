"""Runs ONNX Runtime on the inputs of a counterexample and holds its outputs against the property. Needs numpy, onnxruntime.

    witness_check.py MODEL WITNESS COEFFICIENTS BOUND      WITNESS in the competition's form or the VNN-LIB standard's;
                                                           COEFFICIENTS of the outputs, separated by commas: their sum
                                                           is at most BOUND

Outputs that the file states may differ by 1e-4 and a thousandth, as the competition allows.
"""
import re
import sys

import numpy as np
import onnxruntime


def values(text):
    """Inputs and outputs as binary32 numbers, in their order."""
    if "(" in text:
        pairs = re.findall(r"\(([XY])_(\d+)\s+([^\s()]+)\)", text)
        named = {(letter, int(index)): np.float32(value) for letter, index, value in pairs}
        return [[named[key] for key in sorted(named) if key[0] == letter] for letter in "XY"]
    tensors = []
    for line in text.splitlines()[1:]:
        if "[" in line:
            tensors.append([])
        else:
            tensors[-1].append(np.float32(line))
    return tensors


def main():
    model, witness, coefficients, bound = sys.argv[1:]
    inputs, stated = values(open(witness).read())
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    shape = [side if isinstance(side, int) else 1 for side in entry.shape]
    (outputs,) = session.run(None, {entry.name: np.array(inputs, np.float32).reshape(shape)})
    outputs = outputs.reshape(-1)
    assert np.allclose(outputs, stated, rtol=1e-3, atol=1e-4), (outputs, stated)
    total = float(np.dot([float(c) for c in coefficients.split(",")], outputs.astype(np.float64)))
    assert total <= float(bound), (total, bound)
    print("reproduced", outputs)


main()
