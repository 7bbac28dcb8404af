"""An explanation as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from .explained import Explanation, Value

WHOLE = 1000  # elements of a blob up to which all of them are given


def as_json(explanation: Explanation) -> dict:
    """Everything as plain data; blobs of more than WHOLE elements as statistics."""
    return {
        "name": explanation.name,
        "loss": explanation.loss,
        "sample": explanation.sample,
        "starts_at": explanation.seeded,
        "values": {name: _value_as_json(value) for name, value in explanation.values.items()},
        "gates": [
            {
                "name": gate.name,
                "type": gate.type,
                "formula": gate.formula,
                "words": gate.words,
                "bottoms": gate.bottoms,
                "tops": gate.tops,
                "loss": gate.loss,
                "parameters": {p.name: _value_as_json(p) for p in gate.parameters},
            }
            for gate in explanation.gates
        ],
    }


def _value_as_json(value: Value) -> dict:
    return {
        "shape": list(value.data.shape),
        "data": _array_as_json(value.data),
        "gradient": _array_as_json(value.diff),
        "made_by": value.made_by,
        "uses": [
            {
                "gate": use.gate,
                "local": _array_as_json(use.local),
                "upstream": _array_as_json(use.upstream),
                "gradient": _array_as_json(use.gradient),
            }
            for use in value.uses
        ],
    }


def _array_as_json(array: np.ndarray | None) -> Any:
    if array is None:
        return None
    if array.size > WHOLE:
        return statistics(array)
    return array.tolist()


def statistics(array: np.ndarray) -> dict:
    """Shape, mean, extremes, share of zeros and the first few values of a large array."""
    return {
        "shape": list(array.shape),
        "mean": float(array.mean()),
        "min": float(array.min()),
        "max": float(array.max()),
        "zeros": float((array == 0).mean()),
        "first": array.reshape(-1)[:6].tolist(),
    }
