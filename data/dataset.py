"""DataSet: examples and their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..net.errors import NettrainError


@dataclass(frozen=True)
class DataSet:
    """``data`` is N x (shape of an example), in the file's own dtype; ``labels`` N x …, or None.

    ``origin`` is what messages call it, ``split`` whether it is the ``train`` or ``test`` part or ``whole``. ``others``
    are further arrays with a row for each example, by name. What is not in memory has a shape and takes an array of
    numbers of examples: ``data[indices]``.
    """

    data: Any
    labels: Any
    origin: str
    split: str = "whole"
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.data) == 0:
            raise NettrainError(f"{self.origin} holds no examples", key="source")
        if self.labels is not None and len(self.labels) != len(self.data):
            raise NettrainError(
                f"{self.origin} holds {len(self.data):,} examples but {len(self.labels):,} labels", key="source"
            )

    def __len__(self) -> int:
        return len(self.data)
