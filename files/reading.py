"""Reading: the one place that opens the files a user names.

Only regular files are read: a pipe, a device or a socket may block, never end or do something when it is opened. What a
file says of its own size is checked against the bytes that are there and the memory of the machine before anything is
made, and only what is asked for is read.
"""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
import os
import select
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..spec.errors import NettrainError

PATIENCE = 3  # seconds to wait for the next bytes of a pipe
LONGEST_LINE = 1 << 23  # characters


def open_file(path: Path) -> IO[bytes]:
    """A regular file, opened to be read. Raises OSError, also for a folder, a pipe, a device or a socket."""
    return os.fdopen(_descriptor(path), "rb")


def beginning(path: Path, count: int) -> bytes:
    """The first bytes of a file; nothing of one that cannot be read."""
    with contextlib.suppress(OSError), os.fdopen(_descriptor(path), "rb", buffering=0) as file:
        return file.read(count) or b""
    return b""


def check_file(path: Path) -> None:
    """For a library that opens files itself. Raises OSError unless this is a regular file that may be read."""
    os.close(_descriptor(path))


def _descriptor(path: Path, pipes: bool = False) -> int:
    try:
        _check_kind(os.stat(path), path, pipes)  # before it is opened: with a device that may do something
        descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in _FLAGS))
    except ValueError:  # a character that no name has
        raise OSError(errno.EINVAL, "no file has such a name", str(path)) from None
    try:
        _check_kind(os.fstat(descriptor), path, pipes)  # and after: another one may lie there now
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")  # as far as the system has them
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def _check_kind(found: os.stat_result, path: Path, pipes: bool) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG and not (pipes and kind == stat.S_IFIFO):
        raise OSError(errno.EINVAL, f"it is {kind_of(kind)}; only regular files are read", str(path))


def kind_of(mode: int) -> str:
    """What a file is, in words, by its mode."""
    return _KINDS.get(stat.S_IFMT(mode), "not a regular file")


def size_of(file: IO[bytes]) -> int:
    """The bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def read_bytes(path: Path, most: int | None = None, pipes: bool = False) -> bytes:
    """All bytes of a file. Raises OSError, also for one of more than ``most`` bytes, or than memory can hold.

    With ``pipes`` a pipe is read too, such as the shell's ``<(command)``, as long as it keeps giving something.
    """
    most = memory() if most is None else most
    with os.fdopen(_descriptor(path, pipes), "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        parts, count = [], 0
        if found.st_size <= most:
            while count <= most and (part := _next_bytes(file, min(most + 1 - count, 1 << 24))):
                parts.append(part)
                count += len(part)
        if max(count, found.st_size) > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return b"".join(parts)


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[Mapped]:
    """A file's bytes as memory, read as they are looked at. Raises OSError."""
    with open_file(path) as file:
        found = Mapped(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size_of(file) else None)
    try:
        yield found
    finally:
        found.close()


class Mapped:
    """The bytes of a file that is open as memory; ``forget`` gives back what was read and is not needed again."""

    def __init__(self, memory_of_file: mmap.mmap | None):
        self._file = memory_of_file
        self.bytes = memoryview(memory_of_file if memory_of_file is not None else b"")

    def forget(self, array: np.ndarray) -> None:
        """Values of this file that have been copied elsewhere need not stay in memory; they can still be read. Others
        are left alone."""
        if self._file is None or not hasattr(self._file, "madvise") or not array.nbytes:
            return
        base = np.frombuffer(self.bytes, np.uint8).__array_interface__["data"][0]
        start = array.__array_interface__["data"][0] - base
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        size = (start + array.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
        if size > 0 and 0 <= first <= len(self.bytes) - size:
            self._file.madvise(mmap.MADV_DONTNEED, first, size)

    def close(self) -> None:
        """Nothing of the file is used any more, unless an array still shows it; then it goes with that."""
        with contextlib.suppress(BufferError):
            self.bytes.release()
            if self._file is not None:
                self._file.close()


def _next_bytes(file: IO[bytes], count: int) -> bytes:
    """Up to ``count`` bytes; none at the end. Waits a little for a pipe: also for somebody to write into it."""
    is_pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
    part = None
    if not is_pipe or select.select([file], [], [], PATIENCE)[0]:  # one that nobody opened to write seems to be empty
        part = file.read(count)
    if part is None:
        raise OSError(errno.ETIMEDOUT, f"it is a pipe into which nobody wrote for {PATIENCE} seconds", file.name)
    return part


def read_text(path: Path, most: int | None = None) -> str:
    """The text of a file in UTF-8, with or without a byte order mark. Raises OSError, UnicodeDecodeError."""
    return io.IncrementalNewlineDecoder(None, True).decode(read_bytes(path, most).decode("utf-8-sig"), final=True)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a text file, one after the other; the line's end is not part of it.

    Raises OSError, also for a line that is too long; UnicodeDecodeError, its ``start`` from the start of the file.
    """
    with open_file(path) as file, io.TextIOWrapper(file, "utf-8-sig") as text:
        number = 0
        try:
            while line := text.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise OSError(errno.EFBIG, f"line {number} has more than {LONGEST_LINE:,} characters", str(path))
                yield number, line.rstrip("\n")
        except UnicodeDecodeError as error:  # it speaks of the piece that was read last
            before = file.tell() - len(error.object)
            where = error.start + before, error.end + before
            raise UnicodeDecodeError(error.encoding, error.object, *where, error.reason) from None


def fill(file: Any, array: np.ndarray) -> int:
    """Read bytes into a contiguous array, in its memory's order; how many there were."""
    if not array.nbytes:
        return 0
    flat = array.reshape(-1).view(np.uint8)
    done = 0
    while done < flat.size and (got := file.readinto(flat[done : done + (1 << 20)])):
        done += got
    return done


def memory() -> int:
    """The bytes that this process may have at most: the machine's, or fewer where the system sets a limit."""
    limits = [1 << 62]
    with contextlib.suppress(AttributeError, KeyError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    with contextlib.suppress(OSError, ValueError):  # a container's
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(limit for limit in limits if limit > 0)


def check_memory(need: int, what: str) -> None:
    """Raise NettrainError when this many bytes are more than there can be."""
    if need > (has := memory()):
        raise NettrainError(f"{what} needs {need / 1e9:,.1f} GB of memory, but this machine has {has / 1e9:,.1f} GB")
