"""Imports files that are kept as cases, and compares the policies with what their frameworks computed. Needs numpy.

    import_cases.py FOLDER PROGRAM    FOLDER/cases.json: "case" (a folder beside it), "command" (with --out), and where the
                                      policy's outputs are known "inputs" and "outputs"

A case is right if the import stops with exit code 2 and a message, or if the policy gives the outputs (largest difference
at most 5e-3 of the largest output). Exit code 1 if one is not.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from policy_values import evaluate, read_policy


def wrong(case, folder, program):
    """What is wrong, or `read` or `refused`."""
    with tempfile.TemporaryDirectory() as scratch:
        command = list(case["command"])
        out = Path(scratch) / "p"
        command[command.index("--out") + 1] = str(out)
        ran = subprocess.run([program, *command], cwd=folder / case["case"], capture_output=True, text=True, timeout=60)
        if ran.returncode == 2 and ran.stderr.strip():
            return "refused"
        if ran.returncode != 0:
            return f"exit code {ran.returncode}"
        if "outputs" not in case:
            return "read"
        found = evaluate(*read_policy(out), np.array(case["inputs"], float))
        wanted = np.array(case["outputs"], float)
        near = found.shape == wanted.shape and np.abs(found - wanted).max() <= 5e-3 * max(1e-30, np.abs(wanted).max())
        return "read" if near else "other outputs"


def main(folder, program):
    folder, program = Path(folder), os.path.abspath(program)
    results = []
    for case in json.loads((folder / "cases.json").read_text()):
        results.append(wrong(case, folder, program))
        if results[-1] not in ("read", "refused"):
            print(f"{results[-1]}: {case['id']} {case['case']}: {' '.join(case['command'])}")
    read, refused = results.count("read"), results.count("refused")
    print(f"{read} read, {refused} refused, {len(results) - read - refused} wrong")
    return int(read + refused < len(results))


sys.exit(main(*sys.argv[1:]))
