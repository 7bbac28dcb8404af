"""What may be a mistake in a spec and the nets made of it, though they can be run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..net.net import Net
from ..net.records import NetSpec
from ..net.user_code import ask
from ..spec.errors import Problem


def mistakes(spec: NetSpec, net: Net, tests: Iterable[Net]) -> Iterator[Problem]:
    """Warnings of what may be a mistake in a spec and the nets made of it, though it can be run."""
    yield from spec.warnings
    yield from applied_twice(net)
    yield from same_examples(net, tests)
    yield from no_spread(net)


def applied_twice(net: Net) -> Iterator[Problem]:
    """Warnings of losses whose own Softmax or Sigmoid comes after another one."""
    makers = {key: step for step in net.steps for key in step.top_keys}
    for step in net.steps:
        first = step.layer.includes
        maker = makers[step.bottom_keys[0]] if first else None
        if maker is not None and maker.spec.cls.__name__ == first:
            message = (
                f"{step.spec.title()} reads {maker.spec.title()}{maker.spec.where()}, and applies {first} itself: it "
                f"wants the scores, `{maker.bottom_keys[0][0]}`"
            )
            yield Problem(step.spec.place, message, with_line=False)


def same_examples(net: Net, tests: Iterable[Net]) -> Iterator[Problem]:
    """A warning of each set of examples that is both trained and tested on, in whole or in part."""
    tested = [layer for test in tests for layer in test.layers.values() if layer.reads]
    said: set[str] = set()
    for step in (step for step in net.steps if step.layer.reads):
        layer = step.layer
        for other in tested:
            for name, message in shared(layer, other):
                if name not in said:
                    said.add(name)
                    yield Problem(step.spec.place, message, with_line=False)


def shared(trained: Any, tested: Any) -> Iterator[tuple[str, str]]:
    """What two layers both read: the name of the tested set, and in words how much of it is trained on.

    Files of one name come first. Lists are compared by the files in them. Contents are compared only where there are
    as many examples, and from what a run keeps of them anyway.
    """
    nothing = f"the scores say nothing about new data; {trained.how_to_split}"
    same = [key for key in tested.reads if key in trained.reads]
    for key in same:
        yield tested.reads[key], f"{tested.reads[key]} is both training and test set: {nothing}"
    if same or type(trained) is not type(tested):
        return
    train, test = ", ".join(trained.reads.values()), ", ".join(tested.reads.values())
    entries = set(ask(tested, "entries"))
    if count := len(entries.intersection(ask(trained, "entries"))) if entries else 0:
        are = "is" if count == 1 else "are"
        what = f"{count:,} of the {len(entries):,} files in {test} {are} in {train} too"
        yield test, f"{what}: the scores say less about new data; leave them out of one of the lists"
    elif trained.pass_size == tested.pass_size:
        first, second = ask(trained, "fingerprint"), ask(tested, "fingerprint")
        if first.get("contents") and first["contents"] == second.get("contents"):
            yield test, f"{test} holds the same examples as {train}: {nothing}"


def no_spread(net: Net) -> Iterator[Problem]:
    """Warnings of layers that normalize single values, which makes them all 0."""
    for step in net.steps:
        why = ask(step.layer, "without_spread")
        if why:
            message = f"{step.spec.title()} {why}; nothing before it learns, as its output does not depend on it"
            yield Problem(step.spec.place, message, with_line=False)


def explained_by_no_spread(net: Net) -> set[str]:
    """The layers for whose missing gradient ``no_spread`` has said the reason: those before and behind one it names."""
    names: set[str] = set()
    for step in net.steps:
        if ask(step.layer, "without_spread"):
            before, behind = set(step.bottom_keys), set(step.top_keys)
            for other in net.steps:
                if behind & set(other.bottom_keys):
                    behind |= set(other.top_keys)
            for other in reversed(net.steps):
                if before & set(other.top_keys):
                    before |= set(other.bottom_keys)
            names |= {one.spec.name for one in net.steps if (before | behind) & set(one.top_keys)}
    return names
