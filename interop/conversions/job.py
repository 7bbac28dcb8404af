"""One conversion: what is read, what is asked for, and the files that are written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...files.arrays import write_npz
from ...files.writing import write_atomically
from ...net.netspec import load
from ...net.parameter_files import by_layer, file_of, open_parameters
from ...net.records import NetSpec
from ...net.spec_file import find
from ...solver.finding import snapshot_of_weights
from ...spec.errors import NettrainError, Problem, why
from ..caffe.message import Message

SPECS, WEIGHTS = ("yaml", "prototxt", "net", "run"), ("npz", "hdf5", "safetensors", "caffe")


@dataclass
class Options:
    """What the command line may ask for."""

    weights: str | None = None
    until: str = ""
    inference: bool = False
    flat: bool = False
    keep_logits: bool = False
    cont: Literal["input", "start"] = "input"
    batch: int = 1
    force: bool = False
    allow_python: bool = False
    settings: tuple[str, ...] = ()


@dataclass
class Converted:
    """What was written, and what a person should know of it."""

    written: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    difference: float | None = None  # of a model from the net it was made of, where a runtime could tell


def _file_of(source: str) -> Path:
    """The file that is the source: of a run its best snapshot, or else its newest; of a spec one that is there, or one
    that comes with nettrain."""
    file = file_of(source)
    return file if file != Path(source) else find(source)[0]


class Job:
    """A source of a known kind, a target, and what comes of it."""

    def __init__(self, source: str, target: Path, options: Options):
        self.path = _file_of(source)
        self.name, self.target, self.options, self.result = source, target, options, Converted()
        self.kind = self.to = ""
        self.folder = self.path.parent  # of what the spec names
        self.layers: Mapping[str, Message] = {}  # of a caffemodel that was read: what it says besides parameters
        self.net_name = ""

    @property
    def weights(self) -> Path | None:
        """The file of weights: the one that is given, or the source where it has them, a run or a net."""
        if self.options.weights:
            return file_of(self.options.weights)
        return self.path if self.kind in (*WEIGHTS, "model", "run") else None

    def spec(self) -> NetSpec:
        """The spec that is the source."""
        spec = load(
            self.name if self.kind == "run" else self.path,
            self.options.settings,
            allow_python=self.options.allow_python,
        )
        self.result.warnings += [said(warning) for warning in spec.warnings]
        if self.options.weights and spec.trained is None:  # those of a run come with what it found in its data
            run = snapshot_of_weights(Path(self.options.weights))
            spec.trained = run.trained if run is not None else None
        return spec

    def arrays(self, spec: NetSpec | None = None) -> dict[str, np.ndarray]:
        """The parameters, as a net has them, copied out of the file of weights."""
        path = self.weights or self.path
        with open_parameters(path, "weights file", spec) as stored:
            found = by_layer(stored)
            arrays = {
                f"param/{name}/{i}": np.array(own) for name, blobs in found.items() for i, own in enumerate(blobs)
            }
            self.layers, self.net_name = getattr(stored, "layers", {}), getattr(stored, "net_name", "")
            others = [key for key in stored if not by_layer({key: None})]
        if not arrays:
            some = ", ".join(others[:5]) or "nothing"
            raise NettrainError(
                f"{path} holds no parameters of a net (it has {some}); those are called param/LAYER/INDEX"
            )
        if others:
            rest = "the solver's state" if "state" in others else ", ".join(others[:5])
            self.result.notes.append(f"only the parameters of {path} are taken, not {rest}")
        return arrays

    def check_free(self, *paths: Path) -> None:
        """Raise NettrainError where a file would be written over that may not be."""
        for path in paths:
            if os.path.lexists(path) and not self.options.force:
                raise NettrainError(f"{path} is there already; to write over it: --force")

    def write(self, path: Path, *pieces: bytes | memoryview) -> None:
        """A new file of these bytes. Raises NettrainError."""

        def write(file: Any) -> None:
            for piece in pieces:
                file.write(piece)

        self._make(path, lambda: write_atomically(path, write))

    def write_npz(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        """A new .npz. Raises NettrainError."""
        self._make(path, lambda: write_npz(path, arrays))

    def _make(self, path: Path, make: Any) -> None:
        self.check_free(path)
        try:
            make()
        except (OSError, ValueError) as error:  # a ValueError is of a name that no file can have
            raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None
        self.result.written.append(path)


def said(problem: Problem) -> str:
    """A problem on one line, with its place."""
    return f"{problem.place}: {problem.message}" if problem.place.file else problem.message
