"""The tests of a program: the scores of what it trains, over the whole test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...net.net import Net
from ...net.step import Step
from ...solver.blueprint import Blueprint
from ...spec.errors import NettrainError
from .code import Code, address
from .data import ArraySource, is_source
from .expressions import block, indented
from .sources import source
from .writers import make


class Tests(NamedTuple):
    """Lines that load the data, a function, lines in the loop, lines after it; nothing where no test can be written."""

    loading: Sequence[str] = ()
    function: Sequence[str] = ()
    in_loop: Sequence[str] = ()
    at_end: Sequence[str] = ()


def tests(train: Code, used: set[int], blueprint: Blueprint) -> Tests:
    """The tests, where each is one pass over one data set that gives means over its examples. ``used`` is where the
    parameters lie that the program has."""
    if len(blueprint.tests) != 1 or blueprint.tests[0].batches is not None:
        return Tests()
    net, p = blueprint.tests[0].net, blueprint.p
    steps, shown = _judging(net)
    sources = [step for step in steps if is_source(step)]
    own = {address(blob.data) for step in steps for blob in step.layer.blobs}
    if not shown or len(sources) != 1 or not own <= used:
        return Tests()
    code = Code(net, steps, train=train, forward_only=True)
    code.arrays = train.arrays
    code.steps = [step for step in steps if step is not sources[0]]
    try:
        writers = make(code)
        examples = source(code, sources[0], test=True)
    except NettrainError:
        return Tests()
    if not isinstance(examples, ArraySource) or any(writer.carries for writer in writers):
        return Tests()
    code.write_forward(writers)
    train.functions |= code.functions
    train.imports |= code.imports
    function, start, scores, of_batch = map(code.names.new, ("test", "start", "scores", "of_batch"))
    size, count = examples.size, examples.count
    pieces = [
        f"{top} = {name}[{start} : {start} + {count}]" for top, name in zip(examples.tops, examples.names, strict=True)
    ]
    values = ", ".join(code.blobs[key] for key in shown)
    counted = f"{of_batch} = [{values}]", f"{scores} = {scores} + len({examples.tops[0]}) * np.array({of_batch})"
    printed = ", ".join(f'"{code.blobs[key]}", {scores}[{i}] / {size}' for i, key in enumerate(shown))
    body = [
        f'"""Print how good the net is on the {size:,} examples of the test set, {count} at a time."""',
        *(line for line in code.before if line not in train.before),
        f"{scores} = 0",
        f"for {start} in range(0, {size}, {count}):",
        *indented([*pieces, *code.lines, *counted]),
        f'print("test", iteration, {printed})',
    ]
    lines = ["", "", f"def {function}(iteration):", *block(body, 4), ""]
    due = f"iteration % {p.test_interval} == 0" + ("" if p.test_initialization else " and iteration")
    in_loop = [f"if {due}:", f"    {function}(iteration)"] if p.test_interval else []
    return Tests(examples.loading(), lines, in_loop, ["", f"{function}({blueprint.max_iter})"])


def _judging(net: Net) -> tuple[list[Step], list]:
    """(the steps that lead to scores and losses which are means over the examples, the blobs that hold these)."""
    wanted: set = set()
    shown = []
    steps = []
    for step in reversed(net.steps):
        judges = step.layer.is_score or step.layer.is_loss
        ignores = getattr(step.layer.p, "ignore_label", None) is not None or getattr(step.layer.p, "class_weight", None)
        if judges and not ignores and not step.top[0].shape and getattr(step.layer.p, "normalization", "") != "NONE":
            shown.append(step.top_keys[0])
            wanted.add(step.top_keys[0])
        if any(key in wanted for key in step.top_keys):
            steps.append(step)
            wanted.update(step.bottom_keys)
    return steps[::-1], shown[::-1]
