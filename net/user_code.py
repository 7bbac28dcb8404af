"""Python files of the user's: run as modules, and only when that was allowed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from .errors import NettrainError

ALLOW = "if you trust it, allow it with --allow-python (allow_python=True in Python)"


@contextmanager
def neighbours_of(folder: Path) -> Iterator[None]:
    """Meanwhile modules are looked for in this folder first."""
    entry = str(folder.resolve())  # Python remembers what it found under a relative one, also in another folder
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def run_file(path: Path, name: str) -> ModuleType:
    """Run a Python file as the module ``name``; what it imports may lie beside it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with neighbours_of(path.parent):
        spec.loader.exec_module(module)
    return module


def run_layer_file(path: Path) -> ModuleType:
    """Run a file with layer types, which registers them. Raises NettrainError when it is not there or does not load.

    Its module has a name of its own, so that a file called random.py is in nobody's way.
    """
    if path.suffix != ".py":
        raise NettrainError(f"{path} is not a Python file")
    if not os.path.isfile(path):
        raise NettrainError(f"{path}: no such file")
    try:
        return run_file(path, f"nettrain_layers_{path.stem}")
    except (Exception, SystemExit) as error:
        raise NettrainError(f"{path} does not load: {type(error).__name__}: {error}") from error
