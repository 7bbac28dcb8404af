"""Prototxt: protocol buffers as text, as people write nets for Caffe.

Reading goes in two steps: the text becomes a tree of fields, whatever their names (``parse``), then the tree a message
of the table (``binding``). So everything that is wrong is told at once, with its place, and fields of forks can be
understood.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import NoReturn

from ...spec.errors import Place, Problem, Problems, SpecError
from .escapes import meaningless, unescaped

DEEPEST = 50
MOST_SYNTAX_PROBLEMS = 25

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+)
      | (?P<comment>\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]++|\\[^\n])*+"|'(?:[^'\\\n]++|\\[^\n])*+')
      | (?P<mark>[{}<>\[\]:,;])
      | (?P<word>[^\s{}<>\[\]:,;"'\#]+)
      | (?P<other>.)""",
    re.VERBOSE,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CLOSING = {"{": "}", "<": ">", "[": "]"}


@dataclass(slots=True)
class Written:
    """A value as written: a word, a string in quotes (its bytes), or the fields of a message."""

    place: Place
    word: str = ""
    text: bytes | None = None
    fields: list[WrittenField] | None = None
    last_line: int = 0


@dataclass(slots=True)
class WrittenField:
    """A name and its values: one, or those of a list in square brackets."""

    name: str
    place: Place
    values: list[Written]
    is_list: bool = False


@dataclass(slots=True)
class Comment:
    """What stands after a ``#``; ``alone`` on its line, or behind something."""

    line: int
    text: str
    alone: bool


MOST_WORDS = 200_000  # of a text, brackets among them; the largest nets have some 50,000


@dataclass
class Document:
    """A whole text."""

    fields: list[WrittenField]
    comments: list[Comment]
    has_errors: bool = field(default=False)


def parse(text: str, name: str, problems: Problems) -> Document:
    """The fields of a text. ``name`` is what errors call it.

    Problems that leave the rest readable are collected; raises SpecError with all so far where brackets do not match.
    """
    return _Parser(text.removeprefix("\ufeff"), name, problems).document()


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    at: int
    line: int


class _SkippedError(Exception):
    """Something that does not fit here; the rest of its line is skipped."""


