"""Whether all ranks are about to train the same thing with the same code and the same numbers."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..compute import openblas
from ..files.reading import read_bytes
from ..net.net import Net
from ..net.user_code import is_users
from ..spec.differences import differences, written
from ..spec.errors import NettrainError
from .team import Team

Facts = Mapping[str, Any]  # what a person calls it -> JSON data
MOST_LINES = 20
ROOT = Path(__file__).parent.parent
# Kernels of OpenBLAS, each set with what all processors of it can use as well, from the newest on.
WIDE = {"ZEN", "SKYLAKEX", "COOPERLAKE", "SAPPHIRERAPIDS"}
COMMON = [({"HASWELL", *WIDE}, "Haswell"), ({"SANDYBRIDGE", "HASWELL", *WIDE}, "Sandybridge")]
ANY = {"x86_64": "Nehalem", "AMD64": "Nehalem", "aarch64": "ARMV8", "arm64": "ARMV8"}


def compare(team: Team, needed: Facts, wished: Facts) -> list[str]:
    """Compare everybody's facts. Raises NettrainError, on all alike, with every difference in what is ``needed`` for
    all to train the same; returns sentences about differences in what is ``wished``, which shift last digits."""
    found = team.gather((platform.node(), needed, wished))
    names = names_of([host for host, _, _ in found])
    lines = [*differing([facts for _, facts, _ in found], names)]
    if lines:
        raise NettrainError(
            f"the {team.size} ranks would not train the same:\n" + "\n".join(_some(lines)) + "\n   all need the same "
            "nettrain and libraries, the same spec with the same settings, and the same data or copies of it"
        )
    lines = [*differing([facts for _, _, facts in found], names)]
    if not lines:
        return []
    return [
        "the ranks do not compute with the same last digits, so the run's numbers depend on how many there are and "
        "which of them computes what:\n" + "\n".join(_some(lines)) + f"\n   {_cure([facts for _, _, facts in found])}"
    ]


def names_of(hosts: list[str]) -> list[str]:
    """What the ranks are called: with their machines, where these are several."""
    if len(set(hosts)) == 1:
        return [str(rank) for rank in range(len(hosts))]
    return [f"{rank} ({host})" for rank, host in enumerate(hosts)]


def differing(found: list[Facts], names: list[str]) -> Iterator[str]:
    """A line for each fact on which not all agree: ``seed: 1 on ranks 0 and 2, 3 on rank 1``."""
    for key in dict.fromkeys(key for facts in found for key in facts):
        first = found[0].get(key)
        of_rank = [{path: value for path, _, value in differences(first, facts.get(key))} for facts in found]
        firsts = {path: value for facts in found for path, value, _ in differences(first, facts.get(key))}
        for path, value in firsts.items():
            whose: dict[str, list[str]] = {}
            for name, theirs in zip(names, of_rank, strict=True):
                whose.setdefault(written(theirs.get(path, value)), []).append(name)
            said = ", ".join(f"{value} on {ranks(some)}" for value, some in whose.items())
            yield f"   {key} {path}".rstrip() + f": {said}"


def ranks(names: list[str]) -> str:
    """``rank 2``, ``ranks 0, 1 and 3``."""
    if len(names) == 1:
        return f"rank {names[0]}"
    shown = [*names[:5], f"{len(names) - 5} more"] if len(names) > 6 else names
    return f"ranks {', '.join(shown[:-1])} and {shown[-1]}"


def _some(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], f"   and {len(lines) - MOST_LINES} more"]


def code(nets: Iterable[Net]) -> dict[str, str]:
    """A digest of nettrain's code, and of each file of somebody else's that has a layer of the nets."""
    found = {"nettrain": _digest_of_ours()}
    for net in nets:
        for layer in net.layers.values():
            cls = layer.user_class or type(layer)
            file = getattr(sys.modules.get(cls.__module__), "__file__", None)
            if file and is_users(cls):
                found[Path(file).name] = digest([read_bytes(Path(file))])
    return found


@cache
def _digest_of_ours() -> str:
    """Of all files of code, with their names."""
    paths: list[Path] = []
    for folder, below, files in os.walk(ROOT):
        if "__init__.py" in files:
            paths += (Path(folder, name) for name in files if name.endswith(".py"))
        else:
            below.clear()
    named = sorted((path.relative_to(ROOT).as_posix(), path) for path in paths)
    return digest(part for name, path in named for part in (name.encode(), read_bytes(path)))


def digest(parts: Iterable[bytes]) -> str:
    """The beginning of the SHA-256 of some bytes."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:12]


def kernels(net: Net) -> dict[str, str | None]:
    """What the last digits of a net's numbers follow from besides versions: kernels, and numbers made with them."""
    found = {"BLAS kernels": openblas.kernels()}
    if net.computed_by == "onednn":
        found["oneDNN instructions"] = _instructions()
    return found | _probe(net.flat.data.dtype)


def _instructions() -> str | None:
    from ..compute.onednn.library import UnavailableError, library  # which is loaded where it computes

    try:
        ask = library().functions.dnnl_get_effective_cpu_isa
    except (UnavailableError, AttributeError):
        return None
    return hex(ask())


def _probe(dtype: np.dtype) -> dict[str, str]:
    """Digests of numbers: kernels of one name may still be other code."""
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((33, 259), (259, 70)))
    numbers = {"product": a @ b, "exp": np.exp(a), "tanh": np.tanh(a), "log": np.log(np.abs(a))}
    return {f"digest of a {name}": digest([array.tobytes()]) for name, array in numbers.items()}


def _cure(found: list[Facts]) -> str:
    """What would make all compute alike."""
    names = {str(facts.get("BLAS kernels")).upper() for facts in found}
    parts = []
    if len(names) > 1:
        common = next((name for known, name in COMMON if names <= known), ANY.get(platform.machine()))
        if common:
            parts.append(f"OPENBLAS_CORETYPE={common} in the environment of all")
    if len({facts.get("oneDNN instructions") for facts in found}) > 1:
        parts.append("NETTRAIN_ENGINE=numpy in the environment of all, or ONEDNN_MAX_CPU_ISA=AVX2")
    parts.append("machines of one kind")
    return f"what helps: {'; '.join(parts)}"
