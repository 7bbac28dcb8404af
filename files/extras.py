"""Libraries that are not required: imported when they are used, with the command that installs them when missing."""

from __future__ import annotations

import importlib
from typing import Any

from ..spec.errors import NettrainError


class MissingExtraError(NettrainError):
    """A library that is not installed."""


def extra(module: str, name: str, what: str) -> Any:
    """A module of the extra ``name``. Raises MissingExtraError with the install command; ``what`` needs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f'{what} needs {package}; to get it: pip install "nettrain[{name}]"', key="type"
        ) from None
