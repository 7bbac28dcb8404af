"""Which implementation of a layer type runs in a net: the formulas, or the same numbers by another engine."""

from __future__ import annotations

import importlib
import os
from typing import Any, Literal, get_args

import numpy as np

from ..spec.errors import NettrainError
from .layer import Layer

Engine = Literal["auto", "numpy", "onednn"]
VARIABLE = "NETTRAIN_ENGINE"  # what auto means
_asked: str = ""  # what the command line says, which counts more than a spec
CAFFES = {"DEFAULT": "auto", "CAFFE": "numpy", "CUDNN": "auto"}  # Caffe's words for it


def use_engine(engine: Engine) -> None:
    """Have all nets that are made from now on use this engine, whatever their specs say; auto leaves it to them."""
    global _asked
    _asked = "" if engine == "auto" else engine


def chosen(engine: Any) -> Engine:
    """The engine of a net: what the command line asks for, else the spec, else the environment.

    Raises NettrainError for another word.
    """
    known = get_args(Engine)
    if engine not in known:
        raise NettrainError(f"the engine must be one of {', '.join(known)}, got {engine!r}")
    default = os.environ.get(VARIABLE) or "auto"
    if default not in known:
        raise NettrainError(f"{VARIABLE} must be one of {', '.join(known)}, got {default!r}")
    return _asked or (default if engine == "auto" else engine)  # type: ignore[return-value]


def implementation(cls: type[Layer], engine: Engine, of_layer: str, dtype: np.dtype) -> type[Layer]:
    """The class that does the work of a layer type: ``of_layer`` is what the layer's own key says.

    With auto that is oneDNN's where it is installed and has one. Raises NettrainError where oneDNN is asked for and not
    there.
    """
    asked = CAFFES.get(of_layer, of_layer)
    engine = engine if asked == "auto" else asked  # type: ignore[assignment]
    if engine == "numpy" or dtype != np.float32 or not cls.__module__.startswith(_package("layers")):
        return cls
    engines = importlib.import_module(_package("engines"))  # by name: net/ stands below
    try:
        return engines.implementation(cls, "onednn") or cls
    except engines.UnavailableError as error:
        if engine == "auto":
            return cls
        raise NettrainError(f"{error}; to install it: pip install 'nettrain[onednn]'") from None


def _package(name: str) -> str:
    return f"{__package__.rpartition('.')[0]}.{name}"
