"""What the layer contract promises, checked on one example of a layer type at a time.

Each breach is reported with the line that repairs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..files.extras import MissingExtraError
from ..net import plan
from ..net.example import Example
from ..net.layer import Layer
from ..net.user_code import UserCodeError, blame, is_users
from ..spec.errors import NettrainError, format_shape
from .bench import Bench, describe, files_of, same_bits
from .numeric import Check, compare


def check_layer(cls: type[Layer], example: Example, seed: int = 1701) -> Check:
    """Gradient and contract of a layer type on one example. An exception in a layer of the user's own is a failure."""
    check = Check(cls.__name__, describe(example))
    try:
        with np.errstate(all="ignore"), files_of(example) as folder:
            return _check(Bench(cls, example, seed, folder=folder), check)
    except MissingExtraError as error:
        check.note = f"not checked: {error}"
    except UserCodeError as error:
        check.failures.append(str(error))
    except NettrainError as error:
        if not is_users(cls):
            raise
        check.failures.append("\n   ".join(filter(None, [f"the layer refuses its example: {error}", error.hint])))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        words = blame(error, cls, "examples", [f"example {describe(example)}"])
        if words is None:
            raise
        check.failures.append(str(words))
    return check


def _check(bench: Bench, check: Check) -> Check:
    promised = [blob.shape for blob in bench.top]
    if not _is_repeatable(bench, check):
        return check
    unfilled = _says_what_is_not_filled(bench, check)
    if [blob.shape for blob in bench.top] != promised:
        made = ", ".join(format_shape(blob.shape) for blob in bench.top)
        check.failures.append(
            f"reshape promised {', '.join(map(format_shape, promised))}, Forward_cpu made {made}; give the tops this "
            "shape in reshape(self, bottom, top): `top[0].reshape(…)`"
        )
    _say_what_was_spoiled(bench, check)
    if bench.layer.no_gradient == "all":
        if not check.failures:
            check.note = "no gradient"
        return check
    for i, blob in enumerate(bench.top):
        bad = np.argwhere(~np.isfinite(blob.data))
        if len(bad) and not unfilled:
            what, at = blob.data[tuple(bad[0])], ",".join(map(str, bad[0]))
            check.failures.append(
                f"Forward_cpu makes top[{i}].data[{at}] {what} (one of {len(bad)} that are not finite), so there is no "
                "slope to compare; give the example values that have one: "
                "`Example(…, values={0: lambda rng, shape: rng.uniform(0.5, 2, shape)})`"
            )
    if check.failures:
        return check
    possible = [plan.has_gradient(bench.layer, i) for i in range(len(bench.bottom))]
    diffs, added = bench.backward(possible, bench.learned)
    _say_what_was_spoiled(bench, check)
    again = bench.backward(possible, bench.learned)
    same = map(same_bits, [*diffs, *added], [*again[0], *again[1]])
    if not bench.spoiled and not all(same):
        check.failures.append(f"Backward_cpu gives different results each time for the same blobs; {_SOURCES}")
        return check
    _compare_all(bench, possible, diffs, added, check)
    _check_contract(bench, possible, diffs, added, check)
    _say_what_was_spoiled(bench, check)
    return check


_SOURCES = (
    "keep random numbers of Forward_cpu in `self`, draw them from `self.rng` (not np.random or random), and give what "
    "else lasts from call to call in `state` and `set_state`"
)


def _is_repeatable(bench: Bench, check: Check) -> bool:
    """Whether a layer that is made anew from the same seed begins as this one did, and Forward_cpu gives the same for
    the same blobs and state: else nothing can be compared with anything."""
    other = Bench(type(bench.layer), bench.example, bench.seed, folder=bench.folder)
    for i, (a, b) in enumerate(zip(bench.first_blobs, other.first_blobs, strict=True)):
        if not same_bits(a, b):
            check.failures.append(
                f"blobs[{i}].data begins with different values each time from the same seed; give `add_blob` a "
                "Filler, or draw from `self.rng` in fill_blobs (not from np.random or random)"
            )
    if not all(map(same_bits, bench.inputs, other.inputs)):
        check.failures.append(
            "the values of the example are different each time; draw them from the generator that is given: "
            "`values={0: lambda rng, shape: rng.uniform(0.5, 2, shape)}`"
        )
    made, _ = _two_passes(bench, (0.5, 0.5))
    if bench.spoiled:
        _say_what_was_spoiled(bench, check)
        return False
    for i, (a, b) in enumerate(zip(*made, strict=True)):
        if not same_bits(a, b):
            check.failures.append(
                f"Forward_cpu gives a different top[{i}].data each time for the same blobs and state; {_SOURCES}"
            )
    return not check.failures


