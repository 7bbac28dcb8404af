"""What `nettrain env` says of MPI, in one process."""

import subprocess
import sys

import pytest
from nettrain.ranks.launch import mpiexec
from nettrain.tools import environment


def line(env, name):
    return next(line for line in environment.report(env).splitlines() if line.startswith(f"{name} "))


@pytest.mark.skipif(sys.platform != "linux", reason="mpich is an extra of tests on Linux only")
def test_the_library_that_would_be_used():
    env = environment.environment()
    assert env["mpi"]["library"].startswith("MPICH ")
    assert env["mpi"]["launcher"] is None
    assert len(env["ranks"]) == 1
    assert line(env, "MPI") == (
        f"MPI        {env['mpi']['library']}, through mpi4py {env['mpi']['mpi4py']}, {mpiexec()}"
    )
    assert "rank 0" not in environment.report(env)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setenv("MPI4PY_LIBMPI", "nowhere")
    assert environment.mpi()["why"] == "mpi4py finds no MPI library: cannot load MPI library"

    def late(*_, **__):
        raise subprocess.TimeoutExpired("python", 60)

    monkeypatch.setattr(subprocess, "run", late)
    assert environment.mpi()["why"].startswith("mpi4py cannot be asked: ")

    def absent(name):
        raise environment.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.importlib.metadata, "version", absent)
    assert environment.mpi() == {
        "mpi4py": None,
        "library": None,
        "why": "mpi4py is not installed",
        "mpiexec": mpiexec(),
        "launcher": None,
    }


@pytest.mark.parametrize(
    ("processors", "words"), [([3], "processor 3"), ([0, 1, 2, 8], "processors 0-2, 8"), ([0, 2], "processors 0, 2")]
)
def test_processors_in_words(processors, words):
    env = {"versions": {}, "platform": "", "cores": 1, "threads": 1, "pinned": {}, "extras": {}}
    env |= {"blas": environment.blas(), "onednn": {"version": None, "why": ""}}
    env["mpi"] = {"library": "MPICH 5", "mpi4py": "4.1", "mpiexec": None, "launcher": "srun"}
    env["ranks"] = [{"host": "a", "threads": 1, "processors": processors}]
    assert line(env, "rank 0") == f"rank 0     a: 1 thread, on {words}"
    assert line(env, "MPI") == "MPI        MPICH 5, through mpi4py 4.1, no mpiexec, started by srun"
