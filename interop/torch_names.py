"""Names of parameters as PyTorch's ``state_dict`` has them: ``conv1.weight``, ``lstm1.bias_hh_l0``.

What differs from nettrain's blobs: BatchNorm keeps its sums with a factor, LSTM's gates stand in another order and have
one bias, not two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..net.parameter_files import by_layer
from ..spec.errors import NettrainError

Arrays = dict[str, np.ndarray]
_PLAIN = ("weight", "bias")
_RECURRENT = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "weight", "bias")


def to_torch(arrays: Mapping[str, np.ndarray], types: Mapping[str, str]) -> Arrays:
    """Arrays ``param/LAYER/INDEX`` by PyTorch's names; ``types`` are the layers' types, where they are known.

    Blobs that PyTorch has no name for keep their number: ``layer.2``.
    """
    found: Arrays = {}
    for layer, blobs in by_layer(arrays).items():
        write = _WRITERS.get(types.get(layer, ""), _plain)
        found.update({f"{layer}.{name}": array for name, array in write(blobs).items()})
    return found


def _plain(blobs: list[np.ndarray]) -> Arrays:
    if len(blobs) > 2:
        return {str(i): blob for i, blob in enumerate(blobs)}
    return dict(zip(_PLAIN, blobs, strict=False))


def _batch_norm(blobs: list[np.ndarray]) -> Arrays:
    if len(blobs) not in (3, 5) or blobs[2].shape != (1,):
        return _plain(blobs)
    mean, variance, factor = blobs[:3]
    scale = 1 / factor[0] if factor[0] else 0
    made = {"running_mean": mean * scale, "running_var": variance * scale}
    made = {name: array.astype(mean.dtype) for name, array in made.items()}
    return made | {"num_batches_tracked": np.array(0, np.int64)} | dict(zip(_PLAIN, blobs[3:], strict=False))


def _lstm(blobs: list[np.ndarray]) -> Arrays:
    if len(blobs) != 3 or any(not blob.ndim or len(blob) % 4 for blob in blobs):
        return _plain(blobs)
    W, b, W_h = (_gates(blob, (0, 1, 3, 2)) for blob in blobs)
    return dict(zip(_RECURRENT, (W, W_h, b, np.zeros_like(b)), strict=True))


def _gru(blobs: list[np.ndarray]) -> Arrays:
    if len(blobs) != 4:
        return _plain(blobs)
    W, b, W_h, b_h = blobs
    return dict(zip(_RECURRENT, (W, W_h, b, b_h), strict=True))


def _gates(array: np.ndarray, order: Iterable[int]) -> np.ndarray:
    """The rows of an LSTM's four gates in another order: i, f, o, g here and i, f, g, o there."""
    parts = np.split(array, 4)
    return np.concatenate([parts[i] for i in order])


_WRITERS: dict[str, Callable[[list[np.ndarray]], Arrays]] = {"BatchNorm": _batch_norm, "LSTM": _lstm, "GRU": _gru}


def from_torch(arrays: Mapping[str, np.ndarray], origin: str) -> Arrays:
    """Arrays of a ``state_dict`` as ``param/LAYER/INDEX``. Raises NettrainError for names that mean nothing here."""
    layers: dict[str, Arrays] = {}
    for key, array in arrays.items():
        layer, _, name = key.rpartition(".")
        layers.setdefault(layer, {})[name] = array
    found: Arrays = {}
    for layer, named in layers.items():
        blobs = _blobs(named)
        if blobs is None or not layer:
            names = ", ".join(f"`{layer}.{name}`" if layer else f"`{name}`" for name in list(named)[:4])
            raise NettrainError(
                f"{origin} has {names}: names are LAYER.weight, LAYER.bias, LAYER.running_mean … as in PyTorch"
            )
        found.update({f"param/{layer}/{i}": blob for i, blob in enumerate(blobs)})
    return found


def _blobs(named: Arrays) -> list[np.ndarray] | None:
    """The blobs of a layer in nettrain's order; None where the names are not PyTorch's."""
    if all(name.isdecimal() and name.isascii() and len(name) < 6 for name in named):
        return [named[name] for name in sorted(named, key=int)]
    if set(named) <= set(_PLAIN) and "weight" in named:
        return [named[name] for name in _PLAIN if name in named]
    if {"running_mean", "running_var"} <= set(named) <= set(_STATISTICS):
        mean = named["running_mean"]
        statistics = [mean, named["running_var"], np.ones(1, mean.dtype)]
        return statistics + [named[name] for name in _PLAIN if name in named]
    if {"weight_ih_l0", "weight_hh_l0"} <= set(named) <= set(_RECURRENT):
        W, W_h = named["weight_ih_l0"], named["weight_hh_l0"]
        rows = W_h.shape[:1]
        b, b_h = (named.get(name, np.zeros(rows, W.dtype)) for name in _RECURRENT[2:])
        if W.ndim == W_h.ndim == 2 and W.shape[:1] == b.shape == b_h.shape == rows:
            if rows[0] == 4 * W_h.shape[1]:
                return [_gates(blob, (0, 1, 3, 2)) for blob in (W, b + b_h, W_h)]
            if rows[0] == 3 * W_h.shape[1]:
                return [W, b, W_h, b_h]
    return None
