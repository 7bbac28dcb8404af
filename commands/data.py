"""Exchange: data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from .app import main
from .options import Name, output_options
from .streams import say, show


@main.in_group("Exchange")
@click.argument("source", type=Name())
@click.option(
    "--to", type=Name(), metavar="FOLDER", help="Write an LMDB of the pictures, as Caffe's convert_imageset does."
)
@click.option("--encoded", is_flag=True, help="--to: records hold image files, not plain pixels.")
@click.option(
    "--resize", type=click.IntRange(1), nargs=2, metavar="H W", help="Bring pictures to this height and width."
)
@click.option("--gray", is_flag=True, help="One channel, grey; else three where any picture has colours.")
@click.option(
    "--damaged", type=click.Choice(["refuse", "skip"]), default="refuse", help="Pictures that cannot be read."
)
@click.option("--shuffle/--no-shuffle", default=True, help="--to: in a random order (default), or by class.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed, another order.")
@click.option("--mean", type=Name(), metavar="FILE", help="Write the mean image: .binaryproto, or .npy.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@output_options
def data(source: str, as_json: bool, **options: Any) -> None:
    """Make an LMDB of pictures, or a mean image of a data set.

    \b
    nettrain data photos --to db                          a folder for each class, or a list of FILE LABEL
    nettrain data photos --to db --resize 64 64 --encoded
    nettrain data db --mean mean.binaryproto
    """
    if options["to"] is None and options["mean"] is None:
        raise click.UsageError("say what to make: --to FOLDER, --mean FILE")
    from ..interop.caffe.imageset import Job, make

    made = make(Job(source, **options))
    for note in made.notes:
        say(note)
    show(asdict(made), as_json, lambda _: made.report())
