"""Image files named in a list of ImageData: PNG, JPEG, BMP, GIF, TIFF, WebP, PPM."""

from __future__ import annotations

import contextlib
import functools
import io
import random
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np

from .arrays import zeros_packed
from .kinds import Case, Kind, data_spec, make_special, read_batches
from .mutations import damage, integer, patch, pick

PNG = b"\x89PNG\r\n\x1a\n"


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with the lengths and checksums of its chunks."""
    parts = [PNG]
    for kind, body in chunks:
        parts += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
    return b"".join(parts)


def split_png(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a good PNG."""
    chunks, at = [], 8
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "big")
        chunks.append((raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def bad_png(rng: random.Random, raw: bytes) -> bytes:
    """A PNG with other chunks; their checksums are right."""
    chunks = split_png(raw)
    header = chunks[0][1]
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(chunks))
        kind, body = chunks[at]
        match pick(
            rng,
            "header header header body pixels drop twice swap rename add bomb wide" + " large" * (rng.random() < 0.1),
        ):
            case "header" if len(header) == 13:
                header = patch(rng, header, [(0, ">I"), (4, ">I"), *((i, ">B") for i in range(8, 13))])
                chunks[0] = b"IHDR", header
            case "body" if body:
                chunks[at] = kind, damage(rng, body)
            case "pixels":  # well packed, of another length or with filters that do not exist
                pixels = rng.choice([b"", bytes(10), rng.randbytes(200), bytes(10_000), b"\xff" * 300])
                chunks = [c if c[0] != b"IDAT" else (b"IDAT", zlib.compress(pixels)) for c in chunks]
            case "drop" if len(chunks) > 1:
                del chunks[at]
            case "twice":
                chunks.insert(rng.randrange(len(chunks) + 1), chunks[at])
            case "swap":
                other = rng.randrange(len(chunks))
                chunks[at], chunks[other] = chunks[other], chunks[at]
            case "rename":
                chunks[at] = rng.choice([b"IDAT", b"PLTE", b"IEND", b"abCd", b"ABCD", b"\0\0\0\0", b"IHDR"]), body
            case "add":
                packed = zlib.compress(bytes(rng.choice([0, 100, 10**6])))
                body = rng.choice([b"", rng.randbytes(20), bytes(300), b"k\0\0" + packed, b"k\0\1\0\0\0" + packed])
                name = pick(rng, "PLTE tRNS gAMA iCCP tEXt zTXt iTXt eXIf acTL fcTL pHYs").encode()
                chunks.insert(rng.randrange(len(chunks) + 1), (name, body))
            case "bomb":  # a string, or pixels, of many megabytes
                body = rng.choice([b"k\0\0", b""]) + b"\x78\x9c" + zeros_packed(400)
                chunks.insert(1, (rng.choice([b"zTXt", b"iCCP", b"IDAT"]), body))
            case "wide":  # an image of this many pixels, packed well
                sizes = rng.choice([(10_000, 10_000), (8_000, 8_000), (20_000, 8_900), (1, 10**8), (2**31 - 1, 1)])
                header = struct.pack(">II", *sizes) + bytes([rng.choice([8, 8, 16]), rng.choice([0, 2, 4, 6]), 0, 0, 0])
                chunks = [(b"IHDR", header), (b"IDAT", b"\x78\x9c" + zeros_packed(400)), (b"IEND", b"")]
            case "large":  # as many pixels as may be read, all there
                wide, high = rng.choice([(2240, 2230), (1 << 18, 19), (19, 1 << 18), (1 << 19, 9), (2_500_000, 2)])
                kind, depth = rng.choice([0, 2, 4, 6]), rng.choice([8, 8, 16])
                row = bytes(1 + wide * {0: 1, 2: 3, 4: 2, 6: 4}[kind] * depth // 8)
                header = struct.pack(">II", wide, high) + bytes([depth, kind, 0, 0, 0])
                chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row * high, 1)), (b"IEND", b"")]
    return png(chunks)


def jpeg_fields(raw: bytes) -> list[tuple[int, str]]:
    """Lengths, sizes and numbers of components in the segments of a JPEG."""
    fields, at = [], 2
    while at + 4 < len(raw) and raw[at] == 0xFF and raw[at + 1] != 0xDA:
        size = int.from_bytes(raw[at + 2 : at + 4], "big")
        fields += [(at + 1, ">B"), (at + 2, ">H")]
        if 0xC0 <= raw[at + 1] <= 0xC2:
            fields += [(at + 5, ">H"), (at + 7, ">H")] * 3
            fields += [(at + 4, ">B"), *((at + 9 + i, ">B") for i in range(size - 7))]
        at += 2 + size
    return fields


