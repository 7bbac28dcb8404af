"""Arrays in files: npy, npz (data, weights, mean_file), IDX, gzip."""

from __future__ import annotations

import ast
import copy
import functools
import gzip
import io
import json
import math
import random
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from helpers import npy
from nettrain.net.net import Net

from .kinds import Case, Kind, make_special, read_batches, train_spec
from .mutations import damage, integer, pack, patch, pick

IMAGES = np.arange(6 * 64, dtype=np.uint8).reshape(6, 1, 8, 8)
LABELS = np.array([0, 1, 2, 0, 1, 2])

# .npy: a magic string, the length of the header, the header (a dictionary of Python's), the values


DESCRIPTIONS = ["<f4", ">f8", "<f2", "<f16", "|u1", "|b1", "<i8", ">u2", "<c8", "|O", "<U10", "|S3", "|S0"]
DESCRIPTIONS += ["<U0", "|V8"]
DESCRIPTIONS += ["<M8[s]", "<m8", "|V0", "<f3", "f", "O", "object", "", "float32, int8", "(2,)f4", "<f4\0", "é"]
DESCRIPTIONS += ["<U2147483647"]
DESCRIPTIONS += ["<f" + "9" * 30, "3" * 400 + "f4", "|S" + "9" * 9, [["a", "<f4"]], [["a", "<f4", [10**6]]]]
DESCRIPTIONS += [[["", "|O"]], [], [["a"]], None, 5]
TEXTS = ["{", "(", "'" * 3, "\\", "\n", "}", "[" * 300, "(" * 90, "#", "\0", "é", "lambda: 0", "1_0", "0x1"]
TEXTS += ["1e400", "-", "{}"]


