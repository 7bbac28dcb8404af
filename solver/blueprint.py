"""From a spec to what is to be trained: the nets, how long, on which score; all of it checked, nothing run yet."""

from __future__ import annotations

import copy
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..net.net import Net
from ..net.netspec import load
from ..net.parameter_files import LoadReport
from ..net.records import NetSpec
from ..ranks.sharing import unshared
from ..ranks.team import ALONE, Team
from ..spec.errors import NettrainError, Place, Problem, Problems, SpecError, did_you_mean, in_order
from .evaluate import TestNet, name_test_nets
from .finding import check_spec
from .mistakes import mistakes
from .monitor import Monitor, choose_monitor
from .parameters import NetState, SolverParameters, read_parameters


@dataclass
class Blueprint:
    """What a spec says is to be trained.

    ``tests`` are the nets to test with (none if there is nothing to test), ``warnings`` what may be a mistake in the
    spec, ``loads`` what was taken from the files of ``solver.weights``.
    """

    spec: NetSpec
    p: SolverParameters
    seed: int
    level: int
    stages: tuple[str, ...]
    dtype: str
    net: Net
    tests: list[TestNet]
    max_iter: int
    monitor: Monitor | None
    warnings: list[Problem] = field(default_factory=list)
    loads: list[LoadReport] = field(default_factory=list)


def draw(
    spec: NetSpec | Path | str | Mapping[str, Any],
    settings: Iterable[str] = (),
    *,
    level: int = 0,
    stages: tuple[str, ...] = (),
    dtype: str = "float32",
    allow_python: bool = False,
    with_weights: bool = True,
    with_tests: bool = True,
    problems: Problems | None = None,
    given: Mapping[str, Any] | None = None,
    team: Team = ALONE,
) -> Blueprint:
    """Read a spec, make its nets, check what it says about training; ``with_weights`` loads those it names, and
    ``with_tests`` makes the nets to test with. A ``team`` shares the batches of each update: as many as it has members,
    unless iter_size says how many.

    Raises SpecError with every problem of the spec, of all nets and of the solver, and with those found before.
    """
    problems = problems or Problems()
    if isinstance(spec, str | Path) and "\n" not in str(spec):
        check_spec(spec)
    spec = load(spec, settings, problems, allow_python)
    if team.size > 1 and spec.solver is not None and "iter_size" not in spec.solver.value:
        spec = load(spec, [f"solver.iter_size={team.size}"])
    read = read_parameters(spec, problems)
    p = read or SolverParameters(base_lr=0.0, max_iter=0)
    seed = team.of_first(p.random_seed if p.random_seed >= 0 else secrets.randbits(31))
    if spec.trained is not None:  # what it would be to train it anew, from the beginning
        level, stages = spec.trained.level_and_stages(level, stages)
        spec = copy.copy(spec)
        spec.trained = None
    asked = NetState(level=level, stage=stages)

    def make(phase: str, state: NetState, **options: Any) -> Net | None:
        state = state.beside(asked)
        options |= {"level": state.level, "stages": state.stage, "seed": seed, "dtype": dtype, "given": given}
        try:
            return Net(spec, phase, engine=p.engine, **options)
        except SpecError as error:
            problems.found.extend(error.problems)
            return None

    net = make("TRAIN", p.train_state, freeze=p.freeze)
    states = (p.test_state or (NetState(),)) if with_tests else ()
    fitted = net.fitted() if net else {}
    built = [test for state in states if (test := make("TEST", state, share_with=net, fitted=fitted))]
    tests = name_test_nets(p, built) if built and len(built) == len(states) else []
    if net and net.steps:
        _check_trainable(spec, p, net, problems)
        _check_tests(spec, p, tests, problems)
        _check_freeze(spec, p, net, problems)
    if net and team.size > 1 and read is not None:
        _check_shared(spec, p, [net, *built], team.size, problems)
    problems.raise_if_any()
    assert net is not None  # else a problem was raised
    tests = [test for test in tests if test.can_run]
    max_iter = count_iterations(p, net)
    if max_iter is None:
        message = "solver.max_epoch needs a Data layer whose data set ends; give max_iter instead"
        problems.add(place_of(spec, "max_epoch"), message)
    monitor = choose_monitor(p, tests, place_of(spec, "monitor"), problems)
    problems.raise_if_any()
    warnings = in_order([*mistakes(spec, net, [test.net for test in tests]), *_frozen_that_move(net)])
    loads = [_load(spec, p, net, path, problems) for path in p.weights if with_weights]
    problems.raise_if_any()
    return Blueprint(spec, p, seed, level, stages, dtype, net, tests, max_iter or 0, monitor, warnings, loads)


