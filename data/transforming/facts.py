"""What a transform must know of the data, found in it: the mean and deviation of each channel, the range of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...spec.errors import NettrainError
from ..dataset import by_size, of_any_size, some_of
from .formulas import statistics


@dataclass(frozen=True)
class Facts:
    """The mean and deviation of each channel where they are normalized, the largest value a pixel may have, whether
    the channels are blue, green, red."""

    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    limit: float = 255.0
    bgr: bool = False

    def fitted(self) -> dict[str, Any]:
        """What belongs to a run, as JSON data."""
        if self.mean is None or self.std is None:
            return {}
        return {"normalize": {"mean": self.mean.tolist(), "std": self.std.tolist()}}


NOTHING = Facts()


def picture(transform: Any, x: np.ndarray, facts: Facts, mean: np.ndarray | None) -> np.ndarray | None:
    """What a transform made of an image C x H x W, as H x W x 1, or x 3 for red, green, blue, with the values that its
    pixels had before a mean was subtracted: of a mean image that of each channel. None for what is no such image."""
    if x.ndim != 3 or x.shape[0] not in (1, 3):
        return None
    x = x.astype(float)
    of_channel = [-1, 1, 1]
    if facts.mean is not None and facts.std is not None:
        x = x * facts.std.reshape(of_channel) + facts.mean.reshape(of_channel)
    elif transform.scale:
        x = x / transform.scale
    if transform.mean_value:
        x = x + np.reshape(transform.mean_value, of_channel)
    if mean is not None:
        x = x + mean.mean(axis=(1, 2), keepdims=True)
    return x.transpose(1, 2, 0)[..., :: -1 if facts.bgr else 1]


def find_facts(
    transform: Any, known: Mapping[str, Any], training: Callable[[], Any], in_training: bool, bgr: bool = False
) -> Facts:
    """What ``transform`` must know. ``known`` is what a run has found, ``training`` gives the examples of the training
    part, N x C x H x W, which are looked at where nothing is known. Raises NettrainError."""
    normalize, mean, std = transform.normalize, None, None
    if normalize and normalize.mean:
        mean, std = np.array(normalize.mean), np.array(normalize.std)
    elif normalize and "normalize" in known and not in_training:
        mean, std = (np.array(known["normalize"][name], float) for name in ("mean", "std"))
    elif normalize:
        examples = training()
        mean, std = statistics(examples, examples.shape[1])
        std[std == 0] = 1  # a channel with one value becomes 0
    limit = _limit(transform.jitter, training()) if transform.jitter and in_training else 255.0
    return Facts(mean, std, limit, bgr)


def _limit(jitter: Any, examples: Any) -> float:
    """The largest value a pixel may have: as the spec says, else 1 or 255. Raises NettrainError for others."""
    some = [part for _, part in by_size(of_any_size(examples, np.array(some_of(len(examples)))))]
    least, most = min(part.min() for part in some), max(part.max() for part in some)
    if least < 0:
        raise NettrainError(
            f"jitter needs pixels from 0 to 1 or to 255; these examples have {least:g}", key="transform"
        )
    limit = jitter.limit or (1.0 if some[0].dtype.kind == "f" and most <= 1 else 255.0)
    if most > limit:
        raise NettrainError(
            f"these examples have pixels of {most:g}, more than jitter's limit of {limit:g}; write the largest "
            "value there can be as jitter: {limit: …}",
            key="transform",
        )
    return limit
