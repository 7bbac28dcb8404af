"""`nettrain schema`: a JSON schema of specs, for editors that complete and check YAML."""

from __future__ import annotations

from ..net import registry
from ..net.blocks import USE_KEYS, Block, UseKeys
from ..net.records import Common, Top
from ..solver.parameters import SolverParameters

LAYERS = "#/properties/layers/items/oneOf"
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
    top = Top.schema()
    top["properties"] |= {
        "solver": SolverParameters.schema(),
        "blocks": {"type": "object", "description": "parts of the net by name", "additionalProperties": Block.schema()},
        "layers": {"type": "array", "items": {"oneOf": [*layers, use]}, "minItems": 1},
    }
    in_block = [layer | {"properties": _in_block(f"{LAYERS}/{i}", layer)} for i, layer in enumerate(layers)]
    definitions = {
        "use": _use(),
        "layers_of_a_block": {"type": "array", "items": {"oneOf": [*in_block, use]}, "minItems": 1},
        "with_parameters": {
            "description": "$name, a formula such as 2 * $name + 1, or something that has these in it",
            "anyOf": [{"type": "string", "pattern": r"\$"}, {"type": ["object", "array"]}],
        },
    }
    return (
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "nettrain spec"}
        | top
        | {"required": ["layers"], "$defs": definitions}
    )


def _use() -> dict:
    """A use of a block: its type is any name that is not a layer type's; its parameters are for the block to say."""
    whole = UseKeys.schema()
    properties = {key: value for key, value in whole["properties"].items() if key in USE_KEYS}
    properties["type"] = {"type": "string", "not": {"enum": list(registry.types())}, "description": "one of `blocks`"}
    for key in ("loss_weight", "repeat"):  # of a use in another block
        about = properties[key].pop("description")
        properties[key] = {"description": about, "anyOf": [properties[key], WITH_PARAMETERS]}
    return {"type": "object", "properties": properties, "required": whole["required"]}


def _in_block(pointer: str, layer: dict) -> dict[str, dict]:
    """The keys of a layer in a block: a parameter may stand for any value, but for no name."""
    properties = {}
    for key, value in layer["properties"].items():
        here = {"$ref": f"{pointer}/properties/{key}"}
        properties[key] = value if key == "type" else here
        if key not in ("name", "type", "bottom", "top"):
            properties[key] = {"anyOf": [here, WITH_PARAMETERS]}
    return properties
