"""Which layer types can be written as numpy, and by what."""

from __future__ import annotations

from ...net.layer import Layer
from ...net.step import Step
from .code import Code, Writer, refuse

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


def writer_class(step: Step) -> type[Writer]:
    """The writer of a layer. Raises NettrainError for a type that has none."""
    cls = WRITERS.get(type(step.layer))
    if cls is None:
        raise refuse(step, f"its type is not one of those that can: {', '.join(covered())}")
    return cls


def make(code: Code) -> list[Writer]:
    """The writers of a code's layers. Raises NettrainError for a case that is not covered."""
    classes = {step.spec.name: writer_class(step) for step in code.steps}
    code.name_parameters({name: cls.parameters for name, cls in classes.items()})
    writers = []
    for step in code.steps:
        writer = classes[step.spec.name](code, step)
        if why := writer.refusal():
            raise refuse(step, why)
        writers.append(writer)
    return writers
