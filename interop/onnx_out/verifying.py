"""Whether a model says what the net says: checked by onnx, and compared with it by onnxruntime where that is there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compute.parallel import session
from ...net.example import Values
from ...net.graph import Key
from ...net.net import Net
from ...net.user_code import ask
from ...spec.errors import NettrainError
from .exporting import Model, Value
from .graph import library
from .sizes import BATCH, TIME, borrowed

STEPS = 4  # of time, where their number is free
ROUNDS = 2  # batches one after the other, the second with the states that the first left


@dataclass(frozen=True)
class Verified:
    """How far a model's outputs are from the net's, as max |difference| / max |y|: the largest, and each output's."""

    difference: float
    outputs: Mapping[str, float]
    batches: tuple[int, ...]
    by: str  # what computed the model, with its version


def verify(
    model: Model, net: Net, batches: Sequence[int] = (1, 3), values: Mapping[str, Values] | None = None
) -> Verified | None:
    """Check a model, and compare it with the net it was made of on random inputs in batches of these sizes.

    ``values`` draws an input's numbers, by name, where it does not take any. Gives None where onnxruntime is missing.
    Raises NettrainError when onnx finds the model wrong, or the net cannot compute such inputs.
    """
    try:
        library().checker.check_model(model.proto, full_check=True)
    except Exception as error:  # of onnx's own kinds
        raise NettrainError(f"onnx finds the model wrong: {error}", exit_code=1) from None
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    run = runtime.InferenceSession(model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    served = model.serving
    free = any(BATCH in axes.values() for axes in model.axes.values())
    sizes = tuple(batches) if free else (net_batch(model),)
    found: dict[str, float] = {}
    with borrowed(served.sources, served.steps), session(), np.errstate(all="ignore"):
        for size in sizes:
            for key, difference in _compare(run, model, size, values or {}).items():
                found[key] = max(found.get(key, 0.0), difference)
    version = f"onnxruntime {runtime.__version__}"
    return Verified(max(found.values(), default=0.0), found, sizes, version)


def net_batch(model: Model) -> int:
    """The batch of a net that takes no other."""
    shapes = [step.top[0].shape for step in model.serving.sources]
    return shapes[0][0] if shapes and shapes[0] else 1


def _compare(run: Any, model: Model, batch: int, values: Mapping[str, Values]) -> dict[str, float]:
    """The differences of each output, in two batches one after the other."""
    rng = np.random.default_rng(batch)
    for step in model.serving.steps:
        ask(step.layer, "start_pass")
    states: dict[int, np.ndarray] = {}
    worst: dict[str, float] = {}
    for _ in range(ROUNDS):
        given = _fill(model, batch, rng, values)
        try:
            for step in model.serving.steps:
                step.forward()
        except NettrainError as error:
            raise NettrainError(f"the model cannot be compared on random inputs: {error}", exit_code=1) from None
        for value in model.inputs:
            if value.state is not None:
                shape = tuple(batch if size == BATCH else int(size) for size in value.shape)
                fresh = np.broadcast_to(np.asarray(value.state.first, np.float32), shape).copy()
                given[value.name] = states.get(id(value.state), fresh)
        made = run.run([value.name for value in model.outputs], given)
        for value, y in zip(model.outputs, made, strict=True):
            worst[value.name] = max(worst.get(value.name, 0.0), difference(y, expected(model, value)))
            if value.state is not None:
                states[id(value.state)] = y
    return worst


def _fill(model: Model, batch: int, rng: np.random.Generator, values: Mapping[str, Values]) -> dict[str, np.ndarray]:
    """Random numbers for the net's inputs; gives those of them that the model has too."""
    tensors = {value.key: value for value in model.inputs if value.key is not None}
    given: dict[str, np.ndarray] = {}
    inputs = [pair for step in model.serving.sources for pair in zip(step.top_keys, step.top, strict=True)]
    for key, blob in inputs:
        sizes, axes = {BATCH: batch, TIME: STEPS}, model.axes[key]
        blob.reshape(tuple(sizes.get(axes.get(axis, ""), size) for axis, size in enumerate(blob.shape)))
    for step in model.serving.steps:
        step.reshape_again()
    for key, blob in inputs:
        draw = values.get(key[0]) or model.values.get(key) or (lambda rng, shape: rng.standard_normal(shape))
        blob.data[...] = np.asarray(draw(rng, blob.shape), np.float32).reshape(blob.shape)
        if key in tensors:
            given[tensors[key].name] = blob.data.astype(np.float32)
    return given


def expected(model: Model, value: Value) -> np.ndarray:
    """What the net has for an output of the model."""
    if value.state is not None:
        kept = value.state.step.layer.carried[value.state.name]  # type: ignore[attr-defined]
        return kept[None]
    if value.key is not None:
        return blob_data(model, value.key)
    one = value.prediction
    if one is None:
        raise AssertionError(f"the output {value.name} is nothing of the net's")
    scores = blob_data(model, one.of).astype(np.float64)
    if one.kind == "Sigmoid":
        return 1 / (1 + np.exp(-scores))
    powers = np.exp(scores - scores.max(axis=one.axis, keepdims=True))
    return powers / powers.sum(axis=one.axis, keepdims=True)


def blob_data(model: Model, key: Key) -> np.ndarray:
    return next(
        blob.data
        for step in (*model.serving.steps, *model.serving.sources)
        for made, blob in zip(step.top_keys, step.top, strict=True)
        if made == key
    )


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b| / max |b|; NaN and infinities must be the same. Infinite where the shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    odd = ~np.isfinite(b)
    if not np.array_equal(a[odd], b[odd], equal_nan=True):
        return float("inf")
    a, b = a[~odd], b[~odd]
    if not a.size:
        return 0.0
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1.0))
