"""``caffe.Net`` over nettrain's Net: blobs by name, layers by number, forward and backward from layer to layer.

It is one file because it is one class.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...files.writing import write_atomically
from ...layers.data.dummy_data import DummyData
from ...layers.data.memory_data import MemoryData
from ...layers.python import Python, python_first
from ...net.blob import Blob as CoreBlob
from ...net.net import Net as CoreNet
from ...net.netspec import load
from ...net.parameter_files import arrays
from ...net.user_code import UserCodeError
from ...spec.errors import NettrainError, ShapeError, SpecError, did_you_mean, format_shape, why
from ..caffe.hdf5 import write_h5
from ..caffe.message import Message, message
from ..caffe.weights import caffemodel
from .blobs import Blob, BlobVec, Versions, keep_diffs_apart, keep_parameters_in_order
from .process import PHASES, log, next_seed

Made = TypeVar("Made")


class MissingFileError(NettrainError, RuntimeError):
    """A file that is not there: a RuntimeError, as in pycaffe."""


class RefusedError(NettrainError, RuntimeError):
    """Arguments that pycaffe refuses: a RuntimeError there too."""


def check_file(path: Any) -> Path:
    """A path to a file. Raises MissingFileError when there is none."""
    if not isinstance(path, str | os.PathLike):
        raise NettrainError(f"a file is named by a path, got {type(path).__name__}")
    if not os.path.isfile(path):
        raise MissingFileError(f"Could not open file {os.fspath(path)}")
    return Path(path)


def as_in_pycaffe(function: Callable[..., Made], *arguments: Any) -> Made:
    """Call a function; where the program's own Python layer raises, raise that very exception, with a note of where."""
    try:
        return function(*arguments)
    except (SpecError, UserCodeError) as error:
        causes = [problem.cause for problem in error.problems] if isinstance(error, SpecError) else [error.__cause__]
        found = next((cause for cause in causes if cause is not None), None)
        if found is None:
            raise
        found.add_note(str(error))
    raise found  # outside, so that its own cause and context stay


class Layer:
    """A layer of a net: its ``type`` and its parameters, ``blobs``."""

    def __init__(self, kind: str, blobs: list[Blob]):
        self.type, self.blobs = kind, blobs

    def __repr__(self) -> str:
        return f"Layer({self.type}, {len(self.blobs)} blobs)"


Hook = Callable[[int], Any]


