"""Targets: what a layer's docs promise of its inputs is checked, in the data set once and in every batch."""

import re

import nettrain
import numpy as np
import pytest
import yaml
from helpers import layer_net
from nettrain import NettrainError, SpecError
from nettrain.net.blob import Known, Range

# For each layer that takes values between 0 and 1: its other bottoms' shapes, the targets', which bottom they are, what
# messages call one, whether only 0 and 1 are right
LAYERS = {
    "SigmoidCrossEntropyLoss": ([(4, 3)], (4, 3), 1, "target", False, {}),
    "BinaryAccuracy": ([(4, 3)], (4, 3), 1, "target", True, {}),
    "ContrastiveLoss": ([(4, 3), (4, 3)], (4,), 2, "similarity label", True, {}),
    "SoftmaxWithLoss": ([(4, 3)], (4, 3), 1, "target probability", False, {}),
    "RNN": ([(4, 3, 2)], (4, 3), 1, "cont", False, {"num_output": 2}),
    "LSTM": ([(4, 3, 2)], (4, 3), 1, "cont", False, {"num_output": 2}),
    "GRU": ([(4, 3, 2)], (4, 3), 1, "cont", False, {"num_output": 2}),
    "LSTMUnit": ([(1, 4, 2), (1, 4, 8)], (1, 4), 2, "cont", False, {"top": ["c", "h"]}),
    "Recurrent": (
        [(4, 3, 2)],
        (4, 3),
        1,
        "cont",
        False,
        {
            "cell": [{"name": "n", "type": "Eltwise", "bottom": ["x", "h"]}],
            "states": {"name": "h", "next": "n", "shape": 2},
            "outputs": "n",
        },
    ),
}


def refused(kind, values, **more):
    """The message about a batch with these values; nothing when there is none."""
    others, shape, i, _, _, params = LAYERS[kind]
    net = layer_net(kind, *others, shape, name="layer", force_backward=False, **params | more)
    rng = np.random.default_rng(0)
    given = {f"x{k}": rng.random(other) for k, other in enumerate(others)}
    try:
        net.forward(**given, **{f"x{i}": np.resize(values, shape)})
    except NettrainError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", LAYERS)
def test_a_batch_with_other_values_is_refused(kind):
    name, whole = LAYERS[kind][3:5]
    wanted = "0 or 1" if whole else "between 0 and 1"
    assert refused(kind, [0, 1]) == ""
    assert bool(refused(kind, [0, 0.5])) == whole
    for bad in (2, -0.5, np.nan, np.inf, -np.inf, 1.001):
        message = refused(kind, [0, 1, 1, bad])
        assert f"{name} {bad:g} at " in message, bad
        assert f"of the batch is not {wanted}" in message
    assert "divide bytes by 255: transform: {scale: 0.003921569}" in refused(kind, [0, 255])
    assert "for -1 and +1 give (t + 1) / 2" in refused(kind, [-1, 1])
    assert "{type: Power, scale: 0.5, shift: 0.5}" in refused(kind, [1, 1, -1])


def test_the_place_of_the_first_bad_target():
    assert "target 7 at [1, 2] of the batch" in refused("SigmoidCrossEntropyLoss", [0, 0, 0, 0, 0, 7])
    assert "similarity label 3 at example 2 of the batch" in refused("ContrastiveLoss", [1, 0, 3, 1])


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1)])
def test_the_remedies_are_right(low, high):
    """A layer written as the message says makes good targets of these, in single precision too."""
    message = refused("SigmoidCrossEntropyLoss", [low, high])
    power = re.search(r"\{(type: Power[^}]*)\}", message).group(1)
    text = (
        "layers:\n  - {name: x, type: Input, shape: [4, 3]}\n  - {name: raw, type: Input, shape: [4, 3]}\n"
        f"  - {{name: t, bottom: raw, {power}}}\n"
        "  - {name: loss, type: SigmoidCrossEntropyLoss, bottom: [x, t]}\n"
    )
    net = nettrain.Net(text, phase="TRAIN")
    net.forward(x=np.zeros((4, 3)), raw=np.resize([low, high], (4, 3)))
    np.testing.assert_allclose(net.blobs["t"].data, np.resize([0, 1], (4, 3)), atol=1e-6)
    assert net.loss == pytest.approx(3 * np.log(2))


