"""Finding and loading libdnnl, and its functions with errors that have names.

The library comes with ``pip install 'nettrain[onednn]'`` (the wheel puts it into the environment's ``lib/``), from the
system, or from where ``NETTRAIN_ONEDNN`` says. Only its version 3 for CPUs will do: others have other functions.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from typing import Any

from ..parallel import prepare_threads

VARIABLE = "NETTRAIN_ONEDNN"
NAME = "libdnnl.so.3"
OLDEST = (3, 2)  # of what was tested
STATUS = {
    1: "out of memory",
    2: "invalid arguments",
    3: "unimplemented",
    4: "no further implementation",
    5: "runtime error",
    6: "not required",
    7: "the graph is invalid",
    8: "the graph's op is invalid",
    9: "the shape is invalid",
    10: "the data type is invalid",
}
CPU = 1
IN_ORDER = 1


class UnavailableError(Exception):
    """Why oneDNN cannot be used here, in a sentence."""


class UnimplementedError(Exception):
    """oneDNN has no implementation of what was asked for, or only its slow reference."""


class OneDNNError(RuntimeError):
    """A call failed that should not: a mistake in how nettrain calls it, or no memory."""


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]


class Argument(ctypes.Structure):
    """What a primitive is given: which role, and the memory."""

    _fields_ = [("role", ctypes.c_int), ("memory", ctypes.c_void_p)]


def candidates() -> list[str]:
    """Where the library is looked for, in this order."""
    given = os.environ.get(VARIABLE)
    if given:
        return [given]
    here = os.path.join(sys.prefix, "lib", NAME)
    return [here] * os.path.isfile(here) + [NAME]


class Library:
    """The loaded library with its one engine, the CPU."""

    def __init__(self, path: str):
        try:
            self.functions = ctypes.CDLL(path)
            self.openmp = self._openmp()
        except (OSError, AttributeError) as error:
            raise UnavailableError(f"oneDNN cannot be loaded: {error}") from None
        self.path = path
        try:
            self.functions.dnnl_version.restype = ctypes.POINTER(Version)
            found = self.functions.dnnl_version().contents
        except AttributeError:
            raise UnavailableError(f"{path} is not oneDNN") from None
        self.version = f"{found.major}.{found.minor}.{found.patch}"
        if found.major != OLDEST[0] or (found.major, found.minor) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise UnavailableError(f"{path} is oneDNN {self.version}; nettrain needs {wanted} or a later 3.x")
        self.functions.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        self.functions.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.execute = self.functions.dnnl_primitive_execute
        self.execute.restype = check
        self.sgemm = self.functions.dnnl_sgemm
        self.sgemm.restype = functools.partial(check, function="dnnl_sgemm")
        self.engine = self.made("dnnl_engine_create", CPU, ctypes.c_size_t(0))

    def _openmp(self) -> tuple[Any, Any]:
        """What asks and says how many threads OpenMP uses for the calling thread, in the run-time the library uses."""
        functions = self.functions  # its symbols are found through what it was linked with
        return functions.omp_get_max_threads, functions.omp_set_num_threads

    def made(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function that makes something; returns it."""
        made = ctypes.c_void_p()
        check(getattr(self.functions, function)(ctypes.byref(made), *arguments), function)
        return made

    def alone(self) -> Any:
        """Let the calling thread work alone; returns what puts back how it was.

        nettrain's threads share the work out, so that a number does not depend on how many there are.
        """
        get, put = self.openmp
        before = get()
        put(1)
        return functools.partial(put, before)


def check(status: int, function: str = "dnnl_primitive_execute") -> int:
    """Raise an error for a status that is not success."""
    if status:
        words = STATUS.get(status, f"status {status}")
        raise (UnimplementedError if status == 3 else OneDNNError)(f"{function}: {words}")
    return status


@functools.cache
def _loaded() -> Library | str:
    """The library, or why there is none; found out once."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return f"oneDNN serves Linux on x86-64 processors only; this is {sys.platform} on {platform.machine()}"
    reasons = []
    for path in candidates():
        try:
            library = Library(path)
        except UnavailableError as error:
            reasons.append(str(error))
        else:
            prepare_threads(library.alone)
            return library
    return reasons[0]


def library() -> Library:
    """The library. Raises UnavailableError where there is none."""
    found = _loaded()
    if isinstance(found, str):
        raise UnavailableError(found)
    return found


def available() -> bool:
    """Whether oneDNN can be used here."""
    return isinstance(_loaded(), Library)
