"""Blocks written out: from the nodes of a spec with ``blocks:`` to those of the same spec without.

What comes after this, from the check of the layers to a snapshot's weights, sees plain layers. Their names and blobs
begin with the name of the use; their places are those in the block, and know the use (``Place.used``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..spec import foreign
from ..spec.advice import Advice
from ..spec.errors import Place, Problem, Problems, Use, folded, nearest
from ..spec.node import Node
from ..spec.reader import MISSING, Reader
from ..spec.template import Budget, Template, in_brackets
from . import registry
from .block_use import Copies
from .blocks import (
    USE_KEYS,
    Block,
    Order,
    Scope,
    UseKeys,
    is_name,
    is_whole,
    most,
    names_of,
    read_blocks,
    set_value,
    top_name,
)
from .presence import condition
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
    writer = Writer(blocks, root.value["blocks"], own, result)
    scope = Scope("", None, {}, frozenset())
    flat.value["layers"] = Node(writer.row([_copy(node) for node in layers.value], scope, Order()), layers.place)
    for name, place in root.value["blocks"].keys.items():
        if name in blocks and name not in writer.used:
            result.warnings.append(Problem(place, f"the block `{name}` is never used", with_line=False))
    return result


def _copy(node: Node) -> Node:
    """A layer whose keys may be changed; its values are shared."""
    return Node(dict(node.value), node.place, dict(node.keys)) if isinstance(node.value, dict) else node


class Writer:
    """Writes the layers of all uses, one after the other."""

    def __init__(self, blocks: Mapping[str, Block | None], node: Node, reader: Reader, result: Expanded):
        self.blocks, self.node, self.result = blocks, node, result
        self.reader, self.problems = reader, reader.problems
        self.used: set[str] = set()
        self.stack: list[str] = []
        self.in_circle: set[str] = set()
        self.budget = Budget()
        self.plain = Order()  # what the layers written so far give to one without `bottom`
        self.outputs: dict[str, tuple[str, ...]] = {}
        self.asked = 0  # how many blocks inside each other `outputs_of` looks at

    def row(self, nodes: Sequence[Node], scope: Scope, order: Order) -> list[Node]:
        """Layers written out. Their names are still those of the block, if they stand in one."""
        written: list[Node] = []
        for node in nodes:
            if not isinstance(node.value, dict):
                written.append(node)
                continue
            inner = next(iter(names_of(node, "name")), "")
            for key in ("name", "bottom", "top"):
                self._rename(node, key, scope)
            kind = node.value.get("type")
            name = kind.value if kind is not None and isinstance(kind.value, str) else ""
            if id(node) not in self.result.broken and name in self.blocks and not registry.layer_type(name):
                written += self._use(node, name, inner, scope, order)
            else:
                written.append(self._layer(node, name, inner, scope, order))
        return written

    def _rename(self, node: Node, key: str, scope: Scope) -> None:
        value = node.value.get(key)
        if value is None or scope.use is None:
            return
        if key == "name":
            if is_name(value):
                node.value[key] = Node(scope.name(value.value), value.place)
        elif isinstance(value.value, list):
            items = [Node(scope.outer(one.value), one.place) if is_name(one) else one for one in value.value]
            node.value[key] = Node(items, value.place)
        elif is_name(value):
            node.value[key] = Node(scope.outer(value.value), value.place)

    def _layer(self, node: Node, name: str, inner: str, scope: Scope, order: Order) -> Node:
        """A plain layer, ``inner`` to its block: blobs get their names outside; layers in it are written out."""
        cls = registry.layer_type(name) if name else None
        near = nearest(name, self.blocks) if name and cls is None and folded(name) not in foreign.TYPES else None
        if near and id(node) not in self.result.broken:
            message = f"unknown layer type `{name}`; did you mean the block `{near}`?"
            self._break(node, node.value["type"].place, message)
        if "bottom" not in node.value and (cls is None or most(cls.num_bottoms) != 0):
            self._give_bottom(node, scope, order)
        gives = "top" not in node.value and scope.use and (cls is None or most(cls.num_tops) != 0) and inner
        if gives and scope.outer(inner) != scope.name(inner):
            set_value(node, "top", scope.outer(inner), node.at("name"))
        for key, one in ((one.name, one.type) for one in (cls.Parameters.fields() if cls else ())):
            if getattr(one, "holds_layers", False) and key in node.value and isinstance(node.value[key].value, list):
                self._write_inside(node, key, scope)
        tops = names_of(node, "top") or ([str(node.value["name"].value)] if "name" in node.value else [])
        if tops and (cls is None or most(cls.num_tops) != 0):
            order.add(tops[0], condition(node))
            self.plain.add(tops[0], condition(node))
        return node

    def _write_inside(self, node: Node, key: str, scope: Scope) -> None:
        """The layers that a layer has in it, which know no blobs but their own."""
        outside, self.plain = self.plain, Order()
        inside = Scope("", None, {}, scope.sure)
        layers = node.value[key]
        known = len(self.result.uses)
        node.value[key] = Node(self.row([_copy(one) for one in layers.value], inside, Order()), layers.place)
        del self.result.uses[known:]  # those of the spec's own layers are what is listed
        self.plain = outside

    def _give_bottom(self, node: Node, scope: Scope, order: Order) -> None:
        """Write down what a layer reads that leaves `bottom` out, where it would be something else afterwards."""
        blob = self._before(node, scope, order)
        if blob:
            set_value(node, "bottom", blob, node.place)

    def _before(self, node: Node, scope: Scope, order: Order, needed: bool = False) -> str:
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

    def _use(self, node: Node, name: str, inner: str, scope: Scope, order: Order) -> list[Node]:
        """The layers of a use, or its own node when something is wrong with it."""
        self.used.add(name)
        block = self.blocks[name]
        if block is None or name in self.in_circle:
            self.result.broken.add(id(node))
        elif not self._is_circle(node, name):
            use = self._read_use(node, name, block, inner, scope, order)
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
        first = next(iter(names_of(node, "top") or names_of(node, "name")), "")
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

    def _read_use(self, node: Node, name: str, block: Block, inner: str, scope: Scope, order: Order) -> Copies | None:
        """Check what a use says. None when something is wrong, which is reported."""
        before, defaults = len(self.problems.found), block.defaults
        known = [*USE_KEYS, *defaults]
        advice: dict[str, str | Advice] = {"freeze": "its layers are frozen by its name in solver.freeze"}
        elsewhere = [
            key for key in UseKeys.names() if key not in known and key in node.keys
        ]  # has a message of its own
        self.reader.unknown_keys(node, [*known, *elsewhere], name, advice)
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
        use = Copies(self, node, name, block, keys, inner, scope, bottoms)
        if len(self.problems.found) == before:
            use.check()
        return use if len(self.problems.found) == before else None

    def _reads_input(self, block: Block) -> bool:
        """Whether any layer of a block reads its only input."""
        first, *_ = block.layers.nodes
        kind = first.value.get("type")
        cls = registry.layer_type(kind.value) if kind is not None and isinstance(kind.value, str) else None
        if "bottom" not in first.value and (cls is None or most(cls.num_bottoms) != 0):
            return True
        return any(block.inputs[0] in names_of(node, "bottom") for node in block.layers.nodes)

    def outputs_of(self, name: str) -> tuple[str, ...]:
        """The blobs of a block that it gives out, as its layers call them."""
        if name not in self.outputs:
            block = self.blocks[name]
            self.outputs[name] = ()  # where blocks contain each other or nest too deeply, which is reported
            self.asked += 1
            if block is not None and self.asked <= DEEPEST + 1:
                self.outputs[name] = tuple(self.tops_in(block)[-1]) if block.outputs is None else block.outputs
            self.asked -= 1
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
            return names_of(node, "top")
        kind = node.value["type"].value if "type" in node.value else None
        name = next(iter(names_of(node, "name")), "")
        inner = self.blocks.get(kind) if isinstance(kind, str) else None
        if inner is None:
            cls = registry.layer_type(kind) if isinstance(kind, str) else None
            return [name] if name and (cls is None or most(cls.num_tops) != 0) else []
        outputs = self.outputs_of(str(kind))
        bottoms = dict(zip(inner.inputs, names_of(node, "bottom") or previous, strict=False))
        return [bottoms.get(one) or top_name(name, self._seen_from(node, name, inner, one), outputs) for one in outputs]

    def _seen_from(self, node: Node, name: str, inner: Block, output: str) -> str:
        """An output of a use in a block, in that block's words: a whole name has what the use gives put in."""
        if not is_whole(output):
            return output
        own = name[1:] if is_whole(name) else f"$(name)/{name}"
        if "repeat" in node.value:
            own += f"/{node.value['repeat'].value}"
        template = Template("", {}, Use(name, name, node.place), Problems(), Budget())
        found = template.of_use(inner.defaults, in_brackets(node), own, -1).fill(Node(output, node.place)).value
        return found if isinstance(found, str) else output
