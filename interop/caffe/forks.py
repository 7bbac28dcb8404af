"""Layers and fields that forks of Caffe added, in the words of layers that compute the same.

Each rule takes a layer and gives those that stand for it. What has no equal stays as it is, and is an unknown type or
field, with advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...spec.errors import Place, Problem, Problems
from .message import Entry, Message, message

Rule = Callable[["Forks", Message], list[Message]]
_TYPES: dict[str, Rule] = {}

# Layers that only train; a net to be used does without them. What they are, for the note.
TRAINING_ONLY = {
    "AnnotatedData": "SSD's images with boxes",
    "MultiBoxLoss": "SSD's loss of boxes and classes",
    "CenterLoss": "a loss of distances to the centres of classes",
    "MarginInnerProduct": "SphereFace's product with a margin",
    "SoftmaxWithLossOHEM": "R-FCN's loss of the hardest examples",
    "YoloV3Loss": "YOLO's loss",
    "YoloDetectionEvaluate": "YOLO's score",
    "DetectionEvaluate": "SSD's score",
    "DenseImageData": "SegNet's images with maps of labels",
    "ImageSegData": "DeepLab's images with maps of labels",
    "ImageLabelmapData": "images with maps of labels",
    "VideoData": "frames of films",
    "SeLuDropout": "dropout for SELU",
}
# Other layers of forks without an equal here: whose they are and what they do.
OTHERS = {
    "PriorBox": "SSD's default boxes",
    "DetectionOutput": "SSD's boxes after non-maximum suppression",
    "PSROIPooling": "R-FCN's pooling of regions",
    "ROIAlign": "Mask R-CNN's pooling of regions",
    "Proposal": "Faster R-CNN's proposals of regions",
    "MultiStageMeanfield": "CRF-RNN's mean field",
    "SpaceToBatchND": "TensorFlow's rearrangement of pixels",
    "DepthToSpace": "TensorFlow's rearrangement of channels",
    "Reorg": "darknet's rearrangement of pixels",
    "YoloDetectionOutput": "YOLO's boxes",
    "Yolov3DetectionOutput": "YOLO's boxes",
    "RegionLoss": "YOLO's loss",
    "Warp": "a warp by a field of displacements",
}


def rule(*types: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule for layers of these types."""

    def add(function: Rule) -> Rule:
        _TYPES.update(dict.fromkeys(types, function))
        return function

    return add


class Forks:
    """Rewrites layers of forks. ``is_deployed``: the net has inputs and no data, so what only trains is left out."""

    def __init__(self, problems: Problems, warnings: list[Problem], notes: list[Problem], is_deployed: bool):
        self.problems, self.warnings, self.notes, self.is_deployed = problems, warnings, notes, is_deployed

    def note(self, place: Place, words: str) -> None:
        self.notes.append(Problem(place, words))

    def layers(self, layer: Message) -> list[Message]:
        """What stands for a layer: mostly itself, its fields of forks in today's words."""
        kind = layer.one("type")
        if kind in TRAINING_ONLY and self.is_deployed:
            self.note(layer.at("type"), f"`{layer.one('name')}` is left out: {TRAINING_ONLY[kind]}, which only trains")
            return []
        rewrite = _TYPES.get(kind)
        found = rewrite(self, layer) if rewrite else [layer]
        return [made for one in found for made in self._fields(one)]

    def read_as(self, layer: Message, kind: str, *parts: str) -> Message:
        """The layer as one of another type."""
        self.note(layer.at("type"), f"{layer.one('type')} is read as {kind}")
        layer.fields["type"] = [Entry(kind, layer.at("type"))]
        for part in parts:
            layer.take(part)
        return layer

    def _fields(self, layer: Message) -> Iterator[Message]:
        pooling, relu = layer.one("pooling_param"), layer.one("relu_param")
        if pooling is not None:
            self._pooling(layer, pooling)
        norm = layer.one("batch_norm_param")
        if norm is not None:
            self._batch_norm(layer, norm)
        if relu is not None and relu.has("relu6") and relu.take("relu6")[-1].value:
            layer = self.read_as(layer, "Clip", "relu_param")
            layer.add("clip_param", message("ClipParameter", min=0, max=6))
        convolution = layer.one("convolution_param")
        if convolution is not None and any(convolution.has(side) for side in _SIDES):
            yield from self._convolution(layer, convolution)
            return
        yield layer

    def _pooling(self, layer: Message, pooling: Message) -> None:
        for entry in pooling.take("ceil_mode"):
            if not entry.value:
                pooling.fields["round_mode"] = [Entry("FLOOR", entry.place)]
        if pooling.one("pool") in ("AVE_EXC_PAD", "AVE_TF"):
            place = pooling.at("pool")
            pooling.fields["pool"] = [Entry("AVE", place)]
            layer.extra["count_include_pad"] = False
        if all(pooling.has(side) for side in _SIDES):
            left, right, top, bottom = (pooling.one(side) for side in _SIDES)
            if left == right and top == bottom:
                place = pooling.at("pad_l")
                for side in _SIDES:
                    pooling.take(side)
                pooling.fields["pad_h"], pooling.fields["pad_w"] = [Entry(top, place)], [Entry(left, place)]

    def _batch_norm(self, layer: Message, norm: Message) -> None:
        for entry in norm.take("add_eps_before_sqrt"):
            if not entry.value:
                self.problems.add(entry.place, "eps is added below the root; a fork's other formula is not known here")
        has_factor = any(entry.value for entry in norm.take("scale_bias"))
        for name in ("scale_filler", "bias_filler"):
            for entry in norm.take(name):
                has_factor = True
                self.note(entry.place, f"`{name}` is left out: factors begin as 1, offsets as 0")
        if has_factor:
            layer.extra["affine"] = True

    def _convolution(self, layer: Message, convolution: Message) -> Iterator[Message]:
        """Sides padded alike are pad_h and pad_w; others need a Pad layer before."""
        place = convolution.at(next(side for side in _SIDES if convolution.has(side)))
        left, right, top, bottom = (convolution.one(side) for side in _SIDES)
        for name in (*_SIDES, "pad", "pad_h", "pad_w"):
            convolution.take(name)
        if left == right and top == bottom:
            for name, size in (("pad_h", top), ("pad_w", left)):
                if size:
                    convolution.fields[name] = [Entry(size, place)]
        else:
            name = f"{layer.one('name')}_pad"
            pad = made(layer, name, "Pad", layer.many("bottom")[:1], [name])
            pad.extra = {"pad": [[top, bottom], [left, right]], "axis": 2}
            layer.fields["bottom"] = [Entry(name, layer.at("bottom"))]
            self.note(place, f"sides of `{layer.one('name')}` are padded by a Pad layer before it")
            yield pad
        yield layer


