"""The solvers: Caffe's loop, rules by plain formulas, callbacks, states, what stays of a program's values."""

import os
import re

import nettrain.interop.pycaffe as caffe
import numpy as np
import pytest
from nettrain import NettrainError, SpecError

NET = """name: "line"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
GLOG = re.compile(r"[IW]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ solver\.py:\d+] ")  # what programs that read logs look for
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "line" '
X = np.array([[1, 2], [0, 1], [3, -1], [2, 2]], np.float32)
T = np.array([[1], [2], [3], [-1]], np.float32)


@pytest.fixture
def make(workdir, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "3")
    (workdir / "net.prototxt").write_text(NET)

    def make(text="", cls=caffe.SGDSolver):
        (workdir / "solver.prototxt").write_text(SOLVER + text)
        solver = cls("solver.prototxt")
        for net in (solver.net, *solver.test_nets):
            net.blobs["x"].data[...], net.blobs["t"].data[...] = X, T
        solver.net.params["ip"][0].data[...] = [[0.5, -0.5]]
        return solver

    return make


def weights(solver):
    return np.concatenate([blob.data.ravel() for blob in solver.net.params["ip"]]).astype(float)


def gradient(w):
    """Of sum((X w + b - T)²) / 2N."""
    error = (X @ w[:2] + w[2] - T[:, 0]) / len(X)
    return np.append(X.T @ error, error.sum())


RULES = {
    "SGD": (caffe.SGDSolver, "momentum: 0.9", 1, lambda g, h, t: [0.9 * h[0] + 0.1 * g]),
    "Nesterov": (caffe.NesterovSolver, "momentum: 0.9", 1, lambda g, h, t: [0.9 * h[0] + 0.1 * g]),
    "AdaGrad": (caffe.AdaGradSolver, "", 1, lambda g, h, t: [h[0] + g**2]),
    "RMSProp": (caffe.RMSPropSolver, "rms_decay: 0.8", 1, lambda g, h, t: [0.8 * h[0] + 0.2 * g**2]),
    "AdaDelta": (caffe.AdaDeltaSolver, "momentum: 0.9 delta: 0.001", 2, None),
    "Adam": (caffe.AdamSolver, "momentum2: 0.99", 2, lambda g, h, t: [g, 0.99 * h[1] + 0.01 * g**2]),
}


def step(rule, w, history, t):
    """One update of a rule with the settings of RULES, as a plain formula."""
    g = gradient(w)
    if rule == "AdaDelta":
        squares = 0.9 * history[0] + 0.1 * g**2
        u = g * np.sqrt((history[1] + 0.001) / (squares + 0.001))
        return w - 0.1 * u, [squares, 0.9 * history[1] + 0.1 * u**2]
    new = RULES[rule][3](g, history, t)
    if rule == "SGD":
        return w - new[0], new
    if rule == "Nesterov":
        return w - (1.9 * new[0] - 0.9 * history[0]), new
    if rule == "Adam":  # momentum is 0: Caffe's default
        return w - 0.1 * np.sqrt(1 - 0.99**t) * new[0] / (np.sqrt(new[1]) + 1e-8), new
    return w - 0.1 * g / (np.sqrt(new[0]) + 1e-8), new


@pytest.mark.parametrize("rule", RULES)
def test_each_solver_follows_its_formula(make, rule):
    cls, settings, kept, _ = RULES[rule]
    solver = make(settings, cls)
    w, history = weights(solver), [np.zeros(3)] * kept
    for t in range(1, 6):
        solver.step(1)
        w, history = step(rule, w, history, t)
        np.testing.assert_allclose(weights(solver), w, rtol=2e-5, atol=1e-6)
    assert solver.iter == 5


@pytest.mark.parametrize("rule", RULES)
def test_get_solver_makes_what_the_file_names(make, workdir, rule):
    make(f'type: "{rule}" ' + RULES[rule][1], caffe.get_solver)
    solver = caffe.get_solver("solver.prototxt")
    assert type(solver) is RULES[rule][0]
    assert isinstance(solver, caffe.SGDSolver)


@pytest.mark.parametrize("rule", RULES)
def test_training_goes_on_from_a_state_as_if_it_had_not_stopped(make, rule):
    cls, settings, _, _ = RULES[rule]
    whole = make(settings, cls)
    whole.step(3)
    whole.snapshot()
    assert sorted(name for name in os.listdir() if name.startswith("line")) == [
        "line_iter_3.caffemodel",
        "line_iter_3.solverstate",
    ]
    whole.step(4)
    again = make(settings, cls)
    again.restore("line_iter_3.solverstate")
    assert again.iter == 3
    again.step(4)
    np.testing.assert_array_equal(weights(again), weights(whole))
    assert not os.path.exists("runs")


def test_a_state_says_what_caffes_say(make, workdir):
    solver = make("momentum: 0.5 snapshot: 2 max_iter: 5")
    solver.solve()
    names = {f"line_iter_{i}.{kind}" for i in (2, 4, 5) for kind in ("caffemodel", "solverstate")}
    assert names == {name for name in os.listdir() if name.startswith("line")}
    state = caffe.proto.caffe_pb2.SolverState()
    state.ParseFromString((workdir / "line_iter_5.solverstate").read_bytes())
    assert (state.iter, state.learned_net, len(state.history)) == (5, "line_iter_5.caffemodel", 2)
    assert [list(blob.shape.dim) for blob in state.history] == [[1, 2], [1]]
    history = solver._core.updater.history[0]
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(state.history[0]).ravel(), history[:2])


@pytest.mark.parametrize(("updates", "steps"), [(0, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_a_state_counts_the_steps_of_the_rate(make, workdir, updates, steps):
    (workdir / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 4'
    )
    solver = caffe.get_solver("solver.prototxt")
    solver.step(updates)
    solver.snapshot()
    state = caffe.proto.caffe_pb2.SolverState()
    state.ParseFromString((workdir / f"solver_iter_{updates}.solverstate").read_bytes())  # named after the file
    assert state.current_step == steps


def test_a_state_whose_weights_moved_finds_them_beside_it(make, workdir):
    solver = make()
    solver.step(2)
    solver.snapshot()
    (workdir / "elsewhere").mkdir()
    for name in ("line_iter_2.caffemodel", "line_iter_2.solverstate"):
        (workdir / name).rename(workdir / "elsewhere" / name)
    other = make()
    other.restore("elsewhere/line_iter_2.solverstate")
    np.testing.assert_array_equal(weights(other), weights(solver))


def test_callbacks_come_before_the_batch_and_before_the_update(make):
    solver = make("max_iter: 3")
    seen = []
    solver.add_callback(
        lambda: seen.append(("start", solver.iter, weights(solver))),
        lambda: seen.append(("ready", solver.iter, solver.net.params["ip"][0].diff.copy())),
    )
    before = weights(solver)
    solver.solve()
    assert [item[:2] for item in seen] == [(when, i) for i in range(3) for when in ("start", "ready")]
    np.testing.assert_array_equal(seen[0][2], before)
    np.testing.assert_allclose(seen[1][2][0], gradient(before)[:2], rtol=1e-5)


def test_hooks_of_the_net_are_called_in_training(make):
    solver, seen = make(), []
    solver.net.before_forward(seen.append)
    solver.net.after_backward(lambda i: seen.append(-i))
    solver.step(1)
    assert seen == [0, 1, 2, 3, -3, -2, -1, 0]


def test_gradients_of_several_batches_are_averaged(make):
    one, two = make(), make("iter_size: 2")
    one.step(3)
    two.step(3)
    np.testing.assert_allclose(weights(one), weights(two), rtol=1e-6)


def test_apply_update_uses_the_gradients_that_are_there_and_counts(make):
    solver = make()
    before = weights(solver)
    solver.net.params["ip"][0].diff[...] = 2
    solver.apply_update()
    np.testing.assert_allclose(weights(solver) - before, [-0.2, -0.2, 0], rtol=1e-5)
    assert solver.iter == 1


def test_the_rate_can_be_asked_for_and_set(make):
    solver = make("max_iter: 7 display: 3")
    assert (solver.lr, solver.param.base_lr, solver.param.max_iter, solver.param.display) == (0.1, 0.1, 7, 3)
    assert solver.param.layer_wise_reduce is True
    solver.param.base_lr = 0.5
    assert solver.lr == 0.5
    before = weights(solver)
    solver.step(1)
    np.testing.assert_allclose(weights(solver), before - 0.5 * gradient(before), rtol=1e-5)


def test_tests_average_over_test_iter_batches_and_are_logged(make, monkeypatch, capsys):
    solver = make("test_iter: 3 test_interval: 2 max_iter: 4 display: 2 snapshot_after_train: false")
    assert len(solver.test_nets) == 1
    monkeypatch.setenv("GLOG_minloglevel", "0")
    calls = []
    solver.test_nets[0].before_forward(lambda i: calls.append(i))
    first = (X @ weights(solver)[:2] + weights(solver)[2] - T[:, 0]) ** 2
    solver.solve()
    logged = capsys.readouterr().err.splitlines()
    assert all(GLOG.match(line) for line in logged)
    lines = [GLOG.sub("", line) for line in logged]
    assert lines[:2] == ["Solving line", "Learning Rate Policy: fixed"]
    assert [line for line in lines if "Testing" in line] == [f"Iteration {i}, Testing net (#0)" for i in (0, 2, 4)]
    assert f"    Test net output #0: loss = {first.sum() / 8:g}" in lines
    assert f"Iteration 0, loss = {first.sum() / 8:g}" in lines
    assert "    Train net output #0: loss" in "\n".join(lines)
    assert len(calls) == 3 * 3 * 4
    assert solver.test_nets[0].params["ip"][0].data is not None


COUNTED = """
import caffe

