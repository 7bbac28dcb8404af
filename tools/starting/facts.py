"""What a new spec must know of a person's data: what an example is, what is to be predicted, how many there are."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...data.dataset import UNDIVIDED, WHOLE, DataSet, some_of
from ...data.generators import Generate
from ...data.npy import holds_arrays
from ...data.one_hot import is_one_hot
from ...data.pictures.reading import find_pictures, heads_of
from ...data.sources import NAMED, find_file, load
from ...data.table import roles
from ...data.table.encoding import fit, width
from ...data.table.reading import is_table, read_table
from ...data.table.roles import Keys
from ...data.table.table import Column, Table
from ...interop.yaml_out import one_line
from ...spec.errors import NettrainError, format_shape

LOOKED_AT = 2000  # pictures or records, evenly spread
AREA, STEP = 64 * 64, 8  # pixels that pictures are brought to; sides are multiples of this
SMALL = 96  # a side up to which pictures that have one size keep it
FEW = 20  # different whole numbers that are classes rather than amounts
MOST_CLASSES = 1000
SPLIT = ("split: 0.2", "a fifth is kept for tests, always the same one")


@dataclass
class Facts:
    """``keys`` are lines of the Data layer, each with what it means; ``shape`` is that of an example.

    ``classes`` is how many there are, 0 where numbers are predicted: ``targets`` of them an example, whose mean and
    deviation are ``center`` and ``spread``. ``train`` counts the examples to train on; ``notes`` are for the person.
    """

    about: str
    keys: list[tuple[str, str]]
    shape: tuple[int, ...]
    train: int
    classes: int
    names: Sequence[str] = ()
    targets: int = 1
    center: float = 0.0
    spread: float = 1.0
    notes: list[str] = field(default_factory=list)


def look(source: str, folder: Path, label: str | None = None) -> Facts:
    """What there is to know of the data at ``source``, for a spec that will lie in ``folder``. Raises NettrainError."""
    path = Path(source) if source in NAMED else find_file(source, Path(), folders=True)
    if source in NAMED:
        name, kind = source, ""
    else:
        name = source.rstrip("/") or source
        name = name if os.path.isabs(name) else os.path.relpath(path, folder)
        is_folder = os.path.isdir(path)
        kind = "table" if not is_folder and is_table(path) else ""
        holds_others = is_folder and (os.path.exists(path / "data.mdb") or holds_arrays(path, "train"))
        if path.name.endswith(".tar") or (is_folder and not holds_others):
            kind = "pictures"
    if label is not None and kind != "table":
        raise NettrainError(f"--label names a column of a table, and {source} is none")
    facts = _of_table(path, label) if kind == "table" else _of_pictures(path) if kind else _of_arrays(source, path)
    facts.keys.insert(0, (f"source: {one_line(name)}", facts.about))
    return facts


# Tables


def _of_table(path: Path, label: str | None) -> Facts:
    """Rows of a table. Columns that cannot be features are dropped, gaps are filled, words become columns."""
    table = read_table(path, () if label is None else (label,))
    keys = Keys(label=None if label is None else (label,))
    (target,) = roles.find(table, keys).labels
    drop, why = _unusable(table, target)
    found = roles.find(table, Keys(label=keys.label, drop=tuple(map(str, drop))))
    features = [table.columns[i] for i in found.features]
    about = f"{len(table):,} rows of {len(table.columns)} columns"
    lines = [(f"label: {one_line(roles.key_of(table, target))}", "the column to be predicted")]
    if drop:
        lines.append((f"drop: {one_line(drop)}", f"left out: {'; '.join(why)}"))
    gaps = table.columns[target].gaps
    rows = len(table)
    if gaps.any():
        lines.append(("missing: drop", f"{int(gaps.sum()):,} rows have no label; rows with gaps are left out"))
        every = np.any([gaps, *(one.gaps for one in features)], axis=0)
        rows -= int(every.sum())
    elif with_gaps := [one.name for one in features if one.kind == "numbers" and one.gaps.any()]:
        lines.append(("missing: mean", f"gaps become the mean of the training rows: {_some(with_gaps)}"))
    if words := [one.name for one in features if one.kind == "words"]:
        lines.append(("categories: one_hot", f"a word becomes a 1 in a column of its own: {_some(words)}"))
    if len(words) < len(features):
        lines.append(("standardize: true", "numbers minus their mean, over their deviation"))
    lines.append(SPLIT)
    fitted = fit(table, found.features, keys, None)
    facts = Facts(
        about, lines, (sum(width(one, "one_hot") for one in fitted),), math.ceil(rows * 0.8), 0, notes=[*found.notes]
    )
    _predict_column(facts, table.columns[target])
    what = f"{facts.classes} classes" if facts.classes else "an amount"
    facts.notes.append(f"predicts {table.called(target)}: {what}" + ("" if label else "; another: --label COLUMN"))
    return facts


def _unusable(table: Table, target: int) -> tuple[list[str | int], list[str]]:
    """Columns that tell nothing about other rows, and why."""
    drop, why = list[str | int](), list[str]()
    for i, column in enumerate(table.columns):
        if i == target:
            continue
        if column.kind == "dates" or roles.differs_by_row(table, column):
            drop.append(roles.key_of(table, i))
            what = "dates" if column.kind == "dates" else f"{len(column.words):,} different words"
            why.append(f"{drop[-1]} has {what}")
    return drop, why


def _predict_column(facts: Facts, column: Column) -> None:
    if len(column.words if column.kind != "numbers" else np.unique(column.values[~column.gaps])) < 2:
        raise NettrainError(f"column `{column.name}`, the label, has one value; there is nothing to learn from it")
    if column.kind != "numbers":
        facts.classes, facts.names = len(column.words), column.words
        return
    _predict(facts, column.values[~column.gaps], certain=column.name.casefold() in ("label", "class", "target"))


def _predict(facts: Facts, values: np.ndarray, certain: bool) -> None:
    """Classes, or numbers with a mean and a deviation; ``certain`` where many whole numbers are classes too."""
    facts.classes = classes_in(values, certain)
    if not facts.classes:
        facts.targets = int(np.prod(values.shape[1:]))
        facts.center, facts.spread = float(values.mean()), float(values.std()) or 1.0


def classes_in(labels: np.ndarray, certain: bool) -> int:
    """How many classes labels count, from 0; 0 where they are amounts.

    Classes are whole numbers from 0 to 999, one an example; unless it is ``certain`` few different ones, of which most
    occur.
    """
    if labels.size != len(labels) or not len(labels):
        return 0
    distinct = np.unique(labels)
    if not np.isfinite(distinct).all() or (distinct != np.rint(distinct)).any():
        return 0
    low, high = int(distinct[0]), int(distinct[-1])
    if low < 0 or high >= MOST_CLASSES or high < 1:
        return 0
    return high + 1 if certain or (len(distinct) <= FEW and high < 2 * FEW) else 0


# Pictures


def _of_pictures(path: Path) -> Facts:
    """Pictures by class, at a size that a small net learns from quickly."""
    found = find_pictures(path, "train")
    if found.labels is None or len(found.classes) < 2:
        only = f"only the class `{found.classes[0]}`" if found.classes else "no classes"
        raise NettrainError(f"{path} has {only}; to be told apart there must be two, with a folder each")
    count = len(found.names)
    heads = heads_of(found, some_of(count, LOOKED_AT))
    whole, wrong = [head for head in heads if not head.wrong], [head.wrong for head in heads if head.wrong]
    if not whole:
        raise NettrainError(f"{path}: no picture can be read: {wrong[0]}")
    height, width_ = _size([head[:2] for head in whole])
    color = any(head.color for head in whole)
    is_whole = found.split == WHOLE
    sizes = sorted({head[:2] for head in whole}, key=lambda size: size[0] * size[1])
    between = format_shape(sizes[0]) + (f" to {format_shape(sizes[-1])}" if len(sizes) > 1 else "")
    keys = [
        (f"size: [{height}, {width_}]", f"height and width; now {between}"),
        (f"color: {one_line(color)}", "three channels: blue, green, red" if color else "one channel: they are grey"),
    ]
    if wrong:
        keys.append(("damaged: skip", f"{len(wrong)} cannot be read and are left out"))
    keys.append(
        ("transform: {mirror: true, mean_value: 128, scale: 0.0156}", "half of them flipped; 0 to 255 becomes -2 to 2")
    )
    if is_whole:
        keys.append(SPLIT)
    about = f"{count:,} pictures" + ("" if is_whole else " to train on")
    train = math.ceil(count * 0.8) if is_whole else count
    notes = [*found.remarks, *(f"cannot be read: {one}" for one in wrong[:5])]
    return Facts(
        about, keys, (3 if color else 1, height, width_), train, len(found.classes), found.classes, notes=notes
    )


def _size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size to bring pictures to: the one they all have, if it is small; else some 64 x 64 pixels in the shape that
    is most usual."""
    ((height, width_), count), *_ = Counter(sizes).most_common(1)
    if count == len(sizes) and max(height, width_) <= SMALL:
        return height, width_
    usual, across = (float(np.median([size[i] for size in sizes])) for i in (0, 1))
    shape = min(4.0, max(0.25, usual / across))
    area = min(AREA, usual * across)
    sides = math.sqrt(area * shape), math.sqrt(area / shape)
    tall, wide = (max(STEP, round(side / STEP) * STEP) for side in sides)
    return tall, wide


