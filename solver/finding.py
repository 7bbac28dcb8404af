"""Finding a run, or a snapshot to resume from, by what a person writes."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..files.arrays import open_npz
from ..net.records import NetSpec
from ..spec.errors import NettrainError, why
from . import lock
from .metrics import METRICS, read_metrics
from .runs import NAME, RECORD, SPEC, Run, is_best, iteration_of, quoted
from .snapshot import Snapshot, SnapshotError, read_snapshot

TRIES = 20  # to read a snapshot before the process that writes the run has removed it
SHOWN = 8  # runs that a message names


@dataclass
class Found:
    """A snapshot to resume from: whether it is the newest good one of its run, and what a person should know.

    ``older`` are the run's snapshots before it, ``seen`` all ``iter_N.npz`` that were there when it was chosen.
    """

    snapshot: Snapshot
    is_newest: bool
    notes: list[str] = field(default_factory=list)
    older: list[Path] = field(default_factory=list)
    seen: list[Path] = field(default_factory=list)

    def fall_back(self, error: SnapshotError) -> None:
        """Go to the good snapshot before this one, which is bad. Raises the error when there is none."""
        notes = [f"{error}; skipped"]
        for i, path in enumerate(self.older):
            try:
                self.snapshot = read_snapshot(path)
            except NettrainError as other:
                notes.append(f"{other}; skipped")
                continue
            self.older, self.notes = self.older[i + 1 :], self.notes + notes
            return
        raise error


def find_snapshot(where: str | Path, best_first: bool = False) -> Found:
    """A snapshot file, or the newest good one of a run: its folder, or its folder and snapshot_prefix.

    ``best_first`` takes that with the best weights, if there is a good one. The notes name damaged ones that were
    skipped. Raises NettrainError when there is none.
    """
    if not str(where):
        raise NettrainError("the name of the run is empty; give its folder, such as runs/mlp/001")
    where = Path(where)
    if where.suffix in (".yaml", ".yml"):
        raise NettrainError(f"{where} is the name of a spec, not of a run; to train it: nettrain train {quoted(where)}")
    try:
        is_file = _is_file(where)
        run = Run.of(where) if is_file else _run_at(where)
        for i in range(TRIES):
            found = _newest_of_file(where, run) if is_file else _newest(run, best_first)
            if found is not None:
                return found
            if i == TRIES - 2:
                run.open()  # from here on nobody writes it, or the error says who does
        raise NettrainError(_why_nothing(where, run))
    except OSError as error:
        raise NettrainError(f"snapshot {where} cannot be read: {why(error)}") from None


def _newest_of_file(where: Path, run: Run) -> Found:
    """A snapshot that was asked for by the name of its file."""
    read = functools.cache(read_snapshot)
    snapshot, paths = read(where), run.snapshots()
    is_newest = [path.name for path in _by_iteration(paths, read)[:1]] == [where.name]
    return Found(snapshot, is_newest, seen=[path for path in paths if not is_best(path)])


def _newest(run: Run, best_first: bool) -> Found | None:
    """The newest good snapshot of a run, or the best one; None when one was removed before it could be read.

    Raises NettrainError when there are some and none is good.
    """
    read = functools.cache(read_snapshot)  # the best one's iteration is inside it: so it is read once
    paths = run.snapshots()
    if not paths:
        raise NettrainError(_why_nothing(run.where, run))
    seen = [path for path in paths if not is_best(path)]
    paths = sorted(paths, key=lambda path: not is_best(path)) if best_first else _by_iteration(paths, read)
    notes: list[str] = []
    for i, path in enumerate(paths):
        try:
            return Found(read(path), True, notes, paths[i + 1 :], seen)
        except NettrainError as error:
            if not os.path.lexists(path):
                return None
            notes.append(f"{error}; skipped")
    raise NettrainError("\n".join([*notes, f"no good snapshot in {run.where}"]))


def _by_iteration(paths: list[Path], read: Callable[[Path], Snapshot]) -> list[Path]:
    """The newest first; one that cannot be read and whose name does not tell is the last."""

    def iteration(path: Path) -> int:
        with contextlib.suppress(NettrainError):  # whoever reads it to use it will be told what is wrong
            return read(path).iter if is_best(path) else iteration_of(path)
        return -1

    return sorted(paths, key=lambda path: (iteration(path), path.name), reverse=True)


def _is_file(where: Path) -> bool:
    """Whether something other than a folder is there. Raises OSError for a name that cannot be one."""
    try:
        return not stat.S_ISDIR(os.stat(where).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_run(where: Path) -> bool:
    """Whether this is a run or a snapshot, rather than a spec: a folder, an .npz, or how a run's files begin."""
    if os.path.isdir(where) or where.suffix == ".npz":
        return True
    if os.path.lexists(where):
        return False
    with contextlib.suppress(OSError):
        return bool(Run("", prefix=str(where)).snapshots())
    return False


def stands_for_a_run(where: Path) -> bool:
    """Whether a name that may also be that of a spec, or of something else, is meant to be a run: a folder counts only
    if a run is in it, or runs are below it."""
    if where.suffix in (".yaml", ".yml") or not is_run(where):
        return False
    if os.path.isdir(where):
        with contextlib.suppress(OSError):
            return bool(stems_in(where) or _runs_in(where, "*", "*/*"))
        return False
    return where.suffix != ".npz" or os.path.isfile(where)


def spec_of_run(what: str | Path, settings: Iterable[str] = (), allow_python: bool = False) -> NetSpec | None:
    """The spec of a run, with what was trained: its best weights, or else its newest. None for what is no run.

    Raises NettrainError where there is no good snapshot.
    """
    if not stands_for_a_run(Path(what)):
        return None
    found = find_snapshot(what, best_first=True)
    spec = found.snapshot.spec(settings, allow_python)
    spec.file, spec.note, spec.trained = str(what), "\n".join(found.notes), found.snapshot.trained
    return spec


