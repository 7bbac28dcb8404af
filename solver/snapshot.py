"""Snapshots: everything a run needs to go on, in one .npz without pickle.

``param/LAYER/i`` the parameters, ``history/i`` the rule's arrays, ``state`` a JSON text with the iteration,
the state of every layer (data cursors, random generators), the losses being averaged, the best test and the spec.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..net.errors import NettrainError
from ..net.files import read_npz, write_npz

FORMAT = "nettrain snapshot 1"


def write_snapshot(path: Path, params: dict[str, np.ndarray], history: list[np.ndarray], state: dict[str, Any]) -> None:
    """Write a snapshot; it has its name only when it is complete."""
    arrays = dict(params) | {f"history/{i}": array for i, array in enumerate(history)}
    arrays["state"] = np.array(json.dumps({"format": FORMAT} | state))
    write_npz(path, arrays)


def read_snapshot(path: Path) -> tuple[dict[str, np.ndarray], list[np.ndarray], dict[str, Any]]:
    """(parameters, history, state). Raises NettrainError for a damaged file or one of another kind."""
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
    history = [arrays[f"history/{i}"] for i in range(sum(key.startswith("history/") for key in arrays))]
    return {key: array for key, array in arrays.items() if key.startswith("param/")}, history, state
