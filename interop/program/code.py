"""From the steps of a net to lines of Python: names, who gives which gradient, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...net.build import Parameter
from ...net.graph import Key
from ...net.net import Net
from ...net.step import Step
from .expressions import Names, number, plain, shaped, text


class Writer:
    """Writes one layer: ``forward`` its values, ``backward`` the gradients that are wanted.

    ``x`` and ``y`` are the names of bottoms and tops, ``w`` those of the parameters as they are to be read.
    """

    parameters: tuple[str, ...] = ("W", "b")  # what each blob is called, after the layer's name; see ``called``
    carries = False  # whether a batch begins with what the one before left

    def __init__(self, code: Code, step: Step):
        self.code, self.step = code, step
        self.layer: Any = step.layer  # of the writer's own type, with what that keeps
        self.p: Any = step.layer.p
        self.x = [code.blobs[key] for key in step.bottom_keys]
        self.y = [code.blobs[key] for key in step.top_keys]
        self.bottoms = [blob.shape for blob in step.bottom]
        self.tops = [blob.shape for blob in step.top]
        self.w = [code.parameter(blob.data) for blob in step.layer.blobs]

    @classmethod
    def called(cls, layer: Any) -> tuple[str, ...]:
        """What each of a layer's blobs is called."""
        return cls.parameters

    def refusal(self) -> str:
        """Why this case of the type is not covered; nothing when it is."""
        return ""

    def formula(self) -> str:
        """What it computes, for the comment."""
        return ""

    def forward(self) -> None:
        raise NotImplementedError

    def backward(self) -> None:
        raise NotImplementedError

    # What these use

    def say(self, *lines: str) -> None:
        self.code.say(*lines)

    def local(self, what: str) -> str:
        """A name for something of the layer's own: the same each time."""
        return self.code.local(self.step, what)

    def counter(self, letter: str) -> str:
        """A name for the number of a step or place: the letter, unless something is called so."""
        return self.code.local(self.step, f"number {letter}", letter)

    def needs(self, function: str) -> str:
        self.code.functions.add(function)
        return function

    def d(self, i: int = 0) -> str:
        """The gradient of top i: its name, or the number it is."""
        return self.code.gradient(self.step.top_keys[i], self.y[i])

    def wants(self, i: int = 0) -> bool:
        """Whether the gradient of bottom i is wanted."""
        return self.step.propagate_down[i] and self.step.bottom_keys[i] not in self.code.unwanted

    def learns(self, i: int) -> bool:
        """Whether the gradient of parameter i is wanted."""
        return i < len(self.w) and self.layer.param_propagate_down[i]

    def keeps_gradient(self) -> bool:
        """Whether anything is to be done in backward."""
        return any(map(self.wants, range(len(self.x)))) or any(map(self.learns, range(len(self.w))))

    def give(self, i: int, expression: str) -> None:
        """This is what the layer adds to the gradient of bottom i."""
        self.code.add(f"d_{self.x[i]}", expression, self.step.bottom_keys[i])

    def learn(self, i: int, expression: str) -> None:
        """This is what the layer adds to the gradient of parameter i."""
        self.code.add_to_parameter(self.layer.blobs[i].data, expression)

    def into(self, i: int) -> str:
        """A name to build the gradient of bottom i under, in several lines, to be given with ``give_built``."""
        free = self.step.bottom_keys[i] not in self.code.given
        return f"d_{self.x[i]}" if free else self.local(f"d{i}")

    def give_built(self, i: int, name: str) -> None:
        if name == f"d_{self.x[i]}":
            self.code.given.add(self.step.bottom_keys[i])
        else:
            self.give(i, name)


