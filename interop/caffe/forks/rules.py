"""Types of layers that forks of Caffe added, each as the layers that compute the same.

A rule takes a layer and gives those that stand for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....spec.errors import Place, Problem, Problems
from ..message import Entry, Message, message


class Rewriter:
    """What rules need: where to say what they did, and what they could not do."""

    def __init__(self, problems: Problems, warnings: list[Problem], notes: list[Problem]):
        self.problems, self.warnings, self.notes = problems, warnings, notes

    def note(self, place: Place, words: str) -> None:
        self.notes.append(Problem(place, words))

    def filled_with(self, part: Message, name: str, usual: float) -> None:
        """Take out a filler of BatchNorm's factors (1) or offsets (0); say where it is another than there is here."""
        for entry in part.take(name):
            filler: Message = entry.value
            if filler.one("type") != "constant" or filler.one("value") != usual:
                what = "factors begin as 1" if usual else "offsets begin as 0"
                self.warnings.append(Problem(entry.place, f"`{name}` is left out: {what} here"))

    def read_as(self, layer: Message, kind: str, *parts: str) -> Message:
        """The layer as one of another type, without the messages named ``parts``."""
        self.note(layer.at("type"), f"{layer.one('type')} is read as {kind}")
        layer.fields["type"] = [Entry(kind, layer.at("type"))]
        for part in parts:
            layer.take(part)
        return layer


Rule = Callable[[Rewriter, Message], list[Message]]
RULES: dict[str, Rule] = {}


