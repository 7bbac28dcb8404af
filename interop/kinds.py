"""What a file is, told by what is in it and not by its name."""

from __future__ import annotations

import re

HEAD = 4096  # bytes that tell it

_COMMENTS = re.compile(r"#[^\n]*")
_PROTOTXT = re.compile(
    r"""^[ \t]*layers?[ \t]*:?[ \t\n]*[{<]              # a layer, which YAML begins with a dash
      | \blayers?[ \t]*[{<]
      | ^[ \t]*(?:net|train_net|test_net)[ \t]*:[ \t]*["']  # the net of a solver
      | ^[ \t]*(?:net_param|train_net_param|test_net_param|input_shape|input_param)[ \t]*:?[ \t\n]*[{<]
      | ^[ \t]*input_dim[ \t]*:[ \t]*[0-9]""",
    re.MULTILINE | re.VERBOSE,
)
_SOLVER = re.compile(r"^[ \t]*(?:base_lr|max_iter|lr_policy|snapshot_prefix)[ \t]*:", re.MULTILINE)
_YAML = re.compile(r"^(?:layers|solver|blocks)[ \t]*:", re.MULTILINE)


def is_prototxt(text: str) -> bool:
    """Whether a text is a net or a solver of Caffe's, and not YAML."""
    text = _COMMENTS.sub("", text)
    return bool(_PROTOTXT.search(text)) or bool(
        _SOLVER.search(text) and not _YAML.search(text) and "solver" not in text
    )


def is_binary(head: bytes) -> bool:
    """Whether these are no text: it has no control characters but white space, and every message of a net has."""
    return bool(_CONTROL.search(head))


_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


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
