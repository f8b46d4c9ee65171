"""Writes the regions that another verifier proved as a file for `secateur verify --leaves` (spec/leaves.md).

Needs numpy. Two ways:

    export_leaves.py BOXES.npz LEAVES.json [CASE CASES]

turns an archive with `lower` and `upper` (leaves x inputs), and optionally `decisions` (leaves x splits x 3: layer, neuron,
1 or -1; rows of 0 signs are padding), `constraint` (leaves), `slopes.L` and `multipliers.L` (leaves x neurons of layer L)
into leaves of case CASE of CASES (0 of 1). Or import it:

    from export_leaves import from_lirpa_alpha, from_bab_domain, write

inside auto_LiRPA or alpha-beta-CROWN, whose tensors `from_lirpa_alpha` and `from_bab_domain` take as they are.
Nothing here has to be right: every leaf is proved again, and what does not hold is searched.
"""
import json
import sys

import numpy as np


def array(value):
    """A numpy array of a tensor of any framework."""
    for step in ("detach", "cpu", "numpy"):
        value = getattr(value, step)() if hasattr(value, step) else value
    return np.asarray(value, dtype=np.float64)


def leaf(lower=None, upper=None, splits=(), constraint=None, slopes=(), multipliers=()):
    """One leaf; absent parts are left to secateur."""
    found = {"splits": [[int(l), int(n), int(s)] for l, n, s in splits]}
    if lower is not None:
        found["lower"], found["upper"] = array(lower).ravel().tolist(), array(upper).ravel().tolist()
    if constraint is not None:
        found["constraint"] = int(constraint)
        found["lower_slopes"] = [array(row).ravel().tolist() for row in slopes]
        found["multipliers"] = [np.maximum(array(row).ravel(), 0.0).tolist() for row in multipliers]
    return found


def from_lirpa_alpha(relus, output, row=0, batch=0):
    """`lower_slopes` from auto_LiRPA after `compute_bounds(method="CROWN-Optimized")`.

    `relus`: the network's BoundRelu nodes, first layer first; each has `alpha[output]` of shape 2 x rows x batch x neurons,
    of which the first half belongs to lower bounds. `output`: the name of the bounded node. A neuron that is not in the
    sparse form of alpha (stable ones) takes the default slope.
    """
    slopes = []
    for relu in relus:
        alpha = array(relu.alpha[output])[0, row, batch].ravel()
        indices = getattr(relu, "alpha_indices", None)
        if indices is None:
            slopes.append(alpha)
            continue
        flat = np.ravel_multi_index([array(i).astype(int) for i in indices], relu.output_shape[1:])
        full = np.zeros(int(np.prod(relu.output_shape[1:])))
        full[flat] = alpha
        slopes.append(full)
    # The output layer has no activation.
    return [*slopes, []]


def certify_slopes(alpha):
    """One array of `certify --witness-from` from auto_LiRPA's alpha of a ReLU for a bounded node.

    `alpha`: 2 x rows x batch x neurons, the batch being the states. Save it by `np.savez` as `slopes.MASK.TARGET.LAYER`.
    """
    alpha = array(alpha)
    return np.transpose(alpha.reshape(*alpha.shape[:3], -1), (2, 0, 1, 3))


def from_bab_domain(history, layer_of, betas=None, widths=()):
    """`splits` and `multipliers` of a domain of alpha-beta-CROWN.

    `history`: its dictionary from the name of a ReLU to (neurons, signs, ...), as `domain.history` has it. `layer_of`: from
    that name to the layer, from 0. `betas`: from the same names to the betas of these neurons. `widths`: neurons of each
    layer.
    """
    splits, multipliers = [], [np.zeros(width) for width in widths]
    for name, entry in history.items():
        neurons, signs = array(entry[0]).astype(int).ravel(), np.sign(array(entry[1])).astype(int).ravel()
        splits += [(layer_of[name], n, s) for n, s in zip(neurons, signs) if s]
        if betas is not None and name in betas and widths:
            multipliers[layer_of[name]][neurons] = array(betas[name]).ravel()[: len(neurons)]
    return splits, multipliers


def write(path, cases):
    """`cases`: for each case of the property the leaves that `leaf` gives; an empty list leaves it to secateur."""
    with open(path, "w") as file:
        json.dump({"format": "secateur.leaves/1", "cases": cases}, file, allow_nan=False)


def from_archive(archive):
    """The leaves of an archive as described above."""
    count = len(archive["lower"]) if "lower" in archive else len(archive["decisions"])
    layers = lambda prefix: sorted((k for k in archive if k.startswith(prefix)), key=lambda k: int(k[len(prefix) :]))
    last = max([int(k.rsplit(".", 1)[1]) for k in archive if "." in k], default=-1)
    rows = lambda prefix, i: [archive[f"{prefix}{n}"][i] if f"{prefix}{n}" in archive else [] for n in range(last + 1)]
    unknown = set(archive) - {"lower", "upper", "decisions", "constraint"} - set(layers("slopes.")) - set(layers("multipliers."))
    if unknown:
        sys.exit(f"arrays that mean nothing here: {sorted(unknown)}")
    found = []
    for i in range(count):
        box = (archive["lower"][i], archive["upper"][i]) if "lower" in archive else (None, None)
        decisions = archive["decisions"][i] if "decisions" in archive else []
        splits = [d for d in decisions if d[2] != 0]
        constraint = archive["constraint"][i] if "constraint" in archive else None
        found.append(leaf(*box, splits, constraint, rows("slopes.", i), rows("multipliers.", i)))
    return found


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5):
        sys.exit(__doc__)
    case, cases = (int(sys.argv[3]), int(sys.argv[4])) if len(sys.argv) == 5 else (0, 1)
    with np.load(sys.argv[1], allow_pickle=False) as arrays:
        leaves = from_archive({name: arrays[name] for name in arrays.files})
    write(sys.argv[2], [leaves if index == case else [] for index in range(cases)])
