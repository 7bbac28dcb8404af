"""Step: one layer of a net, ready to run. A net that runs is a loop over its steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..compute.stages import Stage, calling, elementwise
from ..spec.errors import NettrainError, ShapeError, format_shape
from . import user_code
from .blob import Blob
from .graph import Key
from .layer import Layer
from .records import LayerSpec


@dataclass
class Step:
    """One layer of a net with everything needed to run it."""

    spec: LayerSpec
    layer: Layer
    bottom: list[Blob]
    top: list[Blob]
    bottom_keys: list[Key]
    top_keys: list[Key]
    propagate_down: list[bool] = field(default_factory=list)
    needs_backward: bool = False
    frozen: bool = False  # its parameters are not learned in this net
    fixed: list[bool] = field(default_factory=list)  # parameter blobs that the layer keeps itself: never learned
    loss_weights: list[float] = field(default_factory=list)
    aliases: list[tuple[Blob, Blob]] = field(default_factory=list)  # own view of a shared bottom, the blob itself
    copies: list[tuple[Blob, Blob]] = field(default_factory=list)  # own copy of a channels-last bottom, the blob itself
    returns: list[tuple[Blob, Blob]] = field(default_factory=list)  # own copy whose diff is the blob's diff
    sums: list[tuple[Blob, Blob, int]] = field(default_factory=list)  # own diff, where to add it, step that starts it
    seeds: list[tuple[Blob, float]] = field(default_factory=list)  # loss weights to add to a diff this step wrote
    shapes: list[tuple[int, ...]] | None = None  # the bottoms' shapes at the last reshape
    layouts: int = 0  # how often the layer was reshaped
    within: str = ""  # what the layer is part of, for messages: "in its cell"

    def forward(self) -> float:
        """Run the layer; return what its tops add to the loss. An error names the layer."""
        self.follow_bottoms()
        if self.shapes != [blob.shape for blob in self.bottom]:
            self.reshape_again()
        for own, blob in self.copies:
            np.copyto(own.data, blob.data)
        try:
            self.layer.Forward_cpu(self.bottom, self.top)
        except BaseException as error:
            self.blame(error, "Forward_cpu")
            self.say_where(error)
            raise
        return sum(w * float(t.data.sum()) for w, t in zip(self.loss_weights, self.top, strict=True) if w)

    def follow_bottoms(self) -> None:
        """Give the views and copies this layer has of its bottoms the bottoms' shapes."""
        for own, blob in self.aliases:
            own.reshape(blob.shape)
        for own, blob in self.copies:
            own.reshape(blob.shape)

    def set_up(self) -> None:
        try:
            self.layer.setup(self.bottom, self.top)
        except BaseException as error:
            self.blame(error, "setup")
            raise

    def reshape(self) -> None:
        self.shapes = None  # an error may leave the layer half way
        self.layouts += 1
        try:
            self.layer.reshape(self.bottom, self.top)
        except BaseException as error:
            self.blame(error, "reshape")
            raise
        self.shapes = [blob.shape for blob in self.bottom]

    def reshape_again(self) -> None:
        """Take the bottoms' shapes as they are by now. An error names the layer."""
        self.follow_bottoms()
        try:
            self.reshape()
        except NettrainError as error:
            self.say_where(error)
            raise

    def backward(self) -> None:
        """Run the layer's backward pass and hand its gradients on."""
        self.run_backward()
        self.hand_on()

    def run_backward(self) -> None:
        """The layer's backward pass alone. An error names the layer."""
        try:
            self.layer.Backward_cpu(self.top, self.propagate_down, self.bottom)
        except BaseException as error:
            self.blame(error, "Backward_cpu")
            self.say_where(error)
            raise

    def hand_on(self) -> None:
        """Add what the backward pass wrote to the diffs this layer shares with others."""
        for own, blob in self.returns:
            np.copyto(blob.diff, own.diff)
        for blob, weight in self.seeds:
            blob.diff += weight
        for own, total, _ in self.sums:
            total.diff += own.diff

    # Work that is known before it is done: see Chain

    def forward_is_known(self) -> bool:
        return self.layer.work_is_known and not self.copies and not any(self.loss_weights)

    def backward_is_known(self) -> bool:
        return self.layer.work_is_known and not self.seeds

    def touched(self) -> Iterator[Blob]:
        """The blobs that the passes read or write."""
        yield from (*self.bottom, *self.top, *self.layer.blobs)
        for own, blob in (*self.aliases, *self.returns):
            yield from (own, blob)
        for own, total, _ in self.sums:
            yield from (own, total)

    def forward_work(self) -> Sequence[Stage]:
        """What ``forward`` does."""
        return user_code.ask(self.layer, "forward_work", self.bottom, self.top)

    def backward_work(self, cleared: list[bool]) -> Sequence[Stage]:
        """What ``backward`` does, where gradients of parameters that are ``cleared`` are overwritten."""
        stages = list(user_code.ask(self.layer, "backward_work", self.top, self.propagate_down, self.bottom, cleared))
        stages += [elementwise(calling(np.copyto), blob.diff, own.diff) for own, blob in self.returns]
        return stages + [elementwise(calling(np.add), total.diff, own.diff, total.diff) for own, total, _ in self.sums]

    def say_where(self, error: BaseException) -> None:
        """Begin an error of ours with this layer and where it is written; one about shapes shows them.

        Within a cell the layer around it says the rest.
        """
        if not isinstance(error, NettrainError):
            return
        if self.within:
            error.say_where(f"{self.within}, {self.spec.title()}")
            return
        blobs = zip(self.bottom_keys, self.bottom, strict=True)
        shapes = " · ".join(f"{key[0]} {format_shape(blob.shape)}" for key, blob in blobs)
        shown = shapes if isinstance(error, ShapeError) else ""
        error.say_where(f"{self.spec.place}: {self.spec.title()}", shown, error.hint)

    def blame(self, error: BaseException, method: str) -> None:
        """Say which layer an exception came from, where it is written, and what it was given.

        Raises UserCodeError for a layer of the user's own; a traceback of nettrain's own gets a note.
        """
        if isinstance(error, NettrainError | KeyboardInterrupt):
            return
        words = user_code.blame(error, *user_code.author(self.layer, method), [self.circumstances()])
        if words is not None:
            raise words from error
        error.add_note(f"in {self.spec.title()} ({self.spec.place}), {method}, {self.shapes_in_words()}")

    def circumstances(self) -> str:
        """Which layer this is and where it is written, with its shapes."""
        place = f" ({self.spec.place})" if self.spec.place.line else ""
        return " · ".join(filter(None, [f"{self.spec.title()}{place}, {self.layer.phase}", self.shapes_in_words()]))

    def shapes_in_words(self) -> str:
        sides = (("bottom", self.bottom_keys, self.bottom), ("top", self.top_keys, self.top))
        return " · ".join(
            f"{side} {', '.join(f'{key[0]} {format_shape(blob.shape)}' for key, blob in zip(keys, blobs, strict=True))}"
            for side, keys, blobs in sides
            if blobs
        )
