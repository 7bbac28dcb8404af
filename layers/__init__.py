"""The zoo: a folder for each family, a file for each layer type, named after the type.

A file is imported when its type is asked for, so adding a type is adding a file, and a net of three types does not wait
for eighty.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache


@cache
def files() -> dict[str, str]:
    """The module of every file, by the file's name without underscores: the type's name in small letters."""
    found = (module.name for module in pkgutil.walk_packages(__path__, f"{__name__}.") if not module.ispkg)
    return {name.rpartition(".")[2].replace("_", ""): name for name in found}


def import_type(name: str) -> None:
    """Import the file of a type, if there is one, which registers it."""
    if module := files().get(name.lower()):
        importlib.import_module(module)


def import_all() -> None:
    """Import every file."""
    for module in files().values():
        importlib.import_module(module)