def _say_what_was_spoiled(bench: Bench, check: Check) -> None:
    """The arrays that a method changed though others read them afterwards, each with the line that repairs it."""
    for name, method in bench.spoiled.items():
        what = name.partition(".")[2]
        if name.startswith("blobs"):
            repair = (
                "only the solver changes what is learned; take a copy, or keep it in another blob with "
                "`self.param_propagate_down[-1] = False` after add_blob"
                if what == "data"
                else "add to it in Backward_cpu only"
            )
        elif method == "Forward_cpu":
            repair = f"write into top[0].data only: `top[0].data[...] = …`, or take a copy, `x = {name}.copy()`"
        elif what == "diff":
            repair = f"take a copy first, `dy = {name}.copy()`, or write with `out=bottom[0].diff`"
        else:
            repair = f"others read it after this layer; take a copy first, `x = {name}.copy()`"
        failure = f"{method} changed {name}; {repair}"
        if failure not in check.failures:
            check.failures.append(failure)


def _two_passes(bench: Bench, olds: tuple[float, float]) -> tuple[list[list[np.ndarray]], Any]:
    """The tops of two forward passes from the same bottoms and state, into tops that hold these values before; and
    what Forward_cpu returns."""
    made = []
    for old in olds:
        bench.restore()
        for blob in bench.top if bench.bottom else ():  # a source may keep what it wrote once
            blob.data.fill(old)
        bench.rewind()
        result = bench.watch("Forward_cpu", bench.bottom, bench.top)
        made.append([blob.data.copy() for blob in bench.top])
    return made, result


def _says_what_is_not_filled(bench: Bench, check: Check) -> bool:
    """Run forward twice, into tops that hold something different each time; what differs was not filled."""
    made, result = _two_passes(bench, (0.5, -7.0))
    bad = [i for i, (a, b) in enumerate(zip(*made, strict=True)) if not same_bits(a, b)]
    for i in bad:
        why = f"top[{i}].data depends on what it held before, so Forward_cpu does not fill all of it"
        if result is not None:
            why = f"Forward_cpu returns its result, which nobody takes, and does not fill top[{i}].data"
        check.failures.append(f"{why}: `top[{i}].data[...] = …`")
    bench.restore()
    bench.forward()
    return bool(bad)


def _compare_all(bench: Bench, possible: list[bool], diffs: list, added: list, check: Check) -> None:
    bench.restore()
    failing = []
    for what, blobs, gradients, flags in (
        ("bottom", bench.bottom, diffs, possible),
        ("blobs", bench.layer.blobs, added, bench.learned),
    ):
        for i, blob in enumerate(blobs):
            if flags[i]:
                before = len(check.failures)
                compare(f"{what}[{i}]", blob.data, gradients[i], bench.forward, range(blob.count), check)
                failing += [(what, i)] * (len(check.failures) > before)
    if not failing:
        return
    held = bench.before, bench.accumulated  # once more, from diffs that are 0
    bench.before, bench.accumulated = ([np.zeros_like(array) for array in arrays] for arrays in held)
    plain, sums = bench.backward(possible, bench.learned)
    bench.before, bench.accumulated = held
    for what, i in failing:
        if what == "bottom" and _same(diffs[i], held[0][i], equal_nan=False):
            check.failures.append(
                f"bottom[{i}].diff was not written: `bottom[{i}].diff[...] = …`; or if it has no gradient, "
                f"`no_gradient = ({i},)` in the class"
            )
        elif what == "bottom" and _same(diffs[i] - held[0][i], plain[i], equal_nan=False):
            check.failures.append(f"bottom[{i}].diff was added to; overwrite it: `bottom[{i}].diff[...] = …`")
        elif what == "blobs" and _same(added[i] + held[1][i], sums[i], equal_nan=False):
            check.failures.append(f"the diff of blobs[{i}] was overwritten; add to it: `self.blobs[{i}].diff += …`")


def _same(a: np.ndarray, b: np.ndarray, equal_nan: bool = True) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=equal_nan))


