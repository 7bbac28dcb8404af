"""A layer of Caffe's as an entry of ``layers:``: the same names and values, where they differ the same numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...net import registry
from ...spec.errors import Place, Problem, Problems, did_you_mean
from ...spec.node import Node
from .forks.fields import left_out
from .message import Entry, Message
from .paths import is_there, locate
from .schema import messages

# Messages with a type's parameters, where that is not the type's own name: Convolution, convolution_param.
_SHARED: dict[str, tuple[str, ...]] = {
    "Deconvolution": ("convolution_param",),
    "Im2col": ("convolution_param",),
    "RNN": ("recurrent_param",),
    "LSTM": ("recurrent_param",),
    "SoftmaxWithLoss": ("softmax_param", "loss_param"),
    "SigmoidCrossEntropyLoss": ("loss_param",),
    "InfogainLoss": ("infogain_loss_param", "loss_param"),
    "SmoothL1Loss": ("smooth_l1_loss_param",),
    "Normalize": ("norm_param", "normalize_param"),
    "BN": ("bn_param",),
}
_TRANSFORMED = ("Data", "ImageData", "WindowData")
_WEIGHTS = ("Convolution", "Deconvolution", "InnerProduct", "Embed", "LSTM", "RNN")  # 0 in Caffe unless filled
_WITHOUT_EFFECT = {  # fields that change nothing that is computed here
    "DataParameter": ("rand_skip", "force_encoded_color", "prefetch", "cache", "precache", "threads", "parser_threads"),
    "ImageDataParameter": ("rand_skip",),
    "MVNParameter": (),
}
_OLD_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")
_NOT_FOR_IM2COL = ("num_output", "group", "weight_filler", "bias_filler", "bias_term")


class LayerReader:
    """Makes nodes of layers. ``notes`` are what was left out without an effect, ``warnings`` what may be a mistake.

    ``folder`` is where the file lies, and sources are looked for.
    """

    def __init__(self, problems: Problems, warnings: list[Problem], notes: list[Problem], folder: Path):
        self.problems, self.warnings, self.notes, self.folder = problems, warnings, notes, folder

    def warn(self, place: Place, message: str) -> None:
        self.warnings.append(Problem(place, message))

    def note(self, place: Place, message: str) -> None:
        self.notes.append(Problem(place, message))

    def node(self, written: Message) -> Node:
        """The entry of a layer in today's words, which has been through ``Upgrade`` and ``forks``."""
        kind = written.one("type")
        found = Mapping(written.place)
        for name in ("name", "type", "bottom", "top"):
            found.put(name, several(written.entries(name)))
        for name, node in self.parameters(kind, written).node.value.items():
            found.put(name, node)
        for name, value in written.extra.items():
            found.put(name, Node.plain(value, written.place, in_one_place=True))
        self._common(written, found)
        return found.node

    def parameters(self, kind: str, written: Message) -> Mapping:
        """What a type's messages say, as keys beside ``type``."""
        found, own = Mapping(written.place), messages_of(kind)
        cls = registry.layer_type(kind)
        for name in written.fields:
            part = written.one(name) if written.about(name).is_message and name.endswith("_param") else None
            if part is None:
                continue
            if name == "transform_param":
                self._transform(kind, part, found)
            elif name in own:
                self._fields(kind, part, found)
            elif cls is not None:
                self.warn(written.at(name), f"`{name}` has no effect in a layer of type {kind}: Caffe ignores it")
        if kind == "Data":
            self._data(written, found)
        if kind in _WEIGHTS and not found.has("weight_filler"):
            found.put("weight_filler", Node(0, written.place))
        return found

    def _fields(self, kind: str, part: Message, found: Mapping) -> None:
        for name, entries in part.fields.items():
            if not entries:  # its value is wrong, which is reported already
                continue
            place = entries[0].place
            if name == "engine" or name in _WITHOUT_EFFECT.get(part.type, ()):
                self.note(place, f"`{name}` is left out: it changes no number")
            elif kind == "Im2col" and name in _NOT_FOR_IM2COL:
                self.note(place, f"`{name}` is left out: Im2col does not use it")
            elif name in _OLD_TRANSFORM and kind in _TRANSFORMED and not (name == "scale" and kind == "WindowData"):
                self.warn(place, f"`{name}` has no effect here: Caffe reads it in transform_param alone")
            elif kind == "DummyData" and name in ("num", "channels", "height", "width"):
                if not found.has("shape"):
                    found.put("shape", _old_shapes(part))
            elif kind == "InfogainLoss" and name == "normalize":
                self.problems.add(place, "Caffe ends with an error here: InfogainLoss takes `normalization`")
            elif isinstance(entries[0].value, Message) and part.about(name).type not in (
                "FillerParameter",
                "BlobShape",
            ):
                self._fields(kind, entries[0].value, found)  # nms_param
            else:
                found.put(name, value_node(part, name, entries))

    def _transform(self, kind: str, part: Message, found: Mapping) -> None:
        """``transform_param`` of a layer that makes examples; in others it is an error of Caffe's, or ignored."""
        place = part.place
        if kind == "HDF5Data":
            self.problems.add(place, "Caffe ends with an error here: HDF5Data does not transform")
            return
        if kind not in (*_TRANSFORMED, "MemoryData"):
            if part.fields:
                self.note(place, f"`transform_param` is left out: {kind} does not transform")
            return
        cls = registry.layer_type(kind)
        if cls is None or "transform" not in cls.Parameters.names():
            if part.fields:
                self.warn(place, f"`transform_param` is left out: {kind} takes arrays as they are")
            return
        inner = Mapping(place)
        for name, entries in part.fields.items():
            if name in ("force_color", "force_gray") and kind != "Data":
                self.note(entries[0].place, f"`{name}` is left out: images are read as they are")
            elif entries[0].value or name not in ("mirror", "crop_size", "force_color", "force_gray"):
                inner.put(name, several(entries))
        for unknown in part.unknown:
            self.warn(unknown.place, f"`{unknown.name}` is left out: it changes images at random, in a fork of Caffe's")
        if inner.node.value:
            found.put("transform", inner.node)

    def _data(self, written: Message, found: Mapping) -> None:
        """Caffe reads a LevelDB unless it is told otherwise, and takes records in their order."""
        is_written = found.has("backend")
        backend = found.take("backend") if is_written else Node("LEVELDB", written.place)
        if backend.value == "LEVELDB":
            source = found.node.value.get("source")
            folder = locate(str(source.value), self.folder) if source is not None else None
            if folder is not None and is_there(folder / "CURRENT") and not is_there(folder / "data.mdb"):
                words = f"{source.value} is a LevelDB, which is not read; copy its records to an LMDB"
                self.problems.add(source.place, f"{words}, and write backend: LMDB")
            elif folder is None or is_written:
                said = "is written here" if is_written else "is what leaving out `backend` means"
                self.warn(backend.place, f"LEVELDB {said}; nettrain reads LMDB, so the source has to be an LMDB")
        found.put("backend", Node("LMDB", backend.place))
        if not found.has("shuffle"):  # in forks alone
            found.put("shuffle", Node(False, written.place))

    def _common(self, written: Message, found: Mapping) -> None:
        specs = written.entries("param")
        plain = all(_is_plain(entry.value) for entry in specs)
        if specs and not plain:
            items = [_fields_of(entry.value, entry.place) for entry in specs]
            found.put("param", Node(items, specs[0].place) if len(items) > 1 else items[0])
        for name in ("loss_weight", "propagate_down"):
            found.put(name, several(written.entries(name)))
        for name in ("include", "exclude"):
            rules = [_rule(entry) for entry in written.entries(name)]
            if rules:
                found.put(name, Node(rules, rules[0].place) if len(rules) > 1 else rules[0])
        if written.has("blobs"):
            self.note(written.at("blobs"), "`blobs` are weights, and left out of the net")
        if registry.layer_type(written.one("type")) is not None:
            self._unknown(written)

    def _unknown(self, written: Message) -> None:
        """Report fields that nobody knows, of the layer and all within it; those of a transform were looked at."""
        for part in written.parts():
            if part.type == "TransformationParameter":
                continue
            whose = "layers" if part is written else part.type
            for unknown in part.unknown:
                why = left_out(unknown.message, unknown.name)
                if why:
                    self.warn(unknown.place, f"`{unknown.name}` is left out: {why}")
                    continue
                words = f"`{unknown.name}` is not a field of Caffe's {whose}, nor of a fork that is known"
                self.problems.add(unknown.place, words + did_you_mean(unknown.name, messages()[part.type]))


