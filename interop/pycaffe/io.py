"""``caffe.io``: images as arrays, what is done to them before a net sees them, and messages as arrays.

Images are H x W x C, float32; ``load_image`` gives red, green, blue from 0 to 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...data.images import decode
from ...spec.errors import NettrainError, did_you_mean
from .proto import caffe_pb2

GREY = np.array([0.0721, 0.7154, 0.2125], np.float32)  # of blue, green and red, as pycaffe weighs them


def load_image(filename: str | Path | BinaryIO, color: bool = True) -> np.ndarray:
    """An image file, or an open one, as H x W x 3 (red, green, blue), or H x W x 1 in grey; values from 0 to 1.

    Raises NettrainError when it cannot be read.
    """
    source = Path(filename) if isinstance(filename, str | os.PathLike) else filename.read()
    pixels = decode(source, "the image" if isinstance(source, bytes) else str(filename), color=True if color else None)
    pixels = np.asarray(pixels, np.float32)
    if not color and len(pixels) == 3:
        pixels = np.tensordot(GREY, pixels, 1)[None]
    return np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0)) / 255


def resize_image(im: np.ndarray, new_dims: Sequence[int] | np.ndarray, interp_order: int = 1) -> np.ndarray:
    """An image (H x W x C) at another height and width, float32: by the nearest pixel (``interp_order`` 0) or linearly
    (1). Nothing is averaged where it becomes smaller.

    As in pycaffe, pictures of 1 or 3 channels are interpolated between the centres of pixels, and what lies around them
    is their smallest value; arrays of other channels have their corners on corners. Raises NettrainError for other
    orders.
    """
    if interp_order not in (0, 1):
        raise NettrainError(f"interp_order must be 0 (nearest) or 1 (linear), got {interp_order}")
    result = np.array(im, np.float32)
    outside, is_picture = result.min(initial=np.inf), result.shape[-1] in (1, 3)
    for axis, wanted in enumerate(int(size) for size in new_dims):
        have = result.shape[axis]
        if have == wanted:
            continue
        if is_picture:
            at = (np.arange(wanted) + 0.5) * have / wanted - 0.5
        else:
            at = np.arange(wanted) * (have - 1) / max(1, wanted - 1)
        if interp_order == 0:
            result = np.take(result, np.clip(np.floor(at + 0.5).astype(int), 0, have - 1), axis)
            continue
        low = np.floor(at).astype(int)
        share = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(result.ndim)])
        padded = np.pad(result, [(int(i == axis),) * 2 for i in range(result.ndim)], constant_values=outside)
        first, second = np.take(padded, low + 1, axis), np.take(padded, low + 2, axis)
        result = first + share * (second - first)
    return result


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int] | np.ndarray) -> np.ndarray:
    """Ten crops of each image, one after the other: the four corners and the middle, then the same mirrored."""
    height, width = (int(size) for size in crop_dims)
    full = np.asarray(images[0]).shape
    if height > full[0] or width > full[1]:
        raise NettrainError(f"a crop of {height} x {width} does not fit into images of {full[0]} x {full[1]}")
    bottom, right = full[0] - height, full[1] - width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    crops = np.empty((10 * len(images), height, width, full[-1]), np.float32)
    for i, image in enumerate(images):
        for k, (y, x) in enumerate(corners):
            crops[10 * i + k] = image[y : y + height, x : x + width]
        crops[10 * i + 5 : 10 * i + 10] = crops[10 * i : 10 * i + 5, :, ::-1]
    return crops


class Transformer:
    """Makes images into what a net's inputs take. ``inputs`` has the shape of each: ``net.blobs["data"].data.shape``.

    ``preprocess``: resize, ``set_transpose``, ``set_channel_swap``, times ``set_raw_scale``, minus ``set_mean``, times
    ``set_input_scale``, in this order; ``deprocess`` goes back. Unknown inputs and settings that do not fit their input
    are ValueErrors.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]):
        self.inputs = inputs
        self.transpose: dict[str, tuple[int, ...]] = {}
        self.channel_swap: dict[str, tuple[int, ...]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def _check(self, name: str) -> None:
        if name not in self.inputs:
            raise ValueError(f"`{name}` is not one of the inputs ({', '.join(self.inputs)})")

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """An image (H x W x C) as the input ``in_`` takes it, without the axis of the batch."""
        self._check(in_)
        array = np.asarray(data).astype(np.float32)
        size = tuple(self.inputs[in_][2:])
        if array.shape[:2] != size:
            array = resize_image(array, size)
        if in_ in self.transpose:
            array = array.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            array = array[list(self.channel_swap[in_])]
        array = array.copy()
        if in_ in self.raw_scale:
            array *= self.raw_scale[in_]
        if in_ in self.mean:
            array -= self.mean[in_]
        if in_ in self.input_scale:
            array *= self.input_scale[in_]
        return array

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The image of which ``preprocess`` made this, up to its size."""
        self._check(in_)
        array = np.array(data, np.float32)
        while array.ndim >= len(self.inputs[in_]) and array.shape[0] == 1:  # the batch
            array = array[0]
        if in_ in self.input_scale:
            array /= self.input_scale[in_]
        if in_ in self.mean:
            array += self.mean[in_]
        if in_ in self.raw_scale:
            array /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            array = array[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            array = array.transpose(np.argsort(self.transpose[in_]))
        return array

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of axes: (2, 0, 1) makes H x W x C to C x H x W."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ValueError(f"the order of `{in_}` needs {len(self.inputs[in_]) - 1} axes, got {len(order)}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of channels: (2, 1, 0) makes red, green, blue to blue, green, red."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ValueError(f"`{in_}` has {self.inputs[in_][1]} channels, got an order of {len(order)}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied by before the mean is taken off: 255 for images from 0 to 1."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """What is taken off: a value for each channel (C), or an image C x H x W, resized to the input's size."""
        self._check(in_)
        mean, (channels, *size) = np.asarray(mean, np.float32), self.inputs[in_][1:]
        if mean.ndim == 1:
            mean = mean[:, None, None]
        elif mean.ndim == 2:
            mean = mean[None]
        if mean.ndim != 3 or len(mean) not in (1, channels):
            raise ValueError(f"the mean of `{in_}` must have {channels} channels, or C x H x W, got {mean.shape}")
        if mean.shape[1:] not in ((1, 1), tuple(size)):
            mean = resize_image(mean.transpose(1, 2, 0), size).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied by at last."""
        self._check(in_)
        self.input_scale[in_] = scale


# Messages


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The values of a BlobProto, or its gradients, in its shape; four axes where it has the old fields for them.

    Raises ValueError where shape and values do not agree.
    """
    if return_diff:
        values = np.array(blob.double_diff or blob.diff, np.float64 if blob.double_diff else np.float32)
    else:
        values = np.array(blob.double_data or blob.data, np.float64 if blob.double_data else np.float32)
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        return values.reshape(blob.num, blob.channels, blob.height, blob.width)
    return values.reshape(tuple(blob.shape.dim))


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A BlobProto with these values, and with gradients if there are any."""
    arr = np.asarray(arr)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(arr.astype(np.float32).ravel())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, np.float32).ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend([array_to_blobproto(array) for array in arraylist])
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(raw: bytes) -> list[np.ndarray]:
    """The arrays of ``arraylist_to_blobprotovector_str``."""
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(raw)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """A Datum of an array C x H x W: bytes where it holds bytes, else floats. Raises ValueError for other shapes."""
    arr = np.asarray(arr)
    if arr.ndim != 3:
        raise ValueError(f"a Datum holds C x H x W, got {arr.shape}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).ravel())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The array C x H x W of a Datum: bytes or floats. Raises ValueError for one that holds an encoded image."""
    if datum.encoded:
        raise ValueError("this Datum holds an encoded image; decode `datum.data` first")
    shape = datum.channels, datum.height, datum.width
    if datum.data:
        return np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.array(datum.float_data, float).reshape(shape)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"caffe.io has no `{name}`{did_you_mean(name, globals())}")
