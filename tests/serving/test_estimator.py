"""The estimators: scikit-learn's own checks, and what they learn, in the places where people use estimators."""

import pickle

import nettrain
import numpy as np
import pytest
from nettrain.spec.errors import NettrainError

base = pytest.importorskip("sklearn.base")

CENTRE = np.array([100.0, 0])
QUICK = {"hidden": (8,), "epochs": 3}
# Those of scikit-learn's checks that hold the contract and train little; all of them pass, in half a minute.
CHECKS = {
    "check_estimator_cloneable",
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_dont_overwrite_attributes",
    "check_dict_unchanged",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_estimators_unfitted",
    "check_estimators_pickle",
    "check_estimators_nan_inf",
    "check_estimators_dtypes",
    "check_estimator_sparse_tag",
    "check_methods_subset_invariance",
    "check_fit2d_1sample",
    "check_get_params_invariance",
    "check_parameters_default_constructible",
    "check_classifiers_one_label",
    "check_supervised_y_2d",
}


@pytest.mark.parametrize("kind", [nettrain.Classifier, nettrain.Regressor])
def test_scikit_learns_own_checks(kind):
    from sklearn.utils.estimator_checks import estimator_checks_generator

    done = set()
    for estimator, check in estimator_checks_generator(kind(**QUICK)):
        if check.func.__name__ in CHECKS:
            check(estimator)
            done.add(check.func.__name__)
    assert len(done) > 13


@pytest.fixture
def rings():
    """Points within a circle and around it: no line parts them."""
    x = np.random.default_rng(0).uniform(-10, 10, (240, 2)) + CENTRE
    return x, np.where(np.hypot(*(x - CENTRE).T) < 6, "in", "out")


def test_it_learns_and_says_what_scikit_learn_expects(rings, workdir):
    x, y = rings
    made = nettrain.Classifier((16,), epochs=40, solver={"base_lr": 0.05}).fit(x, y)
    assert made.score(x, y) > 0.95
    assert made.classes_.tolist() == ["in", "out"]
    assert made.predict(x).dtype == y.dtype
    assert np.allclose(made.predict_proba(x).sum(axis=1), 1)
    again = nettrain.Classifier((16,), epochs=40, solver={"base_lr": 0.05}).fit(x, y)
    assert np.array_equal(again.predict_proba(x), made.predict_proba(x))
    other = nettrain.Classifier((16,), epochs=40, solver={"base_lr": 0.05}, random_state=0).fit(x, y)
    assert not np.array_equal(other.predict_proba(x), made.predict_proba(x))
    back = pickle.loads(pickle.dumps(made))
    assert np.array_equal(back.predict_proba(x), made.predict_proba(x))
    assert list(workdir.iterdir()) == []  # no run is kept


def test_without_hidden_layers_it_is_least_squares(workdir):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3)) * [1, 10, 0.1] + 5
    y = x @ rng.standard_normal((3, 2)) + [7, -3]
    made = nettrain.Regressor((), epochs=200, solver={"base_lr": 0.05}).fit(x, y)
    expected = np.hstack([x, np.ones((60, 1))]) @ np.linalg.lstsq(np.hstack([x, np.ones((60, 1))]), y)[0]
    assert np.allclose(made.predict(x), expected, atol=0.02)
    assert made.fit(x, y[:, 0]).predict(x).shape == (60,)


def test_in_a_search_in_a_pipeline(rings):
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = rings
    pipe = make_pipeline(StandardScaler(), nettrain.Classifier(epochs=20, standardize=False, solver={"base_lr": 0.05}))
    search = GridSearchCV(pipe, {"classifier__hidden": [(), (16,)]}, cv=2).fit(x, y)
    assert search.best_params_ == {"classifier__hidden": (16,)}


def test_a_spec_of_ones_own(workdir):
    spec = {
        "solver": {"base_lr": 0.1, "max_iter": 30},
        "layers": [
            {"name": "digits", "type": "Data", "top": ["data", "label"], "source": "nowhere.npz", "batch_size": 16},
            {"name": "conv", "type": "Convolution", "bottom": "data", "num_output": 4, "kernel_size": 3},
            {"name": "ip", "type": "InnerProduct", "num_output": 2},
            {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
        ],
    }
    x = np.random.default_rng(0).standard_normal((40, 25))
    y = (x[:, :12].mean(axis=1) > x[:, 12:].mean(axis=1)).astype(int)
    made = nettrain.Classifier(spec=spec, shape=(1, 5, 5), solver={"max_iter": 60}, settings=["conv.num_output=2"])
    assert base.clone(made).fit(x, y).score(x, y) > 0.9
    assert made.fit(x, y).n_iter_ == 60
    assert made.model_.net.params["conv"][0].shape == (2, 1, 3, 3)
    three = nettrain.Classifier(spec=spec, shape=(1, 5, 5), solver={"max_iter": 1}, settings=["ip.num_output=3"])
    with pytest.raises(NettrainError, match="the net gives 3 numbers for an example; there are 2 classes"):
        three.fit(x, y).predict(x)


def test_its_own_keys_replace_those_of_the_spec_and_its_seed_stays(rings, workdir):
    x, y = rings
    made = nettrain.Classifier((4,), solver={"max_epoch": 2, "iter_size": np.int64(1)}, settings="ip1.num_output=3")
    assert made.fit(x, y).n_iter_ == 2 * 240 // 32
    assert made.weights_["param/ip1/0"].shape == (3, 2)
    spec = {
        "solver": {"base_lr": 0.01, "max_iter": 2, "random_seed": 7},
        "layers": [
            {"name": "d", "type": "Data", "top": ["data", "label"], "source": "nowhere.npz", "batch_size": 16},
            {"name": "ip", "type": "InnerProduct", "num_output": 2, "bottom": "data"},
            {"name": "loss", "type": "HingeLoss", "bottom": ["ip", "label"]},
        ],
    }
    margins = nettrain.Classifier(spec=spec)
    assert hasattr(margins, "predict_proba")
    assert margins.fit(x, y).spec_.to_python()["solver"]["random_seed"] == 7
    assert set(margins.predict(x)) <= {"in", "out"}
    assert not hasattr(margins, "predict_proba")  # scores are no probabilities


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"hidden": 8}, "hidden must be sizes of layers"),
        ({"hidden": (0,)}, "a size in hidden must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"shape": (1, 2, 2)}, "shape 1 x 2 x 2 does not fit rows of 2 values"),
    ],
)
def test_an_argument_that_is_none_is_said(rings, keys, words):
    with pytest.raises(NettrainError, match=words):
        nettrain.Classifier(**keys).fit(*rings)
