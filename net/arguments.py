"""What programs pass in: checked on arrival, so that a slip is one sentence and not an error from deep inside."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..spec.errors import NettrainError, ShapeError

LONGEST = 60  # characters of a value that a message shows


def _wrong(what: str, wanted: str, value: Any) -> NettrainError:
    try:
        shown = repr(value)
    except Exception:  # a __repr__ of the user's
        shown = "one that cannot be shown"
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."
    return NettrainError(f"{what} must be {wanted}, got {shown} ({type(value).__name__})")


def a_path(value: Any, what: str) -> Path:
    """A path. Raises NettrainError for anything else, and for an empty one."""
    if value == "":
        raise NettrainError(f"{what} is empty; it must be a path")
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str) or not os.fspath(value):
        raise _wrong(what, "a path", value)
    return Path(value)


def strings(value: Any, what: str, paths: bool = False) -> tuple[Any, ...]:
    """Several strings, with ``paths`` also paths; a single one counts as a list of one. Raises NettrainError."""
    kinds = str | os.PathLike if paths else str
    if isinstance(value, kinds):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes | np.ndarray):
        found = tuple(value)
        if all(isinstance(one, kinds) for one in found):
            return found
    raise _wrong(what, f"a list of {'paths' if paths else 'strings'}", value)


def whole(value: Any, what: str, least: int | None = None) -> int:
    """An integer, not below ``least``. Raises NettrainError."""
    try:
        number = operator.index(value)
    except TypeError:
        raise _wrong(what, "an integer", value) from None
    if isinstance(value, bool) or (least is not None and number < least):
        raise _wrong(what, "an integer" + (f" >= {least}" if least is not None else ""), value)
    return number


def a_function(value: Any, what: str) -> Any:
    """Something to be called, or None. Raises NettrainError."""
    if value is not None and not callable(value):
        raise _wrong(what, "a function", value)
    return value


def precision(value: Any) -> np.dtype:
    """float32 or float64. Raises NettrainError."""
    try:
        found = np.dtype("O" if value is None else value)
    except (TypeError, ValueError):
        found = np.dtype("O")
    if found not in (np.dtype("f4"), np.dtype("f8")):
        raise _wrong("dtype", "float32 or float64", value)
    return found


def numbers(values: Any, dtype: np.dtype, what: str) -> np.ndarray:
    """An array of numbers. Raises NettrainError for anything else, ShapeError for rows of different lengths."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ShapeError(f"{what} must be an array: its rows have different lengths") from None
    if array.dtype.kind not in "fiub":
        raise _wrong(what, "an array of numbers", values)
    with np.errstate(over="ignore"):  # an infinity then, which is found where it does harm
        return array.astype(dtype, copy=False)
