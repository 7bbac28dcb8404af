"""What a snapshot keeps of a solver, and how a solver is resumed from one."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..net import parameter_files
from ..net.fillers import stream
from ..net.user_code import UserCodeError
from ..spec.errors import NettrainError
from .finding import Found
from .metrics import METRICS
from .runs import Dropped, Run, quoted
from .snapshot import Snapshot, SnapshotError

if TYPE_CHECKING:
    from .solver import Solver


def state_of(solver: Solver) -> dict[str, Any]:
    """All of a solver that is not an array of numbers: ``snapshot.SCHEMA`` lists the keys, listeners add their own. A
    team's members call it together: what a layer carries on is that of the last batch, which the last of them had."""
    layers = solver.net.layer_states() if solver.team.rank == solver.team.size - 1 else None
    state: dict[str, Any] = {
        "iter": solver.iter,
        "seed": solver.seed,
        "engine": solver.net.computed_by,
        "level": solver.level,
        "stages": list(solver.stages),
        "monitor": None,
        "policy": solver.policy.state(),
        "tested": [solver.tested_at, *solver.last_test] if solver.tested_at is not None else None,
        "losses": list(solver.losses),
        "layers": solver.team.gather(layers)[-1],
        "test_layers": [net.layer_states() for net in solver.test_nets],
        "data": solver.data,
        "fitted": solver.net.fitted(),
        "spec": solver.spec.to_python(),
        "folder": str(solver.spec.folder.resolve()),
    }
    return state | {one.key: one.state() for one in solver.listeners if one.key}


def take(solver: Solver, snapshot: Snapshot) -> None:
    """Bring a solver to the state of a snapshot. Raises NettrainError, and changes nothing, when it does not fit."""
    path, state, history = snapshot.path, snapshot.state, snapshot.history
    missing = parameter_files.fit(solver.net.params, snapshot.params, str(path)).missing
    if missing:
        raise NettrainError(f"{path} has no parameters for {', '.join(missing)}")
    if [array.shape for array in history] != [array.shape for array in solver.updater.history]:
        raise NettrainError(f"{path} was made by another solver type or net: its history has a different size")
    _check_data(solver, snapshot)
    _check_age(solver, snapshot)
    _set_layer_states(solver, snapshot)
    parameter_files.assign(solver.net.params, snapshot.params, str(path))
    for mine, theirs in zip(solver.updater.history, history, strict=True):
        mine[...] = theirs
    solver.seed = state["seed"]
    solver.iter, solver.losses = state["iter"], deque(state["losses"], maxlen=solver.p.average_loss)
    solver.policy.set_state(state["policy"])
    solver.tested_at, scores, is_best = state["tested"] or (None, {}, False)
    solver.last_test = (scores, is_best)
    for one in solver.listeners:
        if one.key and one.key in state:
            one.set_state(state[one.key])
    solver.keeper.last, solver.reports.last, solver.together.is_due = path, -1, True


def _set_layer_states(solver: Solver, snapshot: Snapshot) -> None:
    """Give all layers their states, or none. Raises SnapshotError when one is not what it should be, UserCodeError
    when a layer of the user's own cannot take any: that is not the snapshot's fault."""
    state, nets = snapshot.state, [solver.net, *solver.test_nets]
    before = [net.layer_states() for net in nets]
    try:
        for net, states in zip(nets, [state["layers"], *state["test_layers"]], strict=False):
            net.set_layer_states(states, state["seed"])
    except UserCodeError:
        raise
    except NettrainError as error:
        for net, states in zip(nets, before, strict=True):
            net.set_layer_states(states, solver.seed)
        raise SnapshotError(f"snapshot {snapshot.path} is not valid: {error}") from None


