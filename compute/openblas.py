"""The OpenBLAS in numpy's wheel, called directly for what numpy cannot express. Elsewhere nothing is found."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

TIMEOUT = "OPENBLAS_THREAD_TIMEOUT"


@cache
def libraries() -> list[ctypes.CDLL]:
    """The library files that come with numpy."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    return [ctypes.CDLL(str(path)) for folder in folders for path in folder.glob("*openblas*")]


@cache
def function(name: str, result: Any = None) -> Callable | None:
    """A function of OpenBLAS, or of its interface for C (``cblas_…``); None where there is none.

    Those of the interface for C are found only where integers have 64 bits, as in numpy's own wheels.
    """
    stem = name if name.startswith("cblas") else f"openblas_{name}"
    names = [f"scipy_{stem}64_"] if stem == name else [f"scipy_{stem}64_", f"{stem}64_", stem]
    for library in libraries():
        for known in names:
            if hasattr(library, known):
                found = getattr(library, known)
                found.restype = result
                return found
    return None


@cache
def kernels() -> str | None:
    """Which processors the kernels in use were written for, as OpenBLAS calls them."""
    name = function("get_corename", ctypes.c_char_p)
    return name().decode() if name else None


@cache
def rest_early() -> None:
    """Let OpenBLAS's threads sleep 2^16 clock ticks after their work, not 2^26: they look for more so often that
    nettrain's threads get little of the processor meanwhile. The first net of a process has it done.

    OpenBLAS reads its settings when numpy is imported; to read them again, its threads must be ended. It begins new
    ones by itself, as it does after every fork. Nothing is done where the program has other threads by then: one of
    them may be in BLAS. The OpenBLAS of numpy 2.5 and later (0.3.34) hides what is needed: there the command line,
    which comes before numpy, sets it (``commands.app.hold_blas``).
    """
    if TIMEOUT in os.environ or threading.active_count() > 1:
        return
    for library in libraries():
        if hasattr(library, "openblas_read_env") and hasattr(library, "blas_thread_shutdown_"):
            os.environ[TIMEOUT] = "16"
            library.openblas_read_env()
            library.blas_thread_shutdown_()
            del os.environ[TIMEOUT]


def set_threads(count: int) -> int:
    """Let BLAS use this many threads; returns how many it used before."""
    get, set_ = function("get_num_threads", ctypes.c_int), function("set_num_threads")
    if get is None or set_ is None:
        return 1
    before = get()
    set_(count)
    return before
