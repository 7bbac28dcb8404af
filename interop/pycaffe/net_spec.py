"""Nets written in Python: ``n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)``, ``n.to_proto()``.

``layers`` (``L``) makes layers, ``params`` (``P``) has the values of enums, NetSpec names what was made. A keyword is a
field of the layer's own message (``convolution_param`` of a Convolution) where that has it, else of the layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...spec.errors import NettrainError, did_you_mean
from ..caffe.classes import classes
from ..caffe.schema import enums, messages


def param_name_dict() -> dict[str, str]:
    """The field of a layer that has the parameters of a type: Convolution -> convolution_param."""
    fields = list(messages()["LayerParameter"].values())
    return {
        field.type.removesuffix("Parameter"): field.name
        for field in reversed(fields)  # of two names that forks have for one message, the first
        if field.name.endswith("_param") and field.is_message
    }


def to_proto(*tops: Top | Function) -> Any:
    """The NetParameter of all layers that lead to these tops; what has no name gets one, such as Convolution1."""
    return _proto(tops, {})


class Top:
    """A blob that a layer makes: ``n`` is its number among the layer's tops."""

    def __init__(self, fn: Function, n: int):
        self.fn, self.n = fn, n

    def to_proto(self) -> Any:
        """The NetParameter of all layers that lead here."""
        return to_proto(self)


class Function:
    """One layer: its type, what it reads, and its parameters as they were given."""

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: Mapping[str, Any]):
        for i, item in enumerate(inputs):
            if not isinstance(item, Top):
                raise TypeError(f"{type_name} input {i} is not a Top (type is {type(item)})")
        self.type_name, self.inputs = type_name, inputs
        self.params = dict(params)
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        if self.in_place and len(inputs) != self.ntop:
            raise NettrainError(f"{type_name} in place has as many tops as inputs: {len(inputs)}, got {self.ntop}")
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_proto(self) -> Any:
        """The NetParameter of this layer and all before it."""
        return to_proto(self)


class Layers:
    """``L``: every attribute makes a layer of that type; returns its Top, several as a tuple, or the layer itself
    where it has none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*inputs: Top, **params: Any) -> Any:
            fn = Function(name, inputs, params)
            return fn if fn.ntop == 0 else fn.tops[0] if fn.ntop == 1 else fn.tops

        return layer


class Values:
    """The values of a message's enums: ``P.Pooling.MAX``."""

    def __init__(self, message: str):
        self._message = message

    def __getattr__(self, name: str) -> int:
        known = {
            value: number
            for enum, values in enums().items()
            if enum.startswith(f"{self._message}.")
            for value, number in values.items()
        }
        if name not in known:
            raise AttributeError(f"{self._message} has no value {name}{did_you_mean(name, known)}")
        return known[name]


class Parameters:
    """``P``: the enums of each layer type's parameters."""

    def __getattr__(self, name: str) -> Values:
        message = f"{name}Parameter"
        if message not in messages():
            raise AttributeError(f"there is no type {name} with parameters of its own")
        return Values(message)


class NetSpec:
    """Names blobs, in the order in which they are named: an attribute that is set is a blob's name."""

    def __init__(self) -> None:
        super().__setattr__("tops", {})

    def __setattr__(self, name: str, value: Top | Function) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattribute__("tops")[name]
        except KeyError:
            raise AttributeError(f"this NetSpec has no `{name}`{did_you_mean(name, self.tops)}") from None

    def __setitem__(self, name: str, value: Top | Function) -> None:
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.tops[name]

    def __delattr__(self, name: str) -> None:
        del self.tops[name]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def keys(self) -> list[str]:
        """The names."""
        return list(self.tops)

    def vals(self) -> list[Any]:
        """What they name."""
        return list(self.tops.values())

    def update(self, others: Mapping[str, Any]) -> None:
        """Name several."""
        self.tops.update(others)

    def to_proto(self) -> Any:
        """The NetParameter of all named layers and those before them. ``str`` of it is a prototxt."""
        return _proto(self.tops.values(), {top: name for name, top in self.tops.items()})


def _proto(tops: Any, names: dict[Any, str]) -> Any:
    net = classes(with_forks=True)["NetParameter"]()
    counts: Counter[str] = Counter()
    blobs: dict[Top, str] = {}

    def name_of(thing: Top | Function, type_name: str) -> str:
        if thing not in names:
            counts[type_name] += 1
            names[thing] = f"{type_name}{counts[type_name]}"
        return names[thing]

    for fn in _in_order([top.fn if isinstance(top, Top) else top for top in tops]):
        layer = net.layer.add()
        layer.type = fn.type_name
        layer.bottom.extend(blobs[top] for top in fn.inputs)
        layer.top.extend(layer.bottom if fn.in_place else [name_of(top, fn.type_name) for top in fn.tops])
        layer.name = name_of(fn.tops[0] if fn.tops else fn, fn.type_name)
        blobs.update(zip(fn.tops, layer.top, strict=True))
        for key, value in fn.params.items():
            _give(layer, fn.type_name, key, value)
    return net


def _in_order(last: list[Function]) -> Iterator[Function]:
    """Layers after those they read, as they come."""
    done: set[Function] = set()
    for end in last:
        stack = [(end, False)]
        while stack:
            fn, ready = stack.pop()
            if fn in done:
                continue
            if ready:
                done.add(fn)
                yield fn
                continue
            stack.append((fn, True))
            stack += [(top.fn, False) for top in reversed(fn.inputs) if top.fn not in done]


def _give(layer: Any, type_name: str, key: str, value: Any) -> None:
    """Write a keyword where it belongs."""
    own = param_name_dict().get(type_name)
    fields = layer.DESCRIPTOR.fields_by_name
    if own and not key.endswith("param") and key in getattr(layer, own).DESCRIPTOR.fields_by_name:
        _assign(getattr(layer, own), key, value, f"{type_name}.{key}")
    elif key in fields:
        _assign(layer, key, value, f"{type_name}.{key}")
    else:
        known = [*(getattr(layer, own).DESCRIPTOR.fields_by_name if own else ()), *fields]
        raise AttributeError(f"{type_name} has no parameter `{key}`{did_you_mean(key, known)}")


def assign_proto(proto: Any, name: str, val: Any) -> None:
    """Give a field of a message a value: a mapping is a message, and a list, or one value, a repeated field."""
    _assign(proto, name, val, f"{proto.DESCRIPTOR.name}.{name}")


def _assign(message: Any, name: str, value: Any, what: str) -> None:
    about = message.DESCRIPTOR.fields_by_name.get(name)
    if about is None:
        raise AttributeError(f"there is no {what}{did_you_mean(name, message.DESCRIPTOR.fields_by_name)}")
    try:
        several = getattr(message, name)
        if about.message_type is not None:
            values = value if isinstance(value, list | tuple) else [value]
            for one in values:
                target = several.add() if hasattr(several, "add") else several
                for key, inner in one.items():
                    _assign(target, key, inner, f"{what}.{key}")
            return
        if about.enum_type is not None and isinstance(value, str):
            value = about.enum_type.values_by_name[value].number
        if hasattr(several, "extend"):
            several.extend(value if isinstance(value, list | tuple) else [value])
        else:
            setattr(message, name, value)
    except (TypeError, ValueError, KeyError) as error:
        raise TypeError(f"{what} cannot be {value!r}: {error}") from None


layers = Layers()
params = Parameters()