@functools.cache
def messages_of(kind: str) -> tuple[str, ...]:
    """The names of the messages that a type reads its parameters from."""
    if kind in _SHARED:
        return _SHARED[kind]
    wanted = kind.casefold()
    known = messages()["LayerParameter"]
    return tuple(name for name in known if name.endswith("_param") and name[:-6].replace("_", "") == wanted)


class Mapping:
    """A mapping node while it is filled, each key with the place of its value."""

    def __init__(self, place: Place):
        self.node = Node({}, place)

    def put(self, name: str, node: Node | None) -> None:
        if node is not None:
            self.node.value[name], self.node.keys[name] = node, node.place

    def has(self, name: str) -> bool:
        return name in self.node.value

    def take(self, name: str) -> Node:
        del self.node.keys[name]
        return self.node.value.pop(name)


def several(entries: Iterable[Entry]) -> Node | None:
    """One value as itself, several as a list; None where there is none."""
    nodes = [Node(value, entry.place) for entry in entries for value in _values(entry.value)]
    if not nodes:
        return None
    return nodes[0] if len(nodes) == 1 else Node(nodes, nodes[0].place)


def _values(value: Any) -> list[Any]:
    return value.tolist() if hasattr(value, "tolist") else [value]


def value_node(part: Message, name: str, entries: list[Entry]) -> Node | None:
    """A field's value, or values, as a spec has them."""
    kind = part.about(name).type
    if kind == "FillerParameter":
        fillers = [_filler(entry.value, entry.place) for entry in entries]
        return fillers[0] if len(fillers) == 1 else Node(fillers, fillers[0].place)
    if kind == "BlobShape":
        shapes = [_shape(entry.value, entry.place) for entry in entries]
        return shapes[0] if len(shapes) == 1 else Node(shapes, entries[0].place)
    return several(entries)


