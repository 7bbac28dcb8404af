"""Train: train, test."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import click

from .app import main
from .options import (
    Name,
    command_line,
    debug_option,
    engine_option,
    json_option,
    output_options,
    python_is_allowed,
    read,
    spec_options,
    state_options,
    threads_option,
)
from .screen import Screen
from .streams import say, show


def _comma_separated(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name for value in values for name in value.split(","))
    if not all(name.strip() for name in names):
        raise click.BadParameter("a name between the commas is empty")
    return names


def _effect_option(name: str, default: str, what: str) -> Any:
    """What a signal does; Caffe's names with underscores work too."""
    return click.option(
        f"--{name}-effect",
        f"--{name}_effect",
        f"{name}_effect",
        type=click.Choice(["stop", "snapshot", "none"]),
        default=default,
        show_default=True,
        help=f"What {what} does.",
    )


@main.in_group("Train", for_all=True)
@click.argument("spec", type=Name(), required=False)
@spec_options
@click.option(
    "--weights",
    multiple=True,
    type=Name(),
    metavar="FILE[,FILE…]",
    callback=_comma_separated,
    help="Start from the parameters in these, by layer name: .npz, .caffemodel, .h5 or .safetensors.",
)
@click.option(
    "--resume",
    "--snapshot",
    "resume",
    type=Name(),
    metavar="RUN_OR_FILE",
    help="Resume a run (its folder), one of its snapshots, or a .solverstate of Caffe's.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    default=None,
    metavar="K",
    help="Train K runs, each tested on another of K parts of the data; prints mean and spread.",
)
@click.option("--out", type=Name(), help="Folder for snapshots and metrics instead of runs/NAME/NUMBER.")
@state_options
@threads_option
@engine_option
@click.option(
    "--reduce",
    type=click.Choice(["segments", "mpi"]),
    default="segments",
    show_default=True,
    help="Under mpiexec: how gradients are added up. mpi leaves the order, and so the last digits, to the library.",
)
@_effect_option("sigint", "stop", "Ctrl-C")
@_effect_option("sigterm", "stop", "SIGTERM")
@_effect_option("sighup", "snapshot", "SIGHUP")
@_effect_option("sigusr1", "stop", "SIGUSR1, which schedulers and mpiexec pass on,")
@json_option
@debug_option
def train(spec: str | None, settings: tuple, resume: str | None, folds: int, as_json: bool, **options: Any) -> None:
    """Train a net.

    \b
    nettrain train configs/mlp.yaml
    nettrain train configs/mlp.yaml --set solver.base_lr=0.02 --set ip1.num_output=128
    nettrain train configs/mlp.yaml --weights other.npz --set 'solver.freeze=conv*'
    nettrain train --resume runs/mlp/001
    nettrain train --resume runs/mlp/001 --set solver.max_iter=2000
    nettrain train mine.yaml --folds 5            5 runs, in runs/NAME/NUMBER/fold1 …
    nettrain train configs/mlp.yaml --json        for programs: the last line says how it ended, what was best

    The `solver:` part of the spec says how. Rows of progress go to stdout and to metrics.jsonl, a bar to stderr when
    that is a terminal. Ctrl-C writes a snapshot and stops, a second one stops at once (within half a second two count
    as one). Exit codes: 0 done, 1 failed, 2 wrong spec or data, 3 training diverged, 130 interrupted, 143 by SIGTERM.

    With --json rows go to stderr, and stdout has one line of JSON, also when a run that had begun failed or was
    interrupted: the best score and where it was reached, the files, the exit code and the reason.
    """
    from ..ranks.launch import join
    from ..tools import training
    from ..tools.runs import folds as several

    if options["weights"] and resume:
        raise click.UsageError("--weights starts a run and --resume continues one; give only one of them")
    if folds and (resume or spec is None):
        raise click.UsageError("--folds needs a spec; one of its runs is resumed with --resume alone")
    team = join()
    team.say = main.company.speak
    if folds and team.size > 1:
        raise click.UsageError(f"--folds trains in one process, and here are {team.size}: start it without mpiexec")
    effects = {name.upper(): options.pop(f"{name}_effect") for name in ("sigint", "sigterm", "sighup", "sigusr1")}
    options |= {"command": command_line(), "allow_python": python_is_allowed()}
    if folds:
        found = several.train(str(spec), settings, folds, say, lambda solver: _train(solver, effects), **options)
        show(found, as_json, several.report, indent=None)
    else:
        _train(training.prepare(spec, settings, say, resume, team=team, **options), effects, as_json)


def _train(solver: Any, effects: Any, as_json: bool = False) -> None:
    """A run, from its banner to what to type next; ``as_json`` ends with a line for programs, also when it failed."""
    from ..tools import training

    screen = Screen(solver.max_iter, solver.iter)
    screen.write(training.banner(solver))
    started = time.perf_counter()
    try:
        with screen:
            training.run(solver, screen.write, screen.say, screen.advance, effects)
    except BaseException as error:
        if as_json:
            with contextlib.suppress(OSError):  # what failed first is what is said
                show(training.outcome(solver, time.perf_counter() - started, error), True, None, indent=None)
        raise
    seconds = time.perf_counter() - started
    screen.write(training.ending(solver, seconds))
    if as_json:
        show(training.outcome(solver, seconds), True, None, indent=None)


@main.in_group("Train")
@click.argument("spec", metavar="SPEC_OR_RUN", type=Name())
@click.option("--weights", type=Name(), help="The file with the parameters; default a run's best.")
@click.option(
    "--iterations",
    type=click.IntRange(1),
    help="Batches to run; default the solver's test_iter, or the whole test set once.",
)
@click.option(
    "--mistakes",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many of the worst mistakes to list, with the names of their examples.",
)
@spec_options
@state_options
@threads_option
@engine_option
@output_options
def test(spec: str, settings: tuple, as_json: bool, **options: Any) -> None:
    """Test trained weights: how good they are on the test data.

    The mean of every output, as training shows it, and what suits the answers: for classes precision, recall, F1 and
    the confusion matrix, top 5, log loss, calibration and ROC-AUC; for labels that may each hold the same one by one;
    for values MAE, RMSE and R²; then the worst mistakes by name. All of it is over the whole set at any batch size, and
    all of it is in --json.

    A solver with several test nets (test_state) runs one test for each; --stage or --level asks for one net alone.

    \b
    nettrain test runs/mlp/001                    its best weights, with the spec it was trained with
    nettrain test runs/mlp/001/iter_400.npz
    nettrain test configs/mlp.yaml --weights runs/mlp/001/best.npz
    """
    from ..tools import testing

    options |= {"settings": settings, "allow_python": python_is_allowed()}
    result = testing.run(spec, read=lambda path: read(path, settings), say=say, **options)
    show(result, as_json, testing.report)
    sys.exit(result["exit_code"])
