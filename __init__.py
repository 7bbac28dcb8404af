"""nettrain: train neural networks from a YAML file, on a CPU, and see how they learn.

import nettrain
net = nettrain.Net("configs/lenet.yaml", phase="TEST")
solver = nettrain.get_solver("configs/mlp.yaml")
"""

from __future__ import annotations

__version__ = "0.1.0"

# Public name -> the module that has it, imported on first use: `nettrain --help` must not wait for numpy.
_PUBLIC = {
    "Net": "net.net",
    "Blob": "net.blob",
    "Layer": "net.layer",
    "Example": "net.example",
    "Declared": "spec.declare",
    "Filler": "net.fillers",
    "param": "spec.declare",
    "register": "net.registry",
    "Solver": "solver.solver",
    "get_solver": "solver.solver",
    "Listener": "solver.listener",
    "load": "serving.loading",
    "Model": "serving.model",
    "Classifier": "serving.estimator",
    "Regressor": "serving.estimator",
    "layer_type_list": "net.registry",
    "NettrainError": "spec.errors",
    "SpecError": "spec.errors",
    "ShapeError": "spec.errors",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
