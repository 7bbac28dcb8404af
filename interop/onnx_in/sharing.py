"""Parameters that several layers have in common: one tensor of a file, used twice in the same layout."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from .builder import Layer

_SUFFIXES = ("w", "b")


def share(layers: list[Layer]) -> None:
    """Give parameters that are one tensor of the file a name in common, ``param: {name: fc1_w}``.

    Exporters also keep equal tensors once, such as two biases of zeros: what has the same value everywhere is not
    shared.
    """
    uses: dict[Any, list[tuple[Layer, int]]] = defaultdict(list)
    for layer in layers:
        for i, source in enumerate(layer.sources):
            if "param" not in layer.parameters:
                uses[source].append((layer, i))
    names: dict[int, list[dict]] = {}
    for places in uses.values():
        (first, i), *others = places
        array = first.blobs[i]
        if not others or array.size < 2 or bool((array == array.flat[0]).all()):
            continue
        name = f"{first.name}_{_SUFFIXES[i] if i < len(_SUFFIXES) else i}"
        for layer, at in places:
            names.setdefault(id(layer), [{} for _ in layer.blobs])[at] = {"name": name}
            if first is not layer or i != at:
                layer.shared.add(at)
    for layer in layers:
        if id(layer) in names:
            said = names[id(layer)]
            while not said[-1]:
                said.pop()
            layer.parameters["param"] = said[0] if len(said) == 1 else said


def owned(layers: list[Layer]) -> tuple[list[np.ndarray], list[dict]]:
    """The parameters of a cell's layers, each once, and the rates that the layer around the cell says for them."""
    arrays: list[np.ndarray] = []
    rates: list[dict] = []
    for layer in layers:
        given = layer.parameters.get("param", {})
        given = given if isinstance(given, list) else [given]
        for i, array in enumerate(layer.blobs):
            if i not in layer.shared:
                arrays.append(array)
                rate = given[i] if i < len(given) else {}
                rates.append({key: value for key, value in rate.items() if key != "name"})
        names = [{key: value for key, value in one.items() if key == "name"} for one in given]
        layer.parameters.pop("param", None)
        if any(names):
            layer.parameters["param"] = names[0] if len(names) == 1 else names
    return arrays, rates