FIELDS = {
    "bmp": [(18, "<i"), (22, "<i")] * 3 + [(at, "<I") for at in (2, 10, 14, 30, 46)] + [(26, "<H"), (28, "<H")],
    "gif": [(6, "<H"), (8, "<H"), (10, ">B"), (11, ">B"), (12, ">B")],
    "webp": [(4, "<I"), (12, "<I"), (16, "<I"), (20, "<I"), (24, "<H"), (26, "<H"), (28, "<H")],
}


def bad_image(rng: random.Random, form: str, raw: bytes) -> bytes:
    if rng.random() < 0.2:
        return damage(rng, raw, start=rng.choice([0, 2, 8, 16]))
    match form:
        case "png":
            return bad_png(rng, raw)
        case "jpeg":
            return patch(rng, raw, jpeg_fields(raw))
        case "tiff":  # entries of 12 bytes: tag, type, count, value
            start = int.from_bytes(raw[4:8], "little")
            count = int.from_bytes(raw[start : start + 2], "little")
            entries = range(start + 2, start + 2 + 12 * count, 12)
            parts = ((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"))
            return patch(rng, raw, [(at + i, form) for at in entries for i, form in parts])
        case "ppm":
            head, rest = raw[:40].decode("latin1"), raw[40:]
            words = head.split("\n")
            words[rng.randrange(len(words))] = str(rng.choice([integer(rng), "x", "", "10000 10000", "0 0", "1e9"]))
            return "\n".join(words).encode("latin1") + rest
    return patch(rng, raw, [field for field in FIELDS[form] if field[0] + struct.calcsize(field[1]) <= len(raw)])


MAGIC = {"jpeg": b"\xff\xd8\xff", "bmp": b"BM", "gif": b"GIF8", "tiff": b"II*\0", "webp": b"RIFF", "ppm": b"P"}
LIST = "list.txt"


class Images(Kind):
    """A list of three images, one of which is damaged."""

    name = "images"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        from PIL import Image

        found = []
        for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16"):
            for form in ("png", "jpeg", "bmp", "gif", "tiff", "webp", "ppm"):
                buffer = io.BytesIO()
                pixels = np.arange(20, dtype=np.uint8).reshape(4, 5) * 9
                image = Image.fromarray(pixels.astype(np.uint16) if mode == "I;16" else pixels)
                image = image if mode == "I;16" else image.convert(mode)
                try:
                    image.save(buffer, form)
                except (OSError, ValueError):  # not every format has every mode
                    continue
                found.append((form, buffer.getvalue()))
        return found + [one for one in found if one[0] in ("png", "jpeg", "bmp")] * 3

    @functools.lru_cache  # noqa: B019
    def odd(self) -> list[tuple[str, bytes]]:
        """Of formats that pillow knows and few people do; it runs another program for eps."""
        from PIL import Image

        found = []
        for form in [
            "eps",
            "ico",
            "icns",
            "pcx",
            "tga",
            "sgi",
            "dds",
            "im",
            "msp",
            "spider",
            "xbm",
            "pdf",
            "mpo",
            "jpeg2000",
        ]:
            buffer = io.BytesIO()
            with contextlib.suppress(OSError, ValueError, KeyError):
                Image.new("1" if form in ("msp", "xbm") else "RGB", (16, 16)).save(buffer, form)
                found.append((form, buffer.getvalue()))
        return found

    def good(self, seed):
        return Case({LIST: b"b.png 1\na.img 0\n", "a.img": seed[1], "b.png": self.seeds()[0][1]}, {"form": seed[0]})

    def mutate(self, rng, seed):
        case = self.good(seed)
        if rng.random() < 0.03:
            form, raw = rng.choice(self.odd())
            case.files["a.img"] = rng.choice([raw, damage(rng, raw)])
            case.what["form"] = form
        else:
            case.files["a.img"] = bad_image(rng, *seed)
        if rng.random() < 0.5:
            case.files[LIST] = b"a.img 0\n"
        case.what["size"] = rng.choice([0, 0, 4])
        return make_special(rng, case) if rng.random() < 0.01 else case

    def passes_first_check(self, case):
        raw = case.files.get("a.img", b"")
        if case.what["form"] == "png":
            return raw[:8] == PNG and png(split_png(raw)) == raw
        return raw.startswith(MAGIC.get(case.what["form"], b""))

    def layer(self, case):
        size = case.what.get("size", 4)
        return {"type": "ImageData", "source": LIST, "batch_size": 1, "new_height": size, "new_width": size}

    def execute(self, case, folder):
        read_batches(self.layer(case), folder, batches=2)

    def command(self, case):
        Path("net.yaml").write_text(str(data_spec(self.layer(case))))
        return ["check", "net.yaml"]


def tar_of(members: list[tuple[str, bytes]], form: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def with_sums(raw: bytes) -> bytes:
    """A tar file whose headers have the right sums, as far as its sizes lead."""
    found, at = bytearray(raw), 0
    while at + 512 <= len(found) and any(found[at : at + 512]):
        head = found[at : at + 512]
        head[148:156] = b" " * 8
        found[at + 148 : at + 156] = b"%06o\0 " % sum(head)
        try:
            size = int(bytes(head[124:136]).rstrip(b"\0 ") or b"0", 8)
        except ValueError:
            break
        at += 512 + max(0, -(-size // 512) * 512)
    return bytes(found)


class Tars(Kind):
    """Pictures with labels in a tar file."""

    name = "tars"
    FILE = "x.tar"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        (_, one), (_, two) = [one for one in Kind.all["images"].seeds() if one[0] == "png"][:2]
        long = "deep/" * 40
        return [
            [("a.png", one), ("a.cls", b"1"), ("b.png", two), ("b.cls", b"0")],
            [("a.png", one), ("a.json", b'{"label": 1}'), ("b.png", two), ("b.json", b"2")],
            [(f"{long}a.png", one), (f"{long}a.cls", b"cat"), ("b.png", one), ("b.cls", b"dog"), ("read.me", b"x")],
        ]

    def good(self, seed):
        return Case({self.FILE: tar_of(seed, tarfile.GNU_FORMAT)}, {"size": 4})

    def mutate(self, rng, seed):
        if rng.random() < 0.02:
            return make_special(rng, self.good(seed))
        members, form = list(seed), rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
        long = any(len(name) > 100 for name, _ in members)
        form = tarfile.GNU_FORMAT if long and form == tarfile.USTAR_FORMAT else form
        k = rng.randrange(len(members))
        name, content = members[k]
        raw = tar_of(members, form)
        match pick(rng, "label name content drop twice header header header bytes cut"):
            case "label":
                labels = [
                    b"",
                    b"-1",
                    b"1e9",
                    b"{}",
                    b'{"cls": null}',
                    b"[" * 5000,
                    b"\xff",
                    b"9" * 5000,
                    b'{"cls": 1.5}',
                ]
                members[k] = rng.choice(["a.cls", "a.json", "b.cls"]), rng.choice(labels)
                raw = tar_of(members, form)
            case "name":
                members[k] = rng.choice(["", "/", "a", "../../a.png", ".png", "a.PNG", "a.b.png", "\x1b.png"]), content
                raw = tar_of(members, form)
            case "content":
                members[k] = name, damage(rng, content) if content else b"x"
                raw = tar_of(members, form)
            case "drop":
                raw = tar_of(members[:k] + members[k + 1 :], form)
            case "twice":
                raw = tar_of([*members, members[k]], form)
            case "header":
                heads = [at for at in range(0, len(raw) - 1024, 512) if raw[at + 257 : at + 262] == b"ustar"]
                at = rng.choice(heads)
                values = (b"%o" % (integer(rng) % 2**33), b"\x80" + bytes(3) + rng.randbytes(8), b"\xff" * 12, b"-1")
                field = rng.choice(
                    [(124, 12, rng.choice(values)), (156, 1, rng.choice([b"2", b"L", b"x", b"S", b"g", b"5"]))]
                )
                start, length, value = field
                place = at + start
                raw = with_sums(raw[:place] + value[:length].ljust(length, b"\0") + raw[place + length :])
            case "bytes":
                raw = with_sums(damage(rng, raw))
            case "cut":
                raw = raw[: rng.randrange(len(raw))]
        return Case({self.FILE: raw}, {"size": rng.choice([0, 4])})

    def passes_first_check(self, case):
        try:
            with tarfile.open(fileobj=io.BytesIO(case.files.get(self.FILE, b"")), mode="r:") as tar:
                return bool(tar.getmembers())
        except (tarfile.TarError, ValueError, OverflowError):
            return False

    def layer(self, case):
        size = case.what.get("size")
        return {"type": "Data", "source": self.FILE, "batch_size": 2} | ({"size": size} if size else {})

    def execute(self, case, folder):
        read_batches(self.layer(case), folder, batches=2)

    def command(self, case):
        Path("net.yaml").write_text(str(data_spec(self.layer(case))))
        return ["check", "net.yaml"]
