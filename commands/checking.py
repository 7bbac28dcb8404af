"""Check: check, gradcheck."""

from __future__ import annotations

import sys
import time

import click

from ..spec.errors import NettrainError, Problems
from .app import main
from .options import output_options, phase_option, read, spec_argument, spec_options, state_options
from .streams import show


@main.in_group("Check")
@spec_argument
@spec_options
@state_options
@output_options
def check(spec: str, settings: tuple, level: int, stages: tuple, as_json: bool) -> None:
    """Do everything but training, and report all errors at once.

    The spec, the shapes of both nets, the solver, the data files and their labels, the folders to be written.

    \b
    nettrain check configs/mlp.yaml
    """
    from ..tools import check as checking

    problems = Problems()
    try:
        loaded = read(spec, settings, problems)
        show(checking.check(loaded, problems, level=level, stages=stages), as_json, checking.report)
    except NettrainError as error:
        if not as_json:
            raise
        show(checking.as_json(error), True, None)
        sys.exit(error.exit_code)


@main.in_group("Check")
@click.argument("what", required=False)
@spec_options
@click.option("--layer", "layers", multiple=True, help="Only this layer type.")
@phase_option
@output_options
def gradcheck(what: str | None, settings: tuple, layers: tuple, phase: str, as_json: bool) -> None:
    """Compare backward passes with numerical gradients.

    \b
    nettrain gradcheck                       every example of every layer type
    nettrain gradcheck --layer Pooling       of one type
    nettrain gradcheck configs/mlp.yaml      a whole net, on its own data
    nettrain gradcheck my_layers.py          layers of your own, each class of that file (which is run)
    nettrain gradcheck my_layers.py:Swish2   one of them

    All in float64. Exit code 4 when a gradient is wrong, or a layer of your own breaks its contract or raises; what
    would repair it is shown. Entries at a kink, at the end of a domain or at an infinite slope are counted as kinks: at
    a kink a value between the slopes of the two sides is right, at the others nothing is compared.
    """
    from ..tools import gradcheck as checking

    started = time.perf_counter()
    checks, first = checking.run(what, layers, phase, lambda spec: read(spec, settings))
    seconds = time.perf_counter() - started
    show(checking.as_json(checks), as_json, lambda _: checking.report(checks, seconds, first))
    if not all(check.ok for check in checks):
        sys.exit(4)
