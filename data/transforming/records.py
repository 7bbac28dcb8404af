"""What a spec says of the transforms that have several parts: each a mapping, with a short form for the usual case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...spec.advice import say
from ...spec.declare import Declared, param
from ...spec.node import Node
from ...spec.reader import Reader


class Switch(Declared):
    """A transform that is on with ``true``, off with ``false``, and whose parts may be written."""

    words = "true, false, or a mapping"

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {} if value is True else None

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        return None if node.value is False else super().from_node(reader, node, what)

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "boolean"}, super().schema()]}


class WithNumber(Declared):
    """A transform with one number that matters, which alone is its short form."""

    number = ""  # the key that a plain number sets

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {cls.number: value} if isinstance(value, int | float) and not isinstance(value, bool) else None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "number"}, super().schema()]}


class Normalize(Switch):
    """(value - mean) / std for each channel: of the training images, or given."""

    mean: tuple[float, ...] = param(default=(), doc="for each channel, where it is not to be computed; with std")
    std: tuple[float, ...] = param(default=(), above=0, doc="for each channel; with mean")

    words = "true, or {mean: [..], std: [..]} with a number for each channel"
    aliases = {"deviation": "std", "variance": say("give its square root as {}", "std")}

    def validate(self) -> Iterable[tuple[str, str]]:
        if bool(self.mean) != bool(self.std):
            yield ("mean", "needs `std` beside it") if self.mean else ("std", "needs `mean` beside it")
        elif len(self.mean) != len(self.std):
            yield "std", f"must have as many numbers as mean, {len(self.mean)}, got {len(self.std)}"


def _in_order(name: str, values: tuple[float, ...]) -> Iterable[tuple[str, str]]:
    if len(values) != 2 or values[0] > values[1]:
        shown = ", ".join(f"{value:g}" for value in values)
        yield name, f"must be two numbers, the least and the most, got [{shown}]"


class RandomResizedCrop(Switch):
    """A part of the image at random, resized to what the net takes."""

    scale: tuple[float, ...] = param(
        default=(0.08, 1.0), above=0, maximum=1, doc="least and largest share of the image's area"
    )
    ratio: tuple[float, ...] = param(default=(3 / 4, 4 / 3), above=0, doc="least and largest width : height")

    words = "true, or {scale: [0.08, 1], ratio: [0.75, 1.333]}"

    def validate(self) -> Iterable[tuple[str, str]]:
        yield from _in_order("scale", self.scale)
        yield from _in_order("ratio", self.ratio)


class Jitter(Declared):
    """Colours changed at random: for each image a factor between 1 - x and 1 + x."""

    brightness: float = param(default=0.0, minimum=0, doc="x of the factor on every value")
    contrast: float = param(default=0.0, minimum=0, doc="x of the factor on the distance from the image's mean grey")
    saturation: float = param(default=0.0, minimum=0, doc="x of the factor on the distance from the pixel's grey")
    limit: float = param(
        default=0.0, minimum=0, doc="the largest value of a pixel; 0: 255, or 1 where the data goes no further"
    )

    aliases = {"hue": say("there is {}, {} and {}", "brightness", "contrast", "saturation")}


class Erase(WithNumber):
    """Random erasing: a rectangle is set to 0, after the mean is subtracted."""

    probability: float = param(minimum=0, maximum=1, doc="how often an image has a part erased")
    scale: tuple[float, ...] = param(
        default=(0.02, 0.33), above=0, below=1, doc="least and largest share of the image's area"
    )
    ratio: tuple[float, ...] = param(default=(0.3, 3.3), above=0, doc="least and largest height : width")

    number = "probability"
    words = "a number >= 0 and <= 1, or {probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3]}"
    aliases = {"p": "probability"}

    def validate(self) -> Iterable[tuple[str, str]]:
        yield from _in_order("scale", self.scale)
        yield from _in_order("ratio", self.ratio)


class Mixup(WithNumber):
    """Pairs of examples mixed, l of one and 1 - l of the other, and their labels, which become probabilities."""

    alpha: float = param(above=0, doc="l is drawn from Beta(alpha, alpha): 0.2 leaves most as they are, 1 is uniform")
    classes: int = param(
        default=0, minimum=0, doc="how many classes the labels count; 0: as many as the training data has"
    )

    number = "alpha"
    words = "a number > 0, or {alpha: 0.2, classes: 10}"
