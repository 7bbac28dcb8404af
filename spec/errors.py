"""Errors a user can cause, and the places in a file they point to.

Everything here is about words: what was wrong, where, and what would be right. Bugs stay plain Python
exceptions; these three classes are for mistakes in specs, shapes and data.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

MOST_SHOWN = 25  # problems printed by one SpecError; the rest are counted
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class NettrainError(Exception):
    """Something the user can put right.

    ``exit_code`` is what the command line returns for it, ``key`` names the parameter to blame (its place in
    the file is shown; of several the first that is written), ``hint`` says what would be right. What a message quotes
    from a file or a command line may be anything; see ``printable``.
    """

    knows_its_place = False  # whether the message begins with where it is to be put right

    def __init__(self, message: str, *, exit_code: int = 2, key: str | tuple[str, ...] | None = None, hint: str = ""):
        super().__init__(printable(message))
        self.exit_code, self.key, self.hint = exit_code, key, hint

    def say_where(self, where: str, *details: str) -> None:
        """Put where it happened before the message, and lines of detail below it; for whoever passes the error on.

        Nothing changes where it ``knows_its_place``: such an error says more than those it passes through could.
        """
        if not self.knows_its_place:
            lines = [f"{where}: {self}", *(f"   {detail}" for detail in details if detail)]
            self.args = (printable("\n".join(lines)),)


class WrongKindError(NettrainError):
    """Files of a kind that a net cannot be given: a picture where it was trained on a table. It is true of others of
    that kind too, and said once."""


class ShapeError(NettrainError):
    """Blobs do not fit a layer, or each other."""


@contextmanager
def blaming(key: str | tuple[str, ...]) -> Iterator[None]:
    """Around what a parameter led to: an error of it is made anew as one of this ``key``, whatever it blamed.

    For code that is called for several parameters and does not know which. What knows its place is let pass.
    """
    try:
        yield
    except NettrainError as error:
        if error.knows_its_place:
            raise
        raise type(error)(str(error), exit_code=error.exit_code, key=key, hint=error.hint) from error


@dataclass(frozen=True)
class Place:
    """Where something is written: a file (or ``--set`` option, or a Python mapping), line and column from 1."""

    file: str
    line: int = 0  # 0: not in a file; ``file`` then says it all
    column: int = 0
    length: int = 1
    text: str = ""  # the whole line
    setting: str = ""  # of a key that `--set` gave: its path, with * in its own place, as in solver.*
    used: Use | None = field(default=None, compare=False)  # of what stands in a block: what uses it there

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def excerpt(self) -> str:
        """The offending line with a caret below it, or nothing when there is no line to show."""
        if not self.line or not self.text.strip():
            return ""
        text = self.text.replace("\t", " ").rstrip()
        start = self.column - 1
        if len(text) > 160:  # a window around the column keeps a minified file readable
            cut = max(0, start - 60)
            text, start = text[cut : cut + 140], start - cut
        number = f"{self.line:>5}"
        carets = "^" * max(1, min(self.length, len(text) - start))
        return f"{number} | {text}\n{' ' * len(number)} | {' ' * start}{carets}"


@dataclass(frozen=True)
class Use:
    """One use of a block: what stands in the block is part of the net because of it.

    ``name`` is that of one copy, such as ``res3/2``, where ``whole``, the use as it is written, is repeated. The use
    that surrounds this one is in its ``place``. ``given`` says what a parameter is, of a value that names one.
    """

    name: str
    whole: str
    place: Place
    given: tuple[str, ...] = ()

    def chain(self) -> Iterator[Use]:
        """This use and those around it."""
        use: Use | None = self
        while use:
            yield use
            use = use.place.used


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec: place, message, and lines of detail below it.

    What is wrong in a block is so in every use of it; ``also`` are the uses other than that of the place.
    ``cause`` is the exception of the user's code that it tells of.
    """

    place: Place
    message: str
    details: tuple[str, ...] = ()
    with_line: bool = True
    also: tuple[str, ...] = ()
    cause: BaseException | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        excerpt = self.place.excerpt() if self.with_line else ""
        lines = [f"{self.place}: {self.message}", *filter(None, [excerpt])]
        lines += [f"   {detail}" for detail in self.all_details]
        return "\n".join(lines)

    @property
    def all_details(self) -> tuple[str, ...]:
        """The lines of detail, and of what stands in a block where it is used."""
        use = self.place.used
        if use is None:
            return self.details
        first, *around = [f"used by `{one.name}` at {one.place}" for one in use.chain()]
        if self.also:
            names = ", ".join(f"`{name}`" for name in self.also[:4]) + (" …" if len(self.also) > 4 else "")
            first += f"; the same in {names}"
        return (*self.details, *use.given, first, *around)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in the order of the file, each once: nets, and uses of a block, report what they have in common."""
    unique: dict[tuple[Place, str], Problem] = {}
    for problem in problems:
        first = unique.setdefault((problem.place, problem.message), problem)
        if first is not problem and first.place.used and problem.place.used:
            names = dict.fromkeys([*first.also, problem.place.used.name, *problem.also])
            names.pop(first.place.used.name, None)
            unique[problem.place, problem.message] = replace(first, also=tuple(names))
    return sorted(unique.values(), key=lambda p: (p.place.file, p.place.line, p.place.column))


class SpecError(NettrainError):
    """The spec is wrong; ``problems`` lists every one found, in the order of the file."""

    knows_its_place = True

    def __init__(self, problems: Iterable[Problem]):
        self.problems = in_order(problems)
        shown = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        if len(self.problems) > MOST_SHOWN:
            shown.append(f"… and {len(self.problems) - MOST_SHOWN} more")
        count = len(self.problems)
        files = " and ".join(dict.fromkeys(p.place.file for p in self.problems if p.place.line))
        shown.append(f"{count} error{'s' if count != 1 else ''}{' in ' + files if files else ''}.")
        super().__init__("\n".join(shown))


class Problems:
    """Collects problems, so that one run can report them all."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, place: Place, message: str, *details: str) -> None:
        self.found.append(Problem(place, message, tuple(filter(None, details))))

    def raise_if_any(self) -> None:
        if self.found:
            raise SpecError(self.found)