def split_npy(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """(header, values) of a good .npy of version 1."""
    size = int.from_bytes(raw[8:10], "little")
    return ast.literal_eval(raw[10 : 10 + size].decode("latin1")), raw[10 + size :]


def join_npy(header: bytes, values: bytes, version: int = 1, reserve: int | None = None) -> bytes:
    """A .npy whose header length is right, unless another one is given."""
    form = "<H" if version == 1 else "<I"
    pad = -(8 + struct.calcsize(form) + len(header) + 1) % 64
    header += b" " * pad + b"\n"
    length = (len(header) if reserve is None else reserve) % 256 ** struct.calcsize(form)
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(form, length) + header + values


def bad_shape(rng: random.Random, shape: tuple[int, ...]) -> Any:
    """Another shape: of as many values, of more than there can be, of things that are not sizes."""
    sizes: list[Any] = list(shape)
    match pick(rng, "number number big zero many order flat odd nested"):
        case "number":
            at = rng.randrange(len(sizes) + 1)
            sizes[at : at + 1] = [integer(rng)]
        case "big":
            sizes = [rng.choice([2**16, 2**31, 2**32, 2**33, 3, 1]) for _ in range(rng.randint(1, 5))]
        case "zero":
            sizes = [*sizes, 0, rng.choice([1, 2**62, 2**63, 10**30])]
        case "many":
            sizes += [1] * rng.choice([28, 31, 33, 62, 64, 65, 1000])
        case "order":
            rng.shuffle(sizes)
        case "flat":
            count = math.prod(size if isinstance(size, int) else 1 for size in shape)  # it may be damaged already
            return rng.choice([(), (count,), tuple(sizes), (1, *sizes), (*sizes, 1)])
        case "odd":
            return rng.choice([None, 5, "5", "()", [2, 3], {}, 2.0, True, (2.0,), ("2",), (True, 3), (None,), (-1,)])
        case "nested":
            return (tuple(sizes),)
    return tuple(sizes)


def bad_npy(rng: random.Random, raw: bytes) -> bytes:
    """A .npy with another header, version, length or other values; the length is right in most."""
    header, values = split_npy(raw)
    version = 1 if rng.random() < 0.9 else rng.choice([0, 2, 3, 4, 255])
    reserve = None
    for _ in range(rng.choice([1, 1, 2])):
        match pick(rng, "shape shape shape descr descr order keys values values bytes length"):
            case "shape":
                header["shape"] = bad_shape(rng, header["shape"] if isinstance(header.get("shape"), tuple) else (6,))
            case "descr":
                header["descr"] = copy.deepcopy(rng.choice(DESCRIPTIONS))
            case "order":
                header["fortran_order"] = rng.choice([True, 1, "no", None])
            case "keys":
                header.pop(rng.choice(list(header)), None)
                header |= rng.choice([{}, {"more": 1}, {1: 2}, {"shape": (6, 64)}])
                if not header:
                    header = {"shape": ()}
            case "values":
                values = rng.choice([damage(rng, values), values[: rng.randrange(len(values) + 1)], values * 2, b""])
            case "bytes" if len(values) >= 8:  # NaN, infinity and the largest numbers
                number = rng.choice([b"\xff" * 8, b"\0\0\xc0\x7f" * 2, b"\0\0\x80\x7f" * 2, b"\xff\xff\x7f\x7f" * 2])
                values = values[:-8] + number
            case "length":
                reserve = rng.choice([0, 1, 5, 64, 65535, 2**31, 2**32 - 1])
    text = repr(header)
    if rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(TEXTS) + text[at + rng.choice([0, 0, 1, 3]) :]
    if rng.random() < 0.03:
        text += " " * rng.choice([9_000, 20_000, 60_000])
    return join_npy(text.encode("latin1", "replace"), values, version, reserve)


def is_npy(raw: bytes) -> bool:
    """Whether the magic and the length of the header are right."""
    if raw[:6] != b"\x93NUMPY" or len(raw) < 12:
        return False
    size = 10 + int.from_bytes(raw[8:10], "little") if raw[6] == 1 else 12 + int.from_bytes(raw[8:12], "little")
    return size <= len(raw)


class Npy(Kind):
    """A mean_file that is one array."""

    name = "npy"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        shapes = [(1, 8, 8)]
        return [npy(np.ones(shape, dtype)) for shape in shapes for dtype in ("<f4", ">f8", "u1", "?", "<f2", "<i8")]

    def good(self, seed):
        return Case({"mean.npy": seed})

    def mutate(self, rng, seed):
        if rng.random() < 0.02:
            return make_special(rng, self.good(seed))
        if rng.random() < 0.05:  # what looks like another kind of file
            return Case({"mean.npy": rng.choice([b"PK\3\4", b"PK\5\6" + bytes(18), b"\x80\4", b"", b"\n"]) + seed[20:]})
        return Case({"mean.npy": damage(rng, seed) if rng.random() < 0.25 else bad_npy(rng, seed)})

    def passes_first_check(self, case):
        return is_npy(case.files.get("mean.npy", b""))

    def execute(self, case, folder):
        layer = {"type": "Data", "source": "digits", "batch_size": 2, "transform": {"mean_file": "mean.npy"}}
        read_batches(layer, folder, batches=1)


# .npz: a zip archive of .npy


@dataclass(frozen=True)
class Member:
    """A file in a zip archive, and what the archive says of it (None: the truth)."""

    name: bytes
    content: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    local_name: bytes | None = None
    extra: bytes = b""

    def packed(self) -> bytes:
        if self.method == 8:
            packer = zlib.compressobj(6, zlib.DEFLATED, -15)
            return packer.compress(self.content) + packer.flush()
        return self.content


def pack_zip(members: Iterable[Member], comment: bytes = b"", before: bytes = b"", **end: int) -> bytes:
    """An archive; ``end`` replaces ``count``, ``size`` or ``offset`` in its last record."""
    body, directory, count = bytearray(before), bytearray(), 0
    for m in members:
        packed, offset = m.packed(), len(body)
        crc = zlib.crc32(m.content) if m.crc is None else m.crc
        size = len(m.content) if m.size is None else m.size
        packed_size = len(packed) if m.packed_size is None else m.packed_size
        sizes = struct.pack("<III", crc, packed_size % 2**32, size % 2**32)
        local = m.name if m.local_name is None else m.local_name
        head = struct.pack("<HHHHH", 20, m.flags, m.method, 0, 33) + sizes
        body += b"PK\3\4" + head + struct.pack("<HH", len(local), len(m.extra)) + local + m.extra + packed
        directory += b"PK\1\2" + struct.pack("<H", 20) + head
        directory += struct.pack("<HHHHHII", len(m.name), len(m.extra), 0, 0, 0, 0, offset) + m.name + m.extra
        count += 1
    last = {"count": count, "size": len(directory), "offset": len(body)} | end
    tail = struct.pack("<HHHHII", 0, 0, last["count"], last["count"], last["size"], last["offset"])
    return bytes(body + directory) + b"PK\5\6" + tail + struct.pack("<H", len(comment)) + comment


NAMES = [b"", b".npy", b"data", b"data.npy", b"label.npy", b"allow_pickle.npy", b"file.npy", b"../data.npy"]
NAMES += [b"/etc/x.npy"]
NAMES += [b"train_data.npy", b"x.npy", b"\xff\xfe.npy", b"a\0b.npy", "é.npy".encode(), b"data.npy.npy", b"dir/"]
NAMES += [b"x" * 60_000]
NAMES += [b"param/ip/0.npy", b"param/ip/1.npy", b"param/ip/2.npy", b"param/ip/99999999999999999999.npy"]
NAMES += [b"param/ip/.npy"]
NAMES += [b"param//0.npy", b"param/other/0.npy", b"state.npy", b"history/0.npy", b"\x1b[2J.npy", b"\xed\xa0\x80.npy"]


@functools.lru_cache(maxsize=2)
def zeros_packed(megabytes: int) -> bytes:
    """A deflate stream of this many megabytes of zeros, a thousandth of that in size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + packer.flush()


@dataclass(frozen=True)
class Bomb(Member):
    """A member that is far larger than its file."""

    megabytes: int = 400

    def packed(self) -> bytes:
        start = zlib.compressobj(6, zlib.DEFLATED, -15)
        head = start.compress(self.content) + start.flush(zlib.Z_FULL_FLUSH)
        return head + zeros_packed(self.megabytes)


def bomb(name: bytes) -> Bomb:
    """An array of 400 MB of zeros as it is stored in the archive."""
    count = 400 << 20
    content = join_npy(repr({"descr": "|u1", "fortran_order": False, "shape": (count // 64, 1, 8, 8)}).encode(), b"")
    return Bomb(name, content, 8, size=len(content) + count, crc=0)


def bad_zip(rng: random.Random, members: list[Member]) -> bytes:
    """An archive of damaged members, or one that says untrue things of its members."""
    members, end, comment, before = list(members), {}, b"", b""
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(members)) if members else 0
        match pick(rng, "npy npy npy npy npy rename add drop twice swap says method extra end comment bomb"):
            case "npy" if members and is_npy(members[at].content):
                members[at] = replace(members[at], content=_bad_content(rng, members[at].content))
            case "rename" if members:
                members[at] = replace(members[at], name=rng.choice(NAMES))
            case "add":
                others = [npy(LABELS), npy(np.zeros((0, 2))), npy(np.array("text")), npy(np.array(5))]
                content = rng.choice([b"", b"text", *others])
                members.insert(at, Member(rng.choice(NAMES), content))
            case "drop" if members:
                del members[at]
            case "twice" if members:
                members.append(members[at])
            case "swap" if len(members) > 1:
                other = rng.randrange(len(members))
                members[at] = replace(members[at], content=members[other].content)
            case "says" if members:
                key = rng.choice(["crc", "size", "packed_size", "flags", "local_name"])
                number = integer(rng) % (65536 if key == "flags" else 2**32)
                value = rng.choice(NAMES) if key == "local_name" else number
                members[at] = replace(members[at], **{key: value})
            case "method" if members:
                members[at] = replace(members[at], method=rng.choice([8, 8, 8, 9, 12, 14, 99]))
            case "extra" if members:
                sizes = b"".join(pack(rng, 8) for _ in range(rng.randrange(4)))
                extra = struct.pack("<HH", rng.choice([1, 1, 0x7075]), rng.choice([len(sizes), 0, 99])) + sizes
                says = rng.choice([{}, {"size": 2**32 - 1}, {"packed_size": 2**32 - 1, "size": 2**32 - 1}])
                members[at] = replace(members[at], extra=extra, **says)
            case "end":
                end[rng.choice(["count", "size", "offset"])] = integer(rng)
            case "comment":
                comment = rng.choice([b"x", b"nettrain sha256 " + b"0" * 64, b"PK\5\6" + bytes(18), rng.randbytes(300)])
            case "bomb" if rng.random() < 0.3:
                members.append(bomb(rng.choice([b"data.npy", b"more.npy", b"param/ip/0.npy"])))
    end = {key: value % (65536 if key == "count" else 2**32) for key, value in end.items()}
    if rng.random() < 0.03:
        before = rng.choice([b"#!", b"\x93NUMPY\1\0", bytes(100)])
    return pack_zip(members, comment, before, **end)


def _bad_content(rng: random.Random, content: bytes) -> bytes:
    try:
        return bad_npy(rng, content)
    except (ValueError, SyntaxError):  # damaged once already
        return damage(rng, content)


def is_zip(raw: bytes) -> bool:
    """Whether the archive can be opened and the checksum of each member is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            small = sum(info.file_size for info in archive.infolist()) < 10 << 20
            return bool(archive.infolist()) and (not small or archive.testzip() is None)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, zlib.error):
        return False
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError):
        return False


