"""How several processes begin: what a launcher says in the environment, and MPI, which is imported only then."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec.errors import NettrainError

if TYPE_CHECKING:
    from .team import Team


@dataclass(frozen=True)
class Launch:
    """What a launcher, called ``by``, tells one of the processes it has started: its number and how many there are, of
    all and of those on its machine. None is what it does not tell."""

    by: str
    rank: int
    size: int | None
    local_rank: int | None = None
    local_size: int | None = None

    @property
    def count(self) -> str:
        """How many there are, in words."""
        return f"{self.size} processes" if self.size else "several processes"


OPEN_MPI, SRUN = "Open MPI", "srun"
# Launcher -> where it says the rank and the size. MPICH's own come last: others set them too, for MPICH's library.
_RANKS = {
    OPEN_MPI: ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "MVAPICH": ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    "PALS": ("PALS_RANKID", "PALS_SIZE"),
    "MPICH or Intel MPI": ("PMI_RANK", "PMI_SIZE"),
}
_LOCAL_RANKS = (
    ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"),
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("PMI_LOCAL_RANK", "PMI_LOCAL_SIZE"),
)
# A batch script, and the shell of `salloc`, are steps of SLURM's own, numbered from here on: srun did not start them.
_OWN_STEPS = 0xFFFFFF00


def recognized(environment: Mapping[str, str]) -> Launch | None:
    """Who started this process as one of several; None where nobody did.

    Of launchers within each other that of MPI counts, not the srun by which it reaches other hosts. One that started a
    single process is none.
    """
    for by, names in _RANKS.items():
        rank, size = _numbers(environment, *names)
        if rank is not None and size is not None:
            return Launch(by, rank, size, *_local(environment)) if size > 1 else None
    step, rank, size = _numbers(environment, "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    if step is None:
        (step,) = _numbers(environment, "SLURM_STEPID")
    if step is not None and step < _OWN_STEPS and rank is not None and size is not None:
        return Launch(SRUN, rank, size, *_local(environment)) if size > 1 else None
    (rank,) = _numbers(environment, "PMIX_RANK")
    return None if rank is None else Launch("a launcher with PMIx", rank, None, *_local(environment))


def _numbers(environment: Mapping[str, str], *names: str) -> list[int | None]:
    values = [environment.get(name, "") for name in names]
    return [int(value) if value.isascii() and value.isdigit() else None for value in values]


def _local(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Rank and size on this machine."""
    for names in _LOCAL_RANKS:
        rank, size = _numbers(environment, *names)
        if rank is not None and size is not None:
            return rank, size
    rank, node = _numbers(environment, "SLURM_LOCALID", "SLURM_NODEID")
    sizes = _tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return (rank, sizes[node]) if rank is not None and node is not None and node < len(sizes) else (None, None)


def _tasks_per_node(text: str) -> list[int]:
    """SLURM's ``4(x2),3`` is 4, 4, 3; nothing of what is not so written."""
    found: list[int] = []
    for part in text.split(","):
        tasks, _, times = part.rstrip(")").partition("(x")
        if not tasks.isdigit() or not (times or "1").isdigit():
            return []
        found += [int(tasks)] * int(times or 1)
    return found


_team: Team | None = None


def join() -> Team:
    """All processes that were started together; ALONE where there is no launcher. mpi4py is imported only for several.

    Each gets its share of the processors of its machine. Raises NettrainError when they cannot find each other: they
    would train the same run, each over the files of the others.
    """
    global _team
    if _team is None:
        launch = recognized(os.environ)
        if launch is None:
            from .team import ALONE

            return ALONE
        _team = _together(launch)
        _share_processors(_team)
    return _team


def _together(launch: Launch) -> Team:
    from ..files.extras import extra

    mpi4py = extra("mpi4py", "mpi", f"Training in {launch.count}, as {launch.by} started them,")
    mpi4py.rc(initialize=False, finalize=True)
    _yield_if_crowded(launch)
    try:
        with warnings.catch_warnings():  # mpi4py has one for variables of another MPI, which we tell in full
            warnings.simplefilter("ignore", RuntimeWarning)
            from .mpi import LIBRARY, Ranks
    except (ImportError, RuntimeError) as error:  # the first when mpi4py was built for one library, which is not there
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NettrainError(
            f"mpi4py finds no MPI library for the {launch.count} that {launch.by} started: pip install mpich, or load "
            f"the MPI module of your cluster (mpi4py says: {reason})"
        ) from error
    if launch.by == OPEN_MPI and LIBRARY.startswith(("MPICH", "Intel")):
        raise _another_mpi(launch, LIBRARY)  # which would end this process as it begins, without a word
    team = Ranks()
    if team.size != (launch.size or team.size) or launch.rank >= team.size:
        raise _another_mpi(launch, f"{LIBRARY}, which sees {team.size}")
    return team


def _another_mpi(launch: Launch, library: str) -> NettrainError:
    """The launcher does not belong to the library."""
    right = f"{mpiexec() or 'its own mpiexec'} -n {launch.size or 'N'} …"
    if launch.by == SRUN:
        right = (
            f"srun --mpi=pmi2 … or --mpi=pmix … (`srun --mpi=list` has all), or {right}; "
            "for runs that have nothing to do with each other: srun … env -u SLURM_PROCID nettrain …"
        )
    return NettrainError(
        f"{launch.by} started {launch.count}, but mpi4py uses {library}: they are of different MPIs. "
        f"Start them by: {right}"
    )


def _yield_if_crowded(launch: Launch) -> None:
    """Have MPICH and Intel MPI give their processor away while they wait, where there are not enough of them: they read
    this once."""
    from ..compute.parallel import allowed_processors, wanted_threads

    if launch.local_size and launch.local_size * (wanted_threads() or 1) > len(allowed_processors()):
        for name in ("MPIR_CVAR_ENABLE_HEAVY_YIELD", "I_MPI_WAIT_MODE"):
            os.environ.setdefault(name, "1")


def _share_processors(team: Team) -> None:
    """Take a share of the processors that this process has in common with others, and exchange gradients while backward
    goes on where a network is between them: within a machine the thread for it would take a processor from the others.

    A launcher may have given each its own: only with those that may use the very same ones they are shared. MPI is
    asked, not the launcher, for Intel's library chooses processors when it begins.
    """
    from ..compute.parallel import allowed_processors, share_processors

    here = machine(), allowed_processors()
    everywhere = team.gather(here)
    alike = [rank for rank, there in enumerate(everywhere) if there == here]
    share_processors(alike.index(team.rank), len(alike))
    asked = team.of_first(os.environ.get("NETTRAIN_OVERLAP", ""))
    team.overlaps = team.may_overlap and (asked == "1" if asked else len({name for name, _ in everywhere}) > 1)


def machine() -> str:
    """What tells this machine from others, containers and names of hosts aside."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (OSError, ValueError):
        return platform.node()


def mpiexec() -> str | None:
    """The launcher that belongs to mpi4py's library: beside this Python, or where mpi4py is installed, or the first
    there is."""
    import importlib.util

    places = [os.path.dirname(sys.executable)]
    found = importlib.util.find_spec("mpi4py")
    if found is not None and found.origin is not None and len(Path(found.origin).parents) > 4:
        places.append(str(Path(found.origin).parents[4] / "bin"))
    return shutil.which("mpiexec", path=os.pathsep.join(places)) or shutil.which("mpiexec")
