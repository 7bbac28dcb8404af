"""`nettrain layers` and `nettrain solvers`: the zoo, the rules and the policies, from the classes themselves."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from ..net import registry
from ..net.example import Example
from ..net.fillers import Filler
from ..net.layer import Layer
from ..solver.parameters import SolverParameters
from ..spec.declare import Choice, Declared
from ..spec.errors import NettrainError, did_you_mean
from ..spec.reading import to_yaml
from .table import table, wrapped


def listing() -> dict[str, str]:
    """Type -> first sentence of its docstring."""
    return {name: registry.summary(cls) for name, cls in registry.types().items()}


def families() -> Iterator[tuple[str, str, list[str]]]:
    """(family, what lives there, its types) of the zoo, all in alphabetical order."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, cls in registry.types().items():
        found.setdefault(registry.family(cls), []).append(name)
    yield from ((family, text, found[family, text]) for family, text in sorted(found))


def details(name: str) -> dict[str, Any]:
    """One type's docstring, parameters and example. Raises NettrainError for an unknown type."""
    cls = registry.layer_type(name)
    if cls is None:
        raise NettrainError(registry.unknown_type(name))
    return {
        "type": name,
        "family": registry.family(cls)[0],
        "text": inspect.getdoc(cls) or "",
        "parameters": parameters(cls.Parameters),
        "example": example_yaml(cls, cls.examples[0]),
    }


def solvers() -> dict[str, Any]:
    """The update rules and rate policies, each with a line, and the keys that are not theirs."""
    found: dict[str, Any] = {"type": {}, "lr_policy": {}}
    for choice, kind, cls in _kinds():
        found[choice][kind] = registry.summary(cls)
    return found | {"keys": parameters(SolverParameters)}


def solver_details(name: str) -> dict[str, Any]:
    """Docstring, parameters and example of an update rule or policy. Raises NettrainError for an unknown name."""
    known = {kind: (choice, cls) for choice, kind, cls in _kinds()}
    if name not in known:
        near = did_you_mean(name, known, f"; they are {', '.join(known)}")
        raise NettrainError(f"unknown update rule or rate policy `{name}`{near}")
    choice, cls = known[name]
    own = parameters(cls.Parameters)
    needed = "".join(f", {key['name']}: …" for key in own if key["default"] == "required")
    return {
        "type": name,
        "family": choice,
        "text": inspect.getdoc(cls) or "",
        "parameters": own,
        "example": f"solver: {{base_lr: 0.01, max_iter: 1000, {choice}: {name}{needed}}}",
    }


def _kinds() -> Iterator[tuple[str, str, Any]]:
    """(key, name, class) of everything that the solver lets one choose."""
    for choice, _, about, _ in SolverParameters.fields():
        yield from ((choice, kind, cls) for kind, cls in about.kinds.items())


def report_solvers(found: dict[str, Any]) -> str:
    blocks = [
        table([choice, "what it does"], [[name, text] for name, text in found[choice].items()])
        for choice in ("type", "lr_policy")
    ]
    rows = [[key["name"], key["type"], key["default"], key["doc"]] for key in found["keys"]]
    return "\n\n".join([*blocks, table(["key", "type", "default", "meaning"], rows)])


def parameters(declared: type[Declared]) -> list[dict[str, str]]:
    """Name, type with bounds, default and meaning of every parameter."""
    return [
        {
            "name": name,
            "type": kind.words,
            "default": "required" if default is dataclasses.MISSING else default_words(default),
            "doc": about.doc,
        }
        for name, kind, about, default in declared.fields()
    ]


def default_words(default: Any) -> str:
    """A default as the docs show it."""
    if isinstance(default, Choice):
        return default.name
    if isinstance(default, Filler):
        return default.in_short()
    if default is None or default == () or isinstance(default, Declared):
        return "-"
    if isinstance(default, tuple):
        return ", ".join(map(default_words, default))
    return {True: "true", False: "false"}.get(default, str(default)) if isinstance(default, bool) else f"{default}"


def example_yaml(cls: type[Layer], example: Example) -> str:
    """An example as a line of a spec."""
    least = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
    tops = example.tops if example.tops is not None else least
    layer: dict[str, Any] = {"name": f"{cls.__name__.lower()}1", "type": cls.__name__}
    if example.bottoms:
        names = ["x", "y", "z", "u", "v"][: len(example.bottoms)]
        layer["bottom"] = names[0] if len(names) == 1 else names
    if tops > 1:
        layer["top"] = [f"{layer['name']}_{i}" for i in range(tops)]
    plain = layer | dict(example.params)
    return "- " + to_yaml(plain)


def report_list(types: dict[str, str]) -> str:
    width = max(map(len, types))
    blocks = [
        wrapped(f"{family}: {about}")
        + "\n"
        + table(["type".ljust(width), "what it does"], [[name, types[name]] for name in names])
        for family, about, names in families()
    ]
    return "\n\n".join(blocks)


def report_details(about: dict[str, Any]) -> str:
    rows = [[p["name"], p["type"], p["default"], p["doc"]] for p in about["parameters"]]
    own = table(["parameter", "type", "default", "meaning"], rows) if rows else "no parameters of its own"
    return f"{about['type']} ({about['family']})\n\n{about['text']}\n\n{own}\n\nExample:\n  {about['example']}"


def markdown() -> str:
    """The whole zoo as a page: tables of the types by family, then each with docstring, parameters and example."""
    head, chapters = ["# The layers", "", PREFACE], []
    for family, about, names in families():
        head += ["", f"**{family}** – {about}", "", *_markdown_table(["type", "what it does"], _index(names))]
        chapters += [line for name in names for line in _chapter(details(name))]
    return "\n".join([*head, *chapters]) + "\n"


PREFACE = """\
Made by `nettrain layers --markdown` from the classes in `layers/`; `nettrain layers TYPE` shows one. Keys that every
layer has (`name type bottom top param include exclude loss_weight propagate_down`) are left out. Shapes are written
with N examples and C channels; `blobs` are the parameters, in the order of `net.params[name]`."""


def _index(names: list[str]) -> list[list[str]]:
    known = listing()
    return [[f"[{name}](#{name.lower()})", known[name]] for name in names]


def _chapter(about: dict[str, Any]) -> list[str]:
    first, _, rest = about["text"].partition("\n")
    rows = [[f"`{p['name']}`", p["type"], p["default"], p["doc"]] for p in about["parameters"]]
    own = _markdown_table(["parameter", "type", "default", "meaning"], rows) if rows else ["No parameters of its own."]
    text = ["", "```text", *rest.strip().splitlines(), "```"] if rest.strip() else []
    return ["", f"## {about['type']}", "", first, *text, "", *own, "", "```yaml", about["example"], "```"]


def _markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
