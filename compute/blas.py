"""Matrix products and sums of vectors, where BLAS is faster than numpy can ask it to be.

A large product is cut into pieces by shapes alone, and OpenBLAS takes the pieces as a batch, each of them in one
thread: the same bits with any number of threads, and its threads, which stay awake for a while, start at once.
Without OpenBLAS numpy does the same on nettrain's own threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from . import openblas, parallel
from .parallel import scratch

# pieces of a product, and the multiply-adds above which they are worth it: each piece packs what all share
PIECES = ((8, 1 << 28), (4, 1 << 25), (2, 1 << 22))
ALIGNED = 8  # rows or columns that BLAS computes together
# Kernels that compute a product of this few multiply-adds without packing its matrices first, which takes longer than
# the product when there are few rows. If b is transposed, the output may have only so many values. Batches of OpenBLAS
# 0.3.31 crash on such a product (seen with 64 x 784 x 16): each of the PIECES above is larger.
UNPACKED, UNPACKED_VALUES = 10**6, 1200
UNPACKING_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
LETTERS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}
ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray, add: bool = False) -> None:
    """out = a b, or out += a b, of matrices of one dtype; on all threads."""
    cuts = cuts_of(*out.shape, a.shape[1])
    if len(cuts) == 1:
        _piece(a, b, out, add)
        return
    if out.strides[0] == out.itemsize:
        a, b, out = b.T, a.T, out.T
        cuts = cuts_of(*out.shape, a.shape[1])
    call = openblas.function(f"cblas_{LETTERS[out.dtype]}gemm_batch") if out.dtype in LETTERS else None
    layouts = (layout_of(a), layout_of(b), layout_of(out))
    if call is None or None in layouts or layouts[2] != (AS_IT_IS, out.strides[0] // out.itemsize):
        parallel.run(lambda i: _piece(a[cuts[i][0]], b[:, cuts[i][1]], out[cuts[i]], add), len(cuts))
        return
    addresses = tuple(array.__array_interface__["data"][0] for array in (a, b, out))
    arguments = _arguments(out.dtype, *out.shape, a.shape[1], addresses, layouts, add)
    with parallel.blas_threads():
        call(*arguments)


def _piece(a, b, out, add):
    if add:
        out += np.matmul(a, b, out=scratch("product to add", out.shape, out.dtype))
    else:
        np.matmul(a, b, out=out)


def step_product(b: np.ndarray, out: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function of a that computes out = a b and returns out, within one thread: for a few rows, step after step."""
    (rows, columns), k = out.shape, len(b)
    transposed = b.strides[0] == b.itemsize and b.strides[1] != b.itemsize
    width = min(UNPACKED // max(1, rows * k), UNPACKED_VALUES // max(1, rows) if transposed else columns)
    pieces = next((p for p in range(1, columns + 1) if columns % p == 0 and columns // p <= width), columns)
    if columns // pieces < 2 * ALIGNED or openblas.kernels() not in UNPACKING_KERNELS:
        pieces = 1
    b_pieces = b.reshape(k, pieces, columns // pieces).transpose(1, 0, 2)
    out_pieces = out.reshape(rows, pieces, columns // pieces).transpose(1, 0, 2)

    def multiply(a: np.ndarray) -> np.ndarray:
        np.matmul(a, b_pieces, out=out_pieces)
        return out

    return multiply


@lru_cache(maxsize=4096)
def cuts_of(m: int, n: int, k: int, rather_rows: int = 2) -> list[tuple[slice, slice]]:
    """The rows and columns of out for each piece: rows unless there are ``rather_rows`` times as many columns."""
    longer = max(m, n) if min(m, n, k) > 1 else 0  # vectors are not for batches
    pieces = next((pieces for pieces, least in PIECES if m * n * k >= least and longer >= 32 * pieces), 1)
    size = m if rather_rows * m >= n else n  # OpenBLAS packs a piece of columns more slowly
    ends = [size * i // pieces // ALIGNED * ALIGNED for i in range(pieces)] + [size]
    parts = [slice(*pair) for pair in pairwise(ends)]
    whole = slice(None)
    return [(part, whole) if size == m else (whole, part) for part in parts]


def layout_of(array: np.ndarray) -> tuple[int, int] | None:
    """Whether BLAS sees the matrix transposed, and the step from one of its lines to the next; None for neither."""
    (rows, columns), (down, right), size = array.shape, array.strides, array.itemsize
    if right == size and down >= columns * size and down % size == 0:
        return AS_IT_IS, down // size
    if down == size and right >= rows * size and right % size == 0:
        return TRANSPOSED, right // size
    return None


@lru_cache(maxsize=4096)
def _arguments(dtype: np.dtype, m: int, n: int, k: int, addresses: Any, layouts: Any, add: bool) -> tuple[Any, ...]:
    """What cblas_?gemm_batch takes: each piece is a group of one product."""
    cuts, integer = cuts_of(m, n, k), ctypes.c_int64
    number = ctypes.c_float if dtype.itemsize == 4 else ctypes.c_double
    count = len(cuts)

    def each(kind, values):
        values = list(values)
        return (kind * count)(*(values if len(values) == count else values * count))

    def pointers(which, down, right):
        """Where the matrix begins for each piece, when it is cut along its rows or its columns."""
        order, step = layouts[which]
        steps = (step, 1) if order == AS_IT_IS else (1, step)
        starts = (((rows.start or 0) * down, (columns.start or 0) * right) for rows, columns in cuts)
        return [addresses[which] + dtype.itemsize * (r * steps[0] + c * steps[1]) for r, c in starts]

    heights = [len(range(m)[rows]) for rows, _ in cuts]
    widths = [len(range(n)[columns]) for _, columns in cuts]
    (a_order, a_step), (b_order, b_step), (_, out_step) = layouts
    return (
        ctypes.c_int(ROW_MAJOR),
        each(ctypes.c_int, [a_order]),
        each(ctypes.c_int, [b_order]),
        each(integer, heights),
        each(integer, widths),
        each(integer, [k]),
        each(number, [1]),
        each(ctypes.c_void_p, pointers(0, 1, 0)),
        each(integer, [a_step]),
        each(ctypes.c_void_p, pointers(1, 0, 1)),
        each(integer, [b_step]),
        each(number, [float(add)]),
        each(ctypes.c_void_p, pointers(2, 1, 1)),
        each(integer, [out_step]),
        integer(count),
        each(integer, [1]),
    )


def axpby(alpha: float, x: np.ndarray, beta: float, y: np.ndarray) -> None:
    """y = alpha x + beta y, of vectors in one piece."""
    letter = LETTERS.get(y.dtype)
    call = openblas.function(f"cblas_{letter}axp" + ("y" if beta == 1 else "by"))
    if call is None:
        if beta != 1:
            y *= beta
        y += np.multiply(x, alpha, out=scratch("axpby", y.shape, y.dtype))
        return
    number = ctypes.c_float if letter == "s" else ctypes.c_double
    pointers = [ctypes.c_void_p(array.__array_interface__["data"][0]) for array in (x, y)]
    size, one = ctypes.c_int64(y.size), ctypes.c_int64(1)
    more = () if beta == 1 else (number(beta),)
    call(size, number(alpha), pointers[0], one, *more, pointers[1], one)
