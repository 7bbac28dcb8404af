"""Net: running it whole and in parts, its parameters and files, and what it says when it is misused."""

import gc
import os
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import full_disk, layer
from nettrain import NettrainError, ShapeError, SpecError
from nettrain.files import arrays as npz
from nettrain.net.netspec import load

X = np.random.default_rng(0).standard_normal((2, 3))
DY = np.random.default_rng(1).standard_normal((2, 2))


def ip(name, bottom=None, top=None, num_output=4, **keys):
    return layer(name, "InnerProduct", bottom, top, num_output=num_output, bias_filler="gaussian", **keys)


INPUT = layer("data", "Input", shape=[2, 3])
MLP = [INPUT, ip("ip1"), layer("s", "Sigmoid"), ip("ip2", num_output=2)]


def build(*layers, force=True, **options):
    return nettrain.Net({"force_backward": force, "layers": list(layers)}, **{"dtype": "float64"} | options)


def mlp(**options):
    return build(*MLP, **options)


def formula(net, x):
    """The MLP in plain numpy: its blobs by name."""
    (w1, b1), (w2, b2) = ([blob.data for blob in net.params[name]] for name in ("ip1", "ip2"))
    ip1 = x @ w1.T + b1
    s = 1 / (1 + np.exp(-ip1))
    return {"data": x, "ip1": ip1, "s": s, "ip2": s @ w2.T + b2}


def close(mine, expected):
    np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-14)


# Forward


def test_forward_fills_the_inputs_and_returns_the_outputs():
    net = mlp()
    outputs = net.forward(data=X)
    assert list(outputs) == net.outputs == ["ip2"]
    assert net.inputs == ["data"]
    assert list(net.blobs) == ["data", "ip1", "s", "ip2"]
    for name, values in formula(net, X).items():
        close(net.blobs[name].data, values)
    close(outputs["ip2"], formula(net, X)["ip2"])
    close(net.forward()["ip2"], formula(net, X)["ip2"])  # the inputs stay


@pytest.mark.parametrize("examples", [1, 2, 7])
def test_an_input_takes_the_shape_it_is_given(examples):
    net, x = mlp(), np.linspace(-1, 1, 3 * examples).reshape(examples, 3)
    assert net.forward(data=x)["ip2"].shape == (examples, 2)
    close(net.blobs["ip2"].data, formula(net, x)["ip2"])
    close(net.forward(data=X)["ip2"], formula(net, X)["ip2"])


def test_inputs_may_be_lists_of_integers():
    net = mlp()
    close(net.forward(data=[[1, 2, 3]])["ip2"], formula(net, np.array([[1.0, 2, 3]]))["ip2"])


def test_further_blobs_may_be_asked_for():
    net = mlp()
    outputs = net.forward(data=X, blobs=["s", "ip1"])
    assert list(outputs) == ["ip2", "s", "ip1"]
    close(outputs["s"], formula(net, X)["s"])


def test_forward_up_to_a_layer():
    net = mlp()
    outputs = net.forward(data=X, end="s")
    assert list(outputs) == ["s"]
    close(outputs["s"], formula(net, X)["s"])
    assert not net.blobs["ip2"].data.any()


def test_forward_starting_at_a_layer():
    net = mlp()
    net.forward(data=X)
    s = np.full((2, 4), 0.5)
    net.blobs["ip1"].data[...] = 9  # not read
    outputs = net.forward(start="ip2", s=s)
    w, b = (blob.data for blob in net.params["ip2"])
    close(outputs["ip2"], s @ w.T + b)
    close(net.blobs["ip1"].data, np.full((2, 4), 9))


def test_forward_of_one_layer():
    net = mlp()
    net.forward(data=X)
    outputs = net.forward(start="s", end="s", ip1=np.zeros((2, 4)))
    close(outputs["s"], np.full((2, 4), 0.5))
    close(net.blobs["ip2"].data, formula(net, X)["ip2"])


def test_forward_up_to_a_layer_whose_top_is_rewritten_later():
    net = build(INPUT, layer("a", "Sigmoid", "data"), layer("b", "TanH", "a", "a"))
    net.forward(data=X)
    outputs = net.forward(data=X, end="a")
    close(outputs["a"], 1 / (1 + np.exp(-X)))


def test_an_input_that_is_rewritten_in_place():
    net = build(INPUT, layer("s", "Sigmoid", "data", "data"), ip("ip", "data", num_output=2))
    x = np.vstack([X, X, X])
    s = 1 / (1 + np.exp(-x))
    w, b = (blob.data for blob in net.params["ip"])
    close(net.forward(data=x)["ip"], s @ w.T + b)
    dy = np.ones((6, 2))
    close(net.backward(ip=dy)["data"], dy @ w * s * (1 - s))


