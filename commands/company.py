"""Several processes with one command line, as a launcher starts them: who works, who speaks, how they end.

Rank 0 alone is heard. What goes wrong in all of them is said by it, once. What goes wrong in one that is not rank 0 is
said by that one, and ends the others, which would wait for it for ever.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time

from ..ranks.launch import Launch, join
from ..spec.errors import NettrainError
from .streams import look_away, say

# How long a process that has failed waits for the others to fail alike: rank 0 first, as it has said its error already.
PATIENCE, LONGER = 1.0, 2.0


class Company:
    """This process among those started with it; with a ``launch`` of None it is alone."""

    def __init__(self, launch: Launch | None = None):
        self.launch, self.stderr = launch, -1
        self.together = False  # whether all run the command, and wait for each other
        self.errors: list[str] = []

    @property
    def is_first(self) -> bool:
        return self.launch is None or self.launch.rank == 0

    def begin(self) -> None:
        """All but the first are quiet from now on, and read nothing."""
        if not self.is_first:
            self.stderr = os.dup(2)
            look_away(*filter(None, (sys.stdin, sys.stdout, sys.stderr)))

    def has_work(self, command: str, for_all: bool) -> bool:
        """Whether this process runs a command, which is one ``for_all`` or for rank 0 alone. That tells people."""
        self.together = self.launch is not None and for_all
        if self.launch is not None and self.is_first and not for_all:
            say(f"note: `nettrain {command}` runs in one process; of the {self.launch.count} only rank 0 works")
        return for_all or self.is_first

    def complain(self, text: str) -> None:
        """An error, said at once by the first, and kept by the others until it is known whether it is theirs alone."""
        self.errors.append(text)
        say(text)

    def end(self, code: int) -> None:
        """Before this process ends: if it has failed and others have not, they end too, with its exit code.

        It joins them for that, if it has not yet: they wait for it. If it cannot, most likely no other can: the first
        of each machine says so, and rank 0 is given time to, since launchers end the others when one has failed.
        """
        if not code or not self.together or self.launch is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        try:
            team = join()
        except NettrainError:
            if self.launch.local_rank == 0:
                self._speak()
            if not self.is_first:
                time.sleep(LONGER)
            return
        try:
            alike = team.all_end(PATIENCE if self.is_first else LONGER)
        except BaseException:  # a second Ctrl-C
            alike = False
        if not alike:
            self._speak()
            team.end(code)

    def speak(self, text: str) -> None:
        """To a person, also where this process is quiet: something that no other may know."""
        if self.stderr < 0:
            return say(text)
        with contextlib.suppress(OSError):
            os.write(self.stderr, f"{text}\n".encode(errors="replace"))

    def _speak(self) -> None:
        """The errors, on what was stderr; the first has said its own."""
        if self.stderr >= 0 and self.launch is not None:
            text = "\n".join(self.errors) or "it ended without saying why"
            self.speak(f"rank {self.launch.rank} on {platform.node()}: {text}")
