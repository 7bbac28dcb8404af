"""The test at the end of a program: the scores of what it has trained, over the whole test set."""

from __future__ import annotations

from ...layers.data.data import Data
from ...net.net import Net
from ...net.step import Step
from ...solver.blueprint import Blueprint
from ...spec.errors import NettrainError
from .code import Code, address, block
from .data import DataSource, is_source
from .writers import make


def final_test(train: Code, used: set[int], blueprint: Blueprint) -> tuple[list[str], list[str]] | None:
    """(lines before the loop, lines after it); None where a test is more than one pass over one data set that gives
    means over its examples. ``used`` is where the parameters lie that the program has."""
    tests = [test for test in blueprint.tests if any(step.layer.is_score for step in test.net.steps)]
    if len(tests) != 1 or len(blueprint.tests) != 1 or tests[0].batches is not None:
        return None
    net = tests[0].net
    steps, shown = _judging(net)
    sources = [step for step in steps if is_source(step)]
    own = {address(blob.data) for step in steps for blob in step.layer.blobs}
    moving = any(step.layer.moves_blobs for step in blueprint.net.steps)
    if len(sources) != 1 or not isinstance(sources[0].layer, Data) or moving or not own <= used:
        return None
    transform = sources[0].layer.p.transform
    if transform.crop_size or transform.mirror:
        return None
    code = Code(net, steps, train=train, forward_only=True)
    code.arrays = train.arrays
    code.steps = [step for step in steps if step is not sources[0]]
    try:
        writers = make(code)
    except NettrainError:
        return None
    source = DataSource(code, sources[0], test=True)
    code.write_forward(writers)
    train.functions |= code.functions
    train.imports |= code.imports
    start, scores, size = code.names.new("start"), code.names.new("scores"), source.size
    pieces = [
        f"{top} = {name}[{start} : {start} + {source.count}]"
        for top, name in zip(source.tops, source.names, strict=True)
    ]
    values = ", ".join(code.blobs[key] for key in shown)
    after = [
        "",
        f"# Test: the {size:,} examples of the test set, {source.count} at a time",
        f"{scores} = 0",
        f"for {start} in range(0, {size}, {source.count}):",
    ]
    of_batch = code.names.new("of_batch")
    counted = f"{of_batch} = [{values}]", f"{scores} = {scores} + len({source.tops[0]}) * np.array({of_batch})"
    after += block([*pieces, *code.lines, *counted], 4)
    after += [f'print("test {code.blobs[key]}", {scores}[{i}] / {size})' for i, key in enumerate(shown)]
    return [*source.loading(), *(line for line in code.before if line not in train.before)], after


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
