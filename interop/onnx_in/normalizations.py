"""Nodes that normalize: LRN, and over batches, groups, layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import number
from .builder import Value, has_batch
from .converter import Converter, operation, refuse
from .graph import GraphNode


@operation("LRN")
def lrn(net: Converter, node: GraphNode) -> Value:
    value, size = net.build.flat(net.value(node)), node.integer("size")
    if len(value.shape) != 4 or size < 1 or not size % 2:
        raise refuse("LRN takes images, and an odd size")
    return net.build.elementwise(
        "LRN",
        net.name(node),
        value,
        local_size=size,
        alpha=number(node.real("alpha", 1e-4)),
        beta=number(node.real("beta", 0.75)),
        k=number(node.real("bias", 1.0)),
    )


@operation("BatchNormalization")
def batch_norm(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    if node.integer("training_mode") or len([name for name in node.outputs if name]) > 1:
        raise refuse("it computes the statistics of the batch: export the net in evaluation mode")
    parts = [net.weights(node, i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"), 1)]
    scale, bias, mean, variance = parts
    if len(value.shape) < 2 or any(p.shape != (value.shape[1],) for p in parts):
        raise refuse(f"its statistics are not those of {value.shape[1:2]} channels")
    inner = value if not value.is_reshaped and value.perm[1] == 1 else net.build.flat(value)
    blobs = [mean, variance, np.ones(1, np.float32)]
    is_plain = bool((scale == 1).all() and (bias == 0).all()) and all(node.inputs[i] in net.fixed for i in (1, 2))
    more: dict[str, Any] = {} if is_plain else {"affine": True}
    momentum = number(node.real("momentum", 0.9))
    made = net.build.elementwise(
        "BatchNorm",
        net.name(node, 1, 2, 3),
        inner,
        blobs=blobs if is_plain else [*blobs, scale, bias],
        **({} if momentum == 0.999 else {"moving_average_fraction": momentum}),
        **_eps(node.real("epsilon", 1e-5)),
        **more,
    )
    return made


def _eps(eps: float) -> dict[str, float]:
    return {} if number(eps) == 1e-5 else {"eps": number(eps)}


@operation("InstanceNormalization", "GroupNormalization")
def group_norm(net: Converter, node: GraphNode) -> Value:
    value = net.build.flat(net.value(node))
    scale, bias = net.weights(node, 1, "the scale").ravel(), net.weights(node, 2, "the bias").ravel()
    channels = value.shape[1] if len(value.shape) > 1 else 0
    groups = channels if node.op == "InstanceNormalization" else node.integer("num_groups")
    if groups < 1 or channels % groups:
        raise refuse(f"it divides {channels} channels into {groups} groups")
    if node.op == "GroupNormalization" and node.opset < 21:  # one number for each group, until then
        scale, bias = (np.repeat(p, channels // groups) if p.size == groups else p for p in (scale, bias))
    if scale.size != channels or bias.size != channels:
        raise refuse(f"it has {scale.size} factors for {channels} channels")
    return _group_norm(net, net.name(node, 1, 2), value, groups, scale, bias, node.real("epsilon", 1e-5))


def _group_norm(
    net: Converter, name: str, value: Value, groups: int, scale: np.ndarray, bias: np.ndarray, eps: float
) -> Value:
    return net.build.elementwise("GroupNorm", name, value, blobs=[scale, bias], num_groups=groups, **_eps(eps))


@operation("LayerNormalization")
def layer_norm(net: Converter, node: GraphNode) -> Value:
    value = net.build.flat(net.value(node))
    axis = value.axis(node.integer("axis", -1))
    shape = value.shape[axis:]
    if any(has_batch(size) for size in shape):
        raise refuse("it normalizes over the examples")
    scale = np.broadcast_to(net.weights(node, 1, "the scale"), shape)
    bias = np.zeros(shape, np.float32) if net.known(node, 2) is None else net.weights(node, 2, "the bias")
    return net.build.elementwise(
        "LayerNorm",
        net.name(node, 1, 2),
        value,
        blobs=[scale, np.broadcast_to(bias, shape)],
        **({} if axis == 1 else {"axis": -1 if axis == len(value.shape) - 1 else axis}),
        **_eps(node.real("epsilon", 1e-5)),
    )
