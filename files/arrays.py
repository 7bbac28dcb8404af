"""Arrays in .npy and .npz files: only what is asked for is read, and only when the file can hold what it says."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..spec.errors import NettrainError
from . import seal
from .reading import check_memory, fill, open_file, size_of
from .writing import write_atomically

MOST_UNPACKED = 1040  # bytes that deflate can make of one byte, with a little to spare: its own limit is 1032


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed .npz with a checksum. Raises OSError when the disk refuses."""

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        seal.add(file)

    write_atomically(path, write)


NPY = b"\x93NUMPY"

# Characters of the text before the values of an .npy. An array of numbers with 32 axes has some 700. numpy's own limit
# is 10,000, but what Python cannot parse it looks at again in a way that takes 30 s for some strings of that length.
LONGEST_HEADER = 1_000
HEAD = LONGEST_HEADER + 12  # bytes before the values

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
            shape, self.is_fortran, self.dtype = parse(file, max_header_size=LONGEST_HEADER)
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
def _failures_told(path: Path, what: str, kind: str) -> Iterator[None]:
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
    with _failures_told(path, what, ".npy"), open_file(path) as file:
        layout = Layout(file.read(HEAD), size_of(file))
        if check is not None:
            check(layout.shape, layout.dtype)
        check_memory(layout.nbytes, f"{what} {path}")
        file.seek(layout.start)
        return layout.read(file)


def map_npy(path: Path, what: str, check: Callable[[tuple[int, ...], np.dtype], None]) -> np.ndarray:
    """The array of an .npy as it lies on the disk: what is looked at is read then. Raises NettrainError as read_npy."""
    with _failures_told(path, what, ".npy"), open_file(path) as file:
        layout = Layout(file.read(HEAD), size_of(file))
        check(layout.shape, layout.dtype)
        order: Any = "F" if layout.is_fortran else "C"
        return np.memmap(file, layout.dtype, "r", layout.start, layout.shape, order)


class Stored:
    """An array in an archive: its shape and dtype are known, its values are read when numpy asks for them."""

    def __init__(self, archive: Archive, info: zipfile.ZipInfo):
        self.archive, self.info = archive, info
        with archive.open(info) as file:
            self.layout = Layout(file.read(HEAD), info.file_size)
        self.shape, self.dtype = self.layout.shape, self.layout.dtype

    def read(self) -> np.ndarray:
        """The values. Raises NettrainError when they are damaged."""
        with self.archive.failures_told():
            check_memory(self.layout.nbytes, f"{self.archive.what} {self.archive.path}")
            with self.archive.open(self.info) as file:
                file.read(self.layout.start)
                array = self.layout.read(file)
                file.read(1)  # the end: here the checksum is compared
                return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.read(), dtype)


class Archive(Mapping[str, Stored]):
    """The arrays of an .npz by name, of which only those asked for are read."""

    def __init__(self, path: Path, what: str, file: IO[bytes]):
        self.path, self.what = path, what
        self.size = size_of(file)
        self.is_sealed = seal.check(file)  # whether it has a checksum
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
            raise ValueError("members that overlap")
        self._seen: dict[str, Stored] = {}
        self.arrays = {name[:-4]: info for name, info in self.members.items() if name.endswith(".npy")}
        if self.members and not self.arrays:
            some = ", ".join(list(self.members)[:5])
            raise NettrainError(f"{what} {path} is an archive without arrays, not an .npz file (it has {some})")

    @property
    def is_packed(self) -> bool:
        """Whether some members take more bytes unpacked than in the file."""
        return any(info.compress_type != zipfile.ZIP_STORED for info in self.members.values())

    def failures_told(self) -> contextlib.AbstractContextManager[None]:
        return _failures_told(self.path, self.what, ".npz")

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
            with self.failures_told():
                self._seen[name] = Stored(self, info)
        return self._seen[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, name: object) -> bool:
        return name in self.arrays


def _list_size(file: IO[bytes], size: int) -> int:
    """The bytes of an archive's list of members, as its last record has it; 0 when there is no such record."""
    file.seek(max(0, size - seal.END_SIZE - 65535 - 76))
    tail = file.read(seal.END_SIZE + 65535 + 76)
    at, large = tail.rfind(seal.END), tail.rfind(b"PK\6\6")  # the second one in archives of more than 4 GB
    length = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    return int.from_bytes(tail[large + 40 : large + 48], "little") if length == 0xFFFFFFFF and large >= 0 else length


@contextlib.contextmanager
def open_npz(path: Path, what: str) -> Iterator[Archive]:
    """The arrays of an .npz by name, while it is open.

    Raises NettrainError when it is missing or damaged, and so does reading an array that is, or has Python objects.
    """
    with contextlib.ExitStack() as stack:
        with _failures_told(path, what, ".npz"):
            archive = Archive(path, what, stack.enter_context(open_file(path)))
            stack.enter_context(archive.zip)
        yield archive
