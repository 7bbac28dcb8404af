"""How several processes begin: who has started them, what they share, what is said when they cannot find each other."""

import os
import sys
import types

import pytest
from nettrain.compute import parallel
from nettrain.ranks import launch
from nettrain.ranks.launch import Launch, recognized
from nettrain.ranks.team import ALONE, Team
from nettrain.spec.errors import NettrainError

HYDRA = {"PMI_RANK": "1", "PMI_SIZE": "4", "PMI_FD": "7", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
OPEN_MPI = {f"OMPI_COMM_WORLD_{key}": value for key, value in (("RANK", "3"), ("SIZE", "4"))}
OPEN_MPI |= {"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "1", "PMIX_RANK": "3"}
MVAPICH = {f"MV2_COMM_WORLD_{key}": value for key, value in (("RANK", "0"), ("SIZE", "2"))}
PALS = {"PALS_RANKID": "5", "PALS_SIZE": "8", "PALS_LOCAL_RANKID": "1", "PALS_LOCAL_SIZE": "4"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "4", "SLURM_STEP_NUM_TASKS": "5", "SLURM_NTASKS": "5"}
SRUN |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1"}
BATCH = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
BY_HYDRA = "MPICH or Intel MPI"

TABLE = {
    "hydra": (HYDRA, Launch(BY_HYDRA, 1, 4, 1, 2)),
    "Open MPI": (OPEN_MPI, Launch("Open MPI", 3, 4, 0, 1)),
    "MVAPICH": (MVAPICH, Launch("MVAPICH", 0, 2)),
    "PALS": (PALS, Launch("PALS", 5, 8, 1, 4)),
    "PALS, which tells MPICH's library too": (PALS | HYDRA, Launch("PALS", 5, 8, 1, 4)),
    "srun": (SRUN, Launch("srun", 4, 5, 0, 1)),
    "srun, older": (
        {("SLURM_STEPID" if key == "SLURM_STEP_ID" else key): value for key, value in SRUN.items()},
        Launch("srun", 4, 5, 0, 1),
    ),
    "srun --mpi=pmi2": (SRUN | {"PMI_RANK": "4", "PMI_SIZE": "5"}, Launch(BY_HYDRA, 4, 5, 0, 1)),
    "srun --mpi=pmix": (SRUN | {"PMIX_RANK": "4"}, Launch("srun", 4, 5, 0, 1)),
    "srun whose nodes are not told": (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "many"}, Launch("srun", 4, 5)),
    "hydra, which reaches hosts by srun": (SRUN | HYDRA, Launch(BY_HYDRA, 1, 4, 1, 2)),
    "hydra with one, by srun": (SRUN | HYDRA | {"PMI_SIZE": "1", "PMI_RANK": "0"}, None),
    "PMIx": ({"PMIX_RANK": "1", "PMIX_NAMESPACE": "x"}, Launch("a launcher with PMIx", 1, None)),
    "nobody": ({"PATH": "/bin", "OMP_NUM_THREADS": "4"}, None),
    "one process": ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),
    "srun with one": (SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),
    "a batch script": (BATCH, None),
    "a batch script that is a step": (BATCH | {"SLURM_STEP_ID": "4294967291", "SLURM_STEP_NUM_TASKS": "4"}, None),
    "the shell of salloc": (BATCH | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "4"}, None),
    "words instead of numbers": ({"PMI_RANK": "a", "PMI_SIZE": "²", "PMIX_RANK": ""}, None),
}


@pytest.mark.parametrize(("environment", "found"), TABLE.values(), ids=TABLE.keys())
def test_launchers_are_known_by_the_environment(environment, found):
    assert recognized(environment) == found


def test_alone_nothing_of_mpi_is_imported(monkeypatch):
    monkeypatch.setattr(os, "environ", {"SLURM_PROCID": "0"})
    monkeypatch.setitem(sys.modules, "nettrain.ranks.mpi", None)
    assert launch.join() is ALONE


class Fake(Team):
    """What mpi4py would give: a library that sees ``size`` processes."""

    library, size = "MPICH 5.0.2", 2

    def __init__(self):
        self.rank = int(os.environ.get("PMI_RANK", 0))

    def gather(self, thing):
        return [thing] * self.size