REWRITTEN = [INPUT, ip("ip1"), layer("s", "Sigmoid", "ip1", "ip1"), ip("ip2", "ip1", num_output=2)]


def test_values_for_a_rewritten_blob_are_what_the_first_layer_that_runs_reads():
    net = build(*REWRITTEN)
    net.forward(data=X)
    values = np.linspace(-2, 2, 8).reshape(2, 4)
    w, b = (blob.data for blob in net.params["ip2"])
    close(net.forward(start="ip2", ip1=values)["ip2"], values @ w.T + b)
    close(net.forward(start="s", ip1=values)["ip2"], 1 / (1 + np.exp(-values)) @ w.T + b)


def test_values_for_a_rewritten_input_are_what_the_first_layer_that_runs_reads():
    net = build(INPUT, layer("s", "Sigmoid", "data", "data"), ip("ip", "data", num_output=2))
    net.forward(data=X)
    w, b = (blob.data for blob in net.params["ip"])
    close(net.forward(start="ip", data=2 * X)["ip"], 2 * X @ w.T + b)


def test_values_for_a_blob_that_a_layer_makes_are_not_dropped_silently():
    net = mlp()
    with pytest.raises(NettrainError, match="`s`"):
        net.forward(data=X, s=np.zeros((2, 4)))


def test_outputs_are_what_nobody_reads_in_the_order_they_are_made():
    net = build(INPUT, ip("z"), ip("a", "data"), layer("quiet", "Silence", "z"), ip("m", "data"), ip("b", "a"))
    assert net.outputs == ["m", "b"]


def test_the_loss_is_the_weighted_sum_of_what_ran():
    net = build(INPUT, ip("a", loss_weight=2), layer("l", "EuclideanLoss", ["a", "a"]), ip("b", "a", loss_weight=-1))
    net.forward(data=X)
    a, b = (net.blobs[name].data.sum() for name in "ab")
    assert net.loss == pytest.approx(2 * a - b)
    net.forward(data=X, end="a")
    assert net.loss == pytest.approx(2 * a)


def test_blobs_without_axes():
    net = build(layer("x", "Input"), layer("y", "Eltwise", ["x", "x"], operation="PROD"))
    assert net.forward(x=3.0)["y"] == 9
    assert net.backward(y=1.0)["x"] == 6


# Backward


def test_backward_from_a_given_diff():
    net = mlp()
    net.forward(data=X)
    net.clear_param_diffs()
    diffs = net.backward(ip2=DY)
    values = formula(net, X)
    ds = DY @ net.params["ip2"][0].data
    d1 = ds * values["s"] * (1 - values["s"])
    close(net.params["ip2"][0].diff, DY.T @ values["s"])
    close(net.params["ip2"][1].diff, DY.sum(axis=0))
    close(net.params["ip1"][0].diff, d1.T @ X)
    assert list(diffs) == ["data"]
    close(diffs["data"], d1 @ net.params["ip1"][0].data)


def test_backward_adds_to_the_parameters_gradients():
    net = mlp()
    net.forward(data=X)
    net.clear_param_diffs()
    net.backward(ip2=DY)
    once, data = net.flat.diff.copy(), net.blobs["data"].diff.copy()
    net.backward(ip2=DY)
    close(net.flat.diff, 2 * once)
    close(net.blobs["data"].diff, data)
    net.clear_param_diffs()
    assert not net.flat.diff.any()


def test_backward_from_a_layer_down():
    net = mlp()
    net.forward(data=X)
    net.clear_param_diffs()
    ds = np.ones((2, 4))
    diffs = net.backward(start="s", s=ds)
    s = formula(net, X)["s"]
    close(diffs["data"], (ds * s * (1 - s)) @ net.params["ip1"][0].data)
    assert not net.params["ip2"][0].diff.any()


def test_backward_down_to_a_layer():
    net = mlp()
    net.forward(data=X)
    net.clear_param_diffs()
    net.backward(end="s", ip2=DY)
    s = formula(net, X)["s"]
    close(net.blobs["ip1"].diff, (DY @ net.params["ip2"][0].data) * s * (1 - s))
    assert net.params["ip2"][0].diff.any()
    assert not net.params["ip1"][0].diff.any()
    assert not net.blobs["data"].diff.any()


def test_diffs_for_a_rewritten_blob_are_what_the_first_layer_that_runs_reads():
    net = build(*REWRITTEN)
    net.forward(data=X)
    s, d, w = formula(net, X)["s"], np.linspace(-2, 2, 8).reshape(2, 4), net.params["ip1"][0].data
    close(net.backward(start="s", ip1=d)["data"], (d * s * (1 - s)) @ w)
    close(net.backward(start="ip1", ip1=d)["data"], d @ w)


