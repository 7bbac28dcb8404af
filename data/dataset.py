"""DataSet: examples and their labels."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files.reading import open_file, size_of
from ..spec.errors import NettrainError

CHUNK = 1 << 22  # bytes digested at a time
PIECE = 1 << 17  # values that are looked through at a time: they fit into a processor's cache
SOME = 64  # examples
FIRST = 1 << 16  # bytes of a file
# what files of arrays may call the examples, and their labels
EXAMPLES, LABELS = ("data", "x", "X", "images"), ("label", "labels", "y", "Y", "target", "targets")
WHOLE, UNDIVIDED = "whole", "undivided"


@dataclass(frozen=True)
class DataSet:
    """``data`` is N x (shape of an example), in the file's own dtype; ``labels`` N x …, or None.

    ``origin`` is what messages call it, ``split`` whether it is the ``train`` or ``test`` part, ``whole``, which is
    divided unless a spec says otherwise, or ``undivided`` as Caffe's databases. ``others`` are further arrays with a
    row for each example, by name. What is not in memory has a shape and takes an array of numbers of examples:
    ``data[indices]``. ``classes`` are the names of the classes that labels count, if they have some; ``names`` what
    each example is called, such as a file; ``rows`` the numbers that the examples of a part have in the whole set, None
    for a whole one. ``remark`` is what a person should know of the whole set.
    """

    data: Any
    labels: Any
    origin: str
    split: str = WHOLE
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    names: Sequence[str] | None = None
    rows: np.ndarray | None = None
    remark: str = ""

    def __post_init__(self) -> None:
        check_counts(self.origin, len(self.data), None if self.labels is None else len(self.labels))

    def __len__(self) -> int:
        return len(self.data)

    def number_of(self, i: int) -> int:
        """The number of example ``i`` in the whole set."""
        return i if self.rows is None else int(self.rows[i])

    def name_of(self, i: int) -> str:
        """What example ``i`` is called: its file, or its number in the whole set, counted from 0."""
        number = self.number_of(i)
        return self.names[number] if self.names is not None else f"{number:,}"

    def unreadable(self, i: int) -> str:
        """Why example ``i`` could not be read, once it was asked for; nothing when it could."""
        return getattr(self.data, "unreadable", {}).get(i, "")

    def part(self, rows: np.ndarray, split: str) -> DataSet:
        """The examples with these numbers. What is in memory is copied, all else is read when it is asked for."""
        return DataSet(
            some_rows(self.data, rows),
            None if self.labels is None else some_rows(self.labels, rows),
            self.origin,
            split,
            _OthersOfPart(self.others, rows),
            self.classes,
            self.names,
            rows if self.rows is None else self.rows[rows],
            self.remark,
        )

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What tells this set from another of the same name, as JSON data: the number and shape of the examples, and a
        digest of examples and labels. Computed once: the arrays of a set do not change."""
        arrays = [self.data, self.labels]
        kind = str(self.data.dtype) if isinstance(self.data, np.ndarray) else "records"
        return {
            "examples": len(self),
            "shape": list(map(int, self.data.shape[1:])),
            "kind": kind,
            "contents": digest_of(*(array for array in arrays if array is not None)),
        }


def some_rows(array: Any, rows: np.ndarray) -> Any:
    """The rows with these numbers: a copy of what is in memory, and of what is not, something that reads them then."""
    in_memory = isinstance(array, np.ndarray) and not isinstance(array, np.memmap)
    return array[rows] if in_memory else Rows(array, rows)


class Rows:
    """Some rows of what is not in memory, in an order."""

    def __init__(self, of: Any, rows: np.ndarray):
        self.of, self.rows = of, rows
        self.shape, self.dtype = (len(rows), *of.shape[1:]), getattr(of, "dtype", None)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.of[self.rows[indices]]

    def of_any_size(self, indices: np.ndarray, check: SizeCheck | None = None) -> Any:
        return of_any_size(self.of, self.rows[indices], check)

    def expect(self, indices: np.ndarray) -> None:
        """These are asked for next: what can read ahead is told."""
        if hasattr(self.of, "expect"):
            self.of.expect(self.rows[indices])

    @property
    def digest(self) -> str:
        return f"{getattr(self.of, 'digest', self.of.shape)} {digest_of(self.rows)}"


SizeCheck = Callable[[tuple[int, ...]], None]  # raises NettrainError for a shape that is not wanted


