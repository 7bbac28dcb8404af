"""Building a net: layers get blobs and shapes, blobs get consumers, parameters get one flat array.

Everything clever happens here, once; running a net is then two plain loops over ``Step`` records.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..spec.errors import NettrainError, Problems, ShapeError, SpecError, format_shape
from . import user_code
from .blob import Blob
from .engines import Engine, implementation
from .graph import Key, Wired
from .layer import Layer
from .records import Broken, LayerSpec, ParamSpec
from .step import Step


@dataclass
class Parameter:
    """One learnable array of a net: its owner's blob and how the solver treats it."""

    name: str  # layer and index, such as ``conv1[0]``
    blob: Blob
    lr_mult: float
    decay_mult: float
    start: int  # where it begins in the flat array

    @property
    def stop(self) -> int:
        return self.start + self.blob.count


def build_steps(
    wired: list[Wired],
    phase: str,
    seed: int,
    dtype: np.dtype,
    folder: Path,
    problems: Problems,
    engine: Engine = "numpy",
    fitted: Mapping[str, Mapping[str, Any]] | None = None,
    is_tested: bool = False,
    serves: bool = False,
    given: Mapping[str, Any] | None = None,
) -> list[Step]:
    """Make the layers and give every blob its shape; ``fitted`` is what a run's layers found in its data, ``is_tested``
    whether a solver both trains and tests, ``serves`` whether its data is given later, ``given`` data of a program's.

    Each problem is collected; layers below a broken one are skipped, since their shapes cannot be known.
    """
    blobs: dict[Key, Blob] = {}
    steps: list[Step] = []
    for item in wired:
        spec = item.spec
        if spec.cls is Broken or not item.whole or any(key not in blobs for key in item.bottoms):
            continue
        names = [name for name, _ in item.tops]
        try:
            layer = _make_layer(spec, engine, phase=phase, seed=seed, dtype=dtype, folder=folder, tops=names)
        except user_code.UserCodeError as error:
            problems.found.append(replace(error.problem, cause=error.__cause__))
            continue
        except NettrainError as error:  # of the engine
            if spec.common.engine != "onednn":
                raise
            problems.add(spec.node.at("engine"), f"{spec.title()}: {error}")
            continue
        layer.fitted = (fitted or {}).get(spec.name, {})
        layer.serves = serves
        layer.given = (given or {}).get(spec.name)
        layer.keeps_some_for_tests = is_tested and not (spec.common.include or spec.common.exclude)
        step = Step(
            spec,
            layer,
            [blobs[key] for key in item.bottoms],
            [Blob((), dtype) for _ in item.tops],
            item.bottoms,
            item.tops,
        )
        _copy_channels_last(step)
        try:
            step.set_up()
            step.reshape()
        except SpecError as error:  # of layers written inside this one
            problems.found.extend(error.problems)
            continue
        except user_code.UserCodeError as error:
            details = error.problem.details or (f"{spec.title()} ({spec.place})",)
            problems.found.append(replace(error.problem, details=details, cause=error.__cause__))
            continue
        except ShapeError as error:
            message = f"{spec.title()}: {error}"
            problems.add(spec.node.at(error.key), message, _shapes_in_words(steps, step), error.hint)
            continue
        except NettrainError as error:
            problems.add(spec.node.at(error.key), f"{spec.title()}: {error}", error.hint)
            continue
        _set_loss_weights(step)
        step.fixed = [not learned for learned in layer.param_propagate_down]
        has, count = len(layer.blobs), len(spec.common.param)
        if count > has:
            plural = "" if has == 1 else "s"
            problems.add(spec.node.at("param"), f"{spec.title()} has {has} parameter blob{plural}, got {count} entries")
        if count < has:  # a full list is what old Caffe files have: their multipliers of statistics mean nothing
            _check_statistics(step, problems)
        blobs.update(zip(item.tops, step.top, strict=True))
        steps.append(step)
    return steps


def _make_layer(spec: LayerSpec, engine: Engine, **about: Any) -> Layer:
    """The layer of a spec. Raises UserCodeError for an exception in a class of the user's own."""
    cls = implementation(spec.cls, engine, spec.common.engine, about["dtype"])
    with user_code.calling(spec.cls, "__init__", lambda: f"{spec.title()} ({spec.place})"):
        return cls(spec.parameters, name=spec.name, **about)


def _check_statistics(step: Step, problems: Problems) -> None:
    """Report a learning rate for a blob that the layer keeps itself."""
    spec = step.spec
    for i, (fixed, param) in enumerate(zip(step.fixed, spec.common.param, strict=False)):
        if fixed and param.lr_mult:
            message = f"blob {i} is a statistic that is never learned; lr_mult must be 0, got {param.lr_mult:g}"
            problems.add(spec.node.at("param"), f"{spec.title()}: {message}")


def _copy_channels_last(step: Step) -> None:
    """A layer whose formulas need memory in the order of the axes gets its own copy of bottoms that differ."""
    for i, blob in enumerate(step.bottom):
        if blob.channels_last and not step.layer.any_layout:
            own = Blob(blob.shape, blob.dtype)
            own.known = blob.known
            step.copies.append((own, blob))
            step.bottom[i] = own


