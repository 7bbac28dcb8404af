"""Gradient checks: what Backward_cpu computes against central differences of what Forward_cpu computes.

Everything runs in float64. For a layer the function differentiated is f = Σ top · g with random g; for a net it
is the loss. An entry passes when |backward - numeric| <= 1e-6 of the larger one, that scale floored where
rounding would drown the difference. Where f has a kink between x - h and x + h, the two one-sided slopes differ,
and a backward value between them is right.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..layers.layer import Example, Layer
from ..net import build, registry
from ..net.blob import Blob
from ..net.errors import NettrainError, format_shape
from ..net.net import Net
from ..net.netspec import NetSpec
from .table import table

STEP = 1e-5
THRESHOLD = 1e-6
ENTRIES_OF_A_NET = 50  # per parameter blob


@dataclass
class Check:
    """The result for one example of a layer, or one parameter blob of a net."""

    subject: str
    example: str
    checked: int = 0
    error: float = 0.0  # largest relative error
    kinks: int = 0
    failures: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def verdict(self) -> str:
        return self.note or ("ok" if self.ok else "FAILED")


def compare(
    name: str,
    values: np.ndarray,
    backward: np.ndarray,
    evaluate: Callable[[], float],
    entries: Iterable[int],
    to: Check,
) -> None:
    """Check the gradient ``backward`` of ``evaluate`` at ``values`` (changed and restored in place)."""
    flat, gradient = values.reshape(-1), backward.reshape(-1)
    middle = evaluate()
    entries = list(entries)
    slopes = []
    largest = abs(middle)
    for i in entries:
        x, h = flat[i], STEP * max(1.0, abs(flat[i]))
        flat[i] = x + h
        above = evaluate()
        flat[i] = x - h
        below = evaluate()
        flat[i] = x
        largest = max(largest, abs(above), abs(below))
        slopes.append(((above - middle) / h, (middle - below) / h, (above - below) / (2 * h)))
    if not entries:
        return
    # Differences of numbers as large as f are uncertain by eps |f| / h: scales below 1/THRESHOLD of that say nothing.
    rounding = 4 * np.finfo(np.float64).eps * largest / STEP
    floor = max(rounding / THRESHOLD, 1e-3 * max(abs(slope[2]) for slope in slopes), 1e-12)
    wrong = []
    for i, (right, left, numeric) in zip(entries, slopes, strict=True):
        scale = max(abs(gradient[i]), abs(numeric), floor)
        error = abs(gradient[i] - numeric) / scale
        to.checked += 1
        if not error <= THRESHOLD and abs(right - left) > 1e-3 * scale:
            margin = 1e-3 * abs(right - left)
            if min(left, right) - margin <= gradient[i] <= max(left, right) + margin:
                to.kinks += 1
                continue
        to.error = max(to.error, error) if error == error else float("inf")
        if not error <= THRESHOLD:
            wrong.append((i, gradient[i], numeric))
    if wrong:
        to.failures.append(_in_words(name, values.shape, wrong, len(entries)))


def _in_words(name: str, shape: tuple[int, ...], wrong: list[tuple[int, float, float]], count: int) -> str:
    """The worst entry, and what the ratios of all of them suggest."""
    i, backward, numeric = max(wrong, key=lambda w: abs(w[1] - w[2]) if w[1] == w[1] else np.inf)
    index = ",".join(str(int(k)) for k in np.unravel_index(i, shape)) if shape else ""
    text = f"{name}[{index}]  backward {backward:+.5g}  numeric {numeric:+.5g}"
    ratios = np.array([b / n if n else np.inf for _, b, n in wrong])
    where = f"in all {count} entries" if len(wrong) == count else f"in {len(wrong)} of {count} entries"
    if np.isfinite(ratios).all() and np.ptp(ratios) <= 1e-3 * abs(ratios[0]) and len(wrong) > 1:
        hints = {2.0: "a missing 1/2, or a gradient added twice?", -1.0: "a wrong sign?", 0.0: "never computed?"}
        near = [hint for value, hint in hints.items() if abs(ratios[0] - value) < 1e-3]
        return f"{text}  ratio {ratios[0]:.3f} {where}" + (f": {near[0]}" if near else "")
    return f"{text}  wrong {where}"


def describe(example: Example) -> str:
    """An example in a few words: shapes and parameters."""
    shapes = " ".join("(" + ",".join(map(str, shape)) + ")" for shape in example.bottoms)
    params = " ".join(f"{key} {_short(value)}" for key, value in example.params.items())
    return " ".join(filter(None, [shapes, params, "" if example.phase == "TRAIN" else example.phase]))


def _short(value: Any) -> str:
    return str(value).replace(" ", "").replace("'", "")


class Bench:
    """A layer on its own, with random data and gradients around it."""

    def __init__(self, cls: type[Layer], example: Example, seed: int = 1701):
        rng = np.random.default_rng(seed)
        least = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
        parameters = cls.Parameters.from_mapping(example.params, cls.__name__)
        self.layer = cls(parameters, name="gradcheck", phase=example.phase, seed=seed, dtype=np.float64)
        self.bottom = [Blob(shape, np.float64) for shape in example.bottoms]
        self.top = [Blob((), np.float64) for _ in range(example.tops if example.tops is not None else least)]
        for i, blob in enumerate(self.bottom):
            make = example.values.get(i, lambda rng, shape: rng.standard_normal(shape))
            blob.data[...] = make(rng, blob.shape)
        self.layer.setup(self.bottom, self.top)
        self.layer.reshape(self.bottom, self.top)
        self.layer.fill_blobs()
        if example.prepare:
            example.prepare(self.layer)
        self.learned = list(self.layer.param_propagate_down)
        for blob, learned in zip(self.layer.blobs, self.learned, strict=True):
            if learned:
                blob.data += 0.1 * rng.standard_normal(blob.shape)
        self.state = self.layer.state()
        self.upstream = [rng.standard_normal(blob.shape) for blob in self.top]
        self.before = [rng.standard_normal(blob.shape) for blob in self.bottom]  # what diffs hold before backward
        self.accumulated = [rng.standard_normal(blob.shape) for blob in self.layer.blobs]
        self.inputs = [blob.data.copy() for blob in self.bottom]

    def forward(self) -> float:
        """f = Σ top · upstream."""
        self.layer.set_state(self.state)
        self.layer.Forward_cpu(self.bottom, self.top)
        return sum(float(np.vdot(t.data, g)) for t, g in zip(self.top, self.upstream, strict=True))

    def backward(self, propagate: list[bool], learn: list[bool], poison: tuple[str, ...] = ()) -> tuple[list, list]:
        """Forward, then backward from prepared diffs. Returns the bottoms' diffs and what was added to the parameters'.

        ``poison`` overwrites data that the layer says it does not read in backward.
        """
        for blob, values in zip(self.bottom, self.inputs, strict=True):
            blob.data[...] = values
        self.forward()
        for blob, values in zip(self.top, self.upstream, strict=True):
            blob.diff[...] = values
        for blob, values in zip(self.bottom, self.before, strict=True):
            blob.diff[...] = values
        for blob, values in zip(self.layer.blobs, self.accumulated, strict=True):
            blob.diff[...] = values
        for what, blobs in (("bottom.data", self.bottom), ("top.data", self.top)):
            if what in poison:
                for blob in blobs:
                    blob.data[...] = np.nan
        self.layer.param_propagate_down[:] = learn
        self.layer.Backward_cpu(self.top, propagate, self.bottom)
        self.layer.param_propagate_down[:] = self.learned
        added = [b.diff - before for b, before in zip(self.layer.blobs, self.accumulated, strict=True)]
        return [blob.diff.copy() for blob in self.bottom], added


def check_layer(cls: type[Layer], example: Example, seed: int = 1701) -> Check:
    """Gradient and contract of a layer type on one example."""
    check = Check(cls.__name__, describe(example))
    bench = Bench(cls, example, seed)
    promised = [blob.shape for blob in bench.top]
    bench.forward()
    if [blob.shape for blob in bench.top] != promised:
        made = ", ".join(format_shape(blob.shape) for blob in bench.top)
        check.failures.append(f"reshape promised {', '.join(map(format_shape, promised))}, Forward_cpu made {made}")
    for blob, values in zip(bench.bottom, bench.inputs, strict=True):
        if not np.array_equal(blob.data, values):
            check.failures.append("Forward_cpu changed its bottom")
    if cls.no_gradient == "all":
        check.note = "" if check.failures else "no gradient"
        return check
    possible = [build.has_gradient(bench.layer, i) for i in range(len(bench.bottom))]
    diffs, added = bench.backward(possible, bench.learned)
    _compare_all(bench, possible, diffs, added, check)
    _check_contract(bench, possible, diffs, added, check)
    return check


def _compare_all(bench: Bench, possible: list[bool], diffs: list, added: list, check: Check) -> None:
    for blob, values in zip(bench.bottom, bench.inputs, strict=True):
        blob.data[...] = values
    for i, blob in enumerate(bench.bottom):
        if possible[i]:
            compare(f"bottom[{i}]", blob.data, diffs[i], bench.forward, range(blob.count), check)
    for i, blob in enumerate(bench.layer.blobs):
        if bench.learned[i]:
            compare(f"blobs[{i}]", blob.data, added[i], bench.forward, range(blob.count), check)


def _check_contract(bench: Bench, possible: list[bool], diffs: list, added: list, check: Check) -> None:
    """Everything the contract says of Backward_cpu besides the numbers."""

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.allclose(a, b, rtol=1e-9, atol=1e-9))

    def judge(what: str, propagate: list[bool], learn: list[bool], **options: Any) -> None:
        got, plus = bench.backward(propagate, learn, **options)
        for i, (diff, wanted) in enumerate(zip(got, propagate, strict=True)):
            if not same(diff, diffs[i] if wanted else bench.before[i]):
                check.failures.append(f"{what}: bottom[{i}].diff {'differs' if wanted else 'was written'}")
        for i, (diff, wanted) in enumerate(zip(plus, learn, strict=True)):
            if not same(diff, added[i] if wanted else np.zeros_like(diff)):
                check.failures.append(f"{what}: the diff of blobs[{i}] {'differs' if wanted else 'was written'}")

    for subset in _subsets(possible):
        judge(f"with propagate_down {[bool(b) for b in subset]}", list(subset), bench.learned)
    for i, learned in enumerate(bench.learned):
        if learned:
            learn = [flag and j != i for j, flag in enumerate(bench.learned)]
            judge(f"with blobs[{i}] not learning", possible, learn)
    unread = tuple({"bottom.data", "top.data"} - set(bench.layer.backward_reads))
    judge(
        f"with {' and '.join(unread) or 'nothing'} overwritten before backward", possible, bench.learned, poison=unread
    )
    for i, blob in enumerate(bench.top):
        if not np.array_equal(blob.diff, bench.upstream[i]):
            check.failures.append(f"Backward_cpu changed top[{i}].diff")
    if bench.layer.may_run_in_place and "bottom.data" not in bench.layer.backward_reads:
        bench.top[0].share_data(bench.bottom[0])
        judge("run in place", possible, bench.learned)


def _subsets(possible: list[bool]) -> Iterator[tuple[bool, ...]]:
    """Every choice of bottoms that can have a gradient; for many bottoms all, none and each alone."""
    if sum(possible) <= 3:
        yield from itertools.product(*[(True, False) if p else (False,) for p in possible])
        return
    yield tuple(possible)
    for i in range(-1, len(possible)):
        yield tuple(p and j == i for j, p in enumerate(possible))


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
    if not Path(path).is_file():
        raise NettrainError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise NettrainError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise NettrainError(f"{path} does not load: {type(error).__name__}: {error}") from error
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
    steps = [step for step in net.steps if step.bottom]

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
