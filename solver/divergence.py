"""When the loss is no longer a number: what went bad first, why probably, and what to try."""

from __future__ import annotations

import numpy as np

from ..net.net import Net

Finding = tuple[str, str]  # a label and a sentence


def explain(net: Net, base_lr: float, place: str, kept: str) -> list[Finding]:
    """Labelled lines for the message, from the blobs as the bad forward pass left them."""
    layer, what = _first_bad(net)
    lines = [("first bad value", what)]
    if layer is not None and not layer.num_bottoms:
        lines.append(("likely cause", "the data itself: a value that is not finite came in"))
        lines.append(("try", "look for NaN or infinity in the data file"))
    else:
        lines.append(("likely cause", f"the learning rate is too high: solver.base_lr = {base_lr:g} ({place})"))
        lines.append(("try", f"--set solver.base_lr={base_lr / 100:g}   or   --set solver.clip_gradients=5"))
    lines.append(("kept", kept))
    return lines


def _first_bad(net: Net):
    """The first layer with a parameter or top that is not finite, and a sentence about it."""
    for step in net.steps:
        where = f"layer `{step.spec.name}` ({step.spec.place})"
        for i, blob in enumerate(step.layer.blobs):
            if not np.isfinite(blob.data).all():
                return step.layer, f"parameter {i} of {where}: {_count(blob.data)}"
        for blob in step.top:
            if not np.isfinite(blob.data).all():
                return step.layer, f"forward, {where}: {_count(blob.data)} of its outputs"
    return None, "the loss itself"


def _count(array: np.ndarray) -> str:
    nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    parts = [f"{number:,} {name}" for number, name in ((nan, "NaN"), (inf, "inf")) if number]
    return f"{' and '.join(parts)} among {array.size:,}"


def report(iteration: int, what: str, lines: list[Finding]) -> str:
    """The message a person reads."""
    body = "\n".join(f"  {label:<16} {sentence}" for label, sentence in lines)
    return f"training diverged at iteration {iteration}: {what}\n{body}"
