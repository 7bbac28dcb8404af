"""Where a run's files go: runs/NAME/NUMBER/, or names that start with snapshot_prefix."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..files import plain_json
from ..files.reading import open_file, read_bytes
from ..files.writing import write_atomically
from ..spec.errors import NettrainError, why
from . import lock
from .snapshot import Snapshot, SnapshotError, read_snapshot

NAME = re.compile(r"(?:(?P<stem>.+)_)?(?:iter_(?P<iter>[0-9]+)|best)\.npz")
METRICS = "metrics.jsonl"
MOST_ITERATIONS = 2**53  # what JSON's readers agree on
LONGEST_LINE = 1 << 20  # of metrics: what is longer is none
TRIES = 20  # to read a snapshot before the process that writes the run has removed it
SHOWN = 8  # runs that a message names


class Run:
    """The files of one training run. Nothing is made before ``open``, and only one process at a time has it open."""

    def __init__(self, name: str, prefix: str | None = None, folder: str | Path | None = None):
        if folder is not None and not str(folder):
            raise NettrainError("the folder for the run (--out) is empty; leave it out for runs/NAME/NUMBER")
        self.name = re.sub(r"[^\w.-]+", "_", name).lstrip(".")[:100] or "net"
        self.folder, self.stem = Path(folder) if folder is not None else None, ""
        if prefix and self.folder is None:
            is_folder = prefix.endswith(("/", os.sep)) or os.path.isdir(prefix)
            self.folder, self.stem = (Path(prefix), "") if is_folder else (Path(prefix).parent, Path(prefix).name)
        self.is_given = self.folder is not None  # where files go was asked for
        self._lock: lock.Lock | None = None
        self._has_begun = False
        self._made: list[Path] = []  # the folders that this object made, the innermost first

    @classmethod
    def of(cls, snapshot: Path) -> Run:
        """The run that a snapshot file belongs to."""
        run = cls("", folder=snapshot.parent)
        match = NAME.fullmatch(snapshot.name)
        run.stem = (match["stem"] or "") if match else ""
        return run

    def open(self) -> lock.Lock:
        """Make the folder, see that it can be written, and keep other processes from writing this run's files until
        ``close``, or until this object is gone. What a killed process left half written is removed.

        Raises NettrainError before any work is done.
        """
        if self._lock is not None and self._lock.is_ours:
            return self._lock
        try:
            missing = _missing(self.folder or Path("runs") / self.name)
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            else:
                self.folder = _next_folder(Path("runs") / self.name)
                missing.insert(0, self.folder)
            self._made += missing
            self._lock = lock.take(self.lock_path, str(self.where))
        except OSError as error:
            raise NettrainError(
                f"cannot write to {self.folder or 'runs'}: {why(error)}; choose another folder with --out",
                exit_code=1,
            ) from None
        self._remove_unfinished()
        return self._lock

    def close(self) -> None:
        """Let others write the run's files."""
        self._lock = None

    def discard(self, with_best: bool = False) -> None:
        """Remove what a run that came to nothing has written: its metrics, ``with_best`` also its best weights, and the
        folders that were made for it, unless something else is in them."""
        self.close()
        for name in [METRICS, *["best.npz"] * with_best] if self._has_begun else []:
            with contextlib.suppress(OSError):
                self.path(name).unlink(missing_ok=True)
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if self._made and not self.is_given:
            self.folder = None
        self._made, self._has_begun = [], False

    def begin(self, iteration: int) -> None:
        """Open, before the first line or snapshot: metrics of a run that came to no snapshot are not those of one
        that begins anew, at iteration 0."""
        self.open()
        if not self._has_begun and iteration == 0:
            try:
                self.path(METRICS).unlink(missing_ok=True)
            except OSError as error:
                raise _cannot_write(self.path(METRICS), error) from None
        self._has_begun = True

    def _remove_unfinished(self) -> None:
        """Remove what ``write_atomically`` left of this run's files when its process was killed."""
        assert self.folder is not None
        leftovers: list[Path] = []
        with contextlib.suppress(OSError):
            leftovers += self.folder.glob(".*.part")
        for path in leftovers:
            name = path.name[1:].removesuffix(".part").rpartition(".")[0]
            if self._is_snapshot(name) or name == self.path(METRICS).name:
                with contextlib.suppress(OSError):  # such as a folder, which is nobody's leftover
                    path.unlink(missing_ok=True)

    def _is_snapshot(self, name: str) -> bool:
        match = NAME.fullmatch(name)
        return match is not None and (match["stem"] or "") == self.stem

    def check_writable(self) -> None:
        """Raise NettrainError when the files of a run could not be written; makes nothing."""
        at = self.folder or Path("runs")
        while not os.path.exists(at) and at != at.parent:
            at = at.parent
        if not os.path.isdir(at) or not os.access(at, os.W_OK):
            raise NettrainError(f"cannot write to {at}; choose another folder with --out", exit_code=1)

    def path(self, name: str) -> Path:
        """The path of one of the run's files, such as ``iter_100.npz``."""
        assert self.folder is not None
        return self.folder / (f"{self.stem}_{name}" if self.stem else name)

    @property
    def lock_path(self) -> Path:
        """The file that keeps other processes away."""
        path = self.path("lock")
        return path.with_name(f".{path.name}")

    @property
    def where(self) -> Path:
        """What to give to go on with this run: its folder, or the start of its files' names."""
        assert self.folder is not None
        return self.folder / self.stem if self.stem else self.folder

    def is_same(self, other: Run) -> bool:
        """Whether both write the same files."""
        return os.path.realpath(self.where) == os.path.realpath(other.where)

    def snapshots(self, with_best: bool = True) -> list[Path]:
        """The run's snapshot files by the iteration of their names, the newest first, the best one last. Raises OSError
        when the folder cannot be read."""
        paths = self.folder.iterdir() if self.folder and os.path.isdir(self.folder) else ()
        found = [path for path in paths if self._is_snapshot(path.name) and (with_best or not _is_best(path))]
        return sorted(found, key=lambda path: (_iteration_of(path), path.name), reverse=True)

    def check_free(self) -> None:
        """Raise NettrainError when another run's files are there already: they would be mixed and overwritten."""
        try:
            newest = self.snapshots()[:1]
        except OSError as error:
            raise NettrainError(f"{self.folder} cannot be read: {why(error)}") from None
        if newest:
            raise NettrainError(
                f"{self.where} holds a run already ({newest[0].name}): go on with it (--resume "
                f"{quoted(self.where)}), or choose another --out or snapshot_prefix"
            )

    def write_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl. Raises NettrainError when the disk refuses."""
        path = self.path(METRICS)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(plain_json.text(row, indent=None) + "\n")
        except OSError as error:
            raise _cannot_write(path, error) from None

    def sync_metrics(self) -> None:
        """Bring the lines to disk: a snapshot that is there after a power failure needs those before it.

        Raises NettrainError when the disk refuses.
        """
        path = self.path(METRICS)
        try:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _cannot_write(path, error) from None

    def continue_from(self, other: Run, iteration: int) -> Cut:
        """Begin with the lines of metrics that another run, or this one, wrote before an iteration.

        Lines of later iterations, what a killed process left and what is no line of metrics are dropped. Returns what
        that was. Raises NettrainError when the disk refuses.
        """
        self.open()
        self._has_begun = True
        source, path = other.path(METRICS), self.path(METRICS)
        try:
            lines = list(_lines(source)) if os.path.exists(source) else []
            rows = [(line, read_line(line)) for line in lines]
            kept = [line for line, row in rows if row and row["iter"] < iteration]
            if kept != lines or source != path:
                text = b"".join(kept)
                write_atomically(path, lambda file: _write_all(file, text))
        except OSError as error:
            raise _cannot_write(path, error) from None
        unfinished = bool(lines) and not lines[-1].endswith(b"\n")
        last = max((row["iter"] for _, row in rows if row), default=0)
        return Cut(max(last, iteration), sum(row is None for _, row in rows) - unfinished)

    def copy_best(self, other: Run) -> None:
        """Take over the best weights of another run, if it has any. Raises NettrainError when the disk refuses."""
        source, path = other.path("best.npz"), self.path("best.npz")
        if not os.path.isfile(source) or self.is_same(other):
            return
        try:
            weights = read_bytes(source)
            write_atomically(path, lambda file: _write_all(file, weights))
        except OSError as error:
            raise _cannot_write(path, error) from None

    def keep_newest(self, count: int, iteration: int) -> list[str]:
        """Remove all but so many ``iter_N.npz`` up to this iteration. Returns what could not be removed, and why."""
        try:
            made = [path for path in self.snapshots(with_best=False) if _iteration_of(path) <= iteration]
        except OSError as error:
            return [f"{self.folder} cannot be read: {why(error)}"]
        failed = []
        for path in made[count:]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                failed.append(f"{path} cannot be removed: {why(error)}")
        return failed


@dataclass
class Cut:
    """What metrics lose when a run goes on: ``last`` is the iteration that its lines went up to, ``strange`` the number
    of those that were no lines of metrics (one that a killed process was about to write aside)."""

    last: int
    strange: int


@dataclass
class Found:
    """A snapshot to go on from: whether it is the newest good one of its run, and what a person should know.

    ``older`` are the run's snapshots before it, ``seen`` all ``iter_N.npz`` that were there when it was chosen.
    """

    snapshot: Snapshot
    is_newest: bool
    notes: list[str] = field(default_factory=list)
    older: list[Path] = field(default_factory=list)
    seen: list[Path] = field(default_factory=list)

    def pass_over(self, error: SnapshotError) -> None:
        """Go to the good snapshot before this one, which is bad. Raises the error when there is none."""
        notes = [f"{error}; passed over"]
        for i, path in enumerate(self.older):
            try:
                self.snapshot = read_snapshot(path)
            except NettrainError as other:
                notes.append(f"{other}; passed over")
                continue
            self.older, self.notes = self.older[i + 1 :], self.notes + notes
            return
        raise error


def find_snapshot(where: str | Path, best_first: bool = False) -> Found:
    """A snapshot file, or the newest good one of a run: its folder, or its folder and snapshot_prefix.

    ``best_first`` takes that with the best weights, if there is a good one. The notes name damaged ones that were
    passed over. Raises NettrainError when there is none.
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
                run.open()  # from here on nobody writes it, or it is said who does
        raise NettrainError(_nothing(where, run))
    except OSError as error:
        raise NettrainError(f"snapshot {where} cannot be read: {why(error)}") from None


