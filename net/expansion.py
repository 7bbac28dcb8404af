"""Blocks written out: from the nodes of a spec with ``blocks:`` to those of the same spec without.

What comes after this, from the check of the layers to a snapshot's weights, sees plain layers. Their names and blobs
begin with the name of the use; their places are those in the block, and know the use (``Place.used``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..spec import foreign
from ..spec.advice import Advice
from ..spec.errors import Place, Problem, Use, did_you_mean, folded, nearest
from ..spec.node import Node
from ..spec.reader import MISSING, Reader
from ..spec.template import Budget, Template, references
from . import registry
from .blocks import USE_KEYS, Block, UseKeys, read_blocks
from .presence import condition, restrict
from .records import BlockUse

DEEPEST = 100  # blocks inside blocks


@dataclass
class Expanded:
    """A spec without blocks.

    ``broken`` are nodes of its layers whose mistakes have been reported (by id), ``uses`` the uses among its layers as
    they are written.
    """

    root: Node
    broken: set[int] = field(default_factory=set)
    uses: list[BlockUse] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def expand(root: Node, reader: Reader) -> Expanded:
    """Write out the blocks of a spec; a spec without any is given back as it is.

    What is wrong is reported to ``reader``. Raises SpecError when there are too many values to continue.
    """
    if "blocks" not in root.value:
        return Expanded(root)
    own = Reader(reader.problems)
    blocks = read_blocks(root.value["blocks"], own)
    items = {key: value for key, value in root.value.items() if key != "blocks"}
    flat = Node(items, root.place, {key: place for key, place in root.keys.items() if key != "blocks"})
    result = Expanded(flat, warnings=own.warnings)
    layers = root.value.get("layers")
    if layers is None or not isinstance(layers.value, list):
        return result
    writer = _Writer(blocks, root.value["blocks"], own, result)
    scope = _Scope("", None, {}, frozenset())
    flat.value["layers"] = Node(writer.row([_copy(node) for node in layers.value], scope, _Order()), layers.place)
    for name, place in root.value["blocks"].keys.items():
        if name in blocks and name not in writer.used:
            result.warnings.append(Problem(place, f"the block `{name}` is never used", with_line=False))
    return result


def _copy(node: Node) -> Node:
    """A layer whose keys may be changed; its values are shared."""
    return Node(dict(node.value), node.place, dict(node.keys)) if isinstance(node.value, dict) else node


class _Order:
    """What a layer without `bottom` reads: the first top of the layer before it, which may depend on the phase.

    ``options`` are the blobs it may be, each with the condition under which its layer is there; the last that is there
    counts.
    """

    def __init__(self, options: Sequence[tuple[str, str | None]] = ()):
        self.options = list(options)

    def add(self, blob: str, when: str | None) -> None:
        self.options = [] if when is None else [one for one in self.options if one[1] != when]
        self.options.append((blob, when))

    def choices(self, sure: set[str | None]) -> list[tuple[str, str | None]]:
        """The options of a layer that is there only under conditions that are ``sure``."""
        last = max((i for i, one in enumerate(self.options) if one[1] in sure), default=0)
        return [(blob, None if when in sure else when) for blob, when in self.options[last:]]


@dataclass
class _Scope:
    """Where layers stand: at the top of a spec (without a use), or in a block as one use of it has it."""

    prefix: str
    use: Use | None
    blobs: Mapping[str, str]  # inputs and outputs of the block -> their names outside
    sure: frozenset[str | None]  # conditions that hold wherever the use is there

    def outer(self, name: str) -> str:
        return self.blobs.get(name) or f"{self.prefix}{name}"


class _Writer:
    """Writes the layers of all uses, one after the other."""

    def __init__(self, blocks: Mapping[str, Block | None], node: Node, reader: Reader, result: Expanded):
        self.blocks, self.node, self.result = blocks, node, result
        self.reader, self.problems = reader, reader.problems
        self.used: set[str] = set()
        self.stack: list[str] = []
        self.in_circle: set[str] = set()
        self.budget = Budget()
        self.plain = _Order()  # what the layers written so far give to one without `bottom`
        self.outputs: dict[str, tuple[str, ...]] = {}

    def row(self, nodes: Sequence[Node], scope: _Scope, order: _Order) -> list[Node]:
        """Layers written out. Their names are still those of the block, if they stand in one."""
        written: list[Node] = []
        for node in nodes:
            if not isinstance(node.value, dict):
                written.append(node)
                continue
            for key in ("name", "bottom", "top"):
                self._rename(node, key, scope)
            kind = node.value.get("type")
            name = kind.value if kind is not None and isinstance(kind.value, str) else ""
            if id(node) not in self.result.broken and name in self.blocks and not registry.layer_type(name):
                written += self._use(node, name, scope, order)
            else:
                written.append(self._layer(node, name, scope, order))
        return written

    def _rename(self, node: Node, key: str, scope: _Scope) -> None:
        value = node.value.get(key)
        if value is None or scope.use is None:
            return
        if key == "name":
            if isinstance(value.value, str) and value.value:
                node.value[key] = Node(f"{scope.prefix}{value.value}", value.place)
        elif isinstance(value.value, list):
            items = [Node(scope.outer(one.value), one.place) if _is_name(one) else one for one in value.value]
            node.value[key] = Node(items, value.place)
        elif _is_name(value):
            node.value[key] = Node(scope.outer(value.value), value.place)

    def _layer(self, node: Node, name: str, scope: _Scope, order: _Order) -> Node:
        """A plain layer: its blobs get their names outside, and layers in it are written out too."""
        cls = registry.layer_type(name) if name else None
        near = nearest(name, self.blocks) if name and cls is None and folded(name) not in foreign.TYPES else None
        if near and id(node) not in self.result.broken:
            message = f"unknown layer type `{name}`; did you mean the block `{near}`?"
            self._break(node, node.value["type"].place, message)
        if "bottom" not in node.value and (cls is None or _most(cls.num_bottoms) != 0):
            self._give_bottom(node, scope, order)
        if "top" not in node.value and scope.use and (cls is None or _most(cls.num_tops) != 0) and "name" in node.value:
            inner = str(node.value["name"].value).removeprefix(scope.prefix)
            if scope.outer(inner) != node.value["name"].value:
                _set(node, "top", scope.outer(inner), node.at("name"))
        for key, one in ((one.name, one.type) for one in (cls.Parameters.fields() if cls else ())):
            if getattr(one, "holds_layers", False) and key in node.value and isinstance(node.value[key].value, list):
                self._write_inside(node, key, scope)
        tops = _names(node, "top") or ([str(node.value["name"].value)] if "name" in node.value else [])
        if tops and (cls is None or _most(cls.num_tops) != 0):
            order.add(tops[0], condition(node))
            self.plain.add(tops[0], condition(node))
        return node

    def _write_inside(self, node: Node, key: str, scope: _Scope) -> None:
        """The layers that a layer has in it, which know no blobs but their own."""
        outside, self.plain = self.plain, _Order()
        inside = _Scope("", None, {}, scope.sure)
        layers = node.value[key]
        known = len(self.result.uses)
        node.value[key] = Node(self.row([_copy(one) for one in layers.value], inside, _Order()), layers.place)
        del self.result.uses[known:]  # those of the spec's own layers are what is listed
        self.plain = outside

    def _give_bottom(self, node: Node, scope: _Scope, order: _Order) -> None:
        """Write down what a layer reads that leaves `bottom` out, where it would be something else afterwards."""
        blob = self._before(node, scope, order)
        if blob:
            _set(node, "bottom", blob, node.place)

    def _before(self, node: Node, scope: _Scope, order: _Order, needed: bool = False) -> str:
        """The blob before a layer; nothing where it need not be written down, unless it is ``needed``."""
        sure = {None, condition(node), *scope.sure}
        meant = order.choices(sure)
        if not needed and meant == self.plain.choices(sure):
            return ""
        blobs = list(dict.fromkeys(blob for blob, _ in meant))
        if len(blobs) == 1:
            return blobs[0]
        title = f"`{node.value['name'].value}`" if "name" in node.value else "a layer"
        if blobs:
            message = f"give {title} its `bottom`: what comes before it depends on the phase: {', '.join(blobs)}"
        elif scope.use:
            message = f"give {title} its `bottom`: nothing comes before it in its block, which has no inputs"
        else:
            message = f"give {title} its `bottom`: no layer comes before it"
        self._break(node, node.place, message)
        return ""

    def _break(self, node: Node, place: Place, message: str) -> None:
        self.problems.add(place, message)
        self.result.broken.add(id(node))

    def _use(self, node: Node, name: str, scope: _Scope, order: _Order) -> list[Node]:
        """The layers of a use, or its own node when something is wrong with it."""
        self.used.add(name)
        block = self.blocks[name]
        if block is None or name in self.in_circle:
            self.result.broken.add(id(node))
        elif not self._is_circle(node, name):
            use = self._read_use(node, name, block, scope, order)
            if use is not None:
                if scope.use is None:
                    self.result.uses.append(use.record())
                self.stack.append(name)
                layers = use.written()
                self.stack.pop()
                if use.tops:
                    order.add(use.tops[0], condition(node))
                return layers
        self.result.broken.add(id(node))
        first = next(iter(_names(node, "top") or _names(node, "name")), "")
        if first:
            order.add(first, condition(node))
            self.plain.add(first, condition(node))
        return [node]

    def _is_circle(self, node: Node, name: str) -> bool:
        """Report a block inside itself, and blocks that are nested without end in sight."""
        if name in self.stack:
            circle = self.stack[self.stack.index(name) :]
            self.in_circle.update(circle)
            path = " -> ".join([*circle, name])
            self.problems.add(node.at("type"), f"a block cannot contain itself: {path}")
        elif len(self.stack) >= DEEPEST:
            self.problems.add(node.at("type"), f"blocks are nested deeper than {DEEPEST} levels")
        else:
            return False
        return True

    def _read_use(self, node: Node, name: str, block: Block, scope: _Scope, order: _Order) -> _Use | None:
        """Check what a use says. None when something is wrong, which is reported."""
        before, defaults = len(self.problems.found), block.parameters.values
        known = [*USE_KEYS, *defaults]
        advice: dict[str, str | Advice] = {"freeze": "its layers are frozen by its name in solver.freeze"}
        self.reader.unknown_keys(node, known, name, advice)
        meant = {nearest(key, known) for key in node.keys if key not in known}
        for parameter, default in defaults.items():
            if default.value is None and parameter not in node.value and parameter not in meant:
                words = f"{name} needs `{parameter}`, a parameter that has no value in the block"
                self.problems.add(node.place, words)
        keys = UseKeys.from_known(self.reader, node, name, defaults)
        if keys is MISSING or len(self.problems.found) > before:
            return None
        bottoms = list(keys.bottom or ())
        if keys.bottom is None and len(block.inputs) == 1:
            bottoms = [self._before(node, scope, order, needed=True) if self._reads_input(block) else ""]
        use = _Use(self, node, name, block, keys, scope, bottoms)
        if len(self.problems.found) == before:
            use.check()
        return use if len(self.problems.found) == before else None

    def _reads_input(self, block: Block) -> bool:
        """Whether any layer of a block reads its only input."""
        first, *_ = block.layers.nodes
        kind = first.value.get("type")
        cls = registry.layer_type(kind.value) if kind is not None and isinstance(kind.value, str) else None
        if "bottom" not in first.value and (cls is None or _most(cls.num_bottoms) != 0):
            return True
        return any(block.inputs[0] in _names(node, "bottom") for node in block.layers.nodes)

    def outputs_of(self, name: str) -> tuple[str, ...]:
        """The blobs of a block that it gives out, as its layers call them."""
        if name not in self.outputs:
            block = self.blocks[name]
            self.outputs[name] = ()  # where blocks contain each other, which is reported
            if block is not None:
                self.outputs[name] = tuple(self.tops_in(block)[-1]) if block.outputs is None else block.outputs
        return self.outputs[name]

    def tops_in(self, block: Block) -> list[list[str]]:
        """The tops of each layer of a block, as its layers call them."""
        found, previous = [], list(block.inputs[:1])
        for node in block.layers.nodes:
            found.append(self._tops(node, previous))
            previous = found[-1][:1] or previous
        return found

    def _tops(self, node: Node, previous: list[str]) -> list[str]:
        if "top" in node.value:
            return _names(node, "top")
        kind = node.value["type"].value if "type" in node.value else None
        name = next(iter(_names(node, "name")), "")
        inner = self.blocks.get(kind) if isinstance(kind, str) else None
        if inner is None:
            cls = registry.layer_type(kind) if isinstance(kind, str) else None
            return [name] if name and (cls is None or _most(cls.num_tops) != 0) else []
        outputs = self.outputs_of(str(kind))
        bottoms = dict(zip(inner.inputs, _names(node, "bottom") or previous, strict=False))
        return [bottoms.get(one) or _top_name(name, one, outputs) for one in outputs]


class _Use:
    """One use of a block whose keys have been read, with all its copies. ``bottoms`` are blobs outside."""

    def __init__(
        self, writer: _Writer, node: Node, block_name: str, block: Block, keys: Any, scope: _Scope, bottoms: list[str]
    ):
        self.writer, self.node, self.block_name, self.block, self.keys = writer, node, block_name, block, keys
        self.scope, self.bottoms, self.outputs = scope, bottoms, writer.outputs_of(block_name)
        self.title, self.problems, self.tops = f"{block_name} `{keys.name}`", writer.problems, tuple[str, ...]()

    def record(self) -> BlockUse:
        """What was given, for those who ask about blocks and not about layers."""
        given = {
            key: self.node.value[key].to_python() for key in self.block.parameters.values if key in self.node.value
        }
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
        inner = self.keys.name.removeprefix(self.scope.prefix)
        own = [inputs.get(one) or self.scope.outer(_top_name(inner, one, self.outputs)) for one in self.outputs]
        self.tops = tuple(own) if self.keys.top is None else self.keys.top
        for output, top in zip(self.outputs, self.tops, strict=False):
            if output in inputs and top != inputs[output]:
                self._blame(
                    "top", f" works in place, so its top has the name of its bottom, {inputs[output]}; got {top}"
                )
            elif output not in inputs and top in self.bottoms:
                self._blame("top", f" reads `{top}` and makes another blob; give its top another name")

    def _blame(self, key: str, message: str) -> None:
        self.problems.add(self.node.at(key), f"{self.title}{message}")

    def _compare(self, what: str, got: int, names: Sequence[str]) -> None:
        if got != len(names):
            plural = "" if len(names) == 1 else "s"
            which = f" ({', '.join(names)})" if names else ""
            self._blame(what, f" takes {len(names)} {what}{plural}{which}, got {got}")

    def _check_copies(self, repeat: int) -> None:
        if len(self.outputs) > len(self.block.inputs):
            counts = f"{len(self.outputs)} outputs, and {len(self.block.inputs)} to take in"
            self._blame("repeat", f" cannot be repeated: each copy takes the outputs of the one before, {counts}")
        for key in self.block.parameters.values:
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
            between = [inputs.get(one) or _top_name(name, one, self.outputs) for one in self.outputs]
            tops = list(self.tops) if last else between
            layers += self._copy(k, name, bottoms, tops, last)
            bottoms = [*tops, *bottoms[len(tops) :]]
        return layers

    def _copy(self, k: int, name: str, bottoms: list[str], tops: list[str], last: bool) -> list[Node]:
        use = Use(name, self.keys.name, self.node.place)
        values = {"name": Node(name, self.node.place)}
        template = Template(self.block_name, values, use, self.problems, self.writer.budget)
        for key, default in self.block.parameters.values.items():
            value = self.node.value.get(key)
            if value is None:
                value = template.fill(default) if any(True for _ in references(default)) else default
            elif self.keys.repeat is not None and isinstance(value.value, list):
                value = value.value[min(k, len(value.value) - 1)]
            values[key] = value
        nodes = []
        for layer in self.block.layers.nodes:
            before = len(self.problems.found)
            nodes.append(template.fill(layer))
            if len(self.problems.found) > before:
                self.writer.result.broken.add(id(nodes[-1]))
        if "engine" in self.node.value:
            for node in nodes:
                if "engine" not in node.value:
                    _set(node, "engine", self.keys.engine, self.node.at("engine"))
        if last:
            self._weigh(nodes)
        here = [node for node in nodes if restrict(node, self.node)]
        blobs = dict(zip(self.outputs, tops, strict=True)) | dict(zip(self.block.inputs, bottoms, strict=True))
        when = condition(self.node)
        scope = _Scope(f"{name}/", use, blobs, self.scope.sure | {when})
        return self.writer.row(here, scope, _Order([(bottoms[0], when)] if bottoms and bottoms[0] else []))

    def _weigh(self, nodes: list[Node]) -> None:
        """Hand ``loss_weight`` on to the layers that make the tops."""
        all_tops = self.writer.tops_in(self.block)
        for output, weight in zip(self.outputs, self.keys.loss_weight, strict=False):
            makers = [i for i, tops in enumerate(all_tops) if output in tops]
            if condition(nodes[makers[-1]]) is None:
                makers = makers[-1:]
            elif any(output in _names(nodes[i], "bottom") for i in makers):
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
                    _set(node, "loss_weight", weights if len(weights) > 1 else weights[0], place)


def _set(node: Node, key: str, value: Any, place: Place) -> None:
    node.value[key], node.keys[key] = Node.plain(value, place, in_one_place=True), place


def _is_name(node: Node) -> bool:
    return isinstance(node.value, str) and bool(node.value)


def _names(node: Node, key: str) -> list[str]:
    """The names that a layer has under a key."""
    value = node.value.get(key)
    items = value.value if value is not None and isinstance(value.value, list) else [value] if value else []
    return [item.value for item in items if _is_name(item)]


def _top_name(use: str, output: str, outputs: Sequence[str]) -> str:
    """What an output is called outside: like the use where it is the only one."""
    return use if len(outputs) == 1 else f"{use}/{output}"


def _most(count: int | tuple[int, int | None]) -> int | None:
    return count if isinstance(count, int) else count[1]
