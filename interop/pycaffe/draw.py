"""``caffe.draw``: a net as a graph, in the language of Graphviz, and as a picture by its program ``dot``."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...files.writing import write_atomically
from ...spec.errors import NettrainError, why
from .process import PHASES

_LAYER = 'shape=record, fillcolor="#6495ED", style=filled'
_LEARNED = 'shape=record, fillcolor="#FF5050", style=filled'
_BLOB = 'shape=octagon, fillcolor="#E0E0E0", style=filled'
_LARGEST = 60  # seconds that dot may take


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """A NetParameter as a picture: ``rankdir`` is LR, TB or BT, ``ext`` what dot can write (png, svg, pdf …).

    With ``phase`` only the layers of that phase, with ``display_lrm`` the multipliers of learning rates. ``dot`` and
    ``gv`` give the text and need no program. Raises NettrainError where dot is not there, or refuses.
    """
    text = dot_text(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).encode()
    if ext in ("dot", "gv", "raw"):
        return text
    program = shutil.which("dot")
    if program is None:
        raise NettrainError("to draw a net, Graphviz is needed (its program `dot`); ext='dot' gives the text for it")
    try:
        done = subprocess.run([program, f"-T{ext}"], input=text, capture_output=True, timeout=_LARGEST, check=False)
    except subprocess.TimeoutExpired:
        raise NettrainError(f"dot did not draw the net in {_LARGEST} s") from None
    if done.returncode:
        raise NettrainError(f"dot cannot draw the net: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def draw_net_to_file(
    caffe_net: Any, filename: str | Path, rankdir: str = "LR", phase: int | None = None, display_lrm: bool = False
) -> None:
    """``draw_net`` into a file, of the kind its suffix says."""
    path = Path(filename)
    picture = draw_net(caffe_net, rankdir, path.suffix.lstrip(".") or "png", phase, display_lrm)
    try:
        write_atomically(path, lambda file: file.writelines([picture]))
    except OSError as error:
        raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None


def get_pydot_graph(
    caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> Any:
    """The graph as an object of pydot's, which is no extra: pip install pydot. Raises NettrainError where it is not."""
    try:
        pydot = importlib.import_module("pydot")
    except ImportError:
        raise NettrainError("get_pydot_graph needs pydot; to get it: pip install pydot") from None
    return pydot.graph_from_dot_data(dot_text(caffe_net, rankdir, label_edges, phase, display_lrm))[0]


def dot_text(
    caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> str:
    """The graph as text: a box for each layer with its type and geometry, an octagon for each blob."""
    return "\n".join(_lines(caffe_net, rankdir, label_edges, phase, display_lrm)) + "\n"


def _lines(net: Any, rankdir: str, label_edges: bool, phase: int | None, display_lrm: bool) -> Iterator[str]:
    yield f"digraph {_quoted(net.name or 'Net')} {{"
    yield f"rankdir={_quoted(rankdir)};"
    blobs: dict[str, None] = {}
    for layer in net.layer:
        if phase is not None and not _is_in(layer, PHASES[phase]):
            continue
        style = _LEARNED if layer.blobs or layer.type in ("Convolution", "Deconvolution", "InnerProduct") else _LAYER
        node = _quoted(f"{layer.name}_{layer.type}")
        yield f"{node} [label={_quoted(_label(layer, rankdir, display_lrm))}, {style}];"
        in_place = len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top)
        for blob in layer.bottom:
            blobs.setdefault(blob)
            yield f"{_quoted(blob + '_blob')} -> {node}" + (" [dir=both];" if in_place else ";")
        label = f" [label={_quoted(edge_label(layer))}]" if label_edges and edge_label(layer) else ""
        for blob in () if in_place else layer.top:
            blobs.setdefault(blob)
            yield f"{node} -> {_quoted(blob + '_blob')}{label};"
    for blob in blobs:
        yield f"{_quoted(blob + '_blob')} [label={_quoted(blob)}, {_BLOB}];"
    yield "}"


def _is_in(layer: Any, phase: str) -> bool:
    """Whether a layer's rules let it be in a phase; levels and stages are not looked at."""

    def names(rules: Any) -> list[str]:
        return [PHASES[rule.phase] if rule.HasField("phase") else phase for rule in rules]

    return phase in names(layer.include) if layer.include else phase not in names(layer.exclude)


def edge_label(layer: Any) -> str:
    """What flows out of a layer, as far as its parameters say: the number of outputs, or the size of a batch."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    return str(layer.inner_product_param.num_output) if layer.type == "InnerProduct" else ""


def _label(layer: Any, rankdir: str, display_lrm: bool) -> str:
    """Name, type and geometry, on one line in pictures that grow downwards."""
    joint = " " if rankdir in ("TB", "BT") else "\n"
    parts = [layer.name, f"({layer.type})"]
    if layer.type in ("Convolution", "Deconvolution", "Pooling"):
        p = layer.pooling_param if layer.type == "Pooling" else layer.convolution_param
        if layer.type == "Pooling":
            parts[1] = f"({p.DESCRIPTOR.fields_by_name['pool'].enum_type.values_by_number[p.pool].name} Pooling)"
        for word, name, default in (("kernel size", "kernel_size", 1), ("stride", "stride", 1), ("pad", "pad", 0)):
            parts.append(f"{word}: {_size(p, name, default)}")
    if display_lrm and layer.param:
        rates = [f"{entry.lr_mult:g}" if entry.HasField("lr_mult") else "1" for entry in layer.param]
        parts.append(f"lr mult: {', '.join(rates)}")
    return joint.join(parts)


def _size(p: Any, name: str, default: int) -> str:
    """A size of a window as it is given: one number, one for each axis, or _h and _w."""
    sides = {side: f"{name.removesuffix('_size')}_{side}" for side in "hw"}
    if any(p.HasField(field) for field in sides.values()):
        return "x".join(str(getattr(p, field)) for field in sides.values())
    value = getattr(p, name)
    if isinstance(value, int):
        return str(value if p.HasField(name) else default)
    return "x".join(map(str, value)) or str(default)


_RECORD = str.maketrans({c: f"\\{c}" for c in '"\\{}|<>'} | {"\n": "\\n"})


def _quoted(text: str) -> str:
    return '"' + text.translate(_RECORD) + '"'
