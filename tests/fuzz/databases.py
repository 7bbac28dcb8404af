"""Databases: LMDB with Datum records, HDF5."""

from __future__ import annotations

import functools
import io
import random
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from helpers import varint

from .images import Images, bad_image
from .kinds import Case, Kind, data_spec, make_special, read_batches
from .mutations import damage, integer, patch, pick

# Datum: a message of protocol buffers


def datum(fields: list[tuple[int, Any]]) -> bytes:
    """Integers as varints, bytes with their length, floats packed; a string of bytes as it is."""
    parts = []
    for number, value in fields:
        if isinstance(value, bytes):
            parts.append(varint(number << 3 | 2) + varint(len(value)) + value)
        else:
            parts.append(varint(number << 3) + varint(value))
    return b"".join(parts)


def bad_datum(rng: random.Random, fields: list[tuple[int, Any]]) -> bytes:
    fields = list(fields)
    at = rng.randrange(len(fields))
    number, value = fields[at]
    match pick(rng, "value value value drop twice rename bytes raw sizes"):
        case "value":
            fields[at] = number, damage(rng, value) if isinstance(value, bytes) else integer(rng)
        case "drop":
            del fields[at]
        case "twice":
            fields.append((number, value))
        case "rename":
            fields[at] = rng.choice([1, 2, 4, 5, 6, 7, 8, 1000]), value
        case "bytes":
            fields[at] = number, rng.choice([b"", b"\xff" * 8, 5, rng.randbytes(12)])
        case "raw":
            return rng.choice([damage(rng, datum(fields)), b"", b"\x80" * 20, b"\x22" + varint(2**40) + b"x"])
        case "sizes":
            sizes = rng.choice([(0, 0, 0), (3, 1, 1), (2**32, 1, 1), (2**63, 2, 1), (1, 1, 12), (-1, -1, 12)])
            fields = [(i, v) for i, v in fields if i > 3] + list(zip((1, 2, 3), sizes, strict=True))
    return datum(fields)


def lmdb_of(records: list[tuple[bytes, bytes]], named: bool = False) -> bytes:
    """The data.mdb of these records."""
    import lmdb

    with tempfile.TemporaryDirectory() as folder:
        with lmdb.open(folder, map_size=16 << 20, sync=False, max_dbs=2 if named else 0) as environment:
            database = environment.open_db(b"named") if named else None
            with environment.begin(write=True, db=database) as transaction:
                for key, value in records:
                    transaction.put(key, value)
        return (Path(folder) / "data.mdb").read_bytes()


# Fields of the two meta pages, and of the pages after them
PAGE = 4096
META = [(16, "<I"), (20, "<I"), (24, "<Q"), (32, "<Q"), (136, "<Q"), (144, "<Q")]
FREE, MAIN = 40, 88  # two trees: pad, flags, depth, pages of branches, leaves and overflow, entries, root
TREE = [(0, "<I"), (4, "<H"), (6, "<H"), (8, "<Q"), (16, "<Q"), (24, "<Q"), (32, "<Q"), (40, "<Q")]
METAS = [(16, "<I"), (20, "<I"), (24, "<Q"), (32, "<Q"), *((s + at, f) for s in (FREE, MAIN) for at, f in TREE)]
METAS += [(136, "<Q"), (144, "<Q")]


def bad_pages(rng: random.Random, raw: bytes) -> bytes:
    """An LMDB with other numbers in its meta pages, pages or nodes, or some of its pages."""
    pages = len(raw) // PAGE
    match pick(rng, "meta meta page page page node node cut bytes swap zero grow"):
        case "meta":  # both of them, or only the one that counts more
            data = bytearray(raw)
            at, form = rng.choice(METAS)
            most = 2 ** (8 * struct.calcsize(form))
            new = integer(rng) % most
            for page in rng.choice([(0, 1), (0, 1), (0,), (1,)]):
                old = struct.unpack_from(form, data, page * PAGE + at)[0]
                value = new if rng.random() < 0.7 else (old + rng.choice([-1, 1, 2, 1000])) % most
                struct.pack_into(form, data, page * PAGE + at, value)
            return bytes(data)
        case "page" if pages > 2:
            start = rng.randrange(2, pages) * PAGE
            return patch(rng, raw, [(start, "<Q"), *((start + at, "<H") for at in (8, 10, 12, 14))])
        case "node" if pages > 2:
            start = rng.randrange(2, pages) * PAGE
            offsets = [(start + 16 + 2 * i, "<H") for i in range(4)]
            node = start + int.from_bytes(raw[start + 16 : start + 18], "little") % PAGE
            fields = [*offsets, *((node + at, "<H") for at in (0, 2, 4, 6)), (node + 8, "<Q")]
            return patch(rng, raw, [(at, form) for at, form in fields if at + struct.calcsize(form) <= len(raw)])
        case "cut":
            return raw[: rng.choice([rng.randrange(pages + 1) * PAGE, rng.randrange(len(raw) + 1), len(raw) - 1])]
        case "swap" if pages > 3:
            first, second = (rng.randrange(2, pages) * PAGE for _ in range(2))
            data = bytearray(raw)
            data[first : first + PAGE] = raw[second : second + PAGE]
            data[second : second + PAGE] = raw[first : first + PAGE]
            return bytes(data)
        case "zero":
            at = rng.randrange(pages) * PAGE
            return raw[:at] + bytes(PAGE) + raw[at + PAGE :]
        case "grow":
            return raw + bytes(rng.choice([1, PAGE, 10 * PAGE]))
    return damage(rng, raw, start=rng.choice([0, 16, 2 * PAGE]))


