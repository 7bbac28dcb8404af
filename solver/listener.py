"""What takes part in training besides the loop: it watches, warns, reports, writes files or calls for the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from .evaluate import TestNet
    from .reports import Row
    from .solver import Solver

Event = Literal["started", "testing", "tested", "computed", "updated", "finished", "reported"]


class Listener:
    """Base of all listeners. A solver tells each of them what has happened, in the order in which they were added.

    An iteration, as they hear of it: when a test is due ``testing``, ``batch_tested``, ``tested``; then ``computed``,
    ``updated``. Before the first comes ``started``, after the last ``finished``. A method that is not overridden does
    nothing.

    ``key`` is the name of what ``state`` gives in a snapshot's state; without one nothing is kept.
    """

    key: ClassVar[str] = ""

    def started(self, solver: Solver) -> None:
        """Training begins, or is resumed."""

    def testing(self, solver: Solver) -> None:
        """The test nets are about to run."""

    def batch_tested(self, test: TestNet) -> None:
        """A test net has run a batch; its blobs hold the values."""

    def tested(self, solver: Solver) -> None:
        """All test nets have run; ``solver.found`` is what they gave. The iteration's own batch is not drawn yet."""

    def computed(self, solver: Solver) -> None:
        """Loss and gradients of an iteration are computed; the weights are still those they were computed with."""

    def updated(self, solver: Solver) -> None:
        """An iteration is complete."""

    def finished(self, solver: Solver) -> None:
        """Training has come to its end, and so has its last test."""

    def reported(self, solver: Solver, row: Row) -> None:
        """A line of progress is ready."""

    def warned(self, text: str) -> None:
        """There is a sign that something is wrong; each comes once."""

    def why_end(self) -> str:
        """Why training should end before its next iteration; empty when it should not."""
        return ""

    def state(self) -> Any:
        """What a snapshot keeps of it, in a form that JSON can hold."""

    def set_state(self, state: Any) -> None:
        """Restore what ``state`` gave."""


class Functions(Listener):
    """A listener of functions: each Row, the solver after each iteration, each warning."""

    def __init__(
        self,
        on_row: Callable[[Row], object] | None = None,
        on_step: Callable[[Solver], object] | None = None,
        on_warning: Callable[[str], object] | None = None,
    ):
        self.on_row, self.on_step, self.on_warning = on_row, on_step, on_warning

    def reported(self, solver: Solver, row: Row) -> None:
        if self.on_row:
            self.on_row(row)

    def updated(self, solver: Solver) -> None:
        if self.on_step:
            self.on_step(solver)

    def warned(self, text: str) -> None:
        if self.on_warning:
            self.on_warning(text)
