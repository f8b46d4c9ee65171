"""Small ONNX models, one for each operator, order and form that the importer reads or refuses. Needs numpy, onnx.

    onnx_forms.py FOLDER    writes FOLDER/NAME.onnx and FOLDER/forms.json: name, options, `read` or the refusal's words;
                            and of each model that is read FOLDER/same/NAME.onnx, the same graph in another order, with
                            other names, dead nodes and dead initializers, and FOLDER/less/NAME.N.onnx, the graph
                            without its Nth node or initializer

Weights are random (seed 7).
"""

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from onnx_model import C, D, F, FOLDER, FORMS, H, I, end, form, hidden, node, random, start


def layers():
    relu = [node("Relu", "h", "a")]
    form("gemm", [node("Gemm", "x w b", "h"), *relu, *end()])
    form("gemm-alpha", [node("Gemm", "x w b", "h", alpha=0.5, beta=-1.5), *relu, *end()])
    form("gemm-no-bias", [node("Gemm", "x w", "h"), *relu, *end()])
    form("gemm-scalar-bias", [node("Gemm", "x w half", "h"), *relu, *end()])
    form("gemm-row-transposed", [node("Reshape", "x to51", "xc"), node("Gemm", "xc w b", "h", transA=1), *relu, *end()])
    form(
        "gemm-weight-first",
        [node("Gemm", "wt xc wcol", "h"), node("Relu", "h", "r"), node("Transpose", "r", "a", perm=[1, 0]), *end()],
        inputs=[("xc", F, [5, 1])],
    )
    form("matmul", [*start(), *relu, *end()])
    form("matmul-no-bias", [node("MatMul", "x w", "h"), *relu, *end()])
    form("matmul-bias-subtracted", [node("MatMul", "x w", "p"), node("Sub", "p b", "h"), *relu, *end()])
    form("matmul-bias-minus", [node("MatMul", "x w", "p"), node("Sub", "b p", "h"), *relu, *end()])
    form(
        "matmul-three-sides",
        [node("MatMul", "x wb", "p"), node("Add", "p b", "h"), node("Relu", "h", "r"), node("Squeeze", "r i0s", "a"), *end()],
        change=lambda m: m.graph.initializer.append(numpy_helper.from_array(np.array([0]), "i0s")),
    )
    left = [node("MatMul", "wt x", "p"), node("Add", "p b", "h"), *relu, node("MatMul", "v a", "o"), node("Add", "o c", "y")]
    form("weight-first", left, inputs=[("x", F, [5])], outputs=[("y", F, [3])])
    column = [node("MatMul", "wt x", "p"), node("Add", "p wcol", "h"), *relu, node("MatMul", "v a", "y")]
    form("weight-first-column", column, inputs=[("x", F, [5, 1])], outputs=[("y", F, [3, 1])])
    form("weight-first-batch-of-columns", column, inputs=[("x", F, [5, "n"])], outputs=[("y", F, [3, "n"])])
    square = [node("MatMul", "sq x", "h"), *relu, node("MatMul", "wt a", "y")]
    form("weight-first-square", square, inputs=[("x", F, [5])], outputs=[("y", F, [4])])
    form(
        "weight-second-vector",
        [node("MatMul", "x w", "h"), *relu, node("MatMul", "a sq4", "y")],
        inputs=[("x", F, [5])],
        outputs=[("y", F, [4])],
    )
    form("weight-first-batch", square, "weight", inputs=[("x", F, ["n", 5])], outputs=[("y", F, ["n", 4])])
    form("weight-vector", [*start(), *relu, node("MatMul", "a scale", "y")], outputs=[("y", F, [1])])
    form("batch", [*start(), *relu, *end()], inputs=[("x", F, ["n", 5])], outputs=[("y", F, ["n", 3])])
    form("open-width", [*start(), *relu, *end()], inputs=[("x", F, ["n", "d"])], outputs=[("y", F, ["n", "k"])])
    form("no-shape", [*start(), *relu, *end()], inputs=[("x", F, None)], outputs=[("y", F, None)])
    form(
        "four-sides",
        [node("MatMul", "x w", "p"), node("Add", "p b", "h"), *relu, node("MatMul", "a sq4", "y")],
        inputs=[("x", F, [1, 1, 1, 5])],
        outputs=[("y", F, [1, 1, 1, 4])],
    )
    form("wrong-width", [node("MatMul", "x v", "h"), *relu, *end()], "5 come")
    form("bias-spreads", [node("MatMul", "x w", "p"), node("Add", "p wcol", "h"), *relu, *end()], "would spread")
    form(
        "rows-share",
        [node("Reshape", "x two_rows", "r"), node("MatMul", "r w", "h"), *relu, *end()],
        "several rows",
        inputs=[("x", F, [1, 10])],
        outputs=[("y", F, [2, 3])],
    )
    form("fixed-batch", [*start(), *relu, *end()], "several rows", inputs=[("x", F, [64, 5])], outputs=[("y", F, [64, 3])])
    form("other-output-shape", [*start(), *relu, *end()], "is stated as", outputs=[("y", F, [1, 4])])
    form("attention", [*start(), node("Transpose", "h", "t"), node("MatMul", "t h", "a"), *end()], "attention")
    form("only-elementwise", [node("Mul", "x std", "y")], "no layers", outputs=[("y", F, [1, 5])])
    form("nan-weight", [*start(), node("Add", "h nan4", "g"), node("Relu", "g", "a"), *end()], "NaN")


