"""Arguments that several commands have."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import click

from .streams import say


class Name(click.Path):
    """A path, or another name: never empty, as it is where a shell variable was not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail("it is empty", param, ctx)
        try:
            return super().convert(value, param, ctx)
        except (UnicodeError, ValueError):  # a character that no name has
            self.fail(f"{value!a} is not a file name", param, ctx)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["debug"] = ctx.meta.get("debug") or value


def _allow_python(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["allow_python"] = value


def _keep_stdout_for_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """While JSON is asked for, stdout holds that alone: what a user's code prints goes to stderr."""
    if value:
        ctx.meta["stdout"] = sys.stdout
        ctx.with_resource(contextlib.redirect_stdout(sys.stderr))
    return value


def python_is_allowed() -> bool:
    """Whether this command line has --allow-python."""
    return click.get_current_context().meta.get("allow_python", False)


def command_line() -> str:
    """What was typed, as a shell takes it."""
    return click.get_current_context().meta.get("command", "")


def _use_threads(_: click.Context, __: click.Parameter, value: int | None) -> None:
    if value is not None:
        from ..compute.parallel import use_threads

        use_threads(value)


def _use_engine(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        from ..net.engines import use_engine

        use_engine(value)  # type: ignore[arg-type]


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_keep_stdout_for_json,
    help="Print one JSON object instead of text; NaN and infinity are null.",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key: solver.base_lr=0.1, conv1.num_output=32.",
)
level_option = click.option("--level", default=0, help="Level that include and exclude rules look at.")
stage_option = click.option("--stage", "stages", multiple=True, help="Stage that include and exclude rules look at.")
threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    callback=_use_threads,
    expose_value=False,
    help="Threads; default all cores. The results are the same, bit for bit.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "numpy", "onednn"]),
    callback=_use_engine,
    expose_value=False,
    help="What computes the layers; default auto: oneDNN where it is installed.",
)
python_option = click.option(
    "--allow-python",
    is_flag=True,
    expose_value=False,
    callback=_allow_python,
    help="Let layers of type Python run the code they name.",
)
spec_argument = click.argument("spec", metavar="SPEC_OR_RUN", type=Name())
phase_option = click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
    default="TRAIN",
    help="Which net; default TRAIN.",
)


def _together(*options: Callable[[Callable], Callable]) -> Callable[[Callable], Callable]:
    """Several options as one decorator; in the help they stand in this order."""

    def add(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return add


spec_options = _together(set_option, python_option)  # of whatever reads a spec
state_options = _together(level_option, stage_option)  # of what makes the nets of a spec, as rules see them
net_options = _together(spec_options, phase_option, state_options)  # of what makes one net
output_options = _together(json_option, debug_option)  # of what prints a result


def read(spec: str, settings: tuple[str, ...], problems: Any = None) -> Any:
    """Load a spec, or that of a run; says so when it is a bundled one, or a snapshot was skipped."""
    from ..net.netspec import load

    loaded = load(spec, settings, problems, python_is_allowed())
    if loaded.note:
        say(loaded.note)
    return loaded
