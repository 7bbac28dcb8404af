"""Where output goes: streams that are closed, full, of another encoding; words to a person, results, JSON."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import Any, TextIO

import click

# What a stream's encoding lacks is written as these, or else as `?`.
PLAIN = {
    "·": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "×": "x",
    "→": "->",
    "✓": "ok",
    "“": '"',
    "”": '"',
    "≥": ">=",
    "≤": "<=",
}


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """For encoders: characters that cannot be encoded, in others that can; bytes of a file's name as they were."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in text):
        return text.encode("ascii", "surrogateescape"), error.end
    return "".join(PLAIN.get(character, "?") for character in text), error.end


def prepare() -> None:
    """Make stdout and stderr something that can be written to, in whatever encoding.

    Where one was closed (``>&-``), the next file that is opened would get its number, and with it what is printed: so
    something is put there. What is written to a closed stderr is lost; writing to a closed stdout is an error.
    """
    codecs.register_error("nettrain", _plainly)
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number
    sys.stdout, sys.stderr = sys.stdout or _stream(1), sys.stderr or _stream(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="nettrain")


def _stream(number: int) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), "utf-8", line_buffering=True)


def look_away(*streams: TextIO) -> None:
    """What is written from now on goes nowhere, and so does what is still in the buffers; there is nothing to read."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):  # not a file of the system
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def say(text: str) -> None:
    """To a person, on stderr, if there is anybody."""
    try:
        click.echo(text, err=True)
    except OSError:
        look_away(sys.stderr)


def show(data: Any, as_json: bool, report: Any, indent: int | None = 1) -> None:
    """A result, on stdout: one JSON object, in one line with ``indent`` None, or as ``report`` words it."""
    from ..files import plain_json

    context = click.get_current_context(silent=True)
    stdout = context.meta.get("stdout") if context else None  # without one it is called by a program
    click.echo(plain_json.text(data, indent) if as_json else report(data), file=stdout)
