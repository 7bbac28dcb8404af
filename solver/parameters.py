"""The ``solver:`` part of a spec, with Caffe's names and defaults.

It is one file because half of it is a table: the words of other programs for the same things.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..net.records import NetSpec, Phase
from ..spec.advice import advice_on, say
from ..spec.declare import Choice, Declared, param
from ..spec.errors import Problems
from ..spec.reader import MISSING, MOST_KEYS, Reader
from .policies import POLICIES
from .rules import RULES

_GONE = "nettrain always runs on the CPU; leave it out"
_STEPS = say(
    "iterations at which the rate drops are {} (lr_policy multistep), from one drop to the next {} (step); how long to "
    "train is {}",
    "stepvalue",
    "stepsize",
    "max_iter",
)
_NORM = say("{} is the largest L2 norm of all gradients together; single values are not clipped", "clip_gradients")
_ONE_FILE = say("the net is in the same file, under {}; leave it out", "layers:")


# The keys that only some choices use. Those a policy needs must be given; others that are given and not used get a
# warning: Caffe ignores them silently.
class NetState(Declared):
    """Caffe's NetState, without the phase: what the layers' include and exclude rules look at. A string is a stage."""

    level: int = param(default=0, doc="the level")
    stage: tuple[str, ...] = param(default=(), doc="the stages that are set")

    stands_for = "stage"

    def beside(self, given: NetState) -> NetState:
        """This state, with what the command line gave in addition."""
        return NetState(level=self.level or given.level, stage=(*self.stage, *given.stage))


class Monitored(Declared):
    """The score that says how good the net is. A string is its name."""

    metric: str = param(doc="a score of the tests, such as accuracy; with several test nets NET/accuracy")
    direction: Literal["higher", "lower"] | None = param(
        default=None, doc="which is better; by default lower for losses, higher for scores such as Accuracy's"
    )

    stands_for = "metric"


class SolverParameters(Declared):
    """How a net is trained. The update rule and the policy of the rate have parameters of their own, beside these."""

    base_lr: float = param(minimum=0, doc="the learning rate to start from")
    type: Choice = param(default="SGD", kinds=RULES, doc="the update rule")
    lr_policy: Choice = param(default="fixed", kinds=POLICIES, doc="how the rate changes with the iteration")
    warmup_iter: int = param(
        default=0, minimum=0, doc="iterations in which the rate rises to the policy's, with any policy"
    )
    warmup_lr: float = param(default=0.0, minimum=0, doc="the rate that warm-up starts from")
    max_iter: int | None = param(default=None, minimum=0, doc="iterations of training; or give max_epoch")
    max_epoch: float | None = param(default=None, minimum=0, doc="passes over the training data, instead of max_iter")
    weight_decay: float = param(default=0.0, minimum=0, doc="strength of the regulariser")
    regularization_type: Literal["L2", "L1"] = param(
        default="L2", doc="L2 adds decay·W to the gradient, L1 decay·sign(W)"
    )
    clip_gradients: float = param(default=-1.0, doc="largest L2 norm of all gradients together; negative: no limit")
    iter_size: int = param(default=1, minimum=1, doc="batches whose gradients are averaged in one iteration")
    display: int = param(default=0, minimum=0, doc="iterations between lines of progress; 0: at tests only")
    average_loss: int = param(default=1, minimum=1, doc="the training loss shown is the mean of this many, the latest")
    test_interval: int = param(default=0, minimum=0, doc="iterations between tests; 0: one test, at the end")
    test_iter: tuple[int, ...] = param(
        default=(),
        minimum=1,
        doc="batches of a test, for all test nets or for each; by default the whole test set, once",
    )
    test_compute_loss: bool = param(
        default=False, doc="also show total_loss, the weighted sum of the test net's losses"
    )
    train_state: NetState = param(default=NetState(), doc="level and stage of the training net")
    test_state: tuple[NetState, ...] = param(
        default=(), doc="level and stage of each test net; by default one test net with neither"
    )
    monitor: Monitored | None = param(
        default=None, doc="the score whose best snapshot is kept; by default the first accuracy, else the first loss"
    )
    min_delta: float = param(default=0.0, minimum=0, doc="by how much a score must be better than the best to count")
    patience: int = param(
        default=0, minimum=0, doc="tests in a row without a better score before training ends early; 0: never"
    )
    test_initialization: bool = param(default=True, doc="also test before the first iteration")
    snapshot: int = param(default=0, minimum=0, doc="iterations between snapshots; 0: at the end only")
    snapshot_prefix: str | None = param(
        default=None, doc="start of the names of all files written; by default runs/NAME/NUMBER/"
    )
    snapshot_keep: int = param(default=0, minimum=0, doc="snapshots kept, the newest and the best one; 0: all")
    snapshot_after_train: bool = param(default=True, doc="write a snapshot at the end")
    weights: tuple[str, ...] = param(
        default=(), doc="files to take parameters from, by layer name: .npz, .caffemodel, .h5 or .safetensors"
    )
    weights_strict: Literal["none", "shapes", "all"] = param(
        default="shapes",
        doc="what is an error in weights: nothing (none), other shapes (shapes), also layers that only the net or only "
        "the file has (all)",
    )
    freeze: tuple[str, ...] = param(
        default=(),
        doc="layers that are not learned, by name or glob such as conv*: like lr_mult 0 for their parameters; the "
        "running statistics of a BatchNorm still change, unless it has use_global_stats: true",
    )
    engine: Literal["auto", "numpy", "onednn"] = param(
        default="auto", doc="what computes the layers; auto: oneDNN where it is installed, else numpy"
    )
    random_seed: int = param(default=1701, doc="seeds weights, data order and dropout; negative: a new seed each run")
    debug_info: bool = param(default=False, doc="print statistics of every blob at each line of progress")

    exclusive = (("max_iter", "max_epoch"),)
    # keys of another type or policy in Caffe's files have no effect there either
    without_effect = frozenset(
        ("gamma", "power", "stepsize", "stepvalue", "momentum", "momentum2", "rms_decay", "delta", "plateau_patience")
    )
    aliases = {
        "lr": "base_lr",
        "learning_rate": "base_lr",
        "initial_lr": "base_lr",
        "lr0": "base_lr",
        "eta0": "base_lr",
        "rate": "base_lr",
        "alpha": "base_lr",
        "epoch": "max_epoch",
        "epochs": "max_epoch",
        "max_epochs": "max_epoch",
        "num_epochs": "max_epoch",
        "n_epochs": "max_epoch",
        "num_train_epochs": "max_epoch",
        "iter": "max_iter",
        "iterations": "max_iter",
        "max_iters": "max_iter",
        "num_iter": "max_iter",
        "n_iter": "max_iter",
        "max_iterations": "max_iter",
        "max_batches": "max_iter",
        "max_steps": "max_iter",
        "total_steps": "max_iter",
        "num_steps": "max_iter",
        "train_iter": "max_iter",
        "step": _STEPS,
        "steps": _STEPS,
        "steps_per_epoch": "an epoch is one pass over the data, of any batch size; leave it out",
        "milestones": "stepvalue",
        "lr_steps": "stepvalue",
        "step_values": "stepvalue",
        "boundaries": "stepvalue",
        "step_size": "stepsize",
        "lr_step_size": "stepsize",
        "decay_steps": "stepsize",
        "scales": "gamma",
        "lr_decay": "gamma",
        "lr_gamma": "gamma",
        "decay_rate": "gamma",
        "decay_factor": "gamma",
        "factor": "gamma",
        "wd": "weight_decay",
        "decay": "weight_decay",
        "l2": "weight_decay",
        "regularization": "weight_decay",
        "l1": say("L1 is {} with {}", "weight_decay", "regularization_type: L1"),
        "optimizer": "type",
        "optim": "type",
        "algorithm": "type",
        "solver_type": "type",
        "nesterov": say("write {}, with {}", "type: Nesterov", "momentum"),
        "betas": say("beta1 is {}, beta2 is {}", "momentum", "momentum2"),
        "beta_1": "momentum",
        "beta_2": "momentum2",
        "beta": "momentum",
        "dampening": say("SGD's update has none: it is lr·g + {} times the last update; leave it out", "momentum"),
        "centered": "RMSProp has none; leave it out",
        "initial_accumulator_value": "AdaGrad starts from 0; leave it out",
        "rho": say("RMSProp's is {}, AdaDelta's is {}", "rms_decay", "momentum"),
        "eps": "delta",
        "epsilon": "delta",
        "seed": "random_seed",
        "manual_seed": "random_seed",
        "random_state": "random_seed",
        "clip": "clip_gradients",
        "clip_norm": "clip_gradients",
        "clipnorm": "clip_gradients",
        "global_clipnorm": "clip_gradients",
        "grad_clip": "clip_gradients",
        "max_grad_norm": "clip_gradients",
        "max_norm": "clip_gradients",
        "gradient_clip_val": "clip_gradients",
        "gradient_clipping": "clip_gradients",
        "clip_value": _NORM,
        "clipvalue": _NORM,
        "accumulate_grad_batches": "iter_size",
        "gradient_accumulation_steps": "iter_size",
        "subdivisions": "iter_size",
        "schedule": "lr_policy",
        "scheduler": "lr_policy",
        "lr_scheduler": "lr_policy",
        "lr_schedule": "lr_policy",
        "policy": "lr_policy",
        "early_stopping": "patience",
        "early_stopping_patience": "patience",
        "keep": "snapshot_keep",
        "max_to_keep": "snapshot_keep",
        "save_top_k": "snapshot_keep",
        "save_every": "snapshot",
        "save_interval": "snapshot",
        "save_steps": "snapshot",
        "checkpoint": "snapshot",
        "checkpoint_interval": "snapshot",
        "checkpoint_every": "snapshot",
        "snapshot_interval": "snapshot",
        "snapshot_iter": "snapshot",
        "save_dir": "snapshot_prefix",
        "output_dir": "snapshot_prefix",
        "out": "snapshot_prefix",
        "eval_interval": "test_interval",
        "eval_every": "test_interval",
        "eval_steps": "test_interval",
        "val_interval": "test_interval",
        "val_check_interval": "test_interval",
        "validation_interval": "test_interval",
        "test_every": "test_interval",
        "test_epoch": say("{} counts iterations", "test_interval"),
        "snapshot_epoch": say("{} counts iterations", "snapshot"),
        "val_iter": "test_iter",
        "test_batches": "test_iter",
        "log_interval": "display",
        "log_every": "display",
        "log_every_n_steps": "display",
        "print_freq": "display",
        "verbose": "display",
        "strict": "weights_strict",
        "pretrained": "weights",
        "init_from": "weights",
        "finetune": "weights",
        "resume": say("go on with a run by {}", "nettrain train --resume RUN"),
        "frozen": "freeze",
        "freeze_layers": "freeze",
        "warmup": "warmup_iter",
        "warmup_iters": "warmup_iter",
        "warmup_steps": "warmup_iter",
        "burn_in": "warmup_iter",
        "warmup_epochs": say("{} counts iterations", "warmup_iter"),
        "start_lr": "warmup_lr",
        "warmup_start_lr": "warmup_lr",
        "eta_min": "min_lr",
        "end_lr": "min_lr",
        "final_lr": "min_lr",
        "beta1": "momentum",
        "beta2": "momentum2",
        "metric": "monitor",
        "metric_for_best_model": "monitor",
        "mode": "the direction belongs in monitor: {metric: …, direction: higher}",
        "loss": "the loss is a layer of the net, such as SoftmaxWithLoss",
        "criterion": "the loss is a layer of the net, such as SoftmaxWithLoss",
        "metrics": "scores are layers of the net, such as Accuracy",
        "batch_size": "it belongs to the Data layer",
        "batch": "the size of a batch belongs to the Data layer",
        "shuffle": "it belongs to the Data layer",
        "workers": "batches are made when they are needed; leave it out",
        "num_workers": "batches are made when they are needed; leave it out",
        "threads": say("write {}", "nettrain train --threads N"),
        "device": _GONE,
        "gpu": _GONE,
        "gpus": _GONE,
        "accelerator": _GONE,
        "precision": "everything is float32; leave it out",
        "amp": "everything is float32; leave it out",
        "fp16": "everything is float32; leave it out",
        "ema": "nettrain keeps no average of the weights",
        "ema_decay": "nettrain keeps no average of the weights",
        "swa": "nettrain keeps no average of the weights",
        "current_step": "the number of the step follows from the iteration; leave it out",
        "snapshot_diff": "snapshots hold no gradients; leave it out",
        "snapshot_format": "snapshots are .npz; leave it out",
        "layer_wise_reduce": _GONE,
        "solver_mode": _GONE,
        "device_id": _GONE,
        "net": _ONE_FILE,
        "net_param": _ONE_FILE,
        "train_net": _ONE_FILE,
        "train_net_param": _ONE_FILE,
        "test_net": _ONE_FILE,
        "test_net_param": _ONE_FILE,
    }

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.snapshot_prefix is not None and not self.snapshot_prefix.strip():
            yield "snapshot_prefix", "is empty; leave it out for runs/NAME/NUMBER/"
        if self.patience and not self.test_interval:
            yield "test_interval", "is missing: patience counts tests during training"
        if len(self.test_iter) > 1 and len(self.test_iter) != max(1, len(self.test_state)):
            nets = max(1, len(self.test_state))
            yield "test_iter", f"must be one number, or one for each of {nets} test nets, got {len(self.test_iter)}"
        if self.warmup_lr and not self.warmup_iter:
            yield "warmup_lr", "needs warmup_iter, the iterations in which the rate rises from it"
        if self.clip_gradients == 0:
            yield "clip_gradients", "0 would set every gradient to zero; leave it out for no limit"
        yield from self.type.cls.check(self)
        yield from self.lr_policy.cls.check(self)


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
    reader = Reader(problems)
    result = SolverParameters.from_node(reader, node, "solver")
    spec.warnings += [warning for warning in reader.warnings if warning not in spec.warnings]
    names, aliases = SolverParameters.names(), SolverParameters.aliases
    meant = set(node.keys)
    for key in [key for key in node.keys if key not in names][:MOST_KEYS]:
        advice = advice_on(key, names, aliases)
        meant.update(advice.names if advice else ())
    if not meant & {"max_iter", "max_epoch"}:
        problems.add(node.place, "solver.max_iter is missing: give it, or max_epoch, to say how long to train")
    return None if result is MISSING else result
