"""What of a net several processes can share: whose batches follow from their numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..net.layer import Layer
from ..net.net import Net
from ..net.netspec import load
from ..net.records import NetSpec
from ..net.step import Step
from ..net.user_code import ask
from .team import Team


class Statistics:
    """What batches add to blobs that are never learned, of a training net whose batches a team shares: each keeps that
    of all batches, in their order."""

    def __init__(self, net: Net, team: Team):
        moving = [layer for layer in net.layers.values() if layer.moves_blobs]
        self.layers = moving if team.size > 1 else []
        for layer in self.layers:
            layer.held = []

    def take(self) -> list[list[np.ndarray]]:
        """What the batch just computed has found."""
        found: list[list[np.ndarray]] = []
        for layer in self.layers:
            found.append(layer.held or [])
            layer.held = []
        return found

    def keep(self, found: list[list[np.ndarray]]) -> None:
        """Add what a batch has found."""
        for layer, statistics in zip(self.layers, found, strict=True):
            for one in statistics:
                ask(layer, "keep_statistics", one)


def shared_as_before(spec: NetSpec, of_run: Mapping[str, Any]) -> NetSpec:
    """A spec that leaves iter_size out goes on with as many batches in an update as the run it resumes has, not as many
    as there are ranks now."""
    if spec.solver is None or "iter_size" in spec.solver.value:
        return spec
    return load(spec, [f"solver.iter_size={of_run.get('solver', {}).get('iter_size', 1)}"])


def overrides(layer: Layer, method: str) -> bool:
    """Whether a layer's type has its own way of doing something."""
    return getattr(type(layer), method) is not getattr(Layer, method)


def unshared(net: Net) -> Iterator[tuple[Step, str]]:
    """The layers that keep the batches of a training net from being shared, and why."""
    for step in net.steps:
        layer = step.layer
        if overrides(layer, "state") and not overrides(layer, "skip"):
            yield step, "keeps something from batch to batch (`state`) and cannot leave batches out (`skip`)"
        elif layer.moves_blobs and not overrides(layer, "keep_statistics"):
            yield (
                step,
                "changes its blobs in every pass, and does not say by how much (see Layer.found_statistics)",
            )
        elif layer.writes_files:
            yield step, "writes what it reads to files, and each process has only some of the batches"


def tests_alike(net: Net) -> bool:
    """Whether each batch of a test gives what it gives whoever computed the one before: else everybody tests all."""
    goes_on = any(overrides(step.layer, "follows_on") for step in net.steps)
    return not goes_on and not any(True for _ in unshared(net))
