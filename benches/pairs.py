#!/usr/bin/env python3
"""Two-network properties: what `secateur verify` decides within a time limit, and what `secateur-check` makes of it.

usage: benches/pairs.py FOLDER [--sample N] [--seed S] [--seconds T] [--kind WORD] [--out TABLE.md]

FOLDER has `instances.csv` with the columns f, g, property and verdict (paths in FOLDER; `sat`, `unsat` or anything else), as the
benchmark `acasxu-isomorphic-networks-benchmark` turned into pairs. The release binaries are built first: `cargo build --release --workspace --bins`.
A line an instance: verdict, seconds and CPU seconds of the search with its own check, bytes of the proof, seconds of the check.
"""

import argparse
import csv
import os
import random
import resource
import subprocess
import tempfile
import time
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
    lines = ["| property | expected | verdict | seconds | CPU s | proof bytes | check s | check CPU s |", "|---|---|---|---|---|---|---|---|"]
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
            if code == 0:
                proof = scratch / f"{number}.proof.json"
                size = str(proof.stat().st_size) if proof.exists() else ""
                check = [BINARIES / "secateur-check", canonical / "f", canonical / "g"]
                check += ["--property", canonical / "property.json", "--trust", scratch / "keys" / "trust.json", out]
                _, code, check_wall, check_cpu = timed(check, None)
                checked, check_cpu = f"{check_wall:.2f}" if code == 0 else "REFUSED", f"{check_cpu:.2f}"
            name = Path(row["property"]).stem
            lines.append(f"| {name} | {row['verdict']} | {verdict} | {wall:.2f} | {cpu:.2f} | {size} | {checked} | {check_cpu} |")
            print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
