"""Caffe's solver states: iteration and history, beside a caffemodel (SolverState)."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import numpy as np

from ...compute.memory import Memory
from ...files.reading import mapped
from ...files.writing import write_atomically
from ...net.build import Parameter
from ...solver.solver import Solver
from ...spec.errors import NettrainError, printable, why
from ..kinds import kind_of_file
from . import binary
from .hdf5 import read_h5, read_state
from .message import message
from .weights import array_of, blob_of


def is_state(path: Path) -> bool:
    """Whether a file is a solver's state, binary or in HDF5; not where it cannot be read."""
    try:
        kind = kind_of_file(path)
    except NettrainError:
        return False
    return kind == "state" or (kind == "hdf5" and path.name.endswith(".solverstate.h5"))


def state_of(solver: Solver, learned_net: str) -> list[bytes | memoryview]:
    """A .solverstate in pieces: the iteration and, for each array of the rule's, a blob for each parameter in the net's
    order. ``learned_net`` is the path of the caffemodel."""
    history = [blob_of(_part(array, one)) for array in solver.updater.history for one in solver.net.parameters]
    steps = _steps_made(solver)
    state = message("SolverState", iter=solver.iter, learned_net=learned_net, history=history, current_step=steps)
    return binary.write(state)


def write_state(solver: Solver, path: Path, learned_net: str) -> None:
    """Write a .solverstate. Raises NettrainError when it cannot be written."""
    pieces = state_of(solver, learned_net)
    try:
        write_atomically(path, lambda file: file.writelines(pieces))
    except OSError as error:
        raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None


def restore_state(solver: Solver, path: Path) -> None:
    """Go on from a .solverstate: its iteration, its history and the weights that it names.

    Those are looked for beside it, where Caffe writes them, then where it says within the current folder. Raises
    NettrainError, and changes nothing, when it is damaged or of another net or rule.
    """
    origin = f"solver state {path}"
    iteration, learned_net, arrays = (_read_h5 if kind_of_file(path) == "hdf5" else _read)(path, origin)
    parameters = solver.net.parameters
    wanted = len(parameters) * len(solver.updater.history)
    if len(arrays) != wanted:
        raise NettrainError(
            f"{origin} has a history of {len(arrays)} blobs; this net and its rule need {wanted}: "
            f"{len(solver.updater.history)} for each of {len(parameters)} parameters"
        )
    for i, (array, _) in enumerate(arrays):
        one = parameters[i % len(parameters)]
        if array.size != one.blob.count or (array.shape != one.blob.shape and array.ndim != 4):
            raise NettrainError(f"{origin}: history {i} is {array.shape}, and {one.name} is {one.blob.shape}")
    if learned_net:
        solver.net.copy_from(_weights(learned_net, path))
    for i, (array, _) in enumerate(arrays):
        one = parameters[i % len(parameters)]
        _part(solver.updater.history[i // len(parameters)], one)[...] = array.reshape(one.blob.shape)
    solver.iter = iteration
    solver.losses.clear()


def _read(path: Path, origin: str) -> State:
    try:
        with mapped(path) as memory:
            state = binary.read(memory.bytes, "SolverState", origin)
            found = [array_of(blob, f"{origin}: history {i}") for i, blob in enumerate(state.many("history"))]
            arrays = [(np.array(array), is_legacy) for array, is_legacy in found]
            iteration, learned_net = state.one("iter"), state.one("learned_net")
            del state, found
    except OSError as error:
        raise NettrainError(f"{origin} cannot be read: {why(error)}") from None
    return iteration, learned_net, arrays


def _read_h5(path: Path, origin: str) -> State:
    """``iter`` and ``learned_net``, and the history as datasets 0, 1, … of a group."""
    iteration, learned_net = read_state(path, origin)
    history = read_h5(path, "history", "solver state")
    return iteration, learned_net, [(array, False) for array in history.values()]


State = tuple[int, str, list[tuple[np.ndarray, bool]]]  # iteration, path of the weights, history


def _part(array: np.ndarray, one: Parameter) -> np.ndarray:
    """What a flat array holds for a parameter, in its shape: its memory may have the channels last."""
    return Memory(array[one.start : one.stop]).view(one.blob.shape, array.dtype, one.blob.channels_last)


def _weights(learned_net: str, state: Path) -> Path:
    """The caffemodel of a state: beside it, or where it says, relative to where Caffe ran, and nowhere else."""
    stem, said = state.name.partition(".solverstate")[0], PurePath(learned_net)
    places = [state.parent / name for name in (said.name, f"{stem}.caffemodel", f"{stem}.caffemodel.h5")]
    if not said.is_absolute() and ".." not in said.parts:
        places.append(Path(said))
    for place in places:
        if os.path.isfile(place):
            return place
    raise NettrainError(
        f"solver state {state} names the weights {printable(learned_net)}, which are not there, nor beside it; nothing "
        "is read from outside of its folder and the current one"
    )


def _steps_made(solver: Solver) -> int:
    """How often the rate has dropped, of which Caffe's policies ``step`` and ``multistep`` keep count."""
    policy = solver.p.lr_policy.p
    last = solver.iter - 1  # the iteration of the last update
    if getattr(policy, "stepsize", 0) and last >= 0:
        return last // policy.stepsize
    made, at = 0, -1
    for value in getattr(policy, "stepvalue", ()):
        at = max(at + 1, value)  # one step an iteration
        made += at <= last
    return made