def of_any_size(data: Any, indices: np.ndarray, check: SizeCheck | None = None) -> Any:
    """Examples with these numbers, as an array, or as a list of arrays where images have sizes of their own, as in an
    LMDB. The shapes of those are handed to ``check``. ``data[indices]`` refuses several sizes."""
    return data.of_any_size(indices, check) if hasattr(data, "of_any_size") else data[indices]


def by_size(examples: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What ``of_any_size`` gave as arrays, each of one shape, with the places in the order that was asked for."""
    if isinstance(examples, np.ndarray):
        yield np.arange(len(examples)), examples
        return
    places: dict[tuple[int, ...], list[int]] = {}
    for k, example in enumerate(examples):
        places.setdefault(example.shape, []).append(k)
    for some in places.values():
        yield np.array(some), np.stack([examples[k] for k in some])


def whole(data: Any) -> Any:
    """The examples that these are some of, or all."""
    while isinstance(data, Rows):
        data = data.of
    return data


class _OthersOfPart(Mapping[str, np.ndarray]):
    """Further arrays of a part, each made when it is asked for."""

    def __init__(self, of: Mapping[str, np.ndarray], rows: np.ndarray):
        self.of, self.rows = of, rows
        self.made: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.made:
            self.made[name] = some_rows(self.of[name], self.rows)
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.of)

    def __len__(self) -> int:
        return len(self.of)


def check_counts(origin: str, examples: int, labels: int | None) -> None:
    """Raise NettrainError unless there are examples, and as many labels if there are any."""
    if examples == 0:
        raise NettrainError(f"{origin} holds no examples", key="source")
    if labels is not None and labels != examples:
        raise NettrainError(f"{origin} holds {examples:,} examples but {labels:,} labels", key="source")


def not_finite(array: np.ndarray, dtype: np.dtype) -> tuple[int, ...] | None:
    """The place of the first value that is not a finite number in ``dtype``, which may hold less; None without one."""
    if array.dtype.kind != "f" or not array.size:
        return None
    limit = min(float(np.finfo(kind).max) for kind in (array.dtype, dtype))
    step = max(1, PIECE * len(array) // array.size)
    for start in range(0, len(array), step):
        piece = array[start : start + step]
        if not (piece.min() >= -limit and piece.max() <= limit):  # NaN is neither
            first, *rest = np.argwhere(~((piece >= -limit) & (piece <= limit)))[0].tolist()
            return (start + first, *rest)
    return None


def bad_value(what: str, array: np.ndarray, at: tuple[int, ...], example: int) -> NettrainError:
    """An error for a value of an example's array that is not finite, with its place; ``what`` is ``FILE: `NAME```."""
    value, (_, *inside) = array[at], at
    place = f" in column {inside[0]:,}" if len(inside) == 1 else f" at {tuple(inside)}" if inside else ""
    counted = "both counted" if len(inside) == 1 else "all counted" if inside else "counted"
    why = "every value must be finite" if not np.isfinite(value) else "that is more than the net's numbers can hold"
    return NettrainError(f"{what} of example {example:,} holds {value:g}{place}, {counted} from 0; {why}", key="source")


def digest(parts: Iterable[Any]) -> str:
    """A short digest of bytes, or of contiguous arrays."""
    made = hashlib.blake2b(digest_size=8)
    for part in parts:
        made.update(part)
    return made.hexdigest()


def digest_of(*arrays: Any) -> str:
    """A short digest of the kinds and contents of arrays."""
    return digest(chunk for array in arrays for chunk in _chunks(array))


def some_of(count: int, most: int = SOME) -> list[int]:
    """At most so many numbers of examples, evenly spread: what stands for a set that is too large to be read."""
    return np.linspace(0, count - 1, min(count, most)).astype(int).tolist()


def beginning_of(path: Path) -> bytes:
    """A file's size and first bytes, for a digest; nothing of one that cannot be read."""
    with contextlib.suppress(OSError), open_file(path) as file:
        return f"{size_of(file)} ".encode() + file.read(FIRST)
    return b""


def _chunks(array: Any) -> Iterable[Any]:
    """An array's kind and contents, in pieces; of what is not in memory what it gives as ``digest``."""
    if not isinstance(array, np.ndarray):
        yield getattr(array, "digest", str(array.shape)).encode()
        return
    yield f"{array.dtype.str} {array.shape}".encode()
    rows = max(1, CHUNK * len(array) // max(1, array.nbytes))
    for i in range(0, len(array) if array.nbytes else 0, rows):
        yield np.ascontiguousarray(array[i : i + rows]).view(np.uint8)
