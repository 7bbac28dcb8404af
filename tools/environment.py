"""What a bug report needs to know of the machine: versions, BLAS and its kernels, threads, extras."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

import numpy as np

from ..compute import openblas
from ..compute.onednn.library import UnavailableError, library
from ..compute.parallel import threads

# extra -> the module that shows it is there
EXTRAS = {"hdf5": "h5py", "images": "PIL", "plot": "matplotlib", "onednn": "", "onnx": "onnx"}
EXTRAS |= {"parquet": "pyarrow", "sklearn": "sklearn", "safetensors": "safetensors"}
EXTRAS |= {"caffe": "google", "lmdb": "lmdb", "bench": "torch", "dev": "pytest"}
_PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_DEBUG_CPU_TYPE")


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
        "onednn": onednn(),
        "extras": {extra: _is_there(module) for extra, module in EXTRAS.items()},
    }


def report(env: dict) -> str:
    """The same in lines."""
    lines = [f"{name:<10} {version}" for name, version in env["versions"].items()]
    lines.append(f"{'platform':<10} {env['platform']}, {env['cores']} cores")
    b = env["blas"]
    lines.append(f"{'BLAS':<10} {b['name']} {b['version']}, kernels {b['kernel'] or 'unknown'}")
    found = env["onednn"]
    lines.append(
        f"{'oneDNN':<10} {found['version']}, {found['path']}" if found["version"] else f"{'oneDNN':<10} {found['why']}"
    )
    lines.append(f"{'threads':<10} {env['threads']}, nettrain's own, and BLAS's for large products")
    for name, value in env["pinned"].items():
        slow = ": may limit BLAS to slower kernels than this CPU has" if name.startswith("OPENBLAS_C") else ""
        lines.append(f"{'set':<10} {name}={value}{slow}")
    for extra, present in env["extras"].items():
        state = "present" if present else f'absent; to get it: pip install "nettrain[{extra}]"'
        lines.append(f"{'extra':<10} {extra}: {state}")
    return "\n".join(lines)


def onednn() -> dict:
    """The version and place of oneDNN, or why it cannot be used."""
    try:
        found = library()
    except UnavailableError as error:
        return {"version": None, "path": None, "why": str(error)}
    return {"version": found.version, "path": found.path, "why": ""}


def _is_there(module: str) -> bool:
    """Whether an extra's module can be imported; oneDNN is no module."""
    return importlib.util.find_spec(module) is not None if module else onednn()["version"] is not None


def blas() -> dict:
    """Name, version and kernels of the BLAS numpy uses (the kernels are known for OpenBLAS only)."""
    config = np.show_config(mode="dicts")
    about = config["Build Dependencies"]["blas"] if config else {}
    return {"name": about.get("name"), "version": about.get("version"), "kernel": openblas.kernels()}
