"""Where a run's files go: runs/NAME/NUMBER/, or names that start with snapshot_prefix."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from ..net.errors import NettrainError


class Run:
    """The files of one training run. Nothing is made before ``open``."""

    def __init__(self, name: str, prefix: str = "", folder: str | Path | None = None):
        self.name = re.sub(r"[^\w.-]+", "_", name).lstrip(".")[:100] or "net"
        self.folder, self.stem = Path(folder) if folder else None, ""
        if prefix and self.folder is None:
            is_folder = prefix.endswith(("/", os.sep)) or os.path.isdir(prefix)
            self.folder, self.stem = (Path(prefix), "") if is_folder else (Path(prefix).parent, Path(prefix).name)
        self._open = False

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

    def write_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        with self.path("metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(row), allow_nan=False) + "\n")


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
