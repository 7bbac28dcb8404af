"""What is wrong with people's files, gathered so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Iterable

from ..spec.errors import NettrainError

MOST_SAID = 20  # problems of a file
Key = str | tuple[str, ...]  # of a spec: what is to blame


class Faults:
    """What is wrong with a file, gathered so that all of it is said at once, up to 20 and how much else there is.

    As a context it takes in a NettrainError, and what comes after its block goes on.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.more = 0
        self.keys: list[str] = []
        self.hints: list[str] = []

    def add(self, problems: Iterable[str], more: int = 0, key: Key = "source", hint: str = "") -> None:
        """``more`` is how many problems there are beside those; ``hint`` says what to do about all of these."""
        before = len(self.said) + self.more
        for problem in problems:
            if len(self.said) < MOST_SAID:
                self.said.append(problem)
            else:
                self.more += 1
        self.more += more
        if len(self.said) + self.more > before:
            self.keys += [one for one in ((key,) if isinstance(key, str) else key) if one not in self.keys]
            self.hints += [hint] if hint and hint not in self.hints else []

    def raise_if_any(self) -> None:
        """Raise NettrainError with all of it."""
        if self.said:
            first, *rest = self.said
            more = [f"… and {self.more:,} more"] if self.more else []
            lines = [first, *(f"   {line}" for line in [*rest, *more, *self.hints])]
            raise NettrainError("\n".join(lines), key=tuple(self.keys))

    def __enter__(self) -> Faults:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, NettrainError):
            return False
        self.add(str(error).split("\n   "), key=error.key or "source")
        return True


def refuse(problems: Iterable[str], more: int = 0, key: Key = "source", hint: str = "") -> None:
    """Raise NettrainError with what is wrong, if anything is."""
    faults = Faults()
    faults.add(problems, more, key, hint)
    faults.raise_if_any()
