"""A solver of Caffe's as the ``solver:`` of a spec."""

from __future__ import annotations

from ...spec.errors import did_you_mean
from ...spec.node import Node
from .forks.fields import OF_SOLVERS, left_out
from .layers import Mapping, several
from .message import Message
from .nets import Found
from .schema import messages

NETS = ("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param")
_DROPPED = {
    "solver_mode": "nettrain runs on the CPU",
    "device_id": "nettrain runs on the CPU",
    "layer_wise_reduce": "it changes no number",
    "snapshot_format": "snapshots are nettrain's own; `nettrain convert` makes Caffe's of them",
    "snapshot_diff": "snapshots have no gradients",
    **dict.fromkeys(("eval_type", "ap_version", "show_per_class_result"), "it is about SSD's score"),
}


def read_solver(solver: Message, found: Found) -> Node:
    """The mapping of an upgraded solver, without its nets."""
    result = Mapping(solver.place)
    for name in solver.fields:
        if name in NETS or not solver.has(name):
            continue
        place = solver.at(name)
        if name in _DROPPED:
            found.note(place, f"`{name}` is left out: {_DROPPED[name]}")
        elif name in ("train_state", "test_state"):
            states = [_state(entry.value) for entry in solver.entries(name)]
            result.put(name, states[0] if name == "train_state" else Node(states, place))
        else:
            result.put(name, several(solver.entries(name)))
    for part in (solver, *solver.many("train_state"), *solver.many("test_state")):
        whose = "solvers" if part is solver else part.type
        for unknown in part.unknown:
            if why := left_out(unknown.message, unknown.name):
                found.note(unknown.place, f"`{unknown.name}` is left out: {why}")
                continue
            words, fork = f"`{unknown.name}` is not a field of Caffe's {whose}", OF_SOLVERS.get(unknown.name)
            advice = f"; it is {fork}" if fork else did_you_mean(unknown.name, messages()[part.type])
            found.problems.add(unknown.place, words + advice)
    _say_what_caffe_means(solver, result, found)
    return result.node


def _state(state: Message) -> Node:
    """Level and stages; the phase is known."""
    result = Mapping(state.place)
    for name in ("level", "stage"):
        result.put(name, several(state.entries(name)))
    return result.node


def _say_what_caffe_means(solver: Message, result: Mapping, found: Found) -> None:
    """What Caffe's leaving out means, where nettrain's means something else."""
    if solver.one("type") == "Adam" and not solver.has("momentum"):
        result.put("momentum", Node(0, solver.place))
    if not solver.has("lr_policy"):
        found.warn(
            solver.place, "there is no `lr_policy`: Caffe would stop at the first update; here the rate is fixed"
        )
    if solver.has("clip_gradients") and solver.one("iter_size") > 1 and solver.one("clip_gradients") > 0:
        clip, size = solver.one("clip_gradients"), solver.one("iter_size")
        place = solver.at("clip_gradients")
        result.put("clip_gradients", Node(clip / size, place))
        found.note(place, f"clip_gradients becomes {clip:g} / {size}: Caffe clips sums over iter_size, nettrain means")
    if not solver.has("base_lr"):
        result.put("base_lr", Node(0, solver.place))
        found.warn(solver.place, "there is no `base_lr`, so nothing is learned: it is 0 in Caffe")
    weights = result.node.value.get("weights")
    if weights is not None:
        items = weights.value if isinstance(weights.value, list) else [weights]
        names = [Node(name, item.place) for item in items for name in str(item.value).split(",") if name]
        result.put("weights", Node(names, weights.place) if len(names) > 1 else names[0] if names else None)
