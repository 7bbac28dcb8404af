"""Look: data."""

from __future__ import annotations

import os

import click

from .app import main
from .options import Name, output_options, read, spec_options, state_options
from .streams import show

SPECS = (".yaml", ".yml", ".prototxt")


@main.in_group("Look")
@click.argument("what", metavar="TABLE|SPEC", type=Name())
@click.option("--label", multiple=True, metavar="COLUMN", help="Of a table: the column with the label.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Of a table: a column to leave out.")
@click.option("--sheet", type=Name(), help="Of a spec: write a picture (.png) of what the net sees, in both phases.")
@click.option("--examples", type=click.IntRange(1, 400), default=32, help="Examples of each on it; default 32.")
@spec_options
@state_options
@output_options
def data(
    what: str,
    label: tuple,
    drop: tuple,
    sheet: str | None,
    examples: int,
    settings: tuple,
    level: int,
    stages: tuple,
    as_json: bool,
) -> None:
    """Show what a table holds, or what the data layers of a spec give to the net.

    \b
    nettrain data passengers.csv --label survived     the columns, and what a net would be given
    nettrain data configs/mlp.yaml                    sizes, classes, ranges of values after the transform
    nettrain data configs/resnet20.yaml --sheet seen.png

    A sheet has the first examples as they are given to the net, crops, flips and all, with their labels. Means and
    scales are undone, so that people see pictures. Needs pillow: pip install "nettrain[images]".
    """
    if what.lower().endswith(SPECS) or os.path.isdir(what):
        if label or drop:
            raise click.UsageError("--label and --drop are for tables")
        from ..tools.data import seen

        loaded = read(what, settings)
        show(seen.look(loaded, sheet, examples, level=level, stages=stages), as_json, seen.report)
        return
    if sheet or settings:
        raise click.UsageError("--sheet and --set are for specs")
    from ..tools.data import columns

    show(columns.look(what, label, drop), as_json, columns.report)
