"""Snapshots: everything a run needs to go on, in one .npz without pickle, with a checksum.

``param/LAYER/i`` the parameters, ``history/i`` the rule's arrays, ``state`` a JSON text with the iteration,
the state of every layer (data cursors, random generators), of the rate policy and of the monitor, the losses being
averaged, the last test, the warnings that were given and the spec.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..net.errors import NettrainError
from ..net.files import has_checksum, read_npz, write_npz

FORMAT = "nettrain snapshot 2"


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
    if not has_checksum(path):
        raise NettrainError(f"snapshot {path} is damaged: it has lost its checksum")
    history = [arrays[f"history/{i}"] for i in range(sum(key.startswith("history/") for key in arrays))]
    return Snapshot(path, {key: array for key, array in arrays.items() if key.startswith("param/")}, history, state)
