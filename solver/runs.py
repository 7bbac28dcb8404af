"""Where a run's files go: runs/NAME/NUMBER/, or names that start with snapshot_prefix."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import IO, Any

from ..net.errors import NettrainError
from ..net.files import remove_unfinished, write_atomically
from .snapshot import NAME


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
        assert self.folder is not None
        old = []
        for path in self.folder.iterdir():
            match = NAME.fullmatch(path.name)
            if match and (match["stem"] or "") == self.stem and match["iter"] and int(match["iter"]) <= iteration:
                old.append((int(match["iter"]), path))
        for _, path in sorted(old)[:-count]:
            path.unlink(missing_ok=True)


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
