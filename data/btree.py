"""The file of an LMDB, a B+ tree of pages, read without the library.

The library maps the file into memory and trusts the numbers in it, so that a truncated or damaged file kills the
process. Here each number is compared with the bytes that are there, and what is read is read as from any file.

A file has pages of one size. Pages 0 and 1 describe the tree; that of the later transaction counts. A branch page
points to pages, a leaf page holds keys with their values, or with the number of the overflow page where a large value
begins. (Format: OpenLDAP's LMDB 0.9, data version 1, of 64-bit machines with the low byte first.)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ..files.reading import open_file

MAGIC, VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF, OVERFLOW, META, DIRTY = 1, 2, 4, 8, 16  # kinds of pages; the last only says that one was written
LARGE, SEVERAL_VALUES = 1, 4  # a node whose value lies in overflow pages; a tree with several values for a key
NOTHING = 2**64 - 1  # the root of an empty tree

PAGE = struct.Struct("<QHHHH")  # its number, unused, kind, where free space begins and ends (overflow: pages, in both)
# magic, version, unused, size of the map; two trees (of free pages, and of records), each: size of a page, flags,
# depth, branch pages, leaf pages, overflow pages, records, root; then the last page and the transaction
DESCRIPTION = struct.Struct("<IIQQ" + 2 * "IHHQQQQQ" + "QQ")
# bytes before a key: size of the value (low, high), flags, size of the key; in a branch the first three are a page
NODE = 8


class Database:
    """The records of an LMDB in the order of their keys: ``database[i]`` is (key, value).

    Raises OSError, and ValueError with what is wrong: at once where the file has no bytes, and later when a record is
    read that is no longer what it was.
    """

    def __init__(self, path: Path):
        self.path = path
        with open_file(path) as file:
            found = os.fstat(file.fileno())
            self.stamp, self.size = found.st_mtime_ns, found.st_size
            self.page_size, depth, count, root = self._description(file)
            leaves = self._leaves(file, root, depth)
        # of each record where its node and its value begin, and the size of the value
        self.places = np.concatenate(leaves) if leaves else np.empty((0, 3), np.int64)
        if len(self.places) != count:
            raise ValueError(f"it is damaged: it says that it has {count:,} records, but it has {len(self.places):,}")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> tuple[bytes, bytes]:
        (record,) = self.several([i])
        return record

    def several(self, numbers: Iterable[int]) -> Iterator[tuple[bytes, bytes]]:
        """The records with these numbers, one after the other, while the file is opened once."""
        with open_file(self.path) as file:
            if os.fstat(file.fileno()).st_mtime_ns != self.stamp:
                raise ValueError("it was changed while it was in use")
            for i in numbers:
                yield self._record(file, *self.places[i].tolist())

    def _record(self, file: IO[bytes], node: int, start: int, size: int) -> tuple[bytes, bytes]:
        key = _piece(file, node, NODE + int.from_bytes(_piece(file, node + 6, 2), "little"))[NODE:]
        if not node <= start < node + self.page_size:
            number, _, kind, low, high = PAGE.unpack(_piece(file, start - PAGE.size, PAGE.size))
            room = (low | high << 16) * self.page_size - PAGE.size
            if number * self.page_size + PAGE.size != start or kind & ~DIRTY != OVERFLOW or size > room:
                raise ValueError("its value is not where it should be")
        return key, _piece(file, start, size)

    def _description(self, file: IO[bytes]) -> tuple[int, int, int, int]:
        """(size of a page, depth of the tree, number of records, root), of the later transaction."""
        newest, start = (-1, 0, 0, 0, 0), 0
        for _ in range(2):
            head = _piece(file, start, PAGE.size + DESCRIPTION.size)
            magic, version, _, _, *trees, _, transaction = DESCRIPTION.unpack_from(head, PAGE.size)
            page_size, (flags, depth, _, _, _, count, root) = trees[0], trees[9:]
            if magic != MAGIC or not PAGE.unpack_from(head)[2] & META:
                raise ValueError("it is not an LMDB file, or is damaged")
            if version != VERSION:
                raise ValueError(f"it has version {version} of the format; {VERSION} is known")
            if page_size not in [512 << k for k in range(8)] or start not in (0, page_size):
                raise ValueError(f"it is damaged: pages of {page_size:,} bytes")
            if flags & SEVERAL_VALUES:
                raise ValueError("it has several values for each key")
            newest, start = max(newest, (transaction, page_size, depth, count, root)), page_size
        return newest[1:]

    def _leaves(self, file: IO[bytes], root: int, depth: int) -> list[np.ndarray]:
        """The places of the records in the order of keys, in pieces."""
        found, seen, waiting = [], set(), [(root, 1)] if root != NOTHING else []
        leaves: dict[int, bytes] = {}  # looked at together, as each may hold only a few records
        while waiting:
            number, level = waiting.pop()
            if number < 2 or (number + 1) * self.page_size > self.size:
                raise ValueError(f"it is truncated or damaged: page {number:,} is not in it")
            if number in seen:
                raise ValueError(f"it is damaged: page {number:,} appears twice")
            seen.add(number)
            page = _piece(file, number * self.page_size, self.page_size)
            own, _, kind, low, high = PAGE.unpack_from(page)
            wanted = LEAF if level == depth else BRANCH
            if own != number or kind & ~DIRTY != wanted or not PAGE.size <= low <= high or low > self.page_size:
                raise ValueError(f"it is damaged: page {number:,} does not belong to its tree")
            if wanted == LEAF:
                leaves[number] = page
            else:
                waiting += [(child, level + 1) for child in reversed(self._children(number, page))]
            if len(leaves) == 64 or not waiting:
                found.append(self._records(leaves))
                leaves = {}
        return found

    def _children(self, number: int, page: bytes) -> list[int]:
        """The pages that a branch page points to."""
        _, _, first, second, third, _ = self._nodes({number: page})
        return (first | second << 16 | third << 32).tolist()

    def _records(self, pages: dict[int, bytes]) -> np.ndarray:
        """The places of the records in leaf pages."""
        begins, nodes, first, second, flags, key_size = self._nodes(pages)
        starts, sizes, is_large = nodes + NODE + key_size, first | second << 16, flags == LARGE
        if (flags & ~LARGE).any():
            raise ValueError("it holds databases of its own instead of records")
        ends = starts + np.where(is_large, 8, sizes)
        if (ends > (nodes // self.page_size + 1) * self.page_size).any():
            raise ValueError("it is truncated or damaged: a record is longer than its page")
        raw = b"".join(pages.values())
        others = [int.from_bytes(raw[start : start + 8], "little") for start in starts[is_large]]
        if any(not 2 <= other <= self.size // self.page_size for other in others):
            raise ValueError("it is truncated or damaged: a record lies in a page that is not in it")
        places = np.stack([begins + nodes, begins + starts, sizes], axis=1)
        places[is_large, 1] = np.array(others, np.int64) * self.page_size + PAGE.size
        if (places[:, 1] + places[:, 2] > self.size).any():
            raise ValueError("it is truncated or damaged: a record ends after the file does")
        return places

    def _nodes(self, pages: dict[int, bytes]) -> tuple[np.ndarray, ...]:
        """Of every node in these pages, laid end to end: what is to be added to a place there for one in the
        file, where the node is, and its four numbers."""
        raw = np.frombuffer(b"".join(pages.values()), np.uint8)
        begins, found = [], []
        for k, (number, page) in enumerate(pages.items()):
            low = PAGE.unpack_from(page)[3]
            pointers = np.frombuffer(page, "<u2", (low - PAGE.size) // 2, PAGE.size).astype(np.int64)
            if pointers.size and (pointers.min() < low or pointers.max() + NODE > len(page)):
                raise ValueError(f"it is truncated or damaged: page {number:,} points to what is not in it")
            found.append(pointers + k * self.page_size)
            begins.append(np.full(len(pointers), (number - k) * self.page_size))
        nodes = np.concatenate(found) if found else np.empty(0, np.int64)
        fields = (raw[nodes + 2 * k].astype(np.int64) | raw[nodes + 2 * k + 1].astype(np.int64) << 8 for k in range(4))
        return np.concatenate(begins) if begins else nodes, nodes, *fields


def _piece(file: IO[bytes], start: int, size: int) -> bytes:
    """``size`` bytes from a place. Raises ValueError when the file ends before them."""
    file.seek(start)
    piece = file.read(size)
    if len(piece) < size:
        raise ValueError(f"it ends before byte {start + size:,}")
    return piece
