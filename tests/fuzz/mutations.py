"""Ways to damage bytes, text and nested data."""

from __future__ import annotations

import copy
import math
import random
import struct
from typing import Any

INTEGERS = [0, 1, 2, 3, 5, 7, 8, 9, 127, 128, 255, 256, 4095, 4096, 65535, 65536, 10**6, 2**31 - 1, 2**31]
INTEGERS += [2**32 - 1, 2**32, 10**10, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -(2**31), -(2**63)]


def pick(rng: random.Random, words: str) -> str:
    """One of several words; one that is listed twice, twice as often."""
    return rng.choice(words.split())


def integer(rng: random.Random) -> int:
    """A number on which readers stumble, or any small one."""
    return rng.choice(INTEGERS) if rng.random() < 0.7 else rng.randrange(300)


def pack(rng: random.Random, size: int) -> bytes:
    """Such a number in this many bytes."""
    number = integer(rng) % 256**size
    return number.to_bytes(size, rng.choice(["little", "big"]))


def damage(rng: random.Random, raw: bytes, times: int = 3, start: int = 0, end: int | None = None) -> bytes:
    """Bytes flipped, overwritten, cut off, removed, inserted or doubled, one to ``times`` times, within a range."""
    head, tail = raw[:start], b"" if end is None else raw[end:]
    data = bytearray(raw[start:end])
    for _ in range(rng.randint(1, times)):
        at, size = rng.randrange(len(data) + 1), rng.choice([1, 1, 2, 4, 8, 16, 100])
        match pick(rng, "flip flip flip set number number zero cut take put double"):
            case "flip" if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case "set" if at < len(data):
                data[at] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
            case "number":
                size = rng.choice([1, 2, 4, 8])
                at -= at % size if rng.random() < 0.5 else 0
                if at + size <= len(data):
                    data[at : at + size] = pack(rng, size)
            case "zero":
                data[at : at + size] = bytes(len(data[at : at + size]))
            case "cut":
                del data[at:]
            case "take":
                del data[at : at + size]
            case "put":
                data[at:at] = rng.randbytes(size)
            case "double":
                data[at:at] = data[at : at + size]
    return head + bytes(data) + tail


def patch(rng: random.Random, raw: bytes, places: list[tuple[int, str]]) -> bytes:
    """One or two fields, each an offset and a format of ``struct``, get other numbers."""
    data = bytearray(raw)
    for at, form in rng.sample(places, min(len(places), rng.choice([1, 1, 1, 2]))):
        size = struct.calcsize(form)
        old = struct.unpack_from(form, data, at)[0]
        new = rng.choice([integer(rng), old + 1, old - 1, old * 2, old ^ 1 << rng.randrange(8 * size)])
        data[at : at + size] = (new % 256**size).to_bytes(size, "big" if form[0] == ">" else "little")
    return bytes(data)


# Texts

WORDS = ["1_0", "١", "٣.٥", "1e400", "-1e400", "nan", "inf", "-Infinity", "NaN", "1e5", "0x10", "1.", ".5"]
WORDS += ["+3", "--3"]
WORDS += ["", " ", "#", "label", "train", "\N{SNOWMAN}", "é", "\0", "\x1b[31m", "\ufeff", "\u202e", "\x85", "\u2028"]
WORDS += ["9" * 30, "9" * 400, "9" * 5000, "1/2", "1,5", "'", '"', '"1', '"a""b"', "x" * 300, "$x_1^$", "%s", "{}"]
MARKS = [",", ";", " ", "\t", "\n", "\r", "\r\n", "\n\n", '"', "'", "\\", "-", "+", ".", "e", "_", "/", "../", "\0"]


def word(rng: random.Random) -> str:
    """A word on which readers of numbers or names stumble, or a number."""
    return rng.choice(WORDS) if rng.random() < 0.6 else str(integer(rng))