def weights_file(path: Path) -> Path:
    """The file of the weights that are meant: the path itself, or of a run its best snapshot, or else its newest.

    Raises NettrainError when that is damaged: other weights than the ones meant are to be asked for by name.
    """
    if not os.path.isdir(path) and not (stands_for_a_run(path) and path.suffix != ".npz"):
        return path
    found = find_snapshot(path, best_first=True)
    if found.notes:
        others = f"; to take these weights instead: {quoted(found.snapshot.path)}"
        raise NettrainError("\n".join(found.notes).removesuffix("; skipped") + others)
    return found.snapshot.path


def snapshot_of_weights(path: Path) -> Snapshot | None:
    """The snapshot that weights are in, if they are a run's; it has what was fitted to its data too. Raises
    NettrainError."""
    if not is_run(path):
        return None
    if path.suffix == ".npz":
        with open_npz(path, "weights file") as archive:
            if "state" not in archive:
                return None
    return find_snapshot(path, best_first=True).snapshot


def check_spec(what: str | Path) -> None:
    """Raise NettrainError for a run or one of its files, where a spec to be trained is wanted."""
    where = Path(what)
    if not os.path.lexists(where) or not stands_for_a_run(where):
        return
    name = quoted(where)
    if os.path.isdir(where) and not stems_in(where):
        raise NettrainError(f"{where} is a folder of runs, not a spec; to see them: nettrain runs {name}")
    words = f"{where} is {'a file of parameters' if os.path.isfile(where) else 'a run'}, not a spec"
    spec = where / SPEC
    again = f" To train its spec anew: nettrain train {quoted(spec)}" if os.path.isfile(spec) else ""
    of_data = f" A spec for data is written by: nettrain new NAME --data {name}" if os.path.isfile(where) else ""
    raise NettrainError(
        f"{words}; did you mean `nettrain train --resume {name}` to resume it, or `nettrain test {name}`?"
        f"{again}{of_data}"
    )


def run_at(where: Path) -> Run:
    """The run that is meant by its folder, by how its files' names begin, or by one of its snapshots. Raises
    NettrainError when a folder holds several."""
    return Run.of(where) if _is_file(where) else _run_at(where)


def stem_of(name: str) -> str | None:
    """How the names of a run's files begin, from that of one of them; None for any other file."""
    if match := NAME.fullmatch(name):
        return match["stem"] or ""
    for own in (METRICS, RECORD):
        if name == own or name.endswith(f"_{own}"):
            return name.removesuffix(own).removesuffix("_")
    return None


def stems_in(folder: Path) -> set[str]:
    """How the names of the files of the runs in a folder begin, empty for a run that has a folder of its own. Raises
    OSError."""
    return {stem for path in folder.iterdir() if (stem := stem_of(path.name)) is not None}


def _run_at(where: Path) -> Run:
    """The run in a folder, or with this prefix. Raises NettrainError when a folder holds several."""
    if not os.path.isdir(where):
        return Run("", prefix=str(where))
    stems = {match["stem"] or "" for path in where.iterdir() if (match := NAME.fullmatch(path.name))}
    if len(stems) > 1:
        runs = ", ".join(str(where / stem) if stem else f"{where}/iter_…" for stem in sorted(stems))
        raise NettrainError(f"{where} holds snapshots of several runs ({runs}); give a file, or one of these names")
    run = Run("", folder=where)
    run.stem = next(iter(stems), "")
    return run


def _why_nothing(where: Path, run: Run) -> str:
    """Why no snapshot was found, and what would be right."""
    if run.folder and (who := lock.writer(run.lock_path)):
        return (
            f"{where} has no snapshot yet; it is being written by {who} (solver.snapshot says how often it makes one)"
        )
    if os.path.isfile(run.path(METRICS)):
        last = max((row["iter"] for row in read_metrics(run.path(METRICS))), default=0)
        return (
            f"{where} has no snapshot: its run ended, at iteration {last} or later, before it made the first "
            "(solver.snapshot says how often, in iterations); start it again: nettrain train SPEC --out "
            f"{quoted(run.folder or where)}"
        )
    if os.path.isdir(where):
        runs = _runs_in(where, "*", "*/*")
        if runs:
            return f"{where} holds the runs {', '.join(map(str, runs))}; choose one, such as {where / runs[-1]}"
        return (
            f"no snapshot in {where}; a run is a folder such as runs/mlp/001; a spec for data is written by: nettrain "
            f"new NAME --data {quoted(where)}"
        )
    beside = [path.name for path in Run.of(where).snapshots()] if where.suffix == ".npz" else []
    if beside:
        return f"there is no snapshot {where}; in {where.parent} there are {', '.join(beside[:SHOWN])}"
    places = ((where.parent, "*"), (Path("runs"), "*/*"))
    runs = list(dict.fromkeys(folder / name for folder, pattern in places for name in _runs_in(folder, pattern)))
    others = f"there are {', '.join(map(str, runs))}" if runs else "a run is a folder such as runs/mlp/001"
    return f"there is no run or snapshot {where}; {others}"


def _runs_in(folder: Path, *patterns: str) -> list[Path]:
    """The last of the runs below a folder whose folders match a pattern, relative to it."""
    found = {
        path.parent for pattern in patterns for path in folder.glob(f"{pattern}/*.npz") if NAME.fullmatch(path.name)
    }
    return [path.relative_to(folder) for path in sorted(found)][-SHOWN:]
