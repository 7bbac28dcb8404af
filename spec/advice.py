"""Advice: what to write instead of a word that is not known here, one of our names or a sentence made from names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import folded, nearest


@dataclass(frozen=True)
class Advice:
    """What is said, and the names of ours that it mentions; a name alone where ``is_name``."""

    text: str
    names: tuple[str, ...] = ()
    is_name: bool = False


Table = Mapping[str, list[Advice]]  # word -> the advice on it, in order


def say(sentence: str, *names: str) -> Advice:
    """A sentence with a ``{}`` for each name, where this appears in backticks; of ``pool: MAX`` the name is the key."""
    first, *rest = sentence.split("{}")
    text = first + "".join(f"`{name}`{part}" for name, part in zip(names, rest, strict=True))
    return Advice(text, tuple(name.partition(":")[0] for name in names))


def as_advice(advice: str | Advice) -> Advice:
    """What an alias stands for: a plain string is a name, or if it has spaces a sentence that names nothing."""
    if isinstance(advice, Advice):
        return advice
    return Advice(advice) if " " in advice else Advice(advice, (advice,), is_name=True)


def table(*entries: tuple[str | Advice, str]) -> Table:
    """Pairs of advice and the words it is given for; upper case, ``_`` and ``-`` make no difference."""
    result: dict[str, list[Advice]] = {}
    for advice, words in entries:
        for word in words.casefold().replace("_", "").replace("-", "").split():  # as `folded`, but all of them at once
            result.setdefault(word, []).append(as_advice(advice))
    return result


def look_up(table: Table, word: str, known: Iterable[str]) -> Advice | None:
    """What to write instead of a word from elsewhere.

    A word may mean different things in different places: advice is given where the first name in it is known, or
    everywhere if it has none.
    """
    pieces = table.get(folded(word), ())
    known = set(known) if pieces else set()
    return next((one for one in pieces if not one.names or one.names[0] in known), None)


def advice_on(key: str, known: Iterable[str], aliases: Mapping[str, str | Advice] = {}) -> Advice | None:
    """What to write instead of an unknown key, which may be misspelt."""
    known = list(known)
    by_folded = {folded(word): advice for word, advice in aliases.items()}
    if folded(key) in by_folded:
        return as_advice(by_folded[folded(key)])
    plain, colon, value = key.partition(":")
    if colon and plain.strip() in known:
        return say("put a space after the colon: {}", f"{plain}: {value}")
    near = nearest(key, known)
    return Advice(near, (near,), is_name=True) if near else None
