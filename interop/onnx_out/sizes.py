"""Which axes of a net's blobs follow the batch: found by giving it batches of several sizes, from shapes alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...net.blob import Blob
from ...net.step import Step
from ...net.user_code import ask
from ...spec.errors import NettrainError

BATCH, TIME, OTHERS = "N", "T", "M"
# Sizes that are tried for the batch, for steps of time, for other examples than those of the batch (regions of its
# images, say) and for what a Filter keeps: 1 among them, and such that equal sizes of two blobs are no accident.
TRIED = {BATCH: (2, 3, 1, 5), TIME: (3, 7, 4, 2), OTHERS: (17, 1, 8, 3)}
KEPT = (11, 4, 13, 6)
MOST_TRIALS = 400

Axes = dict[int, str]  # axis -> what its size is: BATCH, TIME or OTHERS


@dataclass(frozen=True)
class Dim:
    """The size of an axis in each of the trials, and the name of what it is where it is not always the same."""

    sizes: tuple[int, ...]
    symbol: str = field(default="", compare=False)

    @property
    def size(self) -> int | None:
        """The size, or None where it is not fixed."""
        return self.sizes[0] if len(set(self.sizes)) == 1 else None


Dims = tuple[Dim, ...]


class NeedsFixedError(NettrainError):
    """A layer that has a form in ONNX only where the batch is of one size."""


@dataclass
class Sizes:
    """The dims of every blob by its id, the axes of the inputs that vary, and why the batch is fixed, if it is."""

    dims: dict[int, Dims]
    axes: dict[int, Axes]
    fixed_by: str = ""

    def of(self, blob: Blob) -> Dims:
        return self.dims[id(blob)]

    def fixed(self, size: int) -> Dim:
        """A size that is always the same."""
        return Dim((size,) * len(KEPT))

    def product(self, dims: Dims) -> Dim:
        """The size of an axis that takes the place of several."""
        return Dim(tuple(math.prod(sizes) for sizes in zip(*(dim.sizes for dim in dims), strict=True)))


def cell_steps(step: Step) -> Sequence[Step]:
    """The layers of the cell of a Recurrent layer, for one step of time."""
    unrolled = getattr(step.layer, "unrolled", None)
    return unrolled.copies[0].steps if unrolled is not None else ()


@contextmanager
def borrowed(sources: Sequence[Step], steps: Sequence[Step]) -> Iterator[None]:
    """A net whose shapes and values may be changed inside; afterwards it goes on as if nothing had been."""
    tops = [blob for step in sources for blob in step.top]
    shapes = [blob.shape for blob in tops]
    values = [(blob, blob.data.copy()) for step in sources if step.layer.is_input for blob in step.top]
    states = [(step, ask(step.layer, "state")) for step in steps]
    try:
        yield
    finally:
        for blob, shape in zip(tops, shapes, strict=True):
            blob.reshape(shape)
        for step in steps:
            step.reshape_again()
        for step, state in states:
            ask(step.layer, "set_state", state)
        for blob, array in values:
            blob.data[...] = array


def find(sources: Sequence[Step], steps: Sequence[Step], fixed_by: str = "") -> Sizes:
    """The sizes of a net's blobs, of the inputs that ``sources`` fill and of what ``steps`` make of them.

    With ``fixed_by``, a reason, those of the batch that is there.
    """
    tops = [blob for step in sources for blob in step.top]
    now = [blob.shape for blob in tops]
    with borrowed(sources, steps):
        why = fixed_by
        choices = itertools.product(*_candidates(sources, steps)) if not fixed_by else ()
        for choice in itertools.islice(choices, MOST_TRIALS):
            axes = {id(blob): one for blob, one in zip(tops, choice, strict=True)}
            if not any(BATCH in one.values() for one in choice) or not _agree(now, choice):
                continue
            try:
                return Sizes(_sizes(sources, steps, now, choice), axes)
            except NettrainError as error:
                why = why or str(error)
        axes = {id(blob): {} for blob in tops}
        return Sizes(_sizes(sources, steps, now, [{}] * len(tops)), axes, why)


def _candidates(sources: Sequence[Step], steps: Sequence[Step]) -> list[list[Axes]]:
    """For each input the axes that may vary, what is most likely first."""
    over_time = any(step.layer.batch_axis for step in (*sources, *steps))
    result = []
    for step in sources:
        for blob in step.top:
            found: list[Axes] = []
            if over_time and len(blob.shape) > 1:
                found.append({0: TIME, 1: BATCH})
            if blob.shape:
                found.append({0: BATCH})
            if over_time and len(blob.shape) > 1:
                found.append({1: BATCH})
            if blob.shape:
                found.append({0: OTHERS})
            result.append([*found, {}])
    return result


def _agree(shapes: Sequence[tuple[int, ...]], axes: Sequence[Axes]) -> bool:
    """Whether axes that are called the same are of one size now."""
    seen: dict[str, set[int]] = {}
    for shape, follows in zip(shapes, axes, strict=True):
        for axis, what in follows.items():
            seen.setdefault(what, set()).add(shape[axis])
    return all(len(sizes) == 1 for sizes in seen.values())


def _sizes(
    sources: Sequence[Step], steps: Sequence[Step], now: Sequence[tuple[int, ...]], axes: Sequence[Axes]
) -> dict[int, Dims]:
    """The dims of all blobs, from the shapes that the net takes in each trial. Raises NettrainError where it cannot."""
    tops = [blob for step in sources for blob in step.top]
    shapes: dict[int, list[tuple[int, ...]]] = {}
    kept = 0
    for trial in range(len(KEPT)):
        for blob, shape, follows in zip(tops, now, axes, strict=True):
            blob.reshape(tuple(TRIED[follows[i]][trial] if i in follows else n for i, n in enumerate(shape)))
        try:
            kept = _reshape(steps, KEPT[trial])
        except NettrainError as error:
            reason = str(error).partition("\n")[0]
            raise NettrainError(f"with {TRIED[BATCH][trial]} examples, {reason}") from None
        blobs = [blob for step in (*sources, *steps, *_inside(steps)) for blob in (*step.bottom, *step.top)]
        for key, shape in {id(blob): blob.shape for blob in blobs}.items():
            shapes.setdefault(key, []).append(shape)
    if any(len({len(shape) for shape in found}) > 1 for found in shapes.values()):
        raise NettrainError("the number of axes follows the batch")
    names = _Names(kept)
    return {key: tuple(names.dim(sizes) for sizes in zip(*found, strict=True)) for key, found in shapes.items()}


def _reshape(steps: Sequence[Step], size: int) -> int:
    """Pass the shapes on; where they follow values, as if that many examples were kept. Gives how many do."""
    kept = 0
    for step in steps:
        step.reshape_again()
        if step.layer.shapes_follow_values:
            for blob in step.top:
                blob.reshape((size + 17 * kept, *blob.shape[1:]))
            kept += 1
    return kept


def _inside(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield from cell_steps(step)
        yield from _inside(cell_steps(step))


class _Names:
    """Names of sizes by what they are in each trial: ``N``, ``4*N``, ``N+2``, ``N*T``; ``size_1`` for the rest."""

    def __init__(self, kept: int):
        self.known: dict[str, tuple[int, ...]] = dict(TRIED)
        for i in range(kept):
            self.known[f"K{i + 1 if kept > 1 else ''}"] = tuple(size + 17 * i for size in KEPT)
        pairs = list(itertools.combinations_with_replacement(self.known.items(), 2))
        self.composed = {f"{a}*{b}": tuple(map(int.__mul__, x, y)) for (a, x), (b, y) in pairs}
        self.composed |= {f"({a}+{b})": tuple(map(int.__add__, x, y)) for (a, x), (b, y) in pairs}
        self.others: dict[tuple[int, ...], str] = {}

    def dim(self, sizes: tuple[int, ...]) -> Dim:
        return Dim(sizes, self.of(sizes) if len(set(sizes)) > 1 else "")

    def of(self, sizes: tuple[int, ...]) -> str:
        for name, known in (self.known | self.composed).items():
            factor, rest = divmod(sizes[0] - sizes[1], known[0] - known[1])
            more = sizes[0] - factor * known[0]
            if factor and not rest and all(factor * a + more == b for a, b in zip(known, sizes, strict=True)):
                return (f"{factor}*{name}" if factor != 1 else name) + (f"{more:+d}" if more else "")
        return self.others.setdefault(sizes, f"size_{len(self.others) + 1}")
