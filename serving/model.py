"""A trained net that answers: examples in, classes and probabilities or values out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compute.parallel import session
from ..files.extras import MissingExtraError
from ..net.chain import Pass
from ..net.net import Net
from ..net.parameter_files import Arrays, assign
from ..net.records import NetSpec
from ..net.user_code import ask, ask_each
from ..solver.parameters import SolverParameters, parameters_of
from ..spec.errors import NettrainError, WrongKindError, did_you_mean
from .named import Piece, pieces
from .part import Meaning, Prediction, serving

Refused = Callable[[str, NettrainError], None]  # is told a file that cannot be read, and why


class _UnreadableError(Exception):
    """Examples that cannot be read, and the error that says so."""

    def __init__(self, error: NettrainError):
        super().__init__(str(error))
        self.error = error


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except NettrainError as error:
        raise _UnreadableError(error) from None


@dataclass
class Answers:
    """What a model says of a batch: the names of its examples, and each output with a row for each of them."""

    names: list[str]
    outputs: dict[str, np.ndarray]
    unread: dict[str, str] = field(default_factory=dict)  # examples that could not be read, and why: they are left out
    remark: str = ""  # what a person should know of the examples

    def __len__(self) -> int:
        return len(self.names)


class Model:
    """A net with its weights, without its data, losses and scores.

    ``outputs`` are the names of what it makes: ``prob`` where a loss would apply a softmax, or the tops of its last
    layers; ``main`` is the one that ``predict`` speaks of, that of the loss with the largest weight, or the first.
    ``meanings`` say what the numbers of each are. ``classes`` are the names of the classes, empty where the data has
    none. ``notes`` are what a person should know of the run. ``options`` are those of Net.
    """

    def __init__(self, spec: NetSpec, weights: Arrays, origin: str, **options: Any):
        p = parameters_of(spec, "TRAIN") or SolverParameters(base_lr=0.0, max_iter=0)
        self.origin, self.notes = origin, list[str]()
        self.net = Net(spec, "TEST", engine=p.engine, serves=True, **options)
        self.part = serving(self.net, keep_logits=False)
        steps = [*self.part.sources, *self.part.steps]
        missing = assign(self.net.params, weights, origin).missing
        if needed := [step.spec.name for step in steps if step.spec.name in missing]:
            raise NettrainError(f"{origin} has no parameters for {', '.join(needed)}")
        self._reading = [step for step in self.part.sources if step.layer.can_be_given]
        self._pass = Pass([step for step in steps if not any(step is one for one in self._reading)], backward=False)
        self.outputs = [key[0] for key in self.part.outputs] + [one.name for one in self.part.predictions]
        self.meanings = {name: self.part.meanings.get(name, Meaning()) for name in self.outputs}
        self.main = max(self.outputs, key=lambda name: self.meanings[name].weight)
        read = {key for step in self.part.steps for key in step.bottom_keys} | {*self.part.outputs}
        self._takers: dict[str, Any] = {}  # each top of the data that is read, and its layer
        for step in self._reading:
            step.layer.wanted = [key[0] for key in step.top_keys if key in read]
            self._takers |= dict.fromkeys(step.layer.wanted, step.layer)
        fitted = self.net.fitted()
        self.classes = next((tuple(found["classes"]) for found in fitted.values() if found.get("classes")), ())

    @property
    def inputs(self) -> list[str]:
        """The names of the blobs that examples are given for."""
        return list(self._takers)

    def answer(self, examples: Any, refused: Refused | None = None) -> Iterator[Answers]:
        """What the net says of examples, batch by batch: an array of N examples as the data has them, a file, or a
        list of files; where several blobs are read a mapping with each one's name.

        The transform of the data layer is applied. Of a folder the pictures in it are meant. Files are read as they are
        used, one batch at a time; with ``refused`` those that cannot be read are told to it, and the rest goes on.
        Pictures that cannot be read are left out and named in ``unread``. Raises NettrainError for what else cannot be.
        """
        names = _names(examples)
        if names is not None:
            yield from self.answer_named(names, refused)
            return
        try:
            yield from self._answer(examples)
        except _UnreadableError as found:
            raise found.error from None

    def answer_named(self, names: Iterable[Any], refused: Refused | None = None) -> Iterator[Answers]:
        """``answer`` of files and folders, whose names may still be coming."""
        size = max([1, *(layer.batch_size for layer in self._takers.values())])
        wrong_kind = False
        for piece in pieces(names, size):
            try:
                yield from self._answer_piece(piece, refused)
            except WrongKindError as error:
                if refused is None:
                    raise
                if not wrong_kind:  # it is true of each of them
                    refused(piece if isinstance(piece, str) else piece[0], error)
                wrong_kind = True

    def _answer_piece(self, piece: Piece, refused: Refused | None) -> Iterator[Answers]:
        """What it says of a set, or of some files. Where one of these cannot be read, each is read by itself."""
        try:
            for answers in self._answer(piece) if isinstance(piece, str) else list(self._answer(piece)):
                if refused is not None:
                    for name, why in answers.unread.items():
                        refused(name, NettrainError(why))
                yield answers
        except _UnreadableError as found:
            if refused is None or isinstance(found.error, MissingExtraError | WrongKindError):
                raise found.error from None
            if isinstance(piece, str) or len(piece) == 1:
                refused(piece if isinstance(piece, str) else piece[0], found.error)
                return
            for file in piece:
                yield from self._answer_piece([file], refused)

    def _answer(self, examples: Any) -> Iterator[Answers]:
        """Raises _UnreadableError for examples that cannot be read, NettrainError for a net that cannot take them."""
        layers = self._give(examples)
        counts = [(", ".join(layer.wanted), layer.pass_size or 0) for layer in layers]
        left = counts[0][1]
        if any(count != left for _, count in counts):
            found = ", ".join(f"{name} {count:,}" for name, count in counts)
            raise NettrainError(f"every input needs the same number of examples, got {found}")
        first = layers[0]
        for step in (*self._reading, *self._pass.steps):
            ask(step.layer, "start_pass")
        try:
            while left > 0:
                with session(), np.errstate(all="ignore"):
                    with _reading():
                        for step in self._reading:
                            ask(step.layer, "Forward_cpu", step.bottom, step.top)
                    self._pass.run()
                    said = {name: array.copy() for name, array in self._said()}
                left -= first.batch_count
                yield _of_those_read(layers, first, said)
        finally:
            for step in (*self._reading, *self._pass.steps):
                ask(step.layer, "end_pass")

    def _give(self, examples: Any) -> list[Any]:
        """Let the layers that bring data in read the examples; returns them."""
        if not self._takers:
            kinds = ", ".join(step.spec.title() for step in self.part.sources) or "nothing"
            raise NettrainError(f"this net reads {kinds}, which cannot be given examples")
        layers = list(dict.fromkeys(self._takers.values()))
        if not isinstance(examples, Mapping):
            if len(layers) > 1:
                raise self._needs(f"give a mapping with these names, not {type(examples).__name__}")
            given = {id(layers[0]): examples}
        else:
            if examples.keys() != self._takers.keys():
                raise self._needs(f"got {', '.join(map(str, examples)) or 'none'}")
            given = {}
            for layer in layers:
                own = {name: examples[name] for name, taker in self._takers.items() if taker is layer}
                given[id(layer)] = next(iter(own.values())) if len(own) == 1 else own
        with _reading():
            for layer in layers:
                ask(layer, "read_given", given[id(layer)])
        return layers

    def _needs(self, but: str) -> NettrainError:
        return NettrainError(f"this net needs examples for {', '.join(self._takers)}; {but}")

    def _said(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each output and its values, of the last batch."""
        steps = (*self._reading, *self._pass.steps)
        blobs = {key: blob for step in steps for key, blob in zip(step.top_keys, step.top, strict=True)}
        for key in self.part.outputs:
            yield key[0], blobs[key].data
        for one in self.part.predictions:
            yield one.name, _applied(one, blobs[one.of].data)

    def predict(self, examples: Any, output: str | None = None) -> np.ndarray:
        """The class of each example, by name where the classes have names, else by number; for yes-or-no labels 1 or 0
        for each; or the values, where it is no classifier. See ``answer`` for what examples may be.

        It speaks of ``output``, or of the main one. Classes of pixels or of steps in time have their axes.
        """
        name = self._named(output)
        return self.decide(name, self._all(examples, name))

    def predict_proba(self, examples: Any, output: str | None = None) -> np.ndarray:
        """The numbers of an output, or of the main one, for each example: probabilities, N x classes, where there are
        some. Raises NettrainError where a net has scores that are no probabilities, or values."""
        name = self._named(output)
        kind = self.meanings[name].kind
        if kind not in ("Softmax", "Sigmoid"):
            what = "scores that are no probabilities" if kind == "scores" else "values, not classes"
            raise NettrainError(f"`{name}` of this net has {what}; `answer` gives them, batch by batch")
        return self._all(examples, name)

    def decide(self, name: str, said: np.ndarray) -> np.ndarray:
        """What an output's numbers say: classes by name or number, 1 or 0, or themselves."""
        meaning = self.meanings[name]
        if meaning.kind == "Sigmoid":
            best = (said > 0.5).astype(int)
            if math.prod(said.shape[1:]) > 1:
                return best
            best = best.reshape(len(said))
        elif meaning.kind == "values" or said.shape[meaning.axis] < 2:
            return said.reshape(len(said)) if math.prod(said.shape[1:]) == 1 else said
        else:
            best = said.argmax(axis=meaning.axis)
        return self.named(best)

    def named(self, numbers: np.ndarray) -> np.ndarray:
        """The names of classes, or their numbers where they have none; as text where only some have names."""
        if not self.classes:
            return numbers
        return np.array([str(self.label(k)) for k in range(max(len(self.classes), 1 + numbers.max(initial=0)))])[
            numbers
        ]

    def label(self, number: int) -> str | int:
        """The name of a class, or its number."""
        return self.classes[number] if number < len(self.classes) else number

    def _named(self, output: str | None) -> str:
        if output is not None and output not in self.outputs:
            known = f"; they are {', '.join(self.outputs)}"
            raise NettrainError(f"the net has no output `{output}`{did_you_mean(output, self.outputs, known)}")
        return output or self.main

    def _all(self, examples: Any, name: str) -> np.ndarray:
        found = []
        for answers in self.answer(examples):
            if answers.unread:  # there would be no row for each example
                raise NettrainError("; ".join(answers.unread.values()))
            found.append(answers.outputs[name])
        if not found:
            raise NettrainError("there are no examples to predict")
        return np.concatenate(found)

    def __repr__(self) -> str:
        return f"<Model {self.net.name}: {', '.join(self.outputs)}>"


