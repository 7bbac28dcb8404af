"""What pycaffe keeps for the whole process: the mode, the seed, the log."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime

from ...net import registry
from ...net.net import DEFAULT_SEED
from ...spec.errors import NettrainError

TRAIN, TEST = 0, 1
PHASES = ("TRAIN", "TEST")

LEVEL = "GLOG_minloglevel"  # the variable that pycaffe's log obeys

_seeds: Iterator[int] = itertools.count(DEFAULT_SEED)


def set_random_seed(seed: int) -> None:
    """Seed the nets that are made from now on: the first takes this seed, the next the one above it, and so on."""
    global _seeds
    if seed < 0:
        raise NettrainError(f"a seed is 0 or more, got {seed}")
    _seeds = itertools.count(seed)


def next_seed() -> int:
    """The seed of a net that is made now."""
    return next(_seeds)


def set_mode_cpu() -> None:
    """Nothing: it is the only mode."""


def set_mode_gpu() -> None:
    """A warning: the program goes on on the CPU."""
    log("set_mode_gpu: there is no GPU mode; this runs on the CPU", level=1)


def set_device(device: int) -> None:
    """Nothing: there are no devices to choose from."""


def init_log(*_: object) -> None:
    """Nothing: the log goes to stderr from the start. GLOG_minloglevel says how much, as for pycaffe."""


def log(message: str, *, level: int = 0) -> None:
    """Write a line to stderr, unless GLOG_minloglevel is above ``level`` (0 information, 1 warnings).

    It begins as glog's do, with the time and the place in the code, so that what reads Caffe's logs can read it.
    """
    least = os.environ.get(LEVEL, "")
    if level >= (int(least) if least.isdigit() else 0):
        caller = sys._getframe(1)
        place = f"{os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}"
        now = f"{datetime.now():%m%d %H:%M:%S.%f}"
        print(f"{'IW'[level]}{now} {threading.get_native_id():5d} {place}] {message}", file=sys.stderr)


def layer_type_list() -> list[str]:
    """The names of all layer types."""
    return sorted(registry.types())


def has_nccl() -> bool:
    """False: there is one process."""
    return False


def solver_count() -> int:
    """1: there is one process."""
    return 1


def solver_rank() -> int:
    """0: there is one process."""
    return 0


def set_solver_count(count: int) -> None:
    """Raises NettrainError for more than one."""
    if count != 1:
        raise NettrainError(f"nettrain trains in one process; set_solver_count({count}) has no equal here")


def set_solver_rank(rank: int) -> None:
    """Raises NettrainError for any but the first."""
    if rank != 0:
        raise NettrainError(f"nettrain trains in one process; set_solver_rank({rank}) has no equal here")


def set_multiprocess(is_on: bool) -> None:
    """Raises NettrainError when it is to be on."""
    if is_on:
        raise NettrainError("nettrain trains in one process; set_multiprocess(True) has no equal here")


class NCCL:
    """Refused: it connects GPUs."""

    def __init__(self, *_: object):
        raise NettrainError("NCCL connects GPUs, and nettrain runs on the CPU; train with a solver alone")

    @staticmethod
    def new_uid() -> bytes:
        """Raises NettrainError."""
        raise NettrainError("NCCL connects GPUs, and nettrain runs on the CPU; train with a solver alone")


class Timer:
    """Measures time between ``start`` and ``stop``; ``ms`` has it in milliseconds."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._elapsed = 0.0

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        if self._started is not None:
            self._elapsed = time.perf_counter() - self._started
            self._started = None

    @property
    def ms(self) -> float:
        """Milliseconds; while it runs, those up to now."""
        elapsed = self._elapsed if self._started is None else time.perf_counter() - self._started
        return 1000 * elapsed

    @property
    def us(self) -> float:
        """Microseconds."""
        return 1000 * self.ms
