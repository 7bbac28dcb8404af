"""Functions of single numbers that several layers use, on arrays that fit the cache.

Each writes into ``out`` and takes its intermediate results from scratch memory; none can overflow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial.chebyshev import cheb2poly

from .parallel import scratch


def sigmoid(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), as (tanh(x/2) + 1) / 2."""
    np.multiply(x, 0.5, out=out)
    np.tanh(out, out=out)
    out *= 0.5
    out += 0.5
    return out


def exp_of_minus_abs(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """exp(-|x|), between 0 and 1."""
    np.abs(x, out=out)
    np.negative(out, out=out)
    return np.exp(out, out=out)


_zeros: dict[np.dtype, np.ndarray] = {}


def zeros_like(x: np.ndarray) -> np.ndarray:
    """Zeros in x's shape, to be read only. The minimum or maximum with a number takes twice as long."""
    kept = _zeros.get(x.dtype)
    if kept is None or kept.size < x.size:
        kept = _zeros[x.dtype] = np.zeros(x.size, x.dtype)
        kept.flags.writeable = False
    return kept[: x.size].reshape(x.shape)


def positive_part(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """max(x, 0)"""
    return np.maximum(x, zeros_like(x), out=out)


def negative_part(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """min(x, 0)"""
    return np.minimum(x, zeros_like(x), out=out)


def softplus(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); ``out`` may not be x."""
    softplus_of_minus_abs(x, out)
    out += positive_part(x, out=scratch("e", x.shape, x.dtype))
    return out


def softplus_of_minus_abs(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """log(1 + e), e = exp(-|x|); ``out`` may not be x.

    It is log(u) - ((u - 1) - e) / u, u = 1 + e as rounded: exact where e is tiny, and much faster than log1p.
    """
    e = exp_of_minus_abs(x, scratch("e", x.shape, x.dtype))
    u = np.add(e, 1, out=scratch("u", x.shape, x.dtype))
    np.subtract(u, 1, out=out)
    np.subtract(e, out, out=out)
    out /= u
    out += np.log(u, out=u)
    return out


# Φ(x) = 1 / (1 + exp(x P(x²))). The minimax polynomial of this degree leaves 3e-8 in Φ, a quarter of what a number of
# single precision next to 1 is rounded by.
LOGIT = (-1.595769882, -0.0726661692, 6.5189962e-5, 1.10612382e-4, -7.929488e-6, 2.64526614e-7, -3.51233968e-9)

# log(erfc(z) / t) + z² as a Chebyshev series in 2t - 1, t = 2 / (2 + z), z >= 0: computed with 50 digits
ERFC = (
    *(-1.30265371978171645, 0.641969792356497256, 0.0194764732041789139, -0.00956151478680183037),
    *(-0.000946595344488669772, 0.000366839497859179948, 4.25233248007481991e-5, -2.02785781066762642e-5),
    *(-1.62429001016288851e-6, 1.30365584071618339e-6, 1.56264370019900072e-8, -8.52380916428593783e-8),
    *(6.52905064427993562e-9, 5.05934678727478189e-9, -9.91366922847083325e-10, -2.27362899852401839e-10),
    *(9.64662471779641102e-11, 2.39513260118223087e-12, -6.88654602761604968e-12, 8.94427794451134607e-13),
    *(3.13729433519774811e-13, -1.13917129750616915e-13),
)
SERIES = cheb2poly([ERFC[0] / 2, *ERFC[1:]]).tolist()


def polynomial(coefficients: Sequence[float], x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Σ c_k x^k; ``out`` may not be x."""
    *rest, highest = coefficients
    np.multiply(x, highest, out=out)
    for coefficient in reversed(rest[1:]):
        out += coefficient
        out *= x
    out += rest[0]
    return out


def normal_cdf(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Φ(x), the share of a normal distribution below x; ``out`` may not be x.

    In single precision by its log-odds, as above. In double precision erfc(-x / √2) / 2 with erfc(z) =
    t exp(p(2t - 1) - z²), a polynomial p of t = 2 / (2 + z), z = |x| / √2, which holds for every z.
    """
    if x.itemsize <= 4:
        with np.errstate(over="ignore"):  # exp of more than 88 is infinite, and Φ then 0
            polynomial(LOGIT, np.square(x, out=scratch("t", x.shape, x.dtype)), out)
            out *= x
            np.exp(out, out=out)
        out += 1
        return np.reciprocal(out, out=out)
    t, s = (scratch(name, x.shape, x.dtype) for name in ("t", "s"))
    z = np.abs(x, out=out)
    z *= 0.5**0.5
    np.add(z, 2, out=t)
    np.divide(2, t, out=t)
    u = np.multiply(t, 2, out=scratch("u", x.shape, x.dtype))
    u -= 1
    polynomial(SERIES, u, s)
    s -= np.square(z, out=z)
    np.exp(s, out=s)
    s *= t
    s *= np.copysign(0.5, x, out=out)  # ± Φ(-|x|)
    # s below zero, 1 - s above: without a selection, which numpy is slow at
    np.subtract(np.greater_equal(x, 0, out=scratch("above", x.shape, bool)), s, out=out)
    return out


def power(x: np.ndarray, exponent: float, out: np.ndarray) -> np.ndarray:
    """x^exponent, where it is a quarter up to 1 or a small integer by roots and products; ``out`` may not be x."""
    if exponent < 0:
        return np.reciprocal(power(x, -exponent, out), out=out)
    if exponent in (0.25, 0.5, 0.75):
        root = np.sqrt(x, out=out if exponent == 0.5 else scratch("root", x.shape, x.dtype))
        if exponent != 0.5:
            np.sqrt(root, out=out)
        if exponent == 0.75:
            out *= root
    elif exponent in (0, 1, 2, 3):
        if exponent < 2:
            np.copyto(out, x if exponent else 1)
        else:
            np.multiply(x, x, out=out)
        if exponent == 3:
            out *= x
    else:
        np.power(x, exponent, out=out)
    return out
