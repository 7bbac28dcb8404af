"""A spec as YAML that reads as if a person had written it: a line a layer, defaults left out, comments kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..net import registry
from ..spec.errors import Place
from ..spec.node import Node
from ..spec.reading import scalar

WIDTH = 120
WHEN_LEFT_OUT = {"stride": 1, "pad": 0, "dilation": 1}  # of kernels, whose declared defaults are empty
_PLAIN = re.compile(r"[A-Za-z0-9_./~$+][\w./\-+ *$%@<>=^~()]*\Z")


@dataclass
class Remark:
    """A comment of the source, and the line it stood on."""

    file: str
    line: int
    text: str


@dataclass
class Remarks:
    """The comments of a source, given out in order: what stands above something, or in it, belongs to it."""

    all: list[Remark] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)

    def before(self, place: Place) -> list[str]:
        """Those up to the end of what begins at a place, which have not been given out."""
        end = self.ends.get((place.file, place.line), place.line)
        found = [remark for remark in self.all if remark.file == place.file and remark.line <= end]
        self.all = [remark for remark in self.all if remark not in found]
        return [remark.text for remark in found]

    def rest(self) -> list[str]:
        found, self.all = [remark.text for remark in self.all], []
        return found


def to_yaml(root: Node, remarks: Remarks | None = None, head: Iterable[str] = ()) -> str:
    """The text of a spec; ``head`` are lines of comment at its top."""
    remarks = remarks or Remarks()
    lines = [f"# {line}".rstrip() for line in head]
    for key, node in root.value.items():
        if key == "layers":
            continue
        place = root.keys.get(key, node.place)
        if key == "solver":
            lines += ["", "solver:", *_block(node, "  ", remarks)]
            continue
        lines += [f"# {text}".rstrip() for text in remarks.before(place)] if key != "blocks" else []
        if key == "blocks":
            lines += ["", "blocks:"]
            for name, block in node.value.items():
                lines += block_lines(name, block, remarks)
            continue
        lines.append(f"{_text(key)}: {flow(node)}")
    lines += ["", "layers:"]
    lines += layer_lines(root.value["layers"].value, "  ", remarks)
    lines += [f"# {text}".rstrip() for text in remarks.rest()]
    return "\n".join(lines).strip("\n") + "\n"


def block_lines(name: str, block: Node, remarks: Remarks | None = None) -> list[str]:
    """The entry of ``blocks`` with this name."""
    lines = [f"  {_text(name)}:"]
    for key, node in block.value.items():
        if key == "layers":
            lines += ["    layers:", *layer_lines(node.value, "      ", remarks)]
        else:
            lines.append(f"    {_text(key)}: {flow(node)}")
    return lines


def _block(node: Node, indent: str, remarks: Remarks) -> list[str]:
    lines = []
    for key, value in node.value.items():
        comments = remarks.before(node.keys.get(key, value.place)) if value.place.line else []
        lines += [f"{indent}# {text}".rstrip() for text in comments]
        lines.append(f"{indent}{_text(key)}: {flow(value)}")
    return lines


def layer_lines(
    layers: list[Node], indent: str, remarks: Remarks | None = None, before: Node | None = None
) -> list[str]:
    """The entries of ``layers``, which come after one if there is one; long ones take a line for each key."""
    remarks = remarks or Remarks()
    lines: list[str] = []
    for layer in layers:
        lines += [f"{indent}# {text}".rstrip() for text in remarks.before(layer.place)]
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
