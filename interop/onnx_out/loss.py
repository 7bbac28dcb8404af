"""Losses that have a second top: the probabilities they compute from the scores."""

from __future__ import annotations

from ...net.example import labels
from .graph import Tensor
from .here import Emitter, Here


def shares(rng, shape):
    return rng.random(shape)


def softmax_with_loss(here: Here) -> list[Tensor]:
    """The loss itself is made by nobody."""
    axis = here.axis(here.p.axis)
    here.expects(1, shares if here.layer.dense else labels(here.layer.C))
    return [Tensor(here.name), here.op("Softmax", here.x[0], axis=axis)]


EMITTERS: dict[str, Emitter] = {"InfogainLoss": softmax_with_loss, "SoftmaxWithLoss": softmax_with_loss}
