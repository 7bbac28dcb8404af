"""The work of a pass as oneDNN's layers write it: primitives with memories, and functions with arguments, in stages."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ..prepared import Calls, Prepared, are_same
from .primitives import Descriptor, Memory, Primitive

Work = tuple[Primitive, Mapping[int, Memory | Descriptor]] | tuple[Callable[..., object], tuple[Any, ...]]
Works = Sequence[Work]  # carried out one after the other, by one thread
Stage = Sequence[Works]  # shared out among the threads; all of it is done before the next stage begins


class Passes:
    """The passes of a layer by name, made anew when they are about other memory."""

    def __init__(self) -> None:
        self._made: dict[Hashable, _Pass] = {}

    def run(self, name: Hashable, arrays: Sequence[Any], stages: Callable[..., Iterable[Stage]]) -> None:
        """Carry out a pass over these arrays; ``stages`` is called with them when they are not those of last time."""
        made = self._made.get(name)
        if made is None or not are_same(made.arrays, arrays):
            made = self._made[name] = _Pass(tuple(arrays), stages(*arrays))
        made.run()


class _Pass:
    def __init__(self, arrays: tuple[Any, ...], stages: Iterable[Stage]):
        self.arrays = arrays
        self.stages = [stage for stage in stages if len(stage)]
        self.prepared = Prepared()

    def run(self) -> None:
        for number, stage in enumerate(self.stages):
            self.prepared.run(number, (), partial(_list, stage), len(stage))


def _list(stage: Stage, i: int, do: Calls) -> None:
    """Put down the calls of task i, for the thread that carries it out: primitives use memory of their thread."""
    for one, given in stage[i]:
        if isinstance(one, Primitive):
            function, arguments = one.call(given)  # type: ignore[arg-type]
            do(function, *arguments)
        else:
            do(one, *given)
