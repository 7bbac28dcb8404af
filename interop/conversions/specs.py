"""Specs as YAML, and as Caffe's prototxt."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ...files.reading import read_bytes
from ...net.net import Net
from ...net.netspec import from_nodes, load
from ...net.records import LayerSpec
from ...spec.errors import Problems
from ..yaml_out import Remark, Remarks, of_yaml, to_yaml
from .job import Job, said
from .weights import to_weights


def to_yaml_file(job: Job) -> None:
    """A spec as YAML, with the weights beside it where there are any."""
    npz = job.target.with_suffix(".npz")
    text, arrays = _as_yaml(job), {}
    if job.weights:
        arrays = job.arrays(load(text, allow_python=True))
    job.check_free(job.target, *[npz] * bool(arrays))
    job.write(job.target, text.encode())
    if arrays:
        job.write_npz(npz, arrays)


def _as_yaml(job: Job) -> str:
    if job.kind in ("yaml", "run"):
        spec = job.spec()
        remarks = of_yaml(spec.root, read_bytes(job.path).decode("utf-8-sig")) if job.kind == "yaml" else Remarks()
        return to_yaml(spec.flat if job.options.flat else spec.root, remarks)
    from ..blocks import with_blocks
    from ..caffe.specs import read_spec

    problems = Problems()
    raw = read_bytes(job.path)
    imported = read_spec(raw, job.path, job.name, problems, job.options.until, job.target.parent)
    from_nodes(copy.deepcopy(imported.root), job.name, problems, job.path.parent, allow_python=True)
    problems.raise_if_any()
    job.result.notes += [said(note) for note in imported.notes]
    job.result.warnings += [said(warning) for warning in imported.warnings]
    comments = [Remark(file, one.line, one.text) for file, found in imported.comments.items() for one in found]
    root = imported.root if job.options.flat else with_blocks(imported.root)
    text = to_yaml(root, Remarks(comments, imported.ends))
    load(text, allow_python=True)  # blocks that were found are checked too
    return text


def to_prototxt(job: Job) -> None:
    """A spec as a net and a solver of Caffe's, with data that Caffe can read, and weights if they are given."""
    from ..caffe.message import Message
    from ..caffe.out import to_caffe
    from ..caffe.text_out import to_text

    spec = job.spec()
    job.folder = spec.folder
    solver = job.target.with_name(f"{job.target.stem.removesuffix('_train_test')}_solver.prototxt")
    model = job.target.with_suffix(".caffemodel")
    has_weights = job.weights is not None and model.resolve() != job.weights.resolve()
    job.check_free(job.target, *[solver] * (spec.solver is not None), *[model] * has_weights)
    files = to_caffe(spec, lambda layer, source, split: _write_data(job, layer, source, split))
    job.write(job.target, to_text(files.net).encode())
    if files.solver is not None:
        net = Message("SolverParameter").add("net", str(job.target))
        job.write(solver, (to_text(net) + to_text(files.solver)).encode())
    job.result.notes += files.notes
    if has_weights:
        job.target, job.to = model, "caffe"
        to_weights(job)


def _write_data(job: Job, layer: LayerSpec, source: str, split: str) -> str:
    """An LMDB of a data set that Caffe cannot read; its name."""
    from ..caffe.lmdb_out import write_lmdb

    folder = job.target.with_name(f"{job.target.stem}_{layer.name.replace('/', '_')}_{split}_lmdb")
    if folder not in job.result.written:
        reader: Any = Net(job.spec(), "TRAIN" if split == "train" else "TEST").layers[layer.name]
        write_lmdb(reader.set, folder, over=job.options.force)
        job.result.written.append(folder)
    return str(folder)


def from_onnx(job: Job) -> None:
    """An ONNX model as YAML and weights."""
    from ..onnx_in import read

    found = read(job.path, job.name, batch=job.options.batch)
    text = to_yaml(found.root, head=found.head)
    load(text)
    job.result.notes += found.notes
    npz: Path = job.target.with_suffix(".npz")
    job.check_free(job.target, *[npz] * bool(found.arrays))
    job.write(job.target, text.encode())
    if found.arrays:
        job.write_npz(npz, found.arrays)
