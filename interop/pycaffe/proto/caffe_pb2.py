"""``caffe_pb2``: classes of the protobuf package for Caffe's messages, made when the first one is asked for.

The first use of a name raises MissingExtraError where protobuf is not installed (extra ``caffe``).
"""

from __future__ import annotations

from typing import Any

from ...caffe.classes import names


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # Python asks for such when the module is imported
        raise AttributeError(name)
    try:
        return names()[name]
    except KeyError:
        raise AttributeError(f"caffe_pb2 has no `{name}`") from None


def __dir__() -> list[str]:
    return sorted(names())