def _newest_of_file(where: Path, run: Run) -> Found:
    """A snapshot that was asked for by the name of its file."""
    read = functools.cache(read_snapshot)
    snapshot, paths = read(where), run.snapshots()
    is_newest = [path.name for path in _by_iteration(paths, read)[:1]] == [where.name]
    return Found(snapshot, is_newest, seen=[path for path in paths if not _is_best(path)])


def _newest(run: Run, best_first: bool) -> Found | None:
    """The newest good snapshot of a run, or the best one; None when one was removed before it could be read.

    Raises NettrainError when there are some and none is good.
    """
    read = functools.cache(read_snapshot)  # what the best one's iteration is stands inside: so it is read once
    paths = run.snapshots()
    if not paths:
        raise NettrainError(_nothing(run.where, run))
    seen = [path for path in paths if not _is_best(path)]
    paths = sorted(paths, key=lambda path: not _is_best(path)) if best_first else _by_iteration(paths, read)
    notes: list[str] = []
    for i, path in enumerate(paths):
        try:
            return Found(read(path), True, notes, paths[i + 1 :], seen)
        except NettrainError as error:
            if not os.path.lexists(path):
                return None
            notes.append(f"{error}; passed over")
    raise NettrainError("\n".join([*notes, f"no good snapshot in {run.where}"]))