class Lmdb(Kind):
    """A folder with an LMDB."""

    name = "lmdb"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        pixels, floats = bytes(range(12)), np.arange(12, dtype="<f4").tobytes()
        small = [[(1, 3), (2, 2), (3, 2), (4, pixels), (5, i)] for i in range(6)]
        real = [[(1, 3), (2, 2), (3, 2), (6, floats), (5, i)] for i in range(6)]
        large = [[(1, 3), (2, 40), (3, 60), (4, bytes(7200)), (5, i)] for i in range(6)]
        image = next(raw for form, raw in Images().seeds() if form == "png")
        encoded = [[(4, image), (5, i), (7, 1)] for i in range(4)]
        many = [[(1, 1), (2, 4), (3, 4), (4, bytes(16)), (5, i)] for i in range(300)]
        sets = [small, real, large, encoded, many]
        keyed = [[(b"%08d" % i, fields) for i, fields in enumerate(one)] for one in sets]
        return [(records, lmdb_of([(key, datum(fields)) for key, fields in records])) for records in keyed]

    def good(self, seed):
        return Case({"set/data.mdb": seed[1]})

    def mutate(self, rng, seed):
        records, raw = seed
        if rng.random() < 0.02:
            case = make_special(rng, self.good(seed))
            case.files["set/lock.mdb"] = rng.randbytes(100)
            return case
        if rng.random() < 0.6 or len(records) > 100:
            return Case({"set/data.mdb": bad_pages(rng, raw)}, {"file": rng.random() < 0.1})
        packed = [(key, datum(fields)) for key, fields in records]
        at = rng.randrange(len(records))
        key, fields = records[at]
        if fields[0][0] == 4 and rng.random() < 0.5:
            fields = [(4, bad_image(rng, "png", fields[0][1])), *fields[1:]]
            packed[at] = key, datum(fields)
        else:
            packed[at] = key, bad_datum(rng, fields)
        if rng.random() < 0.1:
            packed[at] = rng.choice([b"\xff\xfe", b"x" * 500, b"\0", b"\n\n"]), packed[at][1]
        return Case({"set/data.mdb": lmdb_of(packed, named=rng.random() < 0.03)})

    def passes_first_check(self, case):
        raw = case.files.get("set/data.mdb", b"")
        return len(raw) >= 2 * PAGE and raw[16:24] == struct.pack("<II", 0xBEEFC0DE, 1) == raw[PAGE + 16 : PAGE + 24]

    def execute(self, case, folder):
        source = "set/data.mdb" if case.what.get("file") else "set"
        read_batches({"type": "Data", "source": source, "backend": "LMDB", "batch_size": 1}, folder, batches=6)

    def command(self, case):
        Path("net.yaml").write_text(str(data_spec({"type": "Data", "source": "set", "batch_size": 1})))
        return ["check", "net.yaml"]

    def names(self, case):
        return ["set"]


# HDF5


def hdf5(fill: Any, **options: Any) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def _plain(file: Any) -> None:
    file["data"], file["label"] = np.arange(12.0).reshape(6, 2), np.arange(6)


def _chunked(file: Any) -> None:
    file.create_dataset("data", data=np.arange(240.0).reshape(6, 40), chunks=(2, 10), compression="gzip", shuffle=True)
    file.create_dataset("label", data=np.arange(6), chunks=(3,), maxshape=(None,), fletcher32=True)


ODD_TYPES = ["S5", "f2", "c8", "?", "V3", ">i8", "f8", [("a", "f4"), ("b", "i4")], ("f4", (2, 2))]


