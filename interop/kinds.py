"""What a file is, told by what is in it and not by its name."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from ..files import wire
from ..files.reading import mapped, open_file
from ..spec.errors import NettrainError, why

HEAD = 4096  # bytes that tell it

_COMMENTS = re.compile(r"#[^\n]*")
_PROTOTXT = re.compile(
    r"""^[ \t]*layer[ \t]*:?[ \t\n]*[{<]               # a layer, which YAML begins with a dash
      | \blayers?[ \t\n]*[{<]
      | ^[ \t]*layers[ \t]*:[ \t\n]*[{<]\s*(?:name|type|bottom|top|layer|include|exclude|blobs|blobs_lr|\w+_param)\b
      | ^[ \t]*(?:net|train_net|test_net)[ \t]*:[ \t]*["']  # the net of a solver
      | ^[ \t]*(?:net_param|train_net_param|test_net_param|input_shape|input_param)[ \t]*:?[ \t\n]*[{<]
      | ^[ \t]*input_dim[ \t]*:[ \t]*[0-9]
      | ^item[ \t]*[{<]                                   # SSD's labels, which are refused by name""",
    re.MULTILINE | re.VERBOSE,
)
_SOLVER = re.compile(r"^[ \t]*(?:base_lr|max_iter|lr_policy|snapshot_prefix)[ \t]*:", re.MULTILINE)
_YAML = re.compile(r"^(?:layers[ \t]*:[ \t]*(?:$(?!\s*[{<])|\[)|(?:solver|blocks)[ \t]*:)", re.MULTILINE)


def is_prototxt(text: str) -> bool:
    """Whether a text is a net or a solver of Caffe's, and not YAML."""
    text = _COMMENTS.sub("", text)
    return not _YAML.search(text) and bool(_PROTOTXT.search(text) or _SOLVER.search(text))


def is_binary(head: bytes) -> bool:
    """Whether these are no text: it has no control characters but white space, and every message of a net has."""
    return bool(_CONTROL.search(head))


_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def is_net(head: bytes) -> bool:
    """Whether bytes that are no text may be a net of Caffe's: they begin with its name, an input or a layer."""
    return is_binary(head) and head[:1] in (b"\n", b"\x12", b"\x1a", b"\xa2")


def kind_of_weights(head: bytes) -> str:
    """npz, hdf5, safetensors, caffe, or nothing where it is none of them."""
    if head[:2] == b"PK":
        return "npz"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < MOST_HEADER:
        return "safetensors"
    return "caffe" if is_binary(head) and head[:1] in b"\n\x12\xa2" else ""


MOST_HEADER = 100_000_000  # bytes of a safetensors header, the format's own limit


def kind_of_file(path: Path) -> str:
    """yaml, prototxt, net, weights of some kind (npz, hdf5, safetensors, caffe), model, npy, blob, state, onnx.

    Of binary files of Caffe's ``net`` has no parameters, ``model`` has them too, as Caffe saves both in one file, and
    ``caffe`` has nothing but them; ``blob`` is a mean, ``state`` a solver's. Raises NettrainError for a file that
    cannot be read.
    """
    try:
        with open_file(path) as file:
            head = file.read(HEAD)
        if head[:6] == b"\x93NUMPY":
            return "npy"
        kind = kind_of_weights(head)
        if kind in ("npz", "hdf5", "safetensors"):
            return kind
        if not is_binary(head):
            with open_file(path) as file:
                text = file.read(MOST_TEXT).decode("utf-8-sig", errors="replace")
            return "prototxt" if is_prototxt(text) else "yaml"
        with mapped(path) as memory:
            return kind_of_message(memory.bytes)
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}") from None


MOST_TEXT = 4_000_000
FIELDS_THAT_TELL = 1000  # of a message: they are written by number, and those that tell have low ones, or few before


def kind_of_message(buffer: wire.Buffer) -> str:
    """Which message of Caffe's or ONNX's bytes are, by the numbers of its fields and their kinds; else nothing."""
    try:
        found = {(number, kind) for number, kind, _ in itertools.islice(wire.fields(buffer), FIELDS_THAT_TELL)}
    except wire.WireError:
        return ""
    if (5, wire.BYTES) in found or {(1, wire.NUMBER), (2, wire.NUMBER)} <= found:
        return "blob"
    if {(1, wire.NUMBER), (7, wire.BYTES)} <= found:
        return "onnx"
    if {(1, wire.NUMBER), (3, wire.BYTES)} <= found:
        return "state"
    if not found & {(100, wire.BYTES), (2, wire.BYTES), (1, wire.BYTES)}:
        return ""
    has_types, has_blobs = _holds(buffer)
    return "caffe" if not has_types else "model" if has_blobs else "net"


# What the fields of a layer say, in today's and in those of the two generations before.
_V2 = {(2, wire.BYTES): "types", (7, wire.BYTES): "blobs"}
_V1 = {(5, wire.NUMBER): "types", (6, wire.BYTES): "blobs"}
_V0 = {(2, wire.BYTES): "types", (50, wire.BYTES): "blobs"}


def _holds(net: wire.Buffer) -> tuple[bool, bool]:
    """Whether layers of a net say their types, and whether they have blobs; both where they are damaged."""
    found = set()
    try:
        for number, kind, layer in wire.fields(net):
            if kind != wire.BYTES or number not in (2, 100):
                continue
            for field in wire.fields(layer):
                found.add((_V2 if number == 100 else _V1).get(field[:2]))
                if number == 2 and field[:2] == (1, wire.BYTES):
                    found |= {_V0.get(inner[:2]) for inner in wire.fields(field[2])}
    except wire.WireError:
        return True, True
    return "types" in found, "blobs" in found