def _check_contract(bench: Bench, possible: list[bool], diffs: list, added: list, check: Check) -> None:
    """Everything the contract says of Backward_cpu besides the numbers."""

    def judge(what: str, propagate: list[bool], learn: list[bool], repair: str = "", poison: str = "") -> None:
        got, plus = bench.backward(propagate, learn, poison)
        for i, (diff, wanted) in enumerate(zip(got, propagate, strict=True)):
            if not _same(diff, diffs[i] if wanted else bench.before[i]):
                words = f"bottom[{i}].diff differs" if wanted else f"bottom[{i}].diff was written"
                other = f"compute bottom[{i}].diff under `if propagate_down[{i}]:` from data and top diffs alone"
                line = (repair or other) if wanted else f"write it only `if propagate_down[{i}]:`"
                check.failures.append(f"{what}: {words}; {line}")
        for i, (diff, wanted) in enumerate(zip(plus, learn, strict=True)):
            if not _same(diff, added[i] if wanted else np.zeros_like(diff)):
                words = f"the diff of blobs[{i}] {'differs' if wanted else 'was written'}"
                other = f"add to it under `if self.param_propagate_down[{i}]:`, whatever else is wanted"
                line = (repair or other) if wanted else f"add to it only `if self.param_propagate_down[{i}]:`"
                check.failures.append(f"{what}: {words}; {line}")

    for subset in _subsets(possible):
        judge(f"with propagate_down {[bool(b) for b in subset]}", list(subset), bench.learned)
    for i, learned in enumerate(bench.learned):
        if learned:
            learn = [flag and j != i for j, flag in enumerate(bench.learned)]
            judge(f"with blobs[{i}] not learning", possible, learn)
    unread = [name for name in ("bottom.data", "top.data") if name not in bench.layer.backward_reads]
    for name in unread:
        reads = tuple(sorted({*bench.layer.backward_reads, name}))
        judge(
            f"with {name} overwritten before backward",
            possible,
            bench.learned,
            f"Backward_cpu reads {name}, and must say so: `backward_reads = {reads}` in the class",
            poison=name,
        )
    if bench.layer.any_layout and not bench.draws:
        _check_channels_last(bench, possible, check)
    if bench.layer.may_run_in_place and bench.top and bench.bottom:
        fits = _check_in_place(bench, check)
        if fits and "bottom.data" not in bench.layer.backward_reads:
            bench.top[0].share_data(bench.bottom[0])
            judge("run in place", possible, bench.learned, "`may_run_in_place = False` in the class")


def _check_channels_last(bench: Bench, possible: list[bool], check: Check) -> None:
    other = Bench(type(bench.layer), bench.example, bench.seed, channels_last=True, folder=bench.folder)
    theirs, mine = other.backward(possible, bench.learned), bench.backward(possible, bench.learned)
    repair = "`any_layout = False` in the class, or take arrays as they lie with `memory_order(array)`"
    for i, (here, there) in enumerate(zip(bench.top, other.top, strict=True)):
        if not _same(here.data, there.data):
            check.failures.append(f"with channels-last bottoms: top[{i}].data differs; {repair}")
    for what, some, others in zip(("bottom", "blobs"), mine, theirs, strict=True):
        for i, (a, b) in enumerate(zip(some, others, strict=True)):
            if not _same(a, b):
                check.failures.append(f"with channels-last bottoms: the diff of {what}[{i}] differs; {repair}")


def _check_in_place(bench: Bench, check: Check) -> bool:
    """Forward must make the same when the top lies where the bottom lies. Returns whether it can lie there."""
    other = Bench(type(bench.layer), bench.example, bench.seed, folder=bench.folder)
    bench.restore()
    bench.forward()
    if bench.top[0].shape != bench.bottom[0].shape:
        check.failures.append(
            f"top[0] is {format_shape(bench.top[0].shape)} and bottom[0] {format_shape(bench.bottom[0].shape)}: the "
            "type cannot run in place; `may_run_in_place = False` in the class"
        )
        return False
    other.top[0].share_data(other.bottom[0])
    other.forward()
    if not _same(bench.top[0].data, other.top[0].data):
        check.failures.append(
            "run in place, top[0] in the memory of bottom[0]: top[0].data differs; `may_run_in_place = False` in the "
            "class, or do not read bottom[0].data once top[0].data is written"
        )
    return True


def _subsets(possible: list[bool]) -> Iterator[tuple[bool, ...]]:
    """Every choice of bottoms that can have a gradient; for many bottoms all, none and each alone."""
    if sum(possible) <= 3:
        yield from itertools.product(*[(True, False) if p else (False,) for p in possible])
        return
    yield tuple(possible)
    for i in range(-1, len(possible)):
        yield tuple(p and j == i for j, p in enumerate(possible))
