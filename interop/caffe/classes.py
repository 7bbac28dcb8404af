"""Classes of the protobuf package for Caffe's messages, made from the table when a program runs (extra ``caffe``).

nettrain reads and writes Caffe's files without them: they are for programs that expect ``caffe_pb2``, and for tests.
"""

from __future__ import annotations

import functools
from typing import Any

from ...files.extras import extra
from .schema import Field, enums, messages

_TYPES = {"double": 1, "float": 2, "int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12, "uint32": 13}
_MESSAGE, _ENUM = 11, 14
_LABELS = {"optional": 1, "required": 2, "repeated": 3, "packed": 3}
FIRST_OF_FORKS = 1 << 28  # the number of a message's first field that only forks have: forks do not agree on numbers


@functools.cache
def classes(with_forks: bool = False) -> dict[str, Any]:
    """Each message's class by name; ``with_forks``: with the messages, fields and values that forks added, which can
    be read and written as text. Raises MissingExtraError where protobuf is not installed."""
    pb = extra("google.protobuf.descriptor_pb2", "caffe", "classes of Caffe's messages", "protobuf")
    pool = extra("google.protobuf.descriptor_pool", "caffe", "classes of Caffe's messages", "protobuf").DescriptorPool()
    factory = extra("google.protobuf.message_factory", "caffe", "classes of Caffe's messages", "protobuf")
    # programs write google.protobuf.text_format without importing it: older releases did so themselves
    extra("google.protobuf.text_format", "caffe", "classes of Caffe's messages", "protobuf")
    file = _file(pb, with_forks)
    pool.Add(file)
    return {
        message.name: factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{message.name}"))
        for message in file.message_type
    }


def _file(pb: Any, with_forks: bool) -> Any:
    """The table as protobuf describes a file of messages."""
    file = pb.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    made = {}
    for name, fields in messages().items():
        if with_forks or any(field.number for field in fields.values()):
            made[name] = file.message_type.add(name=name)
    for name, values in enums().items():
        owner, _, inner = name.rpartition(".")
        if owner and owner not in made:
            continue
        about = (made[owner] if owner else file).enum_type.add(name=inner)
        for value, number in values.items():
            if with_forks or number >= 0:
                about.value.add(name=value, number=number)
    for name, message in made.items():
        for i, field in enumerate(messages()[name].values()):
            if with_forks or field.number:
                _add(message, field, field.number or FIRST_OF_FORKS + i, made)
    return file


def _add(message: Any, field: Field, number: int, made: dict[str, Any]) -> None:
    about = message.field.add(name=field.name, number=number, label=_LABELS[field.label])
    if field.type in made:
        about.type, about.type_name = _MESSAGE, f".caffe.{field.type}"
    elif field.choices is not None:
        about.type, about.type_name = _ENUM, f".caffe.{field.type}"
    else:
        about.type = _TYPES[field.type]
    if field.label == "packed":
        about.options.packed = True
    if field.default is not None:
        default = field.default
        about.default_value = str(default).lower() if isinstance(default, bool) else str(default)


@functools.cache
def names() -> dict[str, Any]:
    """What ``caffe.proto.caffe_pb2`` offers: the classes, and the values of enums outside of messages."""
    found = dict(classes(with_forks=True))
    for name, values in enums().items():
        if "." not in name:
            found.update({value: number for value, number in values.items() if number >= 0})
    return found