class Net:
    """A net, as pycaffe has it: ``Net(file, phase, level=0, stages=None, weights=None)``, or ``Net(file, weights,
    phase)`` as in older programs. ``file`` is a prototxt, or a spec of nettrain's.

    ``blobs``, ``params`` and ``layer_dict`` are by name, ``layers`` by number; a Python layer is in ``layers`` as the
    program's own object. All values stay readable after ``forward``, all gradients after ``backward``.

    Raises MissingFileError, SpecError with everything that is wrong in the file, and what a Python layer raises.
    """

    def __init__(
        self,
        network_file: str | Path,
        *arguments: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Iterable[str] | None = None,
        weights: str | Path | None = None,
    ):
        if arguments and isinstance(arguments[0], str | os.PathLike):  # the weights come first
            if weights is not None or len(arguments) > 2:
                raise NettrainError("Net takes (file, phase, …) or (file, weights, phase)")
            warnings.warn(
                "Net(file, weights, phase) is the old order; Net(file, phase, weights=…)", DeprecationWarning, 2
            )
            weights, *arguments = arguments  # type: ignore[assignment]
        if len(arguments) > 4:
            raise NettrainError("Net takes (file, phase, level, stages, weights)")
        given: list[Any] = [*arguments, *[phase, level, stages, weights][len(arguments) :]]
        phase, level, stages, weights = given
        if phase not in (0, 1):
            raise NettrainError(f"the phase must be caffe.TRAIN or caffe.TEST, got {phase!r}")
        path = check_file(network_file)
        if weights is not None:
            check_file(weights)
        spec = load(path, allow_python=True)
        seed = next_seed()

        def make() -> CoreNet:
            kept = tuple(stages or ())
            return CoreNet(spec, PHASES[phase], level=level, stages=kept, seed=seed, allow_python=True, engine="numpy")

        with python_first():
            core = as_in_pycaffe(make)
        for warning in spec.warnings:
            log(f"WARNING: {warning}", level=1)
        keep_parameters_in_order(core)
        self._take(core)
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def of(cls, core: CoreNet) -> Net:
        """nettrain's net as pycaffe's."""
        made = cls.__new__(cls)
        made._take(core)
        return made

    def _take(self, core: CoreNet) -> None:
        self._core = core
        keep_diffs_apart(core)
        self.blobs: OrderedDict[str, Blob] = OrderedDict((name, Blob(blob)) for name, blob in core.blobs.items())
        self.params: OrderedDict[str, BlobVec] = OrderedDict(
            (name, BlobVec(map(Blob, blobs))) for name, blobs in core.params.items()
        )
        self.inputs, self.outputs = list(core.inputs), list(core.outputs)
        self.layers = [
            layer.user
            if isinstance(layer, Python)
            else Layer(step.spec.common.type, self.params.get(step.spec.name, BlobVec()))
            for step in core.steps
            for layer in [step.layer]
        ]
        self._layer_names = [step.spec.name for step in core.steps]
        self._blob_names = list(self.blobs)
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers, strict=True))
        self.bottom_names, self.top_names = (
            OrderedDict((step.spec.name, [key[0] for key in getattr(step, keys)]) for step in core.steps)
            for keys in ("bottom_keys", "top_keys")
        )
        self.blob_loss_weights = OrderedDict.fromkeys(self._blob_names, 0.0)
        self._hooks: dict[str, list[Hook]] = {
            f"{when}_{way}": [] for when in ("before", "after") for way in ("forward", "backward")
        }
        self._losses: list[tuple[CoreBlob, float, tuple[int, ...] | None]] = []
        for step in core.steps:
            if isinstance(step.layer, DummyData):
                step.layer.fill_constants(step.top)
            for key, blob, weight in zip(step.top_keys, step.top, step.loss_weights, strict=True):
                if weight:
                    self.blob_loss_weights[key[0]] = weight
                    self._losses.append((blob, weight, None))
        self._versions = Versions(core)
        self._seed_losses()

    def _seed_losses(self) -> None:
        """Gradients of losses are their weights, until the program writes something else."""
        for i, (blob, weight, shape) in enumerate(self._losses):
            if blob.shape != shape:
                blob.diff.fill(weight)
                self._losses[i] = blob, weight, blob.shape

    # What pycaffe's own helpers use

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]

    def _bottom_ids(self, i: int) -> list[int]:
        return [self._blob_names.index(name) for name in self.bottom_names[self._layer_names[i]]]

    def _top_ids(self, i: int) -> list[int]:
        return [self._blob_names.index(name) for name in self.top_names[self._layer_names[i]]]

    def _forward(self, start: int, end: int) -> float:
        """Run the layers from one number to another; returns the loss."""
        before, after = self._hooks["before_forward"], self._hooks["after_forward"]
        parts = [(i, i) for i in range(start, end + 1)] if before or after else [(start, end)]
        loss = 0.0
        for first, last in parts:
            for hook in before:
                hook(first)
            self._versions.before_forward(first)
            loss += as_in_pycaffe(self._core.run_forward, first, last)
            self._versions.after_forward(first, last)
            for hook in after:
                hook(first)
        return loss

    def _backward(self, start: int, end: int) -> None:
        """Run the layers backward from one number down to another."""
        before, after = self._hooks["before_backward"], self._hooks["after_backward"]
        parts = [(i, i) for i in range(start, end - 1, -1)] if before or after else [(start, end)]
        self._seed_losses()
        self._versions.before_backward(start)
        for first, last in parts:
            for hook in before:
                hook(first)
            as_in_pycaffe(self._core.run_backward, first, last)
            self._versions.after_backward(first, last)
            for hook in after:
                hook(first)

    def _forward_backward(self) -> float:
        """A step of training without the update; returns the loss."""
        last = len(self.layers) - 1
        loss = self._forward(0, last)
        self._backward(last, 0)
        return loss

    # Running

    def forward(
        self, blobs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` to ``end`` (names, both included), with values for all inputs or for none.

        Returns the net's outputs, or the tops of ``end``, and further ``blobs``: views that the next pass overwrites.
        """
        first, last = self._number(start, 0), self._number(end, len(self.layers) - 1)
        names = list(self.top_names[end] if end is not None else self.outputs)
        names += [name for name in blobs or () if name not in names]
        self._check_blobs(names)
        if kwargs:
            if set(kwargs) != set(self.inputs):
                raise _other_names("Input blob arguments do not match net inputs.", kwargs, self.inputs)
            for name, values in kwargs.items():
                _write(self.blobs[name].data, values, name, "Input is not batch sized")
        self._forward(first, last)
        return {name: self.blobs[name].data for name in names}

    def backward(
        self, diffs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """Run the layers backward from ``start`` down to ``end``, with gradients for all outputs or for none.

        Returns the gradients of the net's inputs, or of the bottoms of ``end``, and further ``diffs``. Those of
        parameters are added to what is there.
        """
        first, last = self._number(start, len(self.layers) - 1), self._number(end, 0)
        names = list(self.bottom_names[end] if end is not None else self.inputs)
        names += [name for name in diffs or () if name not in names]
        self._check_blobs(names)
        if kwargs:
            if set(kwargs) != set(self.outputs):
                raise _other_names("Top diff arguments do not match net outputs.", kwargs, self.outputs)
            for name, values in kwargs.items():
                _write(self.blobs[name].diff, values, name, "Diff is not batch sized")
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in names}

    def forward_all(self, blobs: Iterable[str] | None = None, **kwargs: Any) -> dict[str, np.ndarray]:
        """``forward`` over any number of examples, in batches; returns arrays as long as what was given."""
        found: dict[str, list[np.ndarray]] = {}
        for batch in self._batch(kwargs):
            for name, values in self.forward(blobs, **batch).items():
                found.setdefault(name, []).extend(np.atleast_1d(values.copy()))
        return _cut(found, kwargs)

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """``forward`` and ``backward`` over any number of examples: values for inputs, gradients for outputs."""
        values: dict[str, list[np.ndarray]] = {}
        gradients: dict[str, list[np.ndarray]] = {}
        forward = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        backward = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        if kwargs.keys() - {*self.inputs, *self.outputs}:
            raise _other_names("Arguments match neither inputs nor outputs.", kwargs, [*self.inputs, *self.outputs])
        nothing: dict[str, Any] = {}
        for batch, seeds in itertools.zip_longest(forward, backward, fillvalue=nothing):
            for name, found in self.forward(blobs, **batch).items():
                values.setdefault(name, []).extend(np.atleast_1d(found.copy()))
            for name, found in self.backward(diffs, **seeds).items():
                gradients.setdefault(name, []).extend(np.atleast_1d(found.copy()))
        return _cut(values, kwargs), _cut(gradients, kwargs)

    def _batch(self, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The values in batches of the net's size, the last one filled up with zeros."""
        if not given:
            return
        values = {name: np.asarray(value) for name, value in given.items()}
        lengths = {name: len(value) for name, value in values.items()}
        if len(set(lengths.values())) > 1:
            raise RefusedError(f"all values must have as many examples, got {lengths}")
        self._check_blobs(values)
        for begin in range(0, next(iter(lengths.values())), size := self.blobs[next(iter(values))].num):
            batch = {name: value[begin : begin + size] for name, value in values.items()}
            missing = size - len(next(iter(batch.values())))
            yield {
                name: np.concatenate([value, np.zeros((missing, *value.shape[1:]), value.dtype)]) if missing else value
                for name, value in batch.items()
            }

    def before_forward(self, f: Hook) -> None:
        """Have ``f(number of the layer)`` called before each layer's forward pass."""
        self._hooks["before_forward"].append(f)

    def after_forward(self, f: Hook) -> None:
        """The same after it."""
        self._hooks["after_forward"].append(f)

    def before_backward(self, f: Hook) -> None:
        """The same before its backward pass."""
        self._hooks["before_backward"].append(f)

    def after_backward(self, f: Hook) -> None:
        """The same after that."""
        self._hooks["after_backward"].append(f)

    def reshape(self) -> None:
        """Pass changed shapes of inputs through the whole net, without computing."""
        as_in_pycaffe(self._core.reshape)

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        self._core.clear_param_diffs()

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Use these examples in the first layer, MemoryData: n x C x H x W, and n labels (or n x 1 x 1 x 1)."""
        layer = self._core.steps[0].layer
        if not isinstance(layer, MemoryData):
            raise RefusedError("set_input_arrays is for nets whose first layer is MemoryData")
        for what, array in (("data", data), ("labels", labels)):
            if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise RefusedError(f"{what} must be an array of float32, got {kind}")
        layer.reset(data, labels.reshape(len(labels)) if labels.size == len(labels) else labels)

    # Parameters

    def copy_from(self, weights: str | Path) -> None:
        """Take parameters from a file, by layer name: .caffemodel, .h5, .npz or .safetensors.

        Raises NettrainError where shapes differ, or no layer has a name of the file's.
        """
        self._core.copy_from(check_file(weights))

    load_hdf5 = copy_from

    def share_with(self, other: Net) -> None:
        """Use the other net's parameters, the same memory, in layers of the same name; gradients stay apart.

        Raises ShapeError where their shapes differ.
        """
        mine, theirs = self._core.params, other._core.params
        for name in mine.keys() & theirs.keys():
            here, there = ([blob.shape for blob in blobs] for blobs in (mine[name], theirs[name]))
            if here != there:
                shapes = (", ".join(map(format_shape, side)) for side in (here, there))
                raise ShapeError(f"layer `{name}` cannot share its parameters: {' here and '.join(shapes)} there")
        if self._is_trained:
            raise RefusedError("a solver's net cannot take another's parameters; let the other net share the solver's")
        for name in mine.keys() & theirs.keys():
            for blob, source in zip(mine[name], theirs[name], strict=True):
                blob.share_data(source)

    _is_trained = False  # whether a solver updates its parameters

    def save(self, filename: str | Path) -> None:
        """Write a caffemodel. Raises NettrainError when it cannot be written."""
        self._write(filename, caffemodel(arrays(self._core.params), self._core.name, self._messages()))

    def save_hdf5(self, filename: str | Path) -> None:
        """Write a .caffemodel.h5. Raises NettrainError when it cannot be written."""
        self._write(filename, [write_h5(arrays(self._core.params), self._layer_names, Path(filename))])

    def _messages(self) -> dict[str, Message]:
        """Each layer's type and wiring, for those who read the file without the net's."""
        return {
            step.spec.name: message(
                "LayerParameter",
                type=step.spec.common.type,
                bottom=[key[0] for key in step.bottom_keys],
                top=[key[0] for key in step.top_keys],
            )
            for step in self._core.steps
        }

    @staticmethod
    def _write(filename: str | Path, pieces: list[Any]) -> None:
        try:
            write_atomically(Path(filename), lambda file: file.writelines(pieces))
        except OSError as error:
            raise NettrainError(f"cannot write {filename}: {why(error)}", exit_code=1) from None

    # Looking up

    def _number(self, name: str | None, default: int) -> int:
        if name is None:
            return default
        if name not in self.layer_dict:
            raise NettrainError(f"the net has no layer `{name}`{did_you_mean(name, self.layer_dict)}")
        return self._layer_names.index(name)

    def _check_blobs(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.blobs:
                raise NettrainError(f"the net has no blob `{name}`{did_you_mean(name, self.blobs)}")


def _write(target: np.ndarray, values: Any, name: str, refusal: str) -> None:
    array = np.asarray(values)
    if target.ndim and (not array.ndim or array.shape[0] != target.shape[0]):
        raise RefusedError(f"{refusal}: `{name}` has {target.shape[0]} examples, got {format_shape(array.shape)}")
    try:
        target[...] = array
    except ValueError:
        shapes = f"{format_shape(target.shape)}, got {format_shape(array.shape)}"
        raise RefusedError(f"`{name}` is {shapes}; reshape the blob first") from None


def _cut(found: Mapping[str, list[np.ndarray]], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Lists of examples as arrays, without those that filled up the last batch."""
    count = len(next(iter(given.values()))) if given else None
    return {name: np.asarray(values)[:count] for name, values in found.items()}


def _other_names(refusal: str, given: Iterable[str], wanted: list[str]) -> RefusedError:
    return RefusedError(f"{refusal} They are {', '.join(wanted) or 'none'}, got {', '.join(given)}")
