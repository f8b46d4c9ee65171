#!/usr/bin/env python3
"""How far outputs move: what is certified, what sampling reaches, and what auto_LiRPA's CROWN says of the same network.

    robots.py target/release/secateur POLICY... [--epsilon 0.02] [--limit 10] [--family crown] [--samples 1000]
    robots.py target/release/secateur --speed [--limit 20] [--epsilon 0.05] [NETWORK.npz...]

POLICY is a directory of `secateur import` with states.npy (raw) in it. Needs torch; without auto_LiRPA its columns are left
out. Every normalised input moves by epsilon. Of each output and state the deviation from the clean output is taken; a row has
the medians over them, the least and the largest ratio to auto_LiRPA's, and at how many of them ours is larger by more than
1e-5 of it (float32 on one side, outward-rounded integers on the other).

--speed compares CPU seconds of one thread: `secateur-check` of family crown beside auto_LiRPA's float32 CROWN of all states
in one batch, on the networks given (NPZ, W0, b0, ...), or on tanh 48-512-256-128-12 and ReLU 480-512-256-128-29 with weights
drawn from a fixed seed. The check's seconds are those of L states less those of one, over L - 1, so that reading the files and
starting are left out; auto_LiRPA's are the least of five batches.
"""

import argparse
import base64
import json
import logging
import pathlib
import resource
import struct
import subprocess
import tempfile
import time
import warnings

import numpy as np
import torch

try:
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
except ImportError:
    BoundedModule = None

torch.set_num_threads(1)
# What it says of torch's versions, and of operations that it does not have.
warnings.simplefilter("ignore")
logging.disable()


def tensors(path):
    """The arrays of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    kinds = {"F32": np.float32, "F64": np.float64}
    found = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + length + start : 8 + length + end], kinds[entry["dtype"]])
            found[name] = values.reshape(entry["shape"])
    return found


class Swish(torch.nn.Module):
    """SiLU as exporters write it; auto_LiRPA bounds the product."""

    def forward(self, x):
        return x * torch.sigmoid(x)


MODULES = {"silu": Swish, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU}


def sequential(weights, biases, activations):
    modules = []
    for weight, bias, activation in zip(weights, biases, activations):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data = torch.tensor(np.asarray(weight, np.float32))
        linear.bias.data = torch.tensor(np.asarray(bias, np.float32))
        modules.append(linear)
        if activation != "identity":
            modules.append(MODULES[activation]())
    return torch.nn.Sequential(*modules)


def read_policy(folder):
    """The network of a policy directory and its states as the network reads them."""
    manifest = json.loads((folder / "policy.json").read_text())
    arrays = tensors(folder / "policy.safetensors")
    layers = manifest["layers"]
    words = [layer["activation"] for layer in layers]
    network = sequential(
        [arrays[layer["weight"]] for layer in layers],
        [arrays[layer["bias"]] for layer in layers],
        [word if isinstance(word, str) else word["kind"] for word in words],
    )
    states = np.load(folder / "states.npy").astype(np.float64)
    if "normaliser" in manifest:
        normaliser = manifest["normaliser"]
        states = states - arrays[normaliser["mean"]].astype(np.float64)
        factor = normaliser.get("factor")
        states = states * arrays[factor] if factor else states / arrays[normaliser["std"]]
    return network, torch.tensor(states.astype(np.float32))


def deviation(lower, upper, clean):
    return torch.maximum(upper - clean, clean - lower)


def sampled(network, states, epsilon, samples):
    """Random corners and points, and signed gradient steps for each output in both directions."""
    with torch.no_grad():
        clean = network(states)
    count, outputs = clean.shape
    best = torch.zeros_like(clean)
    generator = torch.Generator().manual_seed(1)
    for state in range(count):
        noise = torch.rand(samples, states.shape[1], generator=generator) * 2 - 1
        noise[: samples // 2] = noise[: samples // 2].sign()
        with torch.no_grad():
            moved = network(states[state] + epsilon * noise)
        best[state] = (moved - clean[state]).abs().max(0).values
        way = torch.cat([torch.eye(outputs), -torch.eye(outputs)])
        offset = torch.zeros(2 * outputs, states.shape[1])
        for step in range(20):
            offset.requires_grad_(True)
            value = ((network(states[state] + offset) - clean[state]) * way).sum(1)
            reached = value.detach().reshape(2, outputs).max(0).values
            best[state] = torch.maximum(best[state], reached)
            (slope,) = torch.autograd.grad(value.sum(), offset)
            length = 2 * epsilon if step == 0 else epsilon * (1 - step / 20)
            offset = (offset.detach() + length * slope.sign()).clamp(-epsilon, epsilon)
    return clean, best


def lirpa(network, states, epsilon, repeat=1):
    """auto_LiRPA's CROWN bounds of all states in one batch, and the least CPU seconds of a batch."""
    bounded = BoundedModule(network, states)
    region = BoundedTensor(states, PerturbationLpNorm(norm=float("inf"), eps=epsilon))
    least = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        with torch.no_grad():
            lower, upper = bounded.compute_bounds(x=(region,), method="CROWN")[:2]
        least = min(least, time.process_time() - start)
    return lower.detach(), upper.detach(), least


