"""In which order the axes of images in arrays are, and noticing that they are not in the net's."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..spec.errors import NettrainError, format_shape
from .dataset import DataSet
from .npy import OnDisk

Layout = Literal["NCHW", "NHWC", "NHW"]
CHANNELS = (1, 3, 4)
SMALLEST = 8  # pixels of a side


def arranged(found: DataSet, layout: Layout | None) -> DataSet:
    """The set with images C x H x W, of H x W x C (NHWC) or H x W (NHW). Nothing is copied. Raises NettrainError for
    examples that are not so."""
    if layout in (None, "NCHW"):
        return found
    on_disk = isinstance(found.data, OnDisk)
    array = found.data.array if on_disk else found.data
    axes = 4 if layout == "NHWC" else 3
    if not isinstance(array, np.ndarray) or array.ndim != axes:
        raise NettrainError(
            f"layout {layout} needs arrays with {axes} axes, {found.origin} has {format_shape(found.data.shape)}",
            key="layout",
        )
    turned = array.transpose(0, 3, 1, 2) if layout == "NHWC" else array[:, None]
    return replace(found, data=OnDisk(turned) if on_disk else turned)


def noticed(found: DataSet) -> str:
    """A sentence on examples that seem to be images in another order than C x H x W, with the key that repairs it."""
    shape = tuple(found.data.shape[1:])
    is_bytes = getattr(found.data, "dtype", None) == np.uint8
    if len(shape) == 3 and shape[2] in CHANNELS[0 if is_bytes else 1 :] and shape[0] not in CHANNELS:
        if min(shape[:2]) >= SMALLEST:
            return f"{found.origin}: {format_shape(shape)} seem to be images with the channels last: layout: NHWC"
    elif len(shape) == 2 and is_bytes and min(shape) >= SMALLEST:
        return (
            f"{found.origin}: {format_shape(shape)} seem to be images without an axis of channels: layout: NHW adds it"
        )
    return ""
