"""What stands in a text, checked against the table: each value becomes what its field's type says."""

from __future__ import annotations

import re
from typing import Any

from ...spec.errors import Place, Problem, Problems, nearest
from .message import Entry, Message, Unknown
from .schema import INTEGERS, Field, messages
from .text import Written, WrittenField

_INTEGER = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)\Z")
_FLOAT = re.compile(r"-?(?!0[0-9])(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)[fF]?\Z")
_SPECIAL = {"inf": float("inf"), "infinity": float("inf"), "nan": float("nan")}
_TYPOGRAPHIC = "“”„‘’‚«»"
_TRUE, _FALSE = ("true", "True", "t", "1"), ("false", "False", "f", "0")


def whole(word: str) -> int | None:
    """The number that a word writes, decimal, octal or hexadecimal; None if it is none."""
    if not _INTEGER.match(word):
        return None
    sign, digits = (-1, word[1:]) if word.startswith("-") else (1, word)
    if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
        return None if set(digits) & set("89") else sign * int(digits, 8)
    return sign * int(digits, 0)


class Binder:
    """Makes messages of written fields; ``problems`` are errors, ``warnings`` what was understood all the same."""

    def __init__(self, problems: Problems, warnings: list[Problem]):
        self.problems, self.warnings = problems, warnings

    def message(self, type_name: str, fields: list[WrittenField], place: Place, last_line: int = 0) -> Message:
        """The message that the fields make; those that are not in the table are its ``unknown``."""
        made, known = Message(type_name, place, last_line=last_line), messages()[type_name]
        tried: set[str] = set()
        for written in fields:
            field = known.get(written.name)
            if field is None:
                made.unknown.append(Unknown(type_name, written.name, written.place))
                continue
            if not field.is_repeated and written.is_list:
                tried.add(field.name)
                self.problems.add(
                    written.place, f"`{field.name}` is one value, and cannot be a list in square brackets"
                )
                continue
            entries = [entry for value in written.values if (entry := self._entry(field, value)) is not None]
            if not field.is_repeated and (made.has(field.name) or len(entries) > 1):
                first = made.at(field.name) if made.has(field.name) else written.place
                self.problems.add(written.place, f"`{field.name}` is written twice; first on line {first.line}")
                continue
            tried.add(field.name)
            if entries:
                made.fields.setdefault(field.name, []).extend(entries)
        for field in known.values():
            if field.label == "required" and field.name not in tried:
                self.problems.add(place, f"`{field.name}` is missing here; Caffe needs it")
        return made

    def _entry(self, field: Field, written: Written) -> Entry | None:
        if field.is_message:
            if written.fields is None:
                self._wrong(field, written, f"{{ … }} with {', '.join(list(messages()[field.type])[:4])} …")
                return None
            return Entry(self.message(field.type, written.fields, written.place, written.last_line), written.place)
        value = self._scalar(field, written)
        return None if value is None else Entry(value, written.place)

    def _scalar(self, field: Field, written: Written) -> Any:
        if written.fields is not None:
            return self._wrong(field, written, "a single value, not { … }")
        if field.type in ("string", "bytes"):
            if written.text is None:
                plain = written.word.strip(_TYPOGRAPHIC)
                how = "" if plain == written.word else "straight "
                return self._wrong(field, written, f'text in {how}quotation marks: {field.name}: "{plain}"')
            return written.text if field.type == "bytes" else self._text(written)
        word = written.word if written.text is None else written.text.decode(errors="replace")
        if field.choices is not None:
            return self._choice(field, word, written)
        if written.text is not None:
            return self._wrong(field, written, f"{_KINDS[field.type]} without quotation marks")
        if field.type == "bool":
            if word in _TRUE or word in _FALSE:
                return word in _TRUE
            return self._wrong(field, written, "true or false")
        return self._number(field, word, written)

    def _text(self, written: Written) -> str:
        assert written.text is not None
        try:
            return written.text.decode()
        except UnicodeDecodeError:
            message = "this text is not UTF-8; it is read as Latin-1"
            self.warnings.append(Problem(written.place, message))
            return written.text.decode("latin-1")

    def _choice(self, field: Field, word: str, written: Written) -> str | None:
        choices = field.choices
        assert choices is not None
        by_number = {number: name for name, number in choices.items() if number >= 0}
        number = whole(word) if len(word) < 25 else None
        name = word if word in choices else None if number is None else by_number.get(number)
        if name is None and word.upper() in choices:
            name = word.upper()
        if name is None:
            near = nearest(word, choices)
            some = ", ".join(choices) if len(choices) < 8 else ", ".join(list(choices)[:7]) + " …"
            self._wrong(field, written, f"did you mean {near}?" if near else f"one of {some}")
            return None
        if written.text is not None or (name != word and number is None):
            self.warnings.append(Problem(written.place, f"Caffe takes only {name}, as a word without quotation marks"))
        return name

    def _number(self, field: Field, word: str, written: Written) -> Any:
        if field.type in INTEGERS:
            low, high = INTEGERS[field.type]
            if not _INTEGER.match(word):
                return self._wrong(field, written, "a whole number")
            if len(word) > 26:
                return self._wrong(field, written, f"a whole number from {low:,} to {high:,}")
            value = whole(word)
            if value is None:
                return self._wrong(field, written, "a whole number; one that begins with 0 is octal")
            if not low <= value <= high:
                return self._wrong(field, written, f"a whole number from {low:,} to {high:,}")
            return value
        size = word.removeprefix("-").lower()
        if size in _SPECIAL:
            return -_SPECIAL[size] if word.startswith("-") else _SPECIAL[size]
        if not _FLOAT.match(word) or len(word) > 400:
            quotient = re.match(r"([0-9.]+)/([0-9.]+)\Z", word)
            with_value = ""
            if quotient and all(_FLOAT.match(part) for part in quotient.groups()) and float(quotient[2]):
                with_value = f", {float(quotient[1]) / float(quotient[2]):.9g}"
            elif re.match(r"-?0[0-9]", word):
                with_value = " that does not begin with 0, which is octal"
            return self._wrong(field, written, f"a number{with_value}")
        if _INTEGER.match(word) and len(word) < 20:
            return int(word)
        return float(word.rstrip("fF"))

    def _wrong(self, field: Field, written: Written, expected: str) -> None:
        if written.fields is not None:
            got = "{ … }"
        elif written.text is not None:
            got = f'"{written.text.decode(errors="replace")[:40]}"'
        else:
            got = written.word[:40]
        joint = "; " if expected.startswith("did you") else " must be "
        message = (
            f"`{field.name}`{joint}{expected}"
            if joint == " must be "
            else f"`{field.name}` has no value {got}; {expected}"
        )
        self.problems.add(written.place, message + (f", got {got}" if joint == " must be " else ""))


_KINDS = {"bool": "true or false", "float": "a number", "double": "a number"} | dict.fromkeys(
    INTEGERS, "a whole number"
)
