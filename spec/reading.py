"""Reading YAML: every value keeps its line and column, numbers and booleans follow YAML 1.2, nothing runs.

``yaml.compose`` gives nodes with places; what a plain scalar means is decided here, because PyYAML's own
rules (YAML 1.1) read 1e-3 as a string, ``on`` as a boolean and 010 as 8. A duplicate key is an error.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from .errors import Place, Problem, Problems, SpecError
from .node import Node

MOST_WRITTEN = 40_000  # keys and values in a text; the largest of nets have some 30,000
MOST_NODES = 60_000  # after aliases are expanded
DEEPEST = 100

_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL, _HEX = re.compile(r"0o[0-7]+\Z"), re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_SPECIAL |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_SPECIAL |= {sign + dot: float(sign + "inf") for sign in ("", "+", "-") for dot in (".inf", ".Inf", ".INF")}
_SPECIAL |= {word: float("nan") for word in (".nan", ".NaN", ".NAN")}

_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def scalar(text: str) -> Any:
    """What a plain YAML 1.2 scalar means. Raises ValueError for a number too long to be one."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INT.match(text):
        return int(text)
    if _OCTAL.match(text) or _HEX.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    return text


class _TooManyError(Exception):
    """A text with more values than any spec; ``mark`` is the place of the first one too many."""

    def __init__(self, mark: yaml.Mark):
        super().__init__()
        self.mark = mark


class _NoTag(str):
    """The tag of what is written without one; of a class of its own, since a text can write any word as a tag."""


_NO_TAG = _NoTag()
_STR = "tag:yaml.org,2002:str"


class _Composer(yaml.composer.Composer):
    """PyYAML's composer, except that it stops at a number of values, and gives no tags to what has none."""

    count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.count += 1
        if self.count > MOST_WRITTEN:
            raise _TooManyError(self.peek_event().start_mark)  # type: ignore[attr-defined]
        return super().compose_node(parent, index)

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return _NO_TAG

    def descend_resolver(self, parent: Any, index: Any) -> None:
        """Tags do not depend on where a value is."""

    def ascend_resolver(self) -> None:
        """As above."""


class _Loader(_Composer, yaml.SafeLoader):
    """Reads in Python, on every machine the same."""

    def __init__(self, text: str):
        yaml.SafeLoader.__init__(self, text)


_LIBYAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _FastLoader(_Composer, _LIBYAML):
    """Reads with libyaml, where PyYAML has it: ten times as fast."""

    def __init__(self, text: str):
        _LIBYAML.__init__(self, text)
        yaml.composer.Composer.__init__(self)


# What libyaml reads differently from PyYAML's Python: tabs, byte order marks, tags, `?` in a word, `|#`.
_ODD = re.compile(r"[\t\ufeff!?]|[|>][-+0-9]*#")


def _compose(text: str) -> yaml.Node | None:
    """The nodes of a text. What is wrong with it, or odd, is for the Python reader to say."""
    try:  # also with what is odd: libyaml is quick to see that there is too much of it
        root = yaml.compose(text, Loader=_FastLoader)
        if not _ODD.search(text):
            return root
    except (yaml.YAMLError, ValueError):
        pass
    return yaml.compose(text, Loader=_Loader)


def read_text(text: str, name: str, problems: Problems | None = None) -> Node:
    """Parse YAML text into nodes. ``name`` is what errors call it.

    Raises SpecError; with ``problems`` only when nothing can be read, else the caller collects what is wrong.
    """
    lines = text.splitlines()
    try:
        root = _compose(text)
    except _TooManyError as error:
        place = _place(name, error.mark.line, error.mark.column, 1, lines)
        raise SpecError([Problem(place, f"more than {MOST_WRITTEN:,} keys and values, too many for a spec")]) from None
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(error, name, lines)]) from None
    except yaml.reader.ReaderError as error:
        above = f"{text[: error.position]}x".splitlines()  # of any system; what else would end a line is refused
        place = _place(name, len(above) - 1, len(above[-1]) - 1, 1, lines)
        message = f"character #x{ord(text[error.position]):02x} does not belong in YAML"
        raise SpecError([Problem(place, message, with_line=False)]) from None
    except RecursionError:
        raise SpecError([Problem(Place(name, 1, 1), "nested too deeply to be a spec")]) from None
    if root is None:
        raise SpecError([Problem(Place(name), "the file is empty; a spec has `layers:` and usually `solver:`")])
    found = Problems() if problems is None else problems
    converter = _Converter(name, lines, found)
    node = converter.convert(root, 0)
    if problems is None or converter.has_unreadable_values:
        found.raise_if_any()
    return node


def comments_of(text: str) -> list[tuple[int, str]]:
    """The comments of a text that can be read, each with its line: what stands after a # between two tokens."""
    found = []
    end, column = 0, 0
    lines = text.splitlines()
    for token in yaml.scan(text, Loader=_Loader):
        for number in range(end, min(token.start_mark.line + 1, len(lines))):
            stop = token.start_mark.column if number == token.start_mark.line else None
            begin = column if number == end else 0
            comment = re.search(r"(?:^|(?<=\s))#(.*)", lines[number][begin:stop])
            if comment:
                found.append((number + 1, comment[1].removeprefix(" ").rstrip()))
        end, column = token.end_mark.line, token.end_mark.column
    return found


def to_yaml(data: Any) -> str:
    """Plain data as one line of YAML, as examples show it."""
    return yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).strip()


