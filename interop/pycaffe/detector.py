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
        height, width = self.blobs[self.inputs[0]].data.shape[2:]
        pad = self.context_pad
        # the window alone fills the input without its border
        scale_y, scale_x = height / (height - 2 * pad), width / (width - 2 * pad)
        half_y, half_x = (bottom - top + 1) / 2 * scale_y, (right - left + 1) / 2 * scale_x
        middle_y, middle_x = top + (bottom - top + 1) / 2, left + (right - left + 1) / 2
        box = np.round([middle_y - half_y, middle_x - half_x, middle_y + half_y, middle_x + half_x]).astype(int)
        inside = np.array([max(0, box[0]), max(0, box[1]), min(im.shape[0], box[2]), min(im.shape[1], box[3])])
        per_pixel = np.array([height / (box[2] - box[0]), width / (box[3] - box[1])])
        size = np.maximum(1, np.round((inside[2:] - inside[:2]) * per_pixel).astype(int))
        at = np.round((inside[:2] - box[:2]) * per_pixel).astype(int)
        size = np.minimum(size, np.array([height, width]) - at)
        result = np.array(self.crop_mean, np.float32)
        part = io.resize_image(im[inside[0] : inside[2], inside[1] : inside[3]], size)
        result[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] = part
        return result
