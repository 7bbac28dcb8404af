"""Look: data."""

from __future__ import annotations

import click

from .app import main
from .options import Name, output_options
from .streams import show


@main.in_group("Look")
@click.argument("what", metavar="FILE", type=Name())
@click.option("--label", multiple=True, metavar="COLUMN", help="The column with the label, by name or number.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="A column to leave out.")
@output_options
def data(what: str, label: tuple, drop: tuple, as_json: bool) -> None:
    """Show what a table holds: the columns, and what a net would be given.

    \b
    nettrain data passengers.csv
    nettrain data passengers.csv --label survived --drop name
    """
    from ..tools.data import columns

    show(columns.look(what, label, drop), as_json, columns.report)
