"""The ``solver:`` part of a spec, with Caffe's names and defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..net.declare import MISSING, Declared, Reader, param
from ..net.errors import Problems, nearest
from ..net.netspec import NetSpec, Phase

_GONE = "nettrain always runs on the CPU; leave it out"
_ONE_FILE = "the net stands in the same file, under `layers:`; leave it out"


class NetState(Declared):
    """Caffe's NetState, without the phase: what include and exclude rules of the layers look at. A text is a stage."""

    level: int = param(default=0, doc="the level")
    stage: tuple[str, ...] = param(default=(), doc="the stages that are set")

    stands_for = "stage"


class Monitored(Declared):
    """The score that says how good the net is. A text is its name."""

    metric: str = param(doc="a score of the tests, such as accuracy; with several test nets NET/accuracy")
    direction: Literal["higher", "lower"] | None = param(
        default=None, doc="which is better; left out: lower for losses, higher for scores such as Accuracy's"
    )

    stands_for = "metric"


class SolverParameters(Declared):
    """How a net is trained."""

    base_lr: float = param(minimum=0, doc="the learning rate to start from")
    type: Literal["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW"] = param(
        default="SGD", doc="the update rule"
    )
    lr_policy: Literal["fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid", "cosine", "plateau"] = param(
        default="fixed", doc="how the rate changes with the iteration"
    )
    gamma: float | None = param(
        default=None, minimum=0, doc="step, exp, inv, multistep, sigmoid, plateau: the policy's factor"
    )
    power: float | None = param(default=None, doc="inv, poly: the policy's exponent")
    stepsize: int | None = param(default=None, minimum=1, doc="step, sigmoid: iterations between steps; the middle")
    min_lr: float = param(default=0.0, minimum=0, doc="cosine: the rate at the end; plateau: the lowest rate")
    plateau_patience: int = param(
        default=10, minimum=1, doc="plateau: tests in a row without a better score before the rate drops"
    )
    warmup_iter: int = param(
        default=0, minimum=0, doc="iterations in which the rate rises to the policy's, of any policy"
    )
    warmup_lr: float = param(default=0.0, minimum=0, doc="the rate that warm-up starts from")
    stepvalue: tuple[int, ...] = param(default=(), minimum=0, doc="multistep: iterations at which the rate drops")
    max_iter: int | None = param(default=None, minimum=0, doc="iterations of training; or give max_epoch")
    max_epoch: float | None = param(default=None, minimum=0, doc="passes over the training data, instead of max_iter")
    momentum: float | None = param(
        default=None,
        minimum=0,
        below=1,
        doc="share of the last update that is kept, 0 when left out; AdaDelta: of the means; Adam, AdamW: beta1, 0.9",
    )
    momentum2: float = param(default=0.999, minimum=0, below=1, doc="Adam, AdamW: beta2, for the mean of squares")
    rms_decay: float = param(default=0.99, minimum=0, below=1, doc="RMSProp: share of the mean of squares that is kept")
    delta: float = param(default=1e-8, minimum=0, doc="added to what is divided by, all rules but SGD and Nesterov")
    amsgrad: bool = param(default=False, doc="Adam, AdamW: divide by the largest mean of squares so far")
    weight_decay: float = param(default=0.0, minimum=0, doc="strength of the regulariser")
    regularization_type: Literal["L2", "L1"] = param(
        default="L2", doc="L2 adds decay·W to the gradient, L1 decay·sign(W)"
    )
    clip_gradients: float = param(default=-1.0, doc="largest L2 norm of all gradients together; negative: no limit")
    iter_size: int = param(default=1, minimum=1, doc="batches whose gradients are averaged in one iteration")
    display: int = param(default=0, minimum=0, doc="iterations between lines of progress; 0: at tests only")
    average_loss: int = param(default=1, minimum=1, doc="the training loss shown is the mean of the last so many")
    test_interval: int = param(default=0, minimum=0, doc="iterations between tests; 0: one test, at the end")
    test_iter: tuple[int, ...] = param(
        default=(),
        minimum=1,
        doc="batches of a test, for all test nets or for each; left out: the whole test set, once",
    )
    test_compute_loss: bool = param(
        default=False, doc="also show total_loss, the weighted sum of the test net's losses"
    )
    train_state: NetState = param(default=NetState(), doc="level and stage of the training net")
    test_state: tuple[NetState, ...] = param(
        default=(), doc="level and stage of each test net; left out: one test net with neither"
    )
    monitor: Monitored | None = param(
        default=None, doc="the score whose best snapshot is kept; left out: the first accuracy, else the first loss"
    )
    min_delta: float = param(default=0.0, minimum=0, doc="by how much a score must be better than the best to count")
    patience: int = param(
        default=0, minimum=0, doc="tests in a row without a better score before training ends early; 0: never"
    )
    test_initialization: bool = param(default=True, doc="also test before the first iteration")
    snapshot: int = param(default=0, minimum=0, doc="iterations between snapshots; 0: at the end only")
    snapshot_prefix: str | None = param(
        default=None, doc="start of the names of all files written; left out: runs/NAME/NUMBER/"
    )
    snapshot_keep: int = param(default=0, minimum=0, doc="snapshots kept, the newest and the best one; 0: all")
    snapshot_after_train: bool = param(default=True, doc="write a snapshot at the end")
    weights: tuple[str, ...] = param(
        default=(), doc=".npz files to take parameters from, by layer name, before training"
    )
    weights_strict: Literal["none", "shapes", "all"] = param(
        default="shapes",
        doc="what of weights is an error: nothing (none), other shapes (shapes), also layers that only the net or only "
        "the file has (all)",
    )
    freeze: tuple[str, ...] = param(
        default=(), doc="layers that are not learned, by name or glob such as conv*: as lr_mult 0 for their parameters"
    )
    random_seed: int = param(default=1701, doc="seeds weights, data order and dropout; negative: a new seed each run")
    debug_info: bool = param(default=False, doc="print statistics of every blob at each line of progress")

    aliases = {
        "lr": "base_lr",
        "learning_rate": "base_lr",
        "rate": "base_lr",
        "epochs": "max_epoch",
        "max_epochs": "max_epoch",
        "iterations": "max_iter",
        "max_iters": "max_iter",
        "steps": "max_iter",
        "wd": "weight_decay",
        "decay": "weight_decay",
        "optimizer": "type",
        "solver_type": "type",
        "seed": "random_seed",
        "clip": "clip_gradients",
        "clip_norm": "clip_gradients",
        "schedule": "lr_policy",
        "early_stopping": "patience",
        "keep": "snapshot_keep",
        "max_to_keep": "snapshot_keep",
        "save_top_k": "snapshot_keep",
        "factor": "gamma",
        "strict": "weights_strict",
        "frozen": "freeze",
        "warmup": "warmup_iter",
        "warmup_iters": "warmup_iter",
        "warmup_steps": "warmup_iter",
        "eta_min": "min_lr",
        "beta1": "momentum",
        "beta2": "momentum2",
        "rho": "RMSProp's is rms_decay, AdaDelta's is momentum",
        "eps": "delta",
        "epsilon": "delta",
        "batch_size": "it belongs to the Data layer",
        "solver_mode": _GONE,
        "device_id": _GONE,
        "net": _ONE_FILE,
        "train_net": _ONE_FILE,
        "test_net": _ONE_FILE,
    }

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.snapshot_prefix is not None and not self.snapshot_prefix.strip():
            yield "snapshot_prefix", "is empty; leave it out for runs/NAME/NUMBER/"
        if self.max_iter is not None and self.max_epoch is not None:
            yield "max_epoch", "cannot stand beside `max_iter`; write one of them"
        needs = {
            "step": ("gamma", "stepsize"),
            "exp": ("gamma",),
            "inv": ("gamma", "power"),
            "multistep": ("gamma", "stepvalue"),
            "poly": ("power",),
            "sigmoid": ("gamma", "stepsize"),
            "plateau": ("gamma",),
        }
        for key in needs.get(self.lr_policy, ()):
            if getattr(self, key) in (None, ()):
                yield key, f"is missing: lr_policy {self.lr_policy} needs it"
        if self.lr_policy == "poly" and self.power is not None and self.power < 0:
            yield "power", f"must be >= 0 for lr_policy poly, got {self.power:g}: the rate would be infinite at the end"
        if self.lr_policy not in ("cosine", "plateau") and self.min_lr:
            yield "min_lr", f"belongs to lr_policy cosine and plateau, not {self.lr_policy}"
        if self.lr_policy == "plateau" and not self.test_interval:
            yield "test_interval", "is missing: lr_policy plateau looks at the tests during training"
        if self.patience and not self.test_interval:
            yield "test_interval", "is missing: patience counts tests during training"
        if len(self.test_iter) > 1 and len(self.test_iter) != max(1, len(self.test_state)):
            nets = max(1, len(self.test_state))
            yield "test_iter", f"must be one number, or one for each of {nets} test nets, got {len(self.test_iter)}"
        if self.min_lr > self.base_lr:
            yield "min_lr", f"must be <= base_lr, got {self.min_lr:g} and {self.base_lr:g}"
        if self.warmup_lr and not self.warmup_iter:
            yield "warmup_lr", "needs warmup_iter, the iterations in which the rate rises from it"
        if any(a > b for a, b in zip(self.stepvalue, self.stepvalue[1:], strict=False)):
            yield "stepvalue", f"must rise, got {list(self.stepvalue)}"
        if self.type in ("AdaGrad", "RMSProp") and self.momentum:
            yield "momentum", f"has no place in {self.type}; leave it out"
        if self.amsgrad and self.type not in ("Adam", "AdamW"):
            yield "amsgrad", f"is an option of Adam and AdamW, not of {self.type}"
        if self.type == "AdamW" and self.regularization_type == "L1":
            yield "regularization_type", "L1 goes through the gradient; AdamW shrinks the weights themselves (L2)"
        if self.clip_gradients == 0:
            yield "clip_gradients", "0 would set every gradient to zero; leave it out for no limit"


def parameters_of(spec: NetSpec, phase: Phase) -> SolverParameters | None:
    """How a net in this phase is trained; None for one that is not. Raises SpecError."""
    problems = Problems()
    p = read_parameters(spec, problems) if phase == "TRAIN" and "solver" in spec.root.value else None
    problems.raise_if_any()
    return p


def read_parameters(spec: NetSpec, problems: Problems) -> SolverParameters | None:
    """The checked solver part of a spec; None after adding what is wrong to ``problems``."""
    node = spec.solver
    if node is None:
        if "solver" not in spec.root.value:
            problems.add(spec.root.place, "to train, a spec needs `solver:` with at least base_lr and max_iter")
        return None
    result = SolverParameters.from_node(Reader(problems), node, "solver")
    names = SolverParameters.names()
    meant = {SolverParameters.aliases.get(key.casefold()) or nearest(key, names) for key in node.keys}
    if not meant & {"max_iter", "max_epoch"}:
        problems.add(node.place, "solver.max_iter is missing: give it, or max_epoch, to say how long to train")
    return None if result is MISSING else result
