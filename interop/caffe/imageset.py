"""Pictures as an LMDB of Datum records, and mean images: convert_imageset and compute_image_mean of Caffe."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...data.dataset import DataSet, Rows
from ...data.generators import Generate
from ...data.image_list import read_list
from ...data.images import decode, find_image
from ...data.pictures.folder import Found, parts_of
from ...data.pictures.reading import Look, Pictures, read_pictures, set_of
from ...data.sources import NAMED, find_file, load
from ...files.extras import extra
from ...files.reading import read_bytes
from ...files.writing import write_atomically
from ...net.fillers import stream
from ...spec.errors import NettrainError, format_shape, why
from . import binary
from .lmdb_out import datum, write_records
from .message import message

AT_ONCE = 64  # pictures decoded at a time
MOST_OF_A_KEY = 500  # bytes, of LMDB's 511


@dataclass(frozen=True)
class Job:
    """What to make of the pictures at ``source``: an LMDB ``to``, a ``mean`` image, or both."""

    source: str
    to: str | None = None
    mean: str | None = None
    encoded: bool = False
    resize: tuple[int, int] | None = None
    gray: bool = False
    damaged: Any = "refuse"
    shuffle: bool = True
    seed: int = 0
    force: bool = False


@dataclass
class Made:
    """What was written, of how many examples, with which classes; ``notes`` are for the person."""

    written: list[str] = field(default_factory=list)
    examples: dict[str, int] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict:
        """The same as data."""
        return asdict(self)

    def report(self) -> str:
        """A line for each file."""
        return "\n".join(
            f"wrote {name}" + (f": {self.examples[name]:,} records" if name in self.examples else "")
            for name in self.written
        )


def make(job: Job) -> Made:
    """Write an LMDB of the pictures in a folder for each class, a .tar, or a list of ``FILE LABEL``.

    Labels are the numbers of the classes, whose names are in ``classes.txt`` beside the records. Where train and val or
    test stand above the classes, there is an LMDB for each. The mean is that of the examples to train on, of which any
    data set may have one. Raises NettrainError.
    """
    made = Made()
    if job.mean is not None and not job.mean.endswith((".npy", ".binaryproto")):
        raise NettrainError(f"--mean {job.mean}: the name must end in .npy or .binaryproto")
    if job.mean is not None and os.path.lexists(job.mean) and not job.force:
        raise NettrainError(f"{job.mean} is there already; to write over it: --force")
    path = None if job.source in NAMED else find_file(job.source, Path(), folders=True)
    if path is not None and _is_of_pictures(path):
        found = _pictures(job, path)
    elif job.to is not None:
        raise NettrainError(
            f"{job.source} holds no pictures; --to takes a folder for each class, a .tar, or a list of FILE LABEL"
        )
    else:
        found = {"": load(job.source, "train", Path(), Generate())}
    if job.to is not None:
        for name, one in found.items():
            folder = Path(job.to) / name
            _write(job, one, folder)
            made.written.append(str(folder))
            made.examples[str(folder)] = len(one)
            made.classes = list(one.classes)
            made.notes += [one.remark] if one.remark else []
    if job.mean is not None:
        _write_mean(Path(job.mean), mean_of(next(iter(found.values()))))
        made.written.append(job.mean)
    return made


def _is_of_pictures(path: Path) -> bool:
    if os.path.isdir(path):
        return not os.path.exists(path / "data.mdb")
    return path.name.endswith((".tar", ".txt", ".lst"))


def _pictures(job: Job, path: Path) -> dict[str, DataSet]:
    """The pictures of each part, by its name; of a source without parts with an empty one."""
    by = "their height and width, such as --resize 48 64"
    look = Look(job.resize, False if job.gray else None, job.damaged, cache=0, size_by=by)
    if os.path.isdir(path) and (parts := parts_of(path)):
        train = read_pictures(path, "train", look)
        found = {parts["train"]: train}
        if len(parts) > 1:
            other = parts.get("val") or parts["test"]
            found[other] = read_pictures(path, "test", look, train.classes)
        return found
    if os.path.isdir(path) or path.name.endswith(".tar"):
        return {"": read_pictures(path, "train", look)}
    files, labels, _ = read_list(path)
    listed = Found(str(path), files, labels, lambda i: find_image(files[i], "", path, Path()), path, files=[path])
    return {"": set_of(listed, look)}


def _write(job: Job, found: DataSet, folder: Path) -> None:
    if not os.path.isdir(folder.parent):
        os.makedirs(folder.parent, exist_ok=True)
    write_records(folder, _records(job, found), job.force)
    if found.classes:
        _put(folder / "classes.txt", "".join(f"{name}\n" for name in found.classes).encode(errors="surrogateescape"))


def _records(job: Job, found: DataSet) -> Iterator[tuple[bytes, bytes]]:
    """Keys as Caffe's, with the place and the name, and records in their order."""
    order = np.arange(len(found))
    if job.shuffle:
        order = stream(job.seed, "convert_imageset").permutation(order)
    for start in range(0, len(order), AT_ONCE):
        numbers = order[start : start + AT_ONCE]
        for k, (i, pixels) in enumerate(zip(numbers.tolist(), found.data[numbers], strict=True)):
            label = None if found.labels is None else int(found.labels[i])
            name = found.name_of(i).encode(errors="surrogateescape")
            record = _encoded(found, i, pixels, label) if job.encoded else datum(pixels, label)
            yield f"{start + k:08d}_".encode() + name[-MOST_OF_A_KEY:], record


def _encoded(found: DataSet, i: int, pixels: np.ndarray, label: int | None) -> bytes:
    """A record with an image file: the picture's own, where it gives these very pixels, or else a PNG."""
    library = extra("PIL.Image", "images", "encoding pictures")
    data, number = found.data, i
    while isinstance(data, Rows):
        data, number = data.of, int(data.rows[number])
    assert isinstance(data, Pictures)
    source = data.found.source(number)
    content = source if isinstance(source, bytes) else read_bytes(source)
    own = decode(content, found.name_of(i), color=None)
    if not np.array_equal(own, pixels):
        file = io.BytesIO()
        rows = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0))
        library.fromarray(rows).save(file, "PNG")
        content = file.getvalue()
    channels, height, width = map(int, pixels.shape)
    made = message("Datum", channels=channels, height=height, width=width, data=content, encoded=True)
    if label is not None:
        made.add("label", label)
    return b"".join(binary.write(made))


def mean_of(found: DataSet) -> np.ndarray:
    """The mean of all examples, C x H x W, added up in double precision. Raises NettrainError for what is no image."""
    shape = found.data.shape[1:]
    if len(shape) != 3:
        raise NettrainError(f"{found.origin} has examples of {format_shape(shape)}; a mean image is of C x H x W")
    total = np.zeros(shape)
    for start in range(0, len(found), AT_ONCE):
        total += np.asarray(found.data[np.arange(start, min(start + AT_ONCE, len(found)))]).sum(axis=0, dtype=float)
    return (total / len(found)).astype(np.float32)


def _write_mean(path: Path, mean: np.ndarray) -> None:
    if path.suffix == ".npy":
        file = io.BytesIO()
        np.lib.format.write_array(file, mean, allow_pickle=False)
        _put(path, file.getvalue())
        return
    channels, height, width = map(int, mean.shape)
    blob = message("BlobProto", num=1, channels=channels, height=height, width=width)
    blob.add("data", mean.reshape(-1))
    _put(path, b"".join(binary.write(blob)))


def _put(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, partial(_fill, content))
    except OSError as error:
        raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None


def _fill(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
