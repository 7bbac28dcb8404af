"""Arrays in Caffe's HDF5 files: .caffemodel.h5 and .solverstate.h5. Nothing outside of the file is followed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...files.arrays import MOST_UNPACKED
from ...files.extras import extra
from ...files.reading import check_memory, open_file, size_of
from ...spec.errors import NettrainError, printable

DEEPEST = 20  # groups within groups
MOST_NODES = 20_000  # in one file; nets of a thousand layers have some 5,000
LARGEST_CHUNK = 1 << 26  # bytes: a chunk is unpacked whole


def read_h5(path: Path, group: str, what: str) -> dict[str, np.ndarray]:
    """The datasets below a group of an .h5 file by path: ``conv1/0``. Raises NettrainError.

    Links to other places and files are not followed.
    """
    library = extra("h5py", "hdf5", f"{what} {path}")
    try:
        with open_file(path) as raw, library.File(raw, "r") as file:
            root = _own(file, group, library) if group else file
            if not isinstance(root, library.Group):
                has = ", ".join(list(file)[:5]) or "nothing"
                raise NettrainError(f"{what} {path} has no group `{group}`, as Caffe's .h5 files have; it has {has}")
            found, total = {}, 0
            for name, node in _datasets(root, library):
                total += _check(node, name, size_of(raw), f"{what} {path}", library)
                check_memory(total, f"{what} {path}")
                found[name] = node[()]
    except NettrainError:
        raise
    except Exception as error:  # h5py raises whatever its library's error looks like
        raise NettrainError(f"{what} {path} cannot be read as HDF5: {error}") from None
    return {name: found[name] for name in sorted(found, key=_in_order)}


def _own(group: Any, name: str, library: Any) -> Any:
    """What has a name in a group, unless it lies elsewhere; None for that, and where there is nothing."""
    link = group.get(name, getlink=True) if name in group.keys() else None  # noqa: SIM118 (`in group` follows links)
    return group[name] if isinstance(link, library.HardLink) else None


def _datasets(root: Any, library: Any) -> Iterator[tuple[str, Any]]:
    """The datasets below a group with their paths."""
    waiting, count = [("", root, 0)], 0
    while waiting:
        prefix, group, depth = waiting.pop()
        for name in group:
            count += 1
            if depth > DEEPEST or count > MOST_NODES:
                raise ValueError("it has more groups than any net")
            node = _own(group, name, library)
            if isinstance(node, library.Group):
                waiting.append((f"{prefix}{name}/", node, depth + 1))
            elif isinstance(node, library.Dataset):
                yield prefix + name, node


def _check(node: Any, name: str, size: int, what: str, library: Any) -> int:
    """The bytes of a dataset. Raises NettrainError unless it holds numbers, which lie in the file."""
    has_shape = isinstance(node, library.Dataset) and node.shape is not None
    if not has_shape or node.dtype.kind not in "fiu" or node.dtype.subdtype or _is_elsewhere(node):
        raise NettrainError(f"{what}: `{name}` holds no plain numbers")
    chunk = np.dtype(node.dtype).itemsize * int(np.prod(node.chunks or (0,), dtype=object))
    has = min(node.id.get_storage_size(), size)
    if node.nbytes > (MOST_UNPACKED if node.chunks else 1) * has or chunk > max(LARGEST_CHUNK, 4 * size):
        raise NettrainError(f"{what} is damaged: `{name}` says it is larger than the file")
    return node.nbytes


def _is_elsewhere(node: Any) -> bool:
    """Whether a dataset's values lie in another file, or in another dataset."""
    return node.is_virtual or bool(node.external)


def _in_order(name: str) -> tuple[str, int, str]:
    """Numbers at the end count as numbers: 10 comes after 2."""
    start, _, last = name.rpartition("/")
    return (start, int(last), "") if last.isdecimal() and last.isascii() and len(last) < 9 else (start, -1, last)


def read_state(path: Path, what: str) -> tuple[int, str]:
    """``iter`` and ``learned_net`` of a .solverstate.h5. Raises NettrainError."""
    library = extra("h5py", "hdf5", what)
    try:
        with open_file(path) as raw, library.File(raw, "r") as file:
            node = _own(file, "iter", library)
            if _check(node, "iter", size_of(raw), what, library) > LARGEST_SCALAR:
                raise ValueError("`iter` is no single number")
            iteration = int(np.ravel(node[()])[0])
            learned_net = _text(_own(file, "learned_net", library), library)
    except NettrainError:
        raise
    except Exception as error:  # h5py raises whatever its library's error looks like
        raise NettrainError(f"{what} cannot be read as a state of Caffe's: {error}") from None
    return iteration, learned_net


LARGEST_SCALAR, LONGEST_TEXT = 64, 4096  # bytes


def _text(node: Any, library: Any) -> str:
    """A dataset that is one text. Raises ValueError."""
    if not isinstance(node, library.Dataset) or _is_elsewhere(node) or node.shape not in ((), (1,)):
        raise ValueError("`learned_net` is no text")
    about = library.check_string_dtype(node.dtype)
    if about is None or (about.length or 0) > LONGEST_TEXT:
        raise ValueError("`learned_net` is no text, or too long for the name of a file")
    text = np.ravel(node[()])[0]
    return text.decode(errors="replace").rstrip("\0") if isinstance(text, bytes) else str(text)


def write_h5(arrays: Mapping[str, np.ndarray], layers: list[str], path: Path) -> bytes:
    """The bytes of a .caffemodel.h5: a group for each layer, with its blobs as 0, 1, …

    Raises NettrainError for names that no group has, and for those with a slash: real Caffe cannot write them, and
    would not find them.
    """
    bad = [name for name in layers if "/" in name]
    if bad:
        raise NettrainError(
            f"{path}: a .caffemodel.h5 cannot have a layer `{bad[0]}`: a slash is a group within a group there, and "
            "Caffe ends with an error; write a .caffemodel"
        )
    odd = [name for name in layers if name in ("", ".") or "\0" in name]
    if odd:
        raise NettrainError(
            f"{path}: a .caffemodel.h5 cannot have a layer `{printable(odd[0])}`: no group can have its name"
        )
    library = extra("h5py", "hdf5", f"writing {path}")
    buffer = io.BytesIO()
    with library.File(buffer, "w") as file:
        data = file.create_group("data")
        for name in layers:
            data.create_group(name)
        for key, array in arrays.items():
            _, name, index = key.split("/")
            data[name].create_dataset(index, data=array)
    return buffer.getvalue()
