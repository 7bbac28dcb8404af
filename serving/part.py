"""The part of a net that serves: what is left of it without data, losses and scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..net.graph import Key
from ..net.net import Net
from ..net.step import Step
from ..spec.errors import NettrainError


@dataclass
class Prediction:
    """An output that a dropped loss implies: ``kind`` of a blob, along ``axis``."""

    kind: str
    of: Key
    name: str
    axis: int = 1


@dataclass
class Meaning:
    """What the numbers of an output are: ``kind`` Softmax or Sigmoid for probabilities, ``scores`` of classes, else
    ``values``; ``axis`` where the classes are; ``weight`` that of the loss that teaches it."""

    kind: str = "values"
    axis: int = 1
    weight: float = 0.0


@dataclass
class Serving:
    """What serves: ``sources`` that become inputs, ``steps`` to be written, ``outputs`` and what they mean by name, and
    sentences on the rest."""

    sources: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: list[Key] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    meanings: dict[str, Meaning] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    classes: int = 0  # how many the net tells apart, where a loss or score knows


def is_source(step: Step) -> bool:
    """Whether a layer brings numbers into the net."""
    return not step.bottom and not step.layer.blobs


def serving(net: Net, keep_logits: bool) -> Serving:
    """The part of a net that serves. Raises NettrainError when nothing is left."""
    dropped = list(_dropped(net.steps))
    gone = {id(step) for step in dropped}
    left = [step for step in net.steps if id(step) not in gone or _tells(step)]
    found = Serving(classes=max((step.layer.classes for step in dropped), default=0))
    read = {key for step in left if step.top and id(step) not in gone for key in step.bottom_keys}
    computed = {key for step in left if step.bottom for key in step.top_keys}
    losses = [step for step in dropped if step.layer.includes and step.bottom_keys[0] in computed]
    for step in losses:
        _say_what_it_tells(step, left, losses, net, keep_logits, found)
    said = {one.of for one in found.predictions} | {step.bottom_keys[0] for step in losses}
    learned = of_parameters(net.steps)
    for step in dropped:
        answers = [step.bottom_keys[i] for i in step.layer.answers if i < len(step.bottom_keys)]
        said_by_it = [key for key in answers if key in learned] or answers[:1]
        found.outputs += [key for key in said_by_it if key in computed and key not in read and key not in said]
    read |= {key for step in net.steps for key in step.bottom_keys}
    ends = [key for step in left if id(step) not in gone and not is_source(step) for key in step.top_keys]
    found.outputs += [key for key in ends if key not in read]
    found.outputs = [key for step in left for key in step.top_keys if key in found.outputs]  # each once, in order
    if not (found.outputs or found.predictions):
        raise NettrainError("nothing of this net can serve: without its data, losses and scores no layer is left")
    _keep_needed(found, left)
    _say_what_it_means(found, dropped)
    found.notes += _about_dropped(dropped, found)
    return found


def _dropped(steps: Iterable[Step]) -> Iterator[Step]:
    """Losses, scores, layers that write files, with what is computed from those; beside losses also what has a weight
    in the loss as they do, such as a sum of squared weights."""
    steps = list(steps)
    losses = [step for step in steps if step.layer.is_loss or (step.layer.runs_code and any(step.loss_weights))]
    gone: set[Key] = set()
    for step in steps:
        is_training = step.layer.is_score or step.layer.writes_files or (losses and any(step.loss_weights))
        if is_training or step.layer.is_loss or not gone.isdisjoint(step.bottom_keys):
            gone.update(step.top_keys[:1] if _tells(step) else step.top_keys)
            yield step


def _tells(step: Step) -> bool:
    """Whether a loss has a second top with the probabilities it computed."""
    return bool(step.layer.includes) and len(step.top_keys) > 1


def of_parameters(steps: Iterable[Step]) -> set[Key]:
    """The blobs that parameters have a part in."""
    found: set[Key] = set()
    for step in steps:
        if step.layer.blobs or not found.isdisjoint(step.bottom_keys):
            found.update(step.top_keys)
    return found


def _say_what_it_tells(
    step: Step, left: list[Step], losses: list[Step], net: Net, keep_logits: bool, found: Serving
) -> None:
    """The output that takes the place of a loss which applies a function of its own to the scores."""
    kind, key = step.layer.includes, step.bottom_keys[0]
    axis, name = _axis(step, kind), key[0]
    same = [
        other
        for other in left
        if other.spec.common.type == kind and other.bottom_keys[0] == key and _axis(other, kind) == axis
    ]
    if keep_logits:
        found.outputs.append(key)
        return
    if _tells(step):
        found.outputs.append(step.top_keys[1])
        name = step.top_keys[1][0]
    elif same:
        found.outputs.append(same[0].top_keys[0])
        name = same[0].top_keys[0][0]
    elif before := [one.name for one in found.predictions if (one.kind, one.of, one.axis) == (kind, key, axis)]:
        (name,) = before
    else:
        # `prob`, as in deploy nets; with several losses, or where the name is taken, that of the scores before it
        alone = len({(one.bottom_keys[0], one.spec.common.type) for one in losses}) == 1 and "prob" not in net.blobs
        name = "prob" if alone else f"{key[0]}_prob"
        found.predictions.append(Prediction(kind, key, name, axis))
    found.meanings[name] = Meaning(kind, axis, step.loss_weights[0])


def _say_what_it_means(found: Serving, dropped: list[Step]) -> None:
    """What the outputs mean of which no loss has said it: scores of classes where a loss or score compares them with
    labels, probabilities where they come from a Softmax."""
    makers = {key: step for step in found.steps for key in step.top_keys}
    for key in found.outputs:
        if key[0] in found.meanings:
            continue
        readers = [step for step in dropped if step.bottom_keys[:1] == [key]]
        weight = max((step.loss_weights[0] for step in readers if step.loss_weights), default=0.0)
        maker = makers[key]
        if maker.spec.common.type == "Softmax":
            found.meanings[key[0]] = Meaning("Softmax", _axis(maker, "Softmax"), weight)
            continue
        by = next((step for step in readers if step.layer.classes), None)
        axis = by.bottom[0].canonical_axis(getattr(by.layer.p, "axis", 1)) if by else 1
        found.meanings[key[0]] = Meaning("scores" if by else "values", axis, weight)


def _axis(step: Step, kind: str) -> int:
    """The axis of the classes that a layer takes the Softmax along; 1 where there is none."""
    return step.bottom[0].canonical_axis(step.layer.p.axis) if kind == "Softmax" else 1


def _keep_needed(found: Serving, left: list[Step]) -> None:
    """Only what leads to an output, in the order of the net."""
    needed = {*found.outputs, *(one.of for one in found.predictions)}
    for step in reversed(left):
        if needed.isdisjoint(step.top_keys):
            continue
        needed.update(step.bottom_keys)
        (found.sources if is_source(step) else found.steps).append(step)
    found.sources.reverse()
    found.steps.reverse()


def _about_dropped(dropped: list[Step], found: Serving) -> Iterator[str]:
    names = [step.spec.title() for step in dropped if not _tells(step)]
    if names:
        yield f"left out, for training and tests only: {', '.join(names)}"
    for one in found.predictions:
        yield f"`{one.name}` is the {one.kind} of `{one.of[0]}`, which the loss computed itself"
