"""Parameters in files: named ``param/LAYER/INDEX``, matched by layer name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..files.arrays import open_npz
from ..spec.errors import NettrainError, format_shape
from .blob import Blob
from .records import NetSpec
from .registry import other_programs, runs

Strict = Literal["none", "shapes", "all"]
Params = Mapping[str, list[Blob]]  # layer name -> its parameter blobs
Arrays = Mapping[str, Any]  # in memory, or in a file of which the needed ones are read (Stored, Borrowed)


@dataclass
class Borrowed:
    """An array that lies in a file, open as memory. ``forget`` is called when it has been copied.

    ``is_legacy``: its shape has four axes, as older Caffes wrote, of which the first may be too many.
    """

    array: np.ndarray
    forget: Callable[[np.ndarray], None] | None = None
    is_legacy: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.array(self.array, dtype, copy=copy)
        if copy and self.forget is not None:
            self.forget(self.array)
        return array


def has_shape(stored: Any, shape: tuple[int, ...]) -> bool:
    """Whether an array of a file is one of this shape, as Caffe compares them."""
    if getattr(stored, "is_legacy", False) and len(shape) <= 4:
        return stored.shape == (1,) * (4 - len(shape)) + shape
    return stored.shape == shape


def file_of(path: str | Path) -> Path:
    """The file of weights that is meant: of a run its best snapshot, or else its newest. Raises NettrainError."""
    return runs().weights_file(Path(path))


@contextlib.contextmanager
def open_parameters(path: Path, what: str, spec: NetSpec | None = None) -> Iterator[Arrays]:
    """The arrays of a file by name, ``param/LAYER/INDEX``, while it is open: an .npz, or a file of another program; of
    a run, those of ``file_of``.

    With a ``spec`` those that other nets keep in other layers have the names that its layers give them. Raises
    NettrainError when the file is missing or damaged.
    """
    path, weights = file_of(path), other_programs("weights")
    with weights.open_weights(path, what) or open_npz(path, what) as arrays:
        yield arrays if spec is None else weights.for_net(arrays, spec)


@dataclass
class LoadReport:
    """What ``assign`` did, by layer name."""

    origin: str = ""
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # in the net, not in the file
    ignored: list[str] = field(default_factory=list)  # in the file, not in the net
    wrong_shape: dict[str, str] = field(default_factory=dict)  # in both, and how they differ

    def rows(self) -> list[list[str]]:
        """Each layer and what became of it."""
        rows = [[name, "loaded"] for name in self.loaded]
        rows += [[name, f"wrong shape, left as initialised: {how}"] for name, how in self.wrong_shape.items()]
        rows += [[name, "missing from the file, left as initialised"] for name in self.missing]
        return rows + [[name, "skipped: not in the net"] for name in self.ignored]


def arrays(params: Params) -> dict[str, np.ndarray]:
    """The parameters as files hold them."""
    return {f"param/{name}/{i}": blob.data for name, blobs in params.items() for i, blob in enumerate(blobs)}


def assign(params: Params, arrays: Arrays, origin: str, strict: Strict = "shapes") -> LoadReport:
    """Copy arrays into the parameters of the layers they are named after.

    Nothing is changed unless all of it fits; see ``fit`` for the errors.
    """
    report, found = fit(params, arrays, origin, strict), by_layer(arrays)
    values = {  # all must be readable before any is taken
        name: [_as(blob.dtype, array, name, origin) for blob, array in zip(params[name], found[name], strict=True)]
        for name in report.loaded
    }
    for name in report.loaded:
        for blob, array, stored in zip(params[name], values[name], found[name], strict=True):
            _copy(array.reshape(blob.shape), blob.data, getattr(stored, "forget", None))
    return report


PIECE = 1 << 22  # values of a file that are in memory at a time, beside those of the net


def _pieces(array: np.ndarray) -> Iterator[slice]:
    return (slice(start, start + PIECE) for start in range(0, array.size, PIECE))


def _copy(array: np.ndarray, into: np.ndarray, forget: Callable[[np.ndarray], None] | None) -> None:
    """Take over values; those that lie in a file do so in pieces, so that not all of it is in memory."""
    if forget is None or not (array.flags.c_contiguous and into.flags.c_contiguous):
        into[...] = array
        return
    for piece in _pieces(array):
        values = array.reshape(-1)[piece]
        into.reshape(-1)[piece] = values
        forget(values)


def _as(dtype: np.dtype, stored: Any, name: str, origin: str) -> np.ndarray:
    """The array of a file, in the net's precision unless it stays in the file.

    Raises NettrainError for a number too large for it.
    """
    array, forget = np.asarray(stored), getattr(stored, "forget", None)
    if array.dtype == dtype:
        return array
    converted = np.empty(array.shape if forget is None else (), dtype)
    for piece in _pieces(array):
        values = array.reshape(-1)[piece]
        with np.errstate(over="ignore", invalid="ignore"):
            made = values.astype(dtype)
        if np.isinf(made).any() and np.isinf(made).sum() > np.isinf(values).sum():
            raise NettrainError(f"{origin}: layer `{name}` holds numbers beyond what {dtype} can hold")
        if forget is None:
            converted.reshape(-1)[piece] = made
        else:
            forget(values)
    return converted if forget is None else array


def fit(params: Params, arrays: Arrays, origin: str, strict: Strict = "shapes") -> LoadReport:
    """What ``assign`` would do. ``origin`` is what messages call the file.

    Raises NettrainError when no layer has a name of the file's, and for what ``strict`` does not allow: ``shapes``
    other shapes, ``all`` layers that only the net or only the file has too.
    """
    found = by_layer(arrays)
    if not found:
        some = ", ".join(list(arrays)[:5]) or "nothing"
        raise NettrainError(
            f"{origin} holds no parameters of a net (it has {some}); those are called param/LAYER/INDEX"
        )
    report = LoadReport(origin, ignored=[name for name in found if name not in params])
    for name, blobs in params.items():
        if name not in found:
            report.missing.append(name)
            continue
        if len(found[name]) != len(blobs) or not all(map(has_shape, found[name], [blob.shape for blob in blobs])):
            here, there = (", ".join(format_shape(x.shape) for x in side) for side in (blobs, found[name]))
            report.wrong_shape[name] = f"blobs of {there} in the file and {here} in the net"
            continue
        if any(array.dtype.kind not in "fiub" for array in found[name]):
            raise NettrainError(f"{origin}: layer `{name}` holds values in the file that are not numbers")
        report.loaded.append(name)
    wrong = [f"layer `{name}` has {how}" for name, how in report.wrong_shape.items()] if strict != "none" else []
    if strict == "all":
        wrong += [f"layer `{name}` of the net is not in the file" for name in report.missing]
        wrong += [f"layer `{name}` of the file is not in the net" for name in report.ignored]
    if wrong:
        hint = "a layer with another name is skipped" if strict == "shapes" else "allowed unless weights_strict is all"
        raise NettrainError(f"{origin}: " + "\n   ".join(wrong) + f"; {hint}")
    if not report.loaded:
        names = f"file: {', '.join(found)}; net: {', '.join(params)}"
        message = (
            f"no layer of the file has the name of one in the net ({names}); a layer takes the weights of its name"
        )
        raise NettrainError(f"{origin}: {message}")
    return report


def by_layer(arrays: Arrays) -> dict[str, list]:
    """The arrays ``param/LAYER/INDEX`` as a list for each layer, by their numbers; no other is looked at."""
    found: dict[str, dict[int, str]] = {}
    for key in arrays:
        kind, _, rest = key.partition("/")
        name, _, index = rest.rpartition("/")
        if kind == "param" and index.isascii() and index.isdigit() and len(index) < 6:
            found.setdefault(name, {})[int(index)] = key
    return {name: [arrays[keys[i]] for i in sorted(keys)] for name, keys in found.items()}
