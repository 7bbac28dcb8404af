"""One process at a time writes a run's files: a lock of the system on a file beside them, which says who has it.

The system frees the lock of a process that ends, however it ends, so what a killed run leaves is taken over. The file
is removed by the process that has it; whoever opened it before sees that it no longer has a name and starts again.
Where the system has no such locks the file alone must do: it counts while its process lives.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from ..files.reading import kind_of, read_bytes
from ..spec.errors import NettrainError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what the system says of a lock that another process has
FAR = 1 << 30  # Windows locks bytes, and others cannot read those: one that is never written
FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
MOST_BYTES = 4096  # read of what should be a line

_here = threading.Lock()
_held: weakref.WeakValueDictionary[str, Lock] = weakref.WeakValueDictionary()  # this process's, by the file's real path


class Lock:
    """Held from ``take`` until nobody in this process refers to it; ``turn`` is for the threads of the process."""

    def __init__(self, path: str, descriptor: int):
        self.turn = threading.RLock()
        self.descriptor, self.is_ours = descriptor, True
        self._release = weakref.finalize(self, _release, path, descriptor)

    def forget(self) -> None:
        """In a forked child, where the lock stays the parent's."""
        self._release.detach()
        os.close(self.descriptor)
        self.is_ours = False


def take(path: Path, what: str) -> Lock:
    """The lock whose file is ``path``; all who take it in this process share it.

    Raises NettrainError, about ``what``, when another process has it, OSError when the file cannot be written or is
    something other than a file.
    """
    folder, name = os.path.split(path)
    key = os.path.join(os.path.realpath(folder), name)  # the file itself is not resolved: what it links to is not ours
    with _here:
        held = _held.get(key)
        if held is None:
            held = _held[key] = Lock(key, _take(key, what))
        return held


def _take(path: str, what: str) -> int:
    while True:
        with contextlib.suppress(FileNotFoundError):
            _check_kind(os.lstat(path), path)  # before it is opened: with a pipe or a device that does something
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o666)
        try:
            _check_kind(os.fstat(descriptor), path)
            works = _lock(descriptor)
            if works is None:
                raise NettrainError(_refusal(path, what))
            if works and not _has_name(descriptor, path):
                os.close(descriptor)
                continue
            if not works and _is_alive(_read(path)):
                raise NettrainError(f"{_refusal(path, what)}; if that process is gone, remove {path}")
            mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(mine).encode() + b"\n")
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise


def _check_kind(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EEXIST, f"{path} is {kind_of(found.st_mode)}, not a lock of nettrain's; remove it", path)


def _lock(descriptor: int) -> bool | None:
    """Whether the system gave the lock: None when another process has it, False when there are no locks here."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        return None if error.errno in TAKEN else False
    return True


def _has_name(descriptor: int, path: str) -> bool:
    """Whether the open file is still the one of that name: its last owner may have removed it in the meantime."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _release(path: str, descriptor: int) -> None:
    """Remove the file and free the lock, in this order where the system allows it."""
    with contextlib.suppress(OSError):
        if fcntl is not None:
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.close(descriptor)
    with contextlib.suppress(OSError):  # Windows removes no open file, and so none that another has opened
        if fcntl is None:
            os.unlink(path)


def _read(path: str) -> dict[str, Any]:
    """What the file says about its owner; empty when it says nothing."""
    try:
        found = json.loads(read_bytes(Path(path), MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def writer(path: Path) -> str:
    """Which process has the lock, as far as its file tells; empty when none has. For messages alone: it takes
    nothing."""
    owner = _read(str(path))
    return _described(owner) if _is_alive(owner) else ""


def _described(owner: dict[str, Any]) -> str:
    pid, host, since = (str(owner.get(key, "?"))[:100] for key in ("pid", "host", "since"))
    return f"process {pid} on {host} since {since}"


def _is_alive(owner: dict[str, Any]) -> bool:
    """Whether the process that wrote this may still run; of another host that cannot be known."""
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    if owner.get("host") != socket.gethostname() or fcntl is None:  # on Windows to ask would be to kill
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return pid != os.getpid()


def _refusal(path: str, what: str) -> str:
    """Who has the lock, and what to do."""
    for _ in range(20):  # its owner may be about to write
        owner = _read(path)
        if owner:
            break
        time.sleep(0.005)
    pid, who = str(owner.get("pid", "?"))[:100], _described(owner) if owner else "another process"
    stop = f"stop it (kill -INT {pid}, which leaves a snapshot)" if pid.isdecimal() else "stop it"
    return f"{what} is being written by {who}: wait until it ends, {stop}, or choose another --out or snapshot_prefix"


def _after_fork() -> None:
    """A child has its parent's open files, and with them the lock: it must not keep it beyond the parent's end."""
    global _here
    _here = threading.Lock()
    for lock in list(_held.values()):
        lock.forget()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