def activations():
    for kind in ["Relu", "Tanh", "Sigmoid"]:
        hidden(kind.lower(), [node(kind, "h", "a")])
    hidden("two-activations", [node("Relu", "h", "r"), node("Tanh", "r", "a")])
    hidden("leaky", [node("LeakyRelu", "h", "a", alpha=0.2)])
    hidden("leaky-default", [node("LeakyRelu", "h", "a")])
    hidden("leaky-steep", [node("LeakyRelu", "h", "a", alpha=1.5)])
    hidden("leaky-negative", [node("LeakyRelu", "h", "a", alpha=-0.5)], "slope")
    hidden("prelu", [node("PRelu", "h tenth", "a")])
    hidden("prelu-same", [node("PRelu", "h half4", "a")])
    hidden("prelu-more-sides", [node("Unsqueeze", "tenth ax012", "s3"), node("PRelu", "h s3", "a")], "more sides")
    hidden("prelu-vector", [node("PRelu", "h slope_vec", "a")], "slopes differ")
    hidden("hard-sigmoid", [node("HardSigmoid", "h", "a")])
    hidden("hard-sigmoid-pytorch", [node("HardSigmoid", "h", "a", alpha=1 / 6, beta=0.5)])
    hidden("clip-both", [node("Clip", "h low high", "a")])
    hidden("clip-attributes", [node("Clip", "h", "a", min=-1.0, max=1.0)], opset=10)
    hidden("clip-largest", [node("Clip", "h", "a", min=0.0, max=3.4028234663852886e38)], opset=10)
    hidden("clip-old-default", [node("Clip", "h", "a", min=0.0)], opset=10)
    hidden("clip-below", [node("Clip", "h zero", "a")])
    hidden("clip-below-elsewhere", [node("Clip", "h low", "a")])
    hidden("clip-above", [helper.make_node("Clip", ["h", "", "high"], ["a"])])
    hidden("clip-infinite", [node("Clip", "h zero inf", "a")])
    hidden("clip-open", [node("Clip", "h minf inf", "r"), node("Relu", "r", "a")])
    hidden("clip-nothing", [node("Clip", "h", "r"), node("Relu", "r", "a")])
    hidden("clip-attributes-new", [node("Clip", "h", "a", min=-1.0, max=1.0)], "is an input in opset 17")
    hidden("clip-inputs-old", [node("Clip", "h low high", "a")], "in opset 10 it has one input", opset=10)
    left = lambda x: [node("MatMul", f"wt {x}", "h"), node("Relu", "h", "a"), node("MatMul", "v a", "y")]
    form("max-open-spreads", [node("Max", "x minf5", "g"), *left("g")], "would spread", [("x", F, [5, 1])], [("y", F, None)])
    form("max-open-rank", [node("Max", "x minf5", "g"), *start("g"), node("Relu", "h", "a"), *end()])
    hidden("clip-crossed", [node("Clip", "h high low", "a")], "at most one value")
    hidden("relu6", [node("Relu", "h", "r"), node("Min", "r six", "a")])
    hidden("max-zero", [node("Max", "h zero", "a")])
    hidden("zero-max", [node("Max", "zero h", "a")])
    hidden("min-max-vectors", [node("Max", "h lo4", "r"), node("Min", "r hi4", "a")])
    hidden("max-many", [node("Max", "low h zero", "a")])
    form("output-clip", [*start(), node("Relu", "h", "a"), *end("a", "o"), node("Clip", "o low high", "y")])
    form("output-tanh", [*start(), node("Relu", "h", "a"), *end("a", "o"), node("Tanh", "o", "y")])
    hidden("elu", [node("Elu", "h", "a")])
    hidden("elu-alpha", [node("Elu", "h", "a", alpha=0.3)])
    for name, alpha in [("large", 1.5), ("zero", 0.0), ("negative", -0.5), ("nan", float("nan"))]:
        hidden(f"elu-{name}", [node("Elu", "h", "a", alpha=alpha)], "its alpha is")
    hidden("elu-unknown-attribute", [node("Elu", "h", "a", beta=1.0)], "beta")
    form("elu-first", [node("Elu", "x", "n"), *start("n"), node("Elu", "h", "a"), *end()])
    sigmoid = node("Sigmoid", "h", "s")
    hidden("silu", [sigmoid, node("Mul", "h s", "a")])
    hidden("silu-turned", [sigmoid, node("Mul", "s h", "a")])
    hidden("silu-twice", [sigmoid, node("Mul", "s h", "g"), node("Sigmoid", "g", "t"), node("Mul", "g t", "a")])
    hidden("silu-of-sigmoid", [sigmoid, node("Sigmoid", "s", "t"), node("Mul", "t s", "a")])
    hidden("silu-copied", [node("Identity", "h", "g"), node("Sigmoid", "g", "s"), node("Mul", "h s", "a")])
    hidden("silu-scaled-after", [sigmoid, node("Mul", "h s", "g"), node("Mul", "g scale", "a")])
    form(
        "silu-first",
        [node("Sigmoid", "x", "q"), node("Mul", "x q", "n"), *start("n"), sigmoid, node("Mul", "h s", "a"), *end()],
    )
    form(
        "silu-last",
        [*start(), node("Relu", "h", "a"), *end("a", "o"), node("Sigmoid", "o", "s"), node("Mul", "s o", "y")],
    )
    hidden("swish", [node("Swish", "h", "a")], opset=24, ir=11)
    hidden("swish-alpha", [node("Swish", "h", "a", alpha=0.5)], "its alpha is 0.5", opset=24, ir=11)
    hidden("gate-of-other", [node("Sigmoid", "p", "s"), node("Mul", "h s", "a")], "sigmoid of another one")
    hidden("gate-of-turned", [node("Neg", "h", "g"), node("Sigmoid", "g", "s"), node("Mul", "h s", "a")], "factor inside")
    hidden(
        "gate-of-moved",
        [node("Gather", "h back4", "g", axis=1), node("Sigmoid", "g", "s"), node("Mul", "h s", "a")],
        "another one",
    )
    hidden(
        "gate-of-reshaped",
        [node("Reshape", "h to41", "g"), node("Sigmoid", "g", "s"), node("Mul", "h s", "m"), node("Reshape", "m to14", "a")],
        "another one",
    )
    hidden("gate-clipped", [sigmoid, node("Clip", "s low high", "t"), node("Mul", "h t", "a")], "with a clip")
    hidden("silu-beta", [node("Mul", "h two", "g"), node("Sigmoid", "g", "s"), node("Mul", "h s", "a")], "factor inside")
    hidden("silu-of-three", [sigmoid, node("Sum", "h s h", "a")], "two branches")
    hidden("quick-gelu", [helper.make_node("QuickGelu", ["h"], ["a"], domain="com.microsoft")], "x * Sigmoid(b x)")
    for kind in ["Selu", "Celu", "Softplus", "Softsign", "HardSwish", "Mish", "ThresholdedRelu"]:
        hidden(f"refused-{kind.lower()}", [node(kind, "h", "a")], kind, opset=18)
    hidden("refused-gelu", [node("Gelu", "h", "a")], "GELU", opset=20)
    hidden(
        "refused-gelu-erf",
        [
            node("Div", "h half", "d"),
            node("Erf", "d", "e"),
            node("Add", "e one", "f"),
            node("Mul", "h f", "g"),
            node("Mul", "g half", "a"),
        ],
        "GELU",
    )
    hidden(
        "refused-gelu-tanh",
        [
            node("Pow", "h three", "d"),
            node("Mul", "d half", "e"),
            node("Add", "h e", "f"),
            node("Tanh", "f", "g"),
            node("Mul", "h g", "a"),
        ],
        "GELU",
    )
    hidden("refused-hardswish-parts", [node("HardSigmoid", "h", "s"), node("Mul", "h s", "a")], "HardSwish")
    hidden("refused-square", [node("Mul", "h h", "a")], "multiplies two values")
    for kind in ["Abs", "Sign", "Exp", "Sin", "Floor"]:
        hidden(f"refused-{kind.lower()}", [node(kind, "h", "a")], kind)


