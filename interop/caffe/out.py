"""A spec as Caffe's files: the net, the solver, and data that Caffe can read."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...net.fillers import Filler
from ...net.graph import wire
from ...net.records import LayerSpec, NetSpec, ParamSpec, Rule, State
from ...solver.blueprint import Blueprint, draw
from ...solver.parameters import SolverParameters, parameters_of
from ...spec.declare import Declared
from ...spec.errors import NettrainError, Problems
from .layers import messages_of
from .lowering import NOT_IN_PLACE, lowered, refusal
from .message import Message, message
from .schema import messages

_DATA_ALONE = ("source", "batch_size")  # keys that may differ between the phases
_OF_NETTRAIN = {  # keys of a solver that change nothing Caffe computes
    "monitor": "Caffe keeps every snapshot, not the best",
    "min_delta": "Caffe keeps every snapshot, not the best",
    "snapshot_keep": "Caffe keeps every snapshot",
    "weights_strict": "Caffe skips layers of other names",
    "engine": "Caffe chooses its own",
}
_POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
_RULES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")


@dataclass
class CaffeFiles:
    """What stands for a spec: the net, the solver where it has one, and sentences on what differs."""

    net: Message
    solver: Message | None = None
    notes: list[str] = field(default_factory=list)
    of_layer: dict[str, Message] = field(default_factory=dict)  # by name, for a caffemodel


def to_caffe(spec: NetSpec, write_data: Callable[[LayerSpec, str, str], str] | None = None) -> CaffeFiles:
    """Caffe's files for a spec. Raises SpecError with everything that has no equal there.

    ``write_data`` is given a Data layer whose source Caffe cannot read, the source and the split (train or test), and
    returns the name of an LMDB with it.
    """
    return _Writer(spec, write_data).files()


class _Writer:
    def __init__(self, spec: NetSpec, write_data: Callable[[LayerSpec, str, str], str] | None):
        self.spec, self.write_data = spec, write_data
        self.problems, self.notes = Problems(), list[str]()
        self.p: SolverParameters | None = parameters_of(spec, "TRAIN")
        self.plan: Blueprint | None = None

    def files(self) -> CaffeFiles:
        net = message("NetParameter", name=self.spec.name)
        if self.spec.force_backward:
            net.add("force_backward", True)
        for layer in self.spec.layers:
            why = refusal(layer)
            if why:
                self.problems.add(layer.place, f"`{layer.name}`: {why}")
        self.problems.raise_if_any()
        renamed: dict[str, str] = {}
        for layer, bottoms, tops in self._in_order():
            for made in self._layer(layer, bottoms, tops, renamed):
                net.add("layer", made)
        self.problems.raise_if_any()
        solver = self._solver(self.p) if self.p is not None else None
        self.problems.raise_if_any()
        of_layer = {made.one("name"): made for made in net.many("layer")}
        return CaffeFiles(net, solver, list(dict.fromkeys(self.notes)), of_layer)

    def _in_order(self) -> Iterable[tuple[LayerSpec, list[str], list[str]]]:
        """Layers with the names of their bottoms and tops, makers before readers: Caffe does not sort."""
        found: dict[int, tuple[LayerSpec, list[str], list[str]]] = {}
        orders: list[list[int]] = []
        numbers = {id(layer): i for i, layer in enumerate(self.spec.layers)}
        for state in self._states():
            problems = Problems()
            wired = wire(self.spec, state, problems)
            self.problems.found += problems.found
            orders.append([numbers[id(one.spec)] for one in wired])
            for one in wired:
                names = [key[0] for key in one.bottoms], [key[0] for key in one.tops]
                number = numbers[id(one.spec)]
                if number in found and found[number][1:] != names:
                    self.problems.add(
                        one.spec.place, f"`{one.spec.name}` reads other blobs in TEST than in TRAIN; name its bottoms"
                    )
                found[number] = (one.spec, *names)
        self.problems.raise_if_any()
        for number in _merged_order(orders, len(self.spec.layers)):
            if number in found:
                yield found[number]

    def _states(self) -> list[State]:
        if self.p is None:
            return [State("TRAIN"), State("TEST")]
        given = [(self.p.train_state, "TRAIN"), *((state, "TEST") for state in self.p.test_state or [None])]
        return [
            State(phase, state.level if state else 0, state.stage if state else ())  # type: ignore[arg-type]
            for state, phase in given
        ]

    def _layer(self, spec: LayerSpec, bottoms: list[str], tops: list[str], renamed: dict[str, str]) -> list[Message]:
        kind, common = spec.cls.__name__, spec.common
        layer = message("LayerParameter", name=spec.name, type=kind)
        layer.add("bottom", *(renamed.get(name, name) for name in bottoms))
        for name in tops:
            if name in bottoms and kind in NOT_IN_PLACE:
                renamed[name] = f"{name}_{spec.name}"
                self.notes.append(
                    f"`{spec.name}` has a top of its own, `{renamed[name]}`: Caffe does not do {kind} in place"
                )
        layer.add("top", *(renamed.get(name, name) for name in tops))
        layer.add("loss_weight", *common.loss_weight)
        frozen = self.p is not None and any(fnmatch.fnmatchcase(spec.name, glob) for glob in self.p.freeze)
        layer.add("param", *self._params(spec, frozen))
        layer.add("propagate_down", *common.propagate_down)
        for name in ("include", "exclude"):
            layer.add(name, *(_rule(rule) for rule in getattr(common, name)))
        self._parameters(kind, spec, layer)
        parts = lowered(layer, spec.parameters)
        for part in parts[1:]:
            for name in ("include", "exclude"):
                if layer.has(name) and not part.has(name):
                    part.fields[name] = layer.entries(name)
        if kind == "Data":
            return self._data(spec, layer)
        return parts

    def _params(self, spec: LayerSpec, frozen: bool) -> list[Message]:
        given = list(spec.common.param)
        if frozen:
            given += [ParamSpec()] * (self._count_of_blobs(spec.name) - len(given))
        found = []
        for one in given:
            made = message("ParamSpec", name=one.name or None, lr_mult=one.lr_mult, decay_mult=one.decay_mult)
            if one.share_mode != "STRICT":
                made.add("share_mode", one.share_mode)
            if frozen:
                made.fields["lr_mult"] = []
                made.add("lr_mult", 0)
            found.append(made)
        return found

    def _count_of_blobs(self, name: str) -> int:
        if self.plan is None:
            self.plan = draw(self.spec, with_weights=False)
        return len(self.plan.net.params.get(name, ()))

    def _parameters(self, kind: str, spec: LayerSpec, layer: Message) -> None:
        """The type's own keys, in the messages that have them; what Caffe's default is not the same as, in any case."""
        given = spec.node.value
        for one in spec.parameters.fields():
            value = getattr(spec.parameters, one.name)
            if isinstance(value, Filler) and kind != "Parameter" and (one.name in given or value != _ZERO):
                self._put(kind, layer, one.name, self._filler(spec, one.name, value))
            elif one.name == "transform":
                self._transform(spec, value, layer)
            elif one.name in given and one.name not in _DATA_ALONE:
                self._put(kind, layer, one.name, self._value(spec, one.name, value))
            elif one.name in given and kind != "Data":
                self._put(kind, layer, one.name, [value])

    def _put(self, kind: str, layer: Message, name: str, values: list[Any]) -> None:
        for part in messages_of(kind):
            if name in messages()[layer.about(part).type]:
                layer.make(part).add(name, *values)
                return

    def _value(self, spec: LayerSpec, name: str, value: Any) -> list[Any]:
        if value is None:
            return []
        if isinstance(value, Declared):
            self.problems.add(spec.node.at(name), f"`{name}` cannot be written for Caffe")
            return []
        if isinstance(value, tuple):
            if any(isinstance(item, Filler) for item in value):
                return [filler for item in value for filler in self._filler(spec, name, item)]
            is_shape = name == "shape"
            if is_shape and (not value or not isinstance(value[0], tuple)):
                return [message("BlobShape", dim=[int(size) for size in value])]
            if is_shape:
                return [message("BlobShape", dim=[int(size) for size in shape]) for shape in value]
            return list(value)
        return [value]

    def _filler(self, spec: LayerSpec, name: str, filler: Filler) -> list[Message]:
        if filler.values:
            self.problems.add(
                spec.node.at(name), f"`{name}` has a value for each element, which no filler of Caffe's has"
            )
        made = message("FillerParameter", type=filler.type)
        for one in dataclasses.fields(filler):
            value = getattr(filler, one.name)
            if one.name not in ("type", "values") and value != one.default:
                made.add(one.name, value)
        return [made]

    def _transform(self, spec: LayerSpec, transform: Declared, layer: Message) -> None:
        made = Message("TransformationParameter")
        for one in transform.fields():
            value = getattr(transform, one.name)
            if value == one.default:
                continue
            if one.name not in messages()["TransformationParameter"]:
                self.problems.add(spec.node.at("transform"), f"`{one.name}` of transform has no equal in Caffe")
            else:
                made.add(one.name, *(value if isinstance(value, tuple) else [value]))
        if made.fields:
            layer.add("transform_param", made)
        if made.has("mirror"):
            self.notes.append(f"`{spec.name}`: Caffe flips images in tests too")

    def _data(self, spec: LayerSpec, layer: Message) -> list[Message]:
        """One layer for both phases, or one for each where they read other data."""
        p: Any = spec.parameters
        phases = [("train", "TRAIN"), ("test", "TEST")]
        states = {state.phase for state in self._states()}
        kept = [(split, phase) for split, phase in phases if phase in states and self._may_be_in(spec, phase)]
        found = []
        sources = {phase: self._source(spec, getattr(p.source, split), split) for split, phase in kept}
        sizes = {phase: getattr(p.batch_size, split) for split, phase in kept}
        if p.shuffle and "TRAIN" in sources:
            self.notes.append(f"`{spec.name}`: Caffe reads the records in order; nettrain shuffles them each epoch")
        alike = len(set(sources.values())) <= 1 and len(set(sizes.values())) <= 1
        for _, phase in kept[:1] if alike else kept:
            made = dataclasses.replace(layer, fields={name: list(values) for name, values in layer.fields.items()})
            data = message("DataParameter", source=sources[phase], batch_size=sizes[phase], backend="LMDB")
            made.fields["data_param"] = []
            made.add("data_param", data)
            if not alike and not spec.common.include:
                made.add("include", message("NetStateRule", phase=phase))
            found.append(made)
        return found

    @staticmethod
    def _may_be_in(spec: LayerSpec, phase: str) -> bool:
        rules = spec.common.include
        return not rules or any(rule.phase in (None, phase) for rule in rules)

    def _source(self, spec: LayerSpec, source: str, split: str) -> str:
        p: Any = spec.parameters
        path = self.spec.folder / source
        if p.backend == "LMDB" or (path / "data.mdb").exists():
            return source
        if self.write_data is None:
            self.problems.add(
                spec.node.at("source"), f"Caffe cannot read {source}: it reads LMDB, HDF5 and lists of images"
            )
            return source
        return self.write_data(spec, source, split)

    def _solver(self, p: SolverParameters) -> Message:
        made = Message("SolverParameter")
        node = self.spec.solver
        assert node is not None
        place = node.at
        if p.type.name not in _RULES:
            self.problems.add(place("type"), f"Caffe has no solver {p.type.name}; it has {', '.join(_RULES)}")
        if p.lr_policy.name not in _POLICIES:
            self.problems.add(
                place("lr_policy"), f"Caffe has no lr_policy {p.lr_policy.name}; it has {', '.join(_POLICIES)}"
            )
        if p.warmup_iter:
            self.problems.add(place("warmup_iter"), "Caffe's rate has no warm-up")
        if p.patience:
            self.problems.add(place("patience"), "Caffe does not end early; it trains for max_iter")
        for key, why in _OF_NETTRAIN.items():
            if key in node.value:
                self.notes.append(f"solver.{key} is left out: {why}")
        for extra in ("amsgrad", "min_lr"):
            if node.value.get(extra) is not None and getattr(p.type.p, extra, False):
                self.problems.add(place(extra), f"`{extra}` has no equal in Caffe")
        self.problems.raise_if_any()
        max_iter, tests = self._lengths(p)
        if p.type.name != "SGD":
            made.add("type", p.type.name)
        made.add("test_iter", *tests)
        if tests:
            made.add("test_interval", p.test_interval or max(1, max_iter))
            made.add("test_initialization", *([] if p.test_initialization else [False]))
            made.add("test_compute_loss", *([True] if p.test_compute_loss else []))
        made.add("base_lr", p.base_lr).add("lr_policy", p.lr_policy.name)
        for chosen in (p.lr_policy.p, p.type.p):
            for one in chosen.fields():
                value = getattr(chosen, one.name)
                if one.name in messages()["SolverParameter"] and (value != one.default or one.name == "momentum"):
                    made.add(one.name, *(value if isinstance(value, tuple) else [value]))
        made.add("max_iter", max_iter)
        clip = p.clip_gradients * (p.iter_size if p.clip_gradients > 0 else 1)
        plain: Mapping[str, tuple[Any, Any]] = {
            "weight_decay": (p.weight_decay, 0),
            "regularization_type": (p.regularization_type, "L2"),
            "clip_gradients": (clip, -1),
            "iter_size": (p.iter_size, 1),
            "display": (p.display, 0),
            "average_loss": (p.average_loss, 1),
            "snapshot": (p.snapshot, 0),
            "snapshot_after_train": (p.snapshot_after_train, True),
            "debug_info": (p.debug_info, False),
        }
        for name, (value, neutral) in plain.items():
            if value != neutral:
                made.add(name, value)
        made.add("snapshot_prefix", p.snapshot_prefix or self.spec.name).add("random_seed", p.random_seed)
        made.add("solver_mode", "CPU")
        if p.train_state.level or p.train_state.stage:
            made.add("train_state", _state(p.train_state))
        made.add("test_state", *map(_state, p.test_state))
        made.add("weights", *p.weights)
        return made

    def _lengths(self, p: SolverParameters) -> tuple[int, list[int]]:
        """max_iter, and the batches of each test; those that the data say are counted."""
        has_tests = any(wire(self.spec, state, Problems()) for state in self._states() if state.phase == "TEST")
        if p.max_iter is not None and (p.test_iter or not has_tests):
            return p.max_iter, list(p.test_iter)
        try:
            plan = self.plan or draw(self.spec, with_weights=False)
        except NettrainError as error:
            if p.max_iter is not None:
                self.notes.append(
                    f"test_iter is left out: the test set could not be counted ({str(error).splitlines()[0]})"
                )
                return p.max_iter, []
            raise
        tests = [test.batches or _batches_of(test.net) for test in plan.tests]
        if any(count is None for count in tests):
            tests = []
        return plan.max_iter, [count for count in tests if count is not None]


def _batches_of(net: Any) -> int | None:
    """The batches of one pass over a test set."""
    counts = []
    for step in net.steps:
        layer = step.layer
        data, size = getattr(layer, "set", None), getattr(layer.p, "batch_size", None)
        if data is not None and size is not None:
            counts.append(-(-len(data) // size.test))
    return max(counts) if counts else None


def _state(state: Any) -> Message:
    return message("NetState", level=state.level or None, stage=list(state.stage))


def _rule(rule: Rule) -> Message:
    fields: dict[str, Any] = {"phase": rule.phase, "min_level": rule.min_level, "max_level": rule.max_level}
    return message("NetStateRule", **fields, stage=list(rule.stage), not_stage=list(rule.not_stage))


def _merged_order(orders: list[list[int]], count: int) -> list[int]:
    """One order of all layers in which each of the given ones is kept; the file's, as far as that may be."""
    before: dict[int, set[int]] = {i: set() for i in range(count)}
    for order in orders:
        if order == sorted(order):
            continue
        for i, number in enumerate(order[1:], 1):
            before[number].add(order[i - 1])
    result: list[int] = []
    waiting = list(range(count))
    while waiting:
        ready = next((number for number in waiting if not before[number] - set(result)), waiting[0])
        waiting.remove(ready)
        result.append(ready)
    return result


_ZERO = Filler()
