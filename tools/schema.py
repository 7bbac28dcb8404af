"""`nettrain schema`: a JSON schema of specs, for editors that complete and check YAML."""

from __future__ import annotations

from ..net import registry
from ..net.records import Common, Top
from ..solver.parameters import SolverParameters


def schema() -> dict:
    """JSON schema (2020-12) of a whole spec."""
    layers = []
    for name, cls in registry.types().items():
        common, own = Common.schema(), cls.Parameters.schema()
        properties = common["properties"] | own["properties"]
        properties["type"] = {"const": name, "description": registry.summary(cls)}
        required = sorted({*common["required"], *own.get("required", [])})
        layers.append({"type": "object", "properties": properties, "required": required, "additionalProperties": False})
    top = Top.schema()
    top["properties"] |= {
        "solver": SolverParameters.schema(),
        "layers": {"type": "array", "items": {"oneOf": layers}, "minItems": 1},
    }
    return (
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "nettrain spec"}
        | top
        | {"required": ["layers"]}
    )
