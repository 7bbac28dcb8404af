"""Files: the one place that opens what a user names, and writes that never leave half a file.

Only regular files are read: a pipe, a device or a socket may block, never end or do something when it is opened. What a
file says of its own size is checked against the bytes that are there and the memory of the machine before anything is
made, and only what is asked for is read.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import math
import os
import select
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import NettrainError

PATIENCE = 3  # seconds to wait for the next bytes of a pipe
LONGEST_LINE = 1 << 23  # characters
MOST_UNPACKED = 1040  # bytes that deflate can make of one byte, with a little to spare: its own limit is 1032


# Reading


def open_file(path: Path) -> IO[bytes]:
    """A regular file, opened to be read. Raises OSError, also for a folder, a pipe, a device or a socket."""
    return os.fdopen(_descriptor(path), "rb")


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
    return _KINDS.get(stat.S_IFMT(mode), "no regular file")


def size_of(file: IO[bytes]) -> int:
    """The bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def read_bytes(path: Path, most: int | None = None, pipes: bool = False) -> bytes:
    """All bytes of a file. Raises OSError, also for one with ``most`` bytes and more than memory can hold.

    With ``pipes`` a pipe is read too, such as the shell's ``<(command)``, while it goes on giving something.
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


def _next_bytes(file: IO[bytes], count: int) -> bytes:
    """Up to so many bytes; none at the end. Waits a little for a pipe: also for somebody to write into it."""
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

    Raises OSError, also for a line that is too long; UnicodeDecodeError, its ``start`` counted from the file's begin.
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
            error.start += file.tell() - len(error.object)
            raise


def fill(file: Any, array: np.ndarray) -> int:
    """Read bytes into an array that lies in one piece, in its memory's order; how many there were."""
    if not array.nbytes:
        return 0
    flat = array.reshape(-1).view(np.uint8)
    done = 0
    while done < flat.size and (got := file.readinto(flat[done : done + (1 << 20)])):
        done += got
    return done


def memory() -> int:
    """The bytes that this process may have at most: the machine's, or fewer where the system was told so."""
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
    """Raise NettrainError when so many bytes are more than there can be."""
    if need > (has := memory()):
        raise NettrainError(f"{what} needs {need / 1e9:,.1f} GB of memory, this machine has {has / 1e9:,.1f} GB")


# Writing


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call ``write`` with a binary file that becomes ``path`` only when it is complete and on disk."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Bring the new name to disk too, where a folder can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):  # some file systems cannot; the file itself is on disk
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# An .npz is a zip archive, and a zip archive may end with a comment: there stands the SHA-256 of all before it.
SEAL = b"nettrain sha256 "
SEAL_SIZE = len(SEAL) + 64
END, END_SIZE = b"PK\5\6", 22  # how the last record of an archive begins, and its bytes before the comment
CHUNK = 1 << 20


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed .npz with a checksum. Raises OSError when the disk refuses."""

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        seal(file)

    write_atomically(path, write)


def seal(file: IO[bytes]) -> None:
    """Add its checksum to an archive without a comment, which is open for reading and writing."""
    size = file.seek(-2, os.SEEK_END) + 2  # it ends with the length of its comment, which is 0 so far
    file.write(SEAL_SIZE.to_bytes(2, "little"))
    digest = _digest(file, size)
    file.seek(size)
    file.write(SEAL + digest)


def _digest(file: IO[bytes], size: int) -> bytes:
    """SHA-256 of the first ``size`` bytes, in hexadecimal."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest().encode()


