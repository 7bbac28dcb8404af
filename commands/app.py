"""The program: its help, and how every command ends."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from .. import __version__
from ..ranks.launch import recognized
from ..spec.errors import NettrainError
from .caffe_words import translated
from .company import Company
from .options import debug_option
from .streams import look_away, prepare

EXAMPLES = """\
  nettrain train configs/mlp.yaml     train it (data included)
  nettrain check configs/mlp.yaml     everything but training
  nettrain new mine --data FILE       a spec for a table, a folder of pictures, or arrays
  nettrain gradcheck                  check every layer's backward pass
  nettrain explain configs/lecture/add_mul.yaml
"""
GROUPS = ["Begin", "Train", "Use", "Check", "Look", "Exchange"]


class App(click.Group):
    """Help with examples first and commands in groups; our errors become one message and an exit code."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.groups: dict[str, list[str]] = {}  # group of the help -> its commands, as they stand in its module
        self.for_all: set[str] = set()  # commands that run in each of several processes; others run in one
        self.company = Company()

    def in_group(self, group: str, name: str | None = None, *, for_all: bool = False) -> Callable:
        """Decorator: a command, under its function's name or another one, shown in this group of the help.

        Of several processes that a launcher starts, each runs it if it is ``for_all``, else rank 0 alone.
        """

        def add(function: Callable) -> click.Command:
            command = self.command(name)(function)
            self.groups.setdefault(group, []).append(str(command.name))
            if for_all:
                self.for_all.add(str(command.name))
            return command

        return add

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = translated(args)
        ctx.meta["command"] = shlex.join(["nettrain", *args])
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        found = super().resolve_command(ctx, args)
        if not self.company.has_work(str(found[0]), found[0] in self.for_all):
            ctx.exit(0)
        return found

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"nettrain – {(self.help or '').strip()}\n\n{EXAMPLES}")
        for group, names in sorted(self.groups.items(), key=lambda item: GROUPS.index(item[0])):
            shown = [(name, self.commands[name].get_short_help_str(70)) for name in names]
            with formatter.section(group):
                formatter.write_dl(shown)
        formatter.write("\nEvery command has --help. Shell completion: see README.md.\n")

    def main(self, args: Any = None, prog_name: Any = None, complete_var: Any = None, *_: Any, **extra: Any) -> Any:
        """Run a command and exit, together with others where a launcher started several."""
        prepare()
        self.company = Company(recognized(os.environ))
        self.company.begin()
        try:
            code = self.run(args, prog_name, complete_var, extra)
        except SystemExit as error:
            self.company.end(error.code if isinstance(error.code, int) else int(error.code is not None))
            raise
        except BaseException:
            if self.company.launch is None:
                raise
            self.company.complain(traceback.format_exc().rstrip())
            code = 1
        self.company.end(code)
        sys.exit(code)

    def run(self, args: Any, prog_name: Any, complete_var: Any, extra: dict[str, Any]) -> int:
        """Run a command; its exit code. Whatever is printed, by click too, may fail: that is an error of its own."""
        streams = sys.stdout, sys.stderr
        try:
            code = super().main(args, prog_name, complete_var, **extra | {"standalone_mode": False})
            sys.stdout.flush()
        except click.ClickException as error:
            with contextlib.suppress(OSError):  # there is nobody to tell
                error.show()
            self.company.errors.append(error.format_message())
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            self.company.complain("interrupted")
            code = 130
        except OSError as error:  # of our own files every one is a NettrainError
            if error.filename is not None:
                raise
            code = self.cannot_write(error)
        except SystemExit:
            if sys.stdout is streams[0]:
                raise
            sys.stdout, sys.stderr = streams  # which click replaces, and ends, when nobody reads its output any more
            code = self.cannot_write(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        finally:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
                sys.stderr.flush()
        return code or 0

    def cannot_write(self, error: OSError) -> int:
        """Say so; returns the exit code."""
        look_away(sys.stdout)
        why = "stdout is closed" if error.errno == errno.EBADF else error.strerror or str(error)
        self.company.complain(f"the output cannot be written: {why}")
        return 1

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NettrainError as error:
            if ctx.meta.get("debug"):
                raise
            self.company.complain(f"{error}")
            ctx.exit(error.exit_code)
        except MemoryError as error:
            if ctx.meta.get("debug"):
                raise
            self.company.complain(f"not enough memory: {error}")
            ctx.exit(1)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a SystemExit of a user's file too, which would end this without a word
            from ..net.user_code import blame

            words = blame(error)
            if words is None:
                raise
            if ctx.meta.get("debug"):
                raise words from error
            self.company.complain(f"{words}")
            ctx.exit(words.exit_code)


def hold_blas() -> None:
    """One thread, which rests soon, for BLAS libraries that read these when numpy is first imported. OpenBLAS is asked
    for threads while a net runs; what ``openblas.rest_early`` does there, newer ones allow only here."""
    if "numpy" not in sys.modules:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ[name] = "1"
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="nettrain")
@debug_option
def main() -> None:
    """train neural networks from a YAML file, on a CPU, and see how they learn."""
    hold_blas()
