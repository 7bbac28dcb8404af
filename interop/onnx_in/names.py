"""What layers are called: as their parameters or nodes, in a readable form, each once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .graph import GraphNode


def unique(name: str, names: dict[str, int]) -> str:
    """The name, or the first of name_2, name_3 … that is not among ``names``, which then has it.

    ``names`` has for each how many have wanted it, so that thousands of the same name are soon told apart.
    """
    name = (re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).strip("_.") or "layer")[:80]
    found, count = name, names.get(name, 0)
    while found in names:
        count += 1
        found = f"{name}_{count}"
    names[name] = max(count, 1)
    names.setdefault(found, 1)
    return found


def name_of(node: GraphNode, parameters: Sequence[str] = ()) -> str:
    """What a node's layer is called: as its parameters (`features.0.weight`), else as the node, in a readable part."""
    for parameter in parameters:
        module, dot, last = parameter.rpartition(".")
        if dot and last in ("weight", "bias", "running_mean") and "/" not in module and "::" not in module:
            return module
    path = [part for part in (node.name or "").split(";")[0].split("/") if part]
    op = node.op.casefold()
    if path and _KERAS.fullmatch(path[0]) and len(path) > 1:  # model/layer/operation
        return path[1]
    if len(path) > 1 and path[-1].casefold().startswith(op):
        path.pop()
    while len(path) > 1 and path[1].startswith(f"{path[0]}."):  # features/features.0
        path.pop(0)
    for i in range(len(path) - 1, 0, -1):
        if path[i].startswith(f"{path[i - 1]}."):
            del path[i - 1]
    last = re.sub(r"(__\d+|:\d+)$", "", ".".join(path[-4:]))
    return re.sub(r"^node_", "", last) or op


_KERAS = re.compile(r"(StatefulPartitionedCall|PartitionedCall|sequential|functional|model)[_\d]*")
