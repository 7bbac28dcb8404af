"""The training loop: test, forward, backward, update, report, snapshot."""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..net import parameter_files
from ..net.errors import NettrainError, Place, Problems, SpecError
from ..net.net import Net
from ..net.netspec import NetSpec, load
from ..net.parallel import session
from . import divergence
from .evaluate import Scores, evaluate, has_end, monitored
from .parameters import SolverParameters, read_parameters
from .policies import rate_policy
from .runs import Run
from .snapshot import read_snapshot, write_snapshot
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


class Solver:
    """Trains a net as the ``solver:`` part of its spec says.

    Args:
        spec: a path, YAML text, a mapping or a loaded NetSpec.
        settings: overrides such as ``solver.base_lr=0.1``.
        weights: further ``.npz`` files to start from.
        out: folder for the run's files instead of runs/NAME/NUMBER.
        on_row, on_step: called with each Row, and after each iteration with the solver.
        allow_python: whether layers of type Python may run the code they name.
        problems: those found before, when the spec was loaded; they are raised with the others.

    ``net`` is the training net, ``test_nets`` the test net (if there is something to test), ``iter`` the number of
    updates made. Raises SpecError with every problem of the spec, of both nets and of the solver.
    """

    def __init__(
        self,
        spec: NetSpec | Path | str | Mapping[str, Any],
        *,
        settings: Iterable[str] = (),
        weights: Iterable[str | Path] = (),
        out: str | Path | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        on_row: Callable[[Row], None] | None = None,
        on_step: Callable[[Solver], None] | None = None,
        problems: Problems | None = None,
        allow_python: bool = False,
    ):
        problems = problems or Problems()
        self.spec = load(spec, settings, problems, allow_python)
        parameters = read_parameters(self.spec, problems)
        self.p: SolverParameters = parameters or SolverParameters(base_lr=0.0, max_iter=0)
        self.seed = self.p.random_seed if self.p.random_seed >= 0 else secrets.randbits(31)
        state = {"level": level, "stages": tuple(stages)}
        net = self._build("TRAIN", problems, **state)
        test_net = self._build("TEST", problems, **state, share_with=net)
        if net and net.steps:
            self._check_trainable(net, test_net, problems)
        problems.raise_if_any()
        assert net is not None  # else a problem was raised
        assert test_net is not None
        self.net = net
        self.test_nets = [test_net] if self._can_test(test_net) else []
        self.max_iter = self._count_iterations(problems)
        problems.raise_if_any()
        self.policy = rate_policy(self.p, self.max_iter)
        self.updater = Updater(self.p, net)
        self.run = Run(self.spec.name, self.p.snapshot_prefix, out)
        self.on_row = on_row or (lambda row: None)
        self.on_step = on_step or (lambda solver: None)
        self.iter = 0
        self.best: tuple[float, int] | None = None  # monitored score and its iteration
        self.losses: deque[float] = deque(maxlen=self.p.average_loss)
        self.last_snapshot: Path | None = None
        self.load_reports = [self._load(path, problems) for path in self.p.weights]
        problems.raise_if_any()
        self.load_reports += [net.copy_from(path) for path in weights]
        self._clock = (time.perf_counter(), 0)
        self._reported = -1  # iteration of the last row

    # Building

    def _build(self, phase: str, problems: Problems, **options: Any) -> Net | None:
        try:
            return Net(self.spec, phase, seed=self.seed, **options)  # type: ignore[arg-type]
        except SpecError as error:
            problems.found.extend(error.problems)
            return None

    def _load(self, path: str, problems: Problems) -> parameter_files.LoadReport:
        """Take parameters from a file the spec names."""
        try:
            return self.net.copy_from(path)
        except NettrainError as error:
            problems.add(self._place("weights"), f"solver.weights: {error}")
            return parameter_files.LoadReport()

    def _place(self, key: str) -> Place:
        """Where a key of the solver is written."""
        return self.spec.solver.at(key) if self.spec.solver else self.spec.root.place

    def _check_trainable(self, net: Net, test_net: Net | None, problems: Problems) -> None:
        place = self.spec.root.at("layers")
        if not any(any(step.loss_weights) for step in net.steps):
            problems.add(place, "the TRAIN net has no loss; add a layer such as SoftmaxWithLoss")
        elif not any(step.needs_backward and any(step.layer.param_propagate_down) for step in net.steps):
            problems.add(
                place,
                "the TRAIN net has nothing to learn: no layer has parameters with lr_mult > 0 on the way to a loss",
            )
        if test_net and self.p.test_interval and not self._can_test(test_net):
            problems.add(
                self._place("test_interval"),
                "no layer of the TEST net reads a data set that ends; give solver.test_iter too",
            )

    def _can_test(self, net: Net) -> bool:
        return bool(net.outputs) and (has_end(net) or self.p.test_iter is not None)

    def _count_iterations(self, problems: Problems) -> int:
        if self.p.max_iter is not None:
            return self.p.max_iter
        per_iteration = self.epochs(1)
        if per_iteration is None:
            problems.add(
                self._place("max_epoch"),
                "solver.max_epoch needs a Data layer whose data set ends; give max_iter instead",
            )
            return 0
        return math.ceil((self.p.max_epoch or 0) / per_iteration - 1e-9)

    def epochs(self, iterations: int) -> float | None:
        """Passes over the training data after so many iterations; None when the data has no end."""
        for layer in self.net.layers.values():
            if layer.pass_size:
                return iterations * self.p.iter_size * layer.batch_size / layer.pass_size
        return None

    # Training

    def solve(self) -> None:
        """Train up to max_iter, test at the end, write the last snapshot."""
        self.run.open()
        self.step(self.max_iter - self.iter)
        if self._reported != self.iter:
            self._report(*(self._test_for_best() if self.test_nets else ({}, False)))
        if self.p.snapshot_after_train and self._snapshot_path() != self.last_snapshot:
            self.snapshot()

    def step(self, iterations: int) -> None:
        """Make so many iterations, with the tests, lines of progress and snapshots that fall due."""
        self._clock = (time.perf_counter(), self.iter)
        with session(), np.errstate(all="ignore"):  # the loss is checked in every iteration instead
            for _ in range(iterations):
                self._iterate()

    def _iterate(self) -> None:
        p = self.p
        due = p.test_interval and self.iter % p.test_interval == 0 and (self.iter > 0 or p.test_initialization)
        scores, best = self._test_for_best() if due and self.test_nets else ({}, False)
        self.losses.append(self.gradient())
        rate = self.rate()
        if scores or (p.display and self.iter % p.display == 0):
            self._report(scores, best)
        self.updater.apply(rate, self.iter + 1)
        self.iter += 1
        self.on_step(self)
        if p.snapshot and self.iter % p.snapshot == 0:
            self.snapshot()

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
        loss = sum(self.net.forward_backward() for _ in range(self.p.iter_size)) / self.p.iter_size
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {'NaN' if loss != loss else 'infinite'}")
        return loss

    def _diverged(self, what: str) -> NettrainError:
        kept = str(self.last_snapshot or "no snapshot was made before; set solver.snapshot")
        lines = divergence.explain(self.net, self.p.base_lr, str(self._place("base_lr")), kept)
        return NettrainError(divergence.report(self.iter, what, lines), exit_code=3)

    @property
    def smoothed_loss(self) -> float | None:
        """Mean of the last average_loss training losses."""
        return sum(self.losses) / len(self.losses) if self.losses else None

    # Testing

    def test(self) -> Scores:
        """Run the test net: the whole test set once, weighted by examples, or test_iter batches."""
        return evaluate(self.test_nets[0], self.p.test_iter)

    def _test_for_best(self) -> tuple[Scores, bool]:
        """Test, and keep the weights when they are the best so far.

        That comes before the iteration's own batch is drawn, so that the file is a snapshot to go on from.
        """
        scores = self.test()
        best = self._is_best(scores)
        if best:
            self.run.open()
            self._write(self.run.path("best.npz"))
        return scores, best

    def _is_best(self, scores: Scores) -> bool:
        """Whether these scores beat all before; remembers them if so."""
        name, higher = monitored(self.test_nets[0])
        score = float(np.mean(scores[name]))
        if not math.isfinite(score):
            return False
        if self.best is not None:
            margin = 1e-6 * abs(self.best[0])  # the same score, averaged from float32 batches, is not a better one
            if score <= self.best[0] + margin if higher else score >= self.best[0] - margin:
                return False
        self.best = (score, self.iter)
        return True

    # Reporting and files

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
        self.run.open()
        data = {"iter": row.iter, "epoch": row.epoch, "train_loss": row.loss, "lr": row.lr, "it_per_s": row.rate}
        self.run.write_metrics(data | ({"test": scores} if scores else {}))
        self.on_row(row)

    def _snapshot_path(self) -> Path:
        return self.run.path(f"iter_{self.iter}.npz")

    def snapshot(self) -> Path:
        """Write a snapshot of everything; returns its path."""
        self.run.open()
        path = self._snapshot_path()
        self._write(path)
        self.last_snapshot = path
        return path

    def _write(self, path: Path) -> None:
        if not np.isfinite(self.net.flat.data).all():
            raise self._diverged("a parameter is not a finite number")
        state = {
            "iter": self.iter,
            "seed": self.seed,
            "best": self.best,
            "losses": list(self.losses),
            "layers": self.net.layer_states(),
            "test_layers": [net.layer_states() for net in self.test_nets],
            "spec": self.spec.to_python(),
        }
        try:
            write_snapshot(path, parameter_files.arrays(self.net.params), self.updater.history, state)
        except OSError as error:
            kept = f"; {self.last_snapshot} is intact" if self.last_snapshot else ""
            raise NettrainError(f"cannot write {path}: {error.strerror or error}{kept}", exit_code=1) from None

    def restore(self, path: str | Path) -> None:
        """Go back to a snapshot: parameters, history, iteration, data cursors and random generators."""
        params, history, state = read_snapshot(Path(path))
        missing = parameter_files.fit(self.net.params, params, str(path)).missing
        if missing:
            raise NettrainError(f"{path} has no parameters for {', '.join(missing)}")
        if [array.shape for array in history] != [array.shape for array in self.updater.history]:
            raise NettrainError(f"{path} was made by another solver type or net: its history has another size")
        parameter_files.assign(self.net.params, params, str(path))
        for mine, theirs in zip(self.updater.history, history, strict=True):
            mine[...] = theirs
        self.seed = state["seed"]
        for net, states in zip([self.net, *self.test_nets], [state["layers"], *state["test_layers"]], strict=False):
            net.set_layer_states(states, self.seed)
        self.iter, self.losses = state["iter"], deque(state["losses"], maxlen=self.p.average_loss)
        self.best = tuple(state["best"]) if state["best"] else None
        self.last_snapshot, self._reported = Path(path), -1


def get_solver(spec: NetSpec | Path | str | Mapping[str, Any], **options: Any) -> Solver:
    """A solver for a spec; see ``Solver`` for the options."""
    return Solver(spec, **options)
