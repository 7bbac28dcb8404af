"""Layers of forks of Caffe in the words of layers that compute the same.

Whole types have rules in ``rules``; what is here are fields that forks added to Caffe's own layers. What has no
equal stays as it is, and is an unknown type or field, with advice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ....spec.errors import Problem, Problems
from ..message import Entry, Message, message
from .fields import TRAINING_ONLY, WITHOUT_EQUAL
from .rules import RULES, Rewriter, made

LEAST_EPS = 1e-5  # of NVIDIA's BatchNorm
_SIDES = ("pad_l", "pad_r", "pad_t", "pad_b")
_SCALES, _SIZE = ("zoom_factor", "shrink_factor"), ("height", "width")


class Forks(Rewriter):
    """Rewrites layers of forks. ``is_deployed``: the net has inputs and no data, so what only trains is left out.

    ``scaled`` are the blobs that a Scale with one bottom reads.
    """

    def __init__(
        self,
        problems: Problems,
        warnings: list[Problem],
        notes: list[Problem],
        is_deployed: bool,
        scaled: Iterable[str] = (),
    ):
        super().__init__(problems, warnings, notes)
        self.is_deployed, self.scaled = is_deployed, frozenset(scaled)

    def layers(self, layer: Message) -> list[Message]:
        """What stands for a layer: mostly itself, its fields of forks in today's words."""
        kind = layer.one("type")
        if kind in TRAINING_ONLY and self.is_deployed:
            self.note(layer.at("type"), f"`{layer.one('name')}` is left out: {TRAINING_ONLY[kind]}, which only trains")
            return []
        rewrite = RULES.get(kind)
        found = rewrite(self, layer) if rewrite else [layer]
        return [made for one in found for made in self._fields(one)]

    def _fields(self, layer: Message) -> Iterator[Message]:
        parts = {
            "pooling_param": self._pooling,
            "batch_norm_param": self._batch_norm,
            "loss_param": self._loss,
            "dropout_param": self._dropout,
            "interp_param": self._interp,
            "upsample_param": self._upsample,
            "detection_output_param": self._detection_output,
        }
        for name, rewrite in parts.items():
            part = layer.one(name)
            if part is not None:
                rewrite(layer, part)
        relu = layer.one("relu_param")
        if relu is not None and relu.has("relu6") and relu.take("relu6")[-1].value:
            layer = self.read_as(layer, "Clip", "relu_param")
            layer.add("clip_param", message("ClipParameter", min=0, max=6))
        convolution = layer.one("convolution_param")
        if convolution is not None and any(convolution.has(side) for side in _SIDES):
            yield from self._convolution(layer, convolution)
            return
        yield layer

    def _sides(self, part: Message) -> list[int] | None:
        """Pads left, right, above and below that a message says, as ``pad_h`` and ``pad_w`` where they are alike.

        None when nothing is left to do: sides that are all 0 leave ``pad`` as it is.
        """
        sides = [part.one(side) for side in _SIDES]
        left, right, top, bottom = sides
        place = part.at(next(side for side in _SIDES if part.has(side)))
        if any(sides):
            for name in ("pad", "pad_h", "pad_w"):
                part.take(name)
            if (left, top) != (right, bottom):
                return sides
            part.fields["pad_h"], part.fields["pad_w"] = [Entry(top, place)], [Entry(left, place)]
        for side in _SIDES:
            part.take(side)
        return None

    def _pooling(self, layer: Message, pooling: Message) -> None:
        for entry in pooling.take("ceil_mode"):
            if not entry.value:
                pooling.fields["round_mode"] = [Entry("FLOOR", entry.place)]
        is_included = pooling.take("avg_include_pad")
        if pooling.one("pool") in ("AVE_EXC_PAD", "AVE_TF") or any(not entry.value for entry in is_included):
            place = pooling.at("pool")
            if pooling.one("pool") in ("AVE_EXC_PAD", "AVE_TF"):
                pooling.fields["pool"] = [Entry("AVE", place)]
            if pooling.one("pool") == "AVE":
                layer.extra["count_include_pad"] = False
        if any(pooling.has(side) for side in _SIDES):
            self._sides(pooling)

    def _batch_norm(self, layer: Message, norm: Message) -> None:
        for entry in norm.take("add_eps_before_sqrt"):
            if not entry.value:
                self.problems.add(entry.place, "eps is added below the root; a fork's other formula is not known here")
        has_factor = any(entry.value for entry in norm.take("scale_bias"))
        for name, usual in (("scale_filler", 1), ("bias_filler", 0)):
            has_factor |= norm.has(name) and not norm.has("filler")
            self.filled_with(norm, name, usual)
        for entry in norm.take("filler"):  # Intel's, of factors that its compiled BatchNorm has when no Scale follows
            if not self.scaled & set(layer.many("top")):
                words = (
                    "factors of Intel's BatchNorm, which other engines of Intel's do not have; write a Scale behind it"
                )
                self.problems.add(entry.place, words)
        if has_factor:
            layer.extra["affine"] = True
            if norm.has("eps") and norm.one("eps") < LEAST_EPS:
                self.note(norm.at("eps"), f"eps is {LEAST_EPS:g}, the least that NVIDIA's BatchNorm takes")
                norm.fields["eps"] = [Entry(LEAST_EPS, norm.at("eps"))]

    def _loss(self, layer: Message, loss: Message) -> None:
        if loss.one("normalization") == "PRE_FIXED":
            place, count = loss.at("normalization"), loss.one("pre_fixed_normalizer")
            loss.fields["normalization"] = [Entry("NONE", place)]
            if count > 0:
                weights = layer.many("loss_weight") or [1]
                layer.fields["loss_weight"] = [Entry(weight / count, place) for weight in weights]
                self.note(place, f"the divisor {count:g} of PRE_FIXED is in `loss_weight`")
            else:
                self.problems.add(loss.at("pre_fixed_normalizer"), "a divisor must be above 0")
        loss.take("pre_fixed_normalizer")
        weights, is_used = loss.take("class_weighting"), loss.take("weight_by_label_freqs")
        if not any(entry.value for entry in is_used) or not weights:
            return
        place = weights[0].place
        is_by_example = loss.has("normalize") and not loss.one("normalize")
        if loss.has("ignore_label") and loss.one("normalization") == "VALID" and not is_by_example:
            words = "are divided by the number of pixels that count in SegNet, and by their weights' sum here; write"
            self.problems.add(place, f"losses with `class_weighting` and `ignore_label` {words} normalization: FULL")
            return
        if not loss.has("normalize") and not loss.has("normalization"):
            loss.add("normalization", "FULL", place=place)
        layer.extra["class_weight"] = [entry.value for entry in weights]

    def _dropout(self, layer: Message, dropout: Message) -> None:
        for entry in dropout.take("sample_weights_test"):
            if entry.value:
                words = (
                    "SegNet's Bayesian nets drop values in tests too, and average over many; Dropout here rests then"
                )
                self.problems.add(entry.place, f"{words}. Without this line tests use the mean at once")

    def _interp(self, layer: Message, interp: Message) -> None:
        """Of several sizes one counts: a lone factor before a height and width, these before both factors."""
        for entry in interp.take("use_blob_size"):
            if entry.value:
                self._ignored(interp, (*_SCALES, *_SIZE), "the second bottom's size is used")
        has_size, factors = all(interp.has(name) for name in _SIZE), [name for name in _SCALES if interp.has(name)]
        if len(factors) == 1:
            self._ignored(interp, _SIZE, f"{factors[0]} is used")
        elif has_size:
            self._ignored(interp, _SCALES, "height and width are used")

    def _upsample(self, layer: Message, upsample: Message) -> None:
        if upsample.has("stride") and not upsample.has("scale"):  # darknet's
            upsample.fields["scale"] = upsample.take("stride")
        if upsample.has("upsample_h") and upsample.has("upsample_w"):
            other = ("scale", "scale_h", "scale_w", "pad_out_h", "pad_out_w")
            self._ignored(upsample, other, "upsample_h and upsample_w are used")
        elif upsample.has("scale_h") and upsample.has("scale_w"):
            self._ignored(upsample, ("scale",), "scale_h and scale_w are used")

    def _detection_output(self, layer: Message, output: Message) -> None:
        for name in ("save_output_param", "visualize", "visualize_threshold", "save_file"):
            for entry in output.take(name)[:1]:
                self.note(entry.place, f"`{name}` is left out: it changes no number")
        for entry in output.take("objectness_score"):
            self.problems.add(entry.place, "RefineDet's boxes of two stages have no equal here")

    def _ignored(self, part: Message, names: tuple[str, ...], why: str) -> None:
        """Take out fields that another makes useless."""
        for name in names:
            for entry in part.take(name)[:1]:
                self.note(entry.place, f"`{name}` is left out: {why}")

    def _convolution(self, layer: Message, convolution: Message) -> Iterator[Message]:
        """Sides padded alike are pad_h and pad_w; others need a Pad layer before."""
        place = convolution.at(next(side for side in _SIDES if convolution.has(side)))
        sides = self._sides(convolution)
        if sides is not None:
            left, right, top, bottom = sides
            for side in _SIDES:
                convolution.take(side)
            name = f"{layer.one('name')}_pad"
            if layer.one("type") != "Convolution" or len(layer.many("bottom")) != 1:
                words = "only a Convolution with one bottom can have different pads on opposite sides"
                self.problems.add(place, f"{words}; this is {layer.one('type')}")
                yield layer
                return
            pad = made(layer, name, "Pad", layer.many("bottom"), [name])
            pad.extra = {"pad": [[top, bottom], [left, right]], "axis": 2}
            layer.fields["bottom"] = [Entry(name, layer.at("bottom"))]
            self.note(place, f"sides of `{layer.one('name')}` are padded by a Pad layer before it")
            yield pad
        yield layer


def without_equal(kind: str) -> str:
    """What a layer of a fork that has no equal here does, and what to do about it; empty for other types."""
    what, why = WITHOUT_EQUAL.get(kind, ""), "to take the layers before it: nettrain convert … --until LAYER"
    if not what and kind in TRAINING_ONLY:
        what = TRAINING_ONLY[kind]
        if "Data" in kind:
            why = "put another layer of data in its place (`nettrain layers` has them)"
    return f"{what}, not Caffe's, and has no equal here; {why}" if what else ""