def _members(**arrays: Any) -> list[Member]:
    names = {name.replace("__", "/").encode(): np.asarray(array) for name, array in arrays.items()}
    return [Member(name + b".npy", npy(array)) for name, array in names.items()]


NET = train_spec({"type": "Data", "source": "spiral", "batch_size": 6})
NPZ_USES = {"data": "data.npz", "weights": "weights.npz", "mean": "mean.npz"}


class Npz(Kind):
    """Data, weights and a mean_file."""

    name = "npz"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        x, mask = np.arange(12, dtype=np.float32).reshape(6, 2), np.zeros((6, 8, 8), np.uint8)
        weights = {"param__ip__0": np.ones((4, 2), np.float32), "param__ip__1": np.zeros(4)}
        return [
            ("data", _members(data=IMAGES, label=LABELS)),
            ("data", _members(x=x, y=LABELS.astype(np.uint8), mask=mask)),
            ("data", _members(train_data=IMAGES, train_label=LABELS, test_data=IMAGES[:2], test_label=LABELS[:2])),
            ("weights", _members(**weights)),
            ("weights", _members(**weights, history__0=np.zeros(16), state=np.array("{}"))),
            ("mean", _members(mean=np.ones((1, 8, 8), np.float32))),
        ]

    def good(self, seed):
        use, members = seed
        return Case({NPZ_USES[use]: pack_zip(members)}, {"use": use})

    def mutate(self, rng, seed):
        use, members = seed
        case = self.good(seed)
        if rng.random() < 0.02:
            return make_special(rng, case)
        if rng.random() < 0.4:  # compressed, as np.savez_compressed does
            members = [replace(member, method=8) for member in members]
        good = rng.random() < 0.15
        raw = damage(rng, pack_zip(members)) if good else bad_zip(rng, members)
        if rng.random() < 0.02:
            raw = rng.choice([members[0].content, raw + b"x", raw[:-1], b""])
        return Case({NPZ_USES[use]: raw}, case.what | {"command": rng.choice(["test", "explain"])})

    def passes_first_check(self, case):
        return all(map(is_zip, case.files.values())) and bool(case.files)

    def execute(self, case, folder):
        use = case.what["use"]
        if use == "weights":
            net = Net(NET)
            net.copy_from("weights.npz")
            with np.errstate(all="ignore"):
                net.run_forward()
            return
        read_batches(self.layer(case), folder, ("TRAIN", "TEST"), batches=3)

    def layer(self, case: Case) -> dict[str, Any]:
        if case.what["use"] == "mean":
            return {"type": "Data", "source": "digits", "batch_size": 2, "transform": {"mean_file": "mean.npz"}}
        return {"type": "Data", "source": "data.npz", "batch_size": 2}

    def command(self, case):
        weights = case.what["use"] == "weights"
        Path("net.yaml").write_text(json.dumps(NET if weights else train_spec(self.layer(case))))
        if not weights:
            return ["train", "net.yaml"]
        return [case.what.get("command", "test"), "net.yaml", "--weights", "weights.npz", "--json"]


