"""`nettrain summary`: what a net consists of, without running it."""

from __future__ import annotations

import contextlib
from typing import Any

from ..net.net import Net
from ..net.records import NetSpec
from ..net.user_code import ask
from ..solver.blueprint import count_iterations
from ..solver.parameters import SolverParameters, parameters_of
from ..solver.policies import rate_policy
from ..spec.errors import Place, SpecError, format_shape
from ..spec.reading import to_yaml
from .table import table


def net_of(spec: NetSpec, phase: str, **state: Any) -> Net:
    """The net; that of a run without its data too, whose shapes the run knows. Raises SpecError."""
    try:
        return Net(spec, phase, **state)
    except SpecError:
        if spec.trained is None:
            raise
        with contextlib.suppress(SpecError):
            return Net(spec, phase, serves=True, **state)
        raise


def summarise(net: Net) -> dict:
    """Per layer: name, type, top shapes, parameters, multiply-adds of a forward pass, bytes; and the totals."""
    layers = []
    training = net.phase == "TRAIN"
    for step in net.steps:
        own = [p for p in net.parameters if any(p.blob is blob for blob in step.layer.blobs)]
        parameters = sum(p.blob.count for p in own)
        values = sum(blob.count for blob in step.top)
        bytes_ = net.dtype.itemsize * (values * (2 if training and step.needs_backward else 1))
        if any(top.shares_data_with(bottom) for top in step.top for bottom in step.bottom):
            bytes_ -= net.dtype.itemsize * values
        multiply_adds = ask(step.layer, "multiply_adds", step.bottom, step.top)
        layers.append(
            {
                "name": step.spec.name,
                "type": step.spec.cls.__name__,
                "tops": {key[0]: list(blob.shape) for key, blob in zip(step.top_keys, step.top, strict=True)},
                "parameters": parameters,
                "multiply_adds": multiply_adds,
                "bytes": bytes_,
            }
        )
    blocks = _in_blocks(net, layers)
    p = parameters_of(net.spec, net.phase)
    histories = p.type.cls(p.type.p).kept if p else 0
    copies = 2 + histories if training else 1  # weights, gradient and what the rule remembers
    totals = {key: sum(layer[key] for layer in layers) for key in ("parameters", "multiply_adds", "bytes")}
    totals["parameter_bytes"] = copies * net.dtype.itemsize * totals["parameters"]
    about = {"name": net.name, "phase": net.phase, "histories": histories}
    return about | {"layers": layers, "blocks": blocks, "totals": totals, "rates": _rates(p, net) if p else []}


def _in_blocks(net: Net, layers: list[dict]) -> list[dict]:
    """The same for each use of a block as a whole, and each layer outside of blocks."""
    uses = {use.place: use for use in net.spec.uses}
    rows: dict[str | Place, dict] = {}
    for step, layer in zip(net.steps, layers, strict=True):
        used = step.spec.node.place.used
        use = uses[[*used.chain()][-1].place] if used else None
        if use is None:
            rows[layer["name"]] = {**layer, "layers": 1, "repeat": None, "given": {}}
            continue
        row = rows.setdefault(use.place, {"name": use.name, "type": use.block, "tops": {}, "layers": 0})
        row |= {"repeat": use.repeat, "given": dict(use.given)}
        row["tops"] |= {name: shape for name, shape in layer["tops"].items() if name in use.tops}
        row["layers"] += 1
        for key in ("parameters", "multiply_adds", "bytes"):
            row[key] = row.get(key, 0) + layer[key]
    return list(rows.values())


def _rates(p: SolverParameters, net: Net) -> list[dict]:
    """The learning rate at a few iterations: the quarters of training, and the end of warm-up."""
    is_known = p.max_epoch is None or not any(layer.serves for layer in net.layers.values())
    last = count_iterations(p, net) if is_known else None
    if not last:
        return []
    policy = rate_policy(p, last)
    chosen = {0, last // 4, last // 2, 3 * last // 4, last - 1, min(p.warmup_iter, last - 1)}
    return [{"iter": i, "lr": policy(i)} for i in sorted(chosen)]


def report(summary: dict, blocks: bool = False) -> str:
    """The summary as a table, with ``blocks`` of one row for each use of a block."""
    rows = [
        [
            layer["name"],
            _type_of(layer) if blocks else layer["type"],
            ", ".join(f"{name} {format_shape(shape)}" for name, shape in layer["tops"].items()),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
            f"{layer['multiply_adds']:,}" if layer["multiply_adds"] else "",
            in_bytes(layer["bytes"]),
        ]
        for layer in summary["blocks" if blocks else "layers"]
    ]
    totals = summary["totals"]
    rows.append(
        ["total", "", "", f"{totals['parameters']:,}", f"{totals['multiply_adds']:,}", in_bytes(totals["bytes"])]
    )
    head = ["layer", "type", "tops", "parameters", "multiply-adds", "memory"]
    text = table(head, rows, right=(3, 4, 5))
    rule = {0: "", 1: " and one history", 2: " and two histories"}.get(summary["histories"], " and three histories")
    kept = f"with gradients{rule}" if summary["phase"] == "TRAIN" else "weights only"
    rates = " · ".join(f"{rate['lr']:.4g} at {rate['iter']:,}" for rate in summary["rates"])
    return (
        f"{summary['name']} · {summary['phase']} · one forward pass of one batch\n{text}\n"
        f"parameters take {in_bytes(totals['parameter_bytes'])} more ({kept})"
        + (f"\nlearning rate {rates}" if rates else "")
    )


def _type_of(row: dict) -> str:
    """A type or block with what the use gives: ``residual channels: 64, stride: [2, 1] x 2``."""
    given = to_yaml(dict(row["given"])).strip("{}")
    return f"{row['type']} {given}".strip() + (f" x {row['repeat']}" if row["repeat"] is not None else "")


def in_bytes(count: int) -> str:
    """``1.2 MB``; powers of 1000."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= 100 or units[0] == "B" else f"{size:.1f} {units[0]}"
