"""``caffe.Classifier``: a net that takes images and gives the probability of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...spec.errors import NettrainError
from . import io
from .net import Net
from .process import TEST


class ImageNet(Net):
    """A net in the TEST phase whose one input is an image; ``transformer`` makes it of what ``load_image`` gives."""

    def __init__(
        self,
        model_file: str | Path,
        pretrained_file: str | Path,
        mean: np.ndarray | None,
        input_scale: float | None,
        raw_scale: float | None,
        channel_swap: Sequence[int] | None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        if not self.inputs:
            raise NettrainError(f"{model_file} has no input; a net that classifies images has an Input layer")
        name = self.inputs[0]
        self.transformer = io.Transformer({name: self.blobs[name].data.shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)


class Classifier(ImageNet):
    """A net in the TEST phase that classifies images.

    Args:
        model_file, pretrained_file: the net and its weights.
        image_dims: the height and width that images are brought to before they are cropped to the input's.
        mean, input_scale, raw_scale, channel_swap: see Transformer.
    """

    def __init__(
        self,
        model_file: str | Path,
        pretrained_file: str | Path,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ):
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """N x classes for N images (H x W x C): the mean over ten crops, or of the middle alone."""
        resized = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(resized, self.crop_dims)
        else:
            (top, left), (height, width) = (self.image_dims - self.crop_dims) // 2, self.crop_dims
            crops = np.array([image[top : top + height, left : left + width] for image in resized], np.float32)
        name = self.inputs[0]
        batch = np.array([self.transformer.preprocess(name, crop) for crop in crops], np.float32)
        found = self.forward_all(**{name: batch})[self.outputs[0]]
        return found.reshape(len(inputs), 10, -1).mean(axis=1) if oversample else found