def elementwise():
    for kind in ["Add", "Sub", "Mul"]:
        hidden(f"{kind.lower()}-before-activation", [node(kind, "h scale", "g"), node("Tanh", "g", "a")])
        hidden(f"{kind.lower()}-turned", [node(kind, "scale h", "g"), node("Tanh", "g", "a")])
        hidden(f"{kind.lower()}-after-activation", [node("Relu", "h", "g"), node(kind, "g scale", "a")])
        hidden(f"{kind.lower()}-scalar", [node("Relu", "h", "g"), node(kind, "g tenth", "a")])
    hidden("mul-add-before-activation", [node("Mul", "h scale", "g"), node("Add", "g b", "k"), node("Tanh", "k", "a")])
    hidden(
        "mul-mul-add-mul",
        [
            node("Mul", "h scale", "g"),
            node("Mul", "g mean4", "k"),
            node("Add", "k b", "l"),
            node("Mul", "l scale", "m"),
            node("Tanh", "m", "a"),
        ],
    )
    hidden("sum", [node("Sum", "scale h b", "g"), node("Relu", "g", "a")])
    hidden("neg", [node("Neg", "h", "g"), node("Relu", "g", "a")])
    hidden("div-power", [node("Div", "h powers4", "g"), node("Tanh", "g", "a")])
    hidden("div-power-after", [node("Relu", "h", "g"), node("Div", "g powers4", "a")])
    hidden("div-other", [node("Relu", "h", "g"), node("Div", "g scale", "a")], "power of two")
    hidden("div-zero", [node("Relu", "h", "g"), node("Div", "g zero4", "a")], "by zero")
    hidden("divisor", [node("Relu", "h", "g"), node("Div", "scale g", "a")], "divisor")
    form(
        "div-exact",
        [
            node("Gemm", "x w b", "h"),
            node("Relu", "h", "a"),
            node("Gemm", "a exact_w exact_c", "o", transB=1),
            node("Div", "o half", "q"),
            node("Tanh", "q", "y"),
        ],
    )
    out = lambda *nodes: [*start(), node("Relu", "h", "a"), *end("a", "o"), *nodes]
    form("out-neg", out(node("Neg", "o", "y")))
    form("out-scale", out(node("Mul", "o scale3", "y")))
    form("out-shift", out(node("Add", "o shift3", "y")))
    form("out-tanh-scale-shift", out(node("Tanh", "o", "t"), node("Mul", "scale3 t", "u"), node("Add", "u shift3", "y")))
    form("out-tanh-scalar", out(node("Tanh", "o", "t"), node("Mul", "t two", "y")))
    hidden("residual", [node("Relu", "h", "r"), node("MatMul", "r sq4", "k"), node("Add", "k r", "a")], "residual")
    hidden("twice", [node("Add", "h h", "g"), node("Relu", "g", "a")], "residual")
    bn = lambda x, y, **more: node("BatchNormalization", f"{x} scale bn_b bn_m bn_v", y, **more)
    hidden("bn-before", [bn("h", "g"), node("Relu", "g", "a")])
    hidden("bn-after", [node("Relu", "h", "g"), bn("g", "a", epsilon=1e-3)])
    form(
        "bn-input",
        [bn("x", "h"), node("MatMul", "h sq4", "g"), node("Relu", "g", "a"), *end()],
        inputs=[("x", F, ["n", 4])],
        outputs=[("y", F, ["n", 3])],
    )
    form("bn-last", [*start(), node("Relu", "h", "r"), node("MatMul", "r sq4", "g"), bn("g", "y")], outputs=[("y", F, [1, 4])])
    hidden(
        "bn-training",
        [node("BatchNormalization", "h scale bn_b bn_m bn_v", "g m2 v2", training_mode=1), node("Relu", "g", "a")],
        "training",
    )


