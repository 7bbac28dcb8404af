"""Makes the fixtures in this folder: layers that Caffe does not have, computed by PyTorch in float64.

    pip install torch==2.13.0
    python tests/oracle_torch/make.py [TYPE …]

Each case is a layer in nettrain's spelling, its bottoms, its parameters and the same formula in PyTorch; autograd gives
the gradients. The files have the keys that ../oracle/README.md lists. The tests read them without PyTorch.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

HERE = Path(__file__).parent
rng = np.random.default_rng()


def randn(*shape):
    return rng.standard_normal(shape)


def classes(count, *shape):
    return rng.integers(0, count, shape)


@dataclass
class Case:
    """``formula(*bottoms, *params)`` gives the top, or a tuple of tops, as tensors.

    Whole numbers are bottoms without a gradient, such as labels; so are those whose index is in ``constant``.
    """

    type: str
    formula: Callable
    bottoms: Sequence[np.ndarray]
    layer: dict = field(default_factory=dict)
    params: Sequence[np.ndarray] = ()
    phase: str = "TRAIN"
    constant: Sequence[int] = ()
    loss: bool = False


def activations():
    yield Case("Sigmoid", torch.sigmoid, [4 * randn(3, 4, 5)])


def normalisation():
    yield from ()


def losses():
    yield Case("SoftmaxWithLoss", lambda x, t: functional.cross_entropy(x, t), [randn(5, 4), classes(4, 5)], loss=True)


def shapes():
    pad = functional.pad
    x = [randn(2, 3, 4, 5)]
    yield Case("Pad", lambda x: pad(x, (3, 3, 3, 3), value=1.5), x, {"pad": 3, "value": 1.5})
    yield Case("Pad", lambda x: pad(x, (4, 0, 2, 3), mode="reflect"), x, {"pad": [[2, 3], [4, 0]], "mode": "reflect"})
    yield Case("Pad", lambda x: pad(x, (6, 1, 0, 7), mode="replicate"), x, {"pad": [[0, 7], [6, 1]], "mode": "edge"})
    yield Case("Pad", lambda x: pad(x, (0, 1, 2, 2, 1, 0)), x, {"axis": 1, "pad": [[1, 0], 2, [0, 1]]})
    yield Case("MatMul", torch.matmul, [randn(4, 5), randn(5, 3)])
    yield Case("MatMul", torch.matmul, [randn(2, 1, 4, 5), randn(3, 5, 6)])
    yield Case(
        "MatMul", lambda a, b: a.mT @ b.mT, [randn(3, 5, 4), randn(6, 5)], {"transpose_a": True, "transpose_b": True}
    )
    yield Case("MatMul", lambda a, b: a @ b.mT, [randn(3, 4, 5), randn(2, 1, 6, 5)], {"transpose_b": True})
    wide = {"broadcast": True}
    three = [randn(2, 3, 4, 5), randn(3, 1, 1), randn(1, 5)]
    yield Case("Eltwise", lambda a, b, c: 2 * a - b + 3 * c, three, wide | {"coeff": [2, -1, 3]})
    yield Case("Eltwise", lambda a, b, c: a * b * c, three, wide | {"operation": "PROD"})
    yield Case("Eltwise", torch.maximum, [randn(3, 1), randn(2, 1, 4)], wide | {"operation": "MAX"})


def vision():
    yield from ()


def recurrent():
    yield from ()


FAMILIES = (activations, normalisation, losses, shapes, vision, recurrent)


def arrays_of(case):
    """What the fixture of a case holds."""
    seeds = np.random.default_rng(21)
    whole = [b.dtype.kind == "i" or i in case.constant for i, b in enumerate(case.bottoms)]
    bottoms = [torch.tensor(b, requires_grad=not w) for b, w in zip(case.bottoms, whole, strict=True)]
    params = [torch.tensor(p, requires_grad=True) for p in case.params]
    tops = case.formula(*bottoms, *params)
    tops = tops if isinstance(tops, tuple | list) else (tops,)
    layer = {"name": "it", "type": case.type, "bottom": [f"b{i}" for i in range(len(bottoms))]}
    layer |= {"top": [f"t{i}" for i in range(len(tops))]} | case.layer
    arrays = {"spec": np.array(json.dumps({"layer": layer, "phase": case.phase, "steps": 1}))}
    diffs = [np.ones(()) if case.loss else seeds.standard_normal(top.shape) for top in tops]
    learned = [t for t in (*bottoms, *params) if t.requires_grad]
    found = []
    if learned:
        reached = [i for i, top in enumerate(tops) if top.requires_grad]
        outputs, given = [tops[i] for i in reached], [torch.tensor(diffs[i]) for i in reached]
        found = torch.autograd.grad(outputs, learned, given)
    by_id = {id(t): g.numpy() for t, g in zip(learned, found, strict=True)}
    for i, (bottom, values) in enumerate(zip(bottoms, case.bottoms, strict=True)):
        arrays[f"bottom{i}"] = values
        if id(bottom) in by_id:
            arrays[f"bottomdiff{i}"] = by_id[id(bottom)]
    for i, (tensor, values) in enumerate(zip(params, case.params, strict=True)):
        arrays[f"param{i}"], arrays[f"paramdiff{i}"] = values, by_id[id(tensor)]
    for i, (top, diff) in enumerate(zip(tops, diffs, strict=True)):
        arrays[f"top{i}"] = top.detach().numpy()
        if not case.loss:
            arrays[f"topdiff{i}"] = diff
    return arrays


def main(wanted):
    counts = {}
    for family in FAMILIES:
        rng.bit_generator.state = np.random.default_rng(20).bit_generator.state
        for case in family():
            counts[case.type] = counts.get(case.type, 0) + 1
            if not wanted or case.type in wanted:
                np.savez_compressed(HERE / f"layer_{case.type}_{counts[case.type]}.npz", **arrays_of(case))
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main(set(sys.argv[1:]))
