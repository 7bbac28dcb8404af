"""What `nettrain explain` was asked, and its answer: text, JSON or a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..net.errors import NettrainError, SpecError
from ..net.netspec import NetSpec
from .explain import Explanation, explain, pick
from .explain_json import as_json
from .explain_page import page
from .explain_text import numbers, report
from .expression import in_words, spec_of
from .gradcheck import check_net
from .numeric import Check


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

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def report(self) -> str:
        asked = self.question
        lines = [report(self.explanation, whole=bool(asked.blobs or asked.layers))]
        if self.question.expr is not None:
            lines.append(_verdict(self.checks, self.explanation))
        if asked.html is not None:
            lines.append(f"page {asked.html}")
        return "\n".join(lines)

    def as_json(self) -> dict:
        checks = {check.subject: {"ok": check.ok, "error": check.error, "kinks": check.kinks} for check in self.checks}
        return as_json(self.explanation) | ({"gradcheck": checks} if checks else {})


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
        if asked.spec is None or ("=" in asked.spec and not Path(asked.spec).exists()):
            raise NettrainError('explain what? a spec, or a formula: nettrain explain --expr "x * y" x=2 y=3')
        if asked.assignments:
            raise NettrainError(f"{asked.assignments[0]}: values belong to a formula, given with --expr")
        spec = read(asked.spec)
    options: dict[str, Any] = {"weights": asked.weights, "level": asked.level, "stages": asked.stages}
    try:
        whole = explain(spec, asked.phase.upper(), asked.sample, **options)  # type: ignore[arg-type]
    except SpecError as error:
        raise NettrainError(in_words(error)) if asked.expr is not None else error from None
    if asked.expr is not None and _undefined(whole) is None:
        checks = [_renamed(check) for check in check_net(spec)]
    result = Answer(pick(whole, asked.blobs, asked.layers), checks, asked)
    if asked.html is not None:
        title = asked.expr or whole.name
        try:
            Path(asked.html).write_text(page(result.explanation, title), encoding="utf-8")
        except OSError as error:
            raise NettrainError(f"--html {asked.html} cannot be written: {error.strerror}", exit_code=1) from None
    return result


def _undefined(explanation: Explanation) -> str | None:
    """The first value that is no number; None when all are."""
    return next((name for name, value in explanation.values.items() if not np.isfinite(value.data).all()), None)


def _renamed(check: Check) -> Check:
    """A check of a variable, x[0] in its net, under the variable's name; and an entry of it as x or x[2]."""
    name = check.subject.removesuffix("[0]")
    check.failures = [
        failure.replace(f"{check.subject}[]", name).replace(check.subject, name) for failure in check.failures
    ]
    check.subject = name
    return check


def _verdict(checks: list[Check], explanation: Explanation) -> str:
    """One line: the gradients agree with numerical ones, or where they do not."""
    undefined = _undefined(explanation)
    if undefined is not None:
        value = numbers(explanation.values[undefined].data)
        return f"no gradcheck: `{undefined}` is {value} here, and has no slope"
    wrong = [failure for check in checks for failure in check.failures]
    if wrong:
        return "gradcheck FAILED\n" + "\n".join(f"  {failure}" for failure in wrong)
    kinks = sum(check.kinks for check in checks)
    at_kinks = f"; {kinks} at a kink, where there is no single slope" if kinks else ""
    return f"gradcheck ok: numerical gradients differ by at most {max(check.error for check in checks):.1e}{at_kinks}"
