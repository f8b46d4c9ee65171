"""Random constants, and models made of nodes: what `onnx_forms.py` is written with. Needs numpy, onnx."""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, D, H, I = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64
draw = np.random.default_rng(7)


def random(*shape):
    return draw.normal(size=shape).astype(np.float32)


C = {
    "w": random(5, 4),
    "wt": random(4, 5),
    "b": random(4),
    "v": random(3, 4),
    "c": random(3),
    "sq4": random(4, 4),
    "sq": random(5, 5),
    "w12": random(12, 4),
    "w8": random(8, 4),
    "v2": random(6, 4),
    "c2": random(6),
    "mean": random(5),
    "scale": random(4),
    "shift3": random(3),
    "scale3": random(3),
    "bn_b": random(4),
    "bn_m": random(4),
    "b5": random(5),
    "wcol": random(4, 1),
    "row5": random(1, 5),
    "mask": (random(5, 4) > 0).astype(np.float32),
    "wh": random(5, 4).astype(np.float16),
    "wd": random(5, 4).astype(np.float64),
    "bd": random(4).astype(np.float64),
    "mean34": random(3, 4),
    "mean4": random(4),
    "wb": random(1, 5, 4),
    "std": np.abs(random(5)) + np.float32(0.5),
    "var": np.abs(random(5)) + np.float32(0.5),
    "bn_v": np.abs(random(4)) + np.float32(0.5),
    "recip": np.float32(1) / (np.abs(random(5)) + np.float32(0.5)),
    "ns": -np.abs(random(5)) - np.float32(0.5),
    "mixed": random(5),
    "powers": np.float32([0.5, 2, 4, 1, 0.25]),
    "powers4": np.float32([-4, 2, 8, 1]),
    "exact_w": np.float32([[1, 2, -3, 0], [4, 5, 6, 1], [7, -8, 9, 2]]),
    "exact_c": np.float32([6, -3, 9]),
    "lo4": -np.abs(random(4)),
    "hi4": np.abs(random(4)),
    "lo5": np.float32(-0.25) - np.abs(random(5)),
    "nan4": np.float32([1, np.nan, 0, 0]),
    "zero4": np.float32([1, 0, 1, 1]),
    "zero": np.float32(0),
    "one": np.float32(1),
    "two": np.float32(2),
    "minus_two": np.float32(-2),
    "three": np.float32(3),
    "low": np.float32(-0.25),
    "high": np.float32(0.75),
    "six": np.float32(6),
    "half": np.float32(0.5),
    "eps": np.float32(1e-5),
    "tenth": np.float32(0.1),
    "s255": np.float32(255),
    "inf": np.float32(np.inf),
    "minf": np.float32(-np.inf),
    "minf5": np.full(5, -np.inf, np.float32),
    "slope_vec": np.float32([0.1, 0.2, 0.3, 0.4]),
    "half4": np.full(4, 0.5, np.float32),
    "i0": np.int64(0),
    "im1": np.array([-1]),
    "i5": np.array([5]),
    "two_rows": np.array([2, -1]),
    "copy": np.array([0, -1]),
    "to5": np.array([5]),
    "to51": np.array([5, 1]),
    "s1": np.array([1]),
    "big": np.array([2**62]),
    "least": np.array([-(2**62)]),
    "ax1": np.array([1]),
    "ax012": np.array([0, 1, 2]),
    "sizes": np.array([3, 3]),
    "sizes3": np.array([1, 3, 2]),
    "order": np.array([4, 0, 3, 2, 1]),
    "pick5": np.array([5, 0, 3, 2, 1]),
    "again": np.array([0, 0, 1, 2, 3]),
    "row0": np.array([0]),
    "true": np.array(True),
    "drop": np.float32(0.5),
    "zero_point": np.uint8(0),
    "kernel": random(1, 1, 3),
    "recip_row": np.float32(1) / (np.abs(random(1, 5)) + np.float32(0.5)),
    "std_row": np.abs(random(1, 5)) + np.float32(0.5),
    "factor0": np.float32([0.3, 0, 0.7, 1.3, 0.1]),
    "std4": np.abs(random(4)) + np.float32(0.5),
    "factor4": np.float32(1) / (np.abs(random(4)) + np.float32(0.5)),
    "back4": np.array([3, 2, 1, 0]),
    "to41": np.array([4, 1]),
    "to14": np.array([1, 4]),
    "to134": np.array([-1, 3, 4]),
    "to12": np.array([-1, 12]),
    "thrice": np.array([3]),
    "thrice_row": np.array([1, 3]),
    "once_row": np.array([1, 1]),
    "twos": np.array([2, 2]),
    "mean2": random(2),
    "tenth2": random(3, 2),
    "minus3": np.array([-3]),
    "sizes12": np.array([4, 4, 4]),
}


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def start(x="x"):
    return [node("MatMul", f"{x} w", "p"), node("Add", "p b", "h")]