def _filler(filler: Message, place: Place) -> Node:
    """A constant as its number, a name without parameters as the name."""
    given = {name: entries for name, entries in filler.fields.items() if entries}
    kind = filler.one("type")
    if set(given) <= {"type", "value"} and kind == "constant":
        return Node(filler.one("value"), place)
    if set(given) == {"type"}:
        return Node(kind, given["type"][0].place)
    used = {
        "constant": ("value",),
        "uniform": ("min", "max"),
        "gaussian": ("mean", "std", "sparse"),
        "xavier": ("variance_norm",),
        "msra": ("variance_norm",),
    }.get(kind, ())
    found = Mapping(place)
    for name, entries in given.items():
        if name == "type" or name in used:
            found.put(name, several(entries))
    if set(found.node.value) == {"type"}:
        return Node(kind, found.node.value["type"].place)
    return found.node


def _shape(shape: Message, place: Place) -> Node:
    return Node([Node(size, place) for size in shape.many("dim")], place)


def _old_shapes(part: Message) -> Node:
    """num, channels, height and width, one of each for a top, as shapes."""
    columns = [part.many(name) for name in ("num", "channels", "height", "width")]
    place = part.place
    count = max(map(len, columns))
    rows = [
        [column[i] if i < len(column) else (column[-1] if column else 1) for column in columns] for i in range(count)
    ]
    shapes = [Node([Node(size, place) for size in row], place) for row in rows]
    return shapes[0] if count == 1 else Node(shapes, place)


def _is_plain(spec: Message) -> bool:
    """Whether a ``param`` says no more than leaving it out would."""
    return not spec.has("name") and not spec.has("share_mode") and spec.one("lr_mult") == spec.one("decay_mult") == 1


def _fields_of(message: Message, place: Place) -> Node:
    found = Mapping(place)
    for name, entries in message.fields.items():
        found.put(name, several(entries))
    return found.node


def _rule(entry: Entry) -> Node:
    """A rule about the phase alone as the phase."""
    rule: Message = entry.value
    if {name for name in rule.fields if rule.has(name)} == {"phase"}:
        return Node(rule.one("phase").lower(), rule.at("phase"))
    return _fields_of(rule, entry.place)