def edit_text(rng: random.Random, text: str, separators: str = " \t\n,", times: int = 3) -> str:
    """Words, lines and marks replaced, doubled, removed, moved."""
    for _ in range(rng.randint(1, times)):
        at = rng.randrange(len(text) + 1)
        match pick(rng, "word word word put take double line swap cut marks"):
            case "word":
                ends = [i for i, letter in enumerate(text) if letter in separators]
                first = rng.choice([-1, *ends]) + 1
                last = next((i for i in ends if i >= first), len(text))
                text = text[:first] + word(rng) + text[last:]
            case "put":
                text = text[:at] + word(rng) + text[at:]
            case "take":
                text = text[:at] + text[at + rng.choice([1, 1, 2, 10]) :]
            case "double":
                text = text[:at] + text[max(0, at - rng.choice([1, 5, 50])) :]
            case "line" | "swap" as what:
                lines = text.split("\n")
                i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
                if what == "swap":
                    lines[i], lines[j] = lines[j], lines[i]
                else:
                    lines.insert(j, lines[i])
                text = "\n".join(lines)
            case "cut":
                text = text[:at]
            case "marks":
                text = text[:at] + rng.choice(MARKS) + text[at:]
    return text


def encode(rng: random.Random, text: str) -> bytes:
    """The text in bytes, now and then in another encoding or with slips."""
    chance = rng.random()
    if chance < 0.03:
        return text.encode("utf-16", "surrogatepass")
    if chance < 0.06:
        return text.encode("latin1", "replace")
    raw = text.encode("utf-8", "surrogatepass")
    return damage(rng, raw, 2) if chance < 0.15 else raw


# Nested data

SCALARS = [None, True, False, 0, 1, -1, 3, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0.5, -0.0, 1e300, 1e-300]
SCALARS += [math.nan, math.inf, -math.inf, "", "x", "1", "é", "\ud800", "\0", "TRAIN", "a" * 1000]


def junk(rng: random.Random, depth: int = 0) -> Any:
    """Something that does not belong there."""
    if depth > 2 or rng.random() < 0.75:
        return rng.choice(SCALARS)
    inner = [junk(rng, depth + 1) for _ in range(rng.randrange(4))]
    return inner if rng.random() < 0.5 else {str(rng.choice(["iter", "epoch", "x", "best"])): item for item in inner}


def places(data: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in nested data."""
    found = []
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            found.append((data, key))
            found += places(data[key])
    return found


def change_data(rng: random.Random, data: Any, times: int = 2) -> Any:
    """A copy with things dropped, renamed, retyped, replaced, added, nested."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, times)):
        found = places(data)
        if not found:
            return junk(rng)
        # What is shallow counts as much as what is deep, in lists of a thousand numbers
        holders = list({id(box): box for box, _ in found}.values())
        box = rng.choice(holders)
        key = rng.choice(list(box)) if isinstance(box, dict) else rng.randrange(len(box)) if box else None
        if key is None:
            box.append(junk(rng))
            continue
        match pick(rng, "drop retype retype replace replace replace rename add wrap"):
            case "drop":
                del box[key]
            case "retype":
                box[key] = retyped(rng, box[key])
            case "replace":
                box[key] = junk(rng)
            case "rename" if isinstance(box, dict):
                box[rng.choice(["x", "", str(key) + "s", "iter", "0"])] = box.pop(key)
            case "add":
                box.insert(key, junk(rng)) if isinstance(box, list) else box.update({"more": junk(rng)})
            case "wrap":
                for _ in range(rng.choice([1, 1, 1, 50, 200])):
                    box[key] = [box[key]]
    return data


def retyped(rng: random.Random, value: Any) -> Any:
    """Nearly the same value."""
    if isinstance(value, bool) or value is None:
        return rng.choice([0, "true", [], 1.5])
    if isinstance(value, int | float):
        if abs(value) > 1e300:  # too large to calculate with
            return rng.choice([[value], integer(rng), math.inf])
        return rng.choice([-value, value + 1, value * 2, float(value), str(value), [value], integer(rng), value / 3])
    if isinstance(value, str):
        return rng.choice([value.upper(), value + "x", value[:-1], [value], 0])
    if isinstance(value, list):
        return rng.choice([value * 2, value[:-1], dict(enumerate(map(str, value[:5]))), len(value), value[::-1]])
    return rng.choice([list(value), list(value.values()), str(list(value)[:3]), {}])
