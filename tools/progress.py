"""Lines of progress as aligned columns."""

from __future__ import annotations

import math

from ..solver.evaluate import has_plain_loss
from ..solver.evaluate import shown as scored
from ..solver.reports import Row
from ..solver.solver import Solver
from .table import columns

BEST = "   * best"


class Rows:
    """Formats rows as aligned columns: iter, epoch, losses, other test outputs, learning rate, speed.

    A loss is called ``test`` and the name that it has in the metrics and in pictures of them: of several losses, or one
    with a weight other than 1, what is in the unit of ``train loss`` is ``test total_loss``, the weighted sum. In a
    narrow terminal speed, rate and epoch are left out, in this order, as far as it needs.
    """

    def __init__(self, solver: Solver):
        self.outputs: list[tuple[str, str, bool]] = []  # score, heading, whether it is shown as a percentage
        for test in solver.tests:
            prefix, net, shares = test.prefix, test.net, test.shares()
            makers = {key[0]: step for step in net.steps for key in step.top_keys}
            plain = has_plain_loss(net)
            total = [(test.total, f"{prefix or 'test '}{test.total}", False)] if test.total else []
            outputs = []
            for name in net.outputs:
                if net.blobs[name].count == 1:
                    is_loss = any(makers[name].loss_weights) and not prefix
                    percent = prefix + name in shares
                    outputs.append((name, f"test {name}" if is_loss else prefix + name, percent))
            shown = outputs + total if plain else total + outputs
            self.outputs += [(prefix + name, heading, percent) for name, heading, percent in shown]
        self.outputs.sort(key=lambda output: output[2])  # losses before accuracies
        epochs = solver.epochs(solver.max_iter)
        self.has_epochs = epochs is not None
        self.left_out: set[str] = set()
        self.iter_width, self.epoch_width = (max(6, len(text)) for text in (str(solver.max_iter), f"{epochs or 0:.1f}"))

        room = columns()
        for name in ("it/s", "lr", "epoch"):  # what a narrow terminal can do without first
            if room is not None and len(self.head()) + len(BEST) > room:
                self.left_out.add(name)

    def head(self) -> str:
        cells = [f"{'iter':>{self.iter_width}}"] + [f"{'epoch':>{self.epoch_width}}"] * self.shows_epochs
        cells.append(f"{'train loss':>11}")
        cells += [f"{heading:>{self._width(heading)}}" for _, heading, _ in self.outputs]
        return " ".join([*cells, *self._last("lr", "it/s")])

    def line(self, row: Row) -> str:
        cells = [f"{row.iter:>{self.iter_width}}"] + (
            [f"{row.epoch:>{self.epoch_width}.1f}"] if self.shows_epochs else []
        )
        cells.append(f"{'-' if row.loss is None else fitted(row.loss, 11):>11}")
        for name, heading, percent in self.outputs:
            value = row.test.get(name)
            width = self._width(heading)
            shown = (
                ""
                if value is None
                else "-"
                if math.isnan(value)
                else scored(value, is_share=True)
                if percent
                else fitted(value, width)
            )
            cells.append(f"{shown:>{width}}")
        speed = f"{row.rate:,.0f}" if row.rate >= 10 else f"{row.rate:.2f}" if row.rate else ""
        return " ".join([*cells, *self._last(f"{row.lr:.4g}", speed)]) + (BEST if row.best else "")

    @property
    def shows_epochs(self) -> bool:
        return self.has_epochs and "epoch" not in self.left_out

    def _last(self, rate: str, speed: str) -> list[str]:
        """The cells for learning rate and speed, where there is room for them."""
        both = (("lr", f"{rate:>9}"), ("it/s", f"{speed:>7}"))
        return [cell for name, cell in both if name not in self.left_out]

    @staticmethod
    def _width(heading: str) -> int:
        return max(9, len(heading))


def fitted(value: float, width: int) -> str:
    """A number with four decimals, or as many digits as fit: ``0.0771``, ``12718.3``, ``7.75e+35``."""
    ways = [f"{value:.4f}", *(f"{value:.{digits}g}" for digits in range(6, 0, -1))]
    return next((text for text in ways if len(text) <= width), ways[-1])