def normalisers():
    tail = lambda x: [node("MatMul", f"{x} w", "p"), node("Add", "p b", "h"), node("Tanh", "h", "a"), *end()]
    first = lambda name, nodes, read=None, **more: form(f"norm-{name}", [*nodes, *tail("n")], read, **more)
    sub, div = node("Sub", "x mean", "d"), node("Div", "d std", "q")
    first("sub-div", [sub, node("Div", "d std", "n")])
    first("sub-div-clip", [sub, div, node("Clip", "q minus_two two", "n")])
    first("sub-div-clip-uneven", [sub, div, node("Clip", "q low two", "n")])
    first("sub-div-max-min", [sub, div, node("Max", "q minus_two", "m"), node("Min", "m two", "n")])
    first("sub", [node("Sub", "x mean", "n")])
    first("add", [node("Add", "x mean", "n")])
    first("div", [node("Div", "x std", "n")])
    first("div-scalar", [node("Div", "x s255", "n")])
    first("div-negative", [node("Div", "x ns", "n")])
    first("div-mixed-clip", [node("Div", "x mixed", "q"), node("Clip", "q minus_two two", "n")])
    first("div-sub", [node("Div", "x std", "d"), node("Sub", "d mean", "n")])
    first("sub-mul", [sub, node("Mul", "d recip", "n")])
    first("sub-mul-rows", [node("Sub", "x row5", "d"), node("Mul", "d recip_row", "n")])
    first("sub-div-rows", [node("Sub", "x row5", "d"), node("Div", "d std_row", "n")])
    first("sub-div-scalars", [node("Sub", "x tenth", "d"), node("Div", "d s255", "n")])
    first("sub-mul-scalars", [node("Sub", "x tenth", "d"), node("Mul", "d tenth", "n")])
    first("sub-mul-turned", [sub, node("Mul", "recip d", "n")])
    first("sub-mul-zero", [sub, node("Mul", "d factor0", "n")])
    first("sub-mul-relu", [sub, node("Mul", "d recip", "q"), node("Relu", "q", "n")])
    first("sub-mul-mul", [sub, node("Mul", "d recip", "q"), node("Mul", "q std", "n")])
    first("sub-mul-clip", [sub, node("Mul", "d recip", "q"), node("Clip", "q minus_two two", "n")])
    first("sub-mul-powers", [sub, node("Mul", "d powers", "q"), node("Clip", "q minus_two two", "n")])
    first("mul-add", [node("Mul", "x recip", "d"), node("Add", "d mean", "n")])
    first("mul-negative", [sub, node("Mul", "d mixed", "n")])
    first("clip", [node("Clip", "x minus_two two", "n")])
    first("clip-sub", [node("Clip", "x minus_two two", "d"), node("Sub", "d mean", "n")])
    first("clip-sub-mul", [node("Clip", "x minus_two two", "d"), node("Sub", "d mean", "q"), node("Mul", "q recip", "n")])
    first("relu", [node("Relu", "x", "n")])
    first("mean-minus", [node("Sub", "mean x", "n")])
    first("two-steps", [sub, div, node("Mul", "q recip", "m"), node("Add", "m b5", "n")])
    first("row", [node("Sub", "x row5", "n")])
    first("max-vector", [node("Max", "x lo5", "n")])
    first(
        "clip-sub-div",
        [node("Clip", "x minus_two two", "d"), node("Sub", "d mean", "q"), node("Div", "q std", "n")],
        "power of two",
    )
    first("computed", [node("Add", "var eps", "ve"), node("Sqrt", "ve", "s"), sub, node("Div", "d s", "n")])
    first("computed-inverse", [node("Reciprocal", "std", "r"), sub, node("Mul", "d r", "n")])
    first("computed-quotient", [node("Div", "one std", "r"), sub, node("Mul", "d r", "n")])
    first("computed-power", [node("Pow", "var half", "r"), sub, node("Div", "d r", "n")])
    first("computed-exp", [node("Exp", "mean", "r"), node("Mul", "x r", "n")], "Exp is not evaluated on constants; fold")
    first("computed-clip", [node("Clip", "var one", "s"), sub, node("Div", "d s", "n")])
    first("computed-clip-both", [node("Clip", "var half one", "s"), sub, node("Div", "d s", "n")])
    first("computed-clip-old", [node("Clip", "var", "s", min=0.75, max=1.25), sub, node("Div", "d s", "n")], opset=10)


