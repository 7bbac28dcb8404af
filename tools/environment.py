"""What a bug report needs to know of the machine: versions, BLAS and its kernels, threads, extras."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

import numpy as np

# extra -> the module that shows it is there
EXTRAS = {"dev": "pytest"}
_PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def environment() -> dict:
    """Everything `nettrain env` prints, as data."""
    versions = {name: importlib.metadata.version(name) for name in ("nettrain", "numpy", "pyyaml", "click", "tqdm")}
    return {
        "versions": {"python": platform.python_version()} | versions,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "blas": blas(),
        "pinned": {name: os.environ[name] for name in _PINS if name in os.environ},
        "extras": {extra: importlib.util.find_spec(module) is not None for extra, module in EXTRAS.items()},
    }


def report(env: dict) -> str:
    """The same in lines."""
    lines = [f"{name:<10} {version}" for name, version in env["versions"].items()]
    lines.append(f"{'platform':<10} {env['platform']}, {env['cores']} cores")
    b = env["blas"]
    lines.append(
        f"{'BLAS':<10} {b['name']} {b['version']}, kernels {b['kernel'] or 'unknown'}, {env['threads']} threads"
    )
    for name, value in env["pinned"].items():
        slow = ": may hold BLAS to slower kernels than this CPU has" if name.startswith("OPENBLAS_C") else ""
        lines.append(f"{'set':<10} {name}={value}{slow}")
    for extra, present in env["extras"].items():
        state = "present" if present else f'absent; to get it: pip install "nettrain[{extra}]"'
        lines.append(f"{'extra':<10} {extra}: {state}")
    return "\n".join(lines)


def blas() -> dict:
    """Name, version and kernels of the BLAS numpy uses (the kernels are known for OpenBLAS only)."""
    config = np.show_config(mode="dicts")
    about = config["Build Dependencies"]["blas"] if config else {}
    core = _openblas("get_corename", ctypes.c_char_p)
    return {"name": about.get("name"), "version": about.get("version"), "kernel": core().decode() if core else None}


def threads() -> int:
    """Threads a matrix product uses."""
    count = _openblas("get_num_threads", ctypes.c_int)
    return int(count()) if count else os.cpu_count() or 1


def _openblas(function: str, result: type):
    """A function of the OpenBLAS that numpy's wheel carries, or None."""
    for folder in (Path(np.__file__).parent.parent / "numpy.libs", Path(np.__file__).parent / ".dylibs"):
        for path in folder.glob("*openblas*"):
            library = ctypes.CDLL(str(path))
            for name in (f"scipy_openblas_{function}64_", f"openblas_{function}64_", f"openblas_{function}"):
                if hasattr(library, name):
                    found = getattr(library, name)
                    found.restype = result
                    return found
    return None
