"""A spec as Caffe's files: the net, the solver, and data that Caffe can read."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...net.graph import Wired, wire
from ...net.records import LayerSpec, NetSpec, State
from ...solver.blueprint import Blueprint, draw
from ...solver.parameters import SolverParameters, parameters_of
from ...spec.errors import NettrainError, Problems
from .lowering import NOT_IN_PLACE, may_be_overwritten, refusal, stands_for
from .message import Message, message
from .out_layers import LayerWriter, WriteData
from .out_solver import SolverWriter


@dataclass
class CaffeFiles:
    """What stands for a spec: the net, the solver where it has one, and sentences on what differs."""

    net: Message
    solver: Message | None = None
    notes: list[str] = field(default_factory=list)
    of_layer: dict[str, Message] = field(default_factory=dict)  # by name, for a caffemodel
    scales: dict[str, str] = field(default_factory=dict)  # of each BatchNorm with factors: the Scale that has them


def to_caffe(spec: NetSpec, write_data: WriteData | None = None) -> CaffeFiles:
    """Caffe's files for a spec. Raises SpecError with everything that has no equal there.

    ``write_data`` is given a Data layer whose source Caffe cannot read, the source and the split (train or test), and
    returns the name of an LMDB with it.
    """
    return _Writer(spec, write_data).files()


class _Writer:
    def __init__(self, spec: NetSpec, write_data: WriteData | None):
        self.spec, self.write_data = spec, write_data
        self.problems, self.notes = Problems(), list[str]()
        self.p: SolverParameters | None = parameters_of(spec, "TRAIN")
        self.plan: Blueprint | None = None
        self.taken = {layer.name for layer in spec.layers}

    def files(self) -> CaffeFiles:
        net = message("NetParameter", name=self.spec.name)
        if self.spec.force_backward:
            net.add("force_backward", True)
        for layer in self.spec.layers:
            why = refusal(layer)
            if why:
                self.problems.add(layer.place, f"`{layer.name}`: {why}")
        solving = SolverWriter(self.spec, self.p, self._states(), self._draw) if self.p is not None else None
        self.problems.found += solving.refusals() if solving else []
        self.problems.raise_if_any()
        order = self._in_order()
        self._layers(order, self.write_data and (lambda *_: ""))  # nothing is written unless all can be
        solver = solving.solver() if solving else None
        self.notes += solving.notes if solving else []
        made, writer = self._layers(order, self.write_data)
        net.add("layer", *made)
        notes = list(dict.fromkeys([*writer.notes, *self.notes]))
        return CaffeFiles(net, solver, notes, {layer.one("name"): layer for layer in made}, writer.scales)

    def _layers(
        self, order: list[tuple[LayerSpec, list[str], list[str]]], write_data: WriteData | None
    ) -> tuple[list[Message], LayerWriter]:
        frozen, before = self.p.freeze if self.p is not None else (), set(self.taken)
        phases = {str(state.phase) for state in self._states()}
        writer = LayerWriter(self.spec, phases, frozen, self._count_of_blobs, write_data, self._fresh)
        made = [one for layer, *names in order for one in writer.layers(layer.cls.__name__, layer, *names)]
        writer.problems.raise_if_any()
        self.taken = before
        return made, writer

    def _states(self) -> list[State]:
        if self.p is None:
            return [State("TRAIN"), State("TEST")]
        train, tests = self.p.train_state, self.p.test_state
        found = [State("TRAIN", train.level, train.stage)]
        found += [State("TEST", state.level, state.stage) for state in tests] or [State("TEST")]
        return found

    def _in_order(self) -> list[tuple[LayerSpec, list[str], list[str]]]:
        """Layers with the names of their bottoms and tops in Caffe, makers before readers: Caffe does not sort."""
        numbers = {id(layer): i for i, layer in enumerate(self.spec.layers)}
        nets = []
        for state in self._states():
            problems = Problems()
            nets.append(wire(self.spec, state, problems))
            problems.raise_if_any()
        self.taken |= {key[0] for net in nets for one in net for key in one.tops}
        own = {
            (numbers[id(one.spec)], i): self._fresh(f"{one.tops[i][0]}_{one.spec.name}")
            for one, i in self._not_in_place(nets)
        }
        found: dict[int, tuple[LayerSpec, list[str], list[str]]] = {}
        for net in nets:
            names: dict[tuple[str, int], str] = {}
            for one in net:
                number = numbers[id(one.spec)]
                for i, key in enumerate(one.tops):
                    before = (key[0], key[1] - 1)
                    names[key] = own.get((number, i)) or names.get(before, key[0])
                made = (one.spec, [names[key] for key in one.bottoms], [names[key] for key in one.tops])
                if found.setdefault(number, made)[1:] != made[1:]:
                    words = f"`{one.spec.name}` reads other blobs in TEST than in TRAIN; name its bottoms"
                    self.problems.add(one.spec.place, words)
        self.problems.raise_if_any()
        orders = [[numbers[id(one.spec)] for one in net] for net in nets]
        return [found[number] for number in _merged_order(orders, len(numbers)) if number in found]

    def _not_in_place(self, nets: list[list[Wired]]) -> list[tuple[Wired, int]]:
        """Tops that need a name of their own: Caffe would compute wrong gradients in place, or refuse it."""
        found: dict[tuple[int, int], tuple[Wired, int]] = {}
        for net in nets:
            readers = [key for one in net for key in one.bottoms]
            maker = {key: one for one in net for key in one.tops}
            for one in net:
                kind = stands_for(one.spec)
                for i, bottom in one.in_place.items():
                    before = one.bottoms[bottom]
                    if kind in NOT_IN_PLACE or i != bottom:
                        why = f"Caffe does not do {kind} in place"
                    elif readers.count(before) > 1:
                        why = f"other layers of Caffe's would read `{before[0]}` after `{one.spec.name}` changed it"
                    elif not may_be_overwritten(maker[before].spec, one.spec, bool(maker[before].in_place)):
                        why = f"Caffe needs the values of `{maker[before].spec.name}` for its gradient"
                    else:
                        continue
                    if (id(one.spec), i) not in found:
                        found[id(one.spec), i] = (one, i)
                        self.notes.append(f"`{one.spec.name}` has a top of its own: {why}")
        return list(found.values())

    def _fresh(self, name: str) -> str:
        """A name that no blob and no layer has."""
        new = next(new for i in range(1, 10**9) if (new := name if i == 1 else f"{name}_{i}") not in self.taken)
        self.taken.add(new)
        return new

    def _draw(self) -> Blueprint:
        if self.plan is None:
            self.plan = draw(self.spec, with_weights=False)
        return self.plan

    def _count_of_blobs(self, name: str) -> int:
        try:
            return len(self._draw().net.params.get(name, ()))
        except NettrainError as error:
            raise NettrainError(f"freeze: the parameters of `{name}` cannot be counted: {error}") from None


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
