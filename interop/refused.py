"""Files of other programs that are not read: what they are, and how to get one that is."""

from __future__ import annotations

from ..files.wire import Buffer
from .kinds import HEAD, kind_of_message

_TORCH = (
    "is a file of torch.save, which takes running code to read; write the weights as safetensors, in Python: "
    'safetensors.torch.save_file(model.state_dict(), "net.safetensors")'
)
_KERAS = "is a model of Keras; export it as ONNX (tf2onnx), which `nettrain convert` reads"
_ONNX = "is an ONNX model; to get a spec and weights of it: nettrain convert {} --to net.yaml"
_STATE = "is a state of a solver of Caffe's, to go on from: nettrain train SPEC --resume {}"
_KERAS_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


def words(buffer: Buffer, name: str) -> str:
    """What a file with these bytes, called ``name``, is, and what to do instead; nothing where that is not known."""
    head = bytes(buffer[:HEAD])
    if head[:4] == b"PK\3\4":
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode(errors="replace")
        return _TORCH if first.endswith("/data.pkl") else _KERAS if first in _KERAS_MEMBERS else ""
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):  # a pickle, as torch.save wrote once
        return _TORCH
    message = kind_of_message(buffer) if head[:1] == b"\x08" else ""  # a number comes first: a version, an iteration
    return {"onnx": _ONNX, "state": _STATE}.get(message, "").format(name)
