"""What a person sees of a training run: the banner, a line for each row, the ending."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..net.errors import NettrainError, SpecError
from ..net.parallel import threads
from ..solver.evaluate import monitored
from ..solver.solver import Row, Solver


def prepare(spec: str, settings: Iterable[str], say: Callable[[str], None], **options: Any) -> Solver:
    """A solver that is ready to run, its folder made; ``say`` gets notes for the user.

    Raises SpecError with every problem found.
    """
    try:
        solver = Solver(spec, settings=settings, **options)
    except SpecError as error:
        raise NettrainError(f"{error} Nothing was trained.") from error
    if solver.spec.note:
        say(solver.spec.note)
    for report in solver.load_reports:
        say(f"weights: loaded {', '.join(report.loaded)}")
        if report.missing:
            say(f"         not in the file, left as initialised: {', '.join(report.missing)}")
        if report.ignored:
            say(f"         in the file, not in the net: {', '.join(report.ignored)}")
    solver.run.open()
    return solver


def run(solver: Solver, write: Callable[[str], None], advance: Callable[[float], None]) -> None:
    """Train; ``write`` gets each line, ``advance`` the loss of each iteration."""
    rows = Rows(solver)

    def on_row(row: Row) -> None:
        write(rows.line(row))
        if solver.p.debug_info:
            write(statistics(solver))

    solver.on_row, solver.on_step = on_row, lambda solver: advance(solver.losses[-1])
    write(rows.head())
    try:
        solver.solve()
    except KeyboardInterrupt:
        kept = f"last snapshot {solver.last_snapshot}" if solver.last_snapshot else "no snapshot was made before"
        raise NettrainError(f"interrupted at iteration {solver.iter}; {kept}", exit_code=130) from None


def banner(solver: Solver) -> str:
    """``mlp · 4,810 parameters · digits: 1,437 train / 360 test · seed 1701 · 2 threads · runs/mlp/001``"""
    parts = [solver.spec.name, f"{solver.net.flat.count:,} parameters", *_data(solver)]
    parts += [f"seed {solver.seed}", f"{threads()} thread{'s' if threads() != 1 else ''}", str(solver.run.folder)]
    return " · ".join(parts)


def _data(solver: Solver) -> list[str]:
    """What is trained and tested on."""
    sets: dict[str, list[str]] = {}
    for net, use in [(solver.net, "train"), *((net, "test") for net in solver.test_nets)]:
        for layer in net.layers.values():
            if hasattr(layer, "set"):
                sets.setdefault(layer.set.origin, []).append(f"{len(layer.set):,} {use}")
    return [f"{name}: {' / '.join(uses)}" for name, uses in sets.items()]


class Rows:
    """Formats rows as aligned columns: iter, epoch, losses, other test outputs, learning rate, speed."""

    def __init__(self, solver: Solver):
        self.outputs: list[tuple[str, str, bool]] = []  # blob, heading, whether it is shown as a percentage
        for net in solver.test_nets:
            makers = {key[0]: step for step in net.steps for key in step.top_keys}
            for name in net.outputs:
                if net.blobs[name].count == 1:
                    is_loss = any(makers[name].loss_weights)
                    percent = makers[name].spec.cls.__name__ == "Accuracy"
                    self.outputs.append((name, f"test {name}" if is_loss else name, percent))
        self.outputs.sort(key=lambda output: output[2])  # losses before accuracies
        self.has_epochs = solver.epochs(1) is not None

    def head(self) -> str:
        cells = [f"{'iter':>6}"] + ([f"{'epoch':>6}"] if self.has_epochs else []) + [f"{'train loss':>11}"]
        cells += [f"{heading:>{self._width(heading)}}" for _, heading, _ in self.outputs]
        return " ".join([*cells, f"{'lr':>9}", f"{'it/s':>7}"])

    def line(self, row: Row) -> str:
        cells = [f"{row.iter:>6}"] + ([f"{row.epoch:>6.1f}"] if self.has_epochs else [])
        cells.append(f"{row.loss:>11.4f}" if row.loss is not None else f"{'-':>11}")
        for name, heading, percent in self.outputs:
            value = row.test.get(name)
            shown = "" if value is None else f"{value:.2%}" if percent else f"{value:.4f}"
            cells.append(f"{shown:>{self._width(heading)}}")
        speed = f"{row.rate:,.0f}" if row.rate >= 10 else f"{row.rate:.2f}" if row.rate else ""
        return " ".join([*cells, f"{row.lr:>9.4g}", f"{speed:>7}"]) + ("   * best" if row.best else "")

    @staticmethod
    def _width(heading: str) -> int:
        return max(9, len(heading))


def statistics(solver: Solver) -> str:
    """``debug_info``: mean |x|, largest |x| and share of zeros of every blob and gradient."""
    lines = [f"  {'blob':<24} {'':<5} {'mean |x|':>10} {'max |x|':>10} {'zeros':>7}"]
    for row in solver.net.statistics():
        for kind in ("data", "diff"):
            if kind in row:
                s = row[kind]
                lines.append(
                    f"  {row['layer'] + ' ' + row['blob']:<24} {kind:<5} {s['mean_abs']:>10.3g} {s['max_abs']:>10.3g} "
                    f"{s['zeros']:>7.1%}"
                )
    return "\n".join(lines)


def ending(solver: Solver, spec: str, seconds: float) -> str:
    """What was reached, where it is, what to type next."""
    done = f"done: {solver.iter} iterations in {seconds:.1f} s"
    best = solver.run.path("best.npz")
    if solver.best is not None:
        name, is_share = monitored(solver.test_nets[0])
        score, at = solver.best
        done += f" · best {name} {f'{score:.2%}' if is_share else f'{score:.4g}'} at {at}"
    files = [("weights", best)] if solver.best is not None else []
    if solver.last_snapshot is not None:
        files.append(("last snapshot", solver.last_snapshot))
    files.append(("metrics", solver.run.path("metrics.jsonl")))
    lines = [done, "  " + " · ".join(f"{what} {path}" for what, path in files)]
    weights = best if solver.best is not None else solver.last_snapshot
    if weights is not None and solver.test_nets:
        lines.append(f"  next    nettrain test {spec} --weights {weights}")
    return "\n".join(lines)
