"""Where a run's files go: runs/NAME/NUMBER/, or names that start with snapshot_prefix."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..net.errors import NettrainError
from ..net.files import remove_unfinished, write_atomically
from .snapshot import Snapshot, read_snapshot

NAME = re.compile(r"(?:(?P<stem>.+)_)?(?:iter_(?P<iter>[0-9]+)|best)\.npz")


class Run:
    """The files of one training run. Nothing is made before ``open``."""

    def __init__(self, name: str, prefix: str = "", folder: str | Path | None = None):
        self.name = re.sub(r"[^\w.-]+", "_", name).lstrip(".")[:100] or "net"
        self.folder, self.stem = Path(folder) if folder else None, ""
        if prefix and self.folder is None:
            is_folder = prefix.endswith(("/", os.sep)) or os.path.isdir(prefix)
            self.folder, self.stem = (Path(prefix), "") if is_folder else (Path(prefix).parent, Path(prefix).name)
        self.is_given = self.folder is not None  # where files go was asked for
        self._open = False

    @classmethod
    def of(cls, snapshot: Path) -> Run:
        """The run that a snapshot file belongs to."""
        run = cls("", folder=snapshot.parent)
        match = NAME.fullmatch(snapshot.name)
        run.stem = (match["stem"] or "") if match else ""
        return run

    def open(self) -> None:
        """Make the folder and see that it can be written. Raises NettrainError before any work is done."""
        if self._open:
            return
        try:
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            else:
                self.folder = _next_folder(Path("runs") / self.name)
            probe = self.path("probe")
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise NettrainError(
                f"cannot write to {self.folder or 'runs'}: {error.strerror}; choose another folder with --out",
                exit_code=1,
            ) from None
        self._open = True

    def check_writable(self) -> None:
        """Raise NettrainError when the files of a run could not be written; makes nothing."""
        at = self.folder or Path("runs")
        while not at.exists() and at != at.parent:
            at = at.parent
        if not at.is_dir() or not os.access(at, os.W_OK):
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
        return self.where.resolve() == other.where.resolve()

    def snapshots(self, with_best: bool = True) -> list[Path]:
        """The run's snapshot files, the newest first."""
        found = []
        for path in self.folder.iterdir() if self.folder and self.folder.is_dir() else ():
            match = NAME.fullmatch(path.name)
            if match and (match["stem"] or "") == self.stem and (match["iter"] or with_best):
                found.append((_iteration_of(path), path.name, path))
        return [path for *_, path in sorted(found, reverse=True)]

    def check_free(self) -> None:
        """Raise NettrainError when another run's files are there already: they would be mixed and overwritten."""
        if newest := self.snapshots()[:1]:
            raise NettrainError(
                f"{self.where} holds a run already ({newest[0].name}): go on with it (--resume {self.where}), or "
                "choose another --out or snapshot_prefix"
            )

    def write_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl. Raises NettrainError when the disk refuses."""
        path = self.path("metrics.jsonl")
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_finite(row), allow_nan=False) + "\n")
        except OSError as error:
            raise NettrainError(f"cannot write {path}: {error.strerror or error}", exit_code=1) from None

    def sync_metrics(self) -> None:
        """Bring the lines to disk: a snapshot that is there after a power failure needs those before it."""
        try:
            with self.path("metrics.jsonl").open("rb+") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            pass

    def continue_from(self, other: Run, iteration: int) -> int:
        """Begin with the lines of metrics that another run, or this one, wrote before an iteration.

        Lines of later iterations and what a killed process left are dropped. Returns how many were dropped.
        """
        self.open()
        assert self.folder is not None
        remove_unfinished(self.folder, f"{self.stem}_" if self.stem else "")
        source = other.path("metrics.jsonl")
        lines = source.read_bytes().splitlines(keepends=True) if source.is_file() else []
        kept = [line for line in lines if _iteration(line, iteration) < iteration]
        if kept != lines or source != self.path("metrics.jsonl"):
            text = b"".join(kept)
            write_atomically(self.path("metrics.jsonl"), lambda file: _write_all(file, text))
        return len(lines) - len(kept)

    def keep_newest(self, count: int, iteration: int) -> None:
        """Remove all but so many ``iter_N.npz`` up to this iteration."""
        made = [path for path in self.snapshots(with_best=False) if _iteration_of(path) <= iteration]
        for path in made[count:]:
            path.unlink(missing_ok=True)


@dataclass
class Found:
    """A snapshot to go on from: whether it is the newest good one of its run, and what a person should know."""

    snapshot: Snapshot
    is_newest: bool
    notes: list[str]


def find_snapshot(where: Path) -> Found:
    """A snapshot file, or the newest good one of a run: its folder, or its folder and snapshot_prefix.

    The notes name damaged ones that were passed over. Raises NettrainError when there is none.
    """
    try:
        is_file = where.is_file()
    except OSError as error:  # a name that is too long
        raise NettrainError(f"snapshot {where} cannot be read: {error.strerror}") from None
    if is_file:
        snapshot = read_snapshot(where)
        return Found(snapshot, Run.of(where).snapshots()[:1] == [where], [])
    notes: list[str] = []
    for path in _run_at(where).snapshots():
        try:
            return Found(read_snapshot(path), True, notes)
        except NettrainError as error:
            notes.append(f"{error}; passed over")
    raise NettrainError("\n".join([*notes, f"no good snapshot in {where}"]) if notes else _nothing(where))


def _run_at(where: Path) -> Run:
    """The run in a folder, or whose files begin so. Raises NettrainError when a folder holds several."""
    if not where.is_dir():
        return Run("", prefix=str(where))
    stems = {match["stem"] or "" for path in where.iterdir() if (match := NAME.fullmatch(path.name))}
    if len(stems) > 1:
        runs = ", ".join(str(where / stem) if stem else f"{where}/iter_…" for stem in sorted(stems))
        raise NettrainError(f"{where} holds snapshots of several runs ({runs}); give a file, or one of these names")
    run = Run("", folder=where)
    run.stem = next(iter(stems), "")
    return run


def _iteration_of(path: Path) -> int:
    """The iteration of a snapshot, from its name if that tells it; -1 when it cannot be read."""
    match = NAME.fullmatch(path.name)
    if match and match["iter"]:
        return int(match["iter"])
    try:
        with np.load(path, allow_pickle=False) as archive:
            return int(json.loads(str(archive["state"]))["iter"])
    except Exception:  # whatever a damaged file can cause: reading it whole will say what is wrong
        return -1


def _nothing(where: Path) -> str:
    """Why no snapshot was found, and what would be right."""
    if not where.is_dir():
        return f"snapshot not found: {where}"
    runs = sorted(path.name for path in where.iterdir() if path.is_dir() and any(path.glob("*.npz")))
    if runs:
        return f"{where} holds the runs {', '.join(runs[-10:])}; choose one, such as {where / runs[-1]}"
    return f"no snapshot in {where}"


def _write_all(file: IO[bytes], text: bytes) -> None:
    file.write(text)


def _iteration(line: bytes, otherwise: int) -> int:
    """The iteration of a line of metrics; ``otherwise`` when it is not whole."""
    try:
        return int(json.loads(line)["iter"]) if line.endswith(b"\n") else otherwise
    except (ValueError, TypeError, KeyError):
        return otherwise


def _finite(value: Any) -> Any:
    """The same data with null for what JSON has no number for: NaN and infinity."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _next_folder(base: Path) -> Path:
    """Make the next free numbered folder; two runs that start together get two."""
    base.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in base.iterdir() if path.name.isdigit()]
    number = max(taken, default=0) + 1
    while True:
        folder = base / f"{number:03d}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