def _by_iteration(paths: list[Path], read: Callable[[Path], Snapshot]) -> list[Path]:
    """The newest first; one that cannot be read, where its name does not tell, is the last."""

    def iteration(path: Path) -> int:
        with contextlib.suppress(NettrainError):  # whoever reads it to use it will be told what is wrong
            return read(path).iter if _is_best(path) else _iteration_of(path)
        return -1

    return sorted(paths, key=lambda path: (iteration(path), path.name), reverse=True)


def _is_file(where: Path) -> bool:
    """Whether something else than a folder is there. Raises OSError for a name that cannot be one."""
    try:
        return not stat.S_ISDIR(os.stat(where).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_run(where: Path) -> bool:
    """Whether this is a run or a snapshot, rather than a spec: a folder, a .npz, or how a run's files begin."""
    if os.path.isdir(where) or where.suffix == ".npz":
        return True
    if os.path.lexists(where):
        return False
    with contextlib.suppress(OSError):
        return bool(Run("", prefix=str(where)).snapshots())
    return False


def check_spec(what: str | Path) -> None:
    """Raise NettrainError for a run or one of its files, where a spec is wanted."""
    where = Path(what)
    if not os.path.lexists(where) or not is_run(where):
        return
    if os.path.isdir(where):
        if not os.path.isfile(where / METRICS) and not any(NAME.fullmatch(path.name) for path in where.iterdir()):
            return
        words = f"{where} is a run, not a spec"
    else:
        words = f"{where} is a file of parameters, not a spec"
    raise NettrainError(
        f"{words}; did you mean `nettrain train --resume {quoted(where)}` to go on with it, or `nettrain test "
        f"{quoted(where)}`?"
    )


def quoted(path: str | Path) -> str:
    """A path as a command line takes it."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def read_line(line: bytes) -> dict[str, Any] | None:
    """A line of metrics; None for what is none, such as one that was cut off. ``iter`` is a whole number."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    at = row.get("iter") if isinstance(row, dict) else None
    return row if type(at) is int and 0 <= at < MOST_ITERATIONS else None


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics in a file, as ``read_line`` gives them; others are passed over. Raises OSError."""
    return (row for line in _lines(path) if (row := read_line(line)))


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, those that are too long in pieces. Raises OSError, also for a pipe or a device."""
    with open_file(path) as file:
        while line := file.readline(LONGEST_LINE):
            yield line


def _run_at(where: Path) -> Run:
    """The run in a folder, or whose files begin so. Raises NettrainError when a folder holds several."""
    if not os.path.isdir(where):
        return Run("", prefix=str(where))
    stems = {match["stem"] or "" for path in where.iterdir() if (match := NAME.fullmatch(path.name))}
    if len(stems) > 1:
        runs = ", ".join(str(where / stem) if stem else f"{where}/iter_…" for stem in sorted(stems))
        raise NettrainError(f"{where} holds snapshots of several runs ({runs}); give a file, or one of these names")
    run = Run("", folder=where)
    run.stem = next(iter(stems), "")
    return run


def _is_best(path: Path) -> bool:
    match = NAME.fullmatch(path.name)
    return match is not None and not match["iter"]


def _iteration_of(path: Path) -> int:
    """The iteration of a snapshot by its name; -1 for the best one, whose name does not tell it."""
    match = NAME.fullmatch(path.name)
    return int(match["iter"]) if match and match["iter"] else -1


def _nothing(where: Path, run: Run) -> str:
    """Why no snapshot was found, and what would be right."""
    if run.folder and (who := lock.writer(run.lock_path)):
        return (
            f"{where} has no snapshot yet; it is being written by {who} (solver.snapshot says how often it makes one)"
        )
    if os.path.isfile(run.path(METRICS)):
        last = max((row["iter"] for row in read_metrics(run.path(METRICS))), default=0)
        return (
            f"{where} has no snapshot: its run ended, at iteration {last} or later, before it made the first "
            "(solver.snapshot says how often, in iterations); begin it anew: nettrain train SPEC --out "
            f"{quoted(run.folder or where)}"
        )
    if os.path.isdir(where):
        runs = _runs_in(where, "*", "*/*")
        if runs:
            return f"{where} holds the runs {', '.join(map(str, runs))}; choose one, such as {where / runs[-1]}"
        return f"no snapshot in {where}; a run is a folder such as runs/mlp/001"
    beside = [path.name for path in Run.of(where).snapshots()] if where.suffix == ".npz" else []
    if beside:
        return f"there is no snapshot {where}; in {where.parent} there are {', '.join(beside[:SHOWN])}"
    places = ((where.parent, "*"), (Path("runs"), "*/*"))
    runs = list(dict.fromkeys(folder / name for folder, pattern in places for name in _runs_in(folder, pattern)))
    others = f"there are {', '.join(map(str, runs))}" if runs else "a run is a folder such as runs/mlp/001"
    return f"there is no run or snapshot {where}; {others}"


def _runs_in(folder: Path, *patterns: str) -> list[Path]:
    """The last of the runs below a folder, where their folders are called so, without its name."""
    found = {path.parent for pattern in patterns for path in folder.glob(f"{pattern}/*.npz")}
    return [path.relative_to(folder) for path in sorted(found)][-SHOWN:]


def _write_all(file: IO[bytes], text: bytes) -> None:
    file.write(text)


def _cannot_write(path: Path, error: OSError) -> NettrainError:
    return NettrainError(f"cannot write {path}: {why(error)}", exit_code=1)


def _missing(folder: Path) -> list[Path]:
    """The folder and those around it that are not there, the innermost first."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


def _next_folder(base: Path) -> Path:
    """Make the next free numbered folder; two runs that start together get two."""
    base.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in base.iterdir() if re.fullmatch("[0-9]+", path.name)]
    number = max(taken, default=0) + 1
    while True:
        folder = base / f"{number:03d}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
