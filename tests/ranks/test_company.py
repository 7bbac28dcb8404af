"""How several processes end: who says what, and with which exit code all of them end."""

import json
import os
import subprocess
import sys
import time

import pytest
from nettrain.commands import company
from nettrain.ranks.launch import Launch, mpiexec
from nettrain.ranks.team import Team
from nettrain.spec.errors import NettrainError


class Others(Team):
    """Of whom it is known whether they fail too."""

    size = 2

    def __init__(self, alike):
        self.alike, self.ended = alike, []

    def all_end(self, seconds):
        if isinstance(self.alike, BaseException):
            raise self.alike
        return self.alike

    def end(self, exit_code):
        self.ended.append(exit_code)


@pytest.fixture
def ending(monkeypatch):
    """What a rank writes to its stderr when it ends with an error, and the code it ends the others with."""

    def end(rank, found, code=3, for_all=True, local_rank=None):
        def join():
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(company, "join", join)
        monkeypatch.setattr(company, "LONGER", 0)
        monkeypatch.setattr(company.platform, "node", lambda: "b")
        one = company.Company(Launch("MPICH or Intel MPI", rank, 2, local_rank, 1))
        one.has_work("train", for_all)
        heard, one.stderr = os.pipe()
        one.complain("the loss is NaN")
        one.end(code)
        os.close(one.stderr)
        with os.fdopen(heard) as file:
            return file.read()

    return end


def test_what_all_find_is_said_once_and_ends_quietly(ending):
    team = Others(True)
    assert ending(1, team) == ""
    assert team.ended == []


@pytest.mark.parametrize("alike", [False, KeyboardInterrupt()])
def test_what_one_finds_is_said_by_it_and_ends_all(ending, alike):
    team = Others(alike)
    assert ending(1, team) == "rank 1 on b: the loss is NaN\n"
    assert team.ended == [3]


def test_who_has_done_well_waits_for_nobody(ending):
    team = Others(False)
    assert ending(1, team, code=0) == ""
    assert ending(1, team, for_all=False) == ""  # the others have ended, or never began
    assert team.ended == []


def test_where_nobody_can_join_the_first_of_each_machine_speaks(ending):
    error = NettrainError("needs mpi4py")
    assert ending(1, error, local_rank=0) == "rank 1 on b: the loss is NaN\n"
    assert ending(1, error, local_rank=1) == ""


def run(*arguments, ranks=0, **environment):
    started = [mpiexec(), "-n", str(ranks)] if ranks else []
    environment = os.environ | {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", "NETTRAIN_ENGINE": "numpy"} | environment
    return subprocess.run([*started, *arguments], env=environment, capture_output=True, text=True, timeout=60)


NETTRAIN = (sys.executable, "-m", "nettrain")


@pytest.mark.skipif(sys.platform != "linux", reason="mpich is an extra of tests on Linux only")
def test_two_processes_of_a_real_launcher(workdir):
    """`env` in both, what all find wrong, what one finds wrong, and a command for one."""
    done = run(*NETTRAIN, "env", "--json", ranks=2)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # said once
    assert found["mpi"]["launcher"] == "MPICH or Intel MPI"
    assert found["mpi"]["library"].startswith("MPICH ")
    processors = [there["processors"] for there in found["ranks"]]
    assert len(processors) == 2
    allowed = os.sched_getaffinity(0)
    if len(allowed) > 1:
        assert not set(processors[0]) & set(processors[1])
        assert [there["threads"] for there in found["ranks"]] == [len(allowed) // 2] * 2

    done = run(*NETTRAIN, "train", "nothing.yaml", ranks=2)
    assert (done.returncode, done.stderr.count("nothing.yaml: no such file")) == (2, 1)
    assert "Abort" not in done.stderr

    begun = time.monotonic()
    only_there = "from nettrain.cli import main; import os, sys; sys.argv[1:] = ['train', sys.argv[1], '--set', "
    only_there += "'solver.max_iter=10000000']; os.environ['PMI_RANK'] == '1' and sys.argv.append('--bogus'); main()"
    done = run(sys.executable, "-c", only_there, "configs/mlp.yaml", ranks=2)
    assert done.returncode == 2
    assert done.stderr.count("rank 1 on ") == done.stderr.count("--bogus") == 1
    assert time.monotonic() - begun < 30

    done = run(*NETTRAIN, "layers", "ReLU", "--json", ranks=2)
    assert done.returncode == 0
    assert json.loads(done.stdout)
    assert done.stderr == "note: `nettrain layers` runs in one process; of the 2 processes only rank 0 works\n"


@pytest.mark.skipif(sys.platform != "linux", reason="mpich is an extra of tests on Linux only")
def test_a_launcher_of_another_mpi(workdir):
    """Nothing is written; `env` says it as well, which is no error of its own."""
    others = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    done = run(*NETTRAIN, "train", "configs/mlp.yaml", **others)
    assert done.returncode == 2
    assert done.stderr.startswith("Open MPI started 2 processes, but mpi4py uses MPICH")
    assert not (workdir / "runs").exists()
    env = run(*NETTRAIN, "env", "--json", **others)
    assert (env.returncode, env.stderr) == (0, "")
    assert json.loads(env.stdout)["mpi"]["why"] == done.stderr.rstrip()


def test_help_does_not_begin_mpi():
    code = "import sys\ntry:\n    from nettrain.cli import main; main()\nfinally:\n    "
    code += "assert not {'mpi4py', 'numpy'} & sys.modules.keys()"
    done = run(sys.executable, "-c", code, "--help", PMI_RANK="0", PMI_SIZE="2")
    assert (done.returncode, done.stderr) == (0, "")
