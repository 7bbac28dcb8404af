"""Layers of nettrain's own that Caffe lacks, as layers of Caffe's that compute the same; or the reason why not."""

from __future__ import annotations

from collections.abc import Callable

from ...net.records import LayerSpec
from ...spec.declare import Declared
from .message import Message, message

_REASONS = {
    "GELU": "Caffe has no erf",
    "Mish": "Caffe has no such activation",
    "LayerNorm": "Caffe normalizes channels of the batch (BatchNorm), or channels of each example (MVN), not this",
    "GroupNorm": "Caffe has no normalization of groups of channels",
    "GRU": "Caffe's recurrent layers are RNN and LSTM",
    "MatMul": "Caffe multiplies by parameters alone",
    "Maxout": "Caffe has no such activation",
    "Pad": "Caffe pads within convolutions and pooling alone",
    "CosineSimilarity": "Caffe has no such layer",
    "CircularConvolution": "Caffe has no such layer",
    "CopyTask": "it makes data, which Caffe reads",
    "Recurrent": "Caffe unrolls its own RNN and LSTM alone",
    "BinaryAccuracy": "Caffe's Accuracy is of classes",
    "L1Loss": "Caffe's losses are others",
    "SmoothL1Loss": "only forks of Caffe have it",
    "MulticlassSVMLoss": "Caffe's HingeLoss is one-vs-all",
    "Permute": "only forks of Caffe have it",
    "Normalize": "only forks of Caffe have it",
    "Interp": "only forks of Caffe have it",
    "Upsample": "only forks of Caffe have it",
    "ShuffleChannel": "only forks of Caffe have it",
    "ROIPooling": "only forks of Caffe have it",
    "PriorBox": "only forks of Caffe have it",
    "DetectionOutput": "only forks of Caffe have it",
}
_KEYS = {  # keys that Caffe's layer of the type has not: the value that changes nothing, and why another is refused
    "broadcast": (False, "Caffe's Eltwise takes bottoms of one shape"),
    "class_weight": ((), "Caffe's loss counts all classes alike"),
    "label_smoothing": (0.0, "Caffe's labels are classes"),
    "count_include_pad": (True, "Caffe's mean counts the border"),
    "pad_t": (None, "Caffe's border is the same on opposite sides"),
    "pad_b": (None, "Caffe's border is the same on opposite sides"),
    "pad_l": (None, "Caffe's border is the same on opposite sides"),
    "pad_r": (None, "Caffe's border is the same on opposite sides"),
}
# In place, Caffe computes wrong gradients for these, or refuses them.
NOT_IN_PLACE = {"Eltwise", "Power", "Clip", "BNLL", "Log", "LRN", "Pooling", "Convolution", "InnerProduct"}
NOT_IN_PLACE |= {"AbsVal", "Flatten", "Reshape", "Split"}


def refusal(spec: LayerSpec) -> str:
    """Why Caffe has no equal of a layer; nothing where it has."""
    kind, p = spec.cls.__name__, spec.parameters
    if kind in _REASONS:
        return f"{kind} has no equal in Caffe: {_REASONS[kind]}"
    if kind == "Softplus" and getattr(p, "beta", 1) != 1:
        return "Softplus with another beta than 1 has no equal in Caffe; with 1 it is BNLL"
    if (spec.cls.runs_code and kind != "Python") or not spec.cls.__module__.startswith("nettrain.layers"):
        return f"{kind} is a layer of your own; Caffe knows those of type Python"
    for key, (neutral, why) in _KEYS.items():
        if getattr(p, key, neutral) != neutral:
            return f"`{key}` has no equal in Caffe: {why}"
    return ""


Lower = Callable[[Message, Declared], list[Message]]


def lowered(layer: Message, p: Declared) -> list[Message]:
    """What stands for a layer in Caffe: itself, or others."""
    rule = _RULES.get(layer.one("type"))
    return rule(layer, p) if rule else [layer]


def _retyped(layer: Message, kind: str) -> Message:
    layer.fields["type"] = []
    return layer.add("type", kind)


def _silu(layer: Message, p: Declared) -> list[Message]:
    return [_retyped(layer, "Swish").add("swish_param", message("SwishParameter", beta=1))]


def _softplus(layer: Message, p: Declared) -> list[Message]:
    return [_retyped(layer, "BNLL")]


def _log_softmax(layer: Message, p: Declared) -> list[Message]:
    """log of the softmax, which is less exact far below 0."""
    name, (top,) = layer.one("name"), layer.many("top")
    inner = message(
        "LayerParameter", name=f"{name}_softmax", type="Softmax", bottom=layer.many("bottom"), top=[f"{name}_softmax"]
    )
    inner.add("softmax_param", message("SoftmaxParameter", axis=getattr(p, "axis", 1)))
    log = message("LayerParameter", name=name, type="Log", bottom=[f"{name}_softmax"], top=[top])
    return [inner, log]


def _batch_norm(layer: Message, p: Declared) -> list[Message]:
    """``affine`` is a Scale behind it, in place; of five blobs it has the last two."""
    if not getattr(p, "affine", False):
        return [layer]
    (top,) = layer.many("top")
    scale = message("LayerParameter", name=scale_of(layer.one("name")), type="Scale", bottom=[top], top=[top])
    specs = layer.take("param")
    if specs[:3]:
        layer.fields["param"] = specs[:3]
    if specs[3:]:
        scale.fields["param"] = specs[3:]
    return [layer, scale.add("scale_param", message("ScaleParameter", bias_term=True))]


def scale_of(name: str) -> str:
    """The name of the Scale behind a BatchNorm."""
    return f"{name}_scale"


_RULES: dict[str, Lower] = {
    "SiLU": _silu,
    "Softplus": _softplus,
    "LogSoftmax": _log_softmax,
    "BatchNorm": _batch_norm,
}