def constants():
    weight = lambda name, nodes, read=None, **more: form(
        f"const-{name}",
        [*nodes, node("MatMul", "x W", "p"), node("Add", "p b", "h"), node("Relu", "h", "a"), *end()],
        read,
        **more,
    )
    weight("mask", [node("Mul", "w mask", "W")])
    weight("sum", [node("Add", "w w", "W")])
    weight("neg", [node("Neg", "w", "W")])
    weight("abs-max-min", [node("Abs", "w", "A"), node("Min", "A half", "B"), node("Max", "B tenth", "W")])
    weight("half-cast", [node("Cast", "wh", "W", to=F)])
    weight("half-sum", [node("Add", "wh wh", "V1"), node("Cast", "V1", "W", to=F)], "constants of 16 bits")
    weight("half-root", [node("Abs", "wh", "V1"), node("Sqrt", "V1", "V2"), node("Cast", "V2", "W", to=F)], "of 16 bits")
    weight("half-neg", [node("Neg", "wh", "V1"), node("Max", "V1 wh", "V2"), node("Cast", "V2", "W", to=F)])
    weight("double-cast", [node("Cast", "wd", "W", to=F)])
    weight("transpose", [node("Transpose", "wt", "W", perm=[1, 0])])
    weight("transpose-default", [node("Transpose", "wt", "W")])
    weight("identity", [node("Identity", "w", "V1"), node("Dropout", "V1", "W")])
    weight(
        "reshape",
        [node("Flatten", "w", "V1", axis=0), node("Reshape", "V1 shape", "W")],
        change=lambda m: m.graph.initializer.append(numpy_helper.from_array(np.array([5, 4]), "shape")),
    )
    weight("gather", [node("Gather", "w order", "W", axis=0)])
    weight("slice", [node("Slice", "w8 row0 i5", "W")])
    weight("slice-back", [node("Slice", "w im1 least row0 im1", "W")])
    weight(
        "split",
        [node("Split", "w8 sizes8", "W Z", axis=0)],
        change=lambda m: m.graph.initializer.append(numpy_helper.from_array(np.array([5, 3]), "sizes8")),
    )
    weight("concat", [node("Unsqueeze", "mean4 row0", "R"), node("Concat", "sq4 R", "W", axis=0)])
    weight(
        "of-shape",
        [node("ConstantOfShape", "shape", "W", value=numpy_helper.from_array(np.float32([0.25])))],
        change=lambda m: m.graph.initializer.append(numpy_helper.from_array(np.array([5, 4]), "shape")),
    )
    weight(
        "expand",
        [node("Expand", "mean4 shape", "W")],
        change=lambda m: m.graph.initializer.append(numpy_helper.from_array(np.array([5, 4]), "shape")),
    )
    weight("product", [node("MatMul", "sq w", "W")], "not evaluated on constants")
    value = numpy_helper.from_array(C["w"])
    weight("node", [helper.make_node("Constant", [], ["W"], value=value)])
    bias = lambda name, made: form(
        f"const-{name}", [made, node("MatMul", "x w", "p"), node("Add", "p B", "h"), node("Relu", "h", "a"), *end()]
    )
    bias("value-float", helper.make_node("Constant", [], ["B"], value_float=0.3))
    bias("value-floats", helper.make_node("Constant", [], ["B"], value_floats=[0.1, 0.2, 0.3, 0.4]))
    shape = lambda name, made: form(
        f"const-{name}", [made, node("Reshape", "x S", "r"), *start("r"), node("Relu", "h", "a"), *end()]
    )
    shape("value-ints", helper.make_node("Constant", [], ["S"], value_ints=[1, 5]))
    form(
        "const-value-int",
        [
            helper.make_node("Constant", [], ["S"], value_int=0),
            node("Gather", "x S", "g", axis=0),
            node("Unsqueeze", "g row0", "r"),
            *start("r"),
            node("Relu", "h", "a"),
            *end(),
        ],
    )
    tail = [node("Add", "p bd", "h"), node("Relu", "h", "a"), node("Cast", "a", "f", to=F), *end("f")]
    form("double", [node("MatMul", "x wd", "p"), *tail], inputs=[("x", D, [1, 5])])
    form(
        "double-input-cast",
        [node("Cast", "x", "f", to=F), *start("f"), node("Relu", "h", "a"), *end()],
        inputs=[("x", D, [1, 5])],
    )
    form(
        "integer-input-cast",
        [node("Cast", "x", "f", to=F), *start("f"), node("Relu", "h", "a"), *end()],
        inputs=[("x", I, [1, 5])],
    )
    half = [node("MatMul", "f wh", "p"), node("Cast", "p", "q", to=F), node("Add", "q b", "h"), node("Relu", "h", "a"), *end()]
    form("half-input", [node("Identity", "x", "f"), *half], inputs=[("x", H, [1, 5])], tolerance=5e-3)
    form("half-bytes", [node("Cast", "x", "f", to=H), *half], inputs=[("x", TensorProto.INT8, [1, 5])], tolerance=5e-3)
    form("half-rounded", [node("Cast", "x", "f", to=H), *half], "rounds a value of the network to 16 bits")
    form("half-rounded-wide", [node("Cast", "x", "f", to=H), *half], "16 bits", inputs=[("x", I, [1, 5])])
    hidden("half-twice", [node("Cast", "h", "g", to=H), node("Cast", "g", "k", to=F), node("Relu", "k", "a")], "16 bits")
    for to in [H, TensorProto.BFLOAT16]:
        form(
            f"output-to-{to}",
            [*start(), node("Relu", "h", "a"), *end("a", "o"), node("Cast", "o", "y", to=to)],
            "16 bits",
            outputs=[("y", to, [1, 3])],
        )
    form(
        "integer-arithmetic",
        [node("Div", "x to5", "d"), node("Cast", "d", "f", to=F), *start("f"), node("Relu", "h", "a"), *end()],
        "integers",
        inputs=[("x", I, [1, 5])],
    )
    form(
        "rounded",
        [node("Cast", "x", "i", to=I), node("Cast", "i", "f", to=F), *start("f"), node("Relu", "h", "a"), *end()],
        "rounds",
    )
    form(
        "old-ir",
        [*start(), node("Relu", "h", "a"), *end()],
        ir=3,
        opset=9,
        inputs=[("x", F, [1, 5])] + [(n, F, list(C[n].shape)) for n in ["w", "b", "v", "c"]],
    )


