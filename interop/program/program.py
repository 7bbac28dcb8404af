"""A net as a program that needs numpy alone: what is computed, line by line, with the spec's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...net import parameter_files
from ...net.graph import Key
from ...net.net import Net
from ...net.records import NetSpec
from ...net.step import Step
from ...solver.blueprint import Blueprint, draw
from ...spec.errors import NettrainError, Problems, SpecError
from .code import Code, Writer, address
from .data import Source, inference_lines, is_source
from .expressions import block, comment, plain, times
from .functions import FUNCTIONS
from .initial import initial
from .rules import rate_lines, update_lines
from .sources import source
from .testing import tests
from .writers import make


@dataclass
class Program:
    """``text`` is the program, ``arrays`` what must lie beside it in an ``.npz`` of the same name (it may be empty),
    ``notes`` what it does otherwise than nettrain."""

    text: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write(spec: NetSpec, *, inference: bool = False, arrays: Mapping[str, np.ndarray] | None = None) -> Program:
    """The program that trains a net as its spec says, in double precision, and prints the losses; or with
    ``inference`` one that computes the TEST net's outputs for a file of inputs.

    ``arrays`` are parameters as in nettrain's files (``param/LAYER/INDEX``), instead of those the net begins with.

    Raises SpecError for a spec with mistakes, NettrainError for a layer that cannot be written so.
    """
    if inference:
        net = Net(spec, "TEST", dtype="float64", serves=True)
        _take(net, arrays)
        return _inference(net)
    blueprint = draw(spec, dtype="float64")
    _take(blueprint.net, arrays)
    return _training(blueprint)


def _take(net: Net, arrays: Mapping[str, np.ndarray] | None) -> None:
    if arrays is not None:
        parameter_files.assign(net.params, dict(arrays), "the weights")


def needed_for(net: Net) -> list[Step]:
    """The steps that lead to a loss."""
    wanted: set = set()
    steps = []
    for step in reversed(net.steps):
        if any(step.loss_weights) or any(key in wanted for key in step.top_keys):
            steps.append(step)
            wanted.update(step.bottom_keys)
    return steps[::-1]


def _training(blueprint: Blueprint) -> Program:
    net, p = blueprint.net, blueprint.p
    steps = needed_for(net)
    code = Code(net, steps, accumulate=p.iter_size > 1)
    arrays = code.arrays
    sources, writers = _writers(code, p.iter_size)
    left_out = [step.spec.name for step in net.steps if step not in steps]
    notes = [f"left out, since no loss depends on it: {', '.join(left_out)}"] if left_out else []

    loaded = [line for source in sources for line in source.loading()]
    batches = [line for source in sources for line in source.next()]
    code.write_forward(writers)
    total = _total(code)
    forward, code.lines = code.lines, []
    code.write_backward(writers)
    backward = code.lines

    used = set(re.findall(r"\w+", "\n".join([*forward, *backward])))
    owners = [(name, owner) for name, owner in code.owners() if name in used or f"d_{name}" in used]
    made = []
    for name, owner in owners:
        line, draws = initial(net, name, owner, blueprint.seed, arrays)
        made.append(line)
        if draws:
            code.functions.add("stream")
    rate, rate_before, more = rate_lines(p, blueprint.max_iter)
    notes += more
    kept, update = update_lines(p, owners, code.learned, rate, code.names.new)
    lying = {address(owner.blob.data) for _, owner in owners}
    tested = tests(code, lying, blueprint)
    if blueprint.tests and not tested.function:
        notes.append("tests are left out")

    begin = [*loaded, *tested.loading, *(["", "# What is learned"] if made else []), *made, *code.before, *kept]
    zeros = [f"d_{name} = np.zeros_like({name})" for name in code.learned] if p.iter_size > 1 else []
    seen = [*batches, "# Forward", *forward, "", "# Backward", *backward]
    loop = [*tested.function, "", f"for iteration in range({blueprint.max_iter}):", *block(tested.in_loop, 4)]
    if p.iter_size > 1:
        losses = code.names.new("losses_of_parts")
        part = "part" if any("part)" in line for line in batches) else "_"
        loop += block([*zeros, f"{losses} = []", f"for {part} in range({p.iter_size}):"], 4)
        loop += block([*seen, f"{losses}.append({total})"], 8)
        total = f"np.mean({losses})"
        loop += block(_printing(code, blueprint, total), 4)
    else:
        where = seen.index("# Backward")
        loop += block([*seen[: where - 1], *_printing(code, blueprint, total), "", *seen[where:]], 4)
    loop += block(["", "# Update", *rate_before, *update], 4)
    if p.average_loss > 1:
        begin.append("losses = []")
    about = f"It trains for {blueprint.max_iter:,} iterations, in double precision, and prints the training loss."
    return _assemble(code, net, about, blueprint.seed, [*block(begin, 0), *loop, *tested.at_end], arrays, notes)


def _writers(code: Code, iter_size: int) -> tuple[list[Source], list[Writer]]:
    """What writes the layers that make batches, and the others. Raises SpecError with every layer that cannot be
    written."""
    problems = Problems()
    steps, sources, writers = code.steps, [], []
    code.steps = [step for step in steps if not is_source(step)]
    for step in filter(is_source, steps):
        try:
            sources.append(source(code, step, iter_size))
        except SpecError as error:
            problems.found += error.problems
    try:
        writers = make(code)
    except SpecError as error:
        problems.found += error.problems
    problems.raise_if_any()
    return sources, writers


def _total(code: Code) -> str:
    """What training minimizes: the name of the loss, or of the weighted sum."""
    terms = []
    for step in code.steps:
        for key, blob, weight in zip(step.top_keys, step.top, step.loss_weights, strict=True):
            if weight:
                name = code.blobs[key]
                terms.append(times(weight, name if blob.shape == () else f"{name}.sum()"))
    if len(terms) == 1 and terms[0].isidentifier():
        return terms[0]
    total = code.names.new("total_loss")
    code.say("# what training minimizes", f"{total} = {' + '.join(terms)}")
    return total


def _printing(code: Code, blueprint: Blueprint, total: str) -> list[str]:
    """Lines of progress where nettrain has them."""
    p = blueprint.p
    every = [n for n in (p.display, p.test_interval if blueprint.tests else 0) if n] or [
        max(1, blueprint.max_iter // 10)
    ]
    lines = []
    shown = total
    if p.average_loss > 1:
        lines.append(f"losses.append({total})")
        shown = f"np.mean(losses[-{p.average_loss}:])"
    line = f"print(iteration, {shown})"
    if 1 in every:
        return [*lines, line]
    due = " or ".join(f"iteration % {n} == 0" for n in dict.fromkeys(every))
    return [*lines, f"if {due}:", f"    {line}"]


def _assemble(
    code: Code, net: Net, about: str, seed: int, body: list[str], arrays: dict[str, np.ndarray], notes: list[str]
) -> Program:
    needs = " Its arrays are in the .npz of the same name beside it." if arrays else ""
    sentences = [f"{note[:1].upper()}{note[1:]}." for note in notes]
    lines = [f'"""The net {plain(net.name)} as a numpy program, written by `nettrain convert`.', ""]
    lines += [line.removeprefix("# ") for words in [about + needs, *sentences] for line in comment(words)]
    lines += ['"""', "", *(f"import {name}" for name in sorted(code.imports))]
    if code.imports:
        lines.append("")
    lines += ["import numpy as np", ""]
    for name, function in FUNCTIONS.items():
        if name in code.functions:
            lines += ["", *function.replace("{seed}", str(seed)).splitlines(), ""]
    if code.functions:
        lines.append("")
    if arrays:
        lines += ['arrays = np.load(__file__[:-2] + "npz")', ""]
    while not body[0]:
        body = body[1:]
    lines += body
    return Program("\n".join(lines) + "\n", arrays, notes)