BRANCHES = [INPUT, ip("a"), *(ip(name, "a", num_output=2, bias_term=False) for name in "pqr")]


@pytest.mark.parametrize(
    ("start", "end", "given", "branches"),
    [
        ("r", "p", {}, "pqr"),
        ("q", "p", {}, "pq"),
        ("p", "p", {}, "p"),
        ("r", "q", {}, "qr"),
        ("r", "r", {}, "r"),
        ("q", "p", {"a": 5.0}, "pq"),
        ("p", "p", {"a": 5.0}, "p"),
    ],
)
def test_partial_backward_adds_the_readers_that_ran_to_what_was_given(start, end, given, branches):
    net = build(*BRANCHES)
    net.forward(data=X)
    rng = np.random.default_rng(5)
    for name in "pqr":
        net.blobs[name].diff[...] = rng.standard_normal((2, 2))
    net.blobs["a"].diff[...] = 77  # left over from before
    net.backward(start=start, end=end, **{name: np.full((2, 4), value) for name, value in given.items()})
    expected = sum(net.blobs[name].diff @ net.params[name][0].data for name in branches) + given.get("a", 0)
    close(net.blobs["a"].diff, expected)


@pytest.mark.parametrize(("start", "branches"), [("r", "pqr"), ("q", "pq"), ("p", "p"), ("a", "")])
def test_partial_backward_keeps_the_loss_weight_of_a_blob(start, branches):
    net = build(INPUT, ip("a", loss_weight=3), *BRANCHES[2:])
    net.forward(data=X)
    for name in "pqr":
        net.blobs[name].diff[...] = 1
    net.backward(start=start)
    expected = np.full((2, 4), 3.0)
    for name in branches:
        expected += np.ones((2, 2)) @ net.params[name][0].data
    close(net.blobs["a"].diff, expected)


def test_losses_start_from_their_weight_every_time():
    net = build(
        INPUT,
        layer("t", "Input", shape=[2, 4]),
        ip("a", "data"),
        layer("l", "EuclideanLoss", ["a", "t"], loss_weight=3),
    )
    net.forward(data=X)
    for _ in range(2):
        net.blobs["l"].diff[...] = 100
        net.backward()
        close(net.blobs["a"].diff, 3 * net.blobs["a"].data / 2)
    net.backward(l=-1.0)  # unless another is given
    close(net.blobs["a"].diff, -net.blobs["a"].data / 2)


def test_a_given_diff_that_a_layer_overwrites_is_not_dropped_silently():
    net = build(INPUT, layer("t", "Input", shape=[2, 4]), ip("a", "data"), layer("l", "EuclideanLoss", ["a", "t"]))
    net.forward(data=X)
    with pytest.raises(NettrainError, match="`a`"):
        net.backward(a=np.ones((2, 4)))


def test_forward_backward_returns_the_loss():
    net = build(INPUT, layer("t", "Input", shape=[2, 4]), ip("a", "data"), layer("l", "EuclideanLoss", ["a", "t"]))
    net.forward(data=X)
    net.clear_param_diffs()
    value = net.forward_backward()
    a = net.blobs["a"].data
    assert value == net.loss == pytest.approx((a**2).sum() / 4)
    close(net.params["a"][0].diff, (a / 2).T @ X)


# Reshape


def test_reshape_passes_shapes_on_without_data():
    net = build(INPUT, ip("a"), layer("sum", "Eltwise", ["a", "a"]), layer("s", "Sigmoid", "sum", "sum"))
    net.blobs["data"].reshape((9, 3))
    net.reshape()
    assert {name: blob.shape for name, blob in net.blobs.items()} == {"data": (9, 3), "a": (9, 4), "sum": (9, 4)}
    net.blobs["data"].data[...] = 1
    assert net.forward()["sum"].shape == (9, 4)


def test_a_shape_that_does_not_fit_names_the_layer():
    net = mlp()
    with pytest.raises(ShapeError, match=r"InnerProduct `ip1`: the weights take 3 inputs, but 2 x 5 from axis 1"):
        net.forward(data=np.zeros((2, 5)))
    net.blobs["data"].reshape((2, 6))
    with pytest.raises(ShapeError, match="InnerProduct `ip1`"):
        net.reshape()
    close(net.forward(data=X)["ip2"], formula(net, X)["ip2"])  # and the net still works


# Parameters and files


