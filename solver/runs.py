"""Where a run's files go: runs/NAME/NUMBER/, or names that start with snapshot_prefix."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..files import plain_json
from ..files.reading import read_bytes
from ..files.writing import write_atomically
from ..spec.errors import NettrainError, why
from . import lock
from .metrics import METRICS, lines_of, read_line

SPEC = "spec.yaml"  # as it was trained, to be read and trained again
RECORD = "run.json"  # what was done, see record.py
NAME = re.compile(r"(?:(?P<stem>.+)_)?(?:iter_(?P<iter>[0-9]+)|best)\.npz")


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
        self.is_given = self.folder is not None  # where files go was chosen
        self._lock: lock.Lock | None = None
        self._has_begun = False
        self._written: set[str] = set()  # by ``write``
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
                self.folder = next_folder(Path("runs") / self.name)
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
        for name in [METRICS, *self._written, *["best.npz"] * with_best] if self._has_begun else []:
            with contextlib.suppress(OSError):
                self.path(name).unlink(missing_ok=True)
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if self._made and not self.is_given:
            self.folder = None
        self._made, self._written, self._has_begun = [], set(), False

    def begin(self, iteration: int) -> None:
        """Open, before the first line or snapshot: metrics of a run that never wrote a snapshot are not those of one
        that starts again, at iteration 0."""
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
            if self._is_snapshot(name) or name in [self.path(one).name for one in (METRICS, SPEC, RECORD)]:
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
        """What to give to resume this run: its folder, or the start of its files' names."""
        assert self.folder is not None
        return self.folder / self.stem if self.stem else self.folder

    def is_same(self, other: Run) -> bool:
        """Whether both write the same files."""
        return os.path.realpath(self.where) == os.path.realpath(other.where)

    def snapshots(self, with_best: bool = True) -> list[Path]:
        """The run's snapshot files by the iteration of their names, the newest first, the best one last. Raises OSError
        when the folder cannot be read."""
        paths = self.folder.iterdir() if self.folder and os.path.isdir(self.folder) else ()
        found = [path for path in paths if self._is_snapshot(path.name) and (with_best or not is_best(path))]
        return sorted(found, key=lambda path: (iteration_of(path), path.name), reverse=True)

    def check_free(self) -> None:
        """Raise NettrainError when another run's files are there already: they would be mixed and overwritten."""
        try:
            newest = self.snapshots()[:1]
        except OSError as error:
            raise NettrainError(f"{self.folder} cannot be read: {why(error)}") from None
        if newest:
            raise NettrainError(
                f"{self.where} already holds a run ({newest[0].name}): resume it (--resume "
                f"{quoted(self.where)}), or choose another --out or snapshot_prefix"
            )

    def write(self, name: str, text: str) -> None:
        """Write one of the run's files whole. Raises NettrainError when it cannot be written."""
        path, raw = self.path(name), text.encode(errors="surrogateescape")
        self._written.add(name)
        try:
            write_atomically(path, lambda file: _write_all(file, raw))
        except OSError as error:
            raise _cannot_write(path, error) from None

    def write_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl. Raises NettrainError when it cannot be written."""
        path = self.path(METRICS)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(plain_json.text(row, indent=None) + "\n")
        except OSError as error:
            raise _cannot_write(path, error) from None

    def sync_metrics(self) -> None:
        """Bring the lines to disk: a snapshot that is there after a power failure needs those before it.

        Raises NettrainError when it cannot be written.
        """
        path = self.path(METRICS)
        try:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _cannot_write(path, error) from None

    def continue_from(self, other: Run, iteration: int) -> Dropped:
        """Begin with the lines of metrics that another run, or this one, wrote before an iteration.

        Lines of later iterations, what a killed process left and lines of anything else are dropped. Returns what
        that was. Raises NettrainError when it cannot be written.
        """
        self.open()
        self._has_begun = True
        source, path = other.path(METRICS), self.path(METRICS)
        try:
            lines = list(lines_of(source)) if os.path.exists(source) else []
            rows = [(line, read_line(line)) for line in lines]
            kept = [line for line, row in rows if row and row["iter"] < iteration]
            if kept != lines or source != path:
                text = b"".join(kept)
                write_atomically(path, lambda file: _write_all(file, text))
        except OSError as error:
            raise _cannot_write(path, error) from None
        unfinished = bool(lines) and not lines[-1].endswith(b"\n")
        last = max((row["iter"] for _, row in rows if row), default=0)
        return Dropped(max(last, iteration), sum(row is None for _, row in rows) - unfinished)

    def copy_best(self, other: Run) -> None:
        """Take over the best weights of another run, if it has any. Raises NettrainError when it cannot be written."""
        source, path = other.path("best.npz"), self.path("best.npz")
        if not os.path.isfile(source) or self.is_same(other):
            return
        try:
            weights = read_bytes(source)
            write_atomically(path, lambda file: _write_all(file, weights))
        except OSError as error:
            raise _cannot_write(path, error) from None

    def keep_newest(self, count: int, iteration: int) -> list[str]:
        """Remove all but ``count`` ``iter_N.npz`` up to this iteration. Returns what could not be removed, and why."""
        try:
            made = [path for path in self.snapshots(with_best=False) if iteration_of(path) <= iteration]
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
class Dropped:
    """What metrics lose when a run is resumed: ``last`` is the last iteration of its lines, ``invalid`` the number
    of those that were not lines of metrics (apart from one that a killed process was writing)."""

    last: int
    invalid: int


def quoted(path: str | Path) -> str:
    """A path as a command line takes it."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def is_best(path: Path) -> bool:
    match = NAME.fullmatch(path.name)
    return match is not None and not match["iter"]


def iteration_of(path: Path) -> int:
    """The iteration of a snapshot by its name; -1 for the best one, whose name does not tell it."""
    match = NAME.fullmatch(path.name)
    return int(match["iter"]) if match and match["iter"] else -1


def _write_all(file: IO[bytes], text: bytes) -> None:
    file.write(text)


def _cannot_write(path: Path, error: OSError) -> NettrainError:
    return NettrainError(f"cannot write {path}: {why(error)}", exit_code=1)


def _missing(folder: Path) -> list[Path]:
    """The folder and its parents that do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


def next_folder(base: Path) -> Path:
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
