"""What `nettrain explain` was asked, and its answer: text, JSON or a page."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..net.records import NetSpec
from ..spec.errors import NettrainError, SpecError, why
from .explain import explain
from .explain_json import as_json
from .explain_page import page
from .explain_text import numbers, report
from .explained import Explanation, pick
from .expression import ABSOLUTE, message_of, spec_of
from .gradcheck import check_net
from .numeric import Check, Rounding
from .slope import EPS

MOST_SHOWN = 5  # entries without a gradient


@dataclass
class Question:
    """The command line: a spec, or a formula with the values of its variables; and which part of the answer."""

    spec: str | None
    assignments: tuple[str, ...] = ()
    expr: str | None = None
    blobs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    sample: int | None = None
    html: str | None = None
    weights: str | None = None
    phase: str = "TRAIN"
    level: int = 0
    stages: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


@dataclass
class Answer:
    """An explanation, and of a formula the comparison with numerical gradients."""

    explanation: Explanation
    checks: list[Check]
    question: Question
    without: list[str]  # where a formula has no gradient, and why

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def report(self) -> str:
        asked = self.question
        lines = [report(self.explanation, whole=bool(asked.blobs or asked.layers))]
        if self.question.expr is not None:
            lines.append(_verdict(self.checks, self.without))
        if asked.html is not None:
            lines.append(f"page {asked.html}")
        return "\n".join(lines)

    def as_json(self) -> dict:
        data = as_json(self.explanation)
        if self.question.expr is None:
            return data
        checks = {c.subject: {"ok": c.ok, "error": c.error, "kinks": c.kinks} for c in self.checks}
        return data | {"gradcheck": checks, "without_gradient": self.without}


def answer(asked: Question, read: Callable[[str], NetSpec]) -> Answer:
    """Run the net or formula that was asked about. Raises NettrainError for a question that makes no sense."""
    checks: list[Check] = []
    if asked.expr is not None:
        if asked.settings:
            raise NettrainError("--set changes the keys of a spec, and a formula has none")
        if asked.spec is not None and Path(asked.spec).suffix in (".yaml", ".yml"):
            raise NettrainError(f"explain a spec or a formula, not both: `{asked.spec}` and --expr")
        spec = spec_of(asked.expr, [*filter(None, [asked.spec]), *asked.assignments])
    else:
        if asked.spec is None or ("=" in asked.spec and not os.path.exists(asked.spec)):
            raise NettrainError('explain what? a spec, or a formula: nettrain explain --expr "x * y" x=2 y=3')
        if asked.assignments:
            raise NettrainError(f"{asked.assignments[0]}: values belong to a formula, given with --expr")
        spec = read(asked.spec)
    options: dict[str, Any] = {"weights": asked.weights, "level": asked.level, "stages": asked.stages}
    try:
        whole = explain(spec, asked.phase.upper(), asked.sample, **options)  # type: ignore[arg-type]
    except SpecError as error:
        raise NettrainError(message_of(error)) if asked.expr is not None else error from None
    without = []
    if asked.expr is not None:
        without = _undefined(whole)
        if without:
            _forget_gradients(whole)
        else:
            checks = [_renamed(check) for check in check_net(spec, formula=_rounding(whole))]
            without = [_with_reason(line, whole) for check in checks for line in check.without]
    layers = [name for asked_for in asked.layers for name in _layers_called(asked_for, spec, whole)]
    result = Answer(pick(whole, asked.blobs, layers), checks, asked, without)
    if asked.html is not None:
        title = asked.expr or whole.name
        try:
            Path(asked.html).write_text(page(result.explanation, title), encoding="utf-8")
        except OSError as error:
            raise NettrainError(f"--html {asked.html} cannot be written: {why(error)}", exit_code=1) from None
    return result


def _layers_called(name: str, spec: NetSpec, explanation: Explanation) -> list[str]:
    """The layer of a name; where it is that of a use of a block, the layers it stands for."""
    there = {gate.name for gate in explanation.gates}
    return [layer.name for layer in spec.layers if name in layer.names and layer.name in there] or [name]


def _undefined(explanation: Explanation) -> list[str]:
    """In words, the first part of a formula that is not finite; then the whole has no gradient."""
    for name, value in explanation.values.items():
        bad = np.argwhere(~np.isfinite(value.data))
        if len(bad):
            index = f"[{','.join(map(str, bad[0]))}]" if value.data.shape else ""
            return [f"`{name}`{index} is {value.data[tuple(bad[0])]} here, and has no slope"]
    return []


def _forget_gradients(explanation: Explanation) -> None:
    """What the formulas give for gradients means nothing where there is none."""
    for value in explanation.values.values():
        value.diff = None
        for use in value.uses:
            use.gradient = use.upstream = use.local = None


def _rounding(explanation: Explanation) -> Rounding:
    """Each value is known to its last place, each gradient to the last place of those that add up to it."""
    absolute = {top for gate in explanation.gates if gate.type in ABSOLUTE for top in gate.tops}
    makes = {gate.name: gate.tops[0] for gate in explanation.gates}
    result, gradients = 0.0, dict.fromkeys(explanation.values, 0.0)
    with np.errstate(all="ignore"):
        for name, value in reversed(explanation.values.items()):
            if value.diff is not None:
                part = np.abs(value.data * value.diff)
                size = np.maximum(part, np.abs(value.diff)) if name in absolute else part
                result += float(size[np.isfinite(size)].sum()) * EPS
            for use in value.uses:
                if use.gradient is not None:
                    gradients[name] += 8 * EPS * _largest(use.gradient)
                    gradients[name] += _largest(use.local) * gradients[makes[use.gate]]
    return Rounding(result, {f"{name}[0]": blur for name, blur in gradients.items()})


def _largest(array: np.ndarray | None) -> float:
    """The largest magnitude in an array, of the numbers in it."""
    sizes = np.abs(array) if array is not None else np.zeros(0)
    return float(sizes[np.isfinite(sizes)].max(initial=0))


def _with_reason(line: str, explanation: Explanation) -> str:
    """A line of ``Check.without``; for a gradient that is not finite, with the gate that made it so."""
    entry, _, why = line.partition(": ")
    name = entry.partition("[")[0]
    if not why.startswith("the gradient is"):
        return line
    while True:
        found = [(u.gate, u.gradient) for u in explanation.values[name].uses if u.gradient is not None]
        found = [(gate, gradient) for gate, gradient in found if not np.isfinite(gradient).all()]
        if not found:
            return line
        by, gradient = found[0]
        top = next(gate for gate in explanation.gates if gate.name == by).tops[0]
        diff = explanation.values[top].diff
        if diff is None or np.isfinite(diff).all():
            kind = "no slope" if np.isnan(gradient).any() else "an infinite slope"
            at = np.broadcast_to(explanation.values[name].data, gradient.shape)
            at = at[~np.isfinite(gradient)].reshape(-1)[:1]
            return f"{entry}: `{top}` has {kind} where `{name}` is {numbers(at)}"
        name = top


def _renamed(check: Check) -> Check:
    """A check of a variable, x[0] in its net, under the variable's name; and an entry of it as x or x[2]."""
    name = check.subject.removesuffix("[0]")

    def plainly(text: str) -> str:
        return text.replace(f"{check.subject}[]", name).replace(check.subject, name)

    check.failures, check.without = (
        [plainly(line) for line in check.failures],
        [plainly(line) for line in check.without],
    )
    check.subject = name
    return check


def _verdict(checks: list[Check], without: list[str]) -> str:
    """Whether the gradients agree with numerical ones; and where there is no gradient, why."""
    wrong = [failure for check in checks for failure in check.failures]
    compared = sum(check.checked - check.kinks for check in checks)
    if wrong:
        first = ["gradcheck FAILED", *(f"  {failure}" for failure in wrong)]
    elif compared:
        largest = max(check.error for check in checks)
        first = [f"gradcheck ok: numerical gradients differ by at most {largest:.1e}"]
    else:
        first = []
    start = "no gradient" if first else "no gradcheck"
    shown = [f"{start}: {line}" for line in without[:MOST_SHOWN]]
    shown += [f"… and {len(without) - MOST_SHOWN} more"] * (len(without) > MOST_SHOWN)
    return "\n".join([*first, *shown])