def rule(*types: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule for layers of these types."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(types, function))
        return function

    return add


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
def depthwise(forks: Rewriter, layer: Message) -> list[Message]:
    convolution = layer.make("convolution_param")
    if convolution.has("num_output") and not convolution.has("group"):
        convolution.fields["group"] = [Entry(convolution.one("num_output"), convolution.at("num_output"))]
    return [forks.read_as(layer, "Convolution")]


@rule("ReLU6")
def relu6(forks: Rewriter, layer: Message) -> list[Message]:
    relu = layer.one("relu_param")
    if relu is not None and relu.one("negative_slope"):
        forks.problems.add(relu.at("negative_slope"), "ReLU6 with a slope below 0 has no equal; write ReLU and Clip")
    forks.read_as(layer, "Clip", "relu_param").add("clip_param", message("ClipParameter", min=0, max=6))
    return [layer]


@rule("BN")
def bn(forks: Rewriter, layer: Message) -> list[Message]:
    """SegNet's, which has mean and variance in its factor once it is trained, or PSPNet's: BatchNorm with a factor.

    PSPNet's blobs are factor, offset, mean, variance. ``frozen`` rests all four.
    """
    part = layer.one("bn_param")
    if part is not None and (part.has("bn_mode") or part.has("shift_filler")):
        return _segnet_bn(forks, layer, part)
    if part is None:
        part = Message("BNParameter", layer.place)
    norm, is_frozen = Message("BatchNormParameter", layer.place), part.one("frozen")
    norm.fields["eps"] = part.entries("eps")
    if is_frozen:
        norm.add("use_global_stats", True, place=part.at("frozen"))
    else:
        norm.add("moving_average_fraction", part.one("momentum"), place=part.at("momentum"))
    for name, usual in (("slope_filler", 1), ("bias_filler", 0)):
        forks.filled_with(part, name, usual)
    learned = layer.take("param")[:2]
    if is_frozen:
        learned = [Entry(message("ParamSpec", lr_mult=0, decay_mult=0), part.at("frozen")) for _ in range(2)]
    if any(entry.value.fields for entry in learned):  # mean, variance and their count come first here
        rest = Entry(message("ParamSpec", lr_mult=0, decay_mult=0), learned[0].place)
        layer.fields["param"] = [rest, rest, rest, *learned]
    layer.extra["affine"] = True
    forks.read_as(layer, "BatchNorm", "bn_param").add("batch_norm_param", norm)
    return [layer]


def _segnet_bn(forks: Rewriter, layer: Message, part: Message) -> list[Message]:
    """INFERENCE is a Scale. LEARN normalizes each batch by itself, in tests too, before it."""
    scale = message("ScaleParameter", bias_term=True)
    for ours, theirs in (("filler", "scale_filler"), ("bias_filler", "shift_filler")):  # 0 where there is none
        scale.fields[ours] = part.entries(theirs) or [Entry(message("FillerParameter", value=0), part.place)]
    is_learned = part.one("bn_mode") == "LEARN"
    layer.take("bn_param")
    if not is_learned:
        return [forks.read_as(layer, "Scale").add("scale_param", scale)]
    name, tops = layer.one("name"), layer.many("top") or [layer.one("name")]
    if len(tops) > 1:
        forks.problems.add(layer.at("top"), "mean and variance as tops of SegNet's BN have no equal here")
        return [layer]
    forks.note(layer.at("type"), f"BN `{name}` is written as BatchNorm and Scale")
    norm = message("BatchNormParameter", use_global_stats=False, eps=1e-9)
    first = made(layer, f"{name}_norm", "BatchNorm", layer.many("bottom"), tops, batch_norm_param=norm)
    layer.fields["type"] = [Entry("Scale", layer.at("type"))]
    layer.fields["bottom"] = [Entry(tops[0], layer.at("bottom"))]
    layer.fields["top"] = [Entry(tops[0], layer.at("top"))]
    return [first, layer.add("scale_param", scale)]


@rule("Normalize")
def normalize(forks: Rewriter, layer: Message) -> list[Message]:
    """SSD's has ``norm_param``; that with ``normalize_param`` takes the channels of each place, and learns nothing."""
    part = layer.one("normalize_param")
    if part is None:
        if not layer.has("norm_param"):
            words = "forks differ in Normalize without `norm_param`: this is SSD's, of whole examples, with a factor"
            forks.warnings.append(Problem(layer.at("type"), words))
        return [layer]
    if part.has("normalize_type") and part.one("normalize_type") != "L2":
        forks.problems.add(part.at("normalize_type"), "only the L2 norm has an equal here")
    if len(layer.many("top")) > 1:
        forks.problems.add(layer.at("top"), "the norms as a second top of Normalize have no equal here")
    norm = message("NormalizeParameter", across_spatial=False, eps=1e-6)
    forks.note(layer.at("type"), f"the factor of Normalize `{layer.one('name')}`, which its fork lacks, stays 1")
    layer.take("normalize_param")
    layer.fields["param"] = [Entry(message("ParamSpec", lr_mult=0, decay_mult=0), layer.at("type"))]
    return [layer.add("norm_param", norm, place=part.place)]


@rule("Dropout")
def dropout(forks: Rewriter, layer: Message) -> list[Message]:
    """Fast R-CNN's with ``scale_train: false`` keeps values as they are in training, and multiplies them in tests."""
    part = layer.one("dropout_param")
    scaled = part.take("scale_train") if part is not None else []
    if part is None or not scaled or scaled[-1].value:
        return [layer]
    name, tops, place = layer.one("name"), layer.many("top") or [layer.one("name")], scaled[-1].place
    forks.note(place, f"values of `{name}` are multiplied by 1 - p behind it, in training and in tests")
    power = message("PowerParameter", scale=1 - part.one("dropout_ratio"))
    return [layer, made(layer, f"{name}_scale", "Power", tops, tops, power_param=power)]


@rule("UpsampleDarknet")
def upsample(forks: Rewriter, layer: Message) -> list[Message]:
    part = layer.one("upsample_darknet_param") or layer.one("upsample_param")
    stride = part.one("stride") if part is not None and part.has("stride") else 2
    layer.take("upsample_darknet_param")
    layer.take("upsample_param")
    forks.read_as(layer, "Upsample").add("upsample_param", message("UpsampleParameter", scale=stride))
    return [layer]


@rule("ResizeBilinear", "ResizeNearestNeighbor")
def resize(forks: Rewriter, layer: Message) -> list[Message]:
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
def hard_swish(forks: Rewriter, layer: Message) -> list[Message]:
    """x · Clip(x + 3, 0, 6) / 6."""
    name, bottom = layer.one("name"), layer.many("bottom")[:1]
    forks.note(layer.at("type"), f"HardSwish `{name}` is written as Power, Clip, Power and Eltwise")
    gate = f"{name}_gate"
    x, top = bottom, layer.many("top") or [name]
    return [
        made(layer, f"{name}_shift", "Power", x, [gate], power_param=message("PowerParameter", shift=3)),
        made(layer, f"{name}_clip", "Clip", [gate], [gate], clip_param=message("ClipParameter", min=0, max=6)),
        made(layer, gate, "Power", [gate], [gate], power_param=message("PowerParameter", scale=1 / 6)),
        made(layer, name, "Eltwise", [*x, gate], top, eltwise_param=message("EltwiseParameter", operation="PROD")),
    ]


@rule("SeLu", "SeLU", "SELU")
def selu(forks: Rewriter, layer: Message) -> list[Message]:
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
def squeeze(forks: Rewriter, layer: Message) -> list[Message]:
    part = layer.one("squeeze_param")
    axes = [] if part is None else part.many("axis") + part.many("squeeze_axis")
    if not axes:
        forks.problems.add(layer.at("type"), "Squeeze without axes depends on the blob's sizes; write a Reshape")
        return [layer]
    if min(axes) < 0 <= max(axes):
        forks.problems.add(layer.at("type"), "count all axes of Squeeze from the front, or all from the end")
        return [layer]
    name, bottom = layer.one("name"), layer.many("bottom")[:1]
    forks.note(layer.at("type"), f"Squeeze `{name}` is written as Reshape")
    found = []
    axes = sorted(axes, reverse=min(axes) >= 0)  # those that are taken leave the numbers of the rest as they are
    for i, axis in enumerate(axes):
        last = i == len(axes) - 1
        tops = (layer.many("top") or [name]) if last else [f"{name}_{axis}"]
        before = axis if axis >= 0 else axis - 1  # Reshape counts the places between axes: -1 is after the last
        reshape = message("ReshapeParameter", axis=before, num_axes=1, shape=message("BlobShape"))
        found.append(made(layer, name if last else tops[0], "Reshape", bottom, tops, reshape_param=reshape))
        bottom = tops
    return found


@rule("Mul", "Add", "BroadcastMul", "BroadcastAdd")
def arithmetic(forks: Rewriter, layer: Message) -> list[Message]:
    operation = "PROD" if layer.one("type").endswith("Mul") else "SUM"
    forks.read_as(layer, "Eltwise").add("eltwise_param", message("EltwiseParameter", operation=operation))
    layer.extra = {"broadcast": True}
    return [layer]


@rule("Axpy")
def axpy(forks: Rewriter, layer: Message) -> list[Message]:
    """a · x + y, a a number for each channel of each example."""
    name, bottoms = layer.one("name"), layer.many("bottom")
    if len(bottoms) != 3:
        forks.problems.add(layer.at("type"), "Axpy takes three bottoms: factors, x and y")
        return [layer]
    forks.note(layer.at("type"), f"Axpy `{name}` is written as two Eltwise")
    product = made(layer, f"{name}_product", "Eltwise", [bottoms[1], bottoms[0]], [f"{name}_product"])
    product.add("eltwise_param", message("EltwiseParameter", operation="PROD"))
    product.extra = {"broadcast": True}
    total = made(layer, name, "Eltwise", [f"{name}_product", bottoms[2]], layer.many("top") or [name])
    total.add("eltwise_param", message("EltwiseParameter", operation="SUM"))
    return [product, total]


@rule("SmoothL1Loss")
def smooth_l1_loss(forks: Rewriter, layer: Message) -> list[Message]:
    """Fast R-CNN's and SSD's: the sum over all elements, for each example."""
    layer.extra["normalization"] = "BATCH_SIZE"
    for part in layer.take("smooth_l1_loss_param"):
        if part.value.has("sigma"):
            sigma = part.value.one("sigma")
            layer.extra["beta"] = 1 / sigma**2 if sigma else 0.0
    return [layer]
