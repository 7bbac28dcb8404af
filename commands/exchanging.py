"""Exchange: schema, env."""

from __future__ import annotations

from .app import main
from .options import json_option
from .streams import show


@main.in_group("Exchange")
def schema() -> None:
    """Print a JSON schema of specs, for editors."""
    from ..tools import schema as making

    show(making.schema(), True, None)


@main.in_group("Exchange")
@json_option
def env(as_json: bool) -> None:
    """Print versions, BLAS, threads and extras, for bug reports."""
    from ..tools import environment

    show(environment.environment(), as_json, environment.report)
