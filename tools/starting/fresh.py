"""`nettrain new`: a spec to start from, with a comment on every line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...files.reading import read_bytes
from ...interop.yaml_out import one_line
from ...net.spec_file import MOST_BYTES
from ...spec.errors import NettrainError
from . import bundled
from .facts import Facts, look

FURTHEST = 66  # column, up to which comments stand below each other
LONGEST = 118
LEAST_SIDE = 8  # pixels of a side from which convolutions are of use
LEAST_BATCH = 8  # images; means and deviations of fewer, which BatchNorm takes, are mostly noise
LEAST_STEPS = 600  # that a net of convolutions needs, however few images there are
SHOWN = 6  # names of classes in a comment
Line = tuple[str, str]  # a line of YAML, and what it means


@dataclass
class Written:
    """The file of a new spec, and what a person should know."""

    path: Path
    notes: list[str] = field(default_factory=list)


def write(name: str, like: str | None, source: str | None, label: str | None, force: bool) -> Written:
    """Write NAME.yaml: fitted to the data at ``source``, ``like`` a bundled spec, or a small net on digits.

    Raises NettrainError, also when there is such a file, unless ``force``.
    """
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not path.stem or path.name.startswith("."):
        raise NettrainError(f"{name}: that is no name for a spec")
    if like is not None and source is not None:
        raise NettrainError("--like copies a spec as it is and --data fits one to data; give only one of them")
    if label is not None and source is None:
        raise NettrainError("--label names a column of a table; say which: --data FILE")
    if os.path.lexists(path) and not force:
        raise NettrainError(f"{path} is there already; to write over it: --force")
    if like is not None:
        return Written(bundled.put(path, _renamed(bundled.find(like), path.stem), force))
    facts = look("digits" if source is None else source, path.parent, label)
    return Written(bundled.put(path, text(path.stem, facts, path).encode(), force), facts.notes)


def report(made: Written) -> str:
    """What was written, and what to do with it."""
    name = str(made.path)
    name = name if re.fullmatch(r"[\w./-]+", name) else "'" + name.replace("'", "'\\''") + "'"
    return f"wrote {made.path}\n  next    nettrain check {name}\n          nettrain train {name}"


def _renamed(path: Path, name: str) -> bytes:
    """A bundled spec with another name, and the commands in its comments with that of the new file."""
    found = read_bytes(path, MOST_BYTES).decode()
    found = re.sub(r"^name: .*$", lambda _: f"name: {one_line(name)}", found, count=1, flags=re.MULTILINE)
    old = next(f"configs/{key}.yaml" for key, one in bundled.bundled().items() if one == path)
    return found.replace(old, f"{name}.yaml").encode()


def text(name: str, facts: Facts, path: Path) -> str:
    """The spec of a small net for what is known of the data."""
    batch = _batch(facts)
    head = [
        f"# {_purpose(facts)}",
        "#",
        f"#     nettrain train {path}",
        "#",
        "# Change a number here, or on the command line:  --set solver.base_lr=0.01",
        "",
        f"name: {one_line(name)}",
        "",
    ]
    data = [
        ("- name: data", ""),
        ("  type: Data", "reads examples and their labels"),
        ("  top: [data, label]", "what it gives: examples, and what is to be predicted"),
        *((f"  {line}", comment) for line, comment in facts.keys),
        (f"  batch_size: {batch}", "examples in a step"),
    ]
    parts = [*head, *_lines([("solver:", "how to train"), *_indent(_solver(facts, batch))]), ""]
    blocks = [*_lines(BLOCK), ""] if is_of_images(facts) else []
    layers = [*data, ("", ""), *_net(facts), ("", ""), *_end(facts)]
    return (
        "\n".join(
            [*parts, *blocks, *_lines([("layers:", "what to train, from the data to the loss"), *_indent(layers)])]
        )
        + "\n"
    )


def _purpose(facts: Facts) -> str:
    if facts.classes:
        return f"A small net that learns to tell {facts.classes} classes apart, from {facts.about}."
    return f"A small net that learns to predict {'a number' if facts.targets == 1 else 'numbers'}, from {facts.about}."


def _batch(facts: Facts) -> int:
    """A power of two up to 64, of which an epoch has some eight."""
    least = LEAST_BATCH if is_of_images(facts) else 4
    return int(min(64, max(least, 2 ** math.floor(math.log2(max(1, facts.train / 8))))))


def _solver(facts: Facts, batch: int) -> list[Line]:
    steps = math.ceil(facts.train / batch)
    most = max(60, math.ceil(LEAST_STEPS / steps)) if is_of_images(facts) else 60
    epochs = max(5, min(most, round((40_000 if is_of_images(facts) else 100_000) / facts.train)))
    first = [("test_initialization: false", "no test before the first step")] if is_of_images(facts) else []
    every = max(1, round(epochs / 20))
    return [
        ("base_lr: 0.05", "the learning rate: how far each step goes"),
        ("lr_policy: cosine", "it falls to 0 along a half wave"),
        ("momentum: 0.9", "a step keeps this share of the one before"),
        ("weight_decay: 5e-4", "keeps weights small"),
        ("clip_gradients: 5", "a gradient that is longer is shortened to this"),
        (f"max_epoch: {epochs}", "passes over the training data"),
        (f"test_interval: {steps * every}", f"steps between tests: {'one pass' if every == 1 else f'{every} passes'}"),
        *first,
        (f"display: {steps * every}", "steps between rows of progress"),
        (f"average_loss: {min(20, steps)}", "the training loss shown is the mean of so many"),
    ]


def is_of_images(facts: Facts) -> bool:
    """Whether examples are images, C x H x W, large enough for convolutions."""
    return len(facts.shape) == 3 and facts.shape[0] <= 4 and min(facts.shape[1:]) > LEAST_SIDE


def _net(facts: Facts) -> list[Line]:
    return _convolutions(facts) if is_of_images(facts) else _hidden(facts)


def _hidden(facts: Facts) -> list[Line]:
    """Two hidden layers, smaller ones for few examples."""
    size = 64 if facts.train >= 500 else 16
    return [
        (
            f"- {{name: hidden1, type: InnerProduct, bottom: data, num_output: {size}, weight_filler: msra}}",
            "weighted sums of all values",
        ),
        ("- {name: relu1, type: ReLU}", "what is below 0 becomes 0"),
        (f"- {{name: hidden2, type: InnerProduct, num_output: {size // 2}, weight_filler: msra}}", "sums of these"),
        ("- {name: relu2, type: ReLU}", "again"),
    ]


def _rounds(facts: Facts) -> int:
    """How many times an image is halved until some 4 x 4 places are left."""
    return max(1, min(4, round(math.log2(min(facts.shape[1:]) / 4))))


BLOCK: list[Line] = [
    ("blocks:", "a part that is used several times below"),
    ("  round:", ""),
    ("    parameters: {channels: }", "what each use says"),
    ("    layers:", ""),
    ("      - name: conv", "patterns of 3 x 3 pixels, looked for everywhere"),
    ("        type: Convolution", ""),
    ("        num_output: $channels", "how many patterns"),
    ("        kernel_size: 3", ""),
    ("        pad: 1", "zeros around the image, so that it keeps its size"),
    ("        bias_term: false", "the next layer has one"),
    ("        weight_filler: msra", "how large the weights are at first"),
    (
        "      - {name: bn, type: BatchNorm, affine: true, moving_average_fraction: 0.9}",
        "brings each channel to one scale",
    ),
    ("      - {name: relu, type: ReLU}", "what is below 0 becomes 0"),
    ("      - {name: pool, type: Pooling, pool: MAX, kernel_size: 2, stride: 2}", "half the height and width"),
]


def _convolutions(facts: Facts) -> list[Line]:
    """Rounds of convolution, normalization and pooling; then the mean over the places that are left."""
    lines = []
    for i in range(1, _rounds(facts) + 1):
        bottom, channels = "bottom: data, " if i == 1 else "", min(64, 8 * 2**i)
        lines.append(
            (
                f"- {{name: round{i}, type: round, {bottom}channels: {channels}}}",
                f"{channels} patterns, then half the size",
            )
        )
    lines.append(("- {name: mean, type: Pooling, pool: AVE, global_pooling: true}", "the mean over all places"))
    return lines


def _end(facts: Facts) -> list[Line]:
    """What is predicted, and how wrong it is."""
    if facts.classes:
        return [
            (
                f"- {{name: score, type: InnerProduct, num_output: {facts.classes}, weight_filler: xavier}}",
                _scores(facts),
            ),
            ("- {name: accuracy, type: Accuracy, bottom: [score, label], include: test}", "share that is right"),
            ("- {name: loss, type: SoftmaxWithLoss, bottom: [score, label]}", "what training makes small"),
        ]
    spread, center = float(f"{facts.spread:.3g}"), float(f"{facts.center:.3g}")
    weight = float(f"{spread**-2:.3g}")
    return [
        (f"- {{name: score, type: InnerProduct, num_output: {facts.targets}, weight_filler: xavier}}", "around 0"),
        (
            f"- {{name: value, type: Power, scale: {one_line(spread)}, shift: {one_line(center)}}}",
            "as large as the labels",
        ),
        (
            f"- {{name: loss, type: EuclideanLoss, bottom: [value, label], loss_weight: {one_line(weight)}}}",
            "half the squared error, over the labels' variance",
        ),
    ]


def _scores(facts: Facts) -> str:
    if not facts.names:
        return f"one for each class, 0 to {facts.classes - 1}"
    more = f" and {len(facts.names) - SHOWN} more" if len(facts.names) > SHOWN else ""
    return "one for each class: " + " ".join(", ".join(facts.names[:SHOWN]).split()) + more


def _indent(lines: Sequence[Line]) -> list[Line]:
    return [(f"  {line}" if line else "", comment) for line, comment in lines]


def _lines(lines: Sequence[Line]) -> list[str]:
    """Lines with their comments, below each other from one empty line to the next; above a line that is too long."""
    out, block = list[str](), list[Line]()
    for line in [*lines, ("", "")]:
        if line[0]:
            block.append(line)
        else:
            out += [*_block(block), ""]
            block = []
    return out[:-1]


def _block(lines: Sequence[Line]) -> list[str]:
    at, out = max(len(line) for line, _ in lines if len(line) <= FURTHEST) + 2, []
    for line, comment in lines:
        comment = "".join(letter if letter.isprintable() else "?" for letter in comment)
        aside = f"{line:<{at - 2}}  # {comment}"
        if comment and len(aside) > LONGEST:
            indent = line[: len(line) - len(line.lstrip())]
            out += [f"{indent}# {comment}", line]
        else:
            out.append(aside if comment else line)
    return out
