"""The training loop: test, forward, backward, update.

It is one file because it is one class, the loop and what it calls, read from top to bottom. What is made before it is
in ``blueprint``; what watches it are listeners.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..compute.parallel import session
from ..net.arguments import a_function, a_path, strings, whole
from ..net.records import NetSpec
from ..net.user_code import ask
from ..ranks.reduction import Reduce
from ..ranks.sharing import Statistics, overrides
from ..ranks.team import ALONE, Team
from ..spec.errors import NettrainError, Problems
from . import divergence
from .blueprint import draw, epochs, place_of
from .evaluate import Evaluation, Scores, TestNet, evaluate_all
from .finding import Found, find_snapshot
from .health import Health
from .interrupts import Effect
from .keeper import Keeper
from .listener import Event, Functions, Listener
from .looking import look_through
from .policies import rate_policy
from .record import Record
from .reports import Reports, Row
from .resume import resume, take
from .runs import Run
from .snapshot import read_snapshot
from .together import RunElsewhere, Together
from .updater import Updater


class InterruptedTestError(Exception):
    """A request to stop came during a test."""


class Solver:
    """Trains a net as the ``solver:`` part of its spec says.

    Args:
        spec: a path, YAML text, a mapping or a loaded NetSpec.
        settings: overrides such as ``solver.base_lr=0.1``.
        weights: further ``.npz`` files to start from; None for a resumed run, which does not even need the spec's.
        out: folder for the run's files instead of runs/NAME/NUMBER.
        listeners: what else takes part, besides the solver's own.
        on_row, on_step: called with each Row, and after each iteration with the solver.
        on_warning: called with each sign that something is wrong, once.
        allow_python: whether layers of type Python may run the code they name.
        dtype: ``float32``, or ``float64`` to compare numbers.
        given: data of a program's, by the name of the layer that reads it in place of its source.
        team: the processes that train together, each with a solver of the same spec; see ``nettrain.ranks``.
        reduce: how they add up gradients: by ``segments``, which gives the bits of one process, or as ``mpi`` does.
        problems: those found before, when the spec was loaded; they are raised with the others.

    ``net`` is the training net, ``test_nets`` those to test with (none if there is nothing to test), ``iter`` the
    number of updates made, ``warnings`` what may be a mistake in the spec. ``request`` may be set to ``stop`` or
    ``snapshot`` at any time, by a signal's handler too; ``ended`` says why training ended before max_iter.

    Raises SpecError with every problem of the spec, of both nets and of the solver.
    """

    def __init__(
        self,
        spec: NetSpec | Path | str | Mapping[str, Any],
        *,
        settings: Iterable[str] = (),
        weights: Iterable[str | Path] | None = (),
        out: str | Path | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        listeners: Iterable[Listener] = (),
        on_row: Callable[[Row], None] | None = None,
        on_step: Callable[[Solver], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
        problems: Problems | None = None,
        allow_python: bool = False,
        dtype: str = "float32",
        with_tests: bool = True,
        given: Mapping[str, Any] | None = None,
        team: Team = ALONE,
        reduce: Reduce = "segments",
    ):
        level, stages = whole(level, "level"), tuple(strings(stages, "stages"))
        weights = None if weights is None else strings(weights, "weights", paths=True)
        out = None if out is None else a_path(out, "out") if out != "" else out
        settings = tuple(strings(settings, "settings"))
        blueprint = draw(
            spec,
            settings,
            level=level,
            stages=stages,
            dtype=dtype,
            allow_python=allow_python,
            with_weights=weights is not None,
            with_tests=with_tests,
            problems=problems,
            given=given,
            team=team,
        )
        self.team = team
        self.spec, self.p, self.dtype = blueprint.spec, blueprint.p, dtype
        self.seed, self.level, self.stages = blueprint.seed, blueprint.level, blueprint.stages
        self.net, self.tests, self.max_iter = blueprint.net, blueprint.tests, blueprint.max_iter
        self.test_nets = [test.net for test in self.tests]
        self.warnings = blueprint.warnings
        self.load_reports = [
            *blueprint.loads,
            *(self.net.copy_from(path, self.p.weights_strict) for path in weights or ()),
        ]
        self.policy = rate_policy(self.p, self.max_iter)
        self.updater, self.statistics = Updater(self.p, self.net, team, reduce), Statistics(self.net, team)
        files = Run if team.is_first else RunElsewhere
        self.run, self.record = files(self.spec.name, self.p.snapshot_prefix, out), Record(settings)

        self.monitor, self.health = blueprint.monitor, Health(self.net, self.tests)
        self.health.take_as_trained(name for report in self.load_reports for name in report.loaded)
        self.trail, self.reports, self.keeper = divergence.Trail(self.net), Reports(), Keeper()
        self.together = Together()
        functions = a_function(on_row, "on_row"), a_function(on_step, "on_step"), a_function(on_warning, "on_warning")
        watching: list[Listener] = [self.together, self.health, self.trail, self.reports]
        if self.monitor:
            watching.insert(0, self.monitor)
        self.listeners = [*watching, *listeners, Functions(*functions), self.keeper]

        self.iter = 0
        self.losses: deque[float] = deque(maxlen=self.p.average_loss)
        self.request: Effect | None = None
        self._agreed: Effect | None = None  # what a team will do, of all that was requested of its members
        self._carrying = [step for step in self.net.steps if team.size > 1 and overrides(step.layer, "follows_on")]
        self.ended = ""
        self.found = Evaluation()  # what the last test found
        self.tested_at: int | None = None  # its iteration
        self.last_test: tuple[Scores, bool] = ({}, False)  # its scores, and whether they were the best
        self._data_is_examined = False

    def add(self, listener: Listener) -> None:
        """Add a listener; the keeper of the snapshots stays the last."""
        self.listeners.insert(-1, listener)

    def tell(self, event: Event, *what: Any) -> None:
        """Let all listeners know."""
        for one in self.listeners:
            getattr(one, event)(self, *what)

    def warn(self, strings: Iterable[str]) -> None:
        """Tell the listeners of signs that something is wrong."""
        for text in strings:
            for one in self.listeners:
                one.warned(text)

    @property
    def best(self) -> tuple[float, int] | None:
        """The best monitored score and its iteration."""
        return self.monitor.best if self.monitor else None

    @property
    def last_snapshot(self) -> Path | None:
        """The newest snapshot that this solver wrote or was resumed from."""
        return self.keeper.last

    @property
    def smoothed_loss(self) -> float | None:
        """Mean of the last average_loss training losses."""
        return sum(self.losses) / len(self.losses) if self.losses else None

    @functools.cached_property
    def data(self) -> list[dict[str, Any]]:
        """What the data of the training net and of each test net is, by layer; determined once."""
        return [net.fingerprints() for net in (self.net, *self.test_nets)]

    def epochs(self, iterations: int) -> float | None:
        """Passes over the training data after this many iterations; None when the data has no end."""
        return epochs(self.p, self.net, iterations)

    def look_through(self) -> None:
        """Look through the data that lies in memory, once. Raises SpecError for a value that is not finite.

        ``solve`` does so before a run's folder is made; a resumed run has the data it began with.
        """
        if not self._data_is_examined:
            problems = Problems()
            look_through([self.net, *self.test_nets], problems, seconds=0)
            problems.raise_if_any()
            self._data_is_examined = True

    # Training

    def solve(self) -> None:
        """Train up to max_iter, write the last snapshot, test at the end.

        A request to stop ends it earlier, with a snapshot and without a test. What fails before the first update and
        before any snapshot leaves no file and no folder behind.
        """
        if self.last_snapshot is None:
            self.look_through()
        try:
            with self._writing():
                try:
                    self._solve()
                except BaseException as error:
                    self.record.end(self, error)
                    raise
                self.record.end(self)
        except BaseException:
            if self.iter == 0 and self.last_snapshot is None:
                self.run.discard(with_best=self.best is not None)
            raise

    def _solve(self) -> None:
        self.begin_files()
        self.record.begin(self)
        self.ended = ""
        self.step(self.max_iter - self.iter)
        if self._handle_request():
            return
        if self.p.snapshot_after_train:
            self.keeper.keep_once(self)
        if self._test_at_the_end():
            self.tell("finished")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """The run's files are this solver's until the end; another thread's is refused, as another process is."""
        turn = self.run.open().turn
        if not turn.acquire(blocking=False):
            self.run.close()
            raise NettrainError(
                f"{self.run.where} is being written by another solver in this program: wait until it ends, or choose "
                "another folder"
            )
        try:
            yield
        finally:
            turn.release()
            self.run.close()

    def step(self, iterations: int) -> None:
        """Make this many iterations, with the tests, lines of progress and snapshots that fall due.

        Fewer when the monitor's patience runs out or a stop is requested.
        """
        iterations = whole(iterations, "iterations")
        self.tell("started")
        with session(), np.errstate(all="ignore"):  # the loss is checked in every iteration instead
            for _ in range(iterations):
                if not self._iterate():
                    break

    def _iterate(self) -> bool:
        """One iteration; whether to continue."""
        if self._is_test_due() and not self._test_once():
            return False
        self.ended = next(filter(None, (one.why_end() for one in self.listeners)), "")
        if self.ended:
            return False
        self.losses.append(self.gradient())
        self.tell("computed")
        self.updater.apply(self.rate(), self.iter + 1)
        self.iter += 1
        self.tell("updated")
        if self.requested == "snapshot":
            self._handle_request()
        return self.requested is None

    @property
    def requested(self) -> Effect | None:
        """What was requested and is not done yet; of a team's member what all have heard of."""
        return self.request if self.team.size == 1 else self._agreed

    def _handle_request(self) -> bool:
        """Do what was requested; whether that was to stop."""
        request, self._agreed = self.requested, None
        if self.request == request or request == "stop":
            self.request = None
        if request in ("snapshot", "stop"):
            self.keeper.keep_once(self)
        if request == "stop":
            self.ended = f"stopped at iteration {self.iter}"
        return request == "stop"

    def rate(self) -> float:
        """The learning rate of this iteration; infinite where the policy exceeds what a float can hold."""
        try:
            return self.policy(self.iter)
        except OverflowError:
            return math.inf

    def gradient(self) -> float:
        """Forward and backward over iter_size batches; returns the mean loss. Batch j of iteration i has the number
        i iter_size + j. Raises NettrainError (exit code 3) when the loss is not finite."""
        net, team, gradients, total = self.net, self.team, self.updater.sum, 0.0
        for j in range(0, self.p.iter_size, team.size):
            net.skip(team.rank)
            net.batch = self.iter * self.p.iter_size + j + team.rank
            gradients.begin()
            loss = net.forward_backward(gradients.ready)
            for step in self._carrying:
                if ask(step.layer, "follows_on", step.bottom):
                    raise NettrainError(
                        f"{step.spec.place}: {step.spec.title()} carries its states on from batch to batch (cont is "
                        "not 0 at the first step), and each process has only some of the batches: train it in one"
                    )
            gradients.add(j // team.size)
            net.skip(team.size - 1 - team.rank)
            for one in self._all_losses(loss):
                total += one
                net.loss = one
        if self.test_is_new or self.p.debug_info:
            gradients.hand_round(net.flat.diff)  # somebody will look at all of it
        return total / self.p.iter_size

    def _all_losses(self, loss: float) -> list[float]:
        """The losses of the batches that the team has just computed, in their order, whose statistics are kept; what
        was requested of one is requested of all. Raises NettrainError, on all alike, when one is not finite."""
        losses = []
        said = self.team.gather((loss, self.statistics.take(), self.request))
        for rank, (one, statistics, _) in enumerate(said):
            self.statistics.keep(statistics)
            if not math.isfinite(one):
                raise self.diverged(f"the loss is {'NaN' if one != one else 'infinite'}", rank)
            losses.append(one)
        if self.team.size > 1:
            requests = {request for _, _, request in said}
            self._agreed = "stop" if "stop" in requests else "snapshot" if "snapshot" in requests else None
        return losses

    def diverged(self, what: str, rank: int = -1) -> NettrainError:
        """An error (exit code 3) that says what is no longer finite, how it came about and what is kept: in the last
        batch, or in that which another of the team computed, as all of it have to ask."""
        kept = "nothing: no update was made" if self.iter == 0 else "no snapshot was made before; set solver.snapshot"
        best = self.run.path("best.npz") if self.iter and self.best and self.run.folder else None
        kept = str(self.last_snapshot or best or kept)
        place = str(place_of(self.spec, "base_lr"))
        self.updater.hand_round_history()
        lines = None
        if self.team.rank == rank % self.team.size:
            lines = divergence.explain(self.net, self.iter, self.trail, self.updater, place, kept)
        lines = self.team.gather(lines)[rank]
        return NettrainError(divergence.report(self.iter, what, lines), exit_code=3)

    # Testing

    def test(self) -> Scores:
        """Run each test net: the whole test set once, weighted by examples, or test_iter batches.

        With several test nets each score has its net's name before it: NET/OUTPUT.
        """
        self.tell("testing")
        self.found = evaluate_all(self.tests, self._between_batches, self.team)
        return self.found.scores

    @property
    def test_is_new(self) -> bool:
        """Whether the last test was one of the current weights."""
        return self.tested_at == self.iter

    def _is_test_due(self) -> bool:
        p = self.p
        due = p.test_interval and self.iter % p.test_interval == 0 and (self.iter > 0 or p.test_initialization)
        return bool(due and self.tests)

    def _test_once(self) -> bool:
        """Test, unless a snapshot says what these weights give; whether the test came to its end."""
        if self.test_is_new:
            return True
        try:
            scores = self.test()
        except InterruptedTestError:
            return False
        is_best = self.monitor is not None and self.monitor.judge(self.found, self.iter)
        self.policy.after_test(is_best)
        self.tested_at, self.last_test = self.iter, (scores, is_best)
        self.tell("tested")
        return True

    def _test_at_the_end(self) -> bool:
        """The test of the weights that training gave; whether it came to its end."""
        if self.tests and self.reports.last != self.iter and not self._test_once():
            self._handle_request()
            return False
        return True

    def _between_batches(self, test: TestNet) -> None:
        """Leave the test when a stop is requested; the iteration then has not begun."""
        for one in self.listeners:
            one.batch_tested(test)
        if self.requested == "stop":
            raise InterruptedTestError

    # Files

    def begin_files(self) -> None:
        """Open the run's files before one is written; a team's members, who call it together, then know their names."""
        self.run.begin(self.iter)
        self.run.folder = self.team.of_first(self.run.folder)

    def snapshot(self) -> Path:
        """Write a snapshot of everything; returns its path."""
        return self.keeper.keep(self)

    def restore(self, path: str | Path) -> None:
        """Go back to a snapshot: parameters, history, iteration, rate, data cursors and random generators.

        Raises NettrainError, and changes nothing, when it is damaged, of another net or solver, or of other data.
        """
        path = a_path(path, "the snapshot")
        take(self, self.team.of_first(read_snapshot(path) if self.team.is_first else None))

    def resume(self, where: str | Path | Found) -> list[str]:
        """Resume a run, as if it had never been interrupted: its folder, or one of its snapshots.

        A run is resumed in its own folder, from the newest good snapshot. An older snapshot begins another run in
        a new folder, so that nothing of the first is lost; so does ``out``. Returns sentences a person should read.

        Raises NettrainError, and changes nothing, when there is no good snapshot, another process writes the run, or
        the data is not what it was.
        """
        return resume(self, where if isinstance(where, Found) else find_snapshot(a_path(where, "the run")))


def get_solver(spec: NetSpec | Path | str | Mapping[str, Any], **options: Any) -> Solver:
    """A solver for a spec; see ``Solver`` for the options."""
    return Solver(spec, **options)
