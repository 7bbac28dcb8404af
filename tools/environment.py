"""What a bug report needs to know of the machine: versions, BLAS and its kernels, threads, extras."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from typing import Any

import numpy as np

from ..compute import openblas
from ..compute.onednn.library import UnavailableError, library
from ..compute.parallel import allowed_processors, threads
from ..ranks.launch import join, mpiexec, recognized
from ..ranks.team import ALONE
from ..spec.errors import NettrainError

# extra -> the module that shows it is there
EXTRAS = {"hdf5": "h5py", "images": "PIL", "plot": "matplotlib", "onednn": "", "onnx": "onnx"}
EXTRAS |= {"parquet": "pyarrow", "sklearn": "sklearn", "safetensors": "safetensors"}
EXTRAS |= {"caffe": "google", "lmdb": "lmdb", "mpi": "mpi4py", "bench": "torch", "dev": "pytest"}
_PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_DEBUG_CPU_TYPE")
# Asked of another process, which does not begin to use it: that can be done once, and not undone.
_LIBRARY = """
import mpi4py
mpi4py.rc(initialize=False, finalize=False)
from mpi4py import MPI
name, version = MPI.get_vendor()
print(name, ".".join(map(str, version)))
"""


def environment() -> dict:
    """Everything `nettrain env` prints, as data; of several processes that a launcher started what each has.

    That they cannot find each other is no error: it is what somebody wants to know.
    """
    try:
        team, why = join(), ""
    except NettrainError as error:
        team, why = ALONE, str(error)
    versions = {name: importlib.metadata.version(name) for name in ("nettrain", "numpy", "pyyaml", "click", "tqdm")}
    return {
        "versions": {"python": platform.python_version()} | versions,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "blas": blas(),
        "pinned": {name: os.environ[name] for name in _PINS if name in os.environ},
        "onednn": onednn(),
        "mpi": mpi(team.library, why),
        "ranks": team.gather({"host": platform.node(), "processors": allowed_processors(), "threads": threads()}),
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
    lines.append(f"{'MPI':<10} {_mpi_in_words(env['mpi'])}")
    if env["mpi"]["launcher"]:
        for rank, there in enumerate(env["ranks"]):
            count = f"{there['threads']} thread{'s' if there['threads'] != 1 else ''}"
            lines.append(f"{f'rank {rank}':<10} {there['host']}: {count}, on {_spans(there['processors'])}")
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


def mpi(library: str = "", why: str = "") -> dict:
    """mpi4py's version, the library it uses or why it cannot, the launcher of that library, and who started us."""
    launch = recognized(os.environ)
    found: dict[str, Any] = {"mpi4py": None, "library": None, "why": "", "mpiexec": mpiexec()}
    found["launcher"] = launch.by if launch else None
    try:
        found["mpi4py"] = importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        return found | {"why": "mpi4py is not installed"}
    if library or why:
        return found | {"library": library or None, "why": why}
    try:
        asked = subprocess.run([sys.executable, "-c", _LIBRARY], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return found | {"why": f"mpi4py cannot be asked: {error}"}
    if asked.returncode:
        said = next((line for line in asked.stderr.splitlines() if "Error: " in line), "it ended without a word")
        return found | {"why": f"mpi4py finds no MPI library: {said.partition('Error: ')[2] or said}"}
    return found | {"library": asked.stdout.strip()}


def _mpi_in_words(found: dict) -> str:
    if not found["library"]:
        return found["why"]
    parts = [f"{found['library']}, through mpi4py {found['mpi4py']}", found["mpiexec"] or "no mpiexec"]
    return ", ".join([*parts, *[f"started by {found['launcher']}"] * bool(found["launcher"])])


def _spans(processors: list[int]) -> str:
    """``processors 0-3, 8``."""
    spans: list[list[int]] = []
    for one in processors:
        if spans and one == spans[-1][-1] + 1:
            spans[-1][1:] = [one]
        else:
            spans.append([one])
    words = ", ".join("-".join(map(str, span)) for span in spans)
    return f"processor{'s' if len(processors) != 1 else ''} {words}"


def _is_there(module: str) -> bool:
    """Whether an extra's module can be imported; oneDNN is no module."""
    return importlib.util.find_spec(module) is not None if module else onednn()["version"] is not None


def blas() -> dict:
    """Name, version and kernels of the BLAS numpy uses (the kernels are known for OpenBLAS only)."""
    config = np.show_config(mode="dicts")
    about = config["Build Dependencies"]["blas"] if config else {}
    return {"name": about.get("name"), "version": about.get("version"), "kernel": openblas.kernels()}