ODD_DATASETS = ["group", "soft", "external", "empty", "scalar", "odd", "text", "vlen", "huge", "wide", "rows", "zero"]
ODD_DATASETS += ["virtual", "raw", "loop", "enum", "ref", "cycle"]


def odd_dataset(rng: random.Random, file: Any, name: str) -> None:
    """Something else under this name."""
    import h5py

    match rng.choice(ODD_DATASETS):
        case "group":
            file.create_group(name)
        case "soft":
            file[name] = h5py.SoftLink(rng.choice(["/nothing", "/", ".", "/data", "x/y"]))
        case "external":
            target = rng.choice(["nothing.h5", "a.h5", "files.txt", "/dev/zero", "/etc/passwd", ".", "b.h5"])
            file[name] = h5py.ExternalLink(target, rng.choice(["/data", "/", "x"]))
        case "empty":
            file[name] = h5py.Empty("f4")
        case "scalar":
            file[name] = 5.0
        case "odd":
            file[name] = np.zeros(6, np.dtype(rng.choice(ODD_TYPES)))
        case "text":
            file[name] = ["a", "b"]
        case "vlen":
            file.create_dataset(name, (6,), h5py.vlen_dtype(np.float32))
        case "huge":  # more rows than there can be, none of them written
            size = rng.choice([2**20, 2**31, 2**40, 2**62])
            file.create_dataset(name, (size, *rng.choice([(), (2,)])), "f4", chunks=True)
        case "wide":  # rows that fill the memory
            file.create_dataset(name, (6, rng.choice([2**20, 2**27, 2**30, 2**40])), "f4", chunks=(1, 1000))
        case "rows":
            file[name] = np.zeros((rng.choice([1, 5, 7]), 2))
        case "zero":
            file.create_dataset(name, rng.choice([(0,), (0, 2), (6, 0), (0, 2**40)]), "f4")
        case "virtual":
            layout = h5py.VirtualLayout((6, 2), "f8")
            layout[:] = h5py.VirtualSource(rng.choice(["nothing.h5", ".", "a.h5", "/dev/zero"]), name, (6, 2))
            file.create_virtual_dataset(name, layout, fillvalue=rng.choice([0, np.nan]))
        case "raw":
            target = rng.choice([b"nothing", b"files.txt", b"/dev/zero", b"/etc/passwd"])
            file.create_dataset(name, (6, 2), "f8", external=[(target, 0, h5py.h5f.UNLIMITED)])
        case "loop":
            file["g/" + name] = file["/"]
            file[name] = h5py.SoftLink("/g/" + name)
        case "cycle":
            file[name] = h5py.SoftLink("/" + name)
        case "enum":
            file.create_dataset(name, data=[0, 1] * 3, dtype=h5py.enum_dtype({"a": 0, "b": 1}, "i4"))
        case "ref":
            file.create_dataset(name, (6,), h5py.ref_dtype)


HDF5_LIST = "files.txt"


class Hdf5(Kind):
    """HDF5 files named in a list."""

    name = "hdf5"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        return [hdf5(_plain), hdf5(_chunked), hdf5(_plain, libver="latest"), hdf5(_chunked, libver="latest")]

    def good(self, seed):
        return Case({HDF5_LIST: b"a.h5\nb.h5\n", "a.h5": seed, "b.h5": seed})

    def mutate(self, rng, seed):
        case = self.good(seed)
        if rng.random() < 0.02:
            return make_special(rng, case)
        if rng.random() < 0.5:
            case.files["a.h5"] = damage(rng, seed, 2, start=rng.choice([0, 8, 100, 500]))
        else:

            def fill(file: Any) -> None:
                rng.choice([_plain, _chunked])(file)
                name = rng.choice(["data", "label"])
                del file[name]
                if rng.random() < 0.95:
                    odd_dataset(rng, file, name)

            case.files["a.h5"] = hdf5(fill)
        if rng.random() < 0.7:
            case.files[HDF5_LIST] = b"a.h5\n"
            del case.files["b.h5"]
        return case

    def passes_first_check(self, case):
        return all(raw.startswith(b"\x89HDF\r\n\x1a\n") for name, raw in case.files.items() if name.endswith("h5"))

    def execute(self, case, folder):
        read_batches({"type": "HDF5Data", "source": HDF5_LIST, "batch_size": 2}, folder, batches=3)

    def command(self, case):
        Path("net.yaml").write_text(str(data_spec({"type": "HDF5Data", "source": HDF5_LIST, "batch_size": 2})))
        return ["check", "net.yaml"]
