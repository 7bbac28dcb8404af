"""Snapshots: everything a run needs to go on, in one .npz without pickle, with a checksum.

``param/LAYER/i`` the parameters, ``history/i`` the rule's arrays, ``state`` a JSON text with the iteration,
the state of every layer (data cursors, random generators), of the rate policy and of the monitor, the losses being
averaged, the last test and the spec.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..net.errors import NettrainError
from ..net.files import checksum, read_npz, write_npz

FORMAT = "nettrain snapshot 2"
NAME = re.compile(r"(?:(?P<stem>.+)_)?(?:iter_(?P<iter>[0-9]+)|best)\.npz")


@dataclass
class Snapshot:
    """What a snapshot file holds."""

    path: Path
    params: dict[str, np.ndarray]
    history: list[np.ndarray]
    state: dict[str, Any]

    @property
    def iter(self) -> int:
        return self.state["iter"]


def write_snapshot(path: Path, params: dict[str, np.ndarray], history: list[np.ndarray], state: dict[str, Any]) -> None:
    """Write a snapshot; it has its name only when it is complete."""
    arrays = dict(params) | {f"history/{i}": array for i, array in enumerate(history)}
    arrays["state"] = np.array(json.dumps({"format": FORMAT} | state))
    write_npz(path, arrays)


def read_snapshot(path: Path) -> Snapshot:
    """Raises NettrainError for a damaged file or one of another kind."""
    arrays = read_npz(path, "snapshot")
    state = None
    if "state" in arrays:
        try:
            state = json.loads(str(arrays.pop("state")))
        except ValueError:
            state = None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        kind = "weights without a solver's state" if any(k.startswith("param/") for k in arrays) else "something else"
        raise NettrainError(f"{path} is not a snapshot but {kind}; to start from weights use --weights")
    if checksum(path) is None:
        raise NettrainError(f"snapshot {path} is damaged: it has lost its checksum")
    history = [arrays[f"history/{i}"] for i in range(sum(key.startswith("history/") for key in arrays))]
    return Snapshot(path, {key: array for key, array in arrays.items() if key.startswith("param/")}, history, state)


def find_snapshot(where: Path) -> tuple[Snapshot, list[str]]:
    """A snapshot file, or the newest good one of a run: its folder, or its folder and snapshot_prefix.

    Returns it with a sentence for each damaged one that was passed over. Raises NettrainError when there is none.
    """
    if where.is_file():
        return read_snapshot(where), []
    paths = list_snapshots(where)
    notes: list[str] = []
    for path in paths:
        try:
            return read_snapshot(path), notes
        except NettrainError as error:
            notes.append(f"{error}; passed over")
    raise NettrainError("\n".join([*notes, f"no good snapshot in {where}"]) if notes else _nothing(where))


def list_snapshots(where: Path) -> list[Path]:
    """The snapshot files of a run, the newest first. Raises NettrainError when a folder holds several runs."""
    folder, stem = (where, None) if where.is_dir() else (where.parent, where.name)
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := NAME.fullmatch(path.name):
            iteration = int(match["iter"]) if match["iter"] else _iteration(path)
            found.setdefault(match["stem"] or "", []).append((iteration, path))
    if stem is None and len(found) > 1:
        runs = ", ".join(str(folder / name) if name else f"{folder}/iter_…" for name in sorted(found))
        raise NettrainError(f"{where} holds snapshots of several runs ({runs}); give a file, or one of these names")
    chosen = found.get(stem, []) if stem is not None else next(iter(found.values()), [])
    return [path for _, path in sorted(chosen, key=lambda one: (one[0], one[1].name), reverse=True)]


def _iteration(path: Path) -> int:
    """The iteration of a snapshot whose name does not tell; -1 when it cannot be read."""
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
