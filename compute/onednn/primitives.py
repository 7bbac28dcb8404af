"""Primitives: computations that oneDNN has prepared for given shapes, over numpy's memory, without copies.

Each works alone, in the thread that calls it; ``compute/parallel`` shares parts of a batch out.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..stages import Kernel
from .library import Argument, OneDNNError, UnimplementedError, check, library

MOST_AXES = 12
FLOAT = 3
ANY = 1  # a format tag: oneDNN's own choice

# propagation, and what is computed
TRAINING, INFERENCE, BACKWARD = 64, 96, 128
DIRECT = 1
ADD, MULTIPLY = 0x1FFF0, 0x1FFF1
RELU_FROM_DST, ELU_FROM_DST = 0x100, 0x102
SOFT_RELU, GELU_TANH, GELU_ERF, MISH = 0x27, 0x2B, 0x31, 0x33
SOFTMAX, LOG_SOFTMAX = 0x30000, 0x30001
MAX, AVERAGE, AVERAGE_INSIDE = 0x1FF, 0x2FF, 0x3FF
GLOBAL_STATISTICS, SCALE, SHIFT = 1, 2, 4

# roles of memory
SRC, SRC_1, DST, WEIGHTS, BIAS = 1, 2, 17, 33, 41
MEAN, VARIANCE, SCALES, SHIFTS, WORKSPACE, SCRATCHPAD = 49, 50, 51, 52, 64, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS, DIFF_SCALES, DIFF_SHIFTS = 129, 145, 161, 169, 255, 256

QUERIES = {
    SRC: 129,
    DIFF_SRC: 130,
    WEIGHTS: 131,
    DIFF_WEIGHTS: 132,
    DST: 133,
    DIFF_DST: 134,
    WORKSPACE: 135,
    SCRATCHPAD: 136,
}
IMPLEMENTATION = 8

ADDING = (("sum", 1.0, 0, 0),)  # a post-op: the result is added to what is there


def dims(sizes: Sequence[int]) -> Any:
    return (ctypes.c_int64 * MOST_AXES)(*sizes)


class Descriptor:
    """The shape of memory and how it lies."""

    def __init__(self, handle: ctypes.c_void_p, owned: bool = True):
        self.handle, self.owned = handle, owned

    @classmethod
    def of(cls, shape: Sequence[int], strides: Sequence[int]) -> Descriptor:
        """Of elements that lie at these strides, counted in elements."""
        return cls(
            library().made("dnnl_memory_desc_create_with_strides", len(shape), dims(shape), FLOAT, dims(strides))
        )

    @classmethod
    def any(cls, shape: Sequence[int]) -> Descriptor:
        """Of this shape, as oneDNN likes it best."""
        return cls(library().made("dnnl_memory_desc_create_with_tag", len(shape), dims(shape), FLOAT, ANY))

    @property
    def elements(self) -> int:
        """How many floats such memory takes."""
        return -(-library().functions.dnnl_memory_desc_get_size(self.handle) // 4)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descriptor) and bool(
            library().functions.dnnl_memory_desc_equal(self.handle, other.handle)
        )

    __hash__ = None  # type: ignore[assignment]

    def __del__(self) -> None:
        if self.owned and self.handle:
            library().functions.dnnl_memory_desc_destroy(self.handle)


def plain(shape: Sequence[int], channels_last: bool = False) -> Descriptor:
    """A whole array in the order of its axes, or with the second axis last."""
    order = [0, *range(2, len(shape)), 1] if channels_last and len(shape) > 2 else list(range(len(shape)))
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis], step = step, step * shape[axis]
    return Descriptor.of(shape, strides)


class Memory:
    """A numpy array as oneDNN sees it. The array lives as long as this."""

    def __init__(self, descriptor: Descriptor, array: np.ndarray):
        self.array = array
        address = ctypes.c_void_p(array.ctypes.data)
        self.handle = library().made("dnnl_memory_create", descriptor.handle, library().engine, address)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            library().functions.dnnl_memory_destroy(self.handle)


@functools.cache
def _attributes(post_ops: tuple[tuple[Any, ...], ...] = ()) -> ctypes.c_void_p:
    """Attributes of a primitive: working memory is handed in, what is done to the result before it is stored."""
    made = library().made("dnnl_primitive_attr_create")
    functions = library().functions
    check(functions.dnnl_primitive_attr_set_scratchpad_mode(made, 1), "dnnl_primitive_attr_set_scratchpad_mode")
    if post_ops:
        ops = library().made("dnnl_post_ops_create")
        for kind, *values in post_ops:
            append = getattr(functions, f"dnnl_post_ops_append_{kind}")
            check(append(ops, *map(_as_argument, values)), f"dnnl_post_ops_append_{kind}")
        check(functions.dnnl_primitive_attr_set_post_ops(made, ops), "dnnl_primitive_attr_set_post_ops")
        functions.dnnl_post_ops_destroy(ops)
    return made


def _as_argument(value: Any) -> Any:
    if isinstance(value, Descriptor):
        return value.handle
    if isinstance(value, Primitive):
        return value.description
    if isinstance(value, float):
        return ctypes.c_float(value)
    if isinstance(value, tuple):
        return dims(value)
    return value


class Primitive(Kernel):
    """A computation for given shapes.

    ``kind`` and the arguments are those of the C function ``dnnl_KIND_primitive_desc_create``, without its first two
    and its last. Raises UnimplementedError when there is none but the slow reference.
    """

    def __init__(self, kind: str, *arguments: Any, post_ops: tuple[tuple[Any, ...], ...] = (), slow: bool = False):
        self.kind = kind
        self.made_of = arguments  # a description refers to what it was made of
        undo = library().alone()  # oneDNN plans for as many threads as there are now
        try:
            self._make(kind, arguments, post_ops, slow)
        except OneDNNError as error:  # sizes beyond what it can count
            raise UnimplementedError(str(error)) from None
        finally:
            undo()

    def _make(self, kind: str, arguments: tuple[Any, ...], post_ops: tuple[tuple[Any, ...], ...], slow: bool) -> None:
        create = f"dnnl_{kind}_primitive_desc_create"
        given = [_as_argument(one) for one in arguments]
        engine = library().engine
        given = [given[0], engine, given[1], engine] if kind == "reorder" else [engine, *given]
        self.description = library().made(create, *given, _attributes(post_ops))
        name = ctypes.c_char_p()
        functions = library().functions
        functions.dnnl_primitive_desc_query(self.description, IMPLEMENTATION, 0, ctypes.byref(name))
        self.implementation = (name.value or b"").decode()
        if not slow and self.implementation.split(":")[0] in ("ref", "simple"):
            functions.dnnl_primitive_desc_destroy(self.description)
            del self.description
            raise UnimplementedError(f"{kind}: oneDNN has only its reference for this case")
        self.handle = library().made("dnnl_primitive_create", self.description)

    def descriptor(self, role: int) -> Descriptor:
        """How the memory of a role must lie."""
        query = library().functions.dnnl_primitive_desc_query_md
        return Descriptor(ctypes.c_void_p(query(self.description, QUERIES[role], 0)), owned=False)

    def call(self, given: Mapping[int, Memory | Descriptor]) -> tuple[Any, tuple[Any, ...]]:
        """A function and its arguments that carry this out with these memories, in the thread that asks for it.

        Where there is a descriptor alone, what is written is nothing that anybody reads: it goes into memory of the
        thread's, which all calls share.
        """
        needed = self.descriptor(SCRATCHPAD)
        wanted = {**given, **({SCRATCHPAD: needed} if needed.elements else {})}
        memories = {
            role: one if isinstance(one, Memory) else Memory(one, _room(role, one.elements))
            for role, one in wanted.items()
        }
        arguments: Any = (Argument * len(memories))(*(Argument(role, one.handle) for role, one in memories.items()))
        arguments.keep = (self, memories)  # they live as long as the call
        return library().execute, (self.handle, _stream(), len(memories), arguments)

    def __del__(self) -> None:
        functions = library().functions
        if getattr(self, "handle", None):
            functions.dnnl_primitive_destroy(self.handle)
        if getattr(self, "description", None):
            functions.dnnl_primitive_desc_destroy(self.description)


def reorder(here: Descriptor, there: Descriptor, adding: bool = False) -> Primitive:
    """Brings values from one order in memory into another, or adds them to what is there. Odd orders are slow ones."""
    return Primitive("reorder", here, there, post_ops=ADDING if adding else (), slow=True)


_here = threading.local()


def _stream() -> ctypes.c_void_p:
    """The calling thread's own queue of work."""
    if not hasattr(_here, "stream"):
        _here.stream = library().made("dnnl_stream_create", library().engine, 1)
    return _here.stream


def _room(role: int, elements: int) -> np.ndarray:
    """Working memory of the calling thread for a role: all calls use the same, one after the other."""
    rooms = _here.__dict__.setdefault("rooms", {})
    if role not in rooms or rooms[role].size < elements:
        rooms[role] = np.empty(elements, np.float32)
    return rooms[role]