class Counted(caffe.Layer):
    made = []

    def setup(self, bottom, top):
        self.made.append(self.phase)

    def reshape(self, bottom, top):
        top[0].reshape(4, 2)
        top[1].reshape(4, 1)

    def forward(self, bottom, top):
        pass
"""


def test_a_solver_without_test_nets_makes_none(make, workdir):
    """A data layer in Python would open its data twice, and may not even know the phase TEST."""
    (workdir / "counted.py").write_text(COUNTED)
    data = 'layer { name: "x" type: "Python" top: "x" top: "t" python_param { module: "counted" layer: "Counted" } }\n'
    (workdir / "net.prototxt").write_text(NET.replace("\n".join(NET.splitlines()[1:3]) + "\n", data))
    solver = make()
    assert type(solver.net.layers[0]).made == [caffe.TRAIN]
    assert len(solver.test_nets) == 0
    solver.step(2)
    assert len(make("test_iter: 1 test_interval: 100").test_nets) == 1
    assert type(solver.net.layers[0]).made == [caffe.TRAIN, caffe.TRAIN, caffe.TEST]


def test_test_nets_use_the_weights_that_are_trained(make):
    solver = make("test_iter: 1 test_interval: 100")
    solver.step(2)
    np.testing.assert_array_equal(solver.test_nets[0].params["ip"][0].data, solver.net.params["ip"][0].data)


def test_other_nets_take_a_solvers_weights_and_not_the_other_way_round(make):
    solver, other = make(), caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(other)
    solver.step(1)
    np.testing.assert_array_equal(other.params["ip"][0].data, solver.net.params["ip"][0].data)
    with pytest.raises(RuntimeError, match="let the other net share the solver's"):
        solver.net.share_with(other)


def test_weights_of_snapshots_are_hdf5_where_the_solver_says_so(make):
    solver = make("snapshot_format: HDF5")
    solver.step(1)
    solver.snapshot()
    assert os.path.isfile("line_iter_1.caffemodel.h5")
    other = make("snapshot_format: HDF5")
    other.restore("line_iter_1.solverstate")
    np.testing.assert_array_equal(weights(other), weights(solver))


def test_refusals(make, workdir):
    with pytest.raises(RuntimeError, match=r"Could not open file none\.prototxt"):
        caffe.SGDSolver("none.prototxt")
    with pytest.raises(SpecError, match=r"solver\.prototxt:1:.*bas_lr"):
        make("bas_lr: 3")
    solver = make("momentum: 0.9")
    solver.snapshot()
    with pytest.raises(NettrainError, match="history of 2 blobs; this net and its rule need 4: 2 for each of 2"):
        make("momentum: 0.9", caffe.AdamSolver).restore("line_iter_0.solverstate")
    (workdir / "bad").write_bytes(b"\xff\xff\xff")
    with pytest.raises(NettrainError, match="solver state bad is damaged"):
        solver.restore("bad")
    os.remove("line_iter_0.caffemodel")
    with pytest.raises(NettrainError, match=r"names the weights line_iter_0\.caffemodel, which are not there"):
        solver.restore("line_iter_0.solverstate")


def test_a_loss_that_is_not_finite_ends_training(make):
    solver = make()
    solver.net.blobs["t"].data[...] = np.nan
    with pytest.raises(NettrainError, match="NaN"):
        solver.step(1)


def test_histories_of_convolutions_are_in_caffes_order(make, workdir):
    head = 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }'
    conv = (
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" '
        'convolution_param { num_output: 2 kernel_size: 2 weight_filler { type: "gaussian" std: 1 } } }\n'
    ) + head.replace('bottom: "x"', 'bottom: "c"')
    (workdir / "net.prototxt").write_text(
        NET.replace(head, conv).replace("dim: 4 dim: 2", "dim: 4 dim: 3 dim: 4 dim: 4")
    )
    (workdir / "solver.prototxt").write_text(SOLVER)
    solver = caffe.SGDSolver("solver.prototxt")
    solver.net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(4, 3, 4, 4))
    solver.net.params["ip"][0].data[...] = 1
    solver.step(1)
    solver.snapshot()
    state = caffe.proto.caffe_pb2.SolverState()
    state.ParseFromString((workdir / "line_iter_1.solverstate").read_bytes())
    found = caffe.io.blobproto_to_array(state.history[0])
    np.testing.assert_allclose(found, 0.1 * solver.net.params["c"][0].diff, rtol=1e-5)
    assert found.any()
    before = solver._core.updater.history[0].copy()
    solver._core.updater.history[0][...] = 0
    solver.restore("line_iter_1.solverstate")
    np.testing.assert_array_equal(solver._core.updater.history[0], before)
