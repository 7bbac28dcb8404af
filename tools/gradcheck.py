"""`nettrain gradcheck`: what Backward_cpu computes against differences of what Forward_cpu computes, in float64.

For a layer the function differentiated is f = Σ top · g with random g; for a net it is the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from ..net import registry
from ..net.layer import Layer
from ..net.net import Net
from ..net.records import NetSpec
from ..net.user_code import run_layer_file
from ..solver.divergence import find_trouble
from ..spec.errors import NettrainError, format_shape
from .contract import check_layer
from .numeric import Check, Rounding, compare
from .table import table

ENTRIES_OF_A_NET = 50  # per parameter blob


def run(what: str | None, layers: Iterable[str], phase: str, read: Callable[[str], NetSpec]) -> tuple[list[Check], str]:
    """The checks meant on the command line, and what heads the table's first column.

    ``what`` is nothing (the zoo, or its ``layers``), a file with layer types (``file.py``, of one of them
    ``file.py:Class``), or a spec, which ``read`` loads.
    """
    if what is None:
        return list(check_zoo(layers)), "layer"
    file, colon, name = what.rpartition(":")
    if colon and file.endswith(".py"):
        return list(check_file(file, name)), "layer"
    if what.endswith(".py"):
        return list(check_file(what)), "layer"
    return list(check_net(read(what), phase)), "parameter"


def check_zoo(names: Iterable[str] = ()) -> Iterator[Check]:
    """Every example of every registered layer type (or of those named)."""
    types = registry.types()
    for name in names or types:
        if name not in types:
            raise NettrainError(registry.unknown_type(name))
        for example in types[name].examples:
            yield check_layer(types[name], example)


def check_file(path: str, class_name: str | None = None) -> Iterator[Check]:
    """Every example of each layer class in a Python file, or of one of them. The file is run for that."""
    for cls in load_classes(path, class_name):
        if not cls.examples:
            yield Check(cls.__name__, "", note="not checked: no `examples`")
        for example in cls.examples:
            yield check_layer(cls, example)


def load_classes(path: str, class_name: str | None = None) -> list[type[Layer]]:
    """The layer classes that a Python file defines, in its order, or the one of this name.

    Raises NettrainError when there is none, or none with an example.
    """
    module = run_layer_file(Path(path))
    classes = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Layer) and v is not Layer]
    found = list(dict.fromkeys(cls for cls in classes if cls.__module__ == module.__name__))
    if class_name is not None:
        named = getattr(module, class_name, None)
        if named not in classes:
            raise NettrainError(f"{path} has no layer class `{class_name}`; it has {_listed(found, module)}")
        found = [named]
    if not found:
        raise NettrainError(f"{path} has no layer class: a class that inherits from nettrain.Layer; {_others(module)}")
    if not any(cls.examples for cls in found):
        names = ", ".join(cls.__name__ for cls in found)
        raise NettrainError(f"{names} has no `examples`; give at least one: `examples = [Example([(3, 4)])]`")
    return found


def _listed(found: list[type[Layer]], module: ModuleType) -> str:
    return ", ".join(cls.__name__ for cls in found) or f"none; {_others(module)}"


def _others(module: ModuleType) -> str:
    """What a file without layer classes has instead."""
    classes = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    for cls in classes:
        if hasattr(cls, "forward"):
            return f"{cls.__name__} is for a layer of type Python, which is checked in a net: gradcheck net.yaml"
    return f"it has {', '.join(cls.__name__ for cls in classes) or 'no class at all'}"


def check_net(
    spec: NetSpec, phase: str = "TRAIN", seed: int = 1701, formula: Rounding | None = None
) -> Iterator[Check]:
    """Each parameter blob of a net on one batch of its own data, ENTRIES_OF_A_NET random entries of each.

    ``formula``: it is the net of a formula, see ``compare``. A loss that is not finite fails every blob: there
    is nothing to compare.
    """
    net = Net(spec, phase=phase, dtype="float64", seed=seed)
    if not any(any(step.loss_weights) for step in net.steps):
        raise NettrainError(f"{spec.file}: the {phase} net has no loss to differentiate")
    if not net.parameters:
        raise NettrainError(f"{spec.file}: the {phase} net has no parameters")
    net.clear_param_diffs()
    states = net.layer_states()
    with np.errstate(all="ignore"):
        net.forward_backward()
    nothing = "" if formula or math.isfinite(net.loss) else _no_loss(net)
    steps = [step for step in net.steps if step.bottom or step.layer.blobs]  # data stays the batch it is

    def loss() -> float:
        net.begin(0)
        net.set_layer_states({step.spec.name: states[step.spec.name] for step in steps})
        return sum(step.forward() for step in steps)

    rng = np.random.default_rng(seed)
    for parameter in net.parameters:
        blob = parameter.blob
        check = Check(parameter.name, format_shape(blob.shape))
        if parameter.lr_mult == 0:
            check.note = "not learned"
        elif nothing:
            check.failures.append(nothing)
        else:
            entries = rng.choice(blob.count, min(blob.count, ENTRIES_OF_A_NET), replace=False)
            compare(parameter.name, blob.data, blob.diff, loss, sorted(entries), check, formula)
        yield check


def _no_loss(net: Net) -> str:
    """Why there is nothing to compare, for a loss that is not finite."""
    kind = "NaN" if math.isnan(net.loss) else "infinite"
    return f"nothing could be compared: the loss is {kind}; the first bad value: {find_trouble(net).sentence}"


def report(checks: list[Check], seconds: float, first: str = "layer") -> str:
    """The table people read, and below it what failed."""
    rows = [
        [c.subject, c.example[:60], f"{c.checked:,}", f"{c.error:.1e}" if c.checked else "-", str(c.kinks), c.verdict]
        for c in checks
    ]
    text = table([first, "example", "checked", "max rel. error", "kinks", "verdict"], rows, right=(2, 3, 4))
    failed = [c for c in checks if not c.ok]
    lines = [text]
    for failures, having in _alike(failed):
        names = ", ".join(f"{c.subject} {c.example}" for c in having)
        lines += [names, *(f"  {line}" for failure in failures for line in failure.split("\n"))]
    for c in checks:
        if c.ok and c.uncompared:
            more = f", and {len(c.uncompared) - 1:,} more" if len(c.uncompared) > 1 else ""
            lines += [f"{c.subject} {c.example}", f"  not compared: {c.uncompared[0]}{more}"]
    kinds = len({c.subject for c in checks})
    what = f"{kinds} layer types, {len(checks)} examples" if first == "layer" else f"{len(checks)} parameter blobs"
    left = sum(len(c.uncompared) for c in checks if c.ok)
    verdict = f"{len(failed)} FAILED" if failed else "all ok"
    verdict += f", {left:,} entr{'y' if left == 1 else 'ies'} not compared" if left else ""
    lines.append(f"{what}: {verdict} in {seconds:.1f} s")
    return "\n".join(lines)


def _alike(failed: list[Check]) -> list[tuple[tuple[str, ...], list[Check]]]:
    """Checks that failed, those for the same reasons together."""
    found: dict[tuple[str, ...], list[Check]] = {}
    for check in failed:
        found.setdefault(tuple(check.failures), []).append(check)
    return list(found.items())


def as_json(checks: list[Check]) -> dict:
    """The same as data."""
    keys = ("subject", "example", "checked", "error", "kinks", "uncompared", "verdict", "failures")
    return {"ok": all(c.ok for c in checks), "checks": [{key: getattr(c, key) for key in keys} for c in checks]}