# Arrays


def _of_arrays(source: str, path: Path) -> Facts:
    """A named set, an .npz, IDX files or an LMDB."""
    found = load(source, "train", Path(), Generate())
    if found.labels is None:
        raise NettrainError(f"{source} has no labels, without which there is nothing to learn to predict")
    shape = tuple(map(int, found.data.shape[1:]))
    about = f"{len(found):,} examples of {format_shape(shape) or 'one number'}"
    values = np.asarray(found.data[np.array(some_of(len(found), LOOKED_AT))], float)
    mean, spread = float(values.mean()), float(values.std()) or 1.0
    keys = []
    if found.split == UNDIVIDED:
        keys.append(("backend: LMDB", "a folder with Caffe's records"))
    if abs(mean) > 0.5 or not 0.5 < spread < 2:
        what = f"values minus their mean, {mean:.3g}, over their deviation, {spread:.3g}"
        keys.append((f"transform: {{mean_value: {mean:.3g}, scale: {1 / spread:.3g}}}", what))
    is_one = found.split in (WHOLE, UNDIVIDED)
    if is_one:
        keys.append(SPLIT)
    facts = Facts(about, keys, shape, math.ceil(len(found) * 0.8) if is_one else len(found), 0, found.classes)
    labels = _labels(found)
    if is_one_hot(labels):
        keys.append(("one_hot: true", "a label is a 1 in the place of its class"))
        labels = labels.argmax(axis=1)
    _predict(facts, labels, certain=labels.dtype.kind in "iub")
    return facts


def _labels(found: DataSet) -> np.ndarray:
    if isinstance(found.labels, np.ndarray):
        return found.labels
    numbers = np.arange(len(found))
    return np.concatenate([np.asarray(found.labels[part]) for part in np.array_split(numbers, len(found) // 1000 + 1)])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
