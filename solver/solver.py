"""The training loop: test, forward, backward, update, report, snapshot."""

from __future__ import annotations

import contextlib
import functools
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..compute.parallel import session
from ..net import parameter_files
from ..net.arguments import a_function, a_path, texts, whole
from ..net.net import Net
from ..net.netspec import load
from ..net.records import NetSpec, Phase
from ..net.user_code import UserCodeError
from ..spec.errors import NettrainError, Place, Problem, Problems, SpecError, did_you_mean, in_order, why
from . import divergence
from .evaluate import Evaluation, Scores, TestNet, evaluate_all, name_test_nets, one_number
from .health import Health, mistakes
from .interrupts import Effect
from .length import count_iterations, epochs
from .looking import look_through
from .monitor import choose_monitor
from .parameters import NetState, SolverParameters, read_parameters
from .policies import rate_policy
from .runs import METRICS, Found, Run, find_snapshot, quoted
from .snapshot import Snapshot, SnapshotError, read_snapshot, write_snapshot
from .updater import Updater


@dataclass
class Row:
    """One line of progress."""

    iter: int
    epoch: float | None
    loss: float | None  # training loss, averaged over average_loss iterations
    lr: float
    rate: float  # iterations per second since the last row
    test: Scores = field(default_factory=dict)
    best: bool = False


class InterruptedTestError(Exception):
    """A request to stop came during a test."""


