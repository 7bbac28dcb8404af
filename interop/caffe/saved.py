"""A net as Caffe saves it with its weights: the layers of one phase, and those that Caffe put between them."""

from __future__ import annotations

import re

from ...spec.errors import Problem
from .message import Entry, Message

_INSERTED = re.compile(r".+_[0-9]+_split", re.DOTALL)


def as_written(net: Message, warnings: list[Problem]) -> Message:
    """A net of today's words without what saving added, in place; returns it. Nets that people write stay as they are.

    Every layer that Caffe saved says its phase. What is left are the layers of that phase, which are in every net then:
    the rules that chose them are taken out with a warning, as are weights, and copies that Caffe made of blobs with
    several readers.
    """
    layers = net.entries("layer")
    phases = {entry.value.one("phase") for entry in layers if entry.value.has("phase")}
    if len(phases) != 1 or not all(entry.value.has("phase") for entry in layers):
        return net
    copies: dict[str, str] = {}
    kept, chosen = [], []
    for entry in layers:
        layer: Message = entry.value
        if _is_inserted(layer):
            (bottom,) = layer.many("bottom")
            copies.update(dict.fromkeys(layer.many("top"), bottom))
            continue
        bottoms = [Entry(copies.get(one.value, one.value), one.place) for one in layer.take("bottom")]
        if bottoms:
            layer.fields["bottom"] = bottoms
        for name in ("phase", "blobs"):
            layer.take(name)
        if layer.take("include") + layer.take("exclude"):
            chosen.append(f"`{layer.one('name')}`")
        kept.append(entry)
    net.fields["layer"] = kept
    if chosen:
        words = f"the file holds the net of {phases.pop()} alone, which is used in both phases: {', '.join(chosen)} too"
        warnings.append(Problem(net.place, words))
    return net


def _is_inserted(layer: Message) -> bool:
    """Whether Caffe made a layer, so that each reader of a blob has a copy; one with a weight in the loss is kept."""
    name, bottoms = layer.one("name"), layer.many("bottom")
    return (
        layer.one("type") == "Split"
        and bool(_INSERTED.fullmatch(name))
        and len(bottoms) == 1
        and layer.many("top") == [f"{name.removesuffix('_split')}_split_{i}" for i in range(len(layer.many("top")))]
        and not any(layer.many("loss_weight"))
    )
