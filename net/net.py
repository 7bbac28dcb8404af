"""Net: a spec brought to life. Forward and backward are two loops over steps; the rest is looking things up.

It is one file because it is one class: what its users call, with what to do handed to assemble, step and
parameter_files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..compute.openblas import rest_early
from ..compute.parallel import session
from ..files.arrays import write_npz
from ..spec.errors import NettrainError, Problems, ShapeError, did_you_mean, format_shape, why
from . import build, parameter_files
from .arguments import a_path, numbers, precision, strings, whole
from .assemble import assemble
from .blob import Blob
from .chain import Pass
from .engines import Engine, chosen
from .fillers import Turn
from .netspec import load
from .records import LayerSpec, NetSpec, Phase, State, as_phase
from .step import Step
from .user_code import ask

DEFAULT_SEED = 1701


class Net:
    """A network of layers with its blobs and parameters.

    Args:
        spec: a path, YAML text (anything with a line break), a mapping ``{"layers": [...]}`` or a loaded NetSpec. That
            of a run brings its weights.
        phase: ``TRAIN`` or ``TEST``, in either case; ``level`` and ``stages`` complete the state for include rules.
        weights: an ``.npz``, or a run, to copy parameters from.
        dtype: ``float32``, or ``float64`` to check gradients.
        seed: seeds fillers, dropout and data order; each layer draws from its own stream.
        settings: overrides such as ``conv1.num_output=32``.
        share_with: another net whose parameters this one uses (same memory).
        allow_python: whether layers of type Python may run the code they name.
        freeze: layers whose parameters are not learned, by name or glob.
        engine: what computes the layers: ``numpy``, ``onednn``, or ``auto``, oneDNN where it is installed and can.
        fitted: what layers of a run found in its training data, by name, as ``fitted()`` gave it.
        given: data of a program's, by the name of the layer that reads it in place of its source: see ``Data``.
        serves: whether examples will be given to its data layers, which then open no data of their own.

    Raises SpecError with every problem of the spec, its shapes and its data files.
    """

    def __init__(
        self,
        spec: NetSpec | Path | str | Mapping[str, Any],
        phase: Phase | str = "TEST",
        *,
        weights: str | Path | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        dtype: str = "float32",
        seed: int = DEFAULT_SEED,
        settings: Iterable[str] = (),
        share_with: Net | None = None,
        allow_python: bool = False,
        freeze: Iterable[str] = (),
        engine: Engine = "auto",
        fitted: Mapping[str, Mapping[str, Any]] | None = None,
        serves: bool = False,
        given: Mapping[str, Any] | None = None,
    ):
        rest_early()
        phase = as_phase(phase)
        seed, level = whole(seed, "seed", least=0), whole(level, "level")
        if share_with is not None and not isinstance(share_with, Net):
            raise NettrainError(f"share_with must be a Net, got {type(share_with).__name__}")
        problems = Problems()
        self.spec = load(spec, settings, problems, allow_python)
        takers = [one.name for one in self.spec.layers if getattr(one.cls, "trains_on_given", False)]
        if wrong := [name for name in given or () if name not in takers]:
            known = ", ".join(takers) or "none: add a Data layer"
            raise NettrainError(f"`{wrong[0]}` is no layer that can be given data; they are {known}")
        self.phase = phase
        stages, trained = strings(stages, "stages"), self.spec.trained
        if trained is not None:
            level, stages = trained.level_and_stages(level, stages)
            fitted = trained.fitted if fitted is None else fitted
            weights = trained.weights if weights is None and share_with is None else weights
        self.state = State(phase, level, tuple(stages))
        self.dtype = precision(dtype)
        self.engine = chosen(engine)
        made = assemble(
            self.spec,
            self.state,
            problems,
            seed=seed,
            dtype=self.dtype,
            freeze=strings(freeze, "freeze"),
            engine=self.engine,
            fitted=fitted,
            serves=serves,
            given=given,
        )
        self.steps, self.parameters = made.steps, made.parameters
        self._index()
        self._place_parameters(made.uses, share_with)
        self.loss = 0.0
        if weights is not None:
            self.copy_from(weights)

    def _index(self) -> None:
        """The dictionaries people look things up in."""
        self.name = self.spec.name
        self.layers = {step.spec.name: step.layer for step in self.steps}
        self.params = {name: layer.blobs for name, layer in self.layers.items() if layer.blobs}
        # (name, version) -> the blob and the step that makes it, in the order of versions
        self._versions = {
            key: (blob, i)
            for i, step in enumerate(self.steps)
            for key, blob in zip(step.top_keys, step.top, strict=True)
        }
        last: dict[str, int] = {}
        for name, version in self._versions:
            last[name] = max(version, last.get(name, 0))
        self.blobs: dict[str, Blob] = {name: self._versions[name, version][0] for name, version in last.items()}
        read = {key for step in self.steps for key in step.bottom_keys}
        self.outputs = [name for name, version in last.items() if (name, version) not in read]
        self._input_blobs = {
            key[0]: blob
            for step in self.steps
            if step.layer.is_input
            for key, blob in zip(step.top_keys, step.top, strict=True)
        }
        self.inputs = list(self._input_blobs)
        self._passes: dict[tuple[int, int, bool], Pass] = {}
        self._positions = {step.spec.name: i for i, step in enumerate(self.steps)}
        self.batch, self._turn = 0, Turn()
        for step in self.steps:
            step.layer.turn = self._turn

    def _place_parameters(self, uses: list[tuple[Blob, build.Parameter]], other: Net | None) -> None:
        """Put all parameters into one flat array and fill them, or use another net's."""
        problems = Problems()
        if other is not None:
            if found := self._unlike(other):
                name, what = found
                maker, why = self._other_examples(other)
                place = (maker or self.steps[self._positions[name]].spec).place
                problems.add(place, why or what, what if why else "")
            problems.raise_if_any()
            self.share_with(other)
            return
        build.check_memory(self.steps, problems)
        problems.raise_if_any()
        count = self.parameters[-1].stop if self.parameters else 0
        self.flat = Blob((count,), self.dtype)
        memory = self.flat.divide(slice(parameter.start, parameter.stop) for parameter in self.parameters)
        places = {parameter.start: place for parameter, place in zip(self.parameters, memory, strict=True)}
        for blob, parameter in uses:
            blob.place_in(*places[parameter.start])
        owned = {id(parameter.blob) for parameter in self.parameters}
        for step in reversed(self.steps):  # an owner comes before those who share, so its values are written last
            try:
                if any(id(blob) in owned for blob in step.layer.blobs):
                    ask(step.layer, "fill_blobs")
            except ShapeError as error:
                problems.add(step.spec.node.at(error.key), f"{step.spec.title()}: {error}")
        problems.raise_if_any()

    def _other_examples(self, other: Net) -> tuple[LayerSpec | None, str]:
        """The layer whose examples differ in shape from those of the other net's of that name, and a sentence on it."""
        theirs = {step.top_keys[0]: step for step in other.steps if step.top and not step.bottom}
        for step in self.steps:
            twin = theirs.get(step.top_keys[0]) if step.top and not step.bottom else None
            if twin is None or not step.top[0].shape or step.top[0].shape[1:] == twin.top[0].shape[1:]:
                continue
            parts = [
                f"{format_shape(one.top[0].shape[1:])} in the {phase} net"
                + (f" ({one.layer.example_from})" if one.layer.example_from else "")
                for one, phase in ((twin, other.phase), (step, self.phase))
            ]
            advice = f"; {step.layer.one_shape_by}" if step.layer.one_shape_by else ""
            name = step.top_keys[0][0]
            return step.spec, f"{step.spec.title()}: an example of `{name}` has the shape {' and '.join(parts)}{advice}"
        return None, ""

    @property
    def computed_by(self) -> Engine:
        """``onednn`` when it computes at least one layer, else ``numpy``."""
        return "onednn" if any(layer.computed_by == "onednn" for layer in self.layers.values()) else "numpy"

    # Running

    def forward(
        self, *, start: str | None = None, end: str | None = None, blobs: Iterable[str] = (), **inputs: Any
    ) -> dict[str, np.ndarray]:
        """Fill the named blobs, run the layers from ``start`` to ``end`` (both included), return the outputs.

        An input blob takes the shape of what it is given. Returns name -> array for the net's outputs (with
        ``end``: for that layer's tops) and for the further ``blobs`` asked for. ``loss`` holds the weighted loss.
        """
        first, last = self._position(start, 0), self._position(end, len(self.steps) - 1)
        wanted = strings(blobs, "blobs")
        for name in wanted:
            self._blob(name)  # an unknown name is an error
        for name, values in inputs.items():
            array = numbers(values, self.dtype, f"`{name}`")
            blob = self._version_before(name, first)
            if blob is self._input_blobs.get(name):
                blob.reshape(array.shape)
            self._assign(blob.data, array, name)
        self.loss = self.run_forward(first, last)
        if end:
            step = self.steps[last]
            outputs = {key[0]: blob.data for key, blob in zip(step.top_keys, step.top, strict=True)}
        else:
            outputs = {name: self.blobs[name].data for name in self.outputs}
        return outputs | {name: self.blobs[name].data for name in wanted}

    def _version_before(self, name: str, first: int) -> Blob:
        """The version of a blob found by layers from step ``first``; an Input layer leaves what is given."""
        self._blob(name)  # an unknown name is an error
        made = [blob for (of, _), (blob, maker) in self._versions.items() if of == name and maker < first]
        if made or name in self._input_blobs:
            return made[-1] if made else self._input_blobs[name]
        raise NettrainError(f"`{name}` is not an input of the layers that run; start after the layer that makes it")

    def run_forward(self, first: int = 0, last: int | None = None) -> float:
        """Run the steps by index; return the weighted loss. From the first layer it is the pass of batch number
        ``batch``, and the next one is of the number after it."""
        if first == 0:
            self.begin(self.batch)
            self.batch += 1
        with session():
            return self._pass(first, len(self.steps) - 1 if last is None else last).run()

    def begin(self, batch: int) -> None:
        """What layers draw from now on is what is random in the batch of this number."""
        self._turn.begin(batch)

    def backward(self, *, start: str | None = None, end: str | None = None, **diffs: Any) -> dict[str, np.ndarray]:
        """Run the layers backward from ``start`` down to ``end`` (both included); losses start from their loss_weight.

        Given diffs are written into the named blobs first. Parameter gradients are added to what is there.
        Returns name -> gradient of the net's inputs.
        """
        first, last = self._position(start, len(self.steps) - 1), self._position(end, 0)
        for step in self.steps[last : first + 1]:
            for _, total, starts_at in step.sums:
                if starts_at > first:
                    total.diff.fill(0)  # the layer that would have overwritten it does not run
        self._begin_at_losses()
        for name, values in diffs.items():
            self._blob(name)  # an unknown name is an error
            made = [blob for (of, _), (blob, maker) in self._versions.items() if of == name and maker <= first]
            if not made or made[-1] in self._written_by(last, first):
                raise NettrainError(f"the diff of `{name}` is not an input of the layers that run; start elsewhere")
            self._assign(made[-1].diff, numbers(values, self.dtype, f"the diff of `{name}`"), name)
        self.run_backward(first, last)
        return {name: blob.diff for name, blob in self._input_blobs.items()}

    def _begin_at_losses(self) -> None:
        """The gradient of each loss is its weight."""
        for step in self.steps:
            for blob, weight in zip(step.top, step.loss_weights, strict=True):
                if weight:
                    blob.diff.fill(weight)

    def _written_by(self, last: int, first: int) -> list[Blob]:
        """The blobs whose diffs the backward pass of these steps overwrites."""
        steps = [step for step in self.steps[last : first + 1] if step.needs_backward]
        own = [b for step in steps for b, flag in zip(step.bottom, step.propagate_down, strict=True) if flag]
        return own + [blob for step in steps for _, blob in step.returns]

    def run_backward(self, first: int, last: int = 0, after: Callable[[Step], object] | None = None) -> None:
        """Run the steps by index from ``first`` down to ``last``, from the diffs that are there; ``after`` as in
        ``forward_backward``."""
        with session():
            self._pass(first, last, backward=True).run(after)

    def _pass(self, first: int, last: int, backward: bool = False) -> Pass:
        """The forward pass of the steps from ``first`` to ``last``, or the backward pass down to it."""
        key = first, last, backward
        if key not in self._passes:
            steps = [step for step in reversed(self.steps[last : first + 1]) if step.needs_backward]
            self._passes[key] = Pass(steps if backward else self.steps[first : last + 1], backward)
        return self._passes[key]

    def forward_backward(self, after: Callable[[Step], object] | None = None) -> float:
        """One forward and one backward pass; returns the loss. ``after`` is called with each step that is done, or the
        last of some that are done together, on the way back."""
        self.loss = self.run_forward()
        self._begin_at_losses()
        self.run_backward(len(self.steps) - 1, after=after)
        return self.loss

    def skip(self, batches: int) -> None:
        """Go on as if so many batches had been computed: by somebody else."""
        if batches:
            self.batch += batches
            for layer in self.layers.values():
                ask(layer, "skip", batches)

    def clear_param_diffs(self) -> None:
        """Set every parameter gradient to zero."""
        self.flat.diff.fill(0)

    def reshape(self) -> None:
        """Pass changed input shapes through the whole net, from shapes alone."""
        for step in self.steps:
            step.reshape_again()

    def passes(self, rank: int = 0, ranks: int = 1) -> Generator[tuple[int, float | None], None, None]:
        """Run forward over the data exactly once; yields (examples, loss) of each batch. Of ``ranks`` that share the
        batches this is the one that computes batch ``rank``, ``rank + ranks`` …; it skips others, whose loss is None.

        Raises NettrainError when no layer reads a data set that has an end.
        """
        sources = [layer for layer in self.layers.values() if layer.pass_size]
        if not sources:
            raise NettrainError("no layer of this net reads a data set that ends; give the number of batches")
        longest = max(sources, key=lambda source: source.pass_size or 0)
        left = longest.pass_size or 0
        self.batch = 0
        for layer in self.layers.values():
            ask(layer, "start_pass")
        try:
            while left > 0:
                is_ours = self.batch % ranks == rank
                if is_ours:
                    self.loss = self.run_forward()
                else:
                    self.skip(1)
                examples = min(left, longest.batch_count)
                left -= examples
                yield examples, self.loss if is_ours else None
        finally:
            for layer in self.layers.values():
                ask(layer, "end_pass")

    def layer_states(self) -> dict[str, Any]:
        """What a snapshot keeps of every layer besides parameters: such as data cursors."""
        return {name: ask(layer, "state") for name, layer in self.layers.items()}

    def set_layer_states(self, state: Mapping[str, Any], seed: int | None = None) -> None:
        """Restore what ``layer_states`` gave, also in a net made with another ``seed``.

        Raises NettrainError for a layer that cannot take its state; those before it then have theirs.
        """
        for name, layer in self.layers.items():
            layer.seed = layer.seed if seed is None else seed
            if name in state:
                try:
                    ask(layer, "set_state", state[name])
                except NettrainError as error:
                    error.say_where(f"the state of layer `{name}`")
                    raise
                except Exception as error:
                    what = f"no `{error.args[0]}`" if isinstance(error, KeyError) and error.args else str(error)
                    raise NettrainError(f"the state of layer `{name}` is not one it gave: {what}") from error

    def fitted(self) -> dict[str, dict[str, Any]]:
        """What each layer found in its training data, such as the names of classes: see ``Layer.fitted``."""
        return {name: dict(layer.fitted) for name, layer in self.layers.items() if layer.fitted}

    def fingerprints(self) -> dict[str, dict[str, Any]]:
        """What identifies the data of each layer that reads some: see ``Layer.fingerprint``."""
        found = {name: ask(layer, "fingerprint") for name, layer in self.layers.items()}
        return {name: fingerprint for name, fingerprint in found.items() if fingerprint}

    # Parameters and files

    def share_with(self, other: Net) -> None:
        """Use the other net's parameters, layer by layer name: the same memory, so a change shows in both."""
        if not isinstance(other, Net):
            raise NettrainError(f"parameters can be shared only with another Net, got {type(other).__name__}")
        if found := self._unlike(other):
            raise ShapeError(found[1])
        self.flat = other.flat
        self._passes.clear()  # other layers may share parameters now
        for name, blobs in self.params.items():
            for blob, source in zip(blobs, other.params[name], strict=True):
                blob.share_data(source)
                blob.share_diff(source)

    def _unlike(self, other: Net) -> tuple[str, str] | None:
        """The first layer whose parameters have other shapes in the other net, and a sentence about it."""
        for name, blobs in self.params.items():
            theirs = other.params.get(name, [])
            if [b.shape for b in theirs] != [b.shape for b in blobs]:
                here, there = (", ".join(format_shape(b.shape) for b in side) for side in (blobs, theirs))
                what = f"layer `{name}` cannot share parameters with the {other.phase} net"
                return name, f"{what}: {here} here, {there or 'none'} there"
        return None

    def save(self, path: str | Path) -> None:
        """Write the parameters to an ``.npz``. Raises NettrainError when it cannot be written."""
        place = a_path(path, "path")
        try:
            write_npz(place, parameter_files.arrays(self.params))
        except OSError as error:
            raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None

    def copy_from(self, path: str | Path, strict: parameter_files.Strict = "shapes") -> parameter_files.LoadReport:
        """Copy parameters by layer name from a file, .npz, .caffemodel, .caffemodel.h5 or .safetensors, or from a run:
        the best, or else the newest.

        A BatchNorm with ``affine`` takes its factors from the Scale behind it in the file, and the reverse. Raises
        NettrainError when nothing fits.

        ``strict`` says what else is an error: with ``shapes`` (as in Caffe) other shapes, with ``all`` also a layer
        that only the net or only the file has; with ``none`` such layers are left as they are.
        """
        if strict not in get_args(parameter_files.Strict):
            known = ", ".join(get_args(parameter_files.Strict))
            raise NettrainError(f"strict must be one of {known}, got {strict!r}")
        file = parameter_files.file_of(a_path(path, "the weights"))
        with parameter_files.open_parameters(file, "weights file", self.spec) as arrays:
            return parameter_files.assign(self.params, arrays, str(file), strict)

    # Looking

    def statistics(self) -> list[dict[str, Any]]:
        """Per layer, for each top and parameter: mean |x|, largest |x| and share of zeros, of data and gradient."""
        rows = []
        for step in self.steps:
            named = [(key[0], blob) for key, blob in zip(step.top_keys, step.top, strict=True)]
            named += [(f"{step.spec.name}[{i}]", blob) for i, blob in enumerate(step.layer.blobs)]
            for name, blob in named:
                row: dict[str, Any] = {"layer": step.spec.name, "blob": name}
                arrays = {"data": blob.data} | ({"diff": blob.diff} if step.needs_backward else {})
                for kind, array in arrays.items():
                    size = np.abs(array)
                    row[kind] = {
                        "mean_abs": float(size.mean()) if size.size else 0.0,
                        "max_abs": float(size.max(initial=0)),
                        "zeros": float((array == 0).mean()) if size.size else 0.0,
                    }
                rows.append(row)
        return rows

    def _position(self, name: str | None, default: int) -> int:
        if name is None:
            return default
        if name not in self._positions:
            raise NettrainError(f"the net has no layer `{name}`{did_you_mean(name, self._positions)}")
        return self._positions[name]

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise NettrainError(f"the net has no blob `{name}`{did_you_mean(name, self.blobs)}")
        return self.blobs[name]

    @staticmethod
    def _assign(target: np.ndarray, values: np.ndarray, name: str) -> None:
        if target.shape != values.shape:
            raise ShapeError(f"blob `{name}` is {format_shape(target.shape)}, got {format_shape(values.shape)}")
        target[...] = values
