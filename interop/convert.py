"""`nettrain convert`: what a file is becomes what the name of the new one says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..files.reading import mapped
from ..solver.snapshot import is_snapshot
from ..spec.errors import NettrainError
from .conversions import models, specs, weights
from .conversions.job import SPECS, WEIGHTS, Converted, Job, Options
from .kinds import kind_of_file
from .refused import words

_SUFFIXES = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".prototxt": "prototxt",
    ".npz": "npz",
    ".caffemodel": "caffe",
    ".h5": "hdf5",
    ".safetensors": "safetensors",
    ".binaryproto": "blob",
    ".npy": "npy",
    ".solverstate": "state",
    ".onnx": "onnx",
    ".py": "program",
}
_WORDS = {
    "yaml": "a spec",
    "run": "a run",
    "prototxt": "a net or solver of Caffe's",
    "npz": "weights",
    "hdf5": "weights",
    "safetensors": "weights",
    "caffe": "weights",
    "model": "a net with its weights",
    "npy": "an array",
    "blob": "a mean of Caffe's",
    "state": "the state of a solver of Caffe's, which `nettrain train --resume` takes",
    "onnx": "an ONNX model",
}
Make = Callable[[Job], None]
_OF_WEIGHTS: dict[str, Make] = dict.fromkeys(WEIGHTS, weights.to_weights)
_OF_SPECS: dict[str, Make] = {
    "yaml": specs.to_yaml_file,
    "prototxt": specs.to_prototxt,
    "onnx": models.to_onnx,
    "program": models.to_program,
}
_OF: dict[str, dict[str, Make]] = {  # by kind, and then by target
    **dict.fromkeys(SPECS, _OF_SPECS | _OF_WEIGHTS),
    **dict.fromkeys(WEIGHTS, _OF_WEIGHTS),
    "npz": _OF_WEIGHTS | {"state": weights.to_state},
    "run": _OF_SPECS | _OF_WEIGHTS | {"state": weights.to_state},
    "model": _OF_SPECS | _OF_WEIGHTS,
    "onnx": {"yaml": specs.from_onnx},
    "blob": {"npy": weights.to_mean},
    "npy": {"blob": weights.to_mean},
}


def convert(source: str, target: str, options: Options) -> Converted:
    """Write ``target`` from ``source``. Raises NettrainError for what cannot be said in the other format."""
    job = Job(source, Path(target), options)
    job.to = _SUFFIXES.get(job.target.suffix.lower(), "")
    if not job.to:
        raise NettrainError(f"{target}: what to write is told by its ending: {', '.join(_SUFFIXES)}")
    job.kind = kind_of_file(job.path)
    if job.kind == "npz" and is_snapshot(job.path):
        job.kind = "run"  # which has its net too
    if not job.kind:
        with mapped(job.path) as memory:
            what = words(memory.bytes, job.name) or "is neither a spec, weights, a mean nor a model that is known"
        raise NettrainError(f"{job.path} {what}")
    if os.path.exists(target) and os.path.samefile(target, job.path):
        raise NettrainError(f"{target} is the file that is read; give the new one another name")
    make = _function(job)
    for problem in _without_effect(job):
        raise NettrainError(problem)
    if not os.path.isdir(job.target.parent):
        raise NettrainError(f"cannot write {target}: there is no folder {job.target.parent}")
    make(job)
    return job.result


def _function(job: Job) -> Make:
    """What makes the target. Raises NettrainError, with what would be right, where nothing does."""
    is_spec, is_weights = job.kind in SPECS, job.kind in WEIGHTS
    found = _OF.get(job.kind, {}).get(job.to)
    if is_spec and job.to in WEIGHTS and not job.weights:
        raise NettrainError(f"{job.name} is a spec, without weights; give them: --weights FILE")
    if found is None and is_weights and job.to in _OF_SPECS:
        what = f"give the net, and them: nettrain convert SPEC --weights {job.name} --to {job.target}"
        raise NettrainError(f"{job.name} holds weights; {what}")
    if found is None and job.kind == job.to:
        raise NettrainError(f"{job.name} is {_WORDS[job.kind]} already")
    if found is None:
        targets = _OF.get(job.kind, {})
        can = ", ".join(suffix for suffix, to in _SUFFIXES.items() if to in targets)
        what = f"it can become {can}" if can else "it becomes nothing else"
        then = f"; convert it to .yaml and .npz, and those to {job.target.suffix}" if job.kind == "onnx" else ""
        raise NettrainError(f"{job.name} is {_WORDS[job.kind]}; {what}, not {job.target.suffix}{then}")
    return found


def _without_effect(job: Job) -> Iterator[str]:
    """Options that would change nothing."""
    options, from_caffe = job.options, job.kind in ("prototxt", "net", "model")
    if options.weights and job.kind not in SPECS:
        yield f"--weights gives a spec its weights; {job.name} is {_WORDS[job.kind]}"
    if options.settings and not (
        job.kind in ("yaml", "run") or (job.kind in (*SPECS, "model") and job.to in _OF_SPECS and job.to != "yaml")
    ):
        yield f"--set changes a spec; to change {job.name}, set it in what is written"
    if options.until and not (from_caffe and job.to == "yaml"):
        yield "--until is for nets of Caffe's that become YAML"
    if options.flat and job.to != "yaml":
        yield "--flat is for .yaml"
    if options.inference and job.to != "program":
        yield "--inference is for .py"
    if (options.keep_logits or options.cont != "input") and job.to != "onnx":
        yield f"{'--keep-logits' if options.keep_logits else '--cont'} is for .onnx"
    if options.batch != 1 and job.kind != "onnx":
        yield "--batch is for ONNX models that are read"


__all__ = ["Converted", "Options", "convert"]
