#!/usr/bin/env python3
"""Two-network properties: what `secateur verify` decides within a time limit, and what `secateur-check` makes of it.

usage: benches/pairs.py FOLDER [--sample N] [--seed S] [--seconds T] [--kind WORD] [--out TABLE.md]

FOLDER has `instances.csv` with the columns f, g, property and verdict (paths in FOLDER; `sat`, `unsat` or anything else), as the
benchmark `acasxu-isomorphic-networks-benchmark` turned into pairs. The release binaries are built first: `cargo build --release --workspace --bins`.
A line an instance: verdict, seconds and CPU seconds of the search with its own check, bytes of the proof, seconds of the check, and what
two separate boxes give: the largest difference that interval bounds of each network, and backward linear bounds (CROWN with default slopes)
of each, leave over the whole box of inputs, as multiples of the difference asked about.
"""

import argparse
import csv
import json
import os
import random
import resource
import struct
import subprocess
import tempfile
import time
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = Path(os.environ.get("SECATEUR_BINARIES", ROOT / "target" / "release"))


def timed(command, seconds):
    """Output, exit code, wall and CPU seconds; the code is None where the time ran out."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        output, code = ran.stdout + ran.stderr, ran.returncode
    except subprocess.TimeoutExpired:
        output, code = "", None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return output, code, time.monotonic() - begun, cpu


def tensors(path):
    """The tables of a safetensors file of floats, as lists of rows."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + at for at in entry["data_offsets"])
            values = struct.unpack("<%d%s" % ((end - begin) // (4 if entry["dtype"] == "F32" else 8), "f" if entry["dtype"] == "F32" else "d"), data[begin:end])
            width = entry["shape"][-1]
            found[name] = [values[i : i + width] for i in range(0, len(values), width)]
    return found


def relu_lines(lower, upper):
    """Slope and intercept of the line above, slope of the line below, of each neuron."""
    for l, u in zip(lower, upper):
        if l >= 0:
            yield 1.0, 0.0, 1.0
        elif u <= 0:
            yield 0.0, 0.0, 0.0
        else:
            yield u / (u - l), -l * u / (u - l), float(u > -l)


def separate_box(folder, lower, upper, linear):
    """Bounds of a ReLU network's outputs over a box, in floats: by intervals, or with `linear` backward through each layer too."""
    manifest, tables = json.loads((folder / "policy.json").read_text()), tensors(folder / "policy.safetensors")
    layers = [(tables[layer["weight"]], tables[layer["bias"]][0], layer["activation"]) for layer in manifest["layers"]]
    lines, ends = [], (lower, upper)
    for index, (weight, bias, activation) in enumerate(layers):
        sums = lambda row, first, second: sum(w * (first if w >= 0 else second)[j] for j, w in enumerate(row))
        low = [sums(row, ends[0], ends[1]) + b for row, b in zip(weight, bias)]
        high = [sums(row, ends[1], ends[0]) + b for row, b in zip(weight, bias)]
        for neuron in range(len(weight)) if linear and index else ():
            for sign, side in ((1, high), (-1, low)):
                row, constant = [sign * w for w in weight[neuron]], sign * bias[neuron]
                for below in range(index - 1, -1, -1):
                    constant += sum(c * line[1] for c, line in zip(row, lines[below]) if c > 0)
                    row = [c * line[0] if c > 0 else c * line[2] for c, line in zip(row, lines[below])]
                    constant += sum(c * b for c, b in zip(row, layers[below][1]))
                    used = [(c, w) for c, w in zip(row, layers[below][0]) if c]
                    row = [sum(c * w[j] for c, w in used) for j in range(len(layers[below][0][0]))]
                bound = sign * (constant + sum(c * (upper if c > 0 else lower)[j] for j, c in enumerate(row)))
                side[neuron] = min(side[neuron], bound) if sign > 0 else max(side[neuron], bound)
        if activation == "relu":
            lines.append(list(relu_lines(low, high)))
            low, high = [max(x, 0.0) for x in low], [max(x, 0.0) for x in high]
        ends = (low, high)
    return ends


def separately(canonical):
    """What two separate boxes leave of the difference of any output, intervals first, as multiples of the one asked about."""
    case = json.loads((canonical / "property.json").read_text())["cases"][0]
    number = lambda text: float(Fraction(text))
    lower, upper = ([number(x) for x in case[side]] for side in ("lower", "upper"))
    delta = -number(case["constraints"][0]["bound"])
    for linear in (False, True):
        (fl, fu), (gl, gu) = (separate_box(canonical / name, lower, upper, linear) for name in "fg")
        yield max(max(b - c, d - a) for a, b, c, d in zip(fl, fu, gl, gu)) / delta


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--kind")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with open(options.folder / "instances.csv", newline="") as file:
        instances = [row for row in csv.DictReader(file) if (options.kind or "") in row["property"]]
    if options.sample:
        instances = random.Random(options.seed).sample(instances, options.sample)
    lines = ["| property | expected | verdict | seconds | CPU s | proof bytes | check s | check CPU s | two boxes: intervals | two boxes: backward |", "|" + "---|" * 10]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        subprocess.run([BINARIES / "secateur", "keygen", "--out", scratch / "keys"], check=True, capture_output=True)
        for number, row in enumerate(instances):
            out, canonical = scratch / f"{number}.cert.dsse.json", scratch / str(number)
            pair = ["--network", f"f={options.folder / row['f']}", "--network", f"g={options.folder / row['g']}"]
            command = [BINARIES / "secateur", "verify", *pair, options.folder / row["property"]]
            command += ["--key", scratch / "keys" / "secateur.pem", "--out", out, "--canonical", canonical]
            output, code, wall, cpu = timed(command, options.seconds)
            words = output.split()
            verdict = words[0] if code == 0 and words else "timeout" if code is None else f"exit {code}"
            size = checked = check_cpu = ""
            boxes = [""] * 2
            if code == 0:
                proof = scratch / f"{number}.proof.json"
                size = str(proof.stat().st_size) if proof.exists() else ""
                check = [BINARIES / "secateur-check", canonical / "f", canonical / "g"]
                check += ["--property", canonical / "property.json", "--trust", scratch / "keys" / "trust.json", out]
                _, code, check_wall, check_cpu = timed(check, None)
                boxes = [f"{times:.2g}" for times in separately(canonical)]
                checked, check_cpu = f"{check_wall:.2f}" if code == 0 else "REFUSED", f"{check_cpu:.2f}"
            name = Path(row["property"]).stem
            lines.append(f"| {name} | {row['verdict']} | {verdict} | {wall:.2f} | {cpu:.2f} | {size} | {checked} | {check_cpu} | {boxes[0]} | {boxes[1]} |")
            print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
