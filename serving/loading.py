"""From a run, or a spec and weights, to a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..net.arguments import a_path, strings
from ..net.netspec import load as load_spec
from ..net.parameter_files import Arrays, open_parameters
from ..net.records import NetSpec
from ..solver.finding import find_snapshot, is_run, snapshot_of_weights
from ..solver.snapshot import Snapshot
from ..spec.errors import NettrainError
from .model import Model


def load(
    what: str | Path | Mapping[str, Any] | NetSpec,
    *,
    weights: str | Path | None = None,
    settings: Iterable[str] = (),
    allow_python: bool = False,
) -> Model:
    """The trained net of a run: its folder, or one of its snapshots. The best weights are taken, or else the newest.

    ``weights`` are others, a file or a run; with them ``what`` may be a spec, whose data is opened unless the weights
    are a run's. ``settings`` are overrides such as ``data.batch_size=100``. Raises NettrainError.

        model = nettrain.load("runs/photos/001")
        model.predict(["a.jpg", "b.jpg"])
    """
    settings = strings(settings, "settings")
    about: dict[str, Any] = {}
    notes: list[str] = []
    arrays: Arrays | None = None
    if _names_a_run(what, weights is None):
        found = find_snapshot(a_path(what, "run"), best_first=True)
        run, notes = found.snapshot, found.notes
        spec, origin = run.spec(settings, allow_python), str(run.path)
        about, arrays = _about(run), run.params
    elif weights is None:
        raise NettrainError("a spec has no weights: give them too, as weights=FILE, or give a run")
    else:
        spec, origin = load_spec(what, settings, allow_python=allow_python), ""
    with ExitStack() as opened:
        if weights is not None:
            place = a_path(weights, "weights")
            other = snapshot_of_weights(place)
            if other is not None:
                arrays, origin, about = other.params, str(other.path), _about(other) | about
            else:
                arrays, origin = opened.enter_context(open_parameters(place, "weights file")), str(place)
        assert arrays is not None
        model = Model(spec, arrays, origin, **about)
    model.notes = notes
    return model


def _names_a_run(what: Any, is_all: bool) -> bool:
    """Whether this is a run, or must be one since nothing else is given."""
    is_name = isinstance(what, str | os.PathLike) and "\n" not in str(what)
    return is_name and (is_all or is_run(Path(what)))


def _about(run: Snapshot) -> dict[str, Any]:
    level, stages = run.level_and_stages(0, ())
    return {"level": level, "stages": stages, "seed": run.state["seed"], "fitted": run.state["fitted"]}
