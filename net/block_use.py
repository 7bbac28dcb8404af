"""One use of a block: whether it fits the block, and the layers of its copies, each with its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..spec.errors import Problems, Use, did_you_mean
from ..spec.node import Node
from ..spec.template import Budget, Template
from . import registry
from .blocks import Block, Order, Scope, is_whole, names_of, set_value, top_name
from .presence import condition, restrict
from .records import BlockUse

if TYPE_CHECKING:
    from .expansion import Writer


class Copies:
    """One use of a block whose keys have been read, and its copies: one without ``repeat``.

    ``bottoms`` are blobs outside.
    """

    def __init__(
        self,
        writer: Writer,
        node: Node,
        block_name: str,
        block: Block,
        keys: Any,
        inner: str,
        scope: Scope,
        bottoms: list[str],
    ):
        self.writer, self.node, self.block_name, self.block, self.keys = writer, node, block_name, block, keys
        self.inner, self.scope, self.bottoms, self.outputs = inner, scope, bottoms, writer.outputs_of(block_name)
        self.title, self.problems, self.tops = f"{block_name} `{keys.name}`", writer.problems, tuple[str, ...]()

    def record(self) -> BlockUse:
        """What was given, for those who ask about blocks and not about layers."""
        given = {key: self.node.value[key].to_python() for key in self.block.defaults if key in self.node.value}
        return BlockUse(self.keys.name, self.block_name, self.keys.repeat, given, self.tops, self.node.place)

    def check(self) -> None:
        """Report blobs and parameters that do not fit the block; else decide what the tops are called."""
        made = {top for tops in self.writer.tops_in(self.block) for top in tops}
        for output in self.outputs:
            if output not in made:
                near = did_you_mean(output, made, f"; they make {', '.join(sorted(made))}")
                place = self.writer.node.value[self.block_name].at("outputs")
                message = f"block `{self.block_name}` gives out `{output}`, which none of its layers makes{near}"
                self.problems.add(place, message)
        self._compare("bottom", len(self.bottoms), self.block.inputs)
        if self.keys.top is not None:
            self._compare("top", len(self.keys.top), self.outputs)
        if len(self.keys.loss_weight) not in (0, len(self.outputs)):
            counts = f"{len(self.outputs)}, got {len(self.keys.loss_weight)}"
            self._blame("loss_weight", f": loss_weight must have one value for each top: {counts}")
        if self.keys.repeat is not None:
            self._check_copies(self.keys.repeat)
        inputs = dict(zip(self.block.inputs, self.bottoms, strict=False))
        copies = self.keys.repeat or 1
        name = self.keys.name if self.keys.repeat is None else f"{self.keys.name}/{copies}"
        own = [
            inputs.get(one) or self.scope.outer(top_name(self.inner, one, self.outputs))
            for one in self._called(copies - 1, name)
        ]
        self.tops = tuple(own) if self.keys.top is None else self.keys.top
        for output, top in zip(self.outputs, self.tops, strict=False):
            if output in inputs and top != inputs[output]:
                self._blame(
                    "top", f" works in place, so its top has the name of its bottom, {inputs[output]}; got {top}"
                )
            elif output not in inputs and top in self.bottoms and not self._is_second():
                self._blame("top", f" reads `{top}` and makes another blob; give its top another name")

    def _is_second(self) -> bool:
        """Report a name that an earlier use has, whose output this one therefore seems to write over."""
        first = next((use for use in self.writer.result.uses if use.name == self.keys.name), None)
        if first is not None:
            message = f"the name `{first.name}` is used twice; first at {first.place}"
            self.problems.add(self.node.at("name"), message)
        return first is not None

    def _blame(self, key: str, message: str) -> None:
        self.problems.add(self.node.at(key), f"{self.title}{message}")

    def _compare(self, what: str, got: int, names: Sequence[str]) -> None:
        if got != len(names):
            plural = "" if len(names) == 1 else "s"
            which = f" ({', '.join(names)})" if names else ""
            self._blame(what, f" takes {len(names)} {what}{plural}{which}, got {got}")

    def _check_copies(self, repeat: int) -> None:
        if len(self.outputs) > len(self.block.inputs):
            counts = f"but there are {len(self.outputs)} outputs and {len(self.block.inputs)} of the inputs"
            self._blame("repeat", f" cannot be repeated: each copy takes the outputs of the one before, {counts}")
        for key in self.block.defaults:
            value = self.node.value.get(key)
            if value is not None and isinstance(value.value, list) and not 1 <= len(value.value) <= repeat:
                count, copies = len(value.value), f"{repeat} cop{'y' if repeat == 1 else 'ies'}"
                message = (
                    f".{key} gives {count} values for {copies}; a value that is a list has brackets of its own: [[…]]"
                )
                self.problems.add(value.place, f"{self.block_name}{message}")

    def written(self) -> list[Node]:
        """The layers of all copies."""
        repeat, bottoms, layers = self.keys.repeat, self.bottoms, list[Node]()
        for k in range(repeat or 1):
            last = k + 1 == (repeat or 1)
            name = self.keys.name if repeat is None else f"{self.keys.name}/{k + 1}"
            inputs = dict(zip(self.block.inputs, bottoms, strict=True))
            outputs = self._called(k, name)
            between = [
                inputs.get(one) or (one[1:] if is_whole(one) else top_name(name, one, outputs)) for one in outputs
            ]
            tops = list(self.tops) if last else between
            layers += self._copy(k, name, bottoms, dict(zip(outputs, tops, strict=True)), last)
            bottoms = [*tops, *bottoms[len(tops) :]]
        return layers

    def _template(self, k: int, name: str, problems: Problems, budget: Budget) -> Template:
        template = Template(self.block_name, {}, Use(name, self.keys.name, self.node.place), problems, budget)
        copy = None if self.keys.repeat is None else k
        return template.of_use(self.block.defaults, self.node.value, name, copy)

    def _called(self, k: int, name: str) -> list[str]:
        """The outputs as the layers of a copy call them. What is wrong is reported with the layers."""
        if not any(map(is_whole, self.outputs)):
            return list(self.outputs)
        template = self._template(k, name, Problems(), Budget())
        return [str(template.fill(Node(one, self.node.place)).value) for one in self.outputs]

    def _copy(self, k: int, name: str, bottoms: list[str], tops: Mapping[str, str], last: bool) -> list[Node]:
        before = len(self.problems.found)
        template = self._template(k, name, self.problems, self.writer.budget)
        has_values, nodes = len(self.problems.found) == before, []
        for layer in self.block.layers.nodes:
            before = len(self.problems.found)
            nodes.append(template.fill(layer))
            if not has_values or len(self.problems.found) > before:
                self.writer.result.broken.add(id(nodes[-1]))
        if "engine" in self.node.value:
            for node in nodes:
                if "engine" not in node.value:
                    set_value(node, "engine", self.keys.engine, self.node.at("engine"))
        if last:
            self._weigh(nodes)
        here = [node for node in nodes if restrict(node, self.node)]
        blobs = {**tops, **dict(zip(self.block.inputs, bottoms, strict=True))}
        when = condition(self.node)
        scope = Scope(f"{name}/", template.use, blobs, self.scope.sure | {when})
        return self.writer.row(here, scope, Order([(bottoms[0], when)] if bottoms and bottoms[0] else []))

    def _weigh(self, nodes: list[Node]) -> None:
        """Hand ``loss_weight`` on to the layers that make the tops."""
        all_tops = self.writer.tops_in(self.block)
        for output, weight in zip(self.outputs, self.keys.loss_weight, strict=False):
            makers = [i for i, tops in enumerate(all_tops) if output in tops]
            if condition(nodes[makers[-1]]) is None:
                makers = makers[-1:]
            elif any(output in names_of(self.block.layers.nodes[i], "bottom") for i in makers):
                self._blame(
                    "loss_weight", f": write the weight of `{output}` in the block, where it depends on the phase"
                )
                return
            for i in makers:
                node, place = nodes[i], self.node.at("loss_weight")
                kind = node.value["type"].value if "type" in node.value else ""
                cls = registry.layer_type(kind) if isinstance(kind, str) else None
                own = node.value["loss_weight"].to_python() if "loss_weight" in node.value else []
                default = [float(cls is not None and cls.is_loss and t == 0) for t in range(len(all_tops[i]))]
                weights = (own if isinstance(own, list) else [own]) or default
                if len(weights) == len(default):
                    weights = [weight if top == output else w for top, w in zip(all_tops[i], weights, strict=True)]
                    set_value(node, "loss_weight", weights if len(weights) > 1 else weights[0], place)
