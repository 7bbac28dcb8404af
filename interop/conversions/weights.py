"""Weights in other files, with other programs' names; and means."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping

import numpy as np

from ...data.blob_file import read_blob
from ...files.arrays import open_npz, read_npy
from ...files.extras import extra
from ...net.net import Net
from ...net.records import NetSpec
from ...solver.resume import take
from ...solver.snapshot import read_snapshot
from ...solver.solver import Solver
from ...spec.errors import NettrainError, SpecError
from .. import torch_names
from ..caffe import binary, hdf5, weights
from .job import SPECS, Job


def to_weights(job: Job) -> None:
    """Parameters in the target's format. Of the net only types are asked, and the names that Caffe would give."""
    job.check_free(job.target)
    spec = _net_of_weights(job)
    arrays = job.arrays(spec)
    types = {name: layer.one("type") for name, layer in job.layers.items()}
    if spec is not None:
        types = {layer.name: layer.cls.__name__ for layer in spec.layers}
    if job.to == "npz":
        job.write_npz(job.target, arrays)
    elif job.to == "safetensors":
        if not any(types.values()) and any(key.endswith("/2") for key in arrays):
            command = f"nettrain convert SPEC --weights {job.name} --to {job.target}"
            words = f"the net is not known: parameters beyond the second have numbers for names; to give it: {command}"
            job.result.notes.append(words)
        _write_safetensors(job, torch_names.to_torch(arrays, types))
    else:
        _write_caffes(job, arrays, spec)


def _write_caffes(job: Job, arrays: Mapping[str, np.ndarray], spec: NetSpec | None) -> None:
    layers, name = job.layers, job.net_name
    if spec is not None:
        from ..caffe.out import to_caffe

        name, layers = spec.name, {}
        scales = {one.name: f"{one.name}_scale" for one in spec.layers if getattr(one.parameters, "affine", False)}
        with contextlib.suppress(NettrainError):  # what Caffe has no equal of still has names and numbers
            files = to_caffe(spec, lambda *_: "data")
            layers, scales = files.of_layer, files.scales
        arrays = weights.without_affine(arrays, scales)
    if job.to == "hdf5":
        empty = [layer for layer in layers if "/" not in layer]  # without parameters a group is not needed
        names = list(dict.fromkeys([*empty, *(weights.layer_of(key)[0] for key in arrays)]))
        job.write(job.target, hdf5.write_h5(arrays, names, job.target))
    else:
        job.write(job.target, *weights.caffemodel(arrays, name, layers))


def to_state(job: Job) -> None:
    """A snapshot as the state of Caffe's solver, with the weights that it names beside it."""
    from ..caffe.out import to_caffe
    from ..caffe.solver_state import state_of

    state, model = job.target, job.target.with_suffix(".caffemodel")
    job.check_free(state, model)
    with open_npz(job.path, "snapshot") as arrays:
        if "state" not in arrays:
            raise NettrainError(f"{job.name} holds weights without the state of a solver; a snapshot of a run has both")
    snapshot = read_snapshot(job.path)
    spec = snapshot.spec(allow_python=job.options.allow_python)
    to_caffe(spec, lambda *_: "data")  # what Caffe cannot do is refused here
    level, stages = snapshot.level_and_stages(0, ())
    solver = Solver(spec, level=level, stages=stages, weights=(), allow_python=job.options.allow_python)
    take(solver, snapshot)
    pieces = state_of(solver, str(model))
    job.target, job.to = model, "caffe"
    to_weights(job)
    job.write(state, *pieces)
    job.result.notes.append("the place in the data is left out: Caffe's data begins anew")


def _net_of_weights(job: Job) -> NetSpec | None:
    """The net that weights belong to: the one given with them, or that of the run."""
    return job.spec() if job.kind in SPECS else None


def _write_safetensors(job: Job, arrays: Mapping[str, np.ndarray]) -> None:
    library = extra("safetensors.numpy", "safetensors", f"writing {job.target}")
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    job.write(job.target, library.save(whole, metadata={"format": "pt"}))


def to_mean(job: Job) -> None:
    """A mean as numpy's array, or as Caffe's blob."""
    if job.to == "npy":
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, read_blob(job.path, "mean"), allow_pickle=False)
        job.write(job.target, buffer.getvalue())
        return
    array = read_npy(job.path, "mean")
    if array.dtype.kind not in "fiub" or not 1 <= array.ndim <= 4:
        raise NettrainError(f"{job.name} holds no mean: numbers, C x H x W")
    blob = weights.blob_of(array.astype(np.float32))
    blob.take("shape")
    sizes = (*array.shape, 1, 1) if array.ndim == 1 else array.shape  # a value for each channel
    sizes = (1,) * (4 - len(sizes)) + sizes
    for name, size in zip(("num", "channels", "height", "width"), sizes, strict=True):
        blob.add(name, int(size))
    job.write(job.target, *binary.write(blob))


def net_with_weights(job: Job) -> Net:
    """The net that a spec says, to be given its data, with the weights that are given: that of a run needs no data."""
    try:
        net = Net(job.spec(), phase="TEST", serves=True)
    except SpecError as error:
        if job.kind != "model":
            raise
        command = f"nettrain convert SPEC --weights {job.name} --to {job.target}"
        words = f"{job.name} holds the net that was trained, with its data; to give the net that is used: {command}"
        raise NettrainError(f"{error}\n{words}") from None
    if job.weights:
        report = net.copy_from(job.weights)
        job.result.notes += [f"{name}: {state}" for name, state in report.rows() if state != "loaded"]
    elif net.parameters:
        job.result.warnings.append("the weights are those a net begins with; to take trained ones: --weights FILE")
    return net
