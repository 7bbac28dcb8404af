"""Names and values of parts that become uses of one block, in the words of the block's parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any


class Names:
    """What differs in the names of parts: ``ids`` has one text for each part, which all of its names have in them.

    ``res2a_branch1``, ``bn2a_branch1`` … and ``res2b_branch1`` … have ``2a`` and ``2b``. There are none where names of
    a part have nothing in common: their numbers run on through the net, or they are those of two units.
    """

    def __init__(self, rows: Iterable[Sequence[str]]):
        self.rows = [tuple(row) for row in rows]
        candidates = dict.fromkeys(ids for row in self.rows for ids in (_whole_words(row), _differing(row)))
        fits = (ids for ids in candidates if any(ids) and all(_around(row, ids) is not None for row in self.rows))
        self.ids: tuple[str, ...] = next(fits, ())

    def text(self, row: Sequence[str]) -> str | None:
        """The text with ``$id`` in it that gives each of these; None where there is none."""
        if len(set(row)) == 1:
            return row[0]
        around = _around(row, self.ids)
        if around is None:
            return None
        before, after = around
        return f"{before}$(id){after}" if re.match("[A-Za-z0-9_]", after) else f"{before}$id{after}"

    def value(self, values: Sequence[Any]) -> Any:
        """The same for any values; None where no text gives them."""
        first = values[0]
        if all(value == first and type(value) is type(first) for value in values):
            return first
        if all(isinstance(value, str) for value in values):
            return self.text(values)
        if isinstance(first, list) and len({len(value) for value in values}) == 1:
            found = [self.value(items) for items in zip(*values, strict=True)]
            return None if None in found else found
        return None

    def stems(self) -> list[str]:
        """What stands before the first parameter in each name that has it, most frequent first."""
        found = [around[0] for row in self.rows if (around := _around(row, self.ids)) is not None]
        return sorted(dict.fromkeys(found), key=lambda stem: -found.count(stem))


def may_differ(rows: Sequence[tuple[str, str]]) -> bool:
    """Whether the names of two parts may differ in one text; what is quick to see."""
    return any(
        any(ids) and all(_around(row, ids) is not None for row in rows)
        for ids in (_whole_words(rows[0]), _differing(rows[0]))
    )


def _differing(row: Sequence[str]) -> tuple[str, ...]:
    """What is left of texts without how all of them begin and end."""
    begin = _alike_until(row)
    end = _alike_until([text[begin:][::-1] for text in row])
    return tuple(text[begin : len(text) - end] for text in row)


def _whole_words(row: Sequence[str]) -> tuple[str, ...]:
    """The same, but numbers are not cut, nor a number from the letters that follow it: ``2a`` and not ``2``."""
    begin = _alike_until(row)
    while begin and row[0][begin - 1].isdigit():
        begin -= 1
    rest = [text[begin:][::-1] for text in row]
    end = _alike_until(rest)
    while end and rest[0][end - 1].isalnum():
        end -= 1
    return tuple(text[begin : len(text) - end] for text in row)


def _alike_until(texts: Sequence[str]) -> int:
    """How many characters all texts begin with."""
    first, last = min(texts), max(texts)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _around(row: Sequence[str], ids: Sequence[str]) -> tuple[str, str] | None:
    """What stands before and after the ids, if these texts are that; None if they are not."""
    first, at = row[0], -1
    while (at := first.find(ids[0], at + 1)) >= 0 and at < len(first):
        before, after = first[:at], first[at + len(ids[0]) :]
        if all(text == f"{before}{one}{after}" for text, one in zip(row, ids, strict=True)):
            return before, after
    return None


def common_start(names: Sequence[str]) -> str:
    """How names begin, without what joins words."""
    return names[0][: _alike_until(names)].rstrip("_-./ ")


def local_names(rows: Sequence[Sequence[str]], tops: Sequence[Sequence[str]]) -> list[str] | None:
    """The use of each part, where all its layers and blobs are called ``USE/NAME``; None where they are not."""
    uses = [name.partition("/")[0] for name in rows[0]]
    for row in [*rows, *tops]:
        split = [name.partition("/") for name in row]
        inner = {name for _, _, name in split}
        if [use for use, _, _ in split] != uses or len(inner) > 1 or inner & {"", "in"}:
            return None
    return uses if len(set(uses)) == len(uses) else None


def word(text: str) -> str:
    """A text as a parameter's or a block's name may have it."""
    return re.sub("[^A-Za-z0-9]+", "_", re.sub(r"\$\(?\w+\)?", "", text)).strip("_")