@pytest.fixture
def started(monkeypatch):
    """As if a launcher had started this, and mpi4py gave ``ranks`` (or raised it)."""
    monkeypatch.setattr(launch, "_team", None)
    monkeypatch.setattr(launch, "mpiexec", lambda: "/right/mpiexec")
    monkeypatch.setattr(parallel, "PROCESSORS", list(parallel.PROCESSORS))
    monkeypatch.setattr(parallel, "_wanted", parallel._wanted)
    monkeypatch.setattr(parallel, "_was_asked_for", False)
    monkeypatch.setattr(parallel, "allowed_processors", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(parallel, "_stay_on", lambda processors: None)

    def begin(environment, ranks=Fake):
        monkeypatch.setattr(os, "environ", dict(environment))
        mpi4py, module = types.ModuleType("mpi4py"), types.ModuleType("nettrain.ranks.mpi")
        mpi4py.rc = lambda **options: None
        monkeypatch.setitem(sys.modules, "mpi4py", mpi4py)
        if isinstance(ranks, Exception):

            def refuse(_):
                raise ranks

            module.__getattr__ = refuse
        else:
            module.Ranks, module.LIBRARY = ranks, ranks.library
        monkeypatch.setitem(sys.modules, "nettrain.ranks.mpi", module)
        return launch.join

    return begin


TWO = HYDRA | {"PMI_SIZE": "2"}


def test_several_join_once(started):
    join = started(TWO)
    team = join()
    assert isinstance(team, Fake)
    assert join() is team


def message(join):
    with pytest.raises(NettrainError) as error:
        join()
    assert error.value.exit_code == 2
    return str(error.value)


def test_mpi4py_is_missing(started, monkeypatch):
    join = started(OPEN_MPI)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    expected = 'Training in 4 processes, as Open MPI started them, needs mpi4py; to get it: pip install "nettrain[mpi]"'
    assert message(join) == expected


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cannot load MPI library\nlibmpi.so.12: cannot open shared object file"),
        ImportError("cannot load MPI library"),
    ],
)
def test_there_is_no_mpi_library(started, error):
    assert message(started(TWO, error)) == (
        "mpi4py finds no MPI library for the 2 processes that MPICH or Intel MPI started: pip install mpich, or load "
        "the MPI module of your cluster (mpi4py says: cannot load MPI library)"
    )


class Single(Fake):
    size = 1


def test_the_launcher_is_that_of_another_mpi(started):
    """Each would train by itself, and write over what the others write."""
    assert message(started(HYDRA, Single)) == (
        "MPICH or Intel MPI started 4 processes, but mpi4py uses MPICH 5.0.2, which sees 1: they are of different "
        "MPIs. Start them by: /right/mpiexec -n 4 …"
    )
    words = message(started(SRUN, Single))
    assert "srun --mpi=pmi2" in words
    assert "env -u SLURM_PROCID" in words


def test_mpich_is_not_begun_under_open_mpi(started):
    """It would end the process, without a word."""

    class Deadly(Fake):
        def __init__(self):
            pytest.fail("begun")

    assert message(started(OPEN_MPI, Deadly)) == (
        "Open MPI started 4 processes, but mpi4py uses MPICH 5.0.2: they are of different MPIs. "
        "Start them by: /right/mpiexec -n 4 …"
    )


def test_a_launcher_that_does_not_say_how_many(started):
    assert "a launcher with PMIx started several processes" in message(started({"PMIX_RANK": "1"}, Single))
    assert started({"PMIX_RANK": "1"})().size == 2


@pytest.mark.parametrize(
    ("ranks", "threads", "yields"), [(4, None, False), (5, None, True), (2, 2, False), (2, 3, True)]
)
def test_mpich_yields_where_processors_do_not_suffice(started, ranks, threads, yields):
    if threads:
        parallel.use_threads(threads)
    started(TWO | {"MPI_LOCALNRANKS": str(ranks)})()
    assert ("MPIR_CVAR_ENABLE_HEAVY_YIELD" in os.environ) == yields


def test_who_has_chosen_how_mpich_waits_is_left_alone(started):
    started(TWO | {"MPI_LOCALNRANKS": "9", "MPIR_CVAR_ENABLE_HEAVY_YIELD": "0"})()
    assert os.environ["MPIR_CVAR_ENABLE_HEAVY_YIELD"] == "0"


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 8, 9, 17])
def test_each_rank_has_its_own_processors(started, monkeypatch, parts):
    processors = [2, 3, 5, 7, 11, 13, 17, 19]
    monkeypatch.setattr(parallel, "allowed_processors", lambda: processors)
    taken = []
    for part in range(parts):
        parallel.share_processors(part, parts)
        assert parallel.threads() == len(parallel.PROCESSORS) == max(1, 8 // parts)
        taken += parallel.PROCESSORS
    if parts <= 8:
        assert len(set(taken)) == len(taken)
    else:
        assert max(map(taken.count, processors)) - min(map(taken.count, processors)) <= 1


def test_processors_are_shared_with_those_who_may_use_the_same_ones(started):
    """A launcher, or Intel's library, may have given each rank its own: nothing is left to divide there."""

    class Bound(Fake):
        size = 4

        def gather(self, thing):
            host, processors = thing
            return [thing, thing, (host, [8, 9]), ("another host", processors)]

    started(HYDRA, Bound)()
    assert parallel.PROCESSORS == [2, 3]  # rank 1, of the two that share
    assert parallel.threads() == 2


def test_a_number_of_threads_that_is_asked_for_holds(started):
    parallel.use_threads(3)
    started(TWO)()
    assert parallel.threads() == 3


def test_processors_that_others_use_are_not_kept_awake(started, monkeypatch):
    """Those threads wait in a loop, and MPICH would, too."""
    awake = []
    monkeypatch.setattr(parallel.awake, "keep_awake", awake.append)
    monkeypatch.setattr(parallel.awake, "let_sleep", lambda processors: None)
    parallel.use_threads(2)
    for parts in (2, 4):
        parallel.share_processors(0, parts)
        with parallel.session():
            parallel.run(lambda i: None, 2)
    assert awake == [[0, 1]]
