"""What differs between two specs, key by key; layers are compared by name."""

from __future__ import annotations

import json
from typing import Any

Difference = tuple[str, Any, Any]  # the path of a key, and its two values; None where it is left out


def differences(one: Any, other: Any, path: str = "") -> list[Difference]:
    """The keys whose values differ, in the order of the first; paths are those of ``--set`` with ``layer.`` before."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*one, *other])
        return [d for key in keys for d in differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))]
    above, _, key = path.rpartition(".")
    if key == "layers" and (not above or above.startswith("blocks.")) and one and other and one != other:
        one, other = (_by_name(layers) for layers in (one, other))
        return differences(one, other, f"{above}.layer".lstrip("."))
    return [] if one == other else [(path, one, other)]


def _by_name(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Layers by name; of those of two phases that share it, the later ones with their place."""
    found: dict[str, Any] = {}
    for layer in layers:
        name = str(layer.get("name"))
        places = (name, *(f"{name} ({i})" for i in range(2, len(layers) + 1)))
        found[next(place for place in places if place not in found)] = layer
    return found


def written(value: Any) -> str:
    """A value as a person reads it."""
    return "left out" if value is None else json.dumps(value, ensure_ascii=False)
