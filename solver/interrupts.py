"""Signals while training: a handler only leaves a note, which the solver reads when an iteration is complete."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

Effect = Literal["stop", "snapshot", "none"]
DEFAULTS: dict[str, Effect] = {"SIGINT": "stop", "SIGTERM": "stop", "SIGHUP": "snapshot", "SIGUSR1": "stop"}
TOGETHER = 0.5  # seconds in which a second signal to stop is an echo of the first


class HasRequest(Protocol):
    """What has a place for the note: a Solver."""

    request: Effect | None


class Interrupts:
    """While this context lasts, signals ask a solver to stop or to write a snapshot.

    ``effects`` says what SIGINT, SIGTERM, SIGHUP and SIGUSR1 do: ``stop``, ``snapshot`` or ``none``. A second signal
    that means stop does so at once, as KeyboardInterrupt, except within half a second of the first: process managers,
    ``timeout`` and a terminal whose shell passes signals on send two for one request. A third always does.
    ``stopped_by`` is the number of the signal that asked to stop. Signals that the system does not know (SIGHUP and
    SIGUSR1 on Windows) are left out; on Windows Ctrl-Break is like SIGTERM.

    After a request to stop the context lasts until its half second is over, or the echo is there: an echo that came
    later would end the program before it has said what is kept.
    """

    def __init__(self, solver: HasRequest, effects: Mapping[str, Effect] = DEFAULTS):
        self.solver, self.effects = solver, dict(DEFAULTS) | dict(effects)
        if hasattr(signal, "SIGBREAK"):
            self.effects["SIGBREAK"] = self.effects["SIGTERM"]
        self.stopped_by: int | None = None
        self._asked_at, self._has_echo = 0.0, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
            for name in self.effects:
                if hasattr(signal, name):
                    number = getattr(signal, name)
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            while self._may_have_echo():
                time.sleep(0.01)
        finally:
            self._restore()

    def _may_have_echo(self) -> bool:
        """Whether a signal to stop would be an echo of the one before."""
        return self.stopped_by is not None and not self._has_echo and time.monotonic() < self._asked_at + TOGETHER

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _note(self, number: int, _: Any) -> None:
        effect = self.effects[signal.Signals(number).name]
        if effect == "stop":
            if self._may_have_echo():
                self._has_echo = True
                return
            if self.stopped_by is not None:
                self.stopped_by, self._has_echo = number, True
                raise KeyboardInterrupt
            self.stopped_by, self._asked_at = number, time.monotonic()
            _write("\nstopping after this iteration, with a snapshot; a second signal stops at once\n")
        if effect != "none" and self.solver.request != "stop":
            self.solver.request = effect


def _write(text: str) -> None:
    """To stderr, past Python's buffers: a handler may run while they are being written."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
