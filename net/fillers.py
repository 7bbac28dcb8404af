"""Caffe's seven fillers: how a parameter blob gets its first values.

For a blob of shape (d0, d1, …) with ``count`` elements: fan_in = count / d0, fan_out = count / d1 (count for a
vector), and n is fan_in, fan_out or their mean as ``variance_norm`` says. Source: caffe/filler.hpp.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from ..spec.declare import Declared, param
from ..spec.errors import ShapeError, format_shape

LARGEST = 3e38
Kind = Literal["constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear"]


class Filler(Declared):
    """A name (``xavier``), a number (constant) or a mapping such as ``{type: gaussian, std: 0.01}``."""

    type: Kind = param(default="constant", doc="the distribution")
    value: float = param(default=0.0, doc="constant: the value")
    values: tuple[float, ...] = param(
        default=(), doc="constant: a value for each element, or the first ones of each row"
    )
    min: float = param(default=0.0, doc="uniform: lower end")
    max: float = param(default=1.0, doc="uniform: upper end")
    mean: float = param(default=0.0, doc="gaussian: mean")
    std: float = param(default=1.0, doc="gaussian: standard deviation", minimum=0)
    sparse: int = param(default=-1, doc="gaussian: how many inputs of each output stay connected, on average; -1 all")
    variance_norm: Literal["FAN_IN", "FAN_OUT", "AVERAGE"] = param(default="FAN_IN", doc="xavier and msra: which n")

    words = "a filler: a name such as xavier, a number, or a mapping such as {type: gaussian, std: 0.01}"
    aliases = {
        "name": "type",
        "kind": "type",
        "stddev": "std",
        "stdev": "std",
        "sigma": "std",
        "scale": "std",
        "low": "min",
        "high": "max",
        "mode": "variance_norm",
        "fan": "variance_norm",
        "mu": "mean",
        "val": "value",
    }

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, str):
            return {"type": value}
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"type": "constant", "value": value}
        return None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "number"}, super().schema()["properties"]["type"], super().schema()]}

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.values and self.type != "constant":
            yield "values", f"works with constant only, not with {self.type}"
        if any(abs(value) > LARGEST for value in self.values):
            yield "values", f"must be at most {LARGEST:g}, the largest float32"
        for key in ("value", "min", "max", "mean", "std"):
            if abs(getattr(self, key)) > LARGEST:
                yield key, f"must be at most {LARGEST:g}, the largest float32, got {getattr(self, key):g}"
        if self.type == "uniform" and self.min > self.max:
            yield "min", f"must be <= max, got {self.min:g} and {self.max:g}"
        if self.sparse >= 0 and self.type != "gaussian":
            yield "sparse", "works with gaussian only"

    def in_short(self) -> str:
        """``xavier``, ``constant 0.25``, ``gaussian std 0.01``."""
        if self.values:
            return f"{len(self.values)} values"
        if self.type == "constant":
            return f"constant {self.value:g}"
        return self.type + (f" std {self.std:g}" if self.type == "gaussian" else "")

    @property
    def is_random(self) -> bool:
        """Whether its values are drawn."""
        return not self.values and self.type not in ("constant", "bilinear")

    def fill(self, data: np.ndarray, rng: np.random.Generator | None, swap_fans: bool = False) -> None:
        """Write first values into ``data``. ``swap_fans`` for weights stored the other way round.

        ``rng`` may be None where nothing is drawn (``is_random``).

        Raises ShapeError when the filler does not fit the shape.
        """
        shape = data.shape
        if self.type in ("positive_unitball", "xavier", "msra", "bilinear") and (not shape or data.size == 0):
            raise ShapeError(f"the {self.type} filler cannot fill a blob of {format_shape(shape)}")
        if self.values and len(self.values) == data.size:
            data[...] = np.reshape(self.values, shape)
        elif self.values:
            if not shape or len(self.values) > shape[-1]:
                raise ShapeError(
                    f"a blob of {format_shape(shape)} = {data.size} elements cannot be filled with "
                    f"{len(self.values)} values; give all of them, or at most as many as its last axis has"
                )
            data[...] = self.value
            data[..., : len(self.values)] = self.values
        elif self.type == "constant":
            if self.value or data.any():  # new memory is zero; unless it is written, a net that is never run takes none
                data[...] = self.value
        elif self.type == "bilinear":
            data[...] = bilinear(shape)
        else:
            assert rng is not None
            self._draw(data, rng, swap_fans)

    def _draw(self, data: np.ndarray, rng: np.random.Generator, swap_fans: bool) -> None:
        shape = data.shape
        if self.type == "uniform":
            data[...] = rng.uniform(self.min, self.max, shape)
        elif self.type == "gaussian":
            data[...] = rng.normal(self.mean, self.std, shape)
            if self.sparse >= 0:
                data *= rng.random(shape) < self.sparse / max(1, shape[0] if shape else 1)
        elif self.type == "positive_unitball":
            data[...] = rng.random(shape)
            rows = data.reshape(shape[0], -1)
            rows /= rows.sum(axis=1, keepdims=True)
        elif self.type == "xavier":
            limit = math.sqrt(3 / self.fan(shape, swap_fans))
            data[...] = rng.uniform(-limit, limit, shape)
        else:  # msra
            data[...] = rng.normal(0, math.sqrt(2 / self.fan(shape, swap_fans)), shape)

    def fan(self, shape: tuple[int, ...], swap_fans: bool) -> float:
        """n of xavier and msra."""
        count = math.prod(shape)
        fan_in, fan_out = count / shape[0], count / shape[1] if len(shape) > 1 else count
        if swap_fans:
            fan_in, fan_out = fan_out, fan_in
        return {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}[self.variance_norm]


def bilinear(shape: tuple[int, ...]) -> np.ndarray:
    """The upsampling kernel (1 - |x/f - c|)(1 - |y/f - c|), f = ceil(W/2), c = (W - 1)/(2f).

    Raises ShapeError unless the blob is 4-D and square.
    """
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ShapeError(f"the bilinear filler needs a 4-D blob with a square kernel, got {format_shape(shape)}")
    size = shape[3]
    f = math.ceil(size / 2)
    c = (size - 1) / (2 * f)
    ramp = 1 - np.abs(np.arange(size) / f - c)
    return np.broadcast_to(np.outer(ramp, ramp), shape)


class Turn:
    """The number of the batch that a net works on; all its layers have the same object. What is random in a batch
    follows from its number, so it does not matter who computes it, or what was computed before."""

    def __init__(self) -> None:
        self.number: int | None = None  # None before the first
        self.begun = 0  # forward passes that began with the first layer

    def begin(self, number: int) -> None:
        """The pass of this batch begins; the same number again draws the same numbers again."""
        self.number, self.begun = number, self.begun + 1


def stream(seed: int, *names: str) -> np.random.Generator:
    """A random generator of its own for each (seed, name, …): what one layer draws never shifts another's."""
    key = tuple(byte for name in names for byte in (*name.encode(), 0))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
