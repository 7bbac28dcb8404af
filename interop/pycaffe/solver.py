"""pycaffe's solvers: Caffe's loop over nettrain's rules, with callbacks, and snapshots under Caffe's names."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...files.reading import read_bytes
from ...layers.python import python_first
from ...solver.policies import rate_policy
from ...solver.solver import Solver as CoreSolver
from ...spec.errors import NettrainError, why
from ..caffe.message import Message
from ..caffe.solver_state import restore_state, write_state
from ..caffe.specs import MOST_BYTES, read_solver_file
from ..kinds import is_prototxt
from .blobs import keep_parameters_in_order
from .net import Net, as_in_pycaffe, check_file
from .process import log, next_seed

Callback = Callable[[], Any]


class SolverParameter:
    """What a program may ask of a solver's settings; ``base_lr`` may be set."""

    def __init__(self, solver: CoreSolver, message: Message):
        self._solver, self._message = solver, message

    @property
    def max_iter(self) -> int:
        return self._solver.max_iter

    @property
    def display(self) -> int:
        return self._solver.p.display

    @property
    def layer_wise_reduce(self) -> bool:
        return self._message.one("layer_wise_reduce")

    @property
    def base_lr(self) -> float:
        return self._solver.p.base_lr

    @base_lr.setter
    def base_lr(self, value: float) -> None:
        core = self._solver
        core.p = dataclasses.replace(core.p, base_lr=float(value))
        core.policy = rate_policy(core.p, core.max_iter)


