"""Other implementations of layers, as Caffe's cuDNN layers are: the same types and numbers, another engine below."""

from __future__ import annotations

import functools
import importlib
import importlib.util

from ..compute.onednn.library import UnavailableError, library
from ..net.layer import Layer

__all__ = ["UnavailableError", "implementation"]


@functools.cache
def implementation(cls: type[Layer], engine: str) -> type[Layer] | None:
    """The class of a layer type over an engine; None where there is none. Raises UnavailableError where the engine is
    not there."""
    if engine != "onednn":
        raise ValueError(f"there is no engine {engine}")
    library()
    module = f"{__name__}.{engine}.{cls.__module__.rpartition('.')[2]}"
    if importlib.util.find_spec(module) is None:
        return None
    found = getattr(importlib.import_module(module), f"OneDNN{cls.__name__}", None)
    return found if found is not None and issubclass(found, cls) else None
