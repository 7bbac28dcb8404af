"""JSON as every command prints it: plain data, with null for a number that JSON does not have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def text(data: Any, indent: int | None = 1) -> str:
    """``data`` as JSON. NaN and infinities, which JSON lacks, are null; numpy's numbers and arrays are plain ones."""
    return json.dumps(plain(data), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """The same data as dicts, lists, strings, numbers and None alone."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
