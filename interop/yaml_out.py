"""A spec as YAML that reads as if a person had written it: a line a layer, defaults left out, comments kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..net import registry
from ..spec.errors import Place
from ..spec.node import Node
from ..spec.reading import comments_of, scalar

WIDTH = 120
WHEN_LEFT_OUT = {"stride": 1, "pad": 0, "dilation": 1}  # of kernels, whose declared defaults are empty
_LONG = ("solver", "blocks", "layers")
_PLAIN = re.compile(r"[A-Za-z0-9_./~$+][\w./\-+ *$%@<>=^~()]*\Z")


@dataclass
class Remark:
    """A comment of the source, and the line it stood on."""

    file: str
    line: int
    text: str


@dataclass
class Remarks:
    """The comments of a source: what stands above something, or in it, belongs to it.

    ``ends`` are the last lines of what begins on a line; where one is not known, it is a single line.
    """

    all: list[Remark] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    owned: dict[tuple[str, int], list[Remark]] | None = None
    asked: list[Place] = field(default_factory=list)

    def belong(self) -> None:
        """Give each comment to the last thing asked for that begins before it and ends after it, else to the next."""
        lines: dict[str, set[int]] = {}
        for place in self.asked:
            lines.setdefault(place.file, set()).add(place.line)
        self.owned = {}
        for remark in self.all:
            starts = sorted(lines.get(remark.file, ()))
            around = [line for line in starts if line <= remark.line <= self.ends.get((remark.file, line), line)]
            owner = max(around, default=next((line for line in starts if line > remark.line), 0))
            self.owned.setdefault((remark.file, owner), []).append(remark)

    def before(self, place: Place) -> list[str]:
        """Those of what begins at a place, once; none as long as it is not known what there is that may have them."""
        if self.owned is None:
            self.asked += [place] if place.line else []
            return []
        return [remark.text for remark in self.owned.pop((place.file, place.line), [])]

    def rest(self) -> list[str]:
        """Those that belong to nothing."""
        return [remark.text for remarks in (self.owned or {}).values() for remark in remarks]


def of_yaml(root: Node, text: str) -> Remarks:
    """The comments of a spec that was read from this text."""
    blocks = root.value["blocks"].value.values() if "blocks" in root.value else ()
    layers = [layer for part in (root, *blocks) for layer in part.value["layers"].value]
    ends = {(layer.place.file, layer.place.line): _last_line(layer) for layer in layers}
    return Remarks([Remark(root.place.file, line, words) for line, words in comments_of(text)], ends)


def _last_line(node: Node) -> int:
    inside = node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    return max([node.place.line, *map(_last_line, inside)])


def to_yaml(root: Node, remarks: Remarks | None = None, head: Iterable[str] = ()) -> str:
    """The text of a spec; ``head`` are lines of comment at its top."""
    remarks = remarks or Remarks()
    _lines(root, remarks)
    remarks.belong()
    lines = [*(f"# {line}".rstrip() for line in head), *_lines(root, remarks), *_comments("", remarks.rest())]
    return "\n".join(lines).strip("\n") + "\n"


def _lines(root: Node, remarks: Remarks) -> list[str]:
    lines: list[str] = []
    layers = layer_lines(root.value["layers"].value, "  ", remarks)  # first: a block may be made of some of them
    for key, node in [*((key, node) for key, node in root.value.items() if key != "layers"), ("layers", None)]:
        place = root.keys.get(key, root.place)
        is_place_of_key = key in root.value and place != root.value[key].place
        above = _comments("", remarks.before(place) if is_place_of_key or key not in _LONG else [])
        if key == "layers":
            lines += ["", *above, "layers:", *layers]
        elif key == "solver":
            lines += ["", *above, "solver:", *_block(node, "  ", remarks)]
        elif key == "blocks":
            lines += ["", *above, "blocks:"]
            for name, block in node.value.items():
                lines += _comments("  ", remarks.before(node.keys[name])) + block_lines(name, block, remarks)
        else:
            lines += [*above, f"{_text(key)}: {flow(node)}"]
    return lines


def _comments(indent: str, texts: Iterable[str]) -> list[str]:
    return [f"{indent}# {text}".rstrip() for text in texts]


def block_lines(name: str, block: Node, remarks: Remarks | None = None) -> list[str]:
    """The entry of ``blocks`` with this name."""
    remarks = remarks or Remarks()
    lines = [f"  {_text(name)}:"]
    for key, node in block.value.items():
        place = block.keys.get(key, node.place)
        lines += _comments("    ", remarks.before(place) if place != node.place else [])
        if key == "layers":
            lines += ["    layers:", *layer_lines(node.value, "      ", remarks)]
        else:
            lines.append(f"    {_text(key)}: {flow(node)}")
    return lines


def _block(node: Node, indent: str, remarks: Remarks) -> list[str]:
    lines = []
    for key, value in node.value.items():
        comments = remarks.before(node.keys.get(key, value.place)) if value.place.line else []
        lines += _comments(indent, comments)
        lines.append(f"{indent}{_text(key)}: {flow(value)}")
    return lines


def layer_lines(
    layers: list[Node], indent: str, remarks: Remarks | None = None, before: Node | None = None
) -> list[str]:
    """The entries of ``layers``, which come after one if there is one; long ones take a line for each key."""
    remarks = remarks or Remarks()
    lines: list[str] = []
    for layer in layers:
        lines += _comments(indent, remarks.before(layer.place))
        shown = _without_defaults(layer, before)
        text = f"{indent}- {flow(shown)}"
        if len(text) > WIDTH:
            keys = [
                line for key, value in shown.value.items() for line in _key_lines(f"{indent}  {_text(key)}: ", value)
            ]
            lines += [f"{indent}- {keys[0].lstrip()}", *keys[1:]]
        else:
            lines.append(text)
        before = layer
    return lines


def _key_lines(key: str, value: Node) -> list[str]:
    """A key with its value, a long list of words or numbers on several lines."""
    text = f"{key}{flow(value)}"
    if len(text) <= WIDTH or not isinstance(value.value, list) or any(isinstance(i.value, dict) for i in value.value):
        return [text]
    lines = [f"{key}["]
    for i, item in enumerate(value.value):
        piece = flow(item) + ("," if i + 1 < len(value.value) else "]")
        if len(lines[-1]) + 1 + len(piece) > WIDTH:
            lines.append(" " * len(key))
        lines[-1] += piece if lines[-1].endswith("[") else f" {piece}"
    return lines


def _without_defaults(layer: Node, before: Node | None) -> Node:
    """A layer without the keys that say what leaving them out says too."""
    kept, keys = dict(layer.value), dict(layer.keys)
    name = layer.value["name"].value if "name" in layer.value else None
    names = {key: _names(layer.value.get(key)) for key in ("bottom", "top")}
    if names["top"] == [name]:
        kept.pop("top", None)
    is_use = before is not None and registry.layer_type(str(before.value.get("type", before).value)) is None
    if before is not None and not is_use and not {"include", "exclude"} & before.value.keys():
        tops = _names(before.value.get("top")) or _names(before.value.get("name"))
        if tops and names["bottom"] == tops[:1] and leaves_bottom_out(layer):
            kept.pop("bottom", None)
    kind = registry.layer_type(str(layer.value["type"].value)) if "type" in layer.value else None
    for one in kind.Parameters.fields() if kind else ():
        node = kept.get(one.name)
        if node is not None and not isinstance(node.value, dict) and _is_default(node, one.name, one.default):
            kept.pop(one.name)
    return Node(kept, layer.place, keys)


def leaves_bottom_out(layer: Node) -> bool:
    """Whether leaving the bottom out means one: a type that takes any number would get none."""
    kind = registry.layer_type(str(layer.value["type"].value)) if "type" in layer.value else None
    return kind is not None and kind.num_bottoms != 0 and kind.num_bottoms != (0, None)


def _names(node: Node | None) -> list[str]:
    if node is None:
        return []
    value = node.to_python()
    return value if isinstance(value, list) else [value]


def _is_default(node: Node, key: str, default: Any) -> bool:
    value = node.to_python()
    if key in WHEN_LEFT_OUT and default in ((), None):
        return type(value) is int and value == WHEN_LEFT_OUT[key]
    if isinstance(default, tuple):
        return (value if isinstance(value, list) else [value]) == list(default)
    if type(default) not in (int, float, bool, str):
        return False
    return value == default and type(value) in (type(default), int)


def one_line(value: Any) -> str:
    """A plain value as YAML has it, on one line."""
    return flow(Node.plain(value, Place("")))


def flow(node: Node) -> str:
    """A value on one line."""
    value = node.value
    if isinstance(value, dict):
        items = [f"{_text(key)}: {'' if item.value is None else flow(item)}" for key, item in value.items()]
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str):
        return _text(value)
    if value is None:  # in a mapping it is left empty
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(value, node.place)


def _number(value: int | float, place: Place) -> str:
    """A number as its source writes it, where that is YAML's way too; else the shortest that means the same."""
    written = place.text[place.column - 1 : place.column - 1 + place.length] if place.line else ""
    if written and isinstance(read := _scalar(written), int | float) and not isinstance(read, bool) and read == value:
        return written
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(value)]
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def _scalar(text: str) -> Any:
    try:
        return scalar(text)
    except ValueError:
        return None


def _text(value: str) -> str:
    """A text without quotes where YAML reads it as that text."""
    is_plain = _PLAIN.match(value) and not value.endswith(" ") and isinstance(_scalar(value), str) and value != "<<"
    return value if is_plain else '"' + "".join(map(_in_quotes, value)) + '"'


def _in_quotes(letter: str) -> str:
    """A character between quotation marks; what cannot be seen is written as its number."""
    if letter in '"\\':
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return {"\n": "\\n", "\t": "\\t"}.get(letter) or (
        f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"
    )
