"""What the parameters begin with: the filler as a line, where that gives the same numbers, else an array to load."""

from __future__ import annotations

import numpy as np

from ...layers.recurrent.recurrent import Recurrent
from ...net.build import Parameter
from ...net.fillers import Filler, stream
from ...net.net import Net
from ...net.step import Step
from .code import address
from .expressions import number, text


def initial(net: Net, name: str, owner: Parameter, seed: int, arrays: dict[str, np.ndarray]) -> tuple[str, bool]:
    """(the line that makes a parameter, whether it draws random numbers). What no line makes is added to ``arrays``."""
    data = owner.blob.data
    filler, swap_fans, names = _filler(net.steps, data)
    line = as_line(filler, data.shape, swap_fans, f"stream({text(names[0])}, {text(names[1])})")
    if line:
        again = np.empty_like(data)
        filler.fill(again, stream(seed, *names), swap_fans)
        if np.array_equal(again, data):
            return f"{name} = {line}", "stream" in line
    arrays[name] = np.ascontiguousarray(data)
    return f'{name} = arrays["{name}"]', False


def _filler(steps: list[Step], data: np.ndarray) -> tuple[Filler, bool, tuple[str, str]]:
    """(the filler of a parameter, whether its fans are exchanged, what its random numbers are named after)."""
    for step in steps:
        layer = step.layer
        where = [address(blob.data) for blob in layer.blobs]
        if address(data) not in where:
            continue
        if not isinstance(layer, Recurrent):
            i = where.index(address(data))
            return *layer.fillers[i], (layer.name, f"filler {i}")
        for state in layer.p.states:
            if state.has_blob and layer.blobs[layer.initial_blobs[state.name]].data is data:
                return state.initial, False, (layer.name, f"state {state.name}")
        return _filler(layer.unrolled.copies[0].steps, data)
    raise LookupError("a parameter of no layer")


def as_line(filler: Filler, shape: tuple[int, ...], swap_fans: bool, rng: str) -> str:
    """The filler as an expression; nothing for those that take more than one."""
    if filler.values and len(filler.values) == int(np.prod(shape)) and len(shape) <= 2 and np.prod(shape) <= 12:
        values = np.reshape(np.array(filler.values, float), shape).tolist()
        return f"np.array({values})"
    if filler.values or filler.sparse >= 0:
        return ""
    if filler.type == "constant":
        if not shape:
            return f"np.array({float(filler.value)!r})"
        if filler.value in (0, 1):
            return f"np.{'ones' if filler.value else 'zeros'}({shape if len(shape) > 1 else shape[0]})"
        return f"np.full({shape if len(shape) > 1 else shape[0]}, {float(filler.value)!r})"
    size = shape if len(shape) != 1 else shape[0]
    if filler.type == "uniform":
        return f"{rng}.uniform({number(filler.min)}, {number(filler.max)}, {size})"
    if filler.type == "gaussian":
        return f"{rng}.normal({number(filler.mean)}, {number(filler.std)}, {size})"
    if filler.type == "xavier":
        limit = f"np.sqrt(3 / {number(filler.fan(shape, swap_fans))})"
        return f"{rng}.uniform(-{limit}, {limit}, {size})"
    if filler.type == "msra":
        return f"{rng}.normal(0, np.sqrt(2 / {number(filler.fan(shape, swap_fans))}), {size})"
    return ""