def end(x="a", y="y"):
    return [node("Gemm", f"{x} v c", y, transB=1)]


FORMS, FOLDER = [], Path(sys.argv[1])
for part in ["same", "less"]:
    (FOLDER / part).mkdir()


def form(name, nodes, read=None, inputs=(("x", F, [1, 5]),), outputs=(("y", F, [1, 3]),), opset=17, change=None, ir=8, **options):
    """`read`: the words of a refusal, or None for a model that is read."""
    used = {n for one in nodes for n in one.input}
    listed = lambda entries: [helper.make_tensor_value_info(*entry) for entry in entries]
    initializers = [numpy_helper.from_array(np.asarray(C[n]), n) for n in sorted(used) if n in C]
    graph = helper.make_graph(nodes, "g", listed(inputs), listed(outputs), initializers)
    domains = [helper.make_opsetid("", opset)] + [
        helper.make_opsetid(d, 1) for d in sorted({n.domain for n in nodes if n.domain})
    ]
    model = helper.make_model(graph, opset_imports=domains, ir_version=ir)
    if change:
        change(model)
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    FORMS.append({"name": name, "read": read is None, "words": read or "", **options})
    if read is None:
        (FOLDER / "same" / f"{name}.onnx").write_bytes(same(model).SerializeToString())
        for number, less in enumerate(without(model)):
            (FOLDER / "less" / f"{name}.{number}.onnx").write_bytes(less.SerializeToString())


def same(model):
    """The same network in another file."""
    other = type(model).FromString(model.SerializeToString())
    graph, waiting, ready = other.graph, list(other.graph.node), []
    unmade = {o for one in waiting for o in one.output}
    while waiting:
        possible = [one for one in waiting if not unmade.intersection(one.input)]
        chosen = possible[draw.integers(len(possible))]
        ready.append(chosen)
        waiting.remove(chosen)
        unmade.difference_update(chosen.output)
    outputs = {o.name for o in graph.output}
    inner = {o for one in ready for o in one.output if o} | {i.name for i in graph.initializer}
    renamed = {old: f"value {number}" for number, old in enumerate(sorted(inner - outputs, reverse=True))}
    for one in ready:
        one.name = f"renamed {len(one.input)}"
        for names in [one.input, one.output]:
            names[:] = [renamed.get(n, n) for n in names]
    for entry in [*graph.initializer, *graph.input]:
        entry.name = renamed.get(entry.name, entry.name)
    del graph.node[:]
    dead = [node("Conv", f"{graph.input[0].name} dead_w", "dead_a"), node("Elu", "dead_a", "dead_b")]
    graph.node.extend([*dead, *ready])
    shuffled = list(graph.initializer)
    draw.shuffle(shuffled)
    del graph.initializer[:]
    graph.initializer.extend([*shuffled, numpy_helper.from_array(np.float32([np.nan]), "dead_w")])
    return other


def without(model):
    """The model without one of its nodes or initializers, for each of them."""
    for part in ["node", "initializer"]:
        for index in range(len(getattr(model.graph, part))):
            other = type(model).FromString(model.SerializeToString())
            del getattr(other.graph, part)[index]
            yield other


def hidden(name, nodes, read=None, **rest):
    """An activation `h` -> `a` between two layers."""
    form(name, [*start(), *nodes, *end()], read, **rest)