def why(error: BaseException) -> str:
    """What an exception says; of the system's, only the reason, without number and file."""
    return getattr(error, "strerror", None) or str(error)


def printable(text: str) -> str:
    """The text with control characters, which a terminal obeys, and halves of surrogate pairs, which nobody can print,
    written as ``\\x1b`` and ``\\ud800``; line breaks and tabs stay."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is probably a misspelling or an abbreviation of; None if there is none.

    Upper and lower case, ``_`` and ``-`` are alike. A misspelling differs by one edit (a character added, missing
    or changed, or two neighbours swapped), by two from 6 characters up, by three from 12 up: words that only sound
    alike differ by more. An abbreviation is the first half or more of one name alone.
    """
    by_folded = {folded(other): other for other in known}
    word = folded(name)
    if word in by_folded:
        return by_folded[word]
    found = [(edits, other) for other in by_folded if (edits := _edits(word, other)) is not None]
    if found:
        return by_folded[min(found, key=lambda pair: pair[0])[1]]
    longer = [other for other in by_folded if len(word) >= 4 and other.startswith(word)]
    return by_folded[longer[0]] if len(longer) == 1 and 2 * len(word) >= len(longer[0]) else None


@functools.lru_cache(maxsize=2048)
def folded(word: str) -> str:
    """A name in lower case, without ``_``, ``-`` and spaces."""
    return re.sub(r"[-_\s]", "", str(word).casefold())


def _edits(a: str, b: str) -> int | None:
    """How many edits lead from a to b; None where there are more of them than in a misspelling."""
    length = max(len(a), len(b))
    most = 0 if length < 3 else 1 if length < 6 else 2 if length < 12 else 3
    if abs(len(a) - len(b)) > most or len(set(a) ^ set(b)) > 2 * most:  # an edit changes one character for another
        return None
    far = most + 1
    before: dict[int, int] = {}  # rows of the table of distances, of each only what is near the diagonal
    row = {j: j for j in range(far)}
    for i in range(1, len(a) + 1):
        last, before, row = before, row, {}
        for j in range(max(0, i - most), min(len(b), i + most) + 1):
            if j == 0:
                row[0] = i
                continue
            other = a[i - 1] != b[j - 1]
            best = min(before.get(j - 1, far) + other, before.get(j, far) + 1, row.get(j - 1, far) + 1)
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                best = min(best, last.get(j - 2, far) + 1)
            row[j] = best
        if min(row.values()) > most:
            return None
    edits = row.get(len(b), far)
    return edits if edits <= most else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`` ; did you mean …?`` for the end of a message, or ``otherwise``."""
    near = nearest(name, known)
    return f"; did you mean `{near}`?" if near else otherwise


def format_shape(shape: Iterable[int]) -> str:
    """``64 x 20 x 12 x 12``; a blob without axes is a ``scalar``. Of too many axes the first stand."""
    sizes = list(shape)
    shown = " x ".join(map(str, sizes[:MOST_AXES])) or "scalar"
    return shown if len(sizes) <= MOST_AXES else f"{shown} … ({len(sizes):,} axes)"


MOST_AXES = 32  # of a blob, as in Caffe
