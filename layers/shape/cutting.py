"""What Concat and Slice share: arrays put together along an axis, and cut again, on all threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...compute.parallel import by_example


def join(parts: Sequence[np.ndarray], whole: np.ndarray, axis: int) -> None:
    """whole = the parts one after the other along the axis."""

    def copy(whole, *parts):
        np.concatenate(parts, axis=axis, out=whole)

    by_example(copy, whole, *parts) if axis else copy(whole, *parts)


def cut(whole: np.ndarray, parts: Sequence[np.ndarray | None], ends: Sequence[int], axis: int) -> None:
    """Each part = its piece of the whole, cut before ``ends``; None for a piece nobody wants."""
    wanted = [i for i, part in enumerate(parts) if part is not None]

    def copy(whole, *parts):
        pieces = np.split(whole, ends, axis=axis)
        for i, part in zip(wanted, parts, strict=True):
            np.copyto(part, pieces[i])

    given = [part for part in parts if part is not None]
    by_example(copy, whole, *given) if axis else copy(whole, *given)
