"""`nettrain worksheet`: an exercise on paper, a small random graph with blanks, and its answers."""

from __future__ import annotations

import html
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ..net.netspec import load
from ..spec.errors import NettrainError, why
from .explain import explain
from .explain_page import BLANK, Drawing
from .explain_text import number, report
from .explained import Explanation
from .table import table

VARIABLES, GATES = "xyzwuv", "abcdeghijklf"
LARGEST = 50  # of a value or gradient: to be worked out by hand
TRIES = 1000
TASK = (
    "Fill in the values, beginning at the variables, then the gradients, back from 1 at the result. Where a value "
    "is read by several gates its gradients add up."
)
BINARY: list[dict[str, Any]] = [
    {"type": "Eltwise", "operation": "SUM"},
    {"type": "Eltwise", "operation": "SUM", "coeff": [1, -1]},
    {"type": "Eltwise", "operation": "PROD"},
    {"type": "Eltwise", "operation": "PROD"},
    {"type": "Eltwise", "operation": "MAX"},
]
UNARY: list[dict[str, Any]] = [{"type": "ReLU"}, {"type": "Power", "scale": -1}, {"type": "Power", "scale": 2}]


@dataclass
class Worksheet:
    """An exercise. ``formulas`` has what each gate computes, by name."""

    seed: int
    explanation: Explanation

    @property
    def formulas(self) -> dict[str, str]:
        return {gate.name: gate.formula for gate in self.explanation.gates if gate.bottoms}

    @property
    def given(self) -> dict[str, float]:
        """The variables."""
        return {gate.name: self.value(gate.name) for gate in self.explanation.gates if not gate.bottoms}

    def value(self, name: str) -> float:
        return float(self.explanation.values[name].data) + 0.0  # no -0

    def gradient(self, name: str) -> float:
        diff = self.explanation.values[name].diff
        return 0.0 if diff is None else float(diff) + 0.0

    def as_json(self) -> dict:
        answers = {name: {"value": self.value(name), "gradient": self.gradient(name)} for name in self.names}
        return {"seed": self.seed, "given": self.given, "gates": self.formulas, "answers": answers}

    @property
    def names(self) -> list[str]:
        return [gate.name for gate in self.explanation.gates]

    def exercise(self) -> str:
        """The table with blanks."""
        last = self.names[-1]
        rows = [
            [
                f"{name} = {self.formulas[name]}" if name in self.formulas else name,
                number(self.given[name]) if name in self.given else BLANK,
                "1" if name == last else BLANK,
            ]
            for name in self.names
        ]
        return table(["node", "forward", "gradient"], rows, right=(1, 2))

    def report(self) -> str:
        return f"worksheet {self.seed}\n\n{TASK}\n\n{self.exercise()}\n\nanswers\n\n{report(self.explanation)}"

    def page(self) -> str:
        """A page to print: the graph with blanks, and on a sheet of its own the graph with its answers."""
        template = resources.files(__package__).joinpath("worksheet.html").read_text(encoding="utf-8")
        parts = {
            "TITLE": f"worksheet {self.seed}",
            "TASK": TASK,
            "BLANK": Drawing(self.explanation, blanks=True, formulas=True).svg(),
            "ANSWERS": Drawing(self.explanation, formulas=True).svg(),
            "TABLE": html.escape(report(self.explanation)),
        }
        for name, text in parts.items():
            template = template.replace(f"<!--{name}-->", text)
        return template


def make(seed: int, gates: int = 4, page: str | None = None) -> Worksheet:
    """The exercise of that seed, with that many gates; always the same one. Writes ``page`` if it is given.

    All its values and gradients are integers of at most two digits, no maximum has two equal inputs, and most
    variables have a gradient.
    """
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, gates, attempt])
        sheet = Worksheet(seed, explain(load({"name": "worksheet", "layers": _layers(rng, gates)})))
        if _can_be_done(sheet):
            break
    else:
        raise NettrainError(f"no worksheet of {gates} gates was found with seed {seed}; try another one")
    if page:
        try:
            Path(page).write_text(sheet.page(), encoding="utf-8")
        except OSError as error:
            raise NettrainError(f"--html {page} cannot be written: {why(error)}", exit_code=1) from None
    return sheet


def _layers(rng: np.random.Generator, gates: int) -> list[dict[str, Any]]:
    """Variables and gates. ``fresh`` are those that nothing reads yet: the last gate must be the only one left."""
    variables = list(VARIABLES[: min(gates + 1, 2 + (gates + 1) // 3)])
    layers = [{"name": v, "type": "Parameter", "shape": [], "filler": _whole(rng)} for v in variables]
    fresh: list[str] = list(variables)
    read: list[str] = []
    joins = [True] * (len(variables) - 1) + [False] * (gates - len(variables) + 1)
    rng.shuffle(joins)
    for name, join in zip([*GATES[: gates - 1], "f"], joins, strict=True):
        first = _take(rng, fresh)
        others: list[str] = fresh if join else read
        if others and (join or rng.random() < 0.7):
            second = _take(rng, others)
            layer = {"bottom": [first, second], **BINARY[rng.integers(len(BINARY))]}
            read.append(second)
        else:
            layer = {"bottom": [first], **UNARY[rng.integers(len(UNARY))]}
        layers.append({"name": name, **layer})
        read.append(first)
        fresh.append(name)
    layers[-1]["loss_weight"] = 1
    return layers


def _whole(rng: np.random.Generator) -> int:
    return int(rng.choice([-4, -3, -2, -1, 1, 2, 3, 4, 5]))


def _take(rng: np.random.Generator, names: list[str]) -> str:
    return names.pop(rng.integers(len(names)))


def _can_be_done(sheet: Worksheet) -> bool:
    """Small numbers, no two equal inputs of a maximum, no sums of nothing, and a gradient at nearly every variable."""
    numbers = [abs(of(name)) for name in sheet.names for of in (sheet.value, sheet.gradient)]
    ties = any(
        len({sheet.value(name) for name in gate.bottoms} | ({0.0} if gate.type == "ReLU" else set())) < 2
        for gate in sheet.explanation.gates
        if gate.formula.startswith("max(")
    )
    silent = sum(sheet.gradient(name) == 0 for name in sheet.given)
    nothing = any(
        gate.bottoms and gate.type != "ReLU" and not sheet.value(gate.name) for gate in sheet.explanation.gates
    )
    return max(numbers) <= LARGEST and not ties and not nothing and silent <= 1
