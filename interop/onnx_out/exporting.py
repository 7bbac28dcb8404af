"""A built net becomes an ONNX model: opset 18, IR version 8, a batch of any size where the net allows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, get_args

from ...files.writing import write_atomically
from ...net.example import Values
from ...net.graph import Key
from ...net.net import Net
from ...serving.part import Prediction, Serving, serving
from ...spec.errors import NettrainError, why
from . import activation, algebra, loss, normalization, recurrent, shape, vision
from .ends import in_words, preprocessing
from .graph import Graph, Tensor, library, name_all
from .here import Cont, Emitter, Making, State, emit
from .sizes import BATCH, TIME, Dim, NeedsFixedError, Sizes, find

OPSET, IR = 18, 8
LARGEST = 2**31 - 1  # bytes of a message of protocol buffers

EMITTERS: dict[str, Emitter] = {
    **activation.EMITTERS,
    **algebra.EMITTERS,
    **loss.EMITTERS,
    **normalization.EMITTERS,
    **recurrent.EMITTERS,
    **shape.EMITTERS,
    **vision.EMITTERS,
}


@dataclass(frozen=True)
class Value:
    """An input or output of a model: its name, and its shape with names for the sizes that are not fixed."""

    name: str
    shape: tuple[int | str, ...]
    key: Key | None = None  # the blob of the net it is; None for a state
    state: State | None = None  # the state it is the beginning or the end of
    prediction: Prediction | None = None  # what takes the place of a loss


@dataclass
class Model:
    """An ONNX model, with what a person should know of it in ``notes``."""

    proto: Any
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    notes: list[str]
    serving: Serving
    axes: Mapping[Key, Mapping[int, str]]  # which axes of the net's inputs follow the batch
    values: Mapping[Key, Values] = field(default_factory=dict)  # what the net's inputs must hold


def export(net: Net, *, keep_logits: bool = False, cont: Cont = "input") -> Model:
    """The model that computes what a net of the TEST phase does.

    Data layers become inputs; losses and scores are dropped, SoftmaxWithLoss leaving its Softmax and
    SigmoidCrossEntropyLoss its Sigmoid, unless ``keep_logits``. ``cont`` says what becomes of an input of recurrent
    layers that tells where sequences begin: ``input``, or ``start``, each with its batch.
    Raises SpecError with every layer that has no form in ONNX, MissingExtraError without onnx.
    """
    if net.phase != "TEST":
        raise NettrainError(f'a net is exported as it is tested: Net(spec, phase="TEST"); this one is {net.phase}')
    if cont not in get_args(Cont):
        raise NettrainError(f"cont must be {' or '.join(get_args(Cont))}, got {cont!r}")
    library()
    served = serving(net, keep_logits)
    try:
        return _export(net, served, find(served.sources, served.steps), cont)
    except NeedsFixedError as error:
        return _export(net, served, find(served.sources, served.steps, str(error)), cont)


def _export(net: Net, served: Serving, sizes: Sizes, cont: Cont) -> Model:
    """The model of what serves, where the sizes of its blobs are known."""
    making = Making(sizes, cont, EMITTERS)
    graph = Graph(net.name or "net")
    tensors: dict[Key, Tensor] = {}
    inputs: dict[Tensor, Key] = {}
    for step in served.sources:
        making.makers.update(dict.fromkeys(step.top_keys, step))
        for key, blob in zip(step.top_keys, step.top, strict=True):
            tensor = tensors[key] = Tensor(key[0], exact=True)
            tensor.dims = sizes.of(blob)
            inputs[tensor] = key
    emit(graph, served.steps, tensors, making)
    making.problems.raise_if_any()
    outputs = _outputs(graph, served, tensors, making)
    graph.outputs = [*outputs, *(state.last for state in making.states)]
    graph.keep_what_is_needed()
    read = graph.reads()
    graph.inputs = [*(tensor for tensor in inputs if tensor in read), *graph.inputs]
    _name_versions(tensors, graph)
    names = name_all(graph)
    states = {tensor: state for state in making.states for tensor in (state.given, state.last)}
    proto = _model(graph, names, served, inputs)
    return Model(
        proto,
        tuple(Value(names[t], _shape(t), inputs.get(t), states.get(t)) for t in graph.inputs),
        tuple(_output(names[t], _shape(t), outputs.get(t), states.get(t)) for t in graph.outputs),
        [*served.notes, *making.notes, *_about_inputs(graph, names, served, inputs, making)],
        served,
        {
            key: sizes.axes[id(blob)]
            for step in served.sources
            for key, blob in zip(step.top_keys, step.top, strict=True)
        },
        making.values,
    )


def _output(name: str, shape: tuple[int | str, ...], what: Key | Prediction | None, state: State | None) -> Value:
    if isinstance(what, Prediction):
        return Value(name, shape, prediction=what)
    return Value(name, shape, what, state)


def _outputs(
    graph: Graph, served: Serving, tensors: dict[Key, Tensor], making: Making
) -> dict[Tensor, Key | Prediction]:
    """A tensor for each output, which carries its name and is nothing else."""
    found: dict[Tensor, Key | Prediction] = {}
    made = {tensor for node in graph.nodes for tensor in node.outputs}
    for key in served.outputs:
        tensor = tensors[key]
        if tensor not in made or tensor.hint != key[0] or tensor in found:  # an input, a parameter, another's blob
            dims = making.sizes.of(_blob(served, key))
            (tensor,) = graph.add("Identity", key[0], [tensor])
            tensor.dims = dims
        tensor.exact = True
        tensors[key] = tensor
        found[tensor] = key
    for one in served.predictions:
        more = {"axis": one.axis} if one.kind == "Softmax" else {}
        (tensor,) = graph.add(one.kind, one.name, [tensors[one.of]], **more)
        tensor.dims, tensor.exact = making.sizes.of(_blob(served, one.of)), True
        found[tensor] = one
    return found


def _blob(served: Serving, key: Key) -> Any:
    return next(
        blob
        for step in (*served.steps, *served.sources)
        for made, blob in zip(step.top_keys, step.top, strict=True)
        if made == key
    )


def _name_versions(tensors: Mapping[Key, Tensor], graph: Graph) -> None:
    """The last version of a blob has its name, those before it in place are called conv1__0, conv1__1 …

    An input keeps the name under which it is fed.
    """
    made = {tensor for node in graph.nodes for tensor in node.outputs}
    versions: dict[str, dict[Tensor, int]] = {}
    for (name, version), tensor in tensors.items():
        if tensor in made and tensor.hint == name:  # not one that a Dropout passes on under another name
            versions.setdefault(name, {}).setdefault(tensor, version)
    taken = {tensor.hint for tensor in graph.inputs}
    for name, found in versions.items():
        last = max(found.values())
        for tensor, version in found.items():
            if version != last or name in taken:
                tensor.hint = f"{name}__{version}"
            tensor.exact = True


def _shape(tensor: Tensor) -> tuple[int | str, ...]:
    return tuple(_size(dim) for dim in tensor.dims or ())


def _size(dim: Dim) -> int | str:
    return dim.symbol if dim.size is None else dim.size


def _model(graph: Graph, names: dict[Tensor, str], served: Serving, inputs: Mapping[Tensor, Key]) -> Any:
    """The ModelProto, with the shapes of all edges."""
    helper = library().helper
    size = sum(tensor.array.nbytes for part in graph.walk() for tensor in part.constants if tensor.array is not None)
    if size > LARGEST - 2**20:
        raise NettrainError(
            f"the parameters are {size / 2**30:.1f} GiB, and a file in ONNX's format holds 2 GiB at most", exit_code=1
        )
    model = helper.make_model(
        graph.proto(names, light=True),
        ir_version=IR,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="nettrain",
    )
    used = {inputs[tensor] for tensor in graph.inputs if tensor in inputs}
    said = {step.top_keys[0][0]: preprocessing(step) for step in served.sources if step.top_keys[0] in used}
    properties = {
        f"{name}.{what}": value if isinstance(value, str) else json.dumps(value)
        for name, one in said.items()
        for what, value in one.items()
    }
    if served.classes:
        properties["classes"] = str(served.classes)
    helper.set_model_props(model, properties)
    model = library().shape_inference.infer_shapes(model)
    del model.graph.input[len(graph.inputs) :]
    for tensor, array in graph.heavy().items():
        one = model.graph.initializer.add(name=names[tensor], dims=array.shape, data_type=1)  # a message is copied once
        one.raw_data = array.astype("<f4", copy=False).tobytes()
    return model


def _about_inputs(
    graph: Graph, names: dict[Tensor, str], served: Serving, inputs: Mapping[Tensor, Key], making: Making
) -> list[str]:
    notes = []
    used = {inputs[tensor] for tensor in graph.inputs if tensor in inputs}
    for step in served.sources:
        said = preprocessing(step)
        if said.keys() - {"class_names"} and step.top_keys[0] in used:
            notes.append(in_words(step.top_keys[0][0], said))
    symbols = {dim.symbol for tensor in graph.inputs for dim in tensor.dims or () if dim.size is None}
    if graph.inputs and BATCH not in symbols:
        notes.append(
            f"the batch is fixed: {making.sizes.fixed_by}"
            if making.sizes.fixed_by
            else "the shapes of inputs are fixed"
        )
    for state in making.states:
        notes.append(
            f"`{names[state.given]}` is what the batch before left, its `{names[state.last]}`; before the first batch "
            f"it is {_first(state)}"
        )
    if TIME in symbols:
        notes.append(f"sequences may be of any length ({TIME}), and any number of them ({BATCH}) side by side")
    return notes


def _first(state: State) -> str:
    value = getattr(state.first, "ndim", 0)
    return "the initial value of each example" if value else f"{float(state.first):g} everywhere"


def save(model: Model, path: str | Path) -> None:
    """Write a model, whole or not at all. Raises NettrainError where it cannot be written."""
    place = Path(path)
    data = model.proto.SerializeToString()

    def write(file: IO[bytes]) -> None:
        file.write(data)

    try:
        write_atomically(place, write)
    except OSError as error:
        raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None
