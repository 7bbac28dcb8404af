"""``solver:`` as a solver of Caffe's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...net.graph import wire
from ...net.records import NetSpec, State
from ...solver.blueprint import Blueprint
from ...solver.parameters import SolverParameters
from ...spec.errors import NettrainError, Problem, Problems
from .message import Message, message
from .schema import messages

_RULES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
_POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
_OF_NETTRAIN = {  # keys that change nothing Caffe computes
    "monitor": "Caffe keeps every snapshot, not the best",
    "min_delta": "Caffe keeps every snapshot, not the best",
    "snapshot_keep": "Caffe keeps every snapshot",
    "weights_strict": "Caffe skips layers of other names",
    "engine": "Caffe chooses its own",
}


class SolverWriter:
    """Writes the solver of one spec; what differs is added to ``notes``."""

    def __init__(self, spec: NetSpec, p: SolverParameters, states: list[State], draw: Any):
        self.spec, self.p, self.states, self.draw = spec, p, states, draw
        self.notes = list[str]()

    def solver(self) -> Message:
        """The solver without its net, which has no ``refusals``. Raises NettrainError where its lengths are unknown."""
        p, made = self.p, Message("SolverParameter")
        max_iter, tests = self._lengths()
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
            "clip_gradients": (max(clip, -1), -1),
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
        given = self.spec.solver.value if self.spec.solver is not None else {}
        self.notes += [f"solver.{key} is left out: {why}" for key, why in _OF_NETTRAIN.items() if key in given]
        for name in p.weights:
            if not name.endswith((".caffemodel", ".h5")):
                words = f"weights: Caffe reads .caffemodel; to make one: nettrain convert {name} --to …"
                self.notes.append(words)
        return made

    def refusals(self) -> list[Problem]:
        """What Caffe's solvers cannot do."""
        p, node, problems = self.p, self.spec.solver, Problems()
        assert node is not None
        add = problems.add
        if p.type.name not in _RULES:
            add(node.at("type"), f"Caffe has no solver {p.type.name}; it has {', '.join(_RULES)}")
        if p.lr_policy.name not in _POLICIES:
            add(node.at("lr_policy"), f"Caffe has no lr_policy {p.lr_policy.name}; it has {', '.join(_POLICIES)}")
        if p.warmup_iter:
            add(node.at("warmup_iter"), "Caffe's rate has no warm-up")
        if p.patience:
            add(node.at("patience"), "Caffe does not end early; it trains for max_iter")
        for chosen in (p.lr_policy, p.type):
            for one in chosen.p.fields() if chosen.name in (*_POLICIES, *_RULES) else ():
                if one.name not in messages()["SolverParameter"] and getattr(chosen.p, one.name) != one.default:
                    add(node.at(one.name), f"`{one.name}` has no equal in Caffe")
        return problems.found

    def _lengths(self) -> tuple[int, list[int]]:
        """max_iter, and the batches of each test; those that the data say are counted."""
        p = self.p
        tests = [state for state in self.states if state.phase == "TEST"]
        has_tests = any(wire(self.spec, state, Problems()) for state in tests)
        if p.max_iter is not None and (p.test_iter or not has_tests):
            given = list(p.test_iter)
            return p.max_iter, given * len(tests) if len(given) == 1 and has_tests else given
        try:
            plan: Blueprint = self.draw()
        except NettrainError as error:
            if p.max_iter is None:
                raise
            first = str(error).splitlines()[0]
            self.notes.append(f"test_iter is left out: the test set could not be counted ({first})")
            return p.max_iter, []
        counts = [test.batches or _batches_of(test.net) for test in plan.tests]
        known = [count for count in counts if count is not None]
        return plan.max_iter, known if len(known) == len(counts) else []


def _batches_of(net: Any) -> int | None:
    """The batches of one pass over a test set."""
    counts = []
    for step in net.steps:
        data, size = getattr(step.layer, "set", None), getattr(step.layer.p, "batch_size", None)
        if data is not None and size is not None:
            counts.append(-(-len(data) // size.test))
    return max(counts) if counts else None


def _state(state: Any) -> Message:
    return message("NetState", level=state.level or None, stage=list(state.stage))
