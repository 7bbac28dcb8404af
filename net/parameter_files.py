"""Parameters in files: named ``param/LAYER/INDEX``, matched by layer name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .blob import Blob
from .errors import NettrainError, format_shape

Params = Mapping[str, list[Blob]]  # layer name -> its parameter blobs


@dataclass
class LoadReport:
    """What ``assign`` did, by layer name."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # in the net, not in the file
    ignored: list[str] = field(default_factory=list)  # in the file, not in the net


def arrays(params: Params) -> dict[str, np.ndarray]:
    """The parameters as files hold them."""
    return {f"param/{name}/{i}": blob.data for name, blobs in params.items() for i, blob in enumerate(blobs)}


def assign(params: Params, arrays: Mapping[str, np.ndarray], origin: str) -> LoadReport:
    """Copy arrays into the parameters of the layers they are named after.

    Nothing is changed unless all of it fits; see ``fit`` for the errors.
    """
    report = fit(params, arrays, origin)
    for name in report.loaded:
        for blob, array in zip(params[name], _by_layer(arrays)[name], strict=True):
            blob.data[...] = array
    return report


def fit(params: Params, arrays: Mapping[str, np.ndarray], origin: str) -> LoadReport:
    """What ``assign`` would do. ``origin`` is what messages call the file.

    Raises NettrainError when shapes differ, or no layer has a name of the file's.
    """
    found = _by_layer(arrays)
    if not found:
        some = ", ".join(list(arrays)[:5]) or "nothing"
        raise NettrainError(f"{origin} holds no parameters of a net (it has {some})")
    report = LoadReport(ignored=[name for name in found if name not in params])
    for name, blobs in params.items():
        if name not in found:
            report.missing.append(name)
            continue
        if [array.shape for array in found[name]] != [blob.shape for blob in blobs]:
            here, there = (", ".join(format_shape(x.shape) for x in side) for side in (blobs, found[name]))
            raise NettrainError(
                f"{origin}: layer `{name}` has blobs of {there} in the file and {here} in the net; "
                "a layer under another name is left out"
            )
        if any(array.dtype.kind not in "fiub" for array in found[name]):
            raise NettrainError(f"{origin}: layer `{name}` holds values that are no numbers in the file")
        report.loaded.append(name)
    if not report.loaded:
        names = f"file: {', '.join(found)}; net: {', '.join(params)}"
        raise NettrainError(f"{origin}: no layer of the file has the name of one in the net ({names})")
    return report


def _by_layer(arrays: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """The arrays ``param/LAYER/INDEX`` as a list for each layer."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition("/")
        name, _, index = rest.rpartition("/")
        if kind == "param" and index.isascii() and index.isdigit():
            found.setdefault(name, {})[int(index)] = array
    return {name: [blobs[i] for i in sorted(blobs)] for name, blobs in found.items()}