class Solver:
    """A solver of a prototxt, with the rule that its class or the file names.

    ``net`` is the net that is trained, ``test_nets`` those it is tested with; they outlive the solver. Testing
    averages over test_iter batches, and the log goes to stderr. Raises MissingFileError, SpecError with everything
    that is wrong in the files, and what a Python layer raises.
    """

    rule: ClassVar[str] = ""  # of a class: its rule, whatever the file says

    def __init__(self, solver_file: str | Path):
        path = check_file(solver_file)
        message = _read(path)
        settings = ["solver.engine=numpy"]
        rule = self.rule or message.one("type")
        if rule != message.one("type"):
            settings.append(f"solver.type={rule}")
            if rule == "Adam" and not message.has("momentum"):
                settings.append("solver.momentum=0")
        if message.fields and not message.has("max_iter"):
            settings.append("solver.max_iter=0")
        if not message.has("random_seed") or message.one("random_seed") < 0:
            settings.append(f"solver.random_seed={next_seed()}")
        with python_first():
            with_tests = not message.fields or bool(message.many("test_iter"))
            core = as_in_pycaffe(lambda: CoreSolver(path, settings=settings, allow_python=True, with_tests=with_tests))
        for warning in core.warnings:
            log(f"WARNING: {warning}", level=1)
        self._core, self._message = core, message
        self._prefix = _prefix(message, path)
        keep_parameters_in_order(core.net, *(test.net for test in core.tests))
        self.net = Net.of(core.net)
        self.net._is_trained = True
        self._batches = [test.batches for test in core.tests if test.batches is not None]
        self.test_nets = [Net.of(test.net) for test in core.tests if test.batches is not None]
        self.param = SolverParameter(core, message)
        self._callbacks: list[tuple[Callback, Callback]] = []
        self._losses: deque[float] = deque(maxlen=core.p.average_loss)

    @property
    def iter(self) -> int:
        """The number of updates made."""
        return self._core.iter

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self._core.rate()

    def add_callback(self, on_start: Callback, on_gradients_ready: Callback) -> None:
        """Have functions called in each iteration: before its first batch, and before its update."""
        self._callbacks.append((on_start, on_gradients_ready))

    def step(self, n: int) -> None:
        """Make ``n`` iterations, with the tests and snapshots that fall due.

        Raises NettrainError when the loss is not finite any more; Caffe would go on.
        """
        core, p = self._core, self._core.p
        with np.errstate(all="ignore"):  # the loss is checked instead
            for _ in range(n):
                if p.test_interval and self.iter % p.test_interval == 0 and (self.iter or p.test_initialization):
                    self._test()
                for on_start, _ in self._callbacks:
                    on_start()
                self._losses.append(self._gradient())
                if p.display and self.iter % p.display == 0:
                    self._report()
                for _, on_gradients_ready in self._callbacks:
                    on_gradients_ready()
                self.apply_update()
                if p.snapshot and self.iter % p.snapshot == 0:
                    self.snapshot()
        core.losses.extend(self._losses)

    def _gradient(self) -> float:
        """The mean loss of an iteration's batches; their gradients are added up."""
        core, total = self._core, 0.0
        for j in range(core.p.iter_size):
            core.net.batch = core.iter * core.p.iter_size + j
            core.updater.sum.begin()
            total += self.net._forward_backward()
            core.updater.sum.add(j)
        if not math.isfinite(total):
            raise core.diverged(f"the loss is {'NaN' if total != total else 'infinite'}")
        return total / core.p.iter_size

    def apply_update(self) -> None:
        """Change the parameters by the gradients that are there, at the rate of this iteration, and count it."""
        self._core.updater.apply(self._core.rate(), self._core.iter + 1)
        self._core.iter += 1

    def solve(self, resume_file: str | Path | None = None) -> None:
        """Train up to max_iter, from a solver state if one is given; a snapshot and a test at the end."""
        if resume_file is not None:
            self.restore(resume_file)
        p = self._core.p
        log(f"Solving {self._core.spec.name}")
        log(f"Learning Rate Policy: {p.lr_policy.name}")
        self.step(max(0, self._core.max_iter - self.iter))
        if p.snapshot_after_train and (not p.snapshot or self.iter % p.snapshot):
            self.snapshot()
        if p.test_interval and self.iter % p.test_interval == 0:
            self._test()

    def snapshot(self) -> None:
        """Write ``PREFIX_iter_N.caffemodel`` and ``PREFIX_iter_N.solverstate``; the weights as .h5 where the solver's
        snapshot_format is HDF5. Raises NettrainError when they cannot be written."""
        stem = f"{self._prefix}_iter_{self.iter}"
        if self._message.one("snapshot_format") == "HDF5":
            learned_net = f"{stem}.caffemodel.h5"
            self.net.save_hdf5(learned_net)
        else:
            learned_net = f"{stem}.caffemodel"
            self.net.save(learned_net)
        log(f"Snapshotting to {learned_net}")
        write_state(self._core, Path(f"{stem}.solverstate"), learned_net)
        self._core.keeper.last = Path(learned_net)

    def restore(self, state_file: str | Path) -> None:
        """Go on from a solver state and the weights that it names. Raises NettrainError, and changes nothing, when it
        is not one of this net and rule."""
        restore_state(self._core, check_file(state_file))

    def share_weights(self, net: Net) -> None:
        """Let another net use this solver's parameters."""
        net.share_with(self.net)

    def _test(self) -> None:
        """Run each test net for its batches, and log the means of its outputs."""
        for i, (net, count) in enumerate(zip(self.test_nets, self._batches, strict=True)):
            log(f"Iteration {self.iter}, Testing net (#{i})")
            sums: dict[str, np.ndarray] = {}
            for _ in range(count):
                for name, values in net.forward().items():
                    sums[name] = sums.get(name, np.float64(0)) + values.astype(np.float64)
            for k, (name, value) in enumerate(_values({name: total / count for name, total in sums.items()})):
                log(f"    Test net output #{k}: {name} = {value:g}")

    def _report(self) -> None:
        log(f"Iteration {self.iter}, loss = {sum(self._losses) / len(self._losses):g}")
        outputs = {name: self.net.blobs[name].data for name in self.net.outputs}
        for k, (name, value) in enumerate(_values(outputs)):
            weight = self.net.blob_loss_weights[name]
            note = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
            log(f"    Train net output #{k}: {name} = {value:g}{note}")
        log(f"Iteration {self.iter}, lr = {self.lr:g}")


def _values(outputs: dict[str, Any]) -> list[tuple[str, float]]:
    return [(name, float(value)) for name, array in outputs.items() for value in np.ravel(array)]


def _read(path: Path) -> Message:
    """The message of a prototxt; an empty one for a spec of nettrain's."""
    try:
        raw = read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}") from None
    if is_prototxt(raw.decode("utf-8-sig", errors="replace")):
        return read_solver_file(raw, str(path))
    return Message("SolverParameter")


def _prefix(message: Message, path: Path) -> str:
    """What names of snapshots begin with: the file's own name without its suffix, if it says nothing."""
    prefix = message.one("snapshot_prefix")
    if not prefix:
        return str(path.with_suffix(""))
    return str(Path(prefix) / path.stem) if os.path.isdir(prefix) else prefix


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    rule = "SGD"


class NesterovSolver(SGDSolver):
    """SGD that looks ahead."""

    rule = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad."""

    rule = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """RMSProp."""

    rule = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """AdaDelta."""

    rule = "AdaDelta"


class AdamSolver(SGDSolver):
    """Adam; its momentum is 0 unless the file says otherwise, as in Caffe."""

    rule = "Adam"


SOLVERS = {
    cls.rule: cls for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(solver_file: str | Path) -> Solver:
    """The solver of the type that a file names."""
    path = check_file(solver_file)
    return SOLVERS.get(_read(path).one("type"), Solver)(path)
