"""Use: predict."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click

from .app import main
from .options import (
    Name,
    debug_option,
    engine_option,
    json_option,
    python_is_allowed,
    spec_options,
    threads_option,
)
from .screen import Screen
from .streams import say


@main.in_group("Use")
@click.argument("run", metavar="RUN", type=Name())
@click.argument("files", metavar="FILES...", type=Name(), nargs=-1, required=True)
@click.option("--weights", type=Name(), help="The file with the parameters; RUN may then be a spec.")
@click.option("--top", default=1, type=click.IntRange(1), help="How many classes of each, the likeliest first.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@json_option
@click.option("--npz", type=Name(), metavar="FILE", help="Write all numbers to a file instead.")
@spec_options
@threads_option
@engine_option
@debug_option
def predict(run: str, files: tuple, as_csv: bool, as_json: bool, npz: str | None, top: int, **options: Any) -> None:
    """Say what a trained net makes of new data.

    A line for each example: its class and how probable that is, or its values.

    FILES are pictures, folders of them, or tables and arrays of many examples (.csv, .parquet, .npz, .npy, .h5); `-` is
    stdin, a table or the names of files. They need no labels. --json prints one object a line.

    \b
    nettrain predict runs/photos/001 new/*.jpg
    nettrain predict runs/photos/001 new/ --top 3
    nettrain predict runs/table/002 new.csv --csv > answers.csv
    find new -name '*.png' | nettrain predict runs/photos/001 - --json

    A file that cannot be read is named on stderr, the rest goes on, and the exit code is that of its error (2).
    """
    from ..tools.reports import predicting

    if as_csv + as_json + (npz is not None) > 1:
        raise click.UsageError("--csv, --json and --npz are three forms of the output; give only one of them")
    model = predicting.prepare(run, say=say, allow_python=python_is_allowed(), **options)
    form = "csv" if as_csv else "json" if as_json else "npz" if npz else "table"
    screen = Screen(predicting.count_of(files), unit="")
    doing = predicting.Predicting(model, form, top, screen.say)
    with screen:
        for lines, examples in doing.run(files, getattr(sys.stdin, "buffer", None) or io.BytesIO()):
            if not screen.show(lines):
                break  # whoever read it has seen enough
            screen.count(examples)
    if npz:
        screen.show(doing.write(Path(npz)))
    sys.exit(doing.exit_code)
