"""`nettrain check`: everything but training."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..net.net import Net
from ..net.records import NetSpec
from ..net.user_code import UserCodeError, author, is_users
from ..solver.evaluate import has_end
from ..solver.looking import SECONDS, look_through, remarks
from ..solver.mistakes import mistakes
from ..solver.solver import Solver
from ..spec.errors import NettrainError, Place, Problem, Problems, SpecError, in_order


def check(spec: NetSpec, problems: Problems, *, level: int = 0, stages: Iterable[str] = ()) -> dict:
    """Build both nets and the solver, look through the data, and run the first batch of each data set.

    ``problems`` are those found while the spec was loaded. Returns what was checked, with ``remarks`` and ``warnings``.
    Raises SpecError with every problem, NettrainError when the data does not fit.
    """
    state: dict[str, Any] = {"level": level, "stages": tuple(stages)}
    is_run = spec.trained is not None  # which is there already: nothing will be written
    if "solver" in spec.root.value:
        solver = Solver(spec, problems=problems, **state)
        nets, warnings = [solver.net, *solver.test_nets], solver.warnings
        if not is_run:
            solver.run.check_writable()
    else:
        nets = _build_nets(spec, problems, state)
        warnings = in_order(mistakes(spec, nets[0], nets[1:]))
    looked = look_through(nets, problems)
    problems.raise_if_any()
    for net in nets:
        if has_end(net):
            with np.errstate(all="ignore"):
                net.run_forward()
                if net.phase == "TRAIN" and any(is_users(author(layer)[0]) for layer in net.layers.values()):
                    net.backward()  # nettrain's own are known to work
    return {
        "ok": True,
        "spec": spec.file,
        "name": spec.name,
        "nets": {net.phase: len(net.steps) for net in nets},
        "parameters": nets[0].flat.count,
        "solver": "solver" in spec.root.value,
        "data": [dataclasses.asdict(one) for one in looked],
        "remarks": remarks(nets),
        "warnings": [str(warning) for warning in warnings],
    }


def _build_nets(spec: NetSpec, problems: Problems, state: dict) -> list[Net]:
    """Both nets; the second in the memory of the first's parameters, unless they have others."""
    nets: list[Net] = []
    for phase in ("TRAIN", "TEST"):
        try:
            nets.append(_sharing(spec, phase, nets, state))
        except SpecError as error:
            problems.found.extend(error.problems)
    problems.raise_if_any()
    return nets


def _sharing(spec: NetSpec, phase: str, nets: list[Net], state: dict) -> Net:
    fitted = nets[0].fitted() if nets else None
    if nets:
        with contextlib.suppress(SpecError):
            return Net(spec, phase, share_with=nets[0], fitted=fitted, **state)
    return Net(spec, phase, fitted=fitted, **state)


def as_json(error: NettrainError) -> dict:
    """What is wrong, as data: ``ok`` as in a good result, and the list of errors."""
    if isinstance(error, SpecError | UserCodeError):
        problems = error.problems if isinstance(error, SpecError) else [error.problem]
    else:  # of the data, or the folders: it says where in its words
        problems = [Problem(Place(""), str(error))]
    errors = [
        {
            "file": problem.place.file,
            "line": problem.place.line,
            "column": problem.place.column,
            "message": problem.message,
            "details": list(problem.all_details),
        }
        for problem in problems
    ]
    return {"ok": False, "errors": errors}


def report(result: dict) -> str:
    """A line for a person, one for data that was not looked through to its end, and one for each remark and warning."""
    nets = ", ".join(f"{phase} net of {layers} layers" for phase, layers in result["nets"].items())
    solver = "solver, data and files" if result["solver"] else "no solver: it can be run but not trained"
    lines = [f"{result['spec']}: ok · {nets} · {result['parameters']:,} parameters · {solver}"]
    lines += [
        f"looked at the first {one['examples']:,} of {one['total']:,} {one['phase']} examples of `{one['layer']}`, in "
        f"{SECONDS:g} s; the others were not read"
        for one in result["data"]
        if one["examples"] < one["total"]
    ]
    return "\n".join([*lines, *result["remarks"], *(f"warning: {text}" for text in result["warnings"])])
