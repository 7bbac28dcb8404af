"""When the loss is no longer a number: what went bad first, how it came about, the likely cause, and what to try."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..net.net import Net
from ..net.step import Step
from ..net.user_code import ask
from .listener import Listener
from .updater import Updater

if TYPE_CHECKING:
    from .reports import Row
    from .solver import Solver

LARGE = 1e3  # for a parameter
Finding = tuple[str, str]  # a label and a sentence


class Trail(Listener):
    """How large the parameters were when they were last looked at."""

    def __init__(self, net: Net):
        self.net = net
        self.looks: deque[tuple[int, dict[str, float]]] = deque(maxlen=2)

    def started(self, solver: Solver) -> None:
        self.look(solver.iter)

    def reported(self, solver: Solver, row: Row) -> None:
        self.look(row.iter)

    def look(self, iteration: int) -> None:
        if not self.looks or self.looks[-1][0] != iteration:
            self.looks.append((iteration, {step.spec.name: _largest(step) for step in self.net.steps}))

    def has_grown(self, step: Step) -> bool:
        """Whether the parameters of a layer are more than twice what they were, or large, or not numbers."""
        now = _largest(step)
        then = self.looks[-1][1][step.spec.name] if self.looks else now
        return not (now <= 2 * then and now < LARGE)

    def before(self, step: Step, iteration: int, updater: Updater) -> str:
        """``largest |W| of `ip1` grew from 0.9 to 4e+19 in 6 iterations``, and the last update beside it."""
        looks = [(at, sizes[step.spec.name]) for at, sizes in self.looks if math.isfinite(sizes[step.spec.name])]
        now = _largest(step)
        if not looks:
            return ""
        at, then = looks[-1]
        grew = "grew" if not now <= 2 * then else "went"
        count = iteration - at
        if not count:  # nothing was learned since: a filler, a file or a snapshot made it so
            return f"largest |W| of `{step.spec.name}` is {now:.2g}"
        text = f"largest |W| of `{step.spec.name}` {grew} from {then:.2g} to {now:.2g} "
        text += f"in {count} iteration{'' if count == 1 else 's'}"
        share = _last_update(step, updater) / now if now else math.nan
        return text + (f"; update/weight = {share:.2g} (healthy: about 1e-3)" if math.isfinite(share) else "")


def _blame_layer(step: Step) -> list[Finding]:
    """What to say when no parameter has grown: the layer cannot take what it reads."""
    ranges = []
    for key, blob in zip(step.bottom_keys, step.bottom, strict=True):
        if blob.count:
            ranges.append(f"`{key[0]}` from {float(blob.data.min()):g} to {float(blob.data.max()):g}")
    cause = f"{step.spec.title()} has no finite result for what it reads, {', '.join(ranges)}; no parameter has grown"
    return [
        ("likely cause", cause),
        ("try", "other values there: scale or shift what it reads, or limit it with a Clip"),
    ]


def _blame_start(bad: Step | None, learned: list[Step]) -> list[Finding]:
    """What to say when no update was made, so that no rate is to blame: parameters that were too large from the
    beginning, or else the layer."""
    for step in learned:
        size = _largest(step)
        if not size < LARGE:
            cause = f"the parameters of {step.spec.title()} are too large from the start: largest |W| {size:.2g}"
            return [("likely cause", cause), ("try", "a smaller weight_filler there, or other weights")]
    return _blame_layer(bad) if bad is not None and bad.bottom else []


def _largest(step: Step) -> float:
    """The largest magnitude among a layer's learned parameters; 0 without any."""
    learned = [blob.data for blob, flag in zip(step.layer.blobs, step.layer.param_propagate_down, strict=True) if flag]
    return max((float(max(data.max(), -data.min())) for data in learned if data.size), default=0.0)


def _last_update(step: Step, updater: Updater) -> float:
    """The largest magnitude of the last update, where the rule remembers it; else NaN."""
    which = updater.rule.last_update
    if which is None:
        return math.nan
    own = [p for p in updater.net.parameters if any(p.blob is blob for blob in step.layer.blobs) and p.blob.count]
    return max((float(np.abs(updater.history[which][p.start : p.stop]).max()) for p in own), default=0.0)