def test_parameters_lie_in_one_array_in_the_order_of_the_net():
    net = mlp()
    expected = np.concatenate([blob.data.ravel() for blobs in net.params.values() for blob in blobs])
    np.testing.assert_array_equal(net.flat.data, expected)
    assert [(p.name, p.start, p.stop) for p in net.parameters] == [
        ("ip1[0]", 0, 12),
        ("ip1[1]", 12, 16),
        ("ip2[0]", 16, 24),
        ("ip2[1]", 24, 26),
    ]
    net.flat.data[...], net.flat.diff[...] = 5, 6
    assert all((blob.data == 5).all() and (blob.diff == 6).all() for blobs in net.params.values() for blob in blobs)


def test_save_and_copy_from_give_the_same_bits(tmp_path):
    net, other = mlp(seed=1), mlp(seed=2)
    net.save(tmp_path / "w.npz")
    assert not np.array_equal(net.flat.data, other.flat.data)
    report = other.copy_from(tmp_path / "w.npz")
    np.testing.assert_array_equal(net.flat.data, other.flat.data)
    assert (report.loaded, report.missing, report.ignored) == (["ip1", "ip2"], [], [])
    again = mlp(seed=3, weights=str(tmp_path / "w.npz"))
    np.testing.assert_array_equal(net.flat.data, again.flat.data)


def test_layers_are_matched_by_name(tmp_path):
    build(INPUT, ip("a"), ip("old"), layer("r", "ReLU"), ip("b"), seed=1).save(tmp_path / "w.npz")
    net = build(INPUT, ip("b", num_output=4), ip("new", "data"), ip("a", "data"), seed=2)
    before = net.params["new"][0].data.copy()
    source = build(INPUT, ip("a"), seed=1)
    with pytest.raises(NettrainError, match=r"layer `b` has blobs of 4 x 4, 4 in the file and 4 x 3, 4 in the net"):
        net.copy_from(tmp_path / "w.npz")
    net = build(INPUT, ip("new", "data"), ip("a", "data"), seed=2)
    report = net.copy_from(tmp_path / "w.npz")
    assert (report.loaded, report.missing, report.ignored) == (["a"], ["new"], ["old", "b"])
    np.testing.assert_array_equal(net.params["a"][0].data, source.params["a"][0].data)
    np.testing.assert_array_equal(net.params["new"][0].data, before)


@pytest.mark.parametrize(
    "other",
    [ip("ip2", num_output=3), ip("ip2", num_output=2, bias_term=False), ip("ip2", num_output=2, transpose=True)],
)
def test_a_copy_that_does_not_fit_changes_nothing(tmp_path, other):
    net = mlp(seed=1)
    net.save(tmp_path / "w.npz")
    different = build(*MLP[:3], other, seed=2)
    before = different.flat.data.copy()
    with pytest.raises(NettrainError, match="layer `ip2` has blobs of 2 x 4, 2 in the file"):
        different.copy_from(tmp_path / "w.npz")
    np.testing.assert_array_equal(different.flat.data, before)


def test_names_with_slashes_and_shared_blobs(tmp_path):
    def net(seed):
        shared = {"param": {"name": "w"}}
        return build(INPUT, ip("block/a/0", num_output=3, **shared), ip("block/a", num_output=3, **shared), seed=seed)

    net(1).save(tmp_path / "w.npz")
    other = net(2)
    assert other.copy_from(tmp_path / "w.npz").loaded == ["block/a/0", "block/a"]
    np.testing.assert_array_equal(other.flat.data, net(1).flat.data)


def test_weights_of_the_other_precision(tmp_path):
    mlp(seed=1).save(tmp_path / "w.npz")
    single = mlp(seed=2, dtype="float32", weights=tmp_path / "w.npz")
    np.testing.assert_array_equal(single.flat.data, mlp(seed=1).flat.data.astype(np.float32))


def write_pickle(path):
    np.savez(path, **{"param/ip1/0": np.array([{"a": 1}, None], dtype=object)})


def write_truncated(path):
    mlp().save(path)
    path.write_bytes(path.read_bytes()[:-40])


