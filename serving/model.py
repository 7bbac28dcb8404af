"""A trained net that answers: examples in, classes and probabilities or values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..compute.parallel import session
from ..net.arguments import a_path, strings
from ..net.net import Net
from ..net.parameter_files import Arrays, assign, open_parameters
from ..net.records import NetSpec
from ..net.user_code import ask
from ..solver.finding import find_snapshot
from ..solver.parameters import SolverParameters, parameters_of
from ..spec.errors import NettrainError
from .part import Prediction, serving


@dataclass
class Answers:
    """What a model says of a batch: the names of its examples, and each output with a row for each of them."""

    names: list[str]
    outputs: dict[str, np.ndarray]
    unread: dict[str, str] = field(default_factory=dict)  # examples that could not be read, and why: they are left out


def load(run: str | Path, *, weights: str | Path | None = None, settings: Iterable[str] = ()) -> Model:
    """The trained net of a run: its folder, or one of its snapshots. The best weights are taken, or else the newest.

    ``weights`` are others, ``settings`` overrides such as ``data.batch_size=100``. Raises NettrainError.

        model = nettrain.load("runs/photos/001")
        model.predict(["a.jpg", "b.jpg"])
    """
    snapshot = find_snapshot(a_path(run, "run"), best_first=True).snapshot
    spec = snapshot.spec(strings(settings, "settings"))
    level, stages = snapshot.level_and_stages(0, ())
    about = {"level": level, "stages": stages, "seed": snapshot.state["seed"], "fitted": snapshot.state["fitted"]}
    with ExitStack() as opened:
        arrays: Arrays = snapshot.params
        if weights is not None:
            arrays = opened.enter_context(open_parameters(a_path(weights, "weights"), "weights file"))
        return Model(spec, arrays, str(weights or snapshot.path), **about)


class Model:
    """A net with its weights, without its data, losses and scores.

    ``outputs`` are the names of what it makes: ``prob`` where a loss would apply a softmax, or the tops of its last
    layers. ``classes`` are the names of the classes, empty where the data has none.
    """

    def __init__(self, spec: NetSpec, weights: Arrays, origin: str, **about: Any):
        p = parameters_of(spec, "TRAIN") or SolverParameters(base_lr=0.0, max_iter=0)
        self.net = Net(spec, "TEST", engine=p.engine, serves=True, **about)
        missing = assign(self.net.params, weights, origin).missing
        if missing:
            raise NettrainError(f"{origin} has no parameters for {', '.join(missing)}")
        self.part = serving(self.net, keep_logits=False)
        self.steps = [*self.part.sources, *self.part.steps]
        self.outputs = [key[0] for key in self.part.outputs] + [one.name for one in self.part.predictions]
        fitted = self.net.fitted()
        self.classes = next((tuple(found["classes"]) for found in fitted.values() if found.get("classes")), ())

    @property
    def tells_apart(self) -> int:
        """How many classes it tells apart; 0 where it gives values."""
        return self.part.classes

    def answer(self, examples: Any) -> Iterator[Answers]:
        """What the net says of examples, batch by batch: an array of N examples as the data has them, a file, a folder,
        or a list of files; with several sources a mapping by the name of the source's first top.

        The transform of the data layer is applied. Pictures that cannot be read are left out and named in ``unread``.
        Raises NettrainError for what cannot be read.
        """
        sources = self._give(examples)
        left = max(layer.pass_size or 0 for layer in sources)
        for layer in sources:
            ask(layer, "start_pass")
        with session(), np.errstate(all="ignore"):
            while left > 0:
                for step in self.steps:
                    step.forward()
                first = max(sources, key=lambda layer: layer.pass_size or 0)
                left -= first.batch_count
                names = [ask(first, "name_of", k) for k in range(first.batch_count)]
                wrong = [ask(first, "unread", k) for k in range(first.batch_count)]
                kept = [k for k, why in enumerate(wrong) if not why]
                yield Answers(
                    [names[k] for k in kept],
                    {name: array.copy() if len(kept) == len(names) else array[kept] for name, array in self._said()},
                    {name: why for name, why in zip(names, wrong, strict=True) if why},
                )

    def _give(self, examples: Any) -> list[Any]:
        """Let the layers that bring data in read the examples; returns them."""
        takers = {step.top_keys[0][0]: step.layer for step in self.part.sources if step.layer.can_be_given}
        if not takers:
            kinds = ", ".join(step.spec.title() for step in self.part.sources) or "nothing"
            raise NettrainError(f"this net reads {kinds}, which cannot be given examples")
        given = examples if isinstance(examples, Mapping) else {next(iter(takers)): examples}
        if given.keys() != takers.keys():
            raise NettrainError(f"this net needs examples for {', '.join(takers)}; got {', '.join(map(str, given))}")
        for name, layer in takers.items():
            ask(layer, "read_given", given[name])
        return list(takers.values())

    def _said(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each output and its values, of the last batch."""
        blobs = {key: blob for step in self.steps for key, blob in zip(step.top_keys, step.top, strict=True)}
        for key in self.part.outputs:
            yield key[0], blobs[key].data
        for one in self.part.predictions:
            yield one.name, _applied(one, blobs[one.of].data)

    def predict(self, examples: Any) -> np.ndarray:
        """The class of each example, by name where the classes have names, else by number; or the values of the first
        output where it is no classifier. See ``answer`` for what examples may be."""
        said = self._all(examples)
        if not self.tells_apart:
            return said
        best = (
            said.argmax(axis=1) if said.ndim > 1 and said.shape[1] > 1 else (said.reshape(len(said)) > 0.5).astype(int)
        )
        return np.array(self.classes)[best] if self.classes else best

    def predict_proba(self, examples: Any) -> np.ndarray:
        """The first output for each example: probabilities, N x classes, where the loss applies a softmax."""
        return self._all(examples)

    def _all(self, examples: Any) -> np.ndarray:
        return np.concatenate([answers.outputs[self.outputs[0]] for answers in self.answer(examples)])

    def __repr__(self) -> str:
        return f"<Model {self.net.name}: {', '.join(self.outputs)}>"


def _applied(prediction: Prediction, scores: np.ndarray) -> np.ndarray:
    """The softmax or sigmoid that a loss applies itself, in the precision of the scores."""
    if prediction.kind == "Sigmoid":
        return 0.5 * (np.tanh(0.5 * scores) + 1)
    exponentials = np.exp(scores - scores.max(axis=prediction.axis, keepdims=True))
    return exponentials / exponentials.sum(axis=prediction.axis, keepdims=True)


__all__ = ["Answers", "Model", "load"]