def explain(net: Net, iteration: int, trail: Trail, updater: Updater, place: str, kept: str) -> list[Finding]:
    """Labelled lines for the message. Runs the layers again on the batch that was bad."""
    step, what = _first_bad(net)
    lines = [("first bad value", what)]
    base_lr = updater.p.base_lr
    if _is_data(step):
        lines.append(("likely cause", "the data itself: a value that is not finite came in"))
        lines.append(("try", "look for NaN or infinity in the data file, or a number too large for float32"))
    else:
        learned = [s for s in net.steps[: net.steps.index(step) + 1 if step else None] if _largest(s)]
        if iteration == 0:
            return [*lines, *_blame_start(step, learned), ("kept", kept)]
        before = trail.before(learned[-1], iteration, updater) if learned else ""
        lines += [("before it", before)] if before else []
        if step is not None and step.bottom and not any(trail.has_grown(s) for s in learned):
            lines += _blame_layer(step)
            return [*lines, ("kept", kept)]
        lines.append(("likely cause", f"the learning rate is too high: solver.base_lr = {base_lr:g} ({place})"))
        lines.append(("try", f"--set solver.base_lr={base_lr / 100:g}   or   --set solver.clip_gradients=5"))
    lines.append(("kept", kept))
    return lines


@dataclass(frozen=True)
class Trouble:
    """Why a score is not finite: the layer where it begins, a sentence, and whether the data is to blame."""

    layer: str
    sentence: str
    in_data: bool


def find_trouble(net: Net) -> Trouble:
    """The first bad value of the batch a net has just run, and a cause where one shows. The net is left as it was."""
    states = net.layer_states()
    step, what = _first_bad(net)
    net.set_layer_states(states)
    name = step.spec.name if step else ""
    if _is_data(step):
        return Trouble(name, f"{what}; look for NaN or infinity in the data, or a number too large for float32", True)
    unready = [s for s in net.steps[: net.steps.index(step) + 1 if step else None] if ask(s.layer, "unready")]
    causes = [f"; {unready[0].spec.title()} {ask(unready[0].layer, 'unready')}"] if unready else []
    return Trouble(name, "".join([what, *causes]), False)


def _is_data(step: Step | None) -> bool:
    """Whether a layer gives values that nobody computed or learned."""
    return step is not None and not step.bottom and not step.layer.blobs


def _first_bad(net: Net) -> tuple[Step | None, str]:
    """The first layer with a parameter or top that is not finite, and a sentence about it.

    Layers with bottoms run once more, one by one: in the pass that was bad a later one may have worked in the memory of
    an earlier. What reads data keeps its batch; what makes nothing (such as HDF5Output) does not run again.
    """
    for step in net.steps:
        where = f"layer `{step.spec.name}` ({step.spec.place})"
        for i, blob in enumerate(step.layer.blobs):
            if not np.isfinite(blob.data).all():
                return step, f"parameter {i} of {where}: {_count(blob.data)}"
        if step.bottom and step.top:
            with np.errstate(all="ignore"):
                step.forward()
        for blob in step.top:
            if not np.isfinite(blob.data).all():
                return step, f"forward, {where}: {_count(blob.data)} of its outputs{_which(step, blob.data)}"
    return None, "the loss itself"


def _which(step: Step, array: np.ndarray) -> str:
    """The first example with a bad value, where the layer knows which it is."""
    known = ask(step.layer, "which_example", int(np.argwhere(~np.isfinite(array))[0][0])) if array.ndim else ""
    return f", the first in {known}" if known else ""


def _count(array: np.ndarray) -> str:
    nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    parts = [f"{number:,} {name}" for number, name in ((nan, "NaN"), (inf, "inf")) if number]
    return f"{' and '.join(parts)} among {array.size:,}"


def report(iteration: int, what: str, lines: list[Finding]) -> str:
    """The message a person reads."""
    body = "\n".join(f"  {label:<16} {sentence}" for label, sentence in lines)
    return f"training diverged at iteration {iteration}: {what}\n{body}"