# IDX: two zeros, the type, the number of axes, the sizes, the values


def idx(array: np.ndarray, code: int = 8) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


def bad_idx(rng: random.Random, raw: bytes) -> bytes:
    axes = raw[3]
    fields = [(2, ">B"), (3, ">B"), *((4 + 4 * i, ">I") for i in range(axes)), (4, ">I")]
    match pick(rng, "field field sizes type values bytes long"):
        case "field":
            return patch(rng, raw, fields)
        case "sizes":  # as many values, other axes
            few = [[1], [384], [6, 64], [6, 8, 8], [2, 3, 8, 8], [1, 384, 1, 1]]
            sizes = rng.choice([*few, [6, 2, 2, 2, 2, 2, 2], [6] + [1] * 300])
            head = bytes([0, 0, raw[2], len(sizes) % 256]) + struct.pack(f">{len(sizes)}I", *sizes)
            return head + raw[4 + 4 * axes :]
        case "type":  # the header is right, the values are numbers of another type
            code, size = rng.choice([(9, 1), (11, 2), (12, 4), (13, 4), (14, 8)])
            return raw[:2] + bytes([code]) + raw[3 : 4 + 4 * axes] + rng.randbytes(size * (len(raw) - 4 - 4 * axes))
        case "values":
            return raw[: 4 + 4 * axes] + damage(rng, raw[4 + 4 * axes :])
        case "long":
            return raw + rng.randbytes(rng.choice([1, 64, 1000]))
    return damage(rng, raw)


