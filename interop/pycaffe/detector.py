"""``caffe.Detector``: a net that looks at windows of images (R-CNN)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...spec.errors import NettrainError
from . import io
from .classifier import ImageNet


class Detector(ImageNet):
    """A net in the TEST phase that classifies windows.

    Args:
        model_file, pretrained_file: the net and its weights.
        mean, input_scale, raw_scale, channel_swap: see Transformer.
        context_pad: pixels of the surroundings on each side of a window, in the net's input.
    """

    def __init__(
        self,
        model_file: str | Path,
        pretrained_file: str | Path,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ):
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how much surroundings windows get; what lies outside of the image is the mean."""
        self.context_pad = context_pad
        name = self.inputs[0]
        zeros = np.zeros(self.blobs[name].data.shape[1:], np.float32)  # what the mean becomes in the net's input
        self.crop_mean = self.transformer.deprocess(name, zeros) if context_pad else None

    def detect_windows(self, images_windows: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
        """For (file, windows) pairs, windows being rows of ymin, xmin, ymax, xmax: a dictionary for each window with
        its ``window``, the net's ``prediction`` and the ``filename``."""
        crops, found = [], []
        for file, windows in images_windows:
            image = io.load_image(file)
            for window in windows:
                crops.append(self.crop(image, np.asarray(window)))
                found.append({"window": window, "filename": file})
        if not crops:
            return []
        name = self.inputs[0]
        batch = np.array([self.transformer.preprocess(name, crop) for crop in crops], np.float32)
        predictions = self.forward_all(**{name: batch})[self.outputs[0]].reshape(len(found), -1)
        for entry, prediction in zip(found, predictions, strict=True):
            entry["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames: Sequence[str]) -> list[dict[str, Any]]:
        """Refused: it calls a program in MATLAB. Raises NettrainError."""
        raise NettrainError("selective search is a program in MATLAB; give its windows to detect_windows")

    def crop(self, im: np.ndarray, window: np.ndarray) -> np.ndarray:
        """A window of an image; with ``context_pad``, with that much of its surroundings at the size of the input."""
        top, left, bottom, right = (int(edge) for edge in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        assert self.crop_mean is not None
        shape = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        corner, size = np.array([top, left]), np.array([bottom - top + 1, right - left + 1])
        half = size / 2 * shape / (shape - 2 * self.context_pad)  # the window alone fills the input without its border
        first, last = np.round(corner + size / 2 - half).astype(int), np.round(corner + size / 2 + half).astype(int)
        per_pixel = shape / (last - first + 1)
        at = np.round(np.maximum(0, -first) * per_pixel).astype(int)
        first, last = np.clip(first, 0, im.shape[:2]), np.clip(last, 0, im.shape[:2])
        size = np.minimum(np.round((last - first + 1) * per_pixel).astype(int), shape - at)
        result = np.array(self.crop_mean, np.float32)
        part = io.resize_image(im[first[0] : last[0], first[1] : last[1]], size)
        result[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] = part
        return result
