"""Signs that something is wrong though training runs, each reported once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..net.net import Net
from .evaluate import Evaluation, Scores, TestNet
from .listener import Listener
from .mistakes import explained_by_no_spread
from .signs import Sign, Unscaled, signs

if TYPE_CHECKING:
    from .solver import Solver


class Health(Listener):
    """Looks for signs in the tests of a training run. ``said`` names those that were reported."""

    key = "said"

    def __init__(self, net: Net, tests: list[TestNet]):
        self.net = net
        self.tests = tests
        self.signs = {test.prefix: list(signs(test.net, net)) for test in tests}
        self.said: list[str] = []
        self.without: set[str] = set()  # parameters that had no gradient at the last look
        self._first: dict[str, bool] = {}
        self._late: list[str] = []  # what need not be said when the iteration ends in an error that says more

    def take_as_trained(self, layers: Iterable[str]) -> None:
        """Layers that have parameters from elsewhere: what they read has the scale they were trained with."""
        names = set(layers)
        for prefix, group in self.signs.items():
            self.signs[prefix] = [s for s in group if not (isinstance(s, Unscaled) and s.step.spec.name in names)]

    def state(self) -> list[str]:
        return list(self.said)

    def set_state(self, state: list[str]) -> None:
        self.said = list(state)

    def testing(self, solver: Solver) -> None:
        self._first = dict.fromkeys(self.signs, True)
        for sign in (sign for group in self.signs.values() for sign in group):
            sign.begin()

    def batch_tested(self, test: TestNet) -> None:
        for sign in self.signs[test.prefix]:
            if self._key(sign) not in self.said:
                sign.batch(self._first[test.prefix])
        self._first[test.prefix] = False

    def tested(self, solver: Solver) -> None:
        for test in self.tests:
            group = self.signs[test.prefix]
            all_seen = test.shared_by(solver.team).gather([sign.seen() for sign in group])
            for i, sign in enumerate(group):
                sign.join([seen[i] for seen in all_seen])
        solver.warn(self.verdicts(solver.found.scores, solver.iter))
        self._late += self.not_finite(solver.found)
        solver.warn(self.notes(solver.found))

    def computed(self, solver: Solver) -> None:
        self._warn_late(solver)
        if solver.test_is_new:
            solver.warn(self.gradients())

    def finished(self, solver: Solver) -> None:
        self._warn_late(solver)

    def _warn_late(self, solver: Solver) -> None:
        late, self._late = self._late, []
        solver.warn(late)

    def verdicts(self, scores: Scores, iteration: int) -> list[str]:
        """What is to be said after the tests."""
        found = []
        for prefix, group in self.signs.items():
            for sign in group:
                text = "" if self._key(sign) in self.said else sign.verdict(scores, prefix, iteration)
                if text:
                    self.said.append(self._key(sign))
                    found.append(text)
        return found

    def not_finite(self, found: Evaluation) -> list[str]:
        """What is to be said of scores that are not finite: why, each cause once."""
        key = f"not finite {found.trouble.layer}" if found.trouble else ""
        if found.trouble is None or key in self.said:
            return []
        self.said.append(key)
        names = ", ".join(f"`{name}`" for name in found.bad)
        return [f"the test gives no finite number for {names}: {found.trouble.sentence}"]

    def notes(self, found: Evaluation) -> list[str]:
        """What is to be said of scores that depend on the size of a batch, each once."""
        new = [note for note in found.notes if note not in self.said]
        self.said += new
        return new

    def gradients(self) -> list[str]:
        """What is to be said of the gradients of an iteration: parameters that had none, twice in a row."""
        if self.net.loss == 0:  # there is nothing to improve: a hinge is satisfied, or all is ignored
            self.without = set()
            return []
        explained = explained_by_no_spread(self.net)
        without = {
            f"parameter {i} of {step.spec.title()}"
            for step in self.net.steps
            for i, blob in enumerate(step.layer.blobs)
            if step.needs_backward
            and step.spec.name not in explained
            and step.layer.param_propagate_down[i]
            and blob.count
            and not blob.diff.any()
        }
        found = sorted(name for name in without & self.without if name not in self.said)
        self.without = without
        self.said += found
        why = "nothing it makes reaches a loss, or it is multiplied by zeros only, in what it reads or after it"
        return [f"{name} gets no gradient: {why}" for name in found]

    @staticmethod
    def _key(sign: Sign) -> str:
        return f"{type(sign).__name__} {sign.title}"