def _inference(net: Net) -> Program:
    """What the TEST net computes from inputs alone: nothing that needs labels, no losses and no scores."""
    steps, inputs = _from_inputs(net)
    if not inputs:
        raise NettrainError(f"the TEST net of {net.spec.file or net.name} computes nothing from inputs alone")
    code = Code(net, [*inputs, *steps], forward_only=True)
    code.steps = steps
    arrays = code.arrays
    writers = make(code)
    weights = {name: np.ascontiguousarray(owner.blob.data) for name, owner in code.owners()}
    arrays |= weights
    code.write_forward(writers)
    forward, code.lines = code.lines, []
    read = {key for step in steps for key in step.bottom_keys}
    outputs = [code.blobs[key] for step in steps for key in step.top_keys if key not in read]
    loaded, shapes, prepared = _inputs(code, inputs)
    left_out = [step.spec.name for step in net.steps if step not in steps and step not in inputs]
    notes = [f"left out, since they need labels or score: {', '.join(left_out)}"] if left_out else []
    code.imports.add("sys")
    body = [
        *(f'{name} = arrays["{name}"]' for name in weights),
        "",
        *loaded,
        *prepared,
        *code.before,
        "",
        *forward,
        "",
        *_answers(outputs, code, 1 + max(step.layer.batch_axis for step in inputs)),
    ]
    about = f"It computes {', '.join(outputs)} for {' and '.join(shapes)}: python net.py INPUTS.npy [OUTPUTS.npz]"
    return _assemble(code, net, about, 0, block(body, 0), arrays, notes)


