"""Look: summary, explain, plot, runs, worksheet, time, layers, solvers."""

from __future__ import annotations

import sys
from typing import Any

import click

from .app import main
from .options import Name, debug_option, engine_option, net_options, output_options, read, spec_argument, threads_option
from .streams import show


@main.in_group("Look")
@spec_argument
@click.option("--blocks", is_flag=True, help="One row for each use of a block, with what it gives.")
@net_options
@output_options
def summary(spec: str, blocks: bool, settings: tuple, phase: str, level: int, stages: tuple, as_json: bool) -> None:
    """Show layers, shapes, parameters, multiply-adds, memory.

    \b
    nettrain summary configs/lenet.yaml
    nettrain summary configs/resnet20.yaml --blocks
    """
    from ..tools import summary as summing

    net = summing.net_of(read(spec, settings), phase.upper(), level=level, stages=stages)
    show(summing.summarise(net), as_json, lambda found: summing.report(found, blocks))


@main.in_group("Look")
@click.argument("spec", type=Name(), required=False)
@click.argument("assignments", metavar="[NAME=VALUE]…", nargs=-1)
@click.option("--expr", metavar="FORMULA", help="Explain this formula of + - * / ** exp log max sigmoid tanh relu …")
@click.option("--blob", "blobs", multiple=True, help="Only this blob, in full.")
@click.option("--layer", "layers", multiple=True, help="Only this layer, with what it reads and makes, in full.")
@click.option("--sample", type=click.IntRange(0), help="Only this example of the batch, counted from 0.")
@click.option("--html", type=Name(), help="Write a page with the graph drawn, to be stepped through.")
@click.option("--weights", type=Name(), help="The .npz with the parameters; without it they are as initialised.")
@net_options
@output_options
def explain(spec: str | None, assignments: tuple, expr: str | None, as_json: bool, **options: Any) -> None:
    """Show every value and gradient of one forward and one backward pass.

    \b
    nettrain explain configs/lecture/add_mul.yaml
    nettrain explain --expr "(x + y) * z" x=-2 y=5 z=-4          x=1,2,3 is a vector
    nettrain explain configs/mlp.yaml --layer ip2 --sample 3
    nettrain explain configs/lecture/sigmoid_gates.yaml --html gates.html

    Along each wire a gradient is the gate's local gradient times the one from above (upstream). All in float64.
    A formula may have + - * / **, exp, log, sqrt, abs, max, pow, sigmoid, tanh, relu. It is compared with numerical
    gradients too; exit code 4 when they differ. Where there is no gradient, the reason is given, and that is not a
    failure: a part is not finite (log(-1), 1/0); the end of a domain or an infinite slope (sqrt(x) at 0); a kink (|x|,
    relu(x) at 0), where the gradient shown is one between the slopes of its two sides.
    """
    from ..tools import explanation

    asked = explanation.Question(spec, assignments, expr, **options)
    answer = explanation.answer(asked, lambda path: read(path, asked.settings))
    show(answer.as_json(), as_json, lambda _: answer.report())
    if not answer.ok:
        sys.exit(4)


@main.in_group("Look")
@click.argument("runs", metavar="[RUN]…", nargs=-1, type=Name())
@click.option("--activations", is_flag=True, help="Draw activation functions and their derivatives instead.")
@click.option("--metric", "metrics", multiple=True, help='Only this one, such as "test accuracy"; default all.')
@click.option("--out", type=Name(), help="The file: .svg, .png or .pdf; default curves.svg or activations.svg.")
@debug_option
def plot(runs: tuple, activations: bool, metrics: tuple, out: str | None) -> None:
    """Draw the curves of runs, or the activation functions.

    \b
    nettrain plot runs/mlp/001                            losses and scores over the iterations
    nettrain plot runs/mlp/001 runs/mlp/002 --out two.png
    nettrain plot --activations

    Needs matplotlib: pip install "nettrain[plot]".
    """
    from ..tools import plot as plotting

    click.echo(plotting.plot(runs, metrics, activations, out))