def frames(stack, batch, tail):
    """Three frames of four entries with one normaliser."""
    deep = lambda x: [node("MatMul", f"{x} w12", "p"), node("Add", "p b", "h"), *tail]
    flat = dict(inputs=[("x", F, ["n", 12])], outputs=batch)
    in_frames = [node("Reshape", "x to134", "r"), node("Sub", "r mean4", "d")]
    form("frames", [*in_frames, node("Div", "d std4", "q"), node("Reshape", "q to12", "f"), *deep("f")], **flat)
    form("frames-factor", [*in_frames, node("Mul", "d factor4", "q"), node("Reshape", "q to12", "f"), *deep("f")], **flat)
    form(
        "frames-rows",
        [node("Sub", "x mean4", "d"), node("Div", "d std4", "q"), node("Flatten", "q", "f"), *deep("f")],
        inputs=stack,
        outputs=batch,
    )
    form(
        "frames-tiled",
        [
            node("Tile", "mean4 thrice", "m"),
            node("Tile", "std4 thrice", "s"),
            node("Sub", "x m", "d"),
            node("Div", "d s", "f"),
            *deep("f"),
        ],
        **flat,
    )
    form(
        "frames-tiled-rows",
        [node("Unsqueeze", "mean4 row0", "u"), node("Tile", "u thrice_row", "m"), node("Sub", "x m", "f"), *deep("f")],
        **flat,
    )
    form("frames-tile-sides", [node("Tile", "mean4 thrice_row", "m"), node("Sub", "x m", "f"), *deep("f")], "2 repeats", **flat)
    form("frames-tile-negative", [node("Tile", "mean4 im1", "m"), node("Sub", "x m", "f"), *deep("f")], "negative", **flat)
    form("frames-tile-huge", [node("Tile", "mean4 big", "m"), node("Sub", "x m", "f"), *deep("f")], "more than", **flat)
    form("frames-tile-observation", [node("Tile", "x once_row", "f"), *deep("f")], **flat)
    form(
        "frames-tile-again", [node("Tile", "x thrice_row", "f"), *deep("f")], "repeats", [("x", F, [1, 4])], [("y", F, [1, 3])]
    )
    form(
        "frames-concat",
        [
            node("Concat", "mean4 mean4 mean4", "m", axis=0),
            node("Concat", "std4 std4 std4", "s", axis=0),
            node("Sub", "x m", "d"),
            node("Div", "d s", "f"),
            *deep("f"),
        ],
        **flat,
    )
    parts = [node("Split", "x sizes12", "x0 x1 x2", axis=1)]
    apart = lambda i, *more: [node("Sub", f"x{i} mean4", f"d{i}"), node("Div", f"d{i} std4", f"q{i}"), *more]
    join = [node("Concat", "q0 q1 q2", "f", axis=1), *deep("f")]
    form("frames-split", [*parts, *apart(0), *apart(1), *apart(2), *join], **flat)
    turned = [*parts, *apart(0), *apart(1), *apart(2), node("Concat", "q2 q1 q0", "f", axis=1), *deep("f")]
    form("frames-split-turned", turned, **flat)
    form("frames-split-some", [*parts, *apart(0), *apart(2), node("Concat", "q0 x1 q2", "f", axis=1), *deep("f")], **flat)
    clip = lambda i: node("Clip", f"q{i} minus_two two", f"k{i}")
    clipped = [*parts, *apart(0, clip(0)), *apart(1, clip(1)), *apart(2, clip(2))]
    form("frames-split-clip", [*clipped, node("Concat", "k0 k1 k2", "f", axis=1), *deep("f")], **flat)
    form(
        "frames-split-clip-some",
        [*clipped, node("Concat", "k0 q1 k2", "f", axis=1), *deep("f")],
        "different things",
        **flat,
    )
    columns = [
        node("Split", "x twos", "x0 x1", axis=2),
        node("Sub", "x0 mean2", "d0"),
        node("Sub", "x1 tenth2", "d1"),
        node("Concat", "d1 d0", "g", axis=2),
        node("Flatten", "g", "f"),
        *deep("f"),
    ]
    form("frames-split-columns", columns, inputs=stack, outputs=batch)
    form("frames-split-elu", [*parts, *[node("Elu", f"x{i}", f"q{i}") for i in range(3)], *join], **flat)
    form(
        "frames-split-elu-some",
        [*parts, node("Elu", "x0", "q0"), node("Tanh", "x1", "q1"), node("Elu", "x2", "q2"), *join],
        "different things",
        **flat,
    )
    form(
        "frames-split-order",
        [*parts, *apart(0), node("Div", "x1 std4", "d1"), node("Sub", "d1 mean4", "q1"), *apart(2), *join],
        "different things",
        **flat,
    )


