"""A table as the source of Data: what is fitted to its training rows, and given again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data.dataset import DataSet
from ...data.given import files_in
from ...data.kinds import other_kind
from ...data.layout import arranged
from ...data.one_hot import counted
from ...data.pictures.decoding import is_picture
from ...data.sources import find_file, load
from ...data.table.given import table_of
from ...data.table.reading import read_table
from ...data.table.roles import Keys
from ...data.table.sets import fitted, given_set, in_numbers, is_table, label_names
from ...spec.errors import NettrainError, WrongKindError
from .given import set_given

SHOWN = 20  # columns in a message


def keys_of(p: Any) -> Keys:
    """What the parameters of a Data layer say of a table's columns."""
    old = p.label_column is not None
    return Keys(
        label=(str(p.label_column),) if old else None if p.label is None else tuple(map(str, p.label)),
        label_key="label_column" if old else "label",
        features=None if p.features is None else tuple(map(str, p.features)),
        drop=tuple(map(str, p.drop)),
        categories=p.categories,
        missing=p.missing,
        standardize=p.standardize,
        group=None if p.split is None or p.split.group is None else str(p.split.group),
    )


class ColumnsOf:
    """Reads the source of a Data layer, or what a program gives it. ``found`` is the whole set; of a table its columns,
    until ``in_numbers`` is told which of its rows the layer reads. ``fitted`` is then what belongs to the run, nothing
    of what is no table; ``notes`` say what became of columns."""

    def __init__(self, layer: Any, split: str):
        p = layer.p
        self.layer, self.split, self.keys = layer, split, keys_of(p)
        self.known: Mapping[str, Any] | None = layer.fitted.get("table")
        if self.known is None and split == "test" and p.source.train != p.source.test:
            training = self._load("train")
            self.known = fitted(training) if is_table(training) else None
        self.found = self._load(split)
        self.fitted: dict[str, Any] = {}
        self.notes: list[str] = []

    def _load(self, split: str) -> DataSet:
        p, folder = self.layer.p, self.layer.folder
        if self.layer.given is not None:
            return self._with_classes(arranged(set_given(self.layer.given, split), p.layout))
        source, classes = getattr(p.source, split), self.layer.classes_to_count(split)
        found = load(source, split, folder, p.generate, self.keys, p.backend, self.known, p.look, classes)
        if not is_table(found) and self.keys.said:
            raise NettrainError(f"{found.origin} is not a table, which `{self.keys.said}` is for", key=self.keys.said)
        return self._with_classes(arranged(found, p.layout))

    def _with_classes(self, found: DataSet) -> DataSet:
        """The set, with classes for labels that are one-hot."""
        if not self.layer.p.one_hot:
            return found
        return counted(found, label_names(found) if is_table(found) else ())

    def in_numbers(self, part: DataSet) -> DataSet:
        """The part of the set that the layer reads, as numbers."""
        if not is_table(part):
            return part
        if self.known is None:
            self.known = fitted(part if self.split == "train" else self.layer.divided(self.found, "train"))
        self.fitted = {"table": dict(self.known)}
        made, self.notes = in_numbers(part, self.known, self.layer.dtype)
        return made


def _is_no_table(file: str | os.PathLike[str]) -> bool:
    """Whether a file, or folder, is known to be something else."""
    name = os.fspath(file)
    return os.path.isdir(name) or is_picture(name) or bool(other_kind(Path(name), "table", "Parquet"))


def given_columns(given: Any, folder: Path, known: Mapping[str, Any], dtype: np.dtype) -> tuple[DataSet, str]:
    """What a trained net is given: a file, rows of values in the order of the features, or a table of columns; and a
    note on what training did not have. Raises NettrainError."""
    if (files := files_in(given)) is not None:
        if all(map(_is_no_table, files)):
            names = [one["name"] for one in known["columns"]]
            columns = ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
            raise WrongKindError(
                f"{files[0]}: this net predicts from tables (.csv, .tsv, .parquet) with the columns {columns}"
            )
        if len(files) > 1:
            raise NettrainError("tables are read one by one")
        path = Path(files[0]) if os.path.exists(files[0]) else find_file(files[0], folder)
        table = read_table(path, tuple(one["name"] for one in known["columns"]))
    else:
        table = table_of(given, [one["name"] for one in known["columns"]])
    found, notes = given_set(table, known, dtype)
    return found, "; ".join(notes)