def _set_loss_weights(step: Step) -> None:
    given = step.spec.common.loss_weight
    default = [1.0 if step.layer.is_loss and i == 0 else 0.0 for i in range(len(step.top))]
    step.loss_weights = list(given) or default


def _shapes_in_words(before: list[Step], step: Step) -> str:
    """The shapes that led to a ShapeError: all bottoms, or the chain of layers that made the only one."""
    makers = {key: made for made in before for key in made.top_keys}

    def one(key: Key, blob: Blob) -> str:
        return f"{key[0]} {format_shape(blob.shape)}{makers[key].spec.where()}"

    if len(step.bottom) != 1:
        return " · ".join(map(one, step.bottom_keys, step.bottom))
    chain, key = [f"{step.spec.name} ?"], step.bottom_keys[0]
    while len(chain) < 12:
        maker = makers[key]
        chain.append(f"{key[0]} {format_shape(maker.top[maker.top_keys.index(key)].shape)}")
        if not maker.bottom_keys:
            break
        key = maker.bottom_keys[0]
    return " -> ".join(reversed(chain))


def param_spec(step: Step, i: int) -> ParamSpec:
    """What the spec says of a layer's parameter blob i."""
    given = step.spec.common.param
    spec = given[i] if i < len(given) else ParamSpec()
    return replace(spec, lr_mult=0.0) if step.fixed[i] or step.frozen else spec


def collect_parameters(steps: list[Step], problems: Problems) -> tuple[list[Parameter], list[tuple[Blob, Parameter]]]:
    """Every parameter once, and which blob is which parameter (several for a shared name)."""
    parameters: list[Parameter] = []
    uses: list[tuple[Blob, Parameter]] = []
    by_name: dict[str, tuple[Parameter, dict[str, float | None], Step]] = {}
    for step in steps:
        for i, blob in enumerate(step.layer.blobs):
            spec = param_spec(step, i)
            if spec.name in by_name:
                owner, given, maker = by_name[spec.name]
                _check_sharing(step, blob, spec, owner, given, maker, problems)
                uses.append((blob, owner))
                continue
            start = parameters[-1].stop if parameters else 0
            parameter = Parameter(f"{step.spec.name}[{i}]", blob, _or_1(spec.lr_mult), _or_1(spec.decay_mult), start)
            parameters.append(parameter)
            uses.append((blob, parameter))
            if spec.name:
                given = {key: getattr(spec, key) for key in ("lr_mult", "decay_mult")}
                by_name[spec.name] = (parameter, given, step)
    _agree_on_order(uses)
    return parameters, uses


def _agree_on_order(uses: list[tuple[Blob, Parameter]]) -> None:
    """Blobs of different shapes or orders that share memory all take the order of their axes, as in Caffe."""
    odd = {
        id(owner)
        for blob, owner in uses
        if (blob.shape, blob.channels_last) != (owner.blob.shape, owner.blob.channels_last)
    }
    for blob, owner in uses:
        if id(owner) in odd:
            blob.reshape(blob.shape, channels_last=False)


def check_memory(steps: list[Step], problems: Problems) -> None:
    """Report a net that cannot fit into this machine's memory, before anything is allocated."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    sizes = [
        sum(2 * blob.count * blob.dtype.itemsize for blob in step.layer.blobs)
        + sum((1 + step.needs_backward) * blob.count * blob.dtype.itemsize for blob in step.top)
        for step in steps
    ]
    if sum(sizes) > has:
        largest = steps[sizes.index(max(sizes))].spec
        problems.add(
            largest.place,
            f"the net needs {sum(sizes) / 1e9:,.0f} GB of memory, but this machine has {has / 1e9:,.0f} GB; "
            f"most of it is for {largest.title()}: {max(sizes) / 1e9:,.0f} GB",
        )


def _or_1(multiplier: float | None) -> float:
    return 1.0 if multiplier is None else multiplier


def _check_sharing(
    step: Step,
    blob: Blob,
    spec: ParamSpec,
    owner: Parameter,
    given: dict[str, float | None],
    maker: Step,
    problems: Problems,
) -> None:
    """Compare a sharing blob with its owner; a multiplier may be set on either; set on both, it must agree."""
    place = step.spec.node.at("param")
    whose = f"`{spec.name}`, shared with `{maker.spec.name}`{maker.spec.where()}"
    permissive = spec.share_mode == "PERMISSIVE"
    if (blob.count != owner.blob.count) if permissive else (blob.shape != owner.blob.shape):
        mode = "the same count (share_mode PERMISSIVE)" if permissive else "the same shape (share_mode STRICT)"
        sizes = f"{format_shape(owner.blob.shape)} and {format_shape(blob.shape)}"
        problems.add(place, f"{step.spec.title()}: the blob {whose}, must have {mode}, got {sizes}")
    for key, theirs in given.items():
        mine = getattr(spec, key)
        if mine is None:
            continue
        if theirs is not None and mine != theirs:
            problems.add(place, f"{step.spec.title()}: {key} of {whose}, is {mine:g} here and {theirs:g} there")
        given[key] = mine
        setattr(owner, key, mine)