class Solver:
    """Trains a net as the ``solver:`` part of its spec says.

    Args:
        spec: a path, YAML text, a mapping or a loaded NetSpec.
        settings: overrides such as ``solver.base_lr=0.1``.
        weights: further ``.npz`` files to start from; None for a run that goes on, which needs not even the spec's.
        out: folder for the run's files instead of runs/NAME/NUMBER.
        on_row, on_step: called with each Row, and after each iteration with the solver.
        on_warning: called with each sign that something is wrong, once.
        allow_python: whether layers of type Python may run the code they name.
        dtype: ``float32``, or ``float64`` to compare numbers.
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
        on_row: Callable[[Row], None] | None = None,
        on_step: Callable[[Solver], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
        problems: Problems | None = None,
        allow_python: bool = False,
        dtype: str = "float32",
    ):
        level, stages = whole(level, "level"), texts(stages, "stages")
        weights = None if weights is None else texts(weights, "weights", paths=True)
        out = None if out is None else a_path(out, "out") if out != "" else out
        problems = problems or Problems()
        self.spec = load(spec, settings, problems, allow_python)
        parameters = read_parameters(self.spec, problems)
        self.p: SolverParameters = parameters or SolverParameters(base_lr=0.0, max_iter=0)
        self.seed = self.p.random_seed if self.p.random_seed >= 0 else secrets.randbits(31)
        self.dtype = dtype
        self.level, self.stages = level, tuple(stages)
        given = NetState(level=level, stage=self.stages)
        net = self._build("TRAIN", self.p.train_state, given, problems, freeze=self.p.freeze)
        states = self.p.test_state or (NetState(),)
        tests = [self._build("TEST", state, given, problems, share_with=net) for state in states]
        built = [test for test in tests if test]
        self.tests = name_test_nets(self.p, built) if len(built) == len(states) else []
        if net and net.steps:
            self._check_trainable(net, problems)
            self._check_freeze(net, problems)
        problems.raise_if_any()
        assert net is not None  # else a problem was raised
        self.net = net
        self.tests = [test for test in self.tests if test.can_run]
        self.test_nets = [test.net for test in self.tests]
        self.max_iter = self._count_iterations(problems)
        self.monitor = choose_monitor(self.p, self.tests, self._place("monitor"), problems)
        problems.raise_if_any()
        self.policy = rate_policy(self.p, self.max_iter)
        self.updater = Updater(self.p, net)
        self.run = Run(self.spec.name, self.p.snapshot_prefix, out)
        self.on_row = a_function(on_row, "on_row") or (lambda row: None)
        self.on_step = a_function(on_step, "on_step") or (lambda solver: None)
        self.on_warning = a_function(on_warning, "on_warning") or (lambda text: None)
        self.warnings = in_order([*mistakes(self.spec, net, self.test_nets), *self._frozen_that_move()])
        self.health, self.trail = Health(net, self.tests), divergence.Trail(net)
        self.iter = 0
        self.request: Effect | None = None
        self.ended = ""
        self.found = Evaluation()  # what the last test found
        self._late: list[str] = []  # warnings of the last test that were not given yet
        # The last test: its iteration, its scores, whether they were the best
        self._tested: tuple[int, Scores, bool] | None = None
        self.losses: deque[float] = deque(maxlen=self.p.average_loss)
        self.last_snapshot: Path | None = None
        self.load_reports = [self._load(path, problems) for path in self.p.weights if weights is not None]
        problems.raise_if_any()
        self.load_reports += [net.copy_from(path, self.p.weights_strict) for path in weights or ()]
        self.health.take_as_trained(name for report in self.load_reports for name in report.loaded)
        self._is_looked_through = False
        self._clock = (time.perf_counter(), 0)
        self._reported = -1  # iteration of the last row

    # Building

    def _build(self, phase: Phase, state: NetState, given: NetState, problems: Problems, **options: Any) -> Net | None:
        """``given`` on the command line counts besides what the spec says."""
        state = state.beside(given)
        try:
            return Net(
                self.spec,
                phase,
                level=state.level,
                stages=state.stage,
                seed=self.seed,
                dtype=self.dtype,
                **options,
            )
        except SpecError as error:
            problems.found.extend(error.problems)
            return None

    def _load(self, path: str, problems: Problems) -> parameter_files.LoadReport:
        """Take parameters from a file the spec names."""
        try:
            return self.net.copy_from(path, self.p.weights_strict)
        except NettrainError as error:
            problems.add(self._place("weights"), f"solver.weights: {error}")
            return parameter_files.LoadReport()

    def _place(self, key: str) -> Place:
        """Where a key of the solver is written."""
        return self.spec.solver.at(key) if self.spec.solver else self.spec.root.place

    def _check_trainable(self, net: Net, problems: Problems) -> None:
        place = self.spec.root.at("layers")
        if not any(any(step.loss_weights) for step in net.steps):
            problems.add(place, "the TRAIN net has no loss; add a layer such as SoftmaxWithLoss")
        elif not any(step.needs_backward and any(step.layer.param_propagate_down) for step in net.steps):
            learned = "no layer has parameters with lr_mult > 0 on the way to a loss"
            message = f"the TRAIN net has nothing to learn: {learned}"
            if self.p.freeze:
                place, message = self._place("freeze"), f"{message} that is not in solver.freeze"
            problems.add(place, message)
        if self.p.test_interval and any(not test.can_run for test in self.tests):
            problems.add(
                self._place("test_interval"),
                "no layer of the TEST net reads a data set that ends; give solver.test_iter too",
            )

    def _check_freeze(self, net: Net, problems: Problems) -> None:
        for pattern in self.p.freeze:
            if not any(fnmatchcase(name, pattern) for name in net.params):
                near = did_you_mean(pattern, net.params, f"; they are {', '.join(net.params)}")
                problems.add(
                    self._place("freeze"), f"solver.freeze: no layer with parameters is called `{pattern}`{near}"
                )

    def _frozen_that_move(self) -> Iterator[Problem]:
        """Warnings of frozen layers that change all the same."""
        for step in self.net.steps:
            if step.frozen and step.layer.moves_blobs:
                yield Problem(
                    step.spec.place,
                    f"{step.spec.title()} is in solver.freeze, but its running statistics go on with the training "
                    "data; use_global_stats: true holds them too",
                    with_line=False,
                )

    @property
    def best(self) -> tuple[float, int] | None:
        """The best monitored score and its iteration."""
        return self.monitor.best if self.monitor else None

    def _count_iterations(self, problems: Problems) -> int:
        count = count_iterations(self.p, self.net)
        if count is None:
            problems.add(
                self._place("max_epoch"),
                "solver.max_epoch needs a Data layer whose data set ends; give max_iter instead",
            )
        return count or 0

    def epochs(self, iterations: int) -> float | None:
        """Passes over the training data after so many iterations; None when the data has no end."""
        return epochs(self.p, self.net, iterations)

    def look_through(self) -> None:
        """Look through the data that lies in memory, once. Raises SpecError for a value that is not finite.

        ``solve`` does so before a run's folder is made; a run that goes on has the data it began with.
        """
        if not self._is_looked_through:
            problems = Problems()
            look_through([self.net, *self.test_nets], problems, seconds=0)
            problems.raise_if_any()
            self._is_looked_through = True

    # Training

    def solve(self) -> None:
        """Train up to max_iter, write the last snapshot, test at the end.

        A request to stop ends it earlier, with a snapshot and without a test. What fails before the first update and
        before any snapshot leaves no file and no folder behind.
        """
        if self.last_snapshot is None:
            self.look_through()
        try:
            self._solve()
        except BaseException:
            if self.iter == 0 and self.last_snapshot is None:
                self.run.discard(with_best=self.best is not None)
            raise

    def _solve(self) -> None:
        with self._writing():
            self.run.begin(self.iter)
            self.ended = ""
            self.step(self.max_iter - self.iter)
            if self._heed():
                return
            if self.p.snapshot_after_train and self._snapshot_path() != self.last_snapshot:
                self.snapshot()
            if self._reported != self.iter:
                try:
                    found = self._test_for_best() if self.tests else ({}, False)
                    self._warn_late()
                    self._report(*found)
                except InterruptedTestError:
                    self._heed()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """The run's files are this solver's until the end; another thread's is told, as another process is."""
        turn = self.run.open().turn
        if not turn.acquire(blocking=False):
            self.run.close()
            raise NettrainError(
                f"{self.run.where} is being written by another solver of this program: wait until it ends, or choose "
                "another folder"
            )
        try:
            yield
        finally:
            turn.release()
            self.run.close()

    def step(self, iterations: int) -> None:
        """Make so many iterations, with the tests, lines of progress and snapshots that fall due.

        Fewer when the monitor's patience ends or a stop is requested.
        """
        iterations = whole(iterations, "iterations")
        self._clock = (time.perf_counter(), self.iter)
        self.trail.look(self.iter)
        with session(), np.errstate(all="ignore"):  # the loss is checked in every iteration instead
            for _ in range(iterations):
                if not self._iterate():
                    break

    def _iterate(self) -> bool:
        """One iteration; whether to go on."""
        p = self.p
        due = p.test_interval and self.iter % p.test_interval == 0 and (self.iter > 0 or p.test_initialization)
        try:
            scores, best = self._test_for_best() if due and self.tests else ({}, False)
        except InterruptedTestError:
            return False
        if self.monitor and self.monitor.exhausted:
            self.ended = self.monitor.why()
            self._warn_late()
            return False
        self.losses.append(self.gradient())
        self._warn_late()
        rate = self.rate()
        if scores:
            self._warn(self.health.gradients())
        if scores or (p.display and self.iter % p.display == 0):
            self._report(scores, best)
        self.updater.apply(rate, self.iter + 1)
        self.iter += 1
        self.on_step(self)
        if p.snapshot and self.iter % p.snapshot == 0:
            self.snapshot()
        if self.request == "snapshot":
            self._heed()
        return self.request is None

    def _heed(self) -> bool:
        """Do what was requested; whether that was to stop."""
        request, self.request = self.request, None
        if request in ("snapshot", "stop") and self._snapshot_path() != self.last_snapshot:
            self.snapshot()
        if request == "stop":
            self.ended = f"stopped at iteration {self.iter}"
        return request == "stop"

    def rate(self) -> float:
        """The learning rate of this iteration; infinite where the policy leaves what a float can hold."""
        try:
            return self.policy(self.iter)
        except OverflowError:
            return math.inf

    def gradient(self) -> float:
        """Forward and backward over iter_size batches; returns the mean loss. Raises NettrainError (exit code 3)
        when it is not finite."""
        self.net.flat.clear_diff()
        total = 0.0
        for _ in range(self.p.iter_size):
            loss = self.net.forward_backward()
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {'NaN' if loss != loss else 'infinite'}")
            total += loss
        return total / self.p.iter_size

    def _diverged(self, what: str) -> NettrainError:
        kept = "nothing: no update was made" if self.iter == 0 else "no snapshot was made before; set solver.snapshot"
        best = self.run.path("best.npz") if self.iter and self.best else None
        kept = str(self.last_snapshot or best or kept)
        place = str(self._place("base_lr"))
        lines = divergence.explain(self.net, self.iter, self.trail, self.updater, place, kept)
        return NettrainError(divergence.report(self.iter, what, lines), exit_code=3)

    @property
    def smoothed_loss(self) -> float | None:
        """Mean of the last average_loss training losses."""
        return sum(self.losses) / len(self.losses) if self.losses else None

    # Testing

    def test(self) -> Scores:
        """Run each test net: the whole test set once, weighted by examples, or test_iter batches.

        With several test nets each score has its net's name before it: NET/OUTPUT.
        """
        self.health.begin()
        self.found = evaluate_all(self.tests, self._between_batches)
        return self.found.scores

    def _between_batches(self, test: TestNet) -> None:
        """Look at a batch, and leave the test when a stop is requested; the iteration then has not begun."""
        self.health.batch(test)
        if self.request == "stop":
            raise InterruptedTestError

    def _test_for_best(self) -> tuple[Scores, bool]:
        """Test, and keep the weights when they are the best so far.

        That comes before the iteration's own batch is drawn, so that the file is a snapshot to go on from. What a
        snapshot says was tested already is not tested again.
        """
        if self._tested is None or self._tested[0] != self.iter:
            scores = self.test()
            assert self.monitor is not None
            name = self.monitor.name
            best = self.monitor.see(math.nan if name in self.found.bad else one_number(scores[name]), self.iter)
            self.policy.after_test(best)
            self._tested = (self.iter, scores, best)
            self._warn(self.health.finish(scores, self.iter))
            self._late += self.health.not_finite(self.found)
            self._warn(self.health.notes(self.found))
            if best:
                self.run.begin(self.iter)
                self._write(self.run.path("best.npz"))
        return self._tested[1:]

    # Reporting and files

    def _warn(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.on_warning(text)

    def _warn_late(self) -> None:
        """Give the warnings that need not be given when the iteration ends in an error that says more."""
        late, self._late = self._late, []
        self._warn(late)

    def _report(self, scores: Scores, best: bool) -> None:
        now = time.perf_counter()
        elapsed, made = now - self._clock[0], self.iter - self._clock[1]
        self._clock = (now, self.iter)
        row = Row(
            self.iter,
            self.epochs(self.iter),
            self.smoothed_loss,
            self.rate(),
            made / elapsed if elapsed > 0 else 0.0,
            scores,
            best,
        )
        self._reported = self.iter
        self.trail.look(self.iter)
        self.run.begin(self.iter)
        data = {"iter": row.iter, "epoch": row.epoch, "train_loss": row.loss, "lr": row.lr, "it_per_s": row.rate}
        self.run.write_metrics(data | ({"test": scores} if scores else {}))
        self.on_row(row)

    def _snapshot_path(self) -> Path:
        return self.run.path(f"iter_{self.iter}.npz")

    def snapshot(self) -> Path:
        """Write a snapshot of everything; returns its path."""
        self.run.begin(self.iter)
        path = self._snapshot_path()
        self._write(path)
        self.last_snapshot = path
        if self.p.snapshot_keep:
            self._warn(self.run.keep_newest(self.p.snapshot_keep, self.iter))
        return path

    def _write(self, path: Path) -> None:
        if not np.isfinite(self.net.flat.data).all():
            raise self._diverged("a parameter is not a finite number")
        state = {
            "iter": self.iter,
            "seed": self.seed,
            "level": self.level,
            "stages": list(self.stages),
            "monitor": self.monitor.state() if self.monitor else None,
            "policy": self.policy.state(),
            "tested": self._tested,
            "said": self.health.said,
            "losses": list(self.losses),
            "layers": self.net.layer_states(),
            "test_layers": [net.layer_states() for net in self.test_nets],
            "data": self._data,
            "spec": self.spec.to_python(),
            "folder": str(self.spec.folder.resolve()),
        }
        self.run.sync_metrics()
        try:
            write_snapshot(path, parameter_files.arrays(self.net.params), self.updater.history, state)
        except OSError as error:
            kept = f"; {self.last_snapshot} is intact" if self.last_snapshot else ""
            raise NettrainError(f"cannot write {path}: {why(error)}{kept}", exit_code=1) from None

    @functools.cached_property
    def _data(self) -> list[dict[str, Any]]:
        """What the data of the training net and of each test net is, by layer; found out once."""
        return [net.fingerprints() for net in (self.net, *self.test_nets)]

    def restore(self, path: str | Path) -> None:
        """Go back to a snapshot: parameters, history, iteration, rate, data cursors and random generators.

        Raises NettrainError, and changes nothing, when it is damaged, of another net or solver, or of other data.
        """
        self._take(read_snapshot(a_path(path, "the snapshot")))

    def _take(self, snapshot: Snapshot) -> None:
        path, state, history = snapshot.path, snapshot.state, snapshot.history
        missing = parameter_files.fit(self.net.params, snapshot.params, str(path)).missing
        if missing:
            raise NettrainError(f"{path} has no parameters for {', '.join(missing)}")
        if [array.shape for array in history] != [array.shape for array in self.updater.history]:
            raise NettrainError(f"{path} was made by another solver type or net: its history has another size")
        self._check_data(snapshot)
        self._set_layer_states(snapshot)
        parameter_files.assign(self.net.params, snapshot.params, str(path))
        for mine, theirs in zip(self.updater.history, history, strict=True):
            mine[...] = theirs
        self.seed = state["seed"]
        self.iter, self.losses = state["iter"], deque(state["losses"], maxlen=self.p.average_loss)
        self.policy.set_state(state["policy"])
        if self.monitor and state["monitor"]:
            self.monitor.set_state(state["monitor"])
        self._tested = tuple(state["tested"]) if state["tested"] else None
        self.health.said = list(state["said"])
        self.last_snapshot, self._reported = path, -1

    def _set_layer_states(self, snapshot: Snapshot) -> None:
        """Give all layers their states, or none. Raises SnapshotError when one is not what it should be, UserCodeError
        when a layer of the user's own cannot take any: that is not the snapshot's fault."""
        state, nets = snapshot.state, [self.net, *self.test_nets]
        before = [net.layer_states() for net in nets]
        try:
            for net, states in zip(nets, [state["layers"], *state["test_layers"]], strict=False):
                net.set_layer_states(states, state["seed"])
        except UserCodeError:
            raise
        except NettrainError as error:
            for net, states in zip(nets, before, strict=True):
                net.set_layer_states(states, self.seed)
            raise SnapshotError(f"snapshot {snapshot.path} is not whole: {error}") from None

    def _check_data(self, snapshot: Snapshot) -> None:
        """Raise NettrainError when a layer reads other data than the run did: nothing would be as it was."""
        for net, here, there in zip([self.net, *self.test_nets], self._data, snapshot.state["data"], strict=False):
            for name in here.keys() & there.keys():
                if here[name] != there[name]:
                    differences = ", ".join(
                        f"{key} {here[name].get(key)} now and {there[name].get(key)} then"
                        for key in dict.fromkeys([*here[name], *there[name]])
                        if here[name].get(key) != there[name].get(key)
                    )
                    raise NettrainError(
                        f"the {net.phase} data of `{name}` is not that of {snapshot.path}: {differences}\n"
                        "   a run goes on with the data it began with; to begin one with these parameters and the "
                        f"data of now: --weights {quoted(snapshot.path)} instead of --resume"
                    )

    def resume(self, where: str | Path | Found) -> list[str]:
        """Go on with a run, as if it had never been interrupted: its folder, or one of its snapshots.

        A run goes on in its own folder, from the newest snapshot that is good. An older snapshot begins another run in
        a new folder, so that nothing of the first is lost; so does ``out``. Returns sentences a person should read.

        Raises NettrainError, and changes nothing, when there is no good snapshot, another process writes the run, or
        the data is not what it was.
        """
        found = where if isinstance(where, Found) else find_snapshot(a_path(where, "the run"))
        old, new = Run.of(found.snapshot.path), self.run
        if found.is_newest if not new.is_given else new.is_same(old):
            new = old
        try:
            if new is old:
                new.open()
                if found.seen != old.snapshots(with_best=False):
                    raise NettrainError(f"{old.where} was written to in this moment: try again")
            elif new.is_given:
                new.open()
                new.check_free()
            while True:
                try:
                    self._take(found.snapshot)
                    break
                except SnapshotError as error:
                    found.pass_over(error)
            cut = new.continue_from(old, self.iter)
            if self.best:
                new.copy_best(old)
        except BaseException:
            new.close()
            if new is not old:
                new.discard()
            raise
        self.run = new
        if cut.last > self.iter and new is old:
            found.notes.append(
                f"the run had come to iteration {cut.last}; what it did after its last snapshot, of iteration "
                f"{self.iter}, is done again"
            )
        if cut.strange:
            what = "a line that was none" if cut.strange == 1 else f"{cut.strange} lines that were none"
            found.notes.append(f"{new.path(METRICS)} goes on without {what} of metrics")
        return found.notes


def get_solver(spec: NetSpec | Path | str | Mapping[str, Any], **options: Any) -> Solver:
    """A solver for a spec; see ``Solver`` for the options."""
    return Solver(spec, **options)
