"""Chains: neighbouring layers of a net whose work is known beforehand, carried out as if they were one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ..compute.stages import Rounds, join
from .blob import Blob
from .step import Step


class Chain:
    """Steps that follow one another, in the order in which they run.

    Their layers write down what a pass does with the memory their blobs have; while the blobs stay where they are it is
    done again and again. The first pass over new memory is made layer by layer: it makes the memory.
    """

    def __init__(self, steps: Sequence[Step], backward: bool):
        self.steps, self.is_backward = steps, backward
        touched = [blob for step in steps for blob in step.touched()]
        self.blobs = list({id(blob): blob for blob in touched}.values())
        self.learned = [
            [
                blob if flag else None
                for blob, flag in zip(step.layer.blobs, step.layer.param_propagate_down, strict=True)
            ]
            for step in steps
        ]
        self.places: list[tuple[Any, ...]] = []
        self.kept: list[tuple[Any, ...]] = []
        self.made: dict[tuple[Any, ...], Rounds] = {}

    def run(self) -> None:
        """The pass of all steps. An error says which layers they are."""
        places = [blob.place(self.is_backward) for blob in self.blobs]
        if places != self.places:
            self.made.clear()
            for step in self.steps:
                step.backward() if self.is_backward else step.forward()
            self.places = [blob.place(self.is_backward) for blob in self.blobs]
            self.kept = [blob.memory() for blob in self.blobs]
            return
        cleared = self.cleared()
        rounds = self.made.get(cleared)
        if rounds is None:
            rounds = self.made[cleared] = self.prepare(cleared)
        try:
            rounds.run()
        except BaseException as error:
            error.add_note(f"in the layers from {self.steps[0].spec.title()} to {self.steps[-1].spec.title()}")
            raise

    def cleared(self) -> tuple[Any, ...]:
        """Which gradients of parameters this pass overwrites."""
        if not self.is_backward:
            return ()
        return tuple(tuple(blob is not None and blob.take_cleared() for blob in blobs) for blobs in self.learned)

    def prepare(self, cleared: tuple[Any, ...]) -> Rounds:
        if not self.is_backward:
            return Rounds(join(step.forward_work() for step in self.steps))
        works = (step.backward_work(list(flags)) for step, flags in zip(self.steps, cleared, strict=True))
        return Rounds(join(works))


class Pass:
    """The forward or the backward pass of some steps of a net, given in the order in which they run."""

    def __init__(self, steps: Sequence[Step], backward: bool):
        self.steps, self.is_backward = steps, backward
        self.layouts: list[int] = []
        self.parts: list[Chain | Step] = []

    def run(self, after: Callable[[Step], object] | None = None) -> float:
        """Run them; returns what the tops of the steps add to the loss. ``after`` is called with each step that is
        done, of a chain with the last."""
        layouts = [step.layouts for step in self.steps]
        if layouts != self.layouts:
            self.parts, self.layouts = self.divide(), layouts
        loss = 0.0
        for part in self.parts:
            if isinstance(part, Chain):
                part.run()
            elif self.is_backward:
                part.backward()
            else:
                loss += part.forward()
            if after is not None:
                after(part.steps[-1] if isinstance(part, Chain) else part)
        return loss

    def divide(self) -> list[Chain | Step]:
        """Chains as long as they can be, and the steps between them."""
        parts: list[Chain | Step] = []
        is_known = Step.backward_is_known if self.is_backward else Step.forward_is_known
        for known, group in groupby(self.steps, is_known):
            steps = list(group)
            if known:
                parts += [Chain(one, self.is_backward) for one in _without_twins(steps)]
            else:
                parts += steps
        return parts


def _without_twins(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps, cut before one that shares a parameter with one before it: their gradients are added in order."""
    chain: list[Step] = []
    before: list[Blob] = []
    for step in steps:
        if any(blob.shares_diff_with(other) for blob in step.layer.blobs for other in before):
            yield chain
            chain, before = [], []
        chain.append(step)
        before += step.layer.blobs
    if chain:
        yield chain
