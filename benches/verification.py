#!/usr/bin/env python3
"""Runs `secateur verify` and `secateur check` over benchmark instances and prints one line for each, as Markdown.

The instances are a CSV: network, property, verdict (may be missing), seconds; a head line is passed over. Paths are looked for beside the CSV, and in
`onnx/` and `vnnlib/` there. Seconds are wall-clock, CPU seconds those of all threads; `verify` includes its own check of the
proof. An instance that is not decided in its time, or in --limit, is `timeout`. Exit code 1 if a verdict differs or a proof is refused.

    cargo build --release
    benches/verification.py target/release/secateur ../shared/vnncomp/acasxu/expected.csv
"""

import argparse
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def find(folder, name, kind):
    """The file of that name beside the CSV or in the folder of its kind."""
    places = [folder / name, folder / kind / Path(name).name]
    for place in places:
        if place.exists():
            return place
    sys.exit(f"{name}: neither {places[0]} nor {places[1]} exists")


def timed(command, limit):
    """Output, exit code (None: out of time), wall-clock and CPU seconds."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        text, code = run.stdout + run.stderr, run.returncode
    except subprocess.TimeoutExpired:
        text, code = "", None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return text, code, time.monotonic() - began, cpu


def decide(secateur, network, property_, limit, folder):
    """Verdict, seconds and CPU seconds of deciding, bytes of the proof, seconds and CPU seconds of checking, refusal."""
    certificate, proof = folder / "p.cert.dsse.json", folder / "p.proof.json"
    for file in (certificate, proof):
        file.unlink(missing_ok=True)
    verify = [secateur, "verify", network, property_, "--key", folder / "keys/secateur.pem", "--out", certificate]
    text, code, wall, cpu = timed(verify, limit)
    verdict = "timeout" if code is None else (text.splitlines() or ["error"])[0]
    if code != 0:
        return verdict, wall, cpu, 0, 0.0, 0.0, None if code in (None, 1) else text.strip()
    size = proof.stat().st_size if proof.exists() else 0
    check = [secateur, "check", network, property_, certificate, "--trust", folder / "keys/trust.json"]
    text, code, check_wall, check_cpu = timed(check, None)
    accepted = code == 0 and text.startswith(verdict)
    return verdict, wall, cpu, size, check_wall, check_cpu, None if accepted else text.strip()


def main():
    """Reads the instances, decides each, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("secateur", type=Path, help="the program")
    parser.add_argument("instances", type=Path, help="CSV of instances")
    parser.add_argument("--limit", type=float, help="seconds for each, in place of those in the CSV")
    parser.add_argument("--only", help="only instances whose network and property, joined by a space, contain this")
    parser.add_argument("--sample", type=int, help="only so many instances, drawn at random")
    parser.add_argument("--seed", type=int, default=7, help="of the draw (default 7)")
    arguments = parser.parse_args()
    secateur, folder = arguments.secateur.resolve(), arguments.instances.resolve().parent
    with open(arguments.instances, newline="", encoding="utf-8") as file:
        instances = [row for row in csv.reader(file) if row and row[0].endswith((".onnx", ".onnx.gz"))]
    if arguments.sample:
        chosen = random.Random(arguments.seed).sample(range(len(instances)), arguments.sample)
        instances = [instances[place] for place in sorted(chosen)]
    print("| network | property | agreed | verdict | s | CPU s | proof bytes | check s | check CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    wrong, decided, seconds = [], 0, []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        subprocess.run([secateur, "keygen", "--out", scratch / "keys"], check=True, capture_output=True)
        for network, property_, *rest in instances:
            if arguments.only and arguments.only not in f"{network} {property_}":
                continue
            agreed = rest[0] if rest and rest[0] in ("sat", "unsat") else ""
            limit = arguments.limit or float(rest[-1])
            paths = find(folder, network, "onnx"), find(folder, property_, "vnnlib")
            verdict, wall, cpu, size, check, check_cpu, refusal = decide(secateur, *paths, limit, scratch)
            print(f"| {Path(network).stem} | {Path(property_).stem} | {agreed} | {verdict} | {wall:.2f} | {cpu:.2f} "
                  f"| {size} | {check:.2f} | {check_cpu:.2f} |", flush=True)
            if verdict in ("sat", "unsat"):
                decided += 1
                seconds.append(wall)
                if agreed and verdict != agreed:
                    wrong.append(f"{network} {property_}: {verdict}, agreed is {agreed}")
            if refusal:
                wrong.append(f"{network} {property_}: {refusal}")
    seconds.sort()
    if seconds:
        print(f"\ndecided {decided}, median {seconds[len(seconds) // 2]:.2f} s, longest {seconds[-1]:.2f} s")
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