def _seal(file: IO[bytes]) -> tuple[int, bytes] | None:
    """How many bytes stand before an archive's comment, and the comment; None for no archive.

    Raises ValueError for an archive that does not end where its last record says: it lost something or was added to.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - SEAL_SIZE - END_SIZE))
    tail = file.read(SEAL_SIZE + END_SIZE)
    at = tail.rfind(END)
    if at < 0:
        return None
    comment = tail[at + END_SIZE :]
    if len(comment) != int.from_bytes(tail[at + END_SIZE - 2 : at + END_SIZE], "little"):
        raise ValueError("the archive does not end where it should")
    return size - len(comment), comment


def has_checksum(path: Path) -> bool:
    """Whether a file ends with a checksum; ``open_npz`` looks whether it is right. Raises OSError, ValueError."""
    with open_file(path) as file:
        return _is_sealed(_seal(file))


def _is_sealed(found: tuple[int, bytes] | None) -> bool:
    return found is not None and found[1].startswith(SEAL)


def _check(file: IO[bytes]) -> bool:
    """Whether the file has a checksum. Raises ValueError when it has another one; without it may be anything."""
    found = _seal(file)
    if found and _is_sealed(found) and found[1] != SEAL + _digest(file, found[0]):
        raise ValueError("the checksum is wrong")
    file.seek(0)
    return _is_sealed(found)


# Arrays

NPY = b"\x93NUMPY"
LONGEST_HEADER = 12_000  # bytes of an .npy before its values; numpy's own limit for the text in it is 10,000
LARGEST_LIST = 1 << 22  # bytes of an archive's list of members: some 40,000 names


class Layout:
    """What the header of an .npy says: shape, dtype and order of the array, and where its values begin."""

    def __init__(self, head: bytes, size: int):
        """``head`` are the first bytes of ``size``. Raises ValueError unless both agree, or as numpy's parser."""
        file = io.BytesIO(head)
        version = np.lib.format.read_magic(file)
        parse = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that Python 2 made
            shape, self.is_fortran, self.dtype = parse(file)
        self.shape = tuple(int(length) for length in shape)
        self.start = file.tell()
        if self.dtype.hasobject:
            raise ObjectsError("Python objects")
        if any(length < 0 for length in self.shape) or len(self.shape) > 32:
            raise ValueError("no shape")
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        if self.start + self.nbytes != size:
            raise ValueError(f"{self.nbytes} bytes of values in {size}")

    def read(self, file: Any) -> np.ndarray:
        """The array; ``file`` stands at its values. Raises EOFError when they end too early."""
        array = np.empty(self.shape[::-1] if self.is_fortran else self.shape, self.dtype)
        if fill(file, array) != self.nbytes:
            raise EOFError
        return array.T if self.is_fortran else array


class ObjectsError(ValueError):
    """An array of Python objects, which only pickle could load."""


@contextlib.contextmanager
def _in_words(path: Path, what: str, kind: str) -> Iterator[None]:
    """Every way in which reading arrays can fail, as a NettrainError."""
    try:
        yield
    except NettrainError:
        raise
    except FileNotFoundError:
        raise NettrainError(f"{what} not found: {path}") from None
    except IsADirectoryError:
        inside = sorted(found.name for found in path.glob(f"*{kind}"))
        hint = f"; in it there {'is' if len(inside) == 1 else 'are'} {', '.join(inside[:5])}" if inside else ""
        raise NettrainError(f"{what} {path} is a folder, not an {kind} file{hint}") from None
    except ObjectsError:
        raise NettrainError(f"{what} {path} holds Python objects, which are never loaded") from None
    except MemoryError:
        raise NettrainError(f"{what} {path} needs more memory than this machine has left") from None
    except Exception as error:  # zipfile, zlib and numpy's parser raise what they like on damaged files
        if isinstance(error, OSError) and error.strerror:
            raise NettrainError(f"{what} {path} cannot be read: {error.strerror}") from None
        size = path.stat().st_size
        raise NettrainError(f"{what} {path} is damaged or not an {kind} file ({size:,} bytes)") from None


def read_npy(path: Path, what: str, check: Callable[[tuple[int, ...], np.dtype], None] | None = None) -> np.ndarray:
    """The array of an .npy, unless ``check`` refuses its shape and dtype.

    Raises NettrainError when it is missing, damaged or holds Python objects.
    """
    with _in_words(path, what, ".npy"), open_file(path) as file:
        layout = Layout(file.read(LONGEST_HEADER), size_of(file))
        if check is not None:
            check(layout.shape, layout.dtype)
        check_memory(layout.nbytes, f"{what} {path}")
        file.seek(layout.start)
        return layout.read(file)


