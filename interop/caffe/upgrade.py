"""Nets and solvers of older Caffes in the words of the last one, as Caffe itself upgrades them when it loads a file.

Three generations of layers: V0 (``layers { layer { type: "conv" } }``), V1 (``layers { type: CONVOLUTION }``) and V2
(``layer { type: "Convolution" }``). Places stay those of the file. Source: interoperability notes on Caffe's
``upgrade_proto``; each rule here is one of its.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...spec.errors import Place, Problem, Problems
from .message import Entry, Message
from .schema import messages

V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}  # the others are written alike: CONTRASTIVE_LOSS, ContrastiveLoss
V0_TYPES = {
    "conv": "CONVOLUTION",
    "innerproduct": "INNER_PRODUCT",
    "pool": "POOLING",
    "images": "IMAGE_DATA",
}  # the others are V1's in lower case

# Fields of a V0 layer: the types of layer that have them, and what they are called there.
_CONV, _POOL, _INNER = ("convolution_param", "conv"), ("pooling_param", "pool"), ("inner_product_param", "innerproduct")
_LRN, _DATA, _IMAGES = ("lrn_param", "lrn"), ("data_param", "data"), ("image_data_param", "images")
_HDF5, _WINDOW = ("hdf5_data_param", "hdf5_data"), ("window_data_param", "window_data")
_V0_FIELDS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "num_output": ("num_output", (_CONV, _INNER)),
    "biasterm": ("bias_term", (_CONV, _INNER)),
    "weight_filler": ("weight_filler", (_CONV, _INNER)),
    "bias_filler": ("bias_filler", (_CONV, _INNER)),
    "pad": ("pad", (_CONV, _POOL)),
    "kernelsize": ("kernel_size", (_CONV, _POOL)),
    "stride": ("stride", (_CONV, _POOL)),
    "group": ("group", (_CONV,)),
    "pool": ("pool", (_POOL,)),
    "dropout_ratio": ("dropout_ratio", (("dropout_param", "dropout"),)),
    "local_size": ("local_size", (_LRN,)),
    "alpha": ("alpha", (_LRN,)),
    "beta": ("beta", (_LRN,)),
    "k": ("k", (_LRN,)),
    "source": ("source", (_DATA, _HDF5, _IMAGES, _WINDOW, ("infogain_loss_param", "infogain_loss"))),
    "batchsize": ("batch_size", (_DATA, _HDF5, _IMAGES, _WINDOW)),
    "rand_skip": ("rand_skip", (_DATA, _IMAGES)),
    "shuffle_images": ("shuffle", (_IMAGES,)),
    "new_height": ("new_height", (_IMAGES,)),
    "new_width": ("new_width", (_IMAGES,)),
    "concat_dim": ("concat_dim", (("concat_param", "concat"),)),
    "det_fg_threshold": ("fg_threshold", (_WINDOW,)),
    "det_bg_threshold": ("bg_threshold", (_WINDOW,)),
    "det_fg_fraction": ("fg_fraction", (_WINDOW,)),
    "det_context_pad": ("context_pad", (_WINDOW,)),
    "det_crop_mode": ("crop_mode", (_WINDOW,)),
}
_V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_OLD_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")
_OF_DATA = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_SOLVER_TYPES = {"NESTEROV": "Nesterov", "ADAGRAD": "AdaGrad", "RMSPROP": "RMSProp", "ADADELTA": "AdaDelta"}
_SOLVER_TYPES |= {"SGD": "SGD", "ADAM": "Adam"}


class Upgrade:
    """Upgrades messages in place; problems are what Caffe would end with, warnings what it says or hides."""

    def __init__(self, problems: Problems, warnings: list[Problem]):
        self.problems, self.warnings = problems, warnings

    def _warn(self, place: Place, message: str) -> None:
        self.warnings.append(Problem(place, message))

    def net(self, net: Message) -> Message:
        """A NetParameter of any generation as one of V2; returns it."""
        old = net.entries("layers")
        if old and net.has("layer"):
            message = f"`layers` and `layer` in one file (line {net.at('layer').line}); Caffe takes one kind"
            self.problems.add(old[0].place, message)
            net.take("layers")
            old = []
        if any(entry.value.has("layer") for entry in old):
            self._v0(net)
        if net.has("layers"):
            for entry in net.entries("layers"):
                self._transform(entry.value)
            net.fields["layer"] = [Entry(self._v2(entry.value), entry.place) for entry in net.take("layers")]
        self._inputs(net)
        for layer in net.many("layer"):
            self._batch_norm(layer)
        return net

    def solver(self, solver: Message) -> Message:
        """A SolverParameter; its ``solver_type`` becomes ``type``."""
        for entry in solver.take("solver_type"):
            if solver.has("type"):
                self.problems.add(entry.place, "`solver_type` and `type` cannot stand together; leave out the first")
                continue
            solver.add("type", _SOLVER_TYPES[entry.value], place=entry.place)
        for field in ("net_param", "train_net_param", "test_net_param"):
            for entry in solver.entries(field):
                self.net(entry.value)
        return solver

    def _v0(self, net: Message) -> None:
        """V0 to V1: padding layers go into the convolution or pooling behind them, fields into messages by type."""
        makers: dict[str, Message] = {}
        kept: list[Entry] = []
        for entry in net.entries("layers"):
            connection: Message = entry.value
            if not connection.has("layer"):
                self._warn(
                    entry.place,
                    "a layer of Caffe's second generation among those of the first: Caffe reads its blobs alone",
                )
            inner = connection.one("layer") or Message("V0LayerParameter", entry.place)
            if inner.one("type") != "padding":
                layer = self._v1(connection, inner)
                self._unpad(layer, inner, makers)
                kept.append(Entry(layer, entry.place))
            for top in connection.many("top"):
                makers[top] = connection
        net.fields["layers"] = kept
        for name in ("input_shape", "state", "debug_info"):
            for lost in net.take(name)[:1]:
                self._warn(lost.place, f"`{name}` has no effect in a net of Caffe's first generation")

    def _unpad(self, made: Message, inner: Message, makers: dict[str, Message]) -> None:
        """Take over what a padding layer below pads."""
        for bottom in made.entries("bottom"):
            maker = makers.get(bottom.value)
            below = maker.one("layer") if maker else None
            if below is None or below.one("type") != "padding":
                continue
            assert maker is not None
            message = {"conv": "convolution_param", "pool": "pooling_param"}.get(inner.one("type"))
            if message is None or len(maker.many("bottom")) != 1:
                self.problems.add(
                    bottom.place, f"padding `{below.one('name')}` must have one bottom, and stand before a conv or pool"
                )
                continue
            parameters = made.make(message)
            parameters.fields["pad"] = [Entry(below.one("pad"), below.at("pad"))]
            bottom.value = maker.many("bottom")[0]

    def _v1(self, connection: Message, inner: Message) -> Message:
        made = Message("V1LayerParameter", connection.place, last_line=connection.last_line)
        for name in ("bottom", "top"):
            made.fields[name] = [Entry(entry.value, entry.place) for entry in connection.entries(name)]
        for name in ("name", "blobs", "blobs_lr", "weight_decay"):
            if inner.has(name):
                made.fields[name] = inner.entries(name)
        kind = inner.one("type")
        if kind:
            upper = V0_TYPES.get(kind, kind.upper())
            if upper not in (made.about("type").choices or {}):
                self.problems.add(inner.at("type"), f"there was no layer type `{kind}` in Caffe's first generation")
            else:
                made.add("type", upper, place=inner.at("type"))
        for name, entries in inner.fields.items():
            if name in _V0_TRANSFORM:
                made.make("transform_param", entries[0].place).fields[_V0_TRANSFORM[name]] = entries
            elif name == "hdf5_output_param":
                made.fields[name] = entries
            elif name in _V0_FIELDS:
                new, homes = _V0_FIELDS[name]
                home = next((message for message, type_name in homes if type_name == kind), None)
                if home is None:
                    self._warn(entries[0].place, f"`{name}` has no effect in a layer of type {kind or '(none)'}")
                else:
                    made.make(home, inner.place).fields[new] = entries
            elif name in ("new_num", "new_channels"):
                self._warn(entries[0].place, f"`{name}` has no effect in later Caffes")
        made.unknown = [*connection.unknown, *inner.unknown]
        return made

    def _transform(self, layer: Message) -> None:
        """V1: scale, mean_file, crop_size and mirror of a data layer's own message go to ``transform_param``."""
        parameters = layer.one(_OF_DATA.get(layer.one("type"), "data_param"))
        if layer.one("type") not in _OF_DATA or parameters is None:
            return
        for name in _OLD_TRANSFORM:
            if parameters.has(name):
                place = parameters.at(name)
                if layer.one("type") == "WINDOW_DATA" and name == "scale":
                    self._warn(
                        place, "WindowData's `scale` has no effect here: Caffe moves it to where nobody reads it"
                    )
                    parameters.take(name)
                    continue
                layer.make("transform_param", place).fields[name] = parameters.take(name)

    def _v2(self, layer: Message) -> Message:
        made = Message("LayerParameter", layer.place, unknown=layer.unknown, last_line=layer.last_line)
        known = messages()["LayerParameter"]
        extra = {"blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult", "param": "name"}
        for name, entries in layer.fields.items():
            if name == "type":
                made.add("type", v2_type(layer.one("type")), place=entries[0].place)
                if layer.one("type") == "CROP":
                    words = "CROP is FCN's first, which finds the offset itself; today's is a `layer` of type Crop with"
                    self.problems.add(entries[0].place, f"{words} crop_param {{ axis: 2 offset: … }}")
            elif name in extra:
                for i, entry in enumerate(self._single(entries)):
                    specs = made.fields.setdefault("param", [])
                    if i == len(specs):
                        specs.append(Entry(Message("ParamSpec", entry.place), entry.place))
                    specs[i].value.fields[extra[name]] = [entry]
            elif name == "layer":
                self._warn(entries[0].place, "`layer` inside of `layers` has no effect here")
            elif name in known:
                made.fields[name] = entries
        return made

    @staticmethod
    def _single(entries: list[Entry]) -> Iterable[Entry]:
        """Each number of its own, also of those that came as one array."""
        for entry in entries:
            if hasattr(entry.value, "tolist"):
                yield from (Entry(value, entry.place) for value in entry.value.tolist())
            else:
                yield entry

    def _inputs(self, net: Message) -> None:
        """``input`` with ``input_shape`` or ``input_dim`` becomes an Input layer, which is put first."""
        names = net.take("input")
        shapes, dims = net.take("input_shape"), [int(value) for value in net.many("input_dim")]
        place = net.at("input_dim")
        net.take("input_dim")
        if not names or not (shapes or dims):
            return
        taken = {layer.one("name") for layer in net.many("layer")}
        name = next(name for name in ("input", *(f"input_{i}" for i in range(2, 99))) if name not in taken)
        made = Message("LayerParameter", names[0].place).add("name", name).add("type", "Input")
        made.fields["top"] = names
        parameters = made.make("input_param")
        if len(shapes or dims) < len(names) * (1 if shapes else 4):
            each = "an input_shape" if shapes else "four input_dim"
            self.problems.add(names[0].place, f"{len(names)} inputs, but not {each} for each")
            return
        for i in range(len(names)):
            if shapes:
                parameters.fields.setdefault("shape", []).append(shapes[i])
            else:
                shape = Message("BlobShape", place).add("dim", *dims[4 * i : 4 * i + 4])
                parameters.add("shape", shape, place=place)
        net.fields["layer"] = [Entry(made, made.place), *net.entries("layer")]

    def _batch_norm(self, layer: Message) -> None:
        """The three statistics are not learned, whatever the file says."""
        specs = layer.many("param") if layer.one("type") == "BatchNorm" else []
        if len(specs) == 3:
            for spec in specs:
                for name in ("lr_mult", "decay_mult"):
                    spec.fields[name] = [Entry(0, spec.at(name))]
        elif len(specs) > 3:
            self.problems.add(specs[3].place, "a BatchNorm has three parameters; Caffe takes no `param` beyond them")
        for spec in specs if len(specs) < 3 else []:
            if spec.has("lr_mult") and spec.one("lr_mult") != 0:
                self.problems.add(
                    spec.at("lr_mult"), "the statistics of a BatchNorm are not learned: lr_mult must be 0"
                )


def v2_type(name: str) -> str:
    """A V1 type as V2 spells it: INNER_PRODUCT, InnerProduct."""
    return V1_TYPES.get(name, "".join(word.capitalize() for word in name.split("_")))
