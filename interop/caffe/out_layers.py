"""An entry of ``layers:`` as a layer of Caffe's, or as several."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Callable, Iterable
from typing import Any

from ...layers.data.phases import ForEach
from ...net.fillers import Filler
from ...net.records import LayerSpec, NetSpec, ParamSpec, Phase, Rule
from ...spec.declare import Declared
from ...spec.errors import NettrainError, Problems
from .layers import _WEIGHTS as ZERO_UNLESS_FILLED
from .layers import messages_of
from .lowering import Fresh, lowered, why_not
from .message import Entry, Message, message
from .schema import Field, messages

WriteData = Callable[[LayerSpec, str, str], str]
_OF_THE_SOURCE = {"source", "batch_size", "backend", "generate", "shuffle"}  # of Data
_OF_THE_SOURCE |= {"label", "label_column", "features", "drop", "categories", "missing", "standardize"}
_OF_THE_SOURCE |= {"size", "color", "damaged", "cache_mb", "prefetch"}
_PATHS = {"source", "mean_file", "root_folder"}
_OTHER: dict[Phase, Phase] = {"TRAIN": "TEST", "TEST": "TRAIN"}


class LayerWriter:
    """Writes the layers of one spec; what has no equal is added to ``problems``, what differs to ``notes``."""

    def __init__(
        self,
        spec: NetSpec,
        phases: set[str],
        frozen: Iterable[str],
        count_blobs: Callable[[str], int],
        write_data: WriteData | None,
        fresh: Fresh,
    ):
        self.spec, self.phases, self.frozen = spec, phases, tuple(frozen)
        self.count_blobs, self.write_data, self.fresh = count_blobs, write_data, fresh
        self.problems, self.notes = Problems(), list[str]()
        self.scales: dict[str, str] = {}  # of each BatchNorm with factors: the Scale that has them

    def layers(self, kind: str, spec: LayerSpec, bottoms: list[str], tops: list[str]) -> list[Message]:
        """What stands for a layer of a type, ``kind``, whose blobs have these names in Caffe."""
        layer = message("LayerParameter", name=spec.name, type=kind, bottom=bottoms, top=tops)
        layer.add("loss_weight", *spec.common.loss_weight)
        is_frozen = any(fnmatch.fnmatchcase(spec.name, glob) for glob in self.frozen)
        layer.add("param", *self._params(kind, spec, is_frozen))
        layer.add("propagate_down", *spec.common.propagate_down)
        rules = {name: [_rule(rule) for rule in getattr(spec.common, name)] for name in ("include", "exclude")}
        if kind == "Data":
            self._parameters(kind, spec, layer, "TRAIN")
            return self._data(spec, layer, rules)
        found = []
        for phase, own in self._apart(spec, rules):
            one = dataclasses.replace(layer, fields={name: list(values) for name, values in layer.fields.items()})
            self._parameters(kind, spec, one, phase)
            made = lowered(one, spec.parameters, self.fresh)
            if kind == "BatchNorm" and len(made) > 1:
                self.scales[spec.name] = made[1].one("name")
            for part in made:
                for name in rules:
                    part.fields.pop(name, None)
                    part.add(name, *own.get(name, ()))
            found += made
        return found

    def _apart(self, spec: LayerSpec, rules: dict[str, list[Message]]) -> list[tuple[Phase, dict[str, list[Message]]]]:
        """(phase, rules) of each layer that is written: two where keys have a value for each phase."""
        kept = [phase for phase in _OTHER if phase in self.phases and _may_be_in(spec, phase)] or ["TRAIN"]
        values = [getattr(spec.parameters, one.name) for one in spec.parameters.fields()]
        if any(isinstance(value, ForEach) and value.of("TRAIN") != value.of("TEST") for value in values):
            return [(phase, _in_phase(rules, phase)) for phase in kept]
        return [(kept[0], rules)]

    def _params(self, kind: str, spec: LayerSpec, is_frozen: bool) -> list[Message]:
        given = list(spec.common.param)
        if is_frozen:
            given += [ParamSpec()] * (self.count_blobs(spec.name) - len(given))
        elif kind == "BatchNorm" and given:
            given += [ParamSpec()] * (3 - len(given))
        found = []
        for i, one in enumerate(given):
            is_still = is_frozen or (kind == "BatchNorm" and i < 3)  # Caffe takes nothing else for statistics
            factors = (0, 0) if is_still else (one.lr_mult, one.decay_mult)
            made = message("ParamSpec", name=one.name or None, lr_mult=factors[0], decay_mult=factors[1])
            if one.share_mode != "STRICT":
                made.add("share_mode", one.share_mode)
            found.append(made)
        return found

    def _parameters(self, kind: str, spec: LayerSpec, layer: Message, phase: Phase) -> None:
        """The type's own keys, as they are in a phase, in the messages that have them; what Caffe's default is not the
        same as, in any case."""
        given = spec.node.value
        for one in spec.parameters.fields():
            value = getattr(spec.parameters, one.name)
            if isinstance(value, ForEach) and kind != "Data":
                value = value.of(phase)
            if kind == "Data" and one.name in _OF_THE_SOURCE:
                continue
            if one.name == "transform":
                self._transform(spec, value, layer)
            elif one.name in given or (one.name == "weight_filler" and kind in ZERO_UNLESS_FILLED):
                self._put(kind, spec, layer, one.name, value, one.default)

    def _put(self, kind: str, spec: LayerSpec, layer: Message, name: str, value: Any, default: Any) -> None:
        place = spec.node.at(name)
        holder = next((part for part in messages_of(kind) if _has_number(layer.about(part).type, name)), None)
        if holder is None:  # no key of Caffe's: what changes nothing is left out
            why = why_not(kind, name)
            if value != default and why is not None:
                self.problems.add(place, f"`{name}` has no equal in Caffe{f': {why}' if why else f' for {kind}'}")
            return
        field = messages()[layer.about(holder).type][name]
        values = self._values(spec, field, value)
        if field.choices is not None and not set(values) <= set(field.choices):
            known = ", ".join(choice for choice, number in field.choices.items() if number >= 0)
            self.problems.add(place, f"`{name}`: {values[0]} has no equal in Caffe, whose {kind} knows {known}")
            return
        layer.make(holder).add(name, *values)

    def _values(self, spec: LayerSpec, field: Field, value: Any) -> list[Any]:
        if value is None:
            return []
        if field.type == "FillerParameter":
            fillers = value if isinstance(value, tuple) else (value,)
            return [self._filler(spec, field.name, filler) for filler in fillers]
        if field.type == "BlobShape":
            is_one = not value or not isinstance(value[0], tuple)
            return [message("BlobShape", dim=list(map(int, shape))) for shape in ([value] if is_one else value)]
        if isinstance(value, Declared):
            self.problems.add(spec.node.at(field.name), f"`{field.name}` cannot be written for Caffe")
            return []
        if field.name in _PATHS:
            return [self.path(value)]
        return list(value) if isinstance(value, tuple) else [value]

    def path(self, name: str) -> str:
        """A path that is as seen from the spec, as seen from this folder, where Caffe will be run."""
        if name.endswith(".npy"):
            words = f"Caffe does not read {name}; to make what it reads: nettrain convert {name} --to NAME.binaryproto"
            self.notes.append(words)
        found = os.path.normpath(self.spec.folder / name)
        if not name or not os.path.exists(found):
            return name
        here = os.path.relpath(found)
        return (found if here.startswith("..") and os.path.isabs(name) else here) + "/" * name.endswith("/")

    def _filler(self, spec: LayerSpec, name: str, filler: Filler) -> Message:
        if filler.values:
            words = f"`{name}` has a value for each element, which no filler of Caffe's has"
            self.problems.add(spec.node.at(name), words)
        made = message("FillerParameter", type=filler.type)
        for one in filler.fields():
            value = getattr(filler, one.name)
            if one.name not in ("type", "values") and value != one.default:
                made.add(one.name, value)
        return made

    def _transform(self, spec: LayerSpec, transform: Declared, layer: Message) -> None:
        made = Message("TransformationParameter")
        for one in transform.fields():
            value = getattr(transform, one.name)
            if value == one.default:
                continue
            if one.name not in messages()["TransformationParameter"]:
                self.problems.add(spec.node.at("transform"), f"`{one.name}` of transform has no equal in Caffe")
            elif one.name in _PATHS:
                made.add(one.name, self.path(value))
            else:
                made.add(one.name, *(value if isinstance(value, tuple) else [value]))
        if made.fields:
            layer.add("transform_param", made)
        if made.has("mirror"):
            self.notes.append(f"`{spec.name}`: Caffe flips images in tests too")

    def _data(self, spec: LayerSpec, layer: Message, rules: dict[str, list[Message]]) -> list[Message]:
        """One layer for both phases, or one for each where they read other data."""
        p: Any = spec.parameters
        both: tuple[tuple[str, Phase], ...] = (("train", "TRAIN"), ("test", "TEST"))
        kept = [(split, phase) for split, phase in both if phase in self.phases and _may_be_in(spec, phase)]
        sources = {phase: self._source(spec, getattr(p.source, split), split) for split, phase in kept}
        sizes = {phase: getattr(p.batch_size, split) for split, phase in kept}
        if p.shuffle and "TRAIN" in sources:
            self.notes.append(f"`{spec.name}`: Caffe reads the records in order; nettrain shuffles them each epoch")
        alike = len(set(sources.values())) <= 1 and len(set(sizes.values())) <= 1
        found = []
        for _, phase in kept[:1] if alike else kept:
            made = dataclasses.replace(layer, fields={name: list(values) for name, values in layer.fields.items()})
            data = message("DataParameter", source=sources[phase], batch_size=sizes[phase], backend="LMDB")
            made.fields["data_param"] = [Entry(data)]
            for name, entries in (rules if alike else _in_phase(rules, phase)).items():
                made.add(name, *entries)
            found.append(made)
        return found

    def _source(self, spec: LayerSpec, source: str, split: str) -> str:
        p: Any = spec.parameters
        if p.backend == "LMDB" or os.path.exists(self.spec.folder / source / "data.mdb"):
            return self.path(source)
        if self.write_data is None:
            words = f"Caffe cannot read {source}: it reads LMDB, HDF5 and lists of images"
            self.problems.add(spec.node.at("source"), words)
            return source
        try:
            return self.write_data(spec, source, split)
        except NettrainError as error:
            self.problems.add(spec.node.at("source"), str(error))
            return source


def _has_number(message_type: str, name: str) -> bool:
    """Whether Caffe's message has a field; those of forks have no number."""
    field = messages()[message_type].get(name)
    return field is not None and bool(field.number)


def _may_be_in(spec: LayerSpec, phase: Phase) -> bool:
    include, exclude = spec.common.include, spec.common.exclude
    if include:
        return any(rule.phase in (None, phase) for rule in include)
    return not any(rule == Rule(phase=phase) for rule in exclude)


def _in_phase(rules: dict[str, list[Message]], phase: Phase) -> dict[str, list[Message]]:
    """The rules of a layer of one phase alone. Caffe takes either ``include`` or ``exclude``."""
    if rules["exclude"]:
        return {"exclude": [*rules["exclude"], message("NetStateRule", phase=_OTHER[phase])]}
    found = []
    for rule in rules["include"] or [Message("NetStateRule")]:
        if not rule.has("phase") or rule.one("phase") == phase:
            rest = {name: entries for name, entries in rule.fields.items() if name != "phase"}
            found.append(Message("NetStateRule", fields={"phase": [Entry(phase)], **rest}))
    return {"include": found}


def _rule(rule: Rule) -> Message:
    fields: dict[str, Any] = {"phase": rule.phase, "min_level": rule.min_level, "max_level": rule.max_level}
    return message("NetStateRule", **fields, stage=list(rule.stage), not_stage=list(rule.not_stage))