@main.in_group("Look")
@click.argument("folders", metavar="[FOLDER|RUN]…", nargs=-1, type=Name())
@output_options
def runs(folders: tuple, as_json: bool) -> None:
    """List runs, or compare two.

    \b
    nettrain runs                                   all of the folder runs, the newest last
    nettrain runs runs/mlp
    nettrain runs runs/mlp/001 runs/mlp/002         what differs in the spec, the scores, the data and versions

    A run is running, finished, interrupted (by a signal, or its process is gone) or failed.
    """
    from ..tools.runs import comparing, listing

    if comparing.are_two(folders):
        show(comparing.compare(folders), as_json, comparing.report)
    else:
        found = listing.listing(folders)
        show(listing.as_json(found), as_json, lambda _: listing.report(found))


@main.in_group("Look")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed, another graph.")
@click.option("--gates", type=click.IntRange(1, 12), default=4, show_default=True, help="Operations in the graph.")
@click.option("--html", type=Name(), help="Write a page to print: the graph with blanks, then the answers.")
@output_options
def worksheet(seed: int, gates: int, html: str | None, as_json: bool) -> None:
    """Make an exercise: a small graph with blanks, and the answers.

    The blanks are for values and gradients.

    \b
    nettrain worksheet --seed 7
    nettrain worksheet --seed 7 --gates 6 --html sheet.html
    """
    from ..tools import worksheet as making

    sheet = making.make(seed, gates, html)
    show(sheet.as_json(), as_json, lambda _: sheet.report())


@main.in_group("Look", "time", for_all=True)
@spec_argument
@click.option("--iterations", type=click.IntRange(1), default=20, help="Batches to time; default 20.")
@net_options
@threads_option
@engine_option
@output_options
def time_layers(
    spec: str, iterations: int, settings: tuple, phase: str, level: int, stages: tuple, as_json: bool
) -> None:
    """Time each layer, the update and a whole step.

    \b
    nettrain time configs/mlp.yaml
    nettrain time configs/lenet.yaml --threads 1
    mpiexec -n 2 nettrain time configs/lenet.yaml     would more processes pay? (docs/scale.md)

    Medians of forward and backward passes, and GFLOP/s of the layers that consist of matrix products; in several
    processes also what they exchange in an update, and how many times one process more of them would be.
    """
    from ..ranks.launch import join
    from ..tools import timing

    team = join()
    loaded = read(spec, settings)
    result = timing.measure(loaded, phase.upper(), iterations, level=level, stages=stages, team=team)
    show(result, as_json, timing.report)


@main.in_group("Look")
@click.argument("type_name", metavar="[TYPE]", required=False)
@click.option("--markdown", is_flag=True, help="Print all types as one page.")
@output_options
def layers(type_name: str | None, markdown: bool, as_json: bool) -> None:
    """List the layer types, or explain one.

    \b
    nettrain layers
    nettrain layers Convolution
    nettrain layers --markdown > layers.md     all of them, to read or print
    """
    from ..tools import catalogue

    if markdown:
        click.echo(catalogue.markdown(), nl=False)
    elif type_name is None:
        show(catalogue.listing(), as_json, catalogue.report_list)
    else:
        show(catalogue.details(type_name), as_json, catalogue.report_details)


@main.in_group("Look")
@click.argument("name", metavar="[TYPE_OR_POLICY]", required=False)
@output_options
def solvers(name: str | None, as_json: bool) -> None:
    """List what `solver:` may contain, or explain a rule or policy.

    \b
    nettrain solvers              the update rules (type), the rate policies (lr_policy), and all other keys
    nettrain solvers Adam         formula, parameters, example
    nettrain solvers plateau
    """
    from ..tools import catalogue

    if name is None:
        show(catalogue.solvers(), as_json, catalogue.report_solvers)
    else:
        show(catalogue.solver_details(name), as_json, catalogue.report_details)
