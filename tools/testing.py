"""`nettrain test`: a trained net on its test data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..files import plain_json
from ..net.net import DEFAULT_SEED, Net
from ..net.parameter_files import Arrays, LoadReport, assign, open_parameters
from ..net.records import NetSpec
from ..net.user_code import ask
from ..serving.judging import judges
from ..solver.evaluate import TestNet, evaluate_all, name_test_nets, shown
from ..solver.finding import find_snapshot, is_run
from ..solver.parameters import NetState, SolverParameters, parameters_of
from ..solver.runs import quoted
from ..spec.errors import NettrainError
from .reports import measured
from .table import table

MISTAKES = 10  # that are listed, of each kind of answer


def run(
    what: str,
    weights: str | None,
    iterations: int | None,
    settings: Iterable[str],
    read: Callable[[str], NetSpec],
    say: Callable[[str], None],
    *,
    level: int = 0,
    stages: Iterable[str] = (),
    allow_python: bool = False,
    mistakes: int = MISTAKES,
) -> dict:
    """Test the weights of a spec, or those of a run: the best, or else the newest, with the spec, level, stages and
    seed it was trained with. ``read`` reads a spec, ``say`` gets notes for the user.

    The tests are those of training: one for each ``test_state`` of the solver, over the whole test set once or over
    ``test_iter`` batches. ``iterations`` overrides the number of batches; ``level`` and ``stages`` stand for a single
    test net with these, in place of the solver's. See ``measure``.
    """
    asked = NetState(level=level, stage=tuple(stages)) if level or stages else None
    where = Path(what)
    is_name_of_spec = where.suffix in (".yaml", ".yml") or os.path.lexists(where) or weights is not None
    if not is_run(where) and is_name_of_spec:
        if weights is None:
            raise NettrainError(
                f"nothing to test: give the weights too (--weights FILE), or in place of {quoted(what)} a run such as "
                "runs/mlp/001, which has its spec and its weights"
            )
        return measure_file(read(what), weights, iterations, asked, mistakes=mistakes)
    found = find_snapshot(where, best_first=True)
    for note in found.notes:
        say(note)
    snapshot = found.snapshot
    spec = snapshot.spec(settings, allow_python)
    spec.file = what
    level, stages = snapshot.level_and_stages(level, stages)
    asked, given = asked and NetState(level=level, stage=stages), NetState(level=level, stage=stages)
    seed, fitted = snapshot.state["seed"], snapshot.state["fitted"]
    if weights is not None:
        return measure_file(spec, weights, iterations, asked, given, seed, fitted, mistakes)
    return measure(spec, snapshot.params, str(snapshot.path), iterations, asked, given, seed, fitted, mistakes)


def measure_file(spec: NetSpec, weights: str | Path, *options: Any, **more: Any) -> dict:
    """``measure`` with the parameters of a file."""
    with open_parameters(Path(weights), "weights file", spec) as arrays:
        return measure(spec, arrays, str(weights), *options, **more)


def measure(
    spec: NetSpec,
    weights: Arrays,
    origin: str,
    iterations: int | None = None,
    asked: NetState | None = None,
    given: NetState | None = None,
    seed: int | None = None,
    fitted: Mapping[str, Mapping[str, Any]] | None = None,
    mistakes: int = MISTAKES,
) -> dict:
    """Mean of each output of the test nets with these weights, how good its answers are, and which weights were used.

    ``asked`` is the state of the only net to test with; without it they are the solver's, ``given`` counts besides
    what they say; ``fitted`` is what the run found in its training data. With several nets the names of scores and of
    layers that read data have the net's before them, as in training.

    ``measures`` has for each loss (or score) that compares answers with what is true the figures of the whole test set,
    such as precision, recall and confusion of classes: see ``serving.judging``. There are none where a score is not
    finite.

    ``notes`` say what to know of the scores, ``exit_code`` is 0 unless one is not finite (2: the data is to blame). A
    score that is not finite, or of nothing counted, is None. ``examples`` are those that were tested, ``sets`` those
    there are.

    Raises NettrainError when the weights do not fit, or nothing says how long a test is.
    """
    p = parameters_of(spec, "TRAIN") or SolverParameters(base_lr=0.0, max_iter=0)
    if asked:
        p, states = _only(p, asked), [asked]
    else:
        states = [state.beside(given or NetState()) for state in p.test_state or (NetState(),)]
    if seed is None:
        seed = p.random_seed if p.random_seed >= 0 else DEFAULT_SEED
    nets = [
        Net(spec, "TEST", level=state.level, stages=state.stage, seed=seed, engine=p.engine, fitted=fitted)
        for state in states
    ]
    tests = [replace(test, batches=iterations or test.batches) for test in name_test_nets(p, nets)]
    for test in tests:
        if not test.has_length:
            of_which = f" `{test.prefix[:-1]}`" if test.prefix else ""
            raise NettrainError(
                f"no layer of the TEST net{of_which} reads a data set that ends; give --iterations, or solver.test_iter"
            )
    loaded = _load(nets, weights, origin)
    judging = {test.prefix: judges(test.net, mistakes) for test in tests}

    def judge(test: TestNet) -> None:
        for one in judging[test.prefix]:
            one.add()

    found = evaluate_all(tests, judge)
    steps = [step for net in nets for step in net.steps]
    notes = [f"{step.spec.title()} {why}" for step in steps if (why := ask(step.layer, "unready"))] + found.notes
    if found.trouble:
        notes.append(f"no finite number for {', '.join(f'`{name}`' for name in found.bad)}: {found.trouble.sentence}")
    return {
        "spec": spec.file,
        "weights": origin,
        "examples": {name: count for name, (count, _) in found.measured.items()},
        "sets": {name: size for name, (_, size) in found.measured.items()},
        "scores": plain_json.plain(found.scores),
        "shares": [name for test in tests for name in test.shares()],
        "measures": plain_json.plain(
            [
                {"net": prefix[:-1]} | one.result()
                for prefix, several in judging.items()
                for one in several
                if not found.trouble
            ]
        ),
        "notes": list(dict.fromkeys(notes)),
        "layers": {"loaded": loaded.loaded, "missing": loaded.missing, "ignored": loaded.ignored},
        "exit_code": (2 if found.trouble.in_data else 1) if found.trouble else 0,
    }


def _only(p: SolverParameters, asked: NetState) -> SolverParameters:
    """The solver's parameters for a test of one net: with the batches of that of its test nets which is like it, or
    else of the first."""
    batches = p.test_iter
    if len(batches) > 1:
        batches = batches[p.test_state.index(asked) if asked in p.test_state else 0 :][:1]
    return replace(p, test_state=(), test_iter=batches)


def _load(nets: list[Net], weights: Arrays, origin: str) -> LoadReport:
    """Give the nets their parameters. Loaded is what any net took, missing what one lacks, ignored what none has."""
    reports = [assign(net.params, weights, origin) for net in nets if net.params or len(nets) == 1]
    loaded = dict.fromkeys(name for report in reports for name in report.loaded)
    missing = dict.fromkeys(name for report in reports for name in report.missing)
    ignored = [name for report in reports[:1] for name in report.ignored if all(name in r.ignored for r in reports)]
    return LoadReport(origin, [*loaded], [*missing], ignored)


def report(result: dict) -> str:
    """The scores as a table, with what was left out of the weights, then the figures of classes, labels and values."""
    lines = [" · ".join(dict.fromkeys([result["spec"], result["weights"]]))]
    lines += [f"  {name}: {_examples(count, result['sets'][name])}" for name, count in result["examples"].items()]
    for key, meaning in (
        ("missing", "not in the file, left as initialised"),
        ("ignored", "in the file, not in the net"),
    ):
        if result["layers"][key]:
            lines.append(f"  {meaning}: {', '.join(result['layers'][key])}")
    rows = [[name, _number(value, name in result["shares"])] for name, value in result["scores"].items()]
    notes = [f"  note: {note}" for note in result["notes"]]
    means = "\n".join([*lines, table(["output", "mean"], rows, right=(1,)), *notes])
    return "\n\n".join([means, *map(measured.report, result["measures"])])


def _examples(count: int, size: int) -> str:
    """How many were tested, and of how many where it is not all of them, once."""
    if count == size:
        return f"{count:,} examples"
    return f"{count:,} of {size:,} examples" if count < size else f"{count:,} examples, {size:,} of them different"


def _number(value: Any, is_share: bool) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_number(one, is_share) for one in value)}]"
    return "-" if value is None else shown(value, is_share) if is_share else f"{value:.6g}"
