"""What nettrain writes into the metadata of the models it exports: how examples are prepared, which states go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ...spec.node import Node, Place
from ..yaml_out import flow
from .messages import Message

_MOST = 4096  # numbers of a mean


def said_in(model: Message) -> dict[str, Any]:
    """The properties by name, numbers and lists as such; none of another program's model."""
    if model.producer_name != "nettrain":
        return {}
    return {pair.key: _value(pair.value) for pair in model.metadata_props}


def _value(text: str) -> Any:
    try:
        found = json.loads(text) if len(text) < 32 * _MOST else text
    except (ValueError, RecursionError):
        return text
    items = found if isinstance(found, list) else [found]
    return found if len(items) <= _MOST and all(is_number(item) for item in items) else text


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e38


def carried(model: Message, said: Mapping[str, Any]) -> dict[str, str]:
    """Inputs that hold what the batch before left, where it is known what they are at first, and the outputs that
    leave it: the layer they come from keeps such states itself."""
    ends = {item.name for item in model.graph.output}
    pairs = {item.name: str(said.get(f"{item.name}.last")) for item in model.graph.input}
    return {name: last for name, last in pairs.items() if last in ends and is_number(said.get(f"{name}.first"))}


_KEYS = {"mean": "mean_value", "mean_file": "mean_file", "scale": "scale", "crop_size": "crop_size"}


def preparation(said: Mapping[str, Any], inputs: Mapping[str, str]) -> Iterable[str]:
    """A sentence for each input that is not as it lies in a file; ``inputs`` are the blobs of the graph's inputs."""
    for name, blob in inputs.items():
        transform = {key: said[f"{name}.{what}"] for what, key in _KEYS.items() if f"{name}.{what}" in said}
        if transform:
            text = flow(Node.plain({"transform": transform}, Place("", 0)))[1:-1]
            yield f"`{blob}` takes prepared examples; a data layer in its place says `{text}`"
        if said.get(f"{name}.channel_order") == "BGR":
            yield f"`{blob}` takes images with the channels blue, green, red, as ImageData reads them"
        if is_number(said.get(f"{name}.value")):
            yield f"`{blob}` was always {said[f'{name}.value']:g} in the net that was exported"
