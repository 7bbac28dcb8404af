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
_KEYS = {  # keys that Caffe's layer of the type has not, and why a value that changes something is refused
    "broadcast": "Caffe's Eltwise takes bottoms of one shape",
    "class_weight": "Caffe's loss counts all classes alike",
    "label_smoothing": "Caffe's labels are classes",
    "count_include_pad": "Caffe's mean counts the border",
    **dict.fromkeys(("pad_t", "pad_b", "pad_l", "pad_r"), "Caffe's border is the same on opposite sides"),
    "filler": "Caffe's Parameter begins with zeros, or with weights from a file",
}
_LOWERED = {("BatchNorm", "affine"), ("LogSoftmax", "axis")}  # keys that are said by other layers
# In place, Caffe computes wrong gradients for these, or refuses them.
NOT_IN_PLACE = {"Eltwise", "Power", "Clip", "BNLL", "Log", "LRN", "Pooling", "Convolution", "InnerProduct", "MVN"}
NOT_IN_PLACE |= {"AbsVal", "Flatten", "Reshape", "Split", "Deconvolution", "Embed", "Swish", "Threshold"}
# The gradients of these need what they computed, which a layer behind them must not write over.
_NEED_OUTPUT = {"Sigmoid", "TanH", "ELU", "Exp", "Softmax", "LRN", "MVN", "Power", "Swish"}
_STANDS_FOR = {"SiLU": "Swish", "Softplus": "BNLL", "LogSoftmax": "Log"}


def stands_for(spec: LayerSpec) -> str:
    """The type that a layer has in Caffe; the last, where it becomes several."""
    kind = spec.cls.__name__
    return _STANDS_FOR.get(kind, kind)


def may_be_overwritten(maker: LayerSpec, writer: LayerSpec, is_in_place: bool) -> bool:
    """Whether a layer may work in place on what another made, itself in place or not."""
    kind = stands_for(maker)
    if kind == "ReLU" and is_in_place:  # it looks at the sign of what it made, which these keep
        return stands_for(writer) in ("Dropout", "ReLU")
    return kind not in _NEED_OUTPUT


def why_not(kind: str, key: str) -> str | None:
    """Why a key has no equal in Caffe, in words if there are any; None where other layers say it."""
    return None if (kind, key) in _LOWERED else _KEYS.get(key, "")


def refusal(spec: LayerSpec) -> str:
    """Why Caffe has no equal of a layer; nothing where it has."""
    kind, p = spec.cls.__name__, spec.parameters
    if kind in _REASONS:
        return f"{kind} has no equal in Caffe: {_REASONS[kind]}"
    if kind == "Softplus" and getattr(p, "beta", 1) != 1:
        return "Softplus with another beta than 1 has no equal in Caffe; with 1 it is BNLL"
    if (spec.cls.runs_code and kind != "Python") or not spec.cls.__module__.startswith("nettrain.layers"):
        return f"{kind} is a layer of your own; Caffe knows those of type Python"
    return ""


Fresh = Callable[[str], str]
Lower = Callable[[Message, Declared, Fresh], list[Message]]


def lowered(layer: Message, p: Declared, fresh: Fresh) -> list[Message]:
    """What stands for a layer in Caffe: itself, or others; ``fresh`` gives names that are not taken."""
    rule = _RULES.get(layer.one("type"))
    return rule(layer, p, fresh) if rule else [layer]


def _retyped(layer: Message, kind: str) -> Message:
    layer.fields["type"] = []
    return layer.add("type", kind)


def _silu(layer: Message, p: Declared, fresh: Fresh) -> list[Message]:
    return [_retyped(layer, "Swish").add("swish_param", message("SwishParameter", beta=1))]


def _softplus(layer: Message, p: Declared, fresh: Fresh) -> list[Message]:
    return [_retyped(layer, "BNLL")]


def _log_softmax(layer: Message, p: Declared, fresh: Fresh) -> list[Message]:
    """log of the softmax, which is less exact far below 0."""
    inner = fresh(f"{layer.one('name')}_softmax")
    softmax = message("LayerParameter", name=inner, type="Softmax", bottom=layer.many("bottom"), top=[inner])
    softmax.add("propagate_down", *layer.many("propagate_down"))
    softmax.add("softmax_param", message("SoftmaxParameter", axis=getattr(p, "axis", 1)))
    log = message("LayerParameter", name=layer.one("name"), type="Log", bottom=[inner], top=layer.many("top"))
    return [softmax, log.add("loss_weight", *layer.many("loss_weight"))]


def _batch_norm(layer: Message, p: Declared, fresh: Fresh) -> list[Message]:
    """``affine`` is a Scale behind it, in place; of five blobs it has the last two."""
    if not getattr(p, "affine", False):
        return [layer]
    (top,) = layer.many("top")
    name = fresh(f"{layer.one('name')}_scale")
    scale = message("LayerParameter", name=name, type="Scale", bottom=[top], top=[top])
    specs = layer.take("param")
    layer.fields["param"], scale.fields["param"] = specs[:3], specs[3:]
    scale.fields["loss_weight"] = layer.take("loss_weight")
    return [layer, scale.add("scale_param", message("ScaleParameter", bias_term=True))]


_RULES: dict[str, Lower] = {
    "SiLU": _silu,
    "Softplus": _softplus,
    "LogSoftmax": _log_softmax,
    "BatchNorm": _batch_norm,
}
