"""The one recipe by which a net is put together: of a spec, and of the layers that are written inside a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ..spec.errors import Problems, SpecError
from . import build, plan
from .blob import Blob
from .build import Parameter
from .engines import Engine
from .graph import wire
from .records import NetSpec, State
from .step import Step


@dataclass
class Assembly:
    """A net that could run, except that its parameters have no memory: whoever has some places them.

    ``uses`` has each parameter blob of each layer and the parameter it is, several blobs for a shared one.
    """

    steps: list[Step]
    parameters: list[Parameter]
    uses: list[tuple[Blob, Parameter]]


def assemble(
    spec: NetSpec,
    state: State,
    problems: Problems,
    *,
    seed: int,
    dtype: np.dtype,
    freeze: Iterable[str] = (),
    engine: Engine = "numpy",
    fitted: Mapping[str, Mapping[str, Any]] | None = None,
    serves: bool = False,
    given: Mapping[str, Any] | None = None,
) -> Assembly:
    """Wire the layers, make them, decide which run backward, find the parameters, and share memory, in this order.

    ``freeze`` names layers whose parameters are not learned, by name (also that of a
    use of a block they are part of) or glob. Raises SpecError with all ``problems``.
    """
    wired = wire(spec, state, problems)
    interval = spec.solver.value.get("test_interval") if spec.solver is not None else None
    is_tested = spec.solver is not None and (interval is None or interval.value != 0)
    steps = build.build_steps(
        wired, state.phase, seed, dtype, spec.folder, problems, engine, fitted, is_tested, serves, given
    )
    if problems.found or len(steps) < len(wired):  # a broken layer was reported when the spec was loaded
        raise SpecError(problems.found)
    patterns = tuple(freeze)
    for step in steps:
        step.frozen = any(fnmatchcase(name, pattern) for name in step.spec.names for pattern in patterns)
    plan.decide_backward(steps, spec.force_backward, problems)
    parameters, uses = build.collect_parameters(steps, problems)
    problems.raise_if_any()
    plan.pass_memory_on(steps)
    plan.share_memory_in_place(wired, steps)
    plan.connect_diffs(steps)
    plan.pass_diffs_on(steps)
    return Assembly(steps, parameters, uses)