WRONG = {
    "missing": (lambda path: None, "weights file not found: .*w.npz"),
    "folder": (lambda path: path.mkdir(), r"no snapshot in .*w\.npz; a run is a folder"),
    "empty": (lambda path: path.touch(), r"is damaged or not an .npz file \(0 bytes\)"),
    "text": (lambda path: path.write_text("layers:\n"), "is damaged or not an .npz file"),
    "truncated": (write_truncated, "is damaged"),
    "pickle": (write_pickle, "holds Python objects, which are never loaded"),
    "no parameters": (lambda path: np.savez(path, x=X, y=X), r"holds no parameters of a net \(it has x, y\)"),
    "other net": (
        lambda path: build(INPUT, ip("conv1")).save(path),
        r"no layer of the file has the name of one in the net \(file: conv1; net: ip1, ip2\)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_files_that_are_not_weights(tmp_path, kind):
    make, message = WRONG[kind]
    make(tmp_path / "w.npz")
    with pytest.raises(NettrainError, match=message) as error:
        mlp().copy_from(tmp_path / "w.npz")
    assert "w.npz" in str(error.value)
    del error
    gc.collect()  # a file left open would be a warning, which is an error here


def test_a_single_array_is_not_weights(tmp_path):
    np.save(tmp_path / "w.npy", X)
    with pytest.raises(NettrainError, match=r"w.npy is a single .npy array, not an .npz archive"):
        mlp().copy_from(tmp_path / "w.npy")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    mlp(seed=1).save(path)
    before = path.read_bytes()

    monkeypatch.setattr(npz.np.lib.format, "write_array", full_disk)
    with pytest.raises(NettrainError, match="No space left"):
        mlp(seed=2).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["w.npz"]


def test_saved_files_hold_parameters_only_and_have_ordinary_rights(tmp_path):
    mlp().save(tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["param/ip1/0", "param/ip1/1", "param/ip2/0", "param/ip2/1"]
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "w.npz").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


# Sharing between nets


def test_nets_that_share_have_one_memory():
    net = mlp(seed=1)
    other = mlp(seed=2, share_with=net, phase="TRAIN")
    close(other.forward(data=X)["ip2"], formula(net, X)["ip2"])
    net.params["ip1"][0].data += 1
    close(other.forward(data=X)["ip2"], formula(net, X)["ip2"])
    other.params["ip2"][1].data[...] = 4
    assert net.params["ip2"][1].data[0] == 4


def test_share_with_afterwards_and_with_fewer_layers():
    net, part = mlp(seed=1), build(*MLP[:3], ip("other", "s"), seed=2)
    with pytest.raises(ShapeError, match=r"layer `other` cannot share parameters .*: 4 x 4, 4 here, none there"):
        part.share_with(net)
    w, b = (blob.data.copy() for blob in part.params["ip1"])
    net.flat.data[...] = 0.5
    close(part.forward(data=X, end="ip1")["ip1"], X @ w.T + b)  # nothing is shared unless all of it fits
    assert not np.shares_memory(part.flat.data, net.flat.data)
    part = build(*MLP[:3], seed=2)
    part.share_with(net)
    close(part.forward(data=X)["s"], formula(net, X)["s"])


def test_nets_of_other_shapes_cannot_share():
    other = build(INPUT, ip("ip1", num_output=5))
    with pytest.raises(ShapeError, match=r"layer `ip1` cannot share parameters .*: 5 x 3, 5 here, 4 x 3, 4 there"):
        other.share_with(mlp())


def test_a_net_that_cannot_share_is_not_made():
    other = [INPUT, ip("ip1"), ip("ip2", "ip1", num_output=3), ip("new", "ip1")]
    with pytest.raises(SpecError) as error:
        build(*other, share_with=mlp())
    (problem,) = error.value.problems  # the first that does not fit
    assert str(problem.place) == "spec.layers[2].name"
    assert problem.message.startswith("layer `ip2` cannot share parameters")


# Looking


def test_statistics():
    net = build(
        layer("x", "Input", shape=[2, 2]),
        layer("r", "ReLU", "x"),
        ip("a", "r", num_output=1, loss_weight=1),
        force=False,
    )
    net.params["a"][0].data[...] = [[2, -4]]
    net.params["a"][1].data[...] = 0
    net.forward(x=[[1, -1], [3, 0]])
    net.clear_param_diffs()
    net.backward()
    rows = {(row["layer"], row["blob"]): row for row in net.statistics()}
    assert list(rows) == [("x", "x"), ("r", "r"), ("a", "a"), ("a", "a[0]"), ("a", "a[1]")]
    assert rows["x", "x"] == {"layer": "x", "blob": "x", "data": {"mean_abs": 1.25, "max_abs": 3.0, "zeros": 0.25}}
    assert rows["r", "r"]["data"] == {"mean_abs": 1.0, "max_abs": 3.0, "zeros": 0.5}
    assert rows["a", "a"]["data"] == {"mean_abs": 4.0, "max_abs": 6.0, "zeros": 0.0}
    assert rows["a", "a[0]"]["data"] == {"mean_abs": 3.0, "max_abs": 4.0, "zeros": 0.0}
    assert rows["a", "a[0]"]["diff"] == {"mean_abs": 2.0, "max_abs": 4.0, "zeros": 0.5}
    assert rows["a", "a[1]"]["diff"] == {"mean_abs": 2.0, "max_abs": 2.0, "zeros": 0.0}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_has_the_nets_dtype(dtype):
    net = mlp(dtype=dtype)
    net.forward(data=X)
    net.backward(ip2=DY)
    blobs = [*net.blobs.values(), net.flat, *(blob for blobs in net.params.values() for blob in blobs)]
    assert {array.dtype.name for blob in blobs for array in (blob.data, blob.diff)} == {dtype}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.forward(dat=X), "the net has no blob `dat`; did you mean `data`?"),
        (lambda net: net.forward(blobs=["zzz"]), "the net has no blob `zzz`"),
        (lambda net: net.forward(start="ip3"), "the net has no layer `ip3`; did you mean `ip"),
        (lambda net: net.forward(end="IP1"), "the net has no layer `IP1`; did you mean `ip1`?"),
        (lambda net: net.backward(ip22=DY), "the net has no blob `ip22`; did you mean `ip2`?"),
        (lambda net: net.backward(start="zzz"), "the net has no layer `zzz`"),
        (lambda net: net.backward(end="zzz"), "the net has no layer `zzz`"),
        (lambda net: net.forward(start="s", ip1=np.zeros((2, 5))), "blob `ip1` is 2 x 4, got 2 x 5"),
        (lambda net: net.backward(start="s", ip2=DY), "`ip2`"),  # made above the layers that run: nothing reads it
        (lambda net: net.backward(ip2=np.zeros((1, 2))), "blob `ip2` is 2 x 2, got 1 x 2"),
    ],
)
def test_wrong_names_and_shapes(call, message):
    with pytest.raises(NettrainError) as error:
        call(mlp())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("method", "run"), [("Forward_cpu", lambda n: n.forward()), ("Backward_cpu", lambda n: n.backward())]
)
def test_an_exception_in_a_layer_tells_where(method, run):
    text = """\
force_backward: true
layers:
  - {name: data, type: Input, shape: [2, 3]}
  - {name: twice, type: Eltwise, bottom: [data, data]}
"""
    net = nettrain.Net(text)

    def broken(*arguments):
        raise ZeroDivisionError("a bug")

    setattr(net.layers["twice"], method, broken)
    with pytest.raises(ZeroDivisionError, match="a bug") as error:
        run(net)
    assert error.value.__notes__ == [
        f"in Eltwise `twice` (spec:4:12), {method}, bottom data 2 x 3, data 2 x 3 · top twice 2 x 3"
    ]