def cpu(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def certificate(secateur, folder, states, limit, epsilon, family, scratch, key, units):
    out = scratch / f"{len(list(scratch.iterdir()))}.cert.dsse.json"
    command = [secateur, "--quiet", "--threads", 1, "certify", folder, "--states", states, "--limit", limit]
    command += ["--epsilon", epsilon, "--family", family, "--no-counterexample", "--key", key, "--out", out]
    seconds = cpu(command + ["--state-units", units])
    return out, seconds


def claims(path):
    predicate = json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))["predicate"]
    rows = [c for c in predicate["claims"] if c["quantity"] == "action-deviation" and str(c["mask"]) == "0"]
    rows.sort(key=lambda claim: int(claim["output"]))
    return torch.tensor([[float(value) for value in claim["values"]] for claim in rows]).T


def widths(arguments, scratch, key):
    print("| policy | certified | auto_LiRPA | sampled | ours / sampled | ours / auto_LiRPA | wider |")
    print("|---|---|---|---|---|---|---|")
    for folder in arguments.policies:
        network, states = read_policy(folder)
        states = states[: arguments.limit]
        limit = len(states)
        out, _ = certificate(
            arguments.secateur, folder, folder / "states.npy", limit, arguments.epsilon, arguments.family, scratch,
            key, "raw",
        )
        ours = claims(out)
        clean, reached = sampled(network, states, arguments.epsilon, arguments.samples)
        theirs, ratio, wider = "-", "-", "-"
        if BoundedModule is not None:
            try:
                lower, upper, _ = lirpa(network, states, arguments.epsilon)
                other = deviation(lower, upper, clean)
                theirs = f"{other.median():.4g}"
                ratio = f"{(ours / other).min():.3f} to {(ours / other).max():.3f}"
                wider = f"{int((ours > other * (1 + 1e-5)).sum())} of {ours.numel()}"
            except Exception as error:  # An operation that it does not have.
                theirs = f"none ({type(error).__name__})"
        print(
            f"| {folder.name} | {ours.median():.4g} | {theirs} | {reached.median():.4g} "
            f"| {(ours / reached).median():.2f} | {ratio} | {wider} |",
            flush=True,
        )
        if (ours < reached - 1e-5 * (1 + reached)).any():
            raise SystemExit(f"{folder}: a sample reaches more than is certified")


def drawn(widths_, activation):
    generator = np.random.default_rng(1)
    arrays = {"act": activation}
    for index, (inputs, outputs) in enumerate(zip(widths_, widths_[1:])):
        scale = (3 / inputs) ** 0.5
        arrays[f"W{index}"] = generator.uniform(-scale, scale, (outputs, inputs)).astype(np.float32)
        arrays[f"b{index}"] = generator.uniform(-0.1, 0.1, outputs).astype(np.float32)
    return arrays


def speed(arguments, scratch, key):
    if BoundedModule is None:
        raise SystemExit("--speed needs auto_LiRPA")
    checker = pathlib.Path(arguments.secateur).with_name("secateur-check")
    networks = [(path.stem, dict(np.load(path))) for path in arguments.policies]
    if not networks:
        networks = [
            ("tanh 48-512-256-128-12", drawn([48, 512, 256, 128, 12], "tanh")),
            ("ReLU 480-512-256-128-29", drawn([480, 512, 256, 128, 29], "relu")),
        ]
    print("| network | check, ms a state | auto_LiRPA, ms a state | ratio |")
    print("|---|---|---|---|")
    for place, (name, arrays) in enumerate(networks):
        layers = sum(key.startswith("W") for key in arrays)
        activation = str(arrays["act"])
        weights = [arrays[f"W{index}"] for index in range(layers)]
        biases = [arrays[f"b{index}"] for index in range(layers)]
        network = sequential(weights, biases, [activation] * (layers - 1) + ["identity"])
        states = np.random.default_rng(2).standard_normal((arguments.limit, weights[0].shape[1])).astype(np.float32)
        source, folder, table = scratch / f"n{place}.npz", scratch / f"n{place}", scratch / f"s{place}.npy"
        np.savez(source, **{k: v for k, v in arrays.items() if k[0] in "Wb"})
        np.save(table, states)
        cpu([arguments.secateur, "--quiet", "import", source, "--head", "deterministic", "--activation", activation, "--out", folder])
        seconds = []
        for limit in (1, arguments.limit):
            out, _ = certificate(
                arguments.secateur, folder, table, limit, arguments.epsilon, "crown", scratch, key, "normalised"
            )
            np.save(scratch / "some.npy", states[:limit])
            command = [checker, "--threads", 1, folder, "--states", table, "--unsigned", out]
            seconds.append(min(cpu(command) for _ in range(3)))
        ours = (seconds[1] - seconds[0]) / (arguments.limit - 1)
        theirs = lirpa(network, torch.tensor(states), arguments.epsilon, 5)[2] / arguments.limit
        print(f"| {name} | {1e3 * ours:.3g} | {1e3 * theirs:.3g} | {ours / theirs:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("secateur")
    parser.add_argument("policies", nargs="*", type=pathlib.Path)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--epsilon", type=float)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--family", default="crown")
    parser.add_argument("--samples", type=int, default=1000)
    arguments = parser.parse_intermixed_args()
    arguments.epsilon = arguments.epsilon or (0.05 if arguments.speed else 0.02)
    arguments.limit = arguments.limit or (20 if arguments.speed else 10)
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        cpu([arguments.secateur, "--quiet", "keygen", "--out", scratch / "keys"])
        (speed if arguments.speed else widths)(arguments, scratch, scratch / "keys" / "secateur.pem")


if __name__ == "__main__":
    main()
