"""The layer zoo: layer types by the name a spec uses for them."""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType

from ..spec import foreign
from ..spec.declare import Declared
from ..spec.errors import folded, nearest
from .layer import Layer
from .user_code import class_in_layer_files, place_of

LayerType = type[Layer]

_TYPES: dict[str, LayerType] = {}
_ZOO = f"{__package__.rpartition('.')[0]}.layers"


def register(cls: LayerType) -> LayerType:
    """Class decorator: put a layer type into the zoo under its class name.

    Raises TypeError when the class is not complete: a type needs a docstring, and at least one example, from
    which it is tested, gradient-checked and documented.
    """
    name = cls.__name__
    if not cls.__module__.startswith(_ZOO):
        _zoo().import_type(name)  # which may have one of this name
    if name in _TYPES and _file(_TYPES[name]) != _file(cls):
        raise TypeError(f"{name}: {_TYPES[name].__module__} has already registered a layer type of this name")
    if not cls.__dict__.get("__doc__"):
        raise TypeError(f"{name} needs a docstring: formula, shapes, backward formula")
    if not cls.__dict__.get("examples"):
        raise TypeError(f"{name} needs at least one Example in `examples`; without one nothing would check it")
    unknown = set(cls.backward_reads) - {"bottom.data", "top.data"}
    if unknown:
        raise TypeError(f"{name}.backward_reads may hold 'bottom.data' and 'top.data', not {unknown}")
    _TYPES[name] = cls
    return cls


def _file(cls: LayerType) -> str:
    """Where a class comes from. A file that is loaded again, under another name too, registers its types again."""
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__


def types() -> dict[str, LayerType]:
    """Every registered layer type by name, in alphabetical order."""
    _zoo().import_all()
    return dict(sorted(_TYPES.items()))


def _zoo() -> ModuleType:
    # It is found by name, so that net/ stands below layers/ and never names a layer.
    return importlib.import_module(_ZOO)


def solver_parameters() -> type[Declared]:
    """The class of the solver's parameters, found by name like the zoo: net/ stands below solver/ too."""
    return importlib.import_module(f"{__package__.rpartition('.')[0]}.solver.parameters").SolverParameters


def other_programs(module: str) -> ModuleType:
    """A module of interop/, which reads what other programs write; found by name like the zoo."""
    return importlib.import_module(f"{__package__.rpartition('.')[0]}.interop.{module}")


def runs() -> ModuleType:
    """solver/finding, which knows what a run is: its folder stands for its spec and its weights."""
    return importlib.import_module(f"{__package__.rpartition('.')[0]}.solver.finding")


def layer_type(name: str) -> LayerType | None:
    """The class of a layer type, or None."""
    if name not in _TYPES:
        _zoo().import_type(name)
    return _TYPES.get(name)


def unknown_type(name: str) -> str:
    """The error for a type that is not in the zoo, with the best advice there is."""
    known = types()
    words = (folded(name), folded(name).removesuffix("layer"))
    same = next((other for other in known if folded(other) in words), None)
    elsewhere = next((foreign.TYPES[word][0] for word in words if word in foreign.TYPES), None)
    advice = elsewhere.text if elsewhere else ""
    near = same or (None if advice else nearest(name, known))
    unregistered = None if same else class_in_layer_files(name)
    if unregistered and unregistered not in known.values():
        advice = _how_to_use(unregistered)
    elif near:
        advice = f"did you mean `{near}`?"
    elif elsewhere and not advice.startswith("nettrain "):
        meant = [cls for cls in map(known.get, elsewhere.names) if cls]
        in_caffe = meant and all(f"Source: Caffe's {cls.__name__}" in (cls.__doc__ or "") for cls in meant)
        advice = f"in nettrain{' (as in Caffe)' if in_caffe else ''} {advice}"
    return f"unknown layer type `{name}`; {advice or '`nettrain layers` lists the types'}"


def _how_to_use(cls: type) -> str:
    """What to do with a class of a user's layer file that is not among the types."""
    where = f"{place_of(cls)} has a class {cls.__name__}"
    if hasattr(cls, "Forward_cpu"):
        return f"{where}: put @register above it (`from nettrain import register`)"
    if hasattr(cls, "forward"):
        module = cls.__module__.removeprefix("nettrain_layers_")
        return f"{where} with pycaffe's methods: write type: Python, module: {module}, layer: {cls.__name__}"
    return f"{where}, which is not a layer type: let it inherit from nettrain.Layer, and put @register above it"


def summary(thing: object) -> str:
    """First line of the docstring of a class or package."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def family(cls: type) -> tuple[str, str]:
    """The family of a layer type, and what lives there in a sentence: the folder of the zoo that its file lies in."""
    name, dot, _ = cls.__module__.removeprefix(f"{_ZOO}.").partition(".")
    if not cls.__module__.startswith(_ZOO) or not dot:
        return "your own", "Your own code."
    return name, summary(sys.modules[f"{_ZOO}.{name}"])


def layer_type_list() -> list[str]:
    """Names of all layer types, in alphabetical order."""
    return list(types())
