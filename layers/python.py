"""Python: a layer in the user's own Python code."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from ..net.blob import Blob
from ..net.example import Example
from ..net.fillers import Filler
from ..net.layer import Layer
from ..net.registry import other_programs, register
from ..net.user_code import UserCodeError, loading, neighbours_of, place_of, run_file
from ..spec.declare import Declared, param
from ..spec.errors import NettrainError


class View:
    """A blob as pycaffe shows it: ``data``, ``diff``, ``shape``, ``reshape(2, 3)``, ``num`` … ``width``.

    The arrays are new ones over the blob's memory, so that nobody can change the shape of the blob's own.
    """

    def __init__(self, blob: Blob):
        self._blob = blob

    @property
    def data(self) -> np.ndarray:
        return self._blob.data.view()

    @data.setter
    def data(self, value: np.ndarray) -> None:
        self._blob.data = value

    @property
    def diff(self) -> np.ndarray:
        return self._blob.diff.view()

    @diff.setter
    def diff(self, value: np.ndarray) -> None:
        self._blob.diff = value

    @property
    def shape(self) -> tuple[int, ...]:
        return self._blob.shape

    @property
    def count(self) -> int:
        return self._blob.count

    def reshape(self, *shape: int) -> None:
        self._blob.reshape(*shape)

    def __getattr__(self, name: str) -> int:
        axes = ("num", "channels", "height", "width")
        if name not in axes:
            raise AttributeError(f"a blob has no `{name}`")
        at = axes.index(name)
        return self._blob.shape[at] if at < len(self._blob.shape) else 1

    def __repr__(self) -> str:
        return repr(self._blob)


class Blobs(list):
    """The parameters, as pycaffe has them: ``blobs.add_blob(5, 3)`` makes one, of zeros."""

    def __init__(self, layer: Layer):
        super().__init__()
        self._layer = layer

    def add_blob(self, *shape: int) -> None:
        self._layer.add_blob(shape, Filler())
        self.append(View(self._layer.blobs[-1]))


class Base:
    """What ``caffe.Layer`` is: its methods do nothing."""

    type = "Python"

    def setup(self, bottom, top):
        """Called once."""

    def reshape(self, bottom, top):
        """Called before each forward pass."""

    def forward(self, bottom, top):
        """Fills the tops."""

    def backward(self, top, propagate_down, bottom):
        """Fills the diffs of the bottoms."""


def _pycaffe() -> dict[str, types.ModuleType]:
    """The modules that stand in for pycaffe's, by the names that programs import."""
    return other_programs("pycaffe").modules()


_python_first: ContextVar[bool] = ContextVar("_python_first", default=False)


@contextmanager
def python_first() -> Iterator[None]:
    """Within this context, modules are those that the program itself would import, as in pycaffe, and only others are
    looked for beside the spec."""
    token = _python_first.set(True)
    try:
        yield
    finally:
        _python_first.reset(token)


def _is_importable(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package that it would be in is not there
        return False


def load(module: str, folder: Path) -> types.ModuleType:
    """The user's module: beside the spec, else where Python finds it. ``import caffe`` works in it without Caffe."""
    lent = _pycaffe() if "caffe" not in sys.modules and importlib.util.find_spec("caffe") is None else {}
    sys.modules.update(lent)
    path = folder / (module.replace(".", "/") + ".py")
    try:
        with loading(f"module {module}"):
            if _python_first.get() and _is_importable(module):
                return importlib.import_module(module)
            with neighbours_of(folder):
                return run_file(path, module) if os.path.isfile(path) else importlib.import_module(module)
    except UserCodeError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name == module.partition(".")[0]:
            raise NettrainError(f"there is no {path} and no module {module}", key="module") from None
        raise
    finally:
        for name in lent:
            sys.modules.pop(name, None)


_SQUARE = """
class Square:
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data ** 2

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = 2 * bottom[0].data * top[0].diff
"""


def _write_square(folder: Path) -> None:
    (folder / "square.py").write_text(_SQUARE, encoding="utf-8")


@register
class Python(Layer):
    """A class of yours, with the methods of pycaffe's layers: setup, reshape, forward and backward.

    bottoms, tops: as many as it takes. Each has data, diff, shape, reshape(…), num, channels, height, width.
    The class finds ``param_str``, ``phase`` (0 TRAIN, 1 TEST) and ``blobs`` on itself; ``blobs.add_blob(…)`` in setup
    makes a parameter, of zeros or of what setup then writes into it. Its backward adds to parameters' diffs and
    overwrites bottoms' diffs.
    It runs code, so it must be allowed: --allow-python on the command line, ``allow_python=True`` in Python.
    The module is looked for beside the spec first. It may ``import caffe`` without Caffe.
    A loss needs ``loss_weight: 1``, as in Caffe.
    Errors: a module or class that does not exist; its own exceptions name the layer and the method.
    Source: Caffe's Python. docs/write-a-layer.md shows a layer type of your own, with parameters and gradcheck.
    """

    class Parameters(Declared):
        module: str = param(doc="name of the module, a file beside the spec or one that Python finds")
        layer: str = param(doc="name of the class in it")
        param_str: str = param(default="", doc="a string that the class finds as self.param_str")
        share_in_parallel: bool = param(default=False, doc="accepted, without effect")

        aliases = {"python_param": "write its fields beside type", "class": "layer"}

    num_bottoms = (0, None)
    num_tops = (0, None)
    runs_code = True
    examples = (Example([(2, 3)], {"module": "square", "layer": "Square"}, tops=1, files=_write_square),)
    user: Any = None
    called = "__init__"

    def setup(self, bottom, top):
        made = load(self.p.module, self.folder)
        cls = getattr(made, self.p.layer, None)
        if not isinstance(cls, type):
            has = ", ".join(name for name, value in vars(made).items() if isinstance(value, type)) or "none"
            raise NettrainError(f"module {self.p.module} has no class `{self.p.layer}`; it has {has}", key="layer")
        self.user_class = cls
        if not hasattr(cls, "forward"):
            raise self.lacks("forward(self, bottom, top)")
        # the class finds these from the start, in __init__ too
        found = {"param_str": self.p.param_str, "phase": 0 if self.phase == "TRAIN" else 1, "blobs": Blobs(self)}
        self.user = type(cls.__name__, (cls,), found)()
        self.call("setup", bottom, top)
        self.written = [blob.data.copy() for blob in self.blobs]

    def fill_blobs(self):
        """Parameters begin with what the class's setup wrote."""
        for blob, values in zip(self.blobs, self.written, strict=True):
            blob.data[...] = values

    def call(self, method, *blobs):
        """A method of the user's class, if it has one, on blobs as pycaffe shows them."""
        function = getattr(self.user, method, None)
        if function is None:
            if method == "backward":
                raise self.lacks("backward(self, top, propagate_down, bottom)")
            return
        self.called = method
        function(*([View(b) for b in item] if item and isinstance(item[0], Blob) else item for item in blobs))

    def lacks(self, method):
        assert self.user_class is not None
        place = place_of(self.user_class)
        return NettrainError(f"{self.p.module}.{self.p.layer} ({place}) has no {method}", key="layer")

    def reshape(self, bottom, top):
        self.call("reshape", bottom, top)

    def Forward_cpu(self, bottom, top):
        self.call("reshape", bottom, top)  # as in Caffe: the tops' shapes may follow the values
        self.call("forward", bottom, top)

    def Backward_cpu(self, top, propagate_down, bottom):
        self.call("backward", top, list(propagate_down), bottom)
