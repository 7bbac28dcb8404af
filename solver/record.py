"""What was done in a run: when, with which command and settings, by which versions, how it ended.

``run.json`` is for programs: ``began`` lists each beginning, the first and every resume, ``ended`` says how it came to
an end, null while it runs or when its process was killed. ``spec.yaml`` is for people: the spec as it was trained, with
its settings, which can be trained again. The snapshots hold all that a resume needs; neither file is read for it.
"""

from __future__ import annotations

import copy
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..files import plain_json
from ..files.reading import read_bytes
from ..net.registry import other_programs
from ..spec.errors import NettrainError, Place
from ..spec.node import Node
from .runs import RECORD, SPEC, Run, quoted

if TYPE_CHECKING:
    from .solver import Solver

FORMAT = "nettrain run 1"
MOST_BYTES = 1 << 24  # of a record that is read
# What whoever reads a record relies on, as ``_fits`` compares: a person may have changed it.
FORM = {
    "name": str,
    "file": (str, None),
    "began": [{"at": str, "iteration": int, "settings": [str], "versions": {}}],
    "ended": (None, {"iteration": int, "how": str, "why": str, "best": (None, {"score": (int, float), "at": int})}),
    "seed": int,
    "max_iter": int,
    "monitor": (None, {"name": str, "higher": bool}),
    "data": [{}],
    "spec": {},
}


def read_record(run: Run) -> dict[str, Any] | None:
    """The record of a run; None where there is none, or what is there is none of nettrain's. Raises OSError."""
    path = run.path(RECORD)
    if not os.path.lexists(path):
        return None
    try:
        found = json.loads(read_bytes(path, MOST_BYTES))
    except (ValueError, RecursionError):
        return None
    is_ours = _fits(found, FORM) and found.get("format") == FORMAT and found["began"]
    return found if is_ours else None


def _fits(value: Any, form: Any) -> bool:
    """Whether JSON data has a form: a type or None; a tuple of forms, one of which it has; a list of things of a form;
    a dict with these keys, and perhaps others."""
    if isinstance(form, tuple):
        return any(_fits(value, one) for one in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(one, form[0]) for one in value)
    if isinstance(form, dict):
        return isinstance(value, dict) and all(key in value and _fits(value[key], one) for key, one in form.items())
    return value is None if form is None else type(value) is form


def shares_of(record: Mapping[str, Any] | None) -> frozenset[str]:
    """The scores of a run that are shares of a whole, read as percentages; none of an older nettrain's run."""
    named = (record or {}).get("shares")
    return frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset()


class Record:
    """Writes the record of a solver's run. ``command`` is the line that was typed, ``settings`` its ``--set``."""

    def __init__(self, settings: tuple[str, ...] = ()):
        self.command, self.settings = "", settings
        self._run: Run | None = None  # whose record this is
        self._data: dict[str, Any] = {}

    def begin(self, solver: Solver) -> None:
        """Write both files, once for a run. Raises NettrainError when they cannot be written.

        A file of another origin that has one of their names is left alone, and the run goes without both.
        """
        run = solver.run
        if not solver.team.is_first or (self._run is not None and self._run.is_same(run)):
            return
        self._run, self._data = run, {}
        before = _before(solver)
        there = [run.path(name) for name in (RECORD, SPEC) if os.path.lexists(run.path(name))]
        if there and _read(run) is None:
            solver.warn([f"{there[0]} is not nettrain's and stays as it is: the spec is not written beside the run"])
            return
        self._data = self._about(solver, before)
        run.write(RECORD, plain_json.text(self._data) + "\n")
        run.write(SPEC, spec_text(solver, self._data))

    def _about(self, solver: Solver, before: Mapping[str, Any]) -> dict[str, Any]:
        now: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%d %H:%M:%S"),
            "iteration": solver.iter,
            "command": self.command,
            "settings": list(self.settings),
            "from": str(solver.last_snapshot) if solver.last_snapshot else None,
            "versions": versions(solver.net.computed_by),
        }
        is_file = solver.spec.file != "spec"  # else it is a mapping, a text, or that of a snapshot
        return {
            "format": FORMAT,
            "name": solver.spec.name,
            "file": solver.spec.file if is_file else before.get("file"),
            "began": [*before.get("began", []), now],
            "ended": None,
            "seed": solver.seed,
            "level": solver.level,
            "stages": list(solver.stages),
            "max_iter": solver.max_iter,
            "monitor": {"name": solver.monitor.name, "higher": solver.monitor.higher} if solver.monitor else None,
            "shares": [name for test in solver.tests for name in test.shares()],
            "data": solver.data,
            "spec": solver.spec.to_python(),
        }

    def end(self, solver: Solver, error: BaseException | None = None) -> None:
        """Write how it ended. A disk that refuses is a warning: the run itself is there."""
        if not self._data or self._run is not solver.run:
            return
        how, why = how_it_ended(solver, error)
        best = {"score": solver.best[0], "at": solver.best[1]} if solver.best else None
        self._data["ended"] = {
            "at": time.strftime("%Y-%m-%d %H:%M:%S"),
            "iteration": solver.iter,
            "how": how,
            "why": why,
            "best": best,
        }
        try:
            solver.run.write(RECORD, plain_json.text(self._data) + "\n")
        except NettrainError as refused:
            solver.warn([str(refused)])
        self._run = None  # what begins now is another part of it


