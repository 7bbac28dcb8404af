"""What a person sees of a training run: the banner, a line for each row, the ending."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..compute.parallel import threads
from ..interop.caffe import solver_state
from ..net.netspec import load
from ..net.records import NetSpec
from ..ranks.sharing import shared_as_before
from ..ranks.team import ALONE
from ..solver.evaluate import shown
from ..solver.finding import Found, find_snapshot
from ..solver.interrupts import DEFAULTS, Effect, Interrupts
from ..solver.listener import Listener
from ..solver.looking import remarks
from ..solver.metrics import METRICS
from ..solver.record import how_it_ended
from ..solver.reports import Row
from ..solver.runs import quoted
from ..solver.solver import Solver
from ..spec.differences import differences, written
from ..spec.errors import NettrainError, SpecError
from .progress import Rows
from .table import table


def prepare(
    spec: str | None,
    settings: Iterable[str],
    say: Callable[[str], None],
    resume: str | None = None,
    command: str = "",
    **options: Any,
) -> Solver:
    """A solver that is ready to run, its folder made; ``say`` gets notes for the user. ``command`` is what was typed.

    With ``resume``, a run or one of its snapshots, it continues from there; the spec is then optional.
    Raises SpecError with every problem found.
    """
    state = Path(resume) if resume is not None and solver_state.is_state(Path(resume)) else None
    if state is not None and spec is None:
        raise NettrainError(
            f"{resume} is a state of Caffe's, which has no net in it: nettrain train SPEC --resume {resume}"
        )
    team = options.setdefault("team", ALONE)
    found = None
    if resume is not None and state is None:
        found = team.of_first(find_snapshot(resume) if team.is_first else None)
    source: str | NetSpec
    if spec is not None:
        source = spec
    elif found is not None:
        source = found.snapshot.spec(settings, options.get("allow_python", False))
    else:
        raise NettrainError("nothing to train: give a spec, or a run to resume: --resume RUN")
    if found is not None:
        level, stages = found.snapshot.level_and_stages(options.get("level", 0), options.get("stages", ()))
        options |= {"level": level, "stages": stages, "weights": None}
    if state is not None:
        options["weights"] = None  # the state names its own
    try:
        if spec is not None and found is not None and team.size > 1:
            loaded = load(spec, settings, allow_python=options.get("allow_python", False))
            source = shared_as_before(loaded, found.snapshot.state["spec"])
        solver = Solver(source, settings=settings if spec is not None else (), **options)
    except SpecError as error:
        raise NettrainError(f"{error} Nothing was trained.") from error
    solver.record.command, solver.record.settings = command, tuple(settings)
    if solver.spec.note:
        say(solver.spec.note)
    for problem in solver.warnings:
        say(f"warning: {problem}")
    for remark in remarks([solver.net, *solver.test_nets]):
        say(remark)
    for report in solver.load_reports:
        say(table(["layer", f"from {report.origin}"], report.rows()))
    if found:
        _resume(solver, found, say)
    else:
        try:
            solver.look_through()
        except SpecError as error:
            raise NettrainError(f"{error} Nothing was trained.") from error
    if state is not None:
        solver_state.restore_state(solver, state)
    for sentence in solver.together.begin(solver):
        say(f"warning: {sentence}")
    if not found:
        solver.run.open()
        solver.run.check_free()
    if state is not None:
        say(f"resumed from {state} at iteration {solver.iter}; data is read from its start: Caffe keeps no place in it")
    return solver


def _resume(solver: Solver, found: Found, say: Callable[[str], None]) -> None:
    """Resume from a snapshot, and say what a person should know about it."""
    for note in [*solver.resume(found), *_changes(found.snapshot.state["spec"], solver.spec.to_python())]:
        say(note)
    before, now = found.snapshot.state["engine"], solver.net.computed_by
    if before != now:
        say(f"note: the layers are computed by {now}, before the snapshot by {before}: the last digits will differ")
    say(f"resumed from {found.snapshot.path} at iteration {solver.iter}")
    if solver.iter >= solver.max_iter:
        key = "max_iter" if solver.p.max_epoch is None else "max_epoch"
        longer = 2 * getattr(solver.p, key) or 1
        say(f"{key} is reached; to train longer: --set solver.{key}={longer:.12g}")


def _changes(before: Any, now: Any) -> list[str]:
    """What differs between the spec of a snapshot and that of the run that resumes it."""
    return [
        f"note: {path} is {written(here)}, in the snapshot it is {written(there)}"
        for path, there, here in differences(before, now)
    ]


class _Screen(Listener):
    """Shows a person what happens."""

    def __init__(
        self,
        rows: Rows,
        write: Callable[[str], None],
        say: Callable[[str], None],
        advance: Callable[[float], None],
    ):
        self.rows, self.write, self.say, self.advance = rows, write, say, advance

    def reported(self, solver: Solver, row: Row) -> None:
        self.write(self.rows.line(row))
        if solver.p.debug_info:
            self.write(statistics(solver))

    def updated(self, solver: Solver) -> None:
        self.advance(solver.losses[-1])

    def warned(self, text: str) -> None:
        self.say(f"warning: {text}")


def run(
    solver: Solver,
    write: Callable[[str], None],
    say: Callable[[str], None],
    advance: Callable[[float], None],
    effects: Mapping[str, Effect] = DEFAULTS,
) -> None:
    """Train; ``write`` gets each line, ``say`` each warning, ``advance`` the loss of each iteration.

    ``effects`` say what signals do. Raises NettrainError when the run ends early, with what is kept of it.
    """
    rows = Rows(solver)
    solver.add(_Screen(rows, write, say, advance))
    write(rows.head())
    with Interrupts(solver, effects) as interrupts:
        try:
            solver.solve()
        except KeyboardInterrupt:
            kept = f"last snapshot {solver.last_snapshot}" if solver.last_snapshot else "no snapshot was made before"
            code = 128 + (interrupts.stopped_by or signal.SIGINT)
            raise NettrainError(f"interrupted at iteration {solver.iter}; {kept}", exit_code=code) from None
        except NettrainError as error:
            if error.exit_code == 3:  # diverged: the message says what was kept
                raise
            raise NettrainError(f"{error}\n{_kept(solver)}", exit_code=error.exit_code) from error
    stopped_by = next(filter(None, solver.team.gather(interrupts.stopped_by)), None)  # by a signal to any of the ranks
    if solver.monitor and solver.monitor.waited and solver.best is None and not stopped_by:
        never = f"{solver.monitor.name} was never a finite number in {solver.monitor.waited} tests"
        trouble = solver.found.trouble
        why = f": {trouble.sentence}" if trouble else ""
        kept = f"\n  kept    {solver.last_snapshot}" if solver.last_snapshot else ""
        raise NettrainError(f"{never}{why}{kept}", exit_code=2 if trouble and trouble.in_data else 1)
    if stopped_by and solver.ended:
        text = f"interrupted at iteration {solver.iter}\n{_kept(solver)}"
        raise NettrainError(text, exit_code=128 + stopped_by)


def _kept(solver: Solver) -> str:
    """What is left of a run that ended early, and how to resume it."""
    if not solver.last_snapshot and not solver.iter:
        return "Nothing was trained."
    if not solver.last_snapshot:
        return f"stopped at iteration {solver.iter}; no snapshot was made before (solver.snapshot says how often)"
    return f"  kept    {solver.last_snapshot}\n  resume  {command(solver, 'train', '--resume')}"


def command(solver: Solver, *words: str) -> str:
    """A command line for this run: the spec with its settings, level and stages are in its snapshots, and leave to run
    code is given anew each time."""
    spec = solver.spec
    runs_code = "layer_files" in spec.root.value or any(one.cls.runs_code for one in spec.layers)
    return " ".join(["nettrain", *words, quoted(solver.run.where), *["--allow-python"] * runs_code])


def banner(solver: Solver) -> str:
    """``mlp · 4,810 parameters · digits: 1,437 train / 360 test · seed 1701 · 2 threads · runs/mlp/001``"""
    parts = [solver.spec.name, f"{solver.net.flat.count:,} parameters", *_data(solver), *_shares(solver)]
    parts += [f"seed {solver.seed}", f"{threads()} thread{'s' if threads() != 1 else ''}"]
    parts += [*["oneDNN"] * (solver.net.computed_by == "onednn"), str(solver.run.folder)]
    return " · ".join(parts)


def _shares(solver: Solver) -> list[str]:
    """``4 ranks x 64 = 256 examples an update, as iter_size 4 on one``"""
    ranks, m = solver.team.size, solver.p.iter_size
    if ranks == 1:
        return []
    size = next((layer.batch_size for layer in solver.net.layers.values() if layer.batch_size), 0)
    each = f"{m // ranks} x {size}" if m > ranks else f"{size}"
    examples = f" x {each} = {m * size:,} examples an update" if size else ""
    return [f"{ranks} ranks{examples}, as iter_size {m} on one"]


def _data(solver: Solver) -> list[str]:
    """What is trained and tested on."""
    sets: dict[str, list[str]] = {}
    for net, use in [(solver.net, "train"), *((net, "test") for net in solver.test_nets)]:
        for layer in net.layers.values():
            if layer.pass_size:
                sets.setdefault(layer.origin, []).append(f"{layer.pass_size:,} {use}")
    return [f"{name}: {' / '.join(uses)}" for name, uses in sets.items()]


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


def ending(solver: Solver, seconds: float) -> str:
    """What was reached, where it is, what to type next."""
    done = f"{'stopped' if solver.ended else 'done'}: {solver.iter} iterations in {seconds:.1f} s"
    best = solver.run.path("best.npz")
    if solver.monitor and solver.best is not None:
        name, (score, at) = solver.monitor.name, solver.best
        done += f" · best {name} {shown(score, solver.monitor.is_share)} at {at}"
    has_best = solver.best is not None and os.path.isfile(best)
    files = [("weights", best)] if has_best else []
    if solver.last_snapshot is not None:
        files.append(("last snapshot", solver.last_snapshot))
    files.append(("metrics", solver.run.path("metrics.jsonl")))
    lines = [done, *([f"  early   {solver.ended}"] if solver.ended else [])]
    lines.append("  " + " · ".join(f"{what} {path}" for what, path in files))
    if (has_best or solver.last_snapshot is not None) and solver.test_nets:
        lines.append(f"  next    {command(solver, 'test')}")
    return "\n".join(lines)


def outcome(solver: Solver, seconds: float, error: BaseException | None = None) -> dict[str, Any]:
    """How a run ended, for programs: the words of ``nettrain runs --json``, its files, and the exit code.

    ``weights`` is the file with the best ones, ``snapshot`` the newest of all, each None where it was not written;
    ``run`` and ``metrics`` are None where the run came to nothing and left no folder. ``error`` is what ended it.
    """
    state, why = how_it_ended(solver, error)
    code = 0 if error is None else 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
    there = solver.run.folder is not None
    score, at = solver.best if solver.best else (None, None)
    return {
        "run": str(solver.run.where) if there else None,
        "state": state,
        "why": why,
        "exit_code": code,
        "metric": solver.monitor.name if solver.monitor else None,
        "higher": solver.monitor.higher if solver.monitor else None,
        "percent": solver.monitor is not None and solver.monitor.is_share,
        "score": score,
        "at": at,
        "iteration": solver.iter,
        "max_iter": solver.max_iter,
        "seconds": seconds,
        "weights": _written(solver, "best.npz") if solver.best else None,
        "snapshot": str(solver.last_snapshot) if solver.last_snapshot else None,
        "metrics": _written(solver, METRICS),
    }


def _written(solver: Solver, name: str) -> str | None:
    """The path of one of the run's files, if it is there."""
    path = solver.run.path(name) if solver.run.folder is not None else None
    return str(path) if path is not None and os.path.isfile(path) else None
