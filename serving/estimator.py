"""Nets as estimators of scikit-learn: fit, predict and score of arrays, in pipelines, searches and cross validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import plain_json
from ..files.extras import extra
from ..net.arguments import strings, whole
from ..net.netspec import load as load_spec
from ..net.parameter_files import arrays as parameters
from ..net.records import NetSpec
from ..solver.solver import Solver
from ..spec.errors import NettrainError, format_shape
from .model import Model

base: Any = extra("sklearn.base", "sklearn", "an estimator such as nettrain.Classifier")
validation: Any = extra("sklearn.utils.validation", "sklearn", "an estimator such as nettrain.Classifier")
multiclass: Any = extra("sklearn.utils.multiclass", "sklearn", "an estimator such as nettrain.Classifier")
metaestimators: Any = extra("sklearn.utils.metaestimators", "sklearn", "an estimator such as nettrain.Classifier")

BATCH = 32  # examples of a batch, unless there are fewer


class _Estimator(base.BaseEstimator):
    """What both share. Trained is in memory alone: no run folder is made."""

    def __init__(
        self,
        hidden: Iterable[int] = (64,),
        *,
        spec: str | Path | Mapping[str, Any] | None = None,
        solver: Mapping[str, Any] | None = None,
        settings: Iterable[str] = (),
        epochs: int = 50,
        batch_size: int = BATCH,
        shape: tuple[int, ...] | None = None,
        standardize: bool = True,
        random_state: Any = None,
        dtype: str = "float64",
    ):
        self.hidden = hidden
        self.spec = spec
        self.solver = solver
        self.settings = settings
        self.epochs = epochs
        self.batch_size = batch_size
        self.shape = shape
        self.standardize = standardize
        self.random_state = random_state
        self.dtype = dtype

    def _train(self, x: np.ndarray, targets: np.ndarray, outputs: int, loss: str) -> None:
        """Train on N x F values and their targets."""
        self.mean_, self.scale_ = _standard(x, self.standardize)
        spec = self._net(outputs, loss, len(x))
        reader = next((layer.name for layer in spec.layers if getattr(layer.cls, "trains_on_given", False)), None)
        if reader is None:
            raise NettrainError("the spec has no layer that reads data, such as Data, to give the examples to")
        given = {reader: {"data": self._examples(x), "label": targets}}
        trainer = Solver(spec, given=given, dtype=self.dtype)
        trainer.step(trainer.max_iter)
        self.n_iter_, self.loss_ = trainer.iter, trainer.smoothed_loss
        self.weights_ = {name: array.copy() for name, array in parameters(trainer.net.params).items()}
        self.spec_, self.fitted_ = trainer.spec, trainer.net.fitted()
        self._make()

    def _make(self) -> None:
        """Make the net that predicts; it is made anew of what was learned where the estimator is unpickled."""
        self.model_ = Model(self.spec_, self.weights_, "the estimator", dtype=self.dtype, fitted=self.fitted_)

    def _net(self, outputs: int, loss: str, count: int) -> NetSpec:
        """The spec that was given, or that of a net of fully connected layers; with the seed that ``random_state``
        draws, the keys of ``solver`` and the settings."""
        asked: dict[str, Any] = {"test_interval": 0}
        if self.random_state is not None:
            asked["random_seed"] = int(validation.check_random_state(self.random_state).randint(2**31 - 1))
        settings = [
            f"solver.{key}={plain_json.text(value, None)}" for key, value in (asked | dict(self.solver or {})).items()
        ]
        spec = self.spec if self.spec is not None else self._fully_connected(outputs, loss, count)
        return load_spec(spec, [*settings, *strings(self.settings, "settings")])

    def _fully_connected(self, outputs: int, loss: str, count: int) -> dict[str, Any]:
        """The spec of a net of fully connected layers, for ``count`` examples."""
        size = min(whole(self.batch_size, "batch_size", 1), count)
        max_iter = max(1, math.ceil(whole(self.epochs, "epochs", 1) * count / size))
        solver = {"type": "Adam", "base_lr": 0.01, "lr_policy": "cosine", "max_iter": max_iter}
        data = {"name": "data", "type": "Data", "top": ["data", "label"], "source": "given", "batch_size": size}
        layers: list[dict[str, Any]] = [data | {"split": 0}]
        below = "data"
        if not isinstance(self.hidden, Iterable):
            raise NettrainError(f"hidden must be sizes of layers, such as (64, 32); got {self.hidden!r}")
        for i, width in enumerate(self.hidden, 1):
            size = whole(width, "a size in hidden", 1)
            fully = {"name": f"ip{i}", "type": "InnerProduct", "num_output": size, "weight_filler": "msra"}
            layers += [fully | {"bottom": below}, {"name": f"relu{i}", "type": "ReLU"}]
            below = f"relu{i}"
        layers.append({"name": "scores", "type": "InnerProduct", "bottom": below, "num_output": outputs})
        layers.append({"name": "loss", "type": loss, "bottom": ["scores", "label"]})
        return {"name": "estimator", "solver": solver, "layers": layers}

    def _examples(self, x: np.ndarray) -> np.ndarray:
        """N x F values standardized, in the shape of the net's examples."""
        x = (x - self.mean_) / self.scale_
        if self.shape is None:
            return x
        if math.prod(self.shape) != x.shape[1]:
            raise NettrainError(f"shape {format_shape(self.shape)} does not fit rows of {x.shape[1]} values")
        return x.reshape(len(x), *self.shape)

    def _said(self, X: Any) -> np.ndarray:
        """The numbers of the net's main output."""
        validation.check_is_fitted(self)
        x = self._examples(validation.validate_data(self, X, reset=False, dtype=np.float64))
        return np.concatenate([answers.outputs[self.model_.main] for answers in self.model_.answer(x)])

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("model_", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "weights_" in state:
            self._make()


class Classifier(base.ClassifierMixin, _Estimator):
    """A net that tells classes apart, as scikit-learn's classifiers do: ``Classifier((64, 32)).fit(X, y).predict(X)``.

    Args:
        hidden: sizes of the hidden layers of a net of fully connected layers with ReLU.
        spec: in their place a spec of one's own: a path, YAML text or a mapping. What its Data layer names as source is
            not opened; the examples are given.
        solver: keys of the solver, such as ``{"base_lr": 0.01, "weight_decay": 1e-4}``.
        settings: overrides such as ``"ip1.num_output=32"``.
        epochs, batch_size: passes over the examples, and how many of them make an iteration, where no spec says so.
        shape: of an example, such as (1, 28, 28), where the net needs more than a row of values.
        standardize: whether each column is brought to mean 0 and standard deviation 1, as it is in training.
        random_state: an integer, or numpy's RandomState; None is the spec's own seed, or else a fixed one.
        dtype: ``float64``, or ``float32``, which is faster for large nets.

    ``classes_`` are the labels, ``model_`` is the net (see ``nettrain.Model``), ``loss_`` the last training loss.
    Raises ValueError for what is no table of numbers, NettrainError for a spec that does not fit it.
    """

    def fit(self, X: Any, y: Any) -> Classifier:
        """Train on N x F values and N labels of any kind."""
        x, y = validation.validate_data(self, X, y, dtype=np.float64)
        multiclass.check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"Classifier needs samples of at least 2 classes; the data has one class, {self.classes_[0]!r}"
            )
        self._train(x, numbers, len(self.classes_), "SoftmaxWithLoss")
        return self

    @metaestimators.available_if(lambda self: self._has_probabilities())
    def predict_proba(self, X: Any) -> np.ndarray:
        """N x classes: the probability of each class of ``classes_``. Where a spec's loss has none, as a HingeLoss, the
        trained estimator has no such method."""
        return self._of_classes(X)

    def predict(self, X: Any) -> np.ndarray:
        """The label of each row: the class with the largest probability or score."""
        best = self._of_classes(X).argmax(axis=1)
        return self.classes_[best]

    def _of_classes(self, X: Any) -> np.ndarray:
        said = self._said(X)
        return _in_columns(said, len(self.classes_), "classes")

    def _has_probabilities(self) -> bool:
        model = getattr(self, "model_", None)
        return model is None or model.meanings[model.main].kind == "Softmax"


