"""Snapshots: everything needed to resume a run, in one .npz without pickle, with a checksum.

``param/LAYER/i`` the parameters, ``history/i`` the rule's arrays, ``state`` a JSON string whose keys SCHEMA lists: the
iteration, the state of every layer (data cursors), of the rate policy and of the monitor, the losses
being averaged, the last test, the warnings that were given, what the data was and what was fitted to it, the spec.

VERSION grows when what a key means changes, or one is added; ADDED has what an older version that can still be read
lacks. A file is read as a whole or not at all: version, keys, kinds and ranges are looked at before anybody takes
anything from it.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.arrays import Stored, open_npz, write_npz
from ..net.netspec import load
from ..net.records import NetSpec, Trained
from ..spec.errors import NettrainError

VERSION = 6
# what older versions lack, as they meant it
ADDED: dict[int, dict[str, Any]] = {
    2: {"level": 0, "stages": [], "data": [], "engine": "numpy", "fitted": {}},
    3: {"engine": "numpy", "fitted": {}},
    4: {"fitted": {}},
    5: {},
}
FORMAT = re.compile(r"nettrain snapshot ([0-9]{1,9})")
MOST = 2**53  # of what is counted
LONGEST_SEED = 2**128
LONGEST_STATE = 1 << 26  # bytes, four for each character; a spec has up to 1,000,000


class SnapshotError(NettrainError):
    """A snapshot that is damaged or not what it should be: that of another iteration may be good."""


@dataclass
class Snapshot:
    """What a snapshot file holds."""

    path: Path
    params: dict[str, np.ndarray]
    history: list[np.ndarray]
    state: dict[str, Any]
    version: int = VERSION

    @property
    def iter(self) -> int:
        return self.state["iter"]

    def level_and_stages(self, level: int, stages: Iterable[str]) -> tuple[int, tuple[str, ...]]:
        """Those given now, or else those of the run."""
        return self.trained.level_and_stages(level, stages)

    @property
    def trained(self) -> Trained:
        """What a net of this run takes over from it."""
        return Trained(self.path, self.state["fitted"], self.state["level"], tuple(self.state["stages"]))

    def spec(self, settings: Iterable[str] = (), allow_python: bool = False) -> NetSpec:
        """The spec of the run, with further overrides. Raises SpecError."""
        folder = Path(self.state["folder"])
        if not os.path.isdir(folder):  # the run was moved
            folder = Path()
        return load(self.state["spec"], settings, allow_python=allow_python, folder=folder)


def write_snapshot(path: Path, params: dict[str, np.ndarray], history: list[np.ndarray], state: dict[str, Any]) -> None:
    """Write a snapshot; it has its name only when it is complete."""
    arrays = dict(params) | {f"history/{i}": array for i, array in enumerate(history)}
    arrays["state"] = np.array(json.dumps({"format": f"nettrain snapshot {VERSION}"} | state))
    write_npz(path, arrays)


def is_snapshot(path: Path) -> bool:
    """Whether an .npz has the state of a solver, so that it is more than weights. A file that is damaged is none."""
    try:
        with open_npz(path, "snapshot") as archive:
            _state(path, archive)
    except NettrainError:
        return False
    return True


def read_snapshot(path: Path) -> Snapshot:
    """Raises SnapshotError for a file that is damaged, of another kind or version, or not valid.

    The state is read first and tells what the file is: if of another kind, nothing else is read.
    """
    try:
        with open_npz(path, "snapshot") as archive:
            state = _state(path, archive)
            if not archive.is_sealed:
                raise SnapshotError(f"snapshot {path} is damaged: it has lost its checksum")
            _check_state(path, state)
            if archive.is_packed or len(archive) < len(archive.members):
                raise SnapshotError(f"snapshot {path} is damaged: it has members that nettrain does not write")
            names = _params(path, archive), _history(path, archive)
            params = {key: archive[key].read() for key in names[0]}
            history = [archive[key].read() for key in names[1]]
    except SnapshotError:
        raise
    except NettrainError as error:
        raise SnapshotError(str(error)) from None
    except Exception as error:  # what else a damaged file can cause
        raise SnapshotError(f"snapshot {path} is damaged: {error}") from None
    for key, array in params.items():
        if not np.isfinite(array).all():
            raise SnapshotError(f"snapshot {path} is not valid: {key} must hold finite numbers")
    return Snapshot(path, params, history, state, version_of(state))


def _check_state(path: Path, state: dict[str, Any]) -> None:
    """Raise SnapshotError unless all is there, and of the kind it should be."""
    for key, (holds, words) in SCHEMA.items():
        if key not in state:
            raise SnapshotError(f"snapshot {path} is not valid: its state has no `{key}`, {words}")
        if not holds(state[key]):
            raise SnapshotError(
                f"snapshot {path} is not valid: `{key}` of its state must be {words}, got {_short(state[key])}"
            )


def version_of(state: Mapping[str, Any]) -> int:
    """The version of snapshots that a state was written in."""
    found = FORMAT.fullmatch(str(state.get("format")))
    return int(found[1]) if found else VERSION


def _state(path: Path, arrays: Mapping[str, Stored]) -> dict[str, Any]:
    """The JSON of the state, of the version this program writes."""
    text, state = arrays.get("state"), None
    if text is not None and text.dtype.kind == "U" and text.shape == () and text.dtype.itemsize <= LONGEST_STATE:
        try:
            state = json.loads(str(text.read()))
        except (ValueError, RecursionError):
            state = None
    form = state.get("format") if isinstance(state, dict) else None
    version = FORMAT.fullmatch(form) if isinstance(form, str) else None
    if not isinstance(state, dict) or version is None:
        kind = "weights without a solver's state" if any(k.startswith("param/") for k in arrays) else "something else"
        raise SnapshotError(f"{path} is not a snapshot but {kind}; to start from weights use --weights")
    number = int(version[1])
    if number in ADDED:
        return ADDED[number] | state
    if number != VERSION:
        age = "a newer" if number > VERSION else "an older"
        raise SnapshotError(
            f"snapshot {path} was written by {age} nettrain (version {number} of snapshots, this one reads "
            f"{VERSION}): resume with that one, or start a run with its parameters: --weights {path}"
        )
    return state


def _params(path: Path, arrays: Mapping[str, Stored]) -> list[str]:
    """The names of the parameters' arrays."""
    names = [key for key in arrays if key.startswith("param/")]
    for key in names:
        if (kind := arrays[key].dtype).kind != "f":
            raise SnapshotError(f"snapshot {path} is not valid: {key} must hold finite numbers, it is {kind}")
    return names


