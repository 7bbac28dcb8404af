"""Numbers in the bytes of a text, many at once, each the very float64 that Python's float() makes of it.

A cell is at most 19 digits with or without a point, which are three words of 8 bytes. The digits of a word become a
number in three steps (pairs, fours, all eight), for a whole column in one go. With m for all digits and f digits after
the point the value is m / 10**f: both are exact up to 2**53, or to 2**64 where long doubles have 64 bits, and then the
quotient is rounded once. Rounded to 64 bits and again to 53 it is the same unless the first result lies half-way
between two float64; those, exponents and whatever else is left to the caller.
"""

from __future__ import annotations

import numpy as np

MARGIN = 24  # bytes that must lie before the first cell
_WORDS = MARGIN // 8
_MOST = 19  # characters without a sign: what they hold is below 2**64
_ALL = (1 << 64) - 1


def _bytes(value: int) -> np.uint64:
    """A word of eight such bytes."""
    return np.uint64(value * 0x0101010101010101)


_TENS = np.array([10**i for i in range(_MOST + 1)], np.uint64)
_LESS = np.array([0, *(9 * 10**i for i in range(_MOST))], np.uint64)  # 10**n - 10**(n - 1)
# what is divided by, by the characters from the point on: 0 without one, 1 for 1.
_FLOATS, _LONGS = (np.array([1, *_TENS[:-1].tolist()], kind) for kind in (float, np.longdouble))
_EXACT = np.uint64(1 << 53)
_HAS_LONG = np.finfo(np.longdouble).nmant == 63
# of the word that ends k words before a cell's end, those of its bytes that belong to a cell of n characters
_INSIDE = np.array(
    [[_ALL ^ ((1 << 8 * min(8, max(0, 8 * (k + 1) - n))) - 1) for n in range(_MOST + 1)] for k in range(_WORDS)],
    np.uint64,
)
# times a word with one bit, that of byte b, this has in its highest byte the characters from there to the cell's end
_AFTER = [np.uint64(sum((8 * (k + 1) - b) << 8 * (7 - b) for b in range(8))) for k in range(_WORDS)]
_1, _4, _8, _16, _32, _56 = (np.uint64(count) for count in (1, 4, 8, 16, 32, 56))
_ZEROS, _ONES, _FULL, _HIGH = _bytes(ord("0")), _bytes(1), np.uint64(255), _bytes(0x80)
_POINT, _COMMA = np.uint64(ord(".") ^ ord("0")), np.uint64(ord(",") ^ ord("."))
_PAIRS, _FOURS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_OVER = _bytes(0x80 - 10)  # added to a byte of 10 or more it sets the highest bit


def parse(text: np.ndarray, starts: np.ndarray, ends: np.ndarray, comma: bool) -> tuple[np.ndarray, np.ndarray]:
    """The numbers in the cells of ``text`` (bytes) that start and end at these places, and which of them are not of
    the kind that is read here; their values mean nothing. ``comma``: 1,5 is a number too."""
    first = text[starts]
    minus = first == ord("-")
    length = ends - starts
    length -= minus | (first == ord("+"))
    odd = (length < 1) | (length > _MOST)
    length[odd] = 1
    most = int(length.max(initial=1))
    if most <= 8:
        values, other = _one_word(text, ends, length, comma)
    elif length.min() > 8:
        values, other = _several_words(text, ends, length, comma)
    else:  # of long ones the last eight characters, which does no harm
        values, other = _one_word(text, ends, np.minimum(length, 8), comma)
        rows = np.flatnonzero(length > 8)
        values[rows], other[rows] = _several_words(text, ends[rows], length[rows], comma)
    np.negative(values, out=values, where=minus)
    return values, odd | other


def _one_word(text: np.ndarray, ends: np.ndarray, length: np.ndarray, comma: bool) -> tuple[np.ndarray, np.ndarray]:
    """As ``parse``, of cells without a sign and of up to 8 characters."""
    word = _word(text, ends, length, 0)
    point, bad = _points(word, comma, is_last=True)
    bad |= point & (point - _1)  # a second one
    has_point = point != 0
    word += (word & (point - has_point)) * _FULL  # digits before the point take its place
    odd = (bad != 0) | (has_point & (length == 1))
    after = (point * _AFTER[0]) >> _56
    after[odd] = 0
    values = _eight_digits(word).view(np.int64).astype(float)
    values /= _FLOATS[after]
    return values, odd


def _several_words(
    text: np.ndarray, ends: np.ndarray, length: np.ndarray, comma: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The same of longer cells, which may also be shorter."""
    digits, points, after, bad = (np.zeros(len(ends), np.uint64) for _ in range(4))
    for k in reversed(range(-(-int(length.max()) // 8))):
        word = _word(text, ends, length, k)
        point, other = _points(word, comma, is_last=k == 0)
        bad |= other
        points += (point * _ONES) >> _56
        after += (point * _AFTER[k]) >> _56
        digits *= _TENS[8]
        digits += _eight_digits(word)
    odd = (bad != 0) | (points > 1)
    after[odd] = 0
    if after.any():  # the point was a digit 0 so far
        digits -= digits // _TENS[after] * _LESS[after]
    values = digits.view(np.int64).astype(float)
    values /= _FLOATS[after]
    large = np.flatnonzero((digits > _EXACT) & ~odd)
    if len(large):
        odd[large] |= ~_divide(digits[large], after[large], values, large)
    return values, odd


def _word(text: np.ndarray, ends: np.ndarray, length: np.ndarray, k: int) -> np.ndarray:
    """The word that ends k words before each cell's end: 0 to 9 in the bytes of its digits, 0 in those before it."""
    word = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))[ends - 8 * (k + 1)]
    word ^= _ZEROS
    word &= _INSIDE[k][length]
    return word


def _points(word: np.ndarray, comma: bool, is_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """1 in each byte of a word that is a decimal point, which becomes a digit 0; and what is not 0 in words with
    anything but digits and points, or with a comma at a cell's end: 1. is a number, 1, is not."""
    point = word >> _4  # of digits and points, only points have this bit
    point &= _ONES
    inside = point * _FULL
    inside &= word
    word ^= inside
    inside ^= point * _POINT
    bad = ((word + _OVER) | word) & _HIGH
    if comma:
        commas = inside & (point * _COMMA)
        inside ^= commas
        if is_last:
            bad |= commas >> _56
    bad |= inside
    return point, bad


def _divide(digits: np.ndarray, after: np.ndarray, values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Write quotients of more than 53 bits; returns which of them are right."""
    if not _HAS_LONG:
        return np.zeros(len(where), bool)
    quotient = digits.astype(np.longdouble) / _LONGS[after]
    rounded = quotient.astype(float)
    values[where] = rounded
    half = np.spacing(rounded) / 2
    off = np.abs(quotient - rounded)
    return (off != half) & (off != half / 2)  # a quarter: below a power of two they are twice as dense


def _eight_digits(word: np.ndarray) -> np.ndarray:
    """The number whose digits are the bytes of a word, the lowest byte first."""
    word = word * np.uint64(10 * 256 + 1)
    word >>= _8
    word &= _PAIRS
    word *= np.uint64(100 * 65536 + 1)
    word >>= _16
    word &= _FOURS
    word *= np.uint64(10000 * (1 << 32) + 1)
    word >>= _32
    return word
