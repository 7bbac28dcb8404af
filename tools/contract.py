"""What the layer contract promises, checked on one example of a layer type at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..layers.layer import Example, Layer
from ..net import plan
from ..net.blob import Blob
from ..net.errors import format_shape
from ..net.extras import MissingExtraError
from .numeric import Check, compare


def describe(example: Example) -> str:
    """An example in a few words: shapes and parameters."""
    shapes = " ".join("(" + ",".join(map(str, shape)) + ")" for shape in example.bottoms)
    params = " ".join(f"{key} {_short(value)}" for key, value in example.params.items())
    return " ".join(filter(None, [shapes, params, "" if example.phase == "TRAIN" else example.phase]))


def _short(value: Any) -> str:
    return str(value).replace(" ", "").replace("'", "")


class Bench:
    """A layer on its own, with random data and gradients around it."""

    def __init__(
        self,
        cls: type[Layer],
        example: Example,
        seed: int = 1701,
        channels_last: bool = False,
        folder: Path | None = None,
    ):
        rng = np.random.default_rng(seed)
        self.example, self.seed = example, seed
        least = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
        parameters = cls.Parameters.from_mapping(example.params, cls.__name__)
        self.folder = folder
        count = example.tops if example.tops is not None else least
        self.layer = cls(
            parameters,
            name="gradcheck",
            phase=example.phase,
            seed=seed,
            dtype=np.float64,
            folder=folder,
            tops=[f"top{i}" for i in range(count)],
        )
        self.bottom = [Blob(shape, np.float64, channels_last) for shape in example.bottoms]
        self.top = [Blob((), np.float64) for _ in range(count)]
        for i, blob in enumerate(self.bottom):
            make = example.values.get(i, lambda rng, shape: rng.standard_normal(shape))
            blob.data[...] = make(rng, blob.shape)
        self.layer.setup(self.bottom, self.top)
        self.layer.reshape(self.bottom, self.top)
        self.layer.fill_blobs()
        if example.prepare:
            example.prepare(self.layer)
        if cls.shapes_follow_values:
            self.layer.Forward_cpu(self.bottom, self.top)
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
        self.draws = self.layer.state() != self.state  # random numbers, which follow the order in memory
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
    try:
        with _files(example) as folder:
            return _check(Bench(cls, example, seed, folder=folder), check)
    except MissingExtraError as error:
        check.note = f"not checked: {error}"
        return check


@contextmanager
def _files(example: Example) -> Iterator[Path | None]:
    """A folder with the files an example reads, as long as it lasts."""
    if example.files is None:
        yield None
        return
    with TemporaryDirectory() as name:
        example.files(Path(name))
        yield Path(name)


def _check(bench: Bench, check: Check) -> Check:
    promised = [blob.shape for blob in bench.top]
    bench.forward()
    if [blob.shape for blob in bench.top] != promised:
        made = ", ".join(format_shape(blob.shape) for blob in bench.top)
        check.failures.append(f"reshape promised {', '.join(map(format_shape, promised))}, Forward_cpu made {made}")
    for blob, values in zip(bench.bottom, bench.inputs, strict=True):
        if not np.array_equal(blob.data, values):
            check.failures.append("Forward_cpu changed its bottom")
    if bench.layer.no_gradient == "all":
        check.note = "" if check.failures else "no gradient"
        return check
    possible = [plan.has_gradient(bench.layer, i) for i in range(len(bench.bottom))]
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
    if bench.layer.any_layout and not bench.draws:
        other = Bench(type(bench.layer), bench.example, bench.seed, channels_last=True, folder=bench.folder)
        theirs, mine = other.backward(possible, bench.learned), bench.backward(possible, bench.learned)
        for i, (here, there) in enumerate(zip(bench.top, other.top, strict=True)):
            if not same(here.data, there.data):
                check.failures.append(f"with channels-last bottoms: top[{i}].data differs")
        for i, (a, b) in enumerate(zip([*mine[0], *mine[1]], [*theirs[0], *theirs[1]], strict=True)):
            if not same(a, b):
                check.failures.append(f"with channels-last bottoms: gradient {i} of bottoms and blobs differs")
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
