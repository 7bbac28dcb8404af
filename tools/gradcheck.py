"""`nettrain gradcheck`: what Backward_cpu computes against differences of what Forward_cpu computes, in float64.

For a layer the function differentiated is f = Σ top · g with random g; for a net it is the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ..layers.layer import Layer
from ..net import registry
from ..net.errors import NettrainError, format_shape
from ..net.net import Net
from ..net.netspec import NetSpec
from ..net.user_code import run_layer_file
from .contract import check_layer
from .numeric import Check, compare
from .table import table

ENTRIES_OF_A_NET = 50  # per parameter blob


def run(what: str | None, layers: Iterable[str], phase: str, read: Callable[[str], NetSpec]) -> tuple[list[Check], str]:
    """The checks meant on the command line, and what heads the table's first column.

    ``what`` is nothing (the zoo, or its ``layers``), ``file.py:Class``, or a spec, which ``read`` loads.
    """
    if what is None:
        return list(check_zoo(layers)), "layer"
    file, colon, name = what.rpartition(":")
    if colon and file.endswith(".py"):
        return list(check_file(file, name)), "layer"
    if what.endswith(".py"):
        raise NettrainError(f"name the class too: {what}:MyLayer")
    return list(check_net(read(what), phase.upper())), "parameter"


def check_zoo(names: Iterable[str] = ()) -> Iterator[Check]:
    """Every example of every registered layer type (or of those named)."""
    types = registry.types()
    for name in names or types:
        if name not in types:
            raise NettrainError(registry.unknown_type(name))
        for example in types[name].examples:
            yield check_layer(types[name], example)


def check_file(path: str, class_name: str) -> Iterator[Check]:
    """Every example of a layer class in a Python file, which is run for that."""
    yield from (check_layer(cls, example) for cls in [load_class(path, class_name)] for example in cls.examples)


def load_class(path: str, class_name: str) -> type[Layer]:
    """A layer class from a Python file. Raises NettrainError when it is not there or is no layer."""
    module = run_layer_file(Path(path))
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, Layer)):
        found = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Layer) and v is not Layer]
        raise NettrainError(f"{path} has no layer class `{class_name}`; it has {', '.join(found) or 'none'}")
    if not cls.examples:
        raise NettrainError(f"{class_name} has no `examples`; give at least one Example(bottoms=[(3, 4)])")
    return cls


def check_net(spec: NetSpec, phase: str = "TRAIN", seed: int = 1701) -> Iterator[Check]:
    """Each parameter blob of a net on one batch of its own data, ENTRIES_OF_A_NET random entries of each."""
    net = Net(spec, phase=phase, dtype="float64", seed=seed)  # type: ignore[arg-type]
    if not any(any(step.loss_weights) for step in net.steps):
        raise NettrainError(f"{spec.file}: the {phase} net has no loss to differentiate")
    if not net.parameters:
        raise NettrainError(f"{spec.file}: the {phase} net has no parameters")
    net.clear_param_diffs()
    states = {name: layer.state() for name, layer in net.layers.items()}
    net.forward_backward()
    steps = [step for step in net.steps if step.bottom or step.layer.blobs]  # data stays the batch it is

    def loss() -> float:
        for step in steps:
            step.layer.set_state(states[step.spec.name])
        return sum(step.forward() for step in steps)

    rng = np.random.default_rng(seed)
    for parameter in net.parameters:
        blob = parameter.blob
        check = Check(parameter.name, format_shape(blob.shape))
        if parameter.lr_mult == 0:
            check.note = "not learned"
        else:
            entries = rng.choice(blob.count, min(blob.count, ENTRIES_OF_A_NET), replace=False)
            compare(parameter.name, blob.data, blob.diff, loss, sorted(entries), check)
        yield check


def report(checks: list[Check], seconds: float, first: str = "layer") -> str:
    """The table people read, and below it what failed."""
    rows = [
        [c.subject, c.example[:60], f"{c.checked:,}", f"{c.error:.1e}" if c.checked else "-", str(c.kinks), c.verdict]
        for c in checks
    ]
    text = table([first, "example", "checked", "max rel. error", "kinks", "verdict"], rows, right=(2, 3, 4))
    failed = [c for c in checks if not c.ok]
    lines = [text, *(f"{c.subject} {c.example}\n  {failure}" for c in failed for failure in c.failures)]
    kinds = len({c.subject for c in checks})
    what = f"{kinds} layer types, {len(checks)} examples" if first == "layer" else f"{len(checks)} parameter blobs"
    lines.append(f"{what}: {'all ok' if not failed else f'{len(failed)} FAILED'} in {seconds:.1f} s")
    return "\n".join(lines)


def as_json(checks: list[Check]) -> dict:
    """The same as data."""
    keys = ("subject", "example", "checked", "error", "kinks", "verdict", "failures")
    return {"ok": all(c.ok for c in checks), "checks": [{key: getattr(c, key) for key in keys} for c in checks]}
