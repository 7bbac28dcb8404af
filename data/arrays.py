"""One array in a file: a mean image, or a matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..files.arrays import open_npz, read_npy
from ..files.reading import open_file
from ..spec.errors import NettrainError
from .blob_file import is_blob, read_blob

Check = Callable[[tuple[int, ...]], None]  # raises NettrainError for a shape that does not fit


def read_mean(path: Path, check: Check | None = None) -> np.ndarray:
    """The one array of a .npy or .npz, as float32. Raises NettrainError when it is damaged or holds something else."""
    mean = read_array(path, "mean_file", check)
    with np.errstate(over="ignore", invalid="ignore"):  # an infinity then, which is found where it does harm
        return mean.astype(np.float32)


def read_array(path: Path, what: str, check: Check | None = None) -> np.ndarray:
    """The array of numbers of an .npy or .binaryproto, or the only one of an .npz. What ``check`` rejects is not read.

    Raises NettrainError when it is damaged, holds no numbers or has several.
    """

    def check_head(shape: tuple[int, ...], dtype: np.dtype) -> None:
        if dtype.kind not in "fiub":
            raise NettrainError(f"{what} {path} must hold numbers, but it holds {dtype}")
        if check is not None:
            check(shape)

    if is_blob(_head(path)):
        array = read_blob(path, what)
        if check is not None:
            check(array.shape)
        return array
    if path.suffix != ".npz":
        return read_npy(path, what, check_head)
    with open_npz(path, what) as archive:
        if len(archive) != 1:
            raise NettrainError(f"{what} {path} must hold one array, but it has {', '.join(archive) or 'none'}")
        (stored,) = archive.values()
        check_head(stored.shape, stored.dtype)
        return stored.read()


def _head(path: Path) -> bytes:
    """The first bytes of a file; none where it cannot be read, which whoever reads it says."""
    try:
        with open_file(path) as file:
            return file.read(2)
    except OSError:
        return b""
