"""What layers share that are given their rows where a net serves: arrays, or files that hold them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data.dataset import WHOLE, DataSet
from ...data.given import file_in, rows_of_numbers
from ...data.sources import find_file
from ...files.arrays import open_npz, read_npy
from ...net.layer import Layer
from ...spec.errors import NettrainError, ShapeError, format_shape

Rows = dict[str, np.ndarray]  # of a top


class TakesRows(Layer):
    """A layer whose tops may be given, rows for each that is wanted; batches of them come in order.

    A type says in ``row_shape`` what a row must be, calls ``take`` in ``read_given`` and ``next_rows`` in a pass.
    """

    can_be_given = True
    rows: Rows | None = None
    at = 0

    def row_shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a row of this top; None where any will do."""
        return None

    def read_given(self, given: Any) -> None:
        self.take(rows_of(given, self.wanted, self.folder))

    def take(self, rows: Rows) -> None:
        """Use these rows. Raises ShapeError for some of another shape, NettrainError for different numbers of them."""
        counts = {name: len(array) for name, array in rows.items()}
        for name, array in rows.items():
            wanted = self.row_shape(name)
            if wanted is not None and array.shape[1:] != wanted:
                raise ShapeError(
                    f"examples for `{name}` must be N x {format_shape(wanted)}, got {format_shape(array.shape)}"
                )
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            raise NettrainError(f"every top needs the same number of rows, got {said}")
        self.rows, self.at, self.pass_size = rows, 0, next(iter(counts.values()))
        if not self.pass_size:
            raise NettrainError("there are no examples to predict")

    def next_rows(self, top: Sequence[Any]) -> None:
        """Fill the tops with the next batch, the last one shorter; zeros where nothing is wanted."""
        assert self.rows is not None
        here = slice(self.at, self.at + max(1, self.batch_size))
        self.batch_count = len(next(iter(self.rows.values()))[here])
        self.first, self.at = self.at, self.at + self.batch_count
        for name, blob in zip(self.top_names, top, strict=True):
            if name in self.rows:
                values = self.rows[name][here]
                blob.reshape(values.shape)
                with np.errstate(over="ignore", invalid="ignore"):  # an infinity then, and what it leads to
                    np.copyto(blob.data, values)
            else:
                blob.data.fill(0)

    def start_pass(self) -> None:
        super().start_pass()
        self.at = 0

    def name_of(self, k: int) -> str:
        return f"{self.first + k:,}" if self.rows is not None else super().name_of(k)


def rows_of(given: Any, wanted: Sequence[str], folder: Path) -> Rows:
    """The arrays of the wanted tops: an array for the only one, a mapping, or an .npz or .npy. Raises NettrainError."""
    if (file := file_in(given)) is not None:
        path = find_file(file, folder)
        if path.suffix == ".npy":
            return {_only(wanted, path.name): read_npy(path, "data file")}
        with open_npz(path, "data file") as archive:
            if len(wanted) == 1 and len(archive) == 1:
                return {wanted[0]: next(iter(archive.values())).read()}
            if lacking := [name for name in wanted if name not in archive]:
                has = ", ".join(archive) or "nothing"
                raise NettrainError(f"{path} has no array {', '.join(f'`{n}`' for n in lacking)}; it has {has}")
            return {name: archive[name].read() for name in wanted}
    if isinstance(given, Mapping):
        return {name: array_of(given[name], name) for name in wanted}
    name = _only(wanted, "one array")
    return {name: array_of(given, name)}


def array_of(given: Any, name: str) -> np.ndarray:
    """What is given as an array of numbers with a row for each example. Raises NettrainError."""
    array = rows_of_numbers(given)
    if array is None:
        raise NettrainError(f"examples for `{name}` must be an array of numbers with a row for each")
    return array


def set_given(given: Any, split: str) -> DataSet:
    """A set from a program's arrays: ``data`` and ``label`` with the rest by name, for both phases or those of one
    under ``train`` and ``test``; or a DataSet. Raises NettrainError."""
    if isinstance(given, Mapping) and split in given:
        given = given[split]
    elif not isinstance(given, DataSet):
        split = WHOLE
    if isinstance(given, DataSet):
        return given
    if not isinstance(given, Mapping) or "data" not in given:
        raise NettrainError("what is given must be a mapping with `data`, and with `label` where labels are read")
    arrays = {name: array_of(array, name) for name, array in given.items()}
    return DataSet(arrays.pop("data"), arrays.pop("label", None), "the arrays", split, others=arrays)


def further_given(found: DataSet, name: str, wanted: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    """The array of a set for a further top; where the top is not read, zeros of this shape that take no memory.

    Raises NettrainError when there is none of that name.
    """
    if name not in wanted:
        return np.broadcast_to(np.zeros((), np.float32), (len(found), *shape))
    if name not in found.others:
        has = ", ".join(found.others) or "none"
        raise NettrainError(f"the net also reads `{name}`: {found.origin} has no array of that name; it has {has}")
    return found.others[name]


def _only(wanted: Sequence[str], what: str) -> str:
    if len(wanted) != 1:
        raise NettrainError(f"this net reads {', '.join(wanted)}: give an array for each, by name; {what} is one")
    return wanted[0]