class _Converter:
    """PyYAML's nodes to ours, with limits on size and depth so that an alias bomb is an error message."""

    def __init__(self, name: str, lines: list[str], problems: Problems):
        self.name, self.lines, self.problems, self.count = name, lines, problems, 0
        self.has_unreadable_values = False  # anything else wrong would only be a consequence

    def place(self, node: yaml.Node) -> Place:
        start, end = node.start_mark, node.end_mark
        one_line = end.line == start.line and not isinstance(node, yaml.MappingNode)
        length = end.column - start.column if one_line else 1
        return _place(self.name, start.line, start.column, length, self.lines)

    def convert(self, node: yaml.Node, depth: int) -> Node:
        place = self.place(node)
        self.count += 1
        if self.count > MOST_NODES or depth > DEEPEST:
            what = f"more than {MOST_NODES:,} values" if depth <= DEEPEST else f"nested deeper than {DEEPEST} levels"
            raise SpecError([Problem(place, f"{what}; an alias that contains itself?")])
        if not isinstance(node.tag, _NoTag) and not (isinstance(node, yaml.ScalarNode) and node.tag == _STR):
            self.problems.add(place, f"the tag {node.tag} has no place in a spec: only plain values are read")
            self.has_unreadable_values = True
            return Node(None, place)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.convert(item, depth + 1) for item in node.value], place)
        assert isinstance(node, yaml.ScalarNode)  # there is no other kind
        if not self._is_writable(node.value, place):
            return Node(None, place)
        if not _is_plain(node):
            return Node(node.value, place)
        try:
            return Node(scalar(node.value), place)
        except ValueError:
            self.problems.add(place, f"a number of {len(node.value):,} digits is too long")
            self.has_unreadable_values = True
            return Node(None, place)

    def _is_writable(self, text: str, place: Place) -> bool:
        is_bad = bool(message := _unwritable(text))
        if is_bad:
            self.problems.add(place, message)
            self.has_unreadable_values = True
        return not is_bad

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> Node:
        result = Node({}, place)
        merged: list[Node] = []
        for key_node, value_node in node.value:
            key_place = self.place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.add(key_place, "a key must be a single word")
                continue
            key, value = key_node.value, self.convert(value_node, depth + 1)
            if not self._is_writable(key, key_place):
                continue
            if key == "<<" and _is_plain(key_node):
                merged += value.value if isinstance(value.value, list) else [value]
            elif key in result.value:
                first = result.keys[key]
                self.problems.add(key_place, f"the key `{key}` is written twice; first on line {first.line}")
            else:
                result.value[key], result.keys[key] = value, key_place
        for other in merged:
            if not isinstance(other.value, dict):
                self.problems.add(other.place, f"`<<` takes a mapping, got {other.words()}")
                continue
            for key, value in other.value.items():
                if result.value.setdefault(key, value) is value:
                    result.keys.setdefault(key, other.keys[key])
        return result


def _unwritable(text: str) -> str:
    """Control characters and halves of surrogate pairs can be written escaped; nothing good comes of them."""
    bad = _UNWRITABLE.search(text)
    return f"{ascii(text)[:60]}: the character #x{ord(bad[0]):02x} does not belong in a spec" if bad else ""


def check_nodes(root: Node, problems: Problems) -> None:
    """What a text in YAML is checked for while it is read, of nodes that came another way: that each text can be
    written, and that there are not too many. Raises SpecError for too many."""
    count, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        count += 1
        if count > MOST_WRITTEN:
            raise SpecError([Problem(node.place, f"more than {MOST_WRITTEN:,} values, too many for a spec")])
        if isinstance(node.value, dict):
            waiting += node.value.values()
        elif isinstance(node.value, list):
            waiting += node.value
        elif isinstance(node.value, str) and (message := _unwritable(node.value)):
            problems.add(node.place, message)


def _is_plain(node: yaml.Node) -> bool:
    """Whether it is a word without quotes and tag, so that its characters decide what it is."""
    return isinstance(node, yaml.ScalarNode) and isinstance(node.tag, _NoTag) and not node.style


def _place(name: str, line: int, column: int, length: int, lines: list[str]) -> Place:
    text = lines[line] if line < len(lines) else ""
    return Place(name, line + 1, column + 1, max(1, length), text)


def _syntax_problem(error: yaml.MarkedYAMLError, name: str, lines: list[str]) -> Problem:
    """PyYAML's complaint in words for someone who writes YAML for the first time."""
    mark = error.problem_mark or error.context_mark
    place = _place(name, mark.line, mark.column, 1, lines) if mark else Place(name)
    message = (error.problem or str(error)).strip()
    if any(re.match(r"\s*(layers?|\w+_param)\s*(:\s*)?\{\s*$", line) for line in lines):
        message = "this looks like Caffe's prototxt; a spec is YAML: `layers:` and a list of `- {name: ip1, type: …}`"
    elif "\\t" in message or "\t" in place.text[: place.column]:
        message = "a tab here; YAML is indented with spaces"
    elif "expected a single document" in (error.context or ""):
        message = "a second document starts here; a spec is one document"
    elif error.context:
        begun = f", which begins on line {error.context_mark.line + 1}" if error.context_mark else ""
        message = f"not valid YAML: {message} ({error.context.strip()}{begun})"
    elif "mapping values are not allowed" in message:
        message = f"not valid YAML: {message}; is the line indented like those it belongs with?"
    else:
        message = f"not valid YAML: {message}"
    return Problem(place, message)