def how_it_ended(solver: Solver, error: BaseException | None = None) -> tuple[str, str]:
    """``finished``, ``interrupted`` or ``failed``, and why: of a run that ended before max_iter, or with an error."""
    by_signal = isinstance(error, KeyboardInterrupt) or getattr(error, "exit_code", 0) > 128
    if by_signal or solver.ended.startswith("stopped at"):
        return "interrupted", ""
    if error is not None:
        return "failed", str(error).partition("\n")[0] or type(error).__name__
    return "finished", solver.ended


def _read(run: Run) -> dict[str, Any] | None:
    try:
        return read_record(run)
    except OSError:
        return None


def _before(solver: Solver) -> Mapping[str, Any]:
    """The record of the run that is resumed, from which another folder takes no more than the name of the spec."""
    if solver.last_snapshot is None:
        return {}
    old = Run.of(solver.last_snapshot)
    found = _read(old) or {}
    return found if old.is_same(solver.run) else {"file": found.get("file")}


def versions(engine: str) -> dict[str, str]:
    """Those that numbers depend on: nettrain's, Python's, numpy's, and oneDNN's where it computes."""
    found = {"nettrain": __version__, "python": platform.python_version(), "numpy": np.__version__}
    if engine == "onednn":
        from ..compute.onednn.library import UnavailableError, library  # which is loaded where it computes

        try:
            found["onednn"] = library().version
        except UnavailableError:
            found["onednn"] = "unknown"
    return found


def spec_text(solver: Solver, about: Mapping[str, Any]) -> str:
    """The spec with its settings, as a person would write it, and above it what was done with it."""
    run = solver.run
    head = [f"The spec of {run.where}, settings applied. To train it anew: nettrain train {quoted(run.path(SPEC))}"]
    for one in about["began"]:
        what = "begun" if not one["iteration"] else f"resumed at iteration {one['iteration']}"
        by = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
        head.append(f"{what} {one['at']} by {by}: {one['command'] or 'a Python program'}")
    head.append(f"seed {solver.seed}")
    root = copy.copy(solver.spec.root)
    name = {key: node for key, node in root.value.items() if key == "name"}
    folder = Node(_seen_from(run.path(SPEC).parent, solver.spec.folder), Place(""))
    root.value = name | {"folder": folder} | {key: node for key, node in root.value.items() if key not in name}
    text: str = other_programs("yaml_out").to_yaml(root, head=[" ".join(line.split()) for line in head])
    return text


def _seen_from(place: Path, folder: Path) -> str:
    """The folder of the spec as its copy in a run names it: relative where both lie below the current folder, so that
    they may be moved together."""
    place, folder, here = place.resolve(), folder.resolve(), Path().resolve()
    if place.is_relative_to(here) and folder.is_relative_to(here):
        return Path(os.path.relpath(folder, place)).as_posix()
    return str(folder)
