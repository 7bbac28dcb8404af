"""What `nettrain explain` was asked, and its answer: text, JSON or a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..net.errors import NettrainError
from ..net.netspec import NetSpec
from .explain import Explanation, as_json, explain, pick
from .explain_page import page
from .explain_text import report
from .expression import spec_of
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
        if self.checks:
            lines.append(_verdict(self.checks))
        if asked.html:
            lines.append(f"page {asked.html}")
        return "\n".join(lines)

    def as_json(self) -> dict:
        checks = {check.subject: {"ok": check.ok, "error": check.error, "kinks": check.kinks} for check in self.checks}
        return as_json(self.explanation) | ({"gradcheck": checks} if checks else {})


def answer(asked: Question, read: Callable[[str], NetSpec]) -> Answer:
    """Run the net or formula that was asked about. Raises NettrainError for a question that makes no sense."""
    checks: list[Check] = []
    if asked.expr is not None:
        spec = spec_of(asked.expr, [*filter(None, [asked.spec]), *asked.assignments])
        checks = list(check_net(spec))
    else:
        if asked.spec is None:
            raise NettrainError('explain what? a spec, or a formula: nettrain explain --expr "x * y" x=2 y=3')
        if asked.assignments:
            raise NettrainError(f"{asked.assignments[0]}: values belong to a formula, given with --expr")
        spec = read(asked.spec)
    whole = explain(spec, asked.phase.upper(), asked.sample, weights=asked.weights)  # type: ignore[arg-type]
    result = Answer(pick(whole, asked.blobs, asked.layers), checks, asked)
    if asked.html:
        title = asked.expr or whole.name
        try:
            Path(asked.html).write_text(page(result.explanation, title), encoding="utf-8")
        except OSError as error:
            raise NettrainError(f"--html {asked.html} cannot be written: {error.strerror}", exit_code=1) from None
    return result


def _verdict(checks: list[Check]) -> str:
    """One line: the gradients agree with numerical ones, or where they do not."""
    wrong = [failure for check in checks for failure in check.failures]
    if wrong:
        return "gradcheck FAILED\n" + "\n".join(f"  {failure}" for failure in wrong)
    kinks = sum(check.kinks for check in checks)
    at_kinks = f"; {kinks} at a kink, where there is no single slope" if kinks else ""
    return f"gradcheck ok: numerical gradients differ by at most {max(check.error for check in checks):.1e}{at_kinks}"
