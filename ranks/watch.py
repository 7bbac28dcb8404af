"""Who waits for whom: a rank that has waited long asks the others where they are, and says so.

In an exchange everybody waits for the slowest, and for one that never comes for ever, without a word. So each rank has
a thread that looks at the others' questions once in a while and answers them, whatever the rank itself does. The lowest
of those that wait speaks. Nobody is ended: a slow disk or a long test is no fault.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .team import Team

PATIENCE = 60.0  # seconds of waiting before a word
BEAT = 1.0  # seconds between two looks
ANSWERS = 5  # looks after which those who have not answered will not
ROOT = Path(__file__).parent.parent


class Post(Protocol):
    """Brings small things from rank to rank, whatever else they exchange."""

    def send(self, rank: int, thing: Any) -> None:
        """Send, and do not wait until it has come."""

    def receive(self) -> list[tuple[int, Any]]:
        """What has come, and from whom."""


@dataclass
class Place:
    """Where a rank is: on which machine, doing what, at which line; for how long it has waited, None if it does not."""

    host: str
    doing: str
    line: str
    waits: float | None


class Watch:
    """Watches over a team's exchanges, each of which is made ``with`` it."""

    def __init__(self, team: Team, post: Post, patience: float | None = None, beat: float | None = None):
        self.team, self.post = team, post
        self.patience, self.beat = patience or PATIENCE, beat or BEAT
        self.owner = threading.get_ident()
        self.inside: dict[int, float] = {}  # thread -> since when it is in an exchange
        self.next = self.patience  # seconds of waiting after which the others are asked
        self.answers: dict[int, Place] | None = None  # of those who were asked
        self.asked_at, self.has_spoken = 0.0, 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True, name="watch over the ranks")
        self.thread.start()

    def __enter__(self) -> None:
        self.inside[threading.get_ident()] = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.inside.pop(threading.get_ident(), None)

    def end(self) -> None:
        """Before what brings the post is gone."""
        self.over.set()
        self.thread.join(10 * self.beat)

    def _run(self) -> None:
        while not self.over.wait(self.beat):
            self._read()
            self._look()

    def _read(self) -> None:
        for rank, thing in self.post.receive():
            if thing is None:
                self.post.send(rank, self.place())
            elif self.answers is not None:
                self.answers[rank] = thing

    def _look(self) -> None:
        """Ask, when it is time to, and say what the others answered."""
        waited = self.waited()
        if waited is None or waited < min(self.next, self.patience):
            if self.has_spoken:
                self.team.say(f"{self._name(self.team.rank)} goes on after {self.has_spoken:.0f} s")
            self.next, self.answers, self.has_spoken = self.patience, None, 0.0
        elif self.has_spoken:
            self.has_spoken = waited
        if waited is None:
            return
        if self.answers is None:
            if waited >= self.next:
                self.next, self.answers, self.asked_at = 2 * self.next, {}, time.monotonic()
                for rank in self._others():
                    self.post.send(rank, None)
        elif len(self.answers) == self.team.size - 1 or time.monotonic() > self.asked_at + ANSWERS * self.beat:
            found, self.answers = self.answers, None
            if not any(rank < self.team.rank and place.waits is not None for rank, place in found.items()):
                self.has_spoken = waited
                self.team.say("\n".join(self._told(waited, found)))

    def waited(self) -> float | None:
        """For how long this rank has been in an exchange; None when it is in none."""
        since = min(self.inside.copy().values(), default=None)
        return None if since is None else time.monotonic() - since

    def place(self) -> Place:
        """Where this rank is."""
        frame = sys._current_frames().get(self.owner)
        line = ""
        if frame is not None:
            path = Path(frame.f_code.co_filename)
            path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            line = f"{path}:{frame.f_lineno} ({frame.f_code.co_name})"
        return Place(platform.node(), self.team.doing, line, self.waited())

    def _others(self) -> list[int]:
        return [rank for rank in range(self.team.size) if rank != self.team.rank]

    def _name(self, rank: int, place: Place | None = None) -> str:
        """``rank 2 on node3``; the machine is known of those who have answered."""
        host = platform.node() if rank == self.team.rank else place.host if place else ""
        return f"rank {rank}{f' on {host}' if host else ''}"

    def _told(self, waited: float, found: dict[int, Place]) -> list[str]:
        """Who waits for whom, in lines."""
        late = [rank for rank in self._others() if rank not in found or found[rank].waits is None]
        head = f"{self._name(self.team.rank)} has waited {waited:.0f} s, {self.team.doing}, for "
        if not late:
            lines = [f"{head}the others, which wait too: what they exchange does not come through the network"]
            late = self._others()
        else:
            lines = [f"{head}{'these' if len(late) > 1 else 'this'} of {self.team.size}:"]
        for rank in late[:8]:
            if rank in found:
                lines.append(f"   {self._name(rank, found[rank])} is {found[rank].doing}, at {found[rank].line}")
            else:
                lines.append(
                    f"   {self._name(rank)} does not answer: its process is stopped, or its machine or the network to "
                    "it is gone"
                )
        if len(late) > 8:
            lines.append(f"   and {len(late) - 8} more")
        return lines
