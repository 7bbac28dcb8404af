"""Looking through the data before anything is made of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..net.net import Net
from ..net.step import Step
from ..net.user_code import UserCodeError, ask, calling
from ..spec.errors import NettrainError, Problems

SECONDS = 5.0  # spent on the data of one layer that is not in memory


@dataclass(frozen=True)
class Examined:
    """How far the data of a layer was looked through."""

    phase: str
    layer: str
    examples: int
    total: int


def look_through(nets: Iterable[Net], problems: Problems, seconds: float = SECONDS) -> list[Examined]:
    """Look through the data of every layer, as far as one gets in ``seconds`` each; what is in memory always in full.

    Adds what is wrong to ``problems``: an example that cannot be read, a value that is not finite, and, of what was
    looked at, a label or target that a loss or score does not take.
    """
    found = []
    for net in nets:
        for step in net.steps:
            if seconds or step.layer.is_quick_to_examine:
                done, total = _examine(step, seconds, problems)
                if total:
                    found.append(Examined(net.phase, step.spec.name, done, total))
                    for reader in net.steps:
                        if any(blob is top for blob in reader.bottom for top in step.top):
                            with _collecting(reader, problems):
                                reader.reshape()  # it looks at what is now known about the labels
    return found


def remarks(nets: Iterable[Net]) -> list[str]:
    """What a person should know of the data before training, each once: columns that are left out, parts that are kept
    for tests, classes of unequal size. Of nets after the first, which is trained, what their own data says."""
    found: dict[str, None] = {}
    for i, net in enumerate(nets):
        for layer in net.layers.values():
            if layer.remark and (not i or layer.pass_size):
                said = [one for one in found if one.startswith(f"{layer.origin}: ")]
                new = [part for part in layer.remark.split("; ") if not any(part in one for one in said)]
                found |= {f"{layer.origin}: {'; '.join(new)}": None} if new else {}
    return list(found)


def _examine(step: Step, seconds: float, problems: Problems) -> tuple[int, int]:
    """How many examples of a layer were looked at, and how many there are."""
    looked = (0, 0)
    until = time.monotonic() + seconds
    with _collecting(step, problems), np.errstate(all="ignore"), calling(step.layer, "examine"):
        for at in ask(step.layer, "examine", step.top):
            looked = at
            if time.monotonic() >= until and not step.layer.is_quick_to_examine:
                break
    return looked


@contextlib.contextmanager
def _collecting(step: Step, problems: Problems) -> Iterator[None]:
    try:
        yield
    except UserCodeError:
        raise
    except NettrainError as error:
        problems.add(step.spec.node.at(error.key), f"{step.spec.title()}: {error}", error.hint)
