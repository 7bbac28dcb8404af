"""Begin: new, configs."""

from __future__ import annotations

from typing import Any

import click

from .app import main
from .options import Name, debug_option, output_options
from .streams import say, show


@main.in_group("Begin")
@click.argument("name", type=Name())
@click.option(
    "--like", metavar="CONFIG", help="Copy this bundled spec under the new name; `nettrain configs` lists them."
)
@click.option("--data", "source", type=Name(), metavar="FILE_OR_FOLDER", help="Fit the net to this data.")
@click.option(
    "--label", metavar="COLUMN", help="Of a table: the column to be predicted; default `label` or the last one."
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@debug_option
def new(name: str, **options: Any) -> None:
    """Write NAME.yaml, a spec to start from, with a comment on every line.

    \b
    nettrain new first                               a small net on digits, which come with nettrain
    nettrain new photos --data photos/               a folder of pictures for each class
    nettrain new prices --data houses.csv --label price
    nettrain new mine --like lenet

    With --data, sizes, classes and a small net that suits them are found in the data: a table (.csv, .tsv, .parquet),
    pictures (a folder for each class, or a .tar), arrays (.npz, IDX, LMDB), or a named set. It trains as it is
    written.
    """
    from ..tools.starting import fresh

    written = fresh.write(name, **options)
    for note in written.notes:
        say(note)
    click.echo(fresh.report(written))


@main.in_group("Begin")
@click.argument("name", metavar="[CONFIG]", required=False)
@click.option("--copy", is_flag=True, help="Copy it into this folder.")
@click.option("--force", is_flag=True, help="Copy it over a file that is there.")
@output_options
def configs(name: str | None, copy: bool, force: bool, as_json: bool) -> None:
    """List the specs that come with nettrain, say more of one, or copy it.

    \b
    nettrain configs
    nettrain configs lenet
    nettrain configs lenet --copy

    A spec that is not copied can be used all the same: nettrain train configs/lenet.yaml
    """
    from ..tools.starting import bundled

    if name is None and (copy or force):
        raise click.UsageError("say which one to copy: nettrain configs NAME --copy")
    if name is None:
        show(bundled.listing(), as_json, bundled.report)
    elif copy:
        show({"file": str(bundled.copy(name, force))}, as_json, lambda made: f"wrote {made['file']}")
    else:
        show(bundled.details(name), as_json, bundled.report_details)