@pytest.mark.parametrize(
    ("kind", "ignored", "good", "bad"),
    [
        ("SigmoidCrossEntropyLoss", -1, [-1, -1.5, 0, 0.5, 1], [-2, -0.5, 2]),
        ("SigmoidCrossEntropyLoss", 255, [0, 255, 255.5, 1], [254, -1, 256]),
        ("BinaryAccuracy", -1, [-1, 0, 1], [-1.5, 0.5, 2]),
        ("BinaryAccuracy", 0.5, [0.5, 0, 1], [0.25, np.nan]),
    ],
)
def test_ignored_targets_may_be_anything_that_is_ignored(kind, ignored, good, bad):
    assert refused(kind, good, ignore_label=ignored) == ""
    for value in bad:
        assert f"or {ignored:g} to be ignored" in refused(kind, [0, 1, value], ignore_label=ignored)


def test_what_rounding_makes_of_one_is_one():
    assert refused("SigmoidCrossEntropyLoss", [np.float32(0.1) * 3 + np.float32(0.7), -1e-7, 1 + 1e-7]) == ""


# In the data set, before any work


def data_net(kind, values, **params):
    others, given = LAYERS[kind][0], LAYERS[kind][-1]
    rng = np.random.default_rng(0)
    arrays = {f"x{k}": rng.random((8, *other[1:])) for k, other in enumerate(others)}
    np.savez("set.npz", data=np.zeros((8, 1)), label=np.zeros(8), t=values, **arrays)
    tops = ["data", "label", *arrays, "t"]
    data = {"name": "d", "type": "Data", "top": tops, "source": "set.npz", "batch_size": 4, "shuffle": False}
    layer = {"name": "layer", "type": kind, "bottom": [*arrays, "t"]} | given | params
    return nettrain.Net({"layers": [data, layer]}, phase="TRAIN")


@pytest.mark.parametrize("kind", ["SigmoidCrossEntropyLoss", "BinaryAccuracy", "ContrastiveLoss", "SoftmaxWithLoss"])
@pytest.mark.parametrize(("bad", "low", "high"), [(255, 0, 255), (-1, -1, 1), (np.nan, np.nan, np.nan)])
def test_a_data_set_is_checked_whole_before_any_work(workdir, kind, bad, low, high):
    shape, name = LAYERS[kind][1], LAYERS[kind][3]
    values = np.resize([0.0, 1], (8, *shape[1:]))
    data_net(kind, values)
    values[-1] = bad  # the last example, which the first batch does not reach
    with pytest.raises(SpecError) as error:
        data_net(kind, values)
    assert f"every {name} must be " in str(error.value)
    seen = f"they run from {low:g} to {high:g}" if low == low else "some of them are NaN"
    assert f"; in set.npz {seen}" in str(error.value)
    assert "transform" not in str(error.value)  # it changes the examples, not these
    assert "nan" not in str(error.value)


def test_a_data_set_with_ignored_targets_is_checked_too(workdir):
    values = np.resize([0.0, 1, -1], (8, 3))
    data_net("SigmoidCrossEntropyLoss", values, ignore_label=-1)
    values[7, 2] = 3
    with pytest.raises(SpecError, match=r"between 0 and 1, or -1 to be ignored; in set\.npz they run from 0 to 3"):
        data_net("SigmoidCrossEntropyLoss", values, ignore_label=-1)


def test_labels_with_an_ignored_one_are_checked_before_any_work(workdir):
    """A label that is no class is found wherever it is, though another one is ignored."""

    def make(labels):
        np.savez("set.npz", data=np.zeros((8, 3)), label=labels)
        data = {"name": "d", "type": "Data", "top": ["x", "label"], "source": "set.npz", "batch_size": 2}
        loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["x", "label"], "ignore_label": 255}
        return nettrain.Net({"layers": [data, loss]}, phase="TRAIN")

    make([0, 1, 2, 255, 255, 0, 0, 0])
    make([255] * 8)
    with pytest.raises(SpecError, match=r"the labels run from 0 to 3, but there are 3 outputs \(0..2\)"):
        make([0, 1, 2, 255, 255, 0, 0, 3])