def _check_data(solver: Solver, snapshot: Snapshot) -> None:
    """Raise NettrainError when a layer reads other data than the run did: it would not be the same run."""
    nets = [solver.net, *solver.test_nets]
    for net, here, there in zip(nets, solver.data, snapshot.state["data"], strict=False):
        for name in here.keys() & there.keys():
            if here[name] != there[name]:
                differences = ", ".join(
                    f"{key} {here[name].get(key)} now and {there[name].get(key)} then"
                    for key in dict.fromkeys([*here[name], *there[name]])
                    if here[name].get(key) != there[name].get(key)
                )
                raise NettrainError(
                    f"the {net.phase} data of `{name}` is not that of {snapshot.path}: {differences}\n"
                    "   a run is resumed with the data it began with; to start one with these parameters and the "
                    f"current data: --weights {quoted(snapshot.path)} instead of --resume"
                )


NUMBERED = 6  # the version of snapshots since which what is random in a batch follows from the batch's number


def _check_age(solver: Solver, snapshot: Snapshot) -> None:
    """Raise NettrainError for a run of an older version that would not go on with the numbers it would have had."""
    if snapshot.version >= NUMBERED:
        return
    seed, layers = snapshot.state["seed"], [snapshot.state["layers"], *snapshot.state["test_layers"]]
    drew = [
        f"layer `{name}` draws its random numbers"
        for states in layers
        for name, state in states.items()
        if "rng" in state and state["rng"] != stream(seed, name).bit_generator.state
    ]
    if solver.p.iter_size > 1:
        drew.append("the gradients of iter_size batches are added up")
    if drew:
        path = snapshot.path
        raise NettrainError(
            f"{path} was written by an older nettrain, and the run would not be the same: {drew[0]} in another way "
            f"since then. To start a run with its parameters: --weights {quoted(path)} instead of --resume"
        )


def resume(solver: Solver, found: Found) -> list[str]:
    """Resume a run, in its own folder from its newest good snapshot, otherwise in a new one; see
    ``Solver.resume``. Returns sentences a person should read."""
    if solver.team.size > 1:
        return _resume_together(solver, found)
    return _resume(solver, found)


def _resume_together(solver: Solver, found: Found) -> list[str]:
    """The first of a team resumes the run; the others take its snapshot from it, and need not have the file."""
    team, notes, run = solver.team, [], solver.run
    if team.is_first:
        notes, run = _resume(solver, found), solver.run
    snapshot, notes, folder, stem = team.of_first((found.snapshot, notes, run.folder, run.stem))
    if not team.is_first:
        take(solver, snapshot)
        run.folder, run.stem = folder, stem
    return notes


def _resume(solver: Solver, found: Found) -> list[str]:
    """``resume`` in this process."""
    old, new = Run.of(found.snapshot.path), solver.run
    if found.is_newest if not new.is_given else new.is_same(old):
        new = old
    try:
        if new is old:
            new.open()
            if found.seen != old.snapshots(with_best=False):
                raise NettrainError(f"{old.where} was written to just now: try again")
        elif new.is_given:
            new.open()
            new.check_free()
        while True:
            try:
                take(solver, found.snapshot)
                break
            except SnapshotError as error:
                found.fall_back(error)
        dropped = new.continue_from(old, solver.iter)
        if solver.best:
            new.copy_best(old)
    except BaseException:
        new.close()
        if new is not old:
            new.discard()
        raise
    solver.run = new
    return found.notes + _notes_on(dropped, new, solver.iter, is_same=new is old)


def _notes_on(dropped: Dropped, run: Run, iteration: int, is_same: bool) -> list[str]:
    """Sentences about metrics that a resumed run does not keep."""
    notes = []
    if dropped.last > iteration and is_same:
        notes.append(
            f"the run had reached iteration {dropped.last}; what it did after its last snapshot, at iteration "
            f"{iteration}, is repeated"
        )
    if dropped.invalid:
        what = "an invalid line" if dropped.invalid == 1 else f"{dropped.invalid} invalid lines"
        notes.append(f"{run.path(METRICS)} continues without {what}")
    return notes
