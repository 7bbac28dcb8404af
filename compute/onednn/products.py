"""Matrix products by oneDNN's sgemm, cut into pieces for the threads as those of ``compute/blas``."""

from __future__ import annotations

import ctypes

import numpy as np

from ..blas import AS_IT_IS, cuts_of, layout_of
from ..stages import Stage, Work
from .library import UnimplementedError, library


def product(
    a: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    add: bool = False,
    bias: np.ndarray | None = None,
) -> Stage:
    """The stage of out = a b, or out += a b, of matrices in single precision; ``bias`` is added to each row.

    Raises UnimplementedError for a matrix that lies neither row by row nor column by column.
    """
    if bias is None and out.strides[0] == out.itemsize and out.strides[1] != out.itemsize:
        a, b, out = b.T, a.T, out.T
    tasks: list[list[Work]] = []
    for rows, columns in cuts_of(*out.shape, a.shape[1], rather_rows=1):
        piece = out[rows, columns]
        tasks.append([_piece(a[rows], b[:, columns], piece, add)])
        if bias is not None:
            tasks[-1].append((np.add, (piece, bias[columns], piece)))
    return Stage(tasks, work=out.size * a.shape[1])


def _piece(a: np.ndarray, b: np.ndarray, out: np.ndarray, add: bool) -> Work:
    layouts = [layout_of(matrix) for matrix in (a, b, out)]
    if None in layouts or layouts[2][0] != AS_IT_IS:  # type: ignore[index]
        raise UnimplementedError("a product of matrices that lie in another order")
    (a_order, a_step), (b_order, b_step), (_, out_step) = layouts  # type: ignore[misc]
    letters = [ctypes.c_char(b"N" if order == AS_IT_IS else b"T") for order in (a_order, b_order)]
    sizes = map(ctypes.c_int64, (*out.shape, a.shape[1]))
    pointers = [ctypes.c_void_p(matrix.ctypes.data) for matrix in (a, b, out)]
    steps = list(map(ctypes.c_int64, (a_step, b_step, out_step)))
    one, beta = ctypes.c_float(1), ctypes.c_float(add)
    arguments = (*letters, *sizes, one, pointers[0], steps[0], pointers[1], steps[1], beta, pointers[2], steps[2])
    return library().sgemm, arguments