def test_an_error_of_ours_in_a_layer_tells_where():
    text = """\
layers:
  - {name: x, type: Input, shape: [2, 3]}
  - {name: label, type: Input, shape: [2]}
  - {name: loss, type: SoftmaxWithLoss, bottom: [x, label]}
"""
    message = (
        r"spec:4:12: SoftmaxWithLoss `loss`: label 3 at example 1 of the batch is not one of the 3 classes \(0..2\)"
    )
    with pytest.raises(NettrainError, match=message) as error:
        nettrain.Net(text).forward(label=[2, 3])
    assert error.value.exit_code == 2


# Making a net

TEXT = """\
name: small
layers:
  - {name: data, type: Input, shape: [2, 3]}
  - {name: ip, type: InnerProduct, num_output: 4}
"""


def test_a_spec_may_be_text_path_mapping_or_loaded(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(TEXT)
    mapping = {
        "name": "small",
        "layers": [layer("data", "Input", shape=(2, 3)), layer("ip", "InnerProduct", num_output=np.int64(4))],
    }
    nets = [nettrain.Net(spec) for spec in (TEXT, path, str(path), mapping, load(TEXT))]
    for net in nets:
        assert (net.name, list(net.blobs), net.phase) == ("small", ["data", "ip"], "TEST")
        np.testing.assert_array_equal(net.flat.data, nets[0].flat.data)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(NettrainError, match=r"nothing\.yaml: no such file"):
        nettrain.Net(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("spec", [TEXT, lambda: load(TEXT)], ids=["text", "loaded"])
def test_settings_override_the_spec(spec):
    net = nettrain.Net(spec() if callable(spec) else spec, settings=["ip.num_output=7", "name=other"])
    assert (net.blobs["ip"].shape, net.name) == ((2, 7), "other")


@pytest.mark.parametrize("phase", ["DEPLOY", "", 1, None])
def test_a_phase_that_is_not_one(phase):
    with pytest.raises(NettrainError, match="the phase must be TRAIN or TEST"):
        nettrain.Net(TEXT, phase=phase)


@pytest.mark.parametrize(("given", "phase"), [("test", "TEST"), ("Train", "TRAIN"), ("TEST", "TEST")])
def test_a_phase_in_upper_or_lower_case(given, phase):
    net = nettrain.Net(TEXT, given)
    assert (net.phase, net.state.phase, {layer.phase for layer in net.layers.values()}) == (phase, phase, {phase})


def test_a_net_with_problems_is_not_made():
    with pytest.raises(SpecError) as error:
        nettrain.Net({"layers": [layer("a", "ReLU", "nowhere"), layer("b", "NoSuchType")]})
    assert len(error.value.problems) == 2


@pytest.mark.parametrize(
    ("layers", "message", "details"),
    [
        (
            [INPUT, ip("ip"), layer("sum", "Eltwise", ["ip", "data"])],
            "Eltwise `sum`: every bottom must have the same shape; axis 1 differs, 4 and 3",
            "ip 2 x 4 · data 2 x 3",
        ),
        (
            [INPUT, ip("ip"), layer("r", "ReLU"), ip("b", axis=3)],
            "InnerProduct `b`: axis 3 of 2 x 4: there are axes -2 to 1",
            "data 2 x 3 -> ip 2 x 4 -> r 2 x 4 -> b ?",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_shown(layers, message, details):
    with pytest.raises(SpecError) as error:
        build(*layers)
    assert [(problem.message, problem.details) for problem in error.value.problems] == [(message, (details,))]


@pytest.mark.parametrize(("memory", "fits"), [(784, True), (783, False)])
def test_a_net_larger_than_memory_is_refused_before_anything_is_made(monkeypatch, memory, fits):
    """26 parameters and 20 elements of ip1, s and ip2 with gradients, 6 elements of data without, 8 bytes each."""
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": memory, "SC_PAGE_SIZE": 1}.__getitem__)
    loss = layer("ip2", "InnerProduct", num_output=2, loss_weight=1)
    if fits:
        assert build(*MLP[:3], loss, force=False)
    else:
        with pytest.raises(SpecError, match=r"the net needs .* of memory.* most of it is for InnerProduct `ip1`"):
            build(*MLP[:3], loss, force=False)


def test_public_names():
    assert nettrain.layer_type_list() == sorted(nettrain.layer_type_list())
    assert {"InnerProduct", "Convolution", "SoftmaxWithLoss"} <= set(nettrain.layer_type_list())
    for name in nettrain.__all__:
        assert getattr(nettrain, name)
    with pytest.raises(AttributeError, match="module 'nettrain' has no attribute 'nothing'"):
        nettrain.nothing  # noqa: B018


# Passes over data


def data_net(tmp_path, count, batch_size, phase="TEST"):
    np.savez(tmp_path / "set.npz", data=np.arange(count * 2.0).reshape(count, 2), label=np.arange(count))
    reader = layer("d", "Data", top=["data", "label"], source=str(tmp_path / "set.npz"), batch_size=batch_size)
    return build(reader, ip("a", "data"), phase=phase)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(
    ("count", "batch_size", "batches"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (3, 3, [3]), (5, 1, [1] * 5)]
)
def test_a_pass_shows_every_example_once(tmp_path, phase, count, batch_size, batches):
    net = data_net(tmp_path, count, batch_size, phase)
    net.forward()  # a cursor that is not at the start
    for _ in range(2):
        seen, sizes = [], []
        for examples, _ in net.passes():
            sizes.append(examples)
            seen += net.blobs["label"].data.tolist()
            assert net.blobs["a"].shape == (examples, 4)
        assert sizes == batches
        assert sorted(seen) == list(range(count))
        assert seen == list(range(count)) or phase == "TRAIN"
    for _ in range(len(batches) + 1):  # whole batches again, also past the end of the data
        net.forward()
        assert net.blobs["data"].shape == (batch_size, 2)


def test_a_pass_needs_data_with_an_end():
    with pytest.raises(NettrainError, match="no layer of this net reads a data set that ends"):
        list(mlp().passes())


def test_the_folder_of_a_spec_file_is_where_its_data_is_looked_for(tmp_path):
    np.savez(tmp_path / "set.npz", data=X)
    path = tmp_path / "net.yaml"
    path.write_text("layers:\n  - {name: d, type: Data, top: data, source: set.npz, batch_size: 2}\n")
    assert nettrain.Net(path).spec.folder == Path(tmp_path)
    np.testing.assert_allclose(nettrain.Net(path, dtype="float64").forward()["data"], X)


def test_an_in_place_top_is_what_all_its_readers_see():
    """A ReLU in place, read by two layers that learn, as in a residual block."""
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 3]},
        {"name": "ip", "type": "InnerProduct", "num_output": 3, "weight_filler": 1.0},
        {"name": "relu", "type": "ReLU", "top": "ip"},
        {"name": "a", "type": "Power", "bottom": "ip", "scale": 10},
        {"name": "y", "type": "Eltwise", "bottom": ["a", "ip"]},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN")
    assert net.forward(x=[[1, 1, 1], [-1, -1, -1]])["y"].tolist() == [[33] * 3, [0] * 3]
    assert net.backward(y=np.ones((2, 3)))["x"].tolist() == [[33] * 3, [0] * 3]


def sum_net(**sum_keys):
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 3]},
        {"name": "a", "type": "InnerProduct", "bottom": "x", "num_output": 3},
        {"name": "b", "type": "TanH", "bottom": "a"},  # a is read twice: here and by the sum
        {"name": "c", "type": "InnerProduct", "bottom": "x", "num_output": 3},
        {"name": "d", "type": "Bias", "bottom": "c"},
        {"name": "sum", "type": "Eltwise", "bottom": ["a", "b", "d"], **sum_keys},
        {"name": "again", "type": "Eltwise", "bottom": ["sum", "x"], **({"coeff": [1, 1]} if sum_keys else {})},
        {"name": "y", "type": "InnerProduct", "num_output": 2},
        {"name": "loss", "type": "Reduction", "operation": "SUMSQ"},
    ]
    layers[-1]["loss_weight"] = 1
    return nettrain.Net({"layers": layers, "force_backward": True}, dtype="float64", seed=4)