class Regressor(base.RegressorMixin, _Estimator):
    """A net that gives values, as scikit-learn's regressors do: ``Regressor().fit(X, y).predict(X)``.

    The arguments are those of ``Classifier``; with ``standardize`` targets are brought to mean 0 and standard deviation
    1 in training too. y is N values, or N x K.
    """

    def fit(self, X: Any, y: Any) -> Regressor:
        """Train on N x F values and their targets."""
        x, y = validation.validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self.is_single_ = y.ndim == 1
        targets = np.asarray(y, np.float64).reshape(len(y), -1)
        self.target_mean_, self.target_scale_ = _standard(targets, self.standardize)
        targets = (targets - self.target_mean_) / self.target_scale_
        self._train(x, targets, targets.shape[1], "EuclideanLoss")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The value of each row, or its K values."""
        said = self._said(X)
        values = _in_columns(said, len(self.target_mean_), "targets") * self.target_scale_ + self.target_mean_
        return values[:, 0] if self.is_single_ else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _in_columns(said: np.ndarray, count: int, what: str) -> np.ndarray:
    """N x count. Raises NettrainError unless the net says so many numbers of an example."""
    if math.prod(said.shape[1:]) != count:
        shape = " x ".join(map(str, said.shape[1:])) or "1"
        raise NettrainError(f"the net gives {shape} numbers for an example; there are {count} {what}")
    return said.reshape(len(said), count)


def _standard(x: np.ndarray, is_wanted: bool) -> tuple[np.ndarray, np.ndarray]:
    """The mean and standard deviation of each column, 1 where that is 0, as scikit-learn's StandardScaler has them; 0
    and 1 where it is not wanted."""
    if not is_wanted:
        return np.zeros(x.shape[1]), np.ones(x.shape[1])
    scale = x.std(axis=0)
    return x.mean(axis=0), np.where(scale > 10 * np.finfo(x.dtype).eps * np.abs(x).max(axis=0), scale, 1.0)
