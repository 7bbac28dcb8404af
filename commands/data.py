"""Look: data."""

from __future__ import annotations

from typing import Any

import click

from .app import main
from .options import Name, output_options, read, spec_options, state_options
from .streams import say, show

SPECS = (".yaml", ".yml", ".prototxt")
MAKING = ("to", "encoded", "resize", "gray", "damaged", "shuffle", "seed", "mean", "force")


@main.in_group("Look")
@click.argument("what", metavar="WHAT", type=Name())
@click.option("--label", multiple=True, metavar="COLUMN", help="Table: the column with the label, by name or number.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Table: a column to leave out.")
@click.option("--sheet", type=Name(), metavar="FILE", help="Spec: write a picture (.png) of what the net sees.")
@click.option("--examples", type=click.IntRange(1, 400), default=32, help="Spec: examples on the sheet; default 32.")
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
@spec_options
@state_options
@output_options
def data(what: str, as_json: bool, **options: Any) -> None:
    """Show a table, or what a spec's net is given; or make an LMDB.

    Of a table, its columns; of a spec, what its data layers give to the net. Of pictures, an LMDB or a mean image.

    \b
    nettrain data passengers.csv --label survived     the columns, and what a net would be given
    nettrain data configs/mlp.yaml                    sizes, classes, ranges of values after the transform
    nettrain data configs/resnet20.yaml --sheet seen.png
    nettrain data photos --to db --resize 64 64       a folder for each class, or a list of FILE LABEL
    nettrain data db --mean mean.binaryproto

    A sheet has the first examples as they are given to the net, crops, flips and all, with their labels. Means and
    scales are undone, so that people see pictures. Needs pillow: pip install "nettrain[images]".
    """
    if options["to"] is not None or options["mean"] is not None:
        _only(options, MAKING, "--to and --mean")
        from ..interop.caffe.imageset import Job, make

        made = make(Job(what, **{name: options[name] for name in MAKING}))
        for note in made.notes:
            say(note)
        show(made.as_json(), as_json, lambda _: made.report())
        return
    from ..tools.data import seen

    if what.lower().endswith(SPECS) or seen.is_run(what):
        _only(options, ("sheet", "examples", "settings", "level", "stages"), "a spec")
        state = {"level": options["level"], "stages": options["stages"]}
        found = seen.look(read(what, options["settings"]), options["sheet"], options["examples"], **state)
        show(found, as_json, seen.report)
    else:
        _only(options, ("label", "drop"), "a table")
        from ..tools.data import columns

        show(columns.look(what, options["label"], options["drop"]), as_json, columns.report)


def _only(options: dict[str, Any], names: tuple[str, ...], what: str) -> None:
    """Raise UsageError for options that mean nothing here."""
    context = click.get_current_context()
    given = [name for name in options if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    wrong = [f"--{'set' if name == 'settings' else name.rstrip('s')}" for name in given if name not in names]
    if wrong:
        raise click.UsageError(f"{' and '.join(wrong)} {'means' if len(wrong) == 1 else 'mean'} nothing for {what}")