class _Parser:
    def __init__(self, text: str, name: str, problems: Problems):
        self.name, self.problems, self.before = name, problems, len(problems.found)
        self.text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        self.lines = self.text.split("\n")
        self.comments: list[Comment] = []
        self.tokens = self._tokens()
        self.next = 0

    def _tokens(self) -> list[_Token]:
        found = []
        line, last_line = 1, 0  # here, and of the last token that is not a comment
        for match in _TOKEN.finditer(self.text):
            kind, text = match.lastgroup or "", match[0]
            if kind == "space":
                line += text.count("\n")
                continue
            if kind == "comment":
                self.comments.append(Comment(line, text[1:].strip(), last_line != line))
                continue
            found.append(_Token(kind, text, match.start(), line))
            if len(found) > MOST_WORDS:
                place = Place(self.name, line, 1)
                raise SpecError([Problem(place, f"more than {MOST_WORDS:,} words and brackets, too many for a net")])
            last_line = line
        return found

    def place(self, token: _Token | None) -> Place:
        at = token.at if token else max(0, len(self.text.rstrip()) - 1)
        line = token.line if token else bisect.bisect_right(self.starts, at)
        length = len(token.text) if token else 1
        return Place(self.name, line, at - self.starts[line - 1] + 1, max(1, length), self.lines[line - 1])

    def document(self) -> Document:
        fields = self._fields(None, 0)
        return Document(fields, self.comments, len(self.problems.found) > self.before)

    def _peek(self) -> _Token | None:
        return self.tokens[self.next] if self.next < len(self.tokens) else None

    def _is(self, *marks: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "mark" and token.text in marks

    def _wrong(self, token: _Token | None, message: str) -> NoReturn:
        """Report, and leave the rest of the line."""
        self.problems.add(self.place(token), message)
        if len(self.problems.found) - self.before >= MOST_SYNTAX_PROBLEMS:
            self.problems.raise_if_any()
        raise _SkippedError

    def _stop(self, place: Place, message: str) -> NoReturn:
        """Report what leaves nothing to be understood behind it."""
        raise SpecError([*self.problems.found, Problem(place, message)])

    def _skip_line(self) -> None:
        """Go on after the line; brackets that open on it are skipped with what they hold."""
        start = self.tokens[min(self.next, len(self.tokens) - 1)]
        line, depth = start.line, 0
        while token := self._peek():
            if depth == 0 and (token.line > line or self._is("}", ">")):
                return
            depth += {"{": 1, "}": -1}.get(token.text, 0) if token.kind == "mark" else 0
            self.next += 1

    def _fields(self, opened: _Token | None, depth: int) -> list[WrittenField]:
        """Fields up to the bracket that closes ``opened``, or to the end of the text."""
        found: list[WrittenField] = []
        while (token := self._peek()) is not None and not self._is("}", ">"):
            try:
                found.append(self._field(depth))
            except _SkippedError:
                self._skip_line()
            else:
                if self._is(",", ";"):
                    self.next += 1
        token = self._peek()
        if opened is None:
            if token is not None:
                self._stop(
                    self.place(token),
                    f"`{token.text}` closes nothing: there is one too many, or one before is not opened",
                )
            return found
        closing = _CLOSING[opened.text]
        if token is None:
            self._stop(self.place(opened), f"`{opened.text}` is never closed; a `{closing}` is missing")
        if token.text != closing:
            self._stop(
                self.place(token),
                f"`{token.text}` closes `{opened.text}` of line {opened.line}; `{closing}` is right",
            )
        self.next += 1
        return found

    def _field(self, depth: int) -> WrittenField:
        token = self._peek()
        assert token is not None
        if token.kind != "word" or not _NAME.match(token.text):
            self._wrong(token, self._not_a_name(token))
        place = self.place(token)
        self.next += 1
        has_colon = self._is(":")
        self.next += has_colon
        if self._is("["):
            return WrittenField(token.text, place, self._list(depth), is_list=True)
        after = self._peek()
        if not has_colon and not self._is("{", "<"):
            if after and after.text.startswith("="):
                self._wrong(after, f"a field and its value have a `:` between them: {token.text}: …")
            is_shown = after and after.kind in ("word", "string") and after.line == place.line
            self._wrong(token, f"a `:` is missing: {token.text}: {after.text if after and is_shown else '…'}")
        return WrittenField(token.text, place, [self._value(token.text, depth)])

    def _not_a_name(self, token: _Token) -> str:
        if token.text.startswith(("//", "/*")):
            return "comments begin with #"
        if token.kind == "other":
            return self._odd(token)
        if token.text in ",;":
            return f"`{token.text}` has nothing before it"
        if token.text == "[":
            return "names in square brackets are extensions of protocol buffers, which Caffe has none of"
        before = self.tokens[self.next - 1] if self.next else None
        if re.match(r"[0-9]", token.text) and before and before.text == ",":
            return f"a field's name must stand here, got {token.text}; numbers have a point, not a comma"
        shown = token.text if token.text.isprintable() else ascii(token.text)[1:-1]
        return f"a field's name must stand here, got {shown}"

    def _odd(self, token: _Token) -> str:
        if token.text in "\"'":
            return "a quotation mark is not closed on its line"
        return f"the character U+{ord(token.text):04X} is here, which looks like a space; write a plain one"

    def _list(self, depth: int) -> list[Written]:
        opened = self.tokens[self.next]
        self.next += 1
        found: list[Written] = []
        while not self._is("]"):
            if self._peek() is None:
                self._stop(self.place(opened), "`[` is never closed; a `]` is missing")
            found.append(self._value("the list", depth))
            if self._is(","):
                self.next += 1
            elif not self._is("]"):
                self._wrong(self._peek(), "values of a list have a `,` between them, and a `]` after the last")
        self.next += 1
        return found

    def _value(self, name: str, depth: int) -> Written:
        token = self._peek()
        if token is None:
            self._wrong(None, f"the text ends where the value of `{name}` should stand")
        place = self.place(token)
        if token.kind == "string":
            return self._strings(place)
        if token.kind == "word":
            self.next += 1
            word = token.text
            after = self._peek()
            if word == "-" and after and after.kind == "word":  # Caffe reads a sign that stands alone
                self.next += 1
                word += after.text
            return Written(place, word=word)
        if self._is("{", "<"):
            if depth >= DEEPEST:
                self._stop(place, f"nested deeper than {DEEPEST} levels")
            self.next += 1
            fields = self._fields(token, depth + 1)
            return Written(place, fields=fields, last_line=self.tokens[self.next - 1].line)
        if token.kind == "other":
            self._wrong(token, self._odd(token))
        self._wrong(token, f"the value of `{name}` must stand here, got `{token.text}`")

    def _strings(self, place: Place) -> Written:
        """Strings side by side are one."""
        parts = []
        while (token := self._peek()) is not None and token.kind == "string":
            for at, wrong in meaningless(token.text):
                words = f"`{wrong}` stands for no character; a backslash itself is `\\\\`, and paths have `/`"
                self.problems.add(self.place(_Token("", wrong, token.at + at, token.line)), words)
            parts.append(unescaped(token.text[1:-1]))
            self.next += 1
        return Written(place, text=b"".join(parts))
