"""Look: data."""

from __future__ import annotations

import click

from .app import main
from .options import Name, output_options, read, spec_argument, spec_options, state_options
from .streams import show


@main.in_group("Look")
@spec_argument
@click.option("--sheet", type=Name(), help="Write a picture (.png) of what the net sees, in training and in tests.")
@click.option("--examples", type=click.IntRange(1, 400), default=32, help="Examples of each on it; default 32.")
@spec_options
@state_options
@output_options
def data(
    spec: str, sheet: str | None, examples: int, settings: tuple, level: int, stages: tuple, as_json: bool
) -> None:
    """Show what the data layers of a spec give: sizes, classes, ranges of values after the transform.

    \b
    nettrain data configs/resnet20.yaml
    nettrain data configs/mlp.yaml --sheet seen.png

    A sheet has the first examples as they are given to the net, crops, flips and all, with their labels. Means and
    scales are undone, so that people see pictures. Needs pillow: pip install "nettrain[images]".
    """
    from ..tools.data import seen

    loaded = read(spec, settings)
    show(seen.look(loaded, sheet, examples, level=level, stages=stages), as_json, seen.report)
