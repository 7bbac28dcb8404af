"""`nettrain schema`: a JSON schema of specs, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from ..net import registry
from ..net.blocks import USE_KEYS, Block, UseKeys
from ..net.records import Common, Top
from ..solver.parameters import SolverParameters

WITH_PARAMETERS = {"$ref": "#/$defs/with_parameters"}


def schema() -> dict:
    """JSON schema (2020-12) of a whole spec."""
    layers = []
    for name, cls in registry.types().items():
        common, own = Common.schema(), cls.Parameters.schema()
        properties = common["properties"] | own["properties"]
        properties["type"] = {"const": name, "description": registry.summary(cls)}
        required = sorted({*common["required"], *own.get("required", [])})
        layers.append({"type": "object", "properties": properties, "required": required, "additionalProperties": False})
    use = {"$ref": "#/$defs/use"}
    in_block = [layer | {"properties": _of_block(layer["properties"])} for layer in layers]
    top = Top.schema()
    top["properties"] |= {
        "solver": SolverParameters.schema(),
        "blocks": {"type": "object", "description": "parts of the net by name", "additionalProperties": Block.schema()},
        "layers": {"type": "array", "items": {"oneOf": [*layers, use]}, "minItems": 1},
    }
    definitions = {
        "use": _use(),
        "with_parameters": {
            "type": "string",
            "pattern": r"\$",
            "description": "$name, a formula such as 2 * $name + 1",
        },
        "layers_of_a_block": {"type": "array", "items": {"oneOf": [*in_block, use]}, "minItems": 1},
    }
    return (
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "nettrain spec"}
        | top
        | {"required": ["layers"], "$defs": definitions}
    )


def _use() -> dict:
    """A use of a block: its type is any name that is not a layer type's, and its parameters are those of the block."""
    whole = UseKeys.schema()
    properties = {key: value for key, value in whole["properties"].items() if key in USE_KEYS}
    kinds = {"type": "string", "not": {"enum": list(registry.types())}, "description": "a block of `blocks`"}
    properties = {
        key: value if key in ("name", "type") else _of_block_value(value) for key, value in properties.items()
    }
    return {"type": "object", "properties": properties | {"type": kinds}, "required": whole["required"]}


def _of_block(properties: dict[str, dict]) -> dict[str, dict]:
    """The keys of a layer in a block: a parameter may stand for any value, but not in names."""
    return {
        key: value if key in ("name", "type", "bottom", "top") else _of_block_value(value)
        for key, value in properties.items()
    }


def _of_block_value(value: dict) -> dict:
    about = {key: value[key] for key in ("description", "default") if key in value}
    inner: dict[str, Any] = {key: one for key, one in value.items() if key not in about}
    if "properties" in inner:
        inner["properties"] = {key: _of_block_value(one) for key, one in inner["properties"].items()}
    if "items" in inner:
        inner["items"] = _of_block_value(inner["items"])
    for key in ("anyOf", "oneOf"):
        if key in inner:
            inner[key] = [_of_block_value(one) for one in inner[key]]
    return about | {"anyOf": [inner, WITH_PARAMETERS]}
