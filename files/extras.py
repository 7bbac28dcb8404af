"""Libraries that are not required: imported when they are used, with the command that installs them when missing."""

from __future__ import annotations

import importlib
from typing import Any

from ..spec.errors import NettrainError

CALLED = {"PIL": "pillow", "sklearn": "scikit-learn"}  # modules that people know and install by another name


class MissingExtraError(NettrainError):
    """A library that is not installed."""


def extra(module: str, name: str, what: str, package: str = "") -> Any:
    """A module of the extra ``name``. Raises MissingExtraError with the install command; ``what`` needs it.

    ``package`` is what people call it, where that is not the module's first name.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        first = module.partition(".")[0]
        package = package or CALLED.get(first, first)
        raise MissingExtraError(
            f'{what} needs {package}; to get it: pip install "nettrain[{name}]"', key="type"
        ) from None