def is_idx(raw: bytes) -> bool:
    return len(raw) > 4 and raw[:2] == b"\0\0" and raw[2] in (8, 9, 11, 12, 13, 14) and len(raw) >= 4 + 4 * raw[3]


class Idx(Kind):
    """Images and labels beside them."""

    name = "idx"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        labels = idx(LABELS.astype(np.uint8))
        images, beside = "t-images-idx3-ubyte", "t-labels-idx1-ubyte"
        mnist, fashion = "data/mnist/train", "data/fashion-mnist/train"
        records = np.arange(2 * 3073).astype(np.uint8).tobytes()
        return [
            (images, {images: idx(IMAGES[:, 0]), beside: labels}),
            (images, {images: idx(IMAGES), beside: idx(LABELS.astype(">i4"), 12)}),
            (images, {images: idx(IMAGES[:, 0].astype(">f4"), 13), beside: labels}),
            ("mnist", {f"{mnist}-images-idx3-ubyte": idx(IMAGES[:, 0]), f"{mnist}-labels-idx1-ubyte": labels}),
            ("fashion-mnist", {f"{fashion}-images-idx3-ubyte": idx(IMAGES), f"{fashion}-labels-idx1-ubyte": labels}),
            ("cifar10", {"data/data_batch_1.bin": records, "data/data_batch_2.bin": records}),
        ]

    def good(self, seed):
        return Case(dict(seed[1]), {"source": seed[0]})

    def mutate(self, rng, seed):
        case = self.good(seed)
        if rng.random() < 0.02:
            return make_special(rng, case)
        name = rng.choice([*sorted(case.files), min(case.files)])
        case.files[name] = bad_idx(rng, case.files[name]) if name.endswith("ubyte") else damage(rng, case.files[name])
        return case

    def passes_first_check(self, case):
        return not case.special and all(is_idx(raw) for name, raw in case.files.items() if name.endswith("ubyte"))

    def layer(self, case: Case) -> dict[str, Any]:
        return {"type": "Data", "source": case.what["source"], "batch_size": 2}

    def names(self, case):
        return [*super().names(case), case.what["source"]]

    def execute(self, case, folder):
        read_batches(self.layer(case), folder, batches=3)

    def command(self, case):
        Path("net.yaml").write_text(json.dumps(train_spec(self.layer(case))))
        return ["check", "net.yaml", "--json"]


