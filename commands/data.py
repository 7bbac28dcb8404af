"""Look: data."""

from __future__ import annotations

from typing import Any

import click

from .app import main
from .options import Name, output_options
from .streams import say, show


@main.in_group("Look")
@click.argument("what", metavar="FILE_OR_FOLDER", type=Name())
@click.option("--label", multiple=True, metavar="COLUMN", help="Table: the column with the label, by name or number.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Table: a column to leave out.")
@click.option("--to", type=Name(), metavar="FOLDER", help="Write an LMDB of pictures, as convert_imageset of Caffe.")
@click.option("--encoded", is_flag=True, help="--to: records hold image files, not plain pixels.")
@click.option(
    "--resize", type=click.IntRange(1), nargs=2, metavar="H W", help="Pictures are brought to this height and width."
)
@click.option("--gray", is_flag=True, help="Pictures: one channel; else three where any has colours.")
@click.option(
    "--damaged", type=click.Choice(["refuse", "skip"]), default="refuse", help="Pictures that cannot be read."
)
@click.option("--shuffle/--no-shuffle", default=True, help="--to: in a random order (default), or by class.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed, another order.")
@click.option("--mean", type=Name(), metavar="FILE", help="Write the mean image: .binaryproto, or .npy.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@output_options
def data(what: str, label: tuple, drop: tuple, as_json: bool, **options: Any) -> None:
    """Show what a table holds, and what a net would be given; or make an LMDB of pictures, or a mean image.

    \b
    nettrain data passengers.csv
    nettrain data passengers.csv --label survived --drop name
    nettrain data photos --to db                     a folder for each class, or a list of FILE LABEL
    nettrain data photos --to db --resize 64 64 --encoded
    nettrain data db --mean mean.binaryproto
    """
    if options["to"] is None and options["mean"] is None:
        from ..tools.data import columns

        show(columns.look(what, label, drop), as_json, columns.report)
        return
    from ..interop.caffe.imageset import Job, make

    made = make(Job(what, **options))
    for note in made.notes:
        say(note)
    show(made.as_json(), as_json, lambda _: made.report())