_SIDES = ("pad_l", "pad_r", "pad_t", "pad_b")


def made(near: Message, name: str, kind: str, bottoms: list[str], tops: list[str], **parts: Message) -> Message:
    """A layer that the file does not have, placed where the one that it belongs to is."""
    layer = Message("LayerParameter", near.place, last_line=near.last_line)
    layer.add("name", name).add("type", kind).add("bottom", *bottoms).add("top", *tops)
    for field, part in parts.items():
        layer.add(field, part)
    for rule_name in ("include", "exclude"):
        if near.has(rule_name):
            layer.fields[rule_name] = near.entries(rule_name)
    return layer


@rule("ConvolutionDepthwise", "DepthwiseConvolution", "ConvolutionDepthWise", "DepthwiseConv")
def depthwise(forks: Forks, layer: Message) -> list[Message]:
    convolution = layer.make("convolution_param")
    if convolution.has("num_output"):
        convolution.fields["group"] = [Entry(convolution.one("num_output"), convolution.at("num_output"))]
    return [forks.read_as(layer, "Convolution")]


@rule("ReLU6")
def relu6(forks: Forks, layer: Message) -> list[Message]:
    forks.read_as(layer, "Clip", "relu_param").add("clip_param", message("ClipParameter", min=0, max=6))
    return [layer]


@rule("BN")
def bn(forks: Forks, layer: Message) -> list[Message]:
    """SegNet's for deployment is a Scale: mean and variance are folded into it. PSPNet's is BatchNorm with a factor."""
    part = layer.one("bn_param")
    if part is not None and (part.has("bn_mode") or part.has("shift_filler")):
        if part.one("bn_mode") == "INFERENCE":
            forks.read_as(layer, "Scale", "bn_param", "param").add(
                "scale_param", message("ScaleParameter", bias_term=True)
            )
            return [layer]
        forks.problems.add(
            layer.at("type"), "SegNet's BN in mode LEARN keeps no statistics; its files for deployment say INFERENCE"
        )
        return []
    norm = message("BatchNormParameter")
    if part is not None:
        for name in ("eps", "frozen"):
            for entry in part.entries(name):
                if name == "eps":
                    norm.add("eps", entry.value, place=entry.place)
                elif entry.value:
                    norm.add("use_global_stats", True, place=entry.place)
    layer.extra["affine"] = True
    forks.read_as(layer, "BatchNorm", "bn_param", "param").add("batch_norm_param", norm)
    return [layer]


@rule("UpsampleDarknet")
def upsample(forks: Forks, layer: Message) -> list[Message]:
    part = layer.one("upsample_darknet_param") or layer.one("upsample_param")
    stride = part.one("stride") if part is not None and part.has("stride") else 2
    layer.take("upsample_darknet_param")
    layer.take("upsample_param")
    forks.read_as(layer, "Upsample").add("upsample_param", message("UpsampleParameter", scale=stride))
    return [layer]


