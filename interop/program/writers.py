"""Which layer types can be written as numpy, and by what."""

from __future__ import annotations

from ...net.layer import Layer
from ...spec.errors import Problems, SpecError
from .code import Code, Writer
from .refusals import refused, uncovered

WRITERS: dict[type[Layer], type[Writer]] = {}


def writes(*types: type[Layer]):
    """Class decorator: this writer is for these layer types."""

    def add(cls):
        WRITERS.update(dict.fromkeys(types, cls))
        return cls

    return add


def covered() -> list[str]:
    """The names of the types that can be written."""
    return sorted(cls.__name__ for cls in WRITERS)


def make(code: Code) -> list[Writer]:
    """The writers of a code's layers. Raises SpecError with every layer that cannot be written."""
    problems = Problems()
    known = [step for step in code.steps if type(step.layer) in WRITERS]
    code.name_parameters({step.spec.name: WRITERS[type(step.layer)].called(step.layer) for step in known})
    writers = []
    for step in code.steps:
        if step not in known:
            problems.found.append(uncovered(step))
            continue
        try:
            writer = WRITERS[type(step.layer)](code, step)
        except SpecError as error:  # of layers in its cell
            problems.found += error.problems
            continue
        if why := writer.refusal():
            problems.found.append(refused(step, why))
        writers.append(writer)
    problems.raise_if_any()
    return writers
