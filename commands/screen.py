"""Where long work is shown: lines on stdout, a bar on stderr when that is a terminal."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from .streams import look_away


class Screen:
    """Lines on stdout, and below them a bar on stderr, of ``total`` things of which some are done; None is not known.

    Nobody needs to look: when the terminal is closed, or the program at the other end of a pipe is gone, work goes on.
    """

    def __init__(self, total: int | None, done: int = 0, unit: str = "it"):
        from tqdm import tqdm

        hidden = not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"
        self.bar = tqdm(
            total=total, initial=done, file=sys.stderr, disable=hidden, unit=unit, leave=False, dynamic_ncols=True
        )

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.bar.close()
        except OSError:
            self._look_away()

    def write(self, text: str, stream: Any = None) -> None:
        try:
            self.bar.write(text, file=stream or sys.stdout)
            (stream or sys.stdout).flush()
        except OSError:
            self._look_away()

    def show(self, text: str) -> bool:
        """Results, on stdout; whether there is still somebody to read them. Raises OSError when they cannot be written
        for another reason."""
        context = click.get_current_context(silent=True)
        stdout = (context.meta.get("stdout") if context else None) or sys.stdout
        try:
            if text:
                self.bar.write(text, file=stdout)
                stdout.flush()
        except BrokenPipeError:
            look_away(stdout)
            return False
        return True

    def say(self, text: str) -> None:
        self.write(text, sys.stderr)

    def advance(self, loss: float) -> None:
        """One iteration more, with its loss."""
        try:
            self.bar.set_postfix_str(f"loss={loss:.4g}", refresh=False)
        except OSError:
            self._look_away()
        self.count(1)

    def count(self, done: int) -> None:
        """So many things more are done."""
        try:
            self.bar.update(done)
        except OSError:
            self._look_away()

    def _look_away(self) -> None:
        self.bar.disable = True
        look_away(sys.stdout, sys.stderr)