def _history(path: Path, arrays: Mapping[str, Stored]) -> list[str]:
    """The names of the rule's arrays, in order."""
    count = sum(key.startswith("history/") for key in arrays)
    names = [f"history/{i}" for i in range(count)]
    for key in names:
        array = arrays.get(key)
        if array is None or array.dtype.kind != "f":
            is_what = "is missing" if array is None else f"holds {array.dtype}, not numbers"
            raise SnapshotError(f"snapshot {path} is not valid: {key} of {count} {is_what}")
    return names


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


# What the state may be, key by key: a test, and what is expected in words.


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def _number(value: Any) -> bool:
    return math.isfinite(value) if type(value) is float else type(value) is int and abs(value) < MOST


def _best(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and _number(value[0]) and _count(value[1]))


def _monitor(value: Any) -> bool:
    if value is None:
        return True
    wanted: dict[str, Callable[[Any], bool]] = {
        "name": lambda name: isinstance(name, str),
        "higher": lambda higher: isinstance(higher, bool),
        "best": _best,
        "waited": _count,
    }
    return isinstance(value, dict) and all(key in value and holds(value[key]) for key, holds in wanted.items())


def _policy(value: Any) -> bool:
    return isinstance(value, dict) and all(_count(number) for number in value.values())


def _tested(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or len(value) != 3:
        return False
    iteration, scores, best = value
    return (
        _count(iteration)
        and isinstance(best, bool)
        and isinstance(scores, dict)
        and all(_score(score) for score in scores.values())
    )


def _score(value: Any) -> bool:
    """A number, NaN and infinity too, or such numbers in lists."""
    if isinstance(value, list):
        return all(_score(item) for item in value)
    return type(value) is float or (type(value) is int and abs(value) < MOST)


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(holds(item) for item in value)


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _mappings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())


SCHEMA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "iter": (_count, "the number of updates made"),
    "seed": (lambda value: type(value) is int and 0 <= value < LONGEST_SEED, "an integer >= 0"),
    "engine": (lambda value: value in ("numpy", "onednn"), "numpy or onednn"),
    "level": (lambda value: type(value) is int and abs(value) < MOST, "an integer"),
    "stages": (_list_of(_string), "a list of names"),
    "monitor": (_monitor, "null, or a name, a direction, the best score with its iteration and a count of tests"),
    "policy": (_policy, "counts by name"),
    "tested": (_tested, "null, or an iteration, its scores and whether they were the best"),
    "said": (_list_of(_string), "a list of strings"),
    "losses": (_list_of(_number), "a list of finite numbers"),
    "layers": (_mappings, "the state of each layer"),
    "test_layers": (_list_of(_mappings), "the states of the layers of each test net"),
    "data": (_list_of(_mappings), "what the data of each net was"),
    "fitted": (_mappings, "what each layer found in the training data"),
    "spec": (lambda value: isinstance(value, dict), "the spec"),
    "folder": (_string, "the folder of the spec"),
}