def _of_those_read(layers: list[Any], first: Any, said: dict[str, np.ndarray]) -> Answers:
    """What is said of a batch, without the examples that a layer could not read."""
    places = range(first.batch_count)
    names = ask_each(first, "name_of", places)
    remark = "; ".join(layer.remark for layer in layers if layer.remark)
    wrong = {k: why for layer in layers for k, why in enumerate(ask_each(layer, "unread", places)) if why}
    if wrong:
        kept = [k for k in places if k not in wrong]
        said = {name: array[kept] for name, array in said.items()}
        return Answers([names[k] for k in kept], said, {names[k]: why for k, why in wrong.items()}, remark)
    return Answers(names, said, remark=remark)


def _names(examples: Any) -> Iterable[Any] | None:
    """The files that are named, by one name or several; None for examples themselves."""
    if isinstance(examples, str | os.PathLike):
        return [examples]
    if isinstance(examples, Sequence) and all(isinstance(one, str | os.PathLike) for one in examples):
        return examples
    return None


def _applied(prediction: Prediction, scores: np.ndarray) -> np.ndarray:
    """The softmax or sigmoid that a loss applies itself, in the precision of the scores."""
    if prediction.kind == "Sigmoid":
        return 0.5 * (np.tanh(0.5 * scores) + 1)
    exponentials = np.exp(scores - scores.max(axis=prediction.axis, keepdims=True))
    return exponentials / exponentials.sum(axis=prediction.axis, keepdims=True)