class Stored:
    """An array in an archive: its shape and dtype are known, its values are read when numpy asks for them."""

    def __init__(self, archive: Archive, info: zipfile.ZipInfo):
        self.archive, self.info = archive, info
        with archive.open(info) as file:
            self.layout = Layout(file.read(LONGEST_HEADER), info.file_size)
        self.shape, self.dtype = self.layout.shape, self.layout.dtype

    def read(self) -> np.ndarray:
        """The values. Raises NettrainError when they are damaged."""
        with self.archive.in_words():
            check_memory(self.layout.nbytes, f"{self.archive.what} {self.archive.path}")
            with self.archive.open(self.info) as file:
                file.read(self.layout.start)
                array = self.layout.read(file)
                file.read(1)  # the end: here the checksum is compared
                return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.read(), dtype)


class Archive(Mapping[str, Stored]):
    """The arrays of an .npz by name, of which only those are read that are asked for."""

    def __init__(self, path: Path, what: str, file: IO[bytes]):
        self.path, self.what = path, what
        self.size = size_of(file)
        self.is_sealed = _check(file)  # whether it has a checksum
        start = file.read(len(NPY))
        if start == NPY:
            raise NettrainError(f"{what} {path} is a single .npy array, not an .npz archive")
        if _list_size(file, self.size) > LARGEST_LIST:
            raise NettrainError(f"{what} {path} is an archive of more files than any net has arrays")
        file.seek(0)
        self.zip = zipfile.ZipFile(file)
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in self.zip.infolist():
            if info.filename in self.members:
                raise NettrainError(f"{what} {path} holds {info.filename} twice")
            self.members[info.filename] = info
        if sum(info.compress_size for info in self.members.values()) > self.size:
            raise ValueError("members that lie in each other")
        self._seen: dict[str, Stored] = {}
        self.arrays = {name[:-4]: info for name, info in self.members.items() if name.endswith(".npy")}
        if self.members and not self.arrays:
            some = ", ".join(list(self.members)[:5])
            raise NettrainError(f"{what} {path} is an archive without arrays, not an .npz file (it has {some})")

    @property
    def is_packed(self) -> bool:
        """Whether some members take more bytes than they have in the file."""
        return any(info.compress_type != zipfile.ZIP_STORED for info in self.members.values())

    def in_words(self) -> contextlib.AbstractContextManager[None]:
        return _in_words(self.path, self.what, ".npz")

    def open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        """A member, unpacked as it is read. Raises ValueError when it cannot be as large as it says."""
        is_stored = info.compress_type == zipfile.ZIP_STORED
        most = info.compress_size if is_stored else MOST_UNPACKED * (info.compress_size + 1)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("numpy writes no such archives")
        if info.compress_size > self.size or info.file_size > most:
            raise ValueError("more bytes than there are")
        return self.zip.open(info)

    def __getitem__(self, name: str) -> Stored:
        info = self.arrays[name]
        if name not in self._seen:
            with self.in_words():
                self._seen[name] = Stored(self, info)
        return self._seen[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, name: object) -> bool:
        return name in self.arrays


def _list_size(file: IO[bytes], size: int) -> int:
    """The bytes of an archive's list of members, as its last record has it; 0 when there is none such."""
    file.seek(max(0, size - END_SIZE - 65535 - 76))
    tail = file.read(END_SIZE + 65535 + 76)
    at, large = tail.rfind(END), tail.rfind(b"PK\6\6")  # the second one in archives of more than 4 GB
    length = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    return int.from_bytes(tail[large + 40 : large + 48], "little") if length == 0xFFFFFFFF and large >= 0 else length


@contextlib.contextmanager
def open_npz(path: Path, what: str) -> Iterator[Archive]:
    """The arrays of an .npz by name, while it is open.

    Raises NettrainError when it is missing or damaged, and so does reading an array that is, or has Python objects.
    """
    with contextlib.ExitStack() as stack:
        with _in_words(path, what, ".npz"):
            archive = Archive(path, what, stack.enter_context(open_file(path)))
            stack.enter_context(archive.zip)
        yield archive