@rule("ResizeBilinear", "ResizeNearestNeighbor")
def resize(forks: Forks, layer: Message) -> list[Message]:
    is_nearest = layer.one("type") == "ResizeNearestNeighbor"
    part = layer.one("resize_nearest_neighbor_param" if is_nearest else "resize_bilinear_param")
    interp = Message("InterpParameter", layer.place)
    for ours, theirs in (("height", "output_height"), ("width", "output_width")):
        if part is not None and part.has(theirs):
            interp.fields[ours] = part.entries(theirs)
    forks.read_as(layer, "Interp", "resize_bilinear_param", "resize_nearest_neighbor_param")
    layer.add("interp_param", interp)
    extra: dict[str, Any] = {"align_corners": bool(part is not None and part.one("align_corners"))}
    layer.extra = extra | ({"mode": "nearest"} if is_nearest else {})
    return [layer]


@rule("HardSwish", "HSwish")
def hard_swish(forks: Forks, layer: Message) -> list[Message]:
    """x · Clip(x + 3, 0, 6) / 6."""
    name, bottom = layer.one("name"), layer.many("bottom")[:1]
    forks.note(layer.at("type"), f"HardSwish `{name}` is written as Power, Clip, Power and Eltwise")
    gate = f"{name}_gate"
    x, top = bottom, layer.many("top") or [name]
    if top == bottom:
        forks.problems.add(
            layer.at("type"), "HardSwish in place cannot be written as other layers; give it another top"
        )
        return []
    return [
        made(layer, f"{name}_shift", "Power", x, [gate], power_param=message("PowerParameter", shift=3)),
        made(layer, f"{name}_clip", "Clip", [gate], [gate], clip_param=message("ClipParameter", min=0, max=6)),
        made(layer, gate, "Power", [gate], [gate], power_param=message("PowerParameter", scale=1 / 6)),
        made(layer, name, "Eltwise", [*x, gate], top, eltwise_param=message("EltwiseParameter", operation="PROD")),
    ]


@rule("SeLu", "SeLU", "SELU")
def selu(forks: Forks, layer: Message) -> list[Message]:
    part = layer.one("selu_param")
    alpha = part.one("alpha") if part is not None and part.has("alpha") else 1.6732632423543772
    scale = part.one("lambda") if part is not None and part.has("lambda") else 1.0507009873554805
    name, top = layer.one("name"), layer.many("top") or [layer.one("name")]
    forks.note(layer.at("type"), f"SELU `{name}` is written as ELU and Power")
    elu = message("ELUParameter", alpha=alpha)
    return [
        made(layer, f"{name}_elu", "ELU", layer.many("bottom"), top, elu_param=elu),
        made(layer, name, "Power", top, top, power_param=message("PowerParameter", scale=scale)),
    ]


@rule("Squeeze")
def squeeze(forks: Forks, layer: Message) -> list[Message]:
    part = layer.one("squeeze_param")
    axes = [] if part is None else part.many("axis") + part.many("squeeze_axis")
    if not axes:
        forks.problems.add(layer.at("type"), "Squeeze without axes depends on the blob's sizes; write a Reshape")
        return []
    name, bottom = layer.one("name"), layer.many("bottom")[:1]
    forks.note(layer.at("type"), f"Squeeze `{name}` is written as Reshape")
    found = []
    axes = sorted(axes, reverse=True)
    for i, axis in enumerate(axes):
        last = i == len(axes) - 1
        tops = (layer.many("top") or [name]) if last else [f"{name}_{axis}"]
        reshape = message("ReshapeParameter", axis=axis, num_axes=1, shape=message("BlobShape"))
        found.append(made(layer, name if last else tops[0], "Reshape", bottom, tops, reshape_param=reshape))
        bottom = tops
    return found


@rule("Mul", "Add", "BroadcastMul", "BroadcastAdd")
def arithmetic(forks: Forks, layer: Message) -> list[Message]:
    operation = "PROD" if layer.one("type").endswith("Mul") else "SUM"
    forks.read_as(layer, "Eltwise").add("eltwise_param", message("EltwiseParameter", operation=operation))
    layer.extra = {"broadcast": True}
    return [layer]


@rule("Axpy")
def axpy(forks: Forks, layer: Message) -> list[Message]:
    """a · x + y, a a number for each channel of each example."""
    name, bottoms = layer.one("name"), layer.many("bottom")
    if len(bottoms) != 3:
        forks.problems.add(layer.at("type"), "Axpy takes three bottoms: factors, x and y")
        return []
    forks.note(layer.at("type"), f"Axpy `{name}` is written as two Eltwise")
    product = made(layer, f"{name}_product", "Eltwise", [bottoms[1], bottoms[0]], [f"{name}_product"])
    product.add("eltwise_param", message("EltwiseParameter", operation="PROD"))
    product.extra = {"broadcast": True}
    total = made(layer, name, "Eltwise", [f"{name}_product", bottoms[2]], layer.many("top") or [name])
    total.add("eltwise_param", message("EltwiseParameter", operation="SUM"))
    return [product, total]