def movements():
    tail = [node("Relu", "h", "a"), *end()]
    stack = [("x", F, ["n", 3, 4])]
    deep = lambda x: [node("MatMul", f"{x} w12", "p"), node("Add", "p b", "h"), *tail]
    batch = [("y", F, ["n", 3])]
    form("flatten", [node("Flatten", "x", "f"), *deep("f")], inputs=stack, outputs=batch)
    form("flatten-mean", [node("Sub", "x mean34", "s"), node("Flatten", "s", "f"), *deep("f")], inputs=stack, outputs=batch)
    form("flatten-mean-last", [node("Sub", "x mean4", "s"), node("Flatten", "s", "f"), *deep("f")], inputs=stack, outputs=batch)
    form(
        "flatten-transposed",
        [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Flatten", "t", "f"), *deep("f")],
        inputs=stack,
        outputs=batch,
    )
    form(
        "flatten-transposed-mean",
        [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Flatten", "t", "f"), node("Tanh", "f", "g"), *deep("g")],
        inputs=stack,
        outputs=batch,
    )
    form(
        "flatten-dynamic",
        [
            node("Shape", "x", "s"),
            node("Gather", "s i0", "n", axis=0),
            node("Unsqueeze", "n row0", "n1"),
            node("Concat", "n1 im1", "t", axis=0),
            node("Reshape", "x t", "f"),
            *deep("f"),
        ],
        inputs=stack,
        outputs=batch,
    )
    form("reshape-copy", [node("Reshape", "x copy", "f"), *deep("f")], inputs=stack, outputs=batch)
    form(
        "squeeze",
        [node("Unsqueeze", "x row0", "u"), *start("u"), node("Relu", "h", "a"), *end("a", "o"), node("Squeeze", "o row0", "y")],
        inputs=[("x", F, [5])],
        outputs=[("y", F, [3])],
    )
    form(
        "squeeze-attributes",
        [
            node("Unsqueeze", "x", "u", axes=[0]),
            *start("u"),
            node("Relu", "h", "a"),
            *end("a", "o"),
            node("Squeeze", "o", "y", axes=[0]),
        ],
        inputs=[("x", F, [5])],
        outputs=[("y", F, [3])],
        opset=11,
    )
    frames(stack, batch, tail)
    wide = [("x", F, ["n", 6])]
    form("gather-features", [node("Gather", "x pick5", "g", axis=1), *start("g"), *tail], inputs=wide, outputs=batch)
    form(
        "gather-normalised",
        [
            node("Gather", "x pick5", "g", axis=1),
            node("Sub", "g mean", "d"),
            node("Div", "d std", "q"),
            node("Clip", "q minus_two two", "n"),
            *start("n"),
            *tail,
        ],
        inputs=wide,
        outputs=batch,
    )
    form("gather-again", [node("Gather", "x again", "g", axis=1), *start("g"), *tail], "repeats", inputs=wide, outputs=batch)
    open_width = [("x", F, ["n", "d"])]
    for name, choice in [("slice", node("Slice", "x row0 i5 ax1", "g")), ("gather", node("Gather", "x order", "g", axis=1))]:
        form(f"{name}-open-width", [choice, *start("g"), *tail], "both fit", inputs=open_width, outputs=batch)
    form("slice-rest-open-width", [node("Slice", "x s1 big ax1", "g"), *start("g"), *tail], inputs=open_width, outputs=batch)
    form("slice-features", [node("Slice", "x s1 big ax1", "g"), *start("g"), *tail], inputs=wide, outputs=batch)
    form(
        "slice-attributes",
        [node("Slice", "x", "g", starts=[0], ends=[-1], axes=[1]), *start("g"), *tail],
        inputs=wide,
        outputs=batch,
        opset=9,
    )
    form("slice-backwards", [node("Slice", "x im1 row0 ax1 im1", "g"), *start("g"), *tail], inputs=wide, outputs=batch)
    form(
        "slice-of-permuted",
        [node("Gather", "x order", "g", axis=1), node("Gather", "g order", "k", axis=1), *start("k"), *tail],
    )
    double = [node("Gemm", "a v2 c2", "o", transB=1)]
    form(
        "split-attributes",
        [*start(), node("Relu", "h", "a"), *double, node("Split", "o", "l s", axis=-1), node("Tanh", "l", "y")],
        opset=11,
    )
    form(
        "split-sizes",
        [*start(), node("Relu", "h", "a"), *double, node("Split", "o sizes", "l s", axis=-1), node("Tanh", "s", "y")],
    )
    form(
        "split-num",
        [*start(), node("Relu", "h", "a"), *double, node("Split", "o", "l s", axis=-1, num_outputs=2), node("Tanh", "l", "y")],
        opset=18,
    )
    form(
        "split-after-tanh",
        [
            *start(),
            node("Relu", "h", "a"),
            *double,
            node("Tanh", "o", "t"),
            node("Mul", "t two", "m"),
            node("Split", "m", "l y", axis=1),
        ],
        opset=11,
    )
    form(
        "slice-outputs",
        [*start(), node("Relu", "h", "a"), *double, node("Slice", "o row0 minus3 im1", "l"), node("Tanh", "l", "y")],
    )
    form(
        "slice-outputs-last",
        [*start(), node("Relu", "h", "a"), *double, node("Slice", "o minus3 big ax1", "l"), node("Tanh", "l", "y")],
    )
    form(
        "slice-outputs-attributes",
        [
            *start(),
            node("Relu", "h", "a"),
            *double,
            node("Slice", "o", "l", starts=[-6], ends=[-3], axes=[-1]),
            node("Tanh", "l", "y"),
        ],
        opset=9,
    )
    form(
        "split-elu-slice",
        [*start(), node("Elu", "h", "a"), *double, node("Split", "o sizes", "l s", axis=-1), node("Mul", "l scale3", "y")],
    )
    for name, nodes in [
        ("gated", [node("Mul", "l s", "y")]),
        ("sampled", [node("Tanh", "l", "t"), node("Mul", "s half", "u"), node("Add", "t u", "y")]),
        ("silu", [node("Sigmoid", "s", "u"), node("Mul", "l u", "y")]),
    ]:
        words = "sigmoid of another one" if name == "silu" else "two parts of one value"
        form(
            f"split-{name}",
            [*start(), node("Relu", "h", "a"), *double, node("Split", "o sizes", "l s", axis=-1), *nodes],
            words,
        )
    form(
        "split-two-done-apart",
        [
            *start(),
            node("Relu", "h", "a"),
            *double,
            node("Split", "o sizes", "l s", axis=-1),
            node("Tanh", "l", "t"),
            node("Concat", "t s", "y", axis=1),
        ],
        "different things",
        outputs=[("y", F, [1, 6])],
    )
    form(
        "split-both-outputs",
        [*start(), node("Relu", "h", "a"), *double, node("Split", "o sizes", "l s", axis=-1), node("Tanh", "l", "y")],
        outputs=[("y", F, [1, 3]), ("s", F, [1, 3])],
        output="s",
    )
    form(
        "split-join",
        [
            node("Split", "x sizes3", "k l m", axis=1),
            node("Concat", "m k l", "g", axis=1),
            node("Slice", "g s1 big ax1", "f"),
            *start("f"),
            *tail,
        ],
        inputs=wide,
        outputs=batch,
    )
    form(
        "join-apart",
        [
            node("Split", "x sizes", "k l", axis=1),
            node("Tanh", "k", "t"),
            node("Concat", "t l", "g", axis=1),
            node("Slice", "g s1 big ax1", "f"),
            *start("f"),
            *tail,
        ],
        "different things",
        inputs=wide,
        outputs=batch,
    )
    form(
        "join-inputs",
        [node("Concat", "x z", "g", axis=1), *start("g"), *tail],
        "2 inputs",
        inputs=[("x", F, ["n", 3]), ("z", F, ["n", 2])],
        outputs=batch,
    )
    form(
        "append-constant",
        [node("Concat", "x one1", "g", axis=1), node("Slice", "g s1 big ax1", "f"), *start("f"), *tail],
        "joins",
        change=lambda m: m.graph.initializer.append(numpy_helper.from_array(np.float32([[1]]), "one1")),
    )
    hidden("dropout", [node("Dropout", "h", "r"), node("Relu", "r", "a")])
    hidden("dropout-inputs", [node("Dropout", "h drop", "r"), node("Relu", "r", "a")])
    hidden("dropout-training", [node("Dropout", "h drop true", "r"), node("Relu", "r", "a")], "training")
    hidden(
        "identity-chain",
        [node("Identity", "h", "i"), node("Cast", "i", "j", to=D), node("Cast", "j", "k", to=F), node("Relu", "k", "a")],
    )


def heads():
    logits = [*start(), node("Relu", "h", "a"), *end("a", "o")]
    form("softmax", [*logits, node("Softmax", "o", "y", axis=-1)], head="unstated", after="softmax")
    form("softmax-old", [*logits, node("Softmax", "o", "y")], head="categorical", after="softmax", opset=11)
    form("log-softmax", [*logits, node("LogSoftmax", "o", "y", axis=1)], head="unstated", after="log-softmax")
    form("softmax-deterministic", [*logits, node("Softmax", "o", "y", axis=-1)], "--head categorical")
    form("softmax-of-batch", [*logits, node("Softmax", "o", "y", axis=0)], "does not run over all outputs", head="unstated")
    form("softmax-inside", [*start(), node("Softmax", "h", "a", axis=-1), *end()], "softmax inside")
    form("arg-max", [*logits, node("ArgMax", "o", "y", axis=1, keepdims=0)], "logits", outputs=[("y", I, [1])])
    form("sampled", [*logits, node("RandomNormalLike", "o", "e"), node("Add", "o e", "y")], "random")
    value = [node("MatMul", "x sq", "v0"), node("Conv", "v0 kernel", "v1"), node("Gemm", "x w b", "z")]
    several = [("y", F, [1, 3]), ("z", F, [1, 4])]
    form("outputs-unstated", [*start(), node("Relu", "h", "a"), *end(), value[2]], "--output NAME", outputs=several)
    form("outputs-first", [*start(), node("Relu", "h", "a"), *end(), value[2]], outputs=several, output="y")
    form("outputs-second", [*start(), node("Relu", "h", "a"), *end(), value[2]], outputs=several, output="z")
    form(
        "outputs-unknown", [*start(), node("Relu", "h", "a"), *end(), value[2]], "its outputs are", outputs=several, output="q"
    )
    form("dead-branch", [*value[:2], *start(), node("Relu", "h", "a"), *end()], unchecked=True)
    form("dead-input", [*start(), node("Relu", "h", "a"), *end()], inputs=[("x", F, [1, 5]), ("flag", F, [1])])


def refused():
    row = [node("Unsqueeze", "h row0", "t")]
    hidden("convolution", [*row, node("Conv", "t kernel", "a")], "onvolution")
    for kind, sizes in [("LSTM", 16), ("GRU", 12), ("RNN", 4)]:
        C[f"w{kind}"], C[f"r{kind}"] = random(1, sizes, 5), random(1, sizes, 4)
        form(
            f"refused-{kind.lower()}",
            [
                node("Unsqueeze", "x row0", "t"),
                node(kind, f"t w{kind} r{kind}", "l", hidden_size=4),
                node("Reshape", "l to14", "a"),
                *end(),
            ],
            "recurrent",
        )
    hidden("layer-norm", [node("LayerNormalization", "h scale b", "a")], "layer normalisation")
    hidden("layer-norm-parts", [node("ReduceMean", "h", "m", axes=[1]), node("Sub", "h m", "a")], "layer normalisation")
    hidden(
        "quantised",
        [node("QuantizeLinear", "h half zero_point", "i"), node("DequantizeLinear", "i half zero_point", "a")],
        "quantised",
    )
    hidden("custom", [helper.make_node("Gelu", ["h"], ["a"], domain="com.microsoft")], "a runtime's optimiser")
    branch = helper.make_graph(
        [helper.make_node("Identity", ["h"], ["o"])], "b", [], [helper.make_tensor_value_info("o", F, [1, 4])]
    )
    hidden("control-flow", [helper.make_node("If", ["true"], ["a"], then_branch=branch, else_branch=branch)], "control flow")
    hidden(
        "padded",
        [node("Pad", "h pads", "p2"), node("Slice", "p2 s1 i5 ax1", "a")],
        "adds entries",
        change=lambda m: m.graph.initializer.append(numpy_helper.from_array(np.array([0, 1, 0, 0]), "pads")),
    )
    hidden("unknown-attribute", [helper.make_node("Relu", ["h"], ["a"], strange=1)], "strange")
    hidden("attribute-type", [helper.make_node("LeakyRelu", ["h"], ["a"], alpha=1)], "another type")

    def sparse(model):
        values = numpy_helper.from_array(np.float32([1, 2]), "w")
        del model.graph.initializer[[i.name for i in model.graph.initializer].index("w")]
        model.graph.sparse_initializer.append(
            helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0, 7])), [5, 4])
        )

    def external(model):
        tensor = next(i for i in model.graph.initializer if i.name == "w")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "w.bin"

    def outside(model):
        tensor = next(i for i in model.graph.initializer if i.name == "order")
        tensor.ClearField("raw_data")
        tensor.data_type = TensorProto.UINT8
        tensor.int32_data[:] = [4, 256, 3, 2, 1]

    form(
        "graph-outside-of-type",
        [node("Cast", "order", "o8", to=F), node("Sub", "x o8", "s"), *start("s"), node("Relu", "h", "a"), *end()],
        "outside of its type",
        change=outside,
    )

    def missing(model):
        del model.graph.initializer[[i.name for i in model.graph.initializer].index("w")]

    def twice(model):
        model.graph.node.append(helper.make_node("Relu", ["h"], ["a"]))

    def cycle(model):
        model.graph.node[0].input[0] = "a"

    def no_opset(model):
        del model.opset_import[:]

    def new_opset(model):
        model.opset_import[0].version = 99

    def function(model):
        body = [helper.make_node("Neg", ["X"], ["Y"])]
        model.functions.append(helper.make_function("", "Relu", ["X"], ["Y"], body, [helper.make_opsetid("", 17)]))

    for name, change, words in [
        ("sparse", sparse, "sparse"),
        ("external-data", external, "another file"),
        ("missing", missing, "nothing makes"),
        ("made-twice", twice, "two nodes"),
        ("cycle", cycle, "made from itself"),
        ("no-opset", no_opset, "opset"),
        ("new-opset", new_opset, "opset is 99"),
        ("redefined", function, "standard domain itself"),
    ]:
        hidden(f"graph-{name}", [node("Relu", "h", "a")], words, change=change)


for part in [layers, activations, elementwise, normalisers, constants, movements, heads, refused]:
    part()
(FOLDER / "forms.json").write_text(json.dumps(FORMS))
