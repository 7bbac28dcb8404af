"""Weights in other files, with other programs' names; and means."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...data.blob_file import read_blob
from ...files.arrays import read_npy
from ...files.extras import extra
from ...net.net import Net
from ...net.records import NetSpec
from ...spec.errors import NettrainError
from .. import torch_names
from ..caffe import binary, hdf5, weights
from .job import SPECS, Job


def to_weights(job: Job) -> None:
    """Parameters in the target's format. Of the net only types are asked, and the names that Caffe would give."""
    job.check_free(job.target)
    arrays, spec = job.arrays(), _net_of_weights(job)
    if spec is not None:
        arrays = for_net(arrays, spec, job)
    types = {layer.name: layer.cls.__name__ for layer in spec.layers} if spec else {}
    if job.to == "npz":
        job.write_npz(job.target, arrays)
    elif job.to == "safetensors":
        if spec is None and any(key.endswith("/2") for key in arrays):
            command = f"nettrain convert SPEC --weights {job.name} --to {job.target}"
            words = f"the net is not known: parameters beyond the second have numbers for names; to give it: {command}"
            job.result.notes.append(words)
        _write_safetensors(job, torch_names.to_torch(arrays, types))
    else:
        _write_caffes(job, arrays, spec)


def _write_caffes(job: Job, arrays: Mapping[str, np.ndarray], spec: NetSpec | None) -> None:
    layers: Mapping[str, Any] | None = None
    if spec is not None:
        from ..caffe.out import to_caffe

        scales = {layer.name: f"{layer.name}_scale" for layer in spec.layers}
        with contextlib.suppress(NettrainError):  # what Caffe has no equal of still has names and numbers
            files = to_caffe(spec, lambda *_: "data")
            layers, scales = files.of_layer, files.scales
        affine = {layer.name for layer in spec.layers if getattr(layer.parameters, "affine", False)}
        arrays = weights.without_affine(arrays, {name: scale for name, scale in scales.items() if name in affine})
    if job.to == "hdf5":
        names = list(dict.fromkeys([*(layers or ()), *(weights.layer_of(key)[0] for key in arrays)]))
        job.write(job.target, hdf5.write_h5(arrays, names, job.target))
    else:
        job.write(job.target, *weights.caffemodel(arrays, spec.name if spec else "", layers))


def for_net(arrays: dict[str, np.ndarray], spec: NetSpec, job: Job) -> dict[str, np.ndarray]:
    """Parameters of another program for a net: a Scale that is part of a BatchNorm here belongs to it."""
    affine = {layer.name: 5 for layer in spec.layers if getattr(layer.parameters, "affine", False)}
    if not any(f"param/{name}/2" in arrays and f"param/{name}/3" not in arrays for name in affine):
        return arrays
    return weights.with_affine(arrays, {layer.name: affine.get(layer.name, 0) for layer in spec.layers})


def _net_of_weights(job: Job) -> NetSpec | None:
    """The net that weights belong to: the one given with them, or that of the run."""
    return job.spec() if job.kind in SPECS else None


def _write_safetensors(job: Job, arrays: Mapping[str, np.ndarray]) -> None:
    library = extra("safetensors.numpy", "safetensors", f"writing {job.target}")
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
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
    """The net that a spec says, with the weights that are given."""
    net = Net(job.spec(), phase="TEST")
    if job.weights:
        report = net.copy_from(job.weights)
        job.result.notes += [f"{name}: {state}" for name, state in report.rows() if state != "loaded"]
    elif net.parameters:
        job.result.warnings.append("the weights are those a net begins with; to take trained ones: --weights FILE")
    return net