def place_of(spec: NetSpec, key: str) -> Place:
    """Where a key of the solver is written."""
    return spec.solver.at(key) if spec.solver else spec.root.place


def _check_trainable(spec: NetSpec, p: SolverParameters, net: Net, problems: Problems) -> None:
    place = spec.root.at("layers")
    if not any(any(step.loss_weights) for step in net.steps):
        problems.add(place, "the TRAIN net has no loss; add a layer such as SoftmaxWithLoss")
    elif not any(step.needs_backward and any(step.layer.param_propagate_down) for step in net.steps):
        learned = "no layer has parameters with lr_mult > 0 on the way to a loss"
        message = f"the TRAIN net has nothing to learn: {learned}"
        if p.freeze:
            place, message = place_of(spec, "freeze"), f"{message} that is not in solver.freeze"
        problems.add(place, message)


def _check_tests(spec: NetSpec, p: SolverParameters, tests: list[TestNet], problems: Problems) -> None:
    if p.test_interval and any(not test.can_run for test in tests):
        message = "no layer of the TEST net reads a data set that ends; give solver.test_iter too"
        problems.add(place_of(spec, "test_interval"), message)


def _check_shared(spec: NetSpec, p: SolverParameters, nets: list[Net], ranks: int, problems: Problems) -> None:
    """What keeps several processes from sharing the batches."""
    m = p.iter_size
    if m % ranks:
        *most, last = (str(n) for n in range(1, m + 1) if m % n == 0)
        evenly = f"{', '.join(most)} or {last}" if most else last
        problems.add(
            place_of(spec, "iter_size"),
            f"solver.iter_size: {m} batches of an update cannot be shared evenly by {ranks} processes",
            f"start {evenly} of them, or --set solver.iter_size={ranks * -(-m // ranks)}",
        )
    for step, why in unshared(nets[0]):
        problems.add(step.spec.place, f"{step.spec.title()} {why}: it trains in one process only")
    for step in (step for net in nets[1:] for step in net.steps if step.layer.writes_files):
        problems.add(
            step.spec.place, f"{step.spec.title()} writes files in each test: it is tested in one process only"
        )


def _check_freeze(spec: NetSpec, p: SolverParameters, net: Net, problems: Problems) -> None:
    names = {name for step in net.steps if step.layer.blobs for name in step.spec.names}
    for pattern in p.freeze:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = did_you_mean(pattern, net.params, f"; they are {', '.join(net.params)}")
            message = f"solver.freeze: no layer with parameters is called `{pattern}`{near}"
            problems.add(place_of(spec, "freeze"), message)


def _frozen_that_move(net: Net) -> Iterator[Problem]:
    """Warnings of frozen layers that change all the same."""
    for step in net.steps:
        if step.frozen and step.layer.moves_blobs:
            yield Problem(
                step.spec.place,
                f"{step.spec.title()} is in solver.freeze, but its running statistics still follow the training "
                "data; use_global_stats: true freezes them too",
                with_line=False,
            )


def _load(spec: NetSpec, p: SolverParameters, net: Net, path: str, problems: Problems) -> LoadReport:
    """Take parameters from a file the spec names."""
    try:
        return net.copy_from(path, p.weights_strict)
    except NettrainError as error:
        problems.add(place_of(spec, "weights"), f"solver.weights: {error}")
        return LoadReport()


def epochs(p: SolverParameters, net: Net, iterations: int) -> float | None:
    """Passes over the training data after this many iterations; None when the data has no end."""
    for layer in net.layers.values():
        if layer.pass_size:
            return iterations * p.iter_size * layer.batch_size / layer.pass_size
    return None


def count_iterations(p: SolverParameters, net: Net) -> int | None:
    """max_iter, or the iterations that max_epoch takes; None when the data has no end."""
    if p.max_iter is not None:
        return p.max_iter
    in_one = epochs(p, net, 1)
    return None if in_one is None else math.ceil((p.max_epoch or 0) / in_one - 1e-9)
