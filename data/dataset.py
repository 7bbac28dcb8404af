"""DataSet: examples and their labels, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..net.errors import NettrainError


@dataclass(frozen=True)
class DataSet:
    """``data`` is N x (shape of an example), in the file's own dtype; ``labels`` N x …, or None.

    ``origin`` is what messages call it, ``split`` whether it is the ``train`` or ``test`` part or ``whole``.
    """

    data: np.ndarray
    labels: np.ndarray | None
    origin: str
    split: str = "whole"

    def __post_init__(self) -> None:
        if len(self.data) == 0:
            raise NettrainError(f"{self.origin} holds no examples", key="source")
        if self.labels is not None and len(self.labels) != len(self.data):
            raise NettrainError(
                f"{self.origin} holds {len(self.data):,} examples but {len(self.labels):,} labels", key="source"
            )

    def __len__(self) -> int:
        return len(self.data)
