"""Where a run's files go: runs/NAME/NUMBER/, or names that start with snapshot_prefix."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..net import plain_json
from ..net.errors import NettrainError, why
from ..net.files import open_file, read_bytes, write_atomically
from . import lock
from .snapshot import Snapshot, SnapshotError, read_snapshot

NAME = re.compile(r"(?:(?P<stem>.+)_)?(?:iter_(?P<iter>[0-9]+)|best)\.npz")
METRICS = "metrics.jsonl"
MOST_ITERATIONS = 2**53  # what JSON's readers agree on
LONGEST_LINE = 1 << 20  # of metrics: what is longer is none


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
            path = self.path("lock")
            self._lock = lock.take(path.with_name(f".{path.name}"), str(self.where))
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
        with contextlib.suppress(OSError):
            for path in self.folder.glob(".*.part"):
                name = path.name[1:].removesuffix(".part").rpartition(".")[0]
                if self._is_snapshot(name) or name == self.path(METRICS).name:
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
    def where(self) -> Path:
        """What to give to go on with this run: its folder, or the start of its files' names."""
        assert self.folder is not None
        return self.folder / self.stem if self.stem else self.folder

    def is_same(self, other: Run) -> bool:
        """Whether both write the same files."""
        return os.path.realpath(self.where) == os.path.realpath(other.where)

    def snapshots(self, with_best: bool = True) -> list[Path]:
        """The run's snapshot files, the newest first. Raises OSError when the folder cannot be read."""
        found = []
        for path in self.folder.iterdir() if self.folder and os.path.isdir(self.folder) else ():
            if self._is_snapshot(path.name) and (with_best or not _is_best(path)):
                found.append((_iteration_of(path), path.name, path))
        return [path for *_, path in sorted(found, reverse=True)]

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

    def continue_from(self, other: Run, iteration: int) -> int:
        """Begin with the lines of metrics that another run, or this one, wrote before an iteration.

        Lines of later iterations, what a killed process left and what is no line of metrics are dropped. Returns how
        many were dropped. Raises NettrainError when the disk refuses.
        """
        self.open()
        self._has_begun = True
        source, path = other.path(METRICS), self.path(METRICS)
        try:
            lines = list(_lines(source)) if os.path.isfile(source) else []
            kept = [line for line in lines if (row := read_line(line)) and row["iter"] < iteration]
            if kept != lines or source != path:
                text = b"".join(kept)
                write_atomically(path, lambda file: _write_all(file, text))
        except OSError as error:
            raise _cannot_write(path, error) from None
        return len(lines) - len(kept)

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
    try:
        if _is_file(where):
            snapshot, paths = read_snapshot(where), Run.of(where).snapshots()
            is_newest = [path.name for path in paths[:1]] == [where.name]
            return Found(snapshot, is_newest, seen=[path for path in paths if not _is_best(path)])
        paths = _run_at(where).snapshots()
        seen = [path for path in paths if not _is_best(path)]
        if best_first:
            paths.sort(key=lambda path: not _is_best(path))
        notes: list[str] = []
        for i, path in enumerate(paths):
            try:
                return Found(read_snapshot(path), True, notes, paths[i + 1 :], seen)
            except NettrainError as error:
                notes.append(f"{error}; passed over")
        raise NettrainError("\n".join([*notes, f"no good snapshot in {where}"]) if notes else _nothing(where))
    except OSError as error:
        raise NettrainError(f"snapshot {where} cannot be read: {why(error)}") from None


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
    """The iteration of a snapshot, from its name if that tells it; -1 when it cannot be read."""
    match = NAME.fullmatch(path.name)
    if match and match["iter"]:
        return int(match["iter"])
    try:
        return read_snapshot(path).iter
    except NettrainError:  # whoever reads it to use it will be told what is wrong
        return -1


def _nothing(where: Path) -> str:
    """Why no snapshot was found, and what would be right."""
    if not os.path.isdir(where):
        return f"snapshot not found: {where}"
    runs = sorted(path.name for path in where.iterdir() if path.is_dir() and any(path.glob("*.npz")))
    if runs:
        return f"{where} holds the runs {', '.join(runs[-10:])}; choose one, such as {where / runs[-1]}"
    return f"no snapshot in {where}"


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
