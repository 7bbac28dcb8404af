"""What a kind of input is: good seeds, ways to damage them, a way to give them to nettrain."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from nettrain.net.net import Net
from nettrain.net.netspec import load


@dataclass
class Case:
    """Files to write, by name, and what to do with them. Everything in ``what`` can be written as JSON.

    ``special`` are entries of the folder that are not regular files: ``fifo``, ``folder`` or ``link TARGET``.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    what: dict[str, Any] = field(default_factory=dict)
    special: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))

    def write(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name, kind in self.special.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "fifo":
                os.mkfifo(path)
            elif kind == "folder":
                path.mkdir()
            else:
                path.symlink_to(kind.removeprefix("link "))


class Kind:
    """A kind of input. Subclasses are registered under their ``name``.

    A case is damaged with random numbers that follow from the seed and the case's number alone, so that it can be
    made again. ``memory`` is what a case may take besides 4 times its files; None where the input may rightly ask for
    memory, as a spec does, and is told when there is not enough. A seed may be refused with a message that has one of
    the strings ``missing``. ``command_share`` is the part of the cases that go through the command line too, which ends
    with one of ``exit_codes``.
    """

    name: ClassVar[str]
    memory: ClassVar[int | None] = 200 << 20
    missing: ClassVar[tuple[str, ...]] = ()
    command_share: ClassVar[float] = 0.03
    exit_codes: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4)
    all: ClassVar[dict[str, Kind]] = {}

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            Kind.all[cls.name] = cls()

    def seeds(self) -> Sequence[Any]:
        """Good inputs to start from; the same each time."""
        raise NotImplementedError

    def good(self, seed: Any) -> Case:
        """A seed as it is."""
        raise NotImplementedError

    def mutate(self, rng: random.Random, seed: Any) -> Case:
        """A damaged seed."""
        raise NotImplementedError

    def passes_first_check(self, case: Case) -> bool:
        """Whether the outermost layer of the format is whole, as told by means other than nettrain's."""
        raise NotImplementedError

    def execute(self, case: Case, folder: Path) -> None:
        """Let nettrain read the case, whose files are in ``folder``, the current one. Raises what nettrain raises."""
        raise NotImplementedError

    def command(self, case: Case) -> list[str] | None:
        """A command line that reads the case too, if there is one."""
        return None

    def names(self, case: Case) -> list[str]:
        """An error message must contain one of these."""
        return [*case.files, *case.special]


def data_spec(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A net of one layer that reads files."""
    return {"name": "fuzz", "layers": [{"name": "d", "top": ["data", "label"], **layer}]}


def train_spec(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A classifier that trains on what the layer reads, and tests."""
    net = data_spec(layer)
    net["layers"] += [
        {"name": "ip", "type": "InnerProduct", "num_output": 4, "bottom": "data"},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
    ]
    return net | {"solver": {"base_lr": 0.1, "max_iter": 2, "test_iter": 1, "test_interval": 1}}


def read_batches(layer: Mapping[str, Any], folder: Path, phases: Sequence[str] = ("TRAIN",), batches: int = 8) -> None:
    """Make a net of one layer that reads data, and read."""
    for phase in phases:
        net = Net(load(data_spec(layer), folder=folder), phase)  # type: ignore[arg-type]
        with np.errstate(all="ignore"):  # as in training, where the loss is checked instead
            for _ in range(batches):
                net.run_forward()


SPECIAL = ("fifo", "folder", "link /dev/zero", "link /dev/urandom", "link nothing", "link .", "link /dev/null")


def make_special(rng: random.Random, case: Case) -> Case:
    """One of the files becomes something other than a file."""
    name = rng.choice(sorted(case.files))
    del case.files[name]
    case.special[name] = rng.choice(SPECIAL)
    return case


def no_number(name: str) -> None:
    """For ``json.loads``: NaN and infinities are not JSON."""
    raise AssertionError(f"JSON has no {name}")