def test_labels_in_hdf5_files_are_checked_before_any_work(workdir):
    import h5py

    for k in range(2):
        with h5py.File(f"{k}.h5", "w") as file:
            file["x"], file["t"] = np.zeros((4, 3)), np.resize([0, 1, 255 if k else 1], (4, 3))
    (workdir / "files.txt").write_text("0.h5 1.h5")
    layers = [
        {"name": "d", "type": "HDF5Data", "top": ["x", "t"], "source": "files.txt", "batch_size": 2},
        {"name": "loss", "type": "SigmoidCrossEntropyLoss", "bottom": ["x", "t"]},
    ]
    with pytest.raises(SpecError, match=r"every target must be between 0 and 1; in .*files.txt they run from 0 to 255"):
        nettrain.Net({"layers": layers}, phase="TRAIN")


def test_what_is_known_is_looked_through_once_and_only_when_asked():
    calls = []

    def values():
        calls.append(1)
        return np.array([0.0, -1, -1.5, 1])

    known = Known(values, "set")
    assert calls == []
    assert known.range() == known.range() == Range(-1.5, 1, -1.5)
    assert known.range(-1) == Range(-1.5, 1, -1.5)
    assert known.range(-1, truncated=True) == known.range(-1, truncated=True) == Range(0, 1)
    assert len(calls) == 3
    assert Known(np.array([255, 255]), "set").range(255) is None


# Other promises


@pytest.mark.parametrize("p", [1.5, -0.25])
def test_what_is_no_probability_is_refused(p):
    layers = [
        {"name": "p", "type": "Input", "shape": [2, 3]},
        {"name": "label", "type": "Input", "shape": [2]},
        {"name": "loss", "type": "MultinomialLogisticLoss", "bottom": ["p", "label"]},
    ]
    net = nettrain.Net({"layers": layers}, phase="TRAIN")
    net.forward(p=[[1, 0, 0], [0, 1, 0]], label=[0, 1])
    assert net.loss == 0
    with pytest.raises(NettrainError, match=f"{p:g}, for the class of example 1 of the batch, is not a probability"):
        net.forward(p=[[1, 0, 0], [0, p, 0]], label=[0, 1])


def test_an_infogain_matrix_with_nan_is_refused(workdir):
    np.save("H.npy", [[1, 0], [np.nan, 1]])
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 2]},
        {"name": "label", "type": "Input", "shape": [2]},
        {"name": "loss", "type": "InfogainLoss", "bottom": ["x", "label"], "source": "H.npy"},
    ]
    with pytest.raises(SpecError, match=r"H.npy holds values that are not finite"):
        nettrain.Net({"layers": layers}, phase="TRAIN")


SPEC = """
solver: {{base_lr: 0.1, max_iter: 5}}
layers:
  - {{name: d, type: Data, top: [data, label], source: a.npz, batch_size: 4, shuffle: false}}
  - {{name: ip1, type: InnerProduct, bottom: data, num_output: 3}}
  - {{name: loss, type: SigmoidCrossEntropyLoss, bottom: [ip1, {target}]}}
"""


@pytest.mark.parametrize("command", [["train"], ["check"], ["gradcheck"], ["explain"]])
def test_every_command_says_it(nettrain_cli, workdir, command):
    """Bytes as targets, as labels of the set and as the images themselves: nothing is trained to minus two million."""
    np.savez("a.npz", data=np.full((8, 3), 200.0), label=np.full((8, 3), 255))
    for target, says in (("label", "they are all 255"), ("data", "target 200 at [0, 0] of the batch")):
        (workdir / "a.yaml").write_text(SPEC.format(target=target))
        result = nettrain_cli(*command, "a.yaml", exit_code=2)
        assert says in result.stderr
        assert "a.yaml:6:" in result.stderr
        assert "divide bytes by 255" in result.stderr


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ([0, 255], "divide bytes by 255"),
        ([1, 17], "divide bytes by 255"),
        ([0, 16], ""),  # classes, it may be
        ([0, 256], ""),
        ([-1, 1], "for -1 and +1 give (t + 1) / 2"),
        ([-1, 0], "for -1 and +1 give (t + 1) / 2"),
        ([-2, 1], ""),
        ([-1, 2], ""),
    ],
)
def test_the_slips_that_are_common_are_seen_in_what_a_set_is_known_to_hold(workdir, values, advice):
    np.savez("a.npz", data=np.zeros((4, 3)), label=np.resize(values, (4, 3)))
    with pytest.raises(SpecError) as error:
        nettrain.get_solver(yaml.safe_load(SPEC.format(target="label"))).solve()
    message = str(error.value)
    assert "every target must be between 0 and 1; in " in message
    for words in ("divide bytes by 255", "for -1 and +1 give (t + 1) / 2"):
        assert (words in message) == (words == advice)