class Code:
    """The lines for a net. ``steps`` are those that are written.

    ``accumulate`` says that gradients of parameters begin at zero and grow over several batches; ``train`` is a code
    whose parameters this one reads. ``forward_only`` says that nothing is kept for a backward pass or a next batch.
    """

    def __init__(
        self,
        net: Net,
        steps: list[Step],
        accumulate: bool = False,
        train: Code | None = None,
        forward_only: bool = False,
    ):
        self.net, self.steps, self.accumulate, self.forward_only = net, steps, accumulate, forward_only
        self.trained: bool = train is not None and (train.trained or not train.forward_only)
        self.around: list[Step] = []  # the layers whose cell this is, the outermost first
        self.lines: list[str] = []
        self.before: list[str] = []  # what is done once, before the first batch
        self.drawn: list[str] = []  # the random numbers of a batch, before its layers
        self.batch = "iteration"  # the number of the batch
        self.functions: set[str] = set()
        self.imports: set[str] = set()
        self.arrays: dict[str, np.ndarray] = {}  # what must lie beside the program
        self.given: set[Key] = set()  # blobs whose gradient has a name by now
        self.numbers: dict[Key, str] = {}  # blobs whose gradient is a number
        self.learned: dict[str, Parameter] = {}  # parameters that have a gradient, by name
        self.whole: set[Key] = set()  # blobs that hold integers
        self.unwanted: set[Key] = set()  # blobs whose gradient nobody reads
        self.names: Names = train.names if train else Names()
        self.blobs: dict[Key, str] = {}
        self._locals: dict[tuple[str, str], str] = train._locals if train else {}
        self._parameters: dict[int, tuple[str, Parameter]] = train._parameters if train else {}
        for step in steps:
            for key in step.top_keys:
                self.blobs[key] = train.blobs[key] if train and key in train.blobs else self._name(key, step)

    def inner(self, around: Step, steps: list[Step], named: Mapping[Key, str]) -> Code:
        """The code of a cell, whose layers run several times: gradients of parameters add up. ``named`` are blobs that
        the cell finds."""
        cell = Code(self.net, [], accumulate=True, train=self, forward_only=self.forward_only)
        cell.around = [*self.around, around]
        cell.before, cell.functions, cell.imports, cell.arrays = self.before, self.functions, self.imports, self.arrays
        cell.drawn, cell.batch = self.drawn, self.batch
        cell.steps, cell.blobs = steps, dict(named)
        for step in steps:
            for key in step.top_keys:
                cell.blobs[key] = cell._name(key, step)
        return cell

    @property
    def once(self) -> bool:
        """Whether the lines are all that there is: no training comes before them."""
        return self.forward_only and not self.trained

    def title(self, step: Step) -> str:
        """What a layer is called: in a cell without the name of the layer around it."""
        return step.spec.name.removeprefix(f"{self.around[-1].spec.name}/") if self.around else step.spec.name

    def _name(self, key: Key, step: Step) -> str:
        """A blob that is computed in place has a name of its own: the layer's."""
        return self.names.new(key[0] if not key[1] else self.title(step))

    def name_parameters(self, called: Mapping[str, tuple[str, ...]]) -> None:
        """Name the parameters of the written layers: ``conv1_W``; ``called`` has the letters of each layer."""
        for step in self.steps:
            letters = called.get(step.spec.name, ())
            for letter, blob in zip(letters, step.layer.blobs, strict=False):
                itself = not letter and self.is_read_once(blob.data)
                self.name_parameter(
                    blob.data, f"{self.title(step)}_{letter or 'w'}", self.blobs[step.top_keys[0]] if itself else ""
                )

    def name_parameter(self, data: np.ndarray, wanted: str, taken: str = "") -> None:
        """Give a parameter a name like this, or one that is there."""
        where = address(data)
        if where not in self._parameters:
            owner = next(one for one in self.net.parameters if address(one.blob.data) == where)
            self._parameters[where] = taken or self.names.new(wanted), owner

    def owners(self) -> Iterable[tuple[str, Parameter]]:
        """Each parameter once, with its name."""
        return self._parameters.values()

    def randomness(self, step: Step) -> str:
        """A name for the random numbers that a layer draws in a batch: all layers of a cell draw from one stream."""
        owner = self.around[0] if self.around else step
        self.functions.add("stream")
        rng = self.local(owner, "rng")
        if (line := f'{rng} = stream({text(owner.spec.name)}, f"batch {{{self.batch}}}")') not in self.drawn:
            self.drawn.append(line)
        return rng

    def parameter(self, data: np.ndarray) -> str:
        """How a layer reads a parameter."""
        if address(data) not in self._parameters:
            return ""
        name, owner = self._parameters[address(data)]
        return name if data.shape == owner.blob.shape else f"{name}.reshape{data.shape}"

    def is_read_once(self, data: np.ndarray) -> bool:
        """Whether a blob can be its parameter, gradient and all: one layer has it, and no batches are added up."""
        readers = [1 for step in self.steps for blob in step.layer.blobs if address(blob.data) == address(data)]
        return len(readers) == 1 and not self.accumulate

    # Lines

    def say(self, *lines: str) -> None:
        self.lines += lines

    def local(self, step: Step, what: str, wanted: str = "") -> str:
        found = self._locals.get((step.spec.name, what))
        if found is None:
            found = self.names.new(wanted or f"{self.title(step)}_{what}")
            self._locals[step.spec.name, what] = found
        return found

    def gradient(self, key: Key, name: str) -> str:
        """The gradient of a blob: its name, or the number it is; zeros where nobody gave one."""
        if key in self.numbers:
            return self.numbers[key]
        if key not in self.given:
            self.say(f"d_{name} = np.zeros_like({name})")
            self.given.add(key)
        return f"d_{name}"

    def has_gradient(self, key: Key) -> bool:
        return key in self.given or key in self.numbers

    def add(self, name: str, expression: str, key: Key) -> None:
        """Gradients of a blob that several layers read add up."""
        if key in self.given:
            self.say(f"{name} = {name} + {expression}")
        elif name != expression:
            self.say(f"{name} = {expression}")
        self.given.add(key)

    def add_to_parameter(self, data: np.ndarray, expression: str) -> None:
        name, owner = self._parameters[address(data)]
        gradient = f"d_{name}"
        expression = shaped(expression, data.shape, owner.blob.shape)
        if self.accumulate or name in self.learned:
            self.say(f"{gradient} = {gradient} + {expression}")
        elif gradient != expression:
            self.say(f"{gradient} = {expression}")
        self.learned[name] = owner

    def write_forward(self, writers: list[Writer]) -> None:
        for writer in writers:
            self._under(heading(writer), writer.forward)

    def write_backward(self, writers: list[Writer]) -> None:
        for writer in reversed(writers):
            step = writer.step
            if not step.needs_backward or not writer.keeps_gradient():
                continue
            self._seed(step, writer.y)
            self._under([f"# {plain(self.title(step))}"], writer.backward)

    def _under(self, title: list[str], write: Callable[[], None]) -> None:
        """Lines under a title, which is left out where there are none."""
        before = len(self.lines)
        write()
        if len(self.lines) > before:
            self.lines[before:before] = title

    def _seed(self, step: Step, names: list[str]) -> None:
        """The gradient of a loss is its weight, besides what its readers gave."""
        for key, name, blob, weight in zip(step.top_keys, names, step.top, step.loss_weights, strict=True):
            if not weight:
                continue
            if key in self.given:
                self.say(f"d_{name} = d_{name} + {number(weight)}")
            elif blob.shape == ():
                self.numbers[key] = number(weight)
            else:
                self.say(f"d_{name} = np.full({name}.shape, {float(weight)!r})")
                self.given.add(key)


def heading(writer: Writer) -> list[str]:
    """The comment before a layer: its name, type and formula; ``block`` gives it as many lines as it needs."""
    step, formula = writer.step, writer.formula()
    title = f"{writer.code.title(step)} ({type(step.layer).__name__})"
    return [f"# {plain(title + (f': {formula}' if formula else ''))}"]


def address(data: np.ndarray) -> int:
    """Where an array lies in memory: blobs that share it are one parameter."""
    return data.__array_interface__["data"][0]