def _from_inputs(net: Net) -> tuple[list[Step], list[Step]]:
    """(the steps that can be computed from examples, the layers that make these)."""
    known: set = set()
    steps, inputs = [], []
    for step in net.steps:
        if is_source(step):
            known.update(_given(step, net))
            inputs.append(step)
        elif step.top and not _judges(step) and known.issuperset(step.bottom_keys):
            known.update(step.top_keys)
            steps.append(step)
    read = {key for step in steps for key in step.bottom_keys}
    return steps, [step for step in inputs if any(key in read for key in step.top_keys)]


def _given(step: Step, net: Net) -> list[Key]:
    """The tops of a layer without bottoms that are inputs of the program: all of Input's, of others the first, and
    what says where sequences begin."""
    if step.layer.is_input:
        return step.top_keys
    begins = {one.bottom_keys[one.layer.continues_by] for one in net.steps if one.layer.continues_by is not None}
    return [key for i, key in enumerate(step.top_keys) if not i or key in begins]


def _judges(step: Step) -> bool:
    """Whether a layer says how good the net is."""
    return step.layer.is_loss or step.layer.is_score or any(step.loss_weights)


def _inputs(code: Code, inputs: list[Step]) -> tuple[list[str], list[str], list[str]]:
    """(lines that load the inputs, what they are in words, lines that prepare them)."""
    names = [(step, key, code.blobs[key]) for step in inputs for key in _given(step, code.net)]
    prepared, shapes = [], []
    for step, key, name in names:
        lines, shape = inference_lines(code, step, step.top_keys.index(key), name)
        prepared += lines
        shapes.append(f"{name}, {shape}")
    if len(names) == 1:
        return [f"{names[0][2]} = np.load(sys.argv[1]).astype(float)"], shapes, prepared
    if not names:
        return [], shapes, prepared
    inputs_name = code.names.new("inputs")
    loads = [f'{name} = {inputs_name}["{name}"].astype(float)' for _, _, name in names]
    return [f"{inputs_name} = np.load(sys.argv[1])  # an .npz", *loads], shapes, prepared


def _answers(outputs: list[str], code: Code, axis: int) -> list[str]:
    """Lines that print the class of each example, or a summary, and save all of it where that is asked for. ``axis``
    is that of the classes."""
    blobs = {code.blobs[key]: blob for step in code.steps for key, blob in zip(step.top_keys, step.top, strict=True)}
    lines = []
    for name in outputs:
        shape = blobs[name].shape
        many = len(shape) > axis and shape[axis] > 1
        lines.append(f'print("{name}", {f"{name}.argmax(axis={axis})" if many else name})')
    saved = ", ".join(f"{name}={name}" for name in outputs)
    return [*lines, "if len(sys.argv) > 2:", f"    np.savez(sys.argv[2], {saved})"]
