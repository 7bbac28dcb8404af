"""pycaffe's programs, run by nettrain: ``import nettrain.interop.pycaffe as caffe``, or ``install()`` and old programs
find it by ``import caffe``.

process       mode, seed, log, and what has no equal here
net, solver   Net and the six solvers; blobs has what they show
net_spec      nets written in Python: L, P, NetSpec; coord_map writes their crops
io            images and messages as arrays; classifier and detector use it
draw          a net as a picture
proto         caffe_pb2, the classes of Caffe's messages (extra ``caffe``)
"""

from __future__ import annotations

import sys
import types

from ...layers.python import Base as Layer
from . import classifier, coord_map, detector, draw, io, net_spec, proto
from .blobs import Blob, BlobVec
from .classifier import Classifier
from .detector import Detector
from .net import Net
from .net_spec import NetSpec, layers, params, to_proto
from .process import (
    NCCL,
    TEST,
    TRAIN,
    Timer,
    has_nccl,
    init_log,
    layer_type_list,
    log,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__version__ = "1.0.0"  # Caffe's
_caffe = pycaffe = sys.modules[__name__]  # its parts, which programs ask for types

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "install",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "modules",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]


def modules() -> dict[str, types.ModuleType]:
    """The modules by the names under which programs import them."""
    inner = {"io": io, "draw": draw, "net_spec": net_spec, "coord_map": coord_map, "classifier": classifier}
    inner |= {"detector": detector, "proto": proto, "proto.caffe_pb2": proto.caffe_pb2}
    inner |= {"pycaffe": sys.modules[__name__], "_caffe": sys.modules[__name__]}
    return {"caffe": sys.modules[__name__]} | {f"caffe.{name}": module for name, module in inner.items()}


def install() -> None:
    """Have ``import caffe`` find this package, for the rest of the process; a real Caffe is hidden by it."""
    sys.modules.update(modules())
