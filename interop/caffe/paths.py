"""Where the files lie that a net or solver of Caffe's names."""

from __future__ import annotations

import os
from pathlib import Path

from ...spec.node import Node

_PATHS = ("source", "mean_file", "root_folder", "weights")


def locate(name: str, folder: Path) -> Path | None:
    """Where a path of Caffe's leads: they start where Caffe was run, mostly the root of its sources."""
    if os.path.isabs(name):
        return Path(name) if is_there(Path(name)) else None
    above = folder.resolve()
    places = (Path(), folder, *([above, *above.parents][:8]))
    return next((place / name for place in places if is_there(place / name)), None)


def is_there(path: Path) -> bool:
    """Whether there is a file or folder of this name, which may be anything that a text says."""
    return os.path.exists(path)


def look_for_files(root: Node, beside: Path, folder: Path) -> None:
    """Paths that are found elsewhere than in ``folder``, where the spec lies, are written as seen from there."""

    def walk(node: Node, key: str) -> None:
        if isinstance(node.value, dict):
            for name, inner in node.value.items():
                walk(inner, key if key in _PATHS and name in ("train", "test") else name)
        elif isinstance(node.value, list):
            for inner in node.value:
                walk(inner, key)
        elif key in _PATHS and isinstance(node.value, str) and node.value:
            found = None if is_there(folder / node.value) else locate(node.value, beside)
            if found is not None:
                node.value = os.path.relpath(found, folder) + ("/" if node.value.endswith("/") else "")

    walk(root, "")