def test_a_sum_hands_its_gradient_on_without_copies_where_nobody_else_writes():
    passed, copied = sum_net(), sum_net(coeff=[1, 1, 1])
    x = np.random.default_rng(0).standard_normal((2, 3))
    for net in (passed, copied):
        net.forward(x=x)
        net.clear_param_diffs()
        net.backward()
    np.testing.assert_allclose(passed.flat.diff, copied.flat.diff, rtol=1e-12)
    np.testing.assert_allclose(passed.blobs["x"].diff, copied.blobs["x"].diff, rtol=1e-12)
    blobs = passed.blobs
    assert blobs["b"].shares_diff_with(blobs["sum"])
    assert blobs["d"].shares_diff_with(blobs["sum"])
    assert blobs["c"].shares_diff_with(blobs["d"])
    assert blobs["sum"].shares_diff_with(blobs["again"])
    assert not blobs["a"].shares_diff_with(blobs["sum"])  # gets a second gradient added
    assert not blobs["x"].shares_diff_with(blobs["again"])  # the user's
    assert not any(copied.blobs[name].shares_diff_with(copied.blobs["sum"]) for name in "bd")


def test_a_bottom_with_a_loss_weight_keeps_a_gradient_of_its_own():
    layers = [
        {"name": "x", "type": "Parameter", "shape": [2], "filler": 3},
        {"name": "a", "type": "Power", "scale": 2, "loss_weight": 5},
        {"name": "b", "type": "Power", "bottom": "x", "scale": 3},
        {"name": "sum", "type": "Eltwise", "bottom": ["a", "b"], "loss_weight": 1},
    ]
    net = nettrain.Net({"layers": layers}, dtype="float64")
    for _ in range(2):
        net.clear_param_diffs()
        net.forward_backward()
        assert net.params["x"][0].diff.tolist() == [2 * (5 + 1) + 3] * 2