# gzip: a header, deflated bytes, their checksum and length


@functools.lru_cache(maxsize=1)
def bomb_of_images() -> bytes:
    """An IDX file of six images with 400 MB of zeros after them."""
    start = zlib.compressobj(6, zlib.DEFLATED, -15)
    head = start.compress(idx(IMAGES)) + start.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(5) + b"\2\xff" + head + zeros_packed(400) + bytes(8)


def gzipped(raw: bytes, flags: int = 0, fields: bytes = b"", crc: int | None = None, size: int | None = None) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(raw) + packer.flush()
    tail = struct.pack("<II", zlib.crc32(raw) if crc is None else crc, (len(raw) if size is None else size) % 2**32)
    return b"\x1f\x8b\x08" + bytes([flags]) + bytes(4) + b"\2\xff" + fields + body + tail


class Gz(Kind):
    """IDX files, tables and archives, gzipped."""

    name = "gz"
    missing = ("t.csv.gz", "t.npz.gz")

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        table = b"a,b,label\n" + b"".join(b"%d,%d,%d\n" % (i, i * i, i % 2) for i in range(6))
        return [
            ("t-images-idx3-ubyte.gz", idx(IMAGES[:, 0])),
            ("t-images-idx3-ubyte.gz", idx(IMAGES)),
            ("t-images-idx3-ubyte", idx(IMAGES)),  # the name does not say it
            ("t.csv.gz", table),
            ("t.npz.gz", pack_zip(_members(data=IMAGES, label=LABELS))),
        ]

    def good(self, seed):
        name, raw = seed
        return self.case(name, gzipped(raw))

    def case(self, name: str, packed: bytes) -> Case:
        """With labels beside images, or not."""
        labels = {name.replace("images", "labels").replace("idx3", "idx1"): gzipped(idx(LABELS.astype(np.uint8)))}
        return Case((labels if "images" in name else {}) | {name: packed}, {"source": name})

    def mutate(self, rng, seed):
        name, raw = seed
        if rng.random() < 0.02:
            return make_special(rng, self.good(seed))
        packed = gzipped(raw)
        match pick(rng, "inside inside inside inside bytes trailer header members garbage nested cut bomb"):
            case "inside":
                packed = gzipped(bad_idx(rng, raw) if "idx" in name else damage(rng, raw))
            case "bytes":
                packed = damage(rng, packed, start=rng.choice([0, 10]))
            case "trailer":
                packed = gzipped(raw, **rng.choice([{"crc": integer(rng) % 2**32}, {"size": integer(rng)}]))
            case "header":
                fields = rng.choice([b"", b"name\0", struct.pack("<H", 4) + b"more", b"\xff\xff", b"x" * 10_000])
                packed = gzipped(raw, rng.choice([2, 4, 8, 16, 31, 255]), fields)
            case "members":
                half = len(raw) // 2
                packed = gzipped(raw[:half]) + gzipped(rng.choice([raw[half:], b"", raw]))
            case "garbage":
                packed += rng.choice([bytes(100), b"garbage", b"\x1f\x8b", rng.randbytes(50)])
            case "nested":
                packed = gzipped(packed)
            case "cut":
                packed = packed[: rng.randrange(len(packed))]
            case "bomb":
                packed = bomb_of_images()
        return self.case(name, packed)

    def passes_first_check(self, case):
        try:
            with gzip.open(io.BytesIO(case.files.get(case.what["source"], b""))) as file:
                return bool(file.read(4))
        except (OSError, EOFError, zlib.error):
            return False

    def execute(self, case, folder):
        read_batches({"type": "Data", "source": case.what["source"], "batch_size": 2}, folder, batches=2)