@pytest.mark.parametrize("weight_on_ip", [0, 3])
def test_a_flattened_view_keeps_its_own_gradient_when_more_is_added_to_what_it_is_a_view_of(weight_on_ip):
    flat = "{name: r, type: Flatten, bottom: ip}, {name: s, type: Reduction, bottom: r, loss_weight: 1}"
    square = "{name: q, type: Reduction, operation: SUMSQ, bottom: ip, loss_weight: 1}"
    others = f"{square}, {flat}" if not weight_on_ip else flat
    net = nettrain.Net(
        "layers: [{name: x, type: DummyData, shape: [2, 3], data_filler: gaussian},\n"
        f"{{name: ip, type: InnerProduct, num_output: 4, loss_weight: {weight_on_ip}}}, {others}]",
        "TRAIN",
    )
    net.forward_backward()
    added = weight_on_ip or 2 * net.blobs["ip"].data
    np.testing.assert_array_equal(net.blobs["r"].diff, np.ones((2, 4)))
    np.testing.assert_allclose(net.blobs["ip"].diff, 1 + added * np.ones((2, 4)), rtol=1e-6)


@pytest.mark.parametrize("kind", ["TanH", "GELU"])  # in the memory of the bottom, and in its own
def test_a_blob_that_is_given_is_what_the_first_layer_reads_and_not_what_it_makes(kind):
    net = build(INPUT, ip("a", "data"), layer("f", kind, "a", "a"), ip("b", "a"))
    values = np.array([[-2.0, -1, 0, 1], [2, 3, -3, 0.5]])
    net.forward(start="f", a=values)
    alone = build(layer("a", "Input", shape=[2, 4]), layer("f", kind, "a"))
    np.testing.assert_array_equal(net.blobs["a"].data, alone.forward(a=values)["f"])
    net.forward(start="b", a=values)
    np.testing.assert_array_equal(net.blobs["a"].data, values)
