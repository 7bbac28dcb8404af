"""Recurrent: Caffe's RNN and LSTM spelled out, sums by hand, changing lengths; states carried, learned and given."""

import json
from functools import partial
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain import SpecError

ORACLE = Path(__file__).parents[2] / "oracle"


def lstm(hidden):
    return [
        {"name": "x_gates", "type": "InnerProduct", "bottom": "x", "num_output": 4 * hidden},
        {"name": "h_gates", "type": "InnerProduct", "bottom": "h", "num_output": 4 * hidden, "bias_term": False},
        {"name": "gates", "type": "Eltwise", "bottom": ["x_gates", "h_gates"]},
        {"name": "cut", "type": "Slice", "top": ["i0", "f0", "o0", "g0"]},
        *({"name": gate, "type": "Sigmoid", "bottom": f"{gate}0"} for gate in "ifo"),
        {"name": "g", "type": "TanH", "bottom": "g0"},
        {"name": "kept", "type": "Eltwise", "operation": "PROD", "bottom": ["f", "c"]},
        {"name": "new", "type": "Eltwise", "operation": "PROD", "bottom": ["i", "g"]},
        {"name": "c_next", "type": "Eltwise", "bottom": ["kept", "new"]},
        {"name": "squashed", "type": "TanH"},
        {"name": "h_next", "type": "Eltwise", "operation": "PROD", "bottom": ["o", "squashed"]},
    ]


def rnn(hidden, outputs):
    return [
        {"name": "x_part", "type": "InnerProduct", "bottom": "x", "num_output": hidden},
        {"name": "h_part", "type": "InnerProduct", "bottom": "h", "num_output": hidden, "bias_term": False},
        {"name": "sum", "type": "Eltwise", "bottom": ["x_part", "h_part"]},
        {"name": "h_next", "type": "TanH"},
        {"name": "out", "type": "InnerProduct", "num_output": outputs},
        {"name": "o", "type": "TanH"},
    ]


def states(*names, hidden, **more):
    return [{"name": name, "next": f"{name}_next", "shape": [hidden]} | more for name in names]


recurrent_net = partial(layer_net, "Recurrent", name="r", seed=3)


def sum_cell(**state):
    """s' = s + x, put out as it is: its numbers can be followed by hand."""
    return {
        "cell": [{"name": "s_next", "type": "Eltwise", "bottom": ["s", "x"]}],
        "states": [{"name": "s", "next": "s_next", "shape": [1]} | state],
        "outputs": "s_next",
    }


def column(*values):
    """A sequence of one example and one feature: T x 1 x 1."""
    return np.array(values, float).reshape(-1, 1, 1)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("LSTM", {"cell": lstm(6), "states": states("h", "c", hidden=6), "outputs": "h_next"}),
        ("RNN", {"cell": rnn(6, 6), "states": states("h", hidden=6), "outputs": "o"}),
    ],
)
def test_a_cell_written_out_gives_caffes_numbers(name, params):
    with np.load(ORACLE / f"layer_{name}_1.npz", allow_pickle=False) as arrays:
        data = dict(arrays)
    assert json.loads(str(data["spec"]))["steps"] == 1
    net = recurrent_net(data["bottom0"].shape, data["bottom1"].shape, **params)
    for i, blob in enumerate(net.params["r"]):
        blob.data[...] = data[f"param{i}"]
    net.forward(x0=data["bottom0"], x1=data["bottom1"])
    np.testing.assert_allclose(net.blobs["r"].data, data["top0"], rtol=1e-4, atol=1e-6)
    net.backward(r=data["topdiff0"])
    np.testing.assert_allclose(net.blobs["x0"].diff, data["bottomdiff0"], rtol=1e-4, atol=1e-6)
    for i, blob in enumerate(net.params["r"]):
        np.testing.assert_allclose(blob.diff, data[f"paramdiff{i}"], rtol=1e-4, atol=1e-5)


def test_cont_begins_again_at_the_initial_value_and_the_gradient_follows_it():
    net = recurrent_net((4, 1, 1), (4, 1), **sum_cell(initial=10.0, learned=True))
    cont = np.array([[0.0], [1], [0], [1]])
    net.forward(x0=column(1, 2, 3, 4), x1=cont)
    # 10 + 1, + 2 | begins again: 10 + 3, + 4
    assert net.blobs["r"].data.ravel().tolist() == [11, 13, 13, 17]
    net.backward(r=column(1, 10, 100, 1000))
    # x_t reaches the outputs from t on until the sequence begins again
    assert net.blobs["x0"].diff.ravel().tolist() == [11, 10, 1100, 1000]
    assert net.params["r"][0].diff.tolist() == [1111]  # the initial value reaches all of them


def test_states_from_a_bottom_restart_at_zero_and_get_their_gradient():
    net = recurrent_net(
        (3, 1, 1), (3, 1), (1, 1, 1), final_states=True, top=["r", "last"], **sum_cell(from_bottom=True)
    )
    net.forward(x0=column(1, 2, 3), x1=np.array([[0.5], [1], [0]]), x2=column(8))
    assert net.blobs["r"].data.ravel().tolist() == [5, 7, 3]
    assert net.blobs["last"].data.ravel().tolist() == [3]
    net.backward(r=column(1, 10, 100), last=column(1000))
    assert net.blobs["x0"].diff.ravel().tolist() == [11, 10, 1100]
    assert net.blobs["x2"].diff.ravel().tolist() == [5.5]  # cont_0 times what steps 0 and 1 gave


def test_a_static_input_is_added_at_every_step_and_so_is_its_gradient():
    cell = sum_cell() | {"cell": [{"name": "s_next", "type": "Eltwise", "bottom": ["s", "x", "u"]}]}
    net = recurrent_net((3, 2, 1), (2, 1), cont=False, static="u", **cell)
    net.forward(x0=np.zeros((3, 2, 1)), x1=[[1], [10]])
    assert net.blobs["r"].data[..., 0].tolist() == [[1, 10], [2, 20], [3, 30]]
    net.backward(r=np.ones((3, 2, 1)))
    assert net.blobs["x1"].diff.ravel().tolist() == [6, 6]  # 3 + 2 + 1 outputs


def test_without_carry_every_batch_begins_at_the_initial_value_and_with_it_goes_on():
    for carry, second in ((False, [1, 2]), (True, [3, 4])):
        net = recurrent_net((2, 1, 1), cont=False, carry=carry, **sum_cell())
        net.forward(x0=column(1, 1))
        net.forward(x0=column(1, 1))
        assert net.blobs["r"].data.ravel().tolist() == second
        net.forward(x0=np.ones((2, 3, 1)))  # other sequences: nothing to continue
        assert net.blobs["r"].data[:, 2, 0].tolist() == [1, 2]


def test_a_carried_state_ends_the_gradient_of_a_learned_one():
    net = recurrent_net((1, 1, 1), cont=False, carry=True, **sum_cell(initial=5.0, learned=True))
    for expected in (1, 0):
        net.clear_param_diffs()
        net.forward(x0=column(1))
        net.backward(r=column(1))
        assert net.params["r"][0].diff.tolist() == [expected]


def test_the_number_of_steps_may_change():
    params = {"cell": lstm(3), "states": states("h", "c", hidden=3), "outputs": "h_next", "cont": False}
    rng = np.random.default_rng(0)
    net = recurrent_net((2, 2, 4), **params)
    for T in (2, 5, 3, 1, 6):
        x, dy = rng.standard_normal((T, 2, 4)), rng.standard_normal((T, 2, 3))
        fresh = recurrent_net((T, 2, 4), **params)
        for one in (net, fresh):
            one.clear_param_diffs()
            one.forward(x0=x)
            one.backward(r=dy)
        assert np.array_equal(net.blobs["r"].data, fresh.blobs["r"].data)
        assert np.array_equal(net.blobs["x0"].diff, fresh.blobs["x0"].diff)
        assert np.array_equal(net.flat.diff, fresh.flat.diff)


def test_the_number_of_sequences_may_change_and_be_none():
    params = {"cell": lstm(3), "states": states("h", "c", hidden=3), "outputs": "h_next", "cont": False}
    net = recurrent_net((2, 2, 4), **params)
    x = np.random.default_rng(0).standard_normal((2, 5, 4))
    alone = [net.forward(x0=x[:, i : i + 1])["r"].copy() for i in range(5)]
    np.testing.assert_allclose(net.forward(x0=x)["r"], np.concatenate(alone, axis=1), rtol=1e-12)
    assert net.forward(x0=x[:, :0])["r"].shape == (2, 0, 3)
    net.backward(r=np.zeros((2, 0, 3)))


def test_gradients_are_added_to_parameters_and_stop_where_nothing_is_learned():
    params = {"cell": rnn(3, 2), "states": states("h", hidden=3), "outputs": "o", "cont": False}
    x, dy = np.random.default_rng(1).standard_normal((2, 3, 2, 2))
    plain, frozen = recurrent_net((3, 2, 2), **params), recurrent_net((3, 2, 2), param=[{}, {"lr_mult": 0}], **params)
    frozen.steps[-1].layer.param_propagate_down[1] = False
    for net in (plain, frozen):
        net.flat.diff[...] = 7
        net.forward(x0=x)
        net.backward(r=dy)
    added = [blob.diff - 7 for blob in plain.params["r"]]
    assert all(np.abs(one).min() > 0 for one in added)
    for i, blob in enumerate(frozen.params["r"]):
        np.testing.assert_allclose(blob.diff - 7, 0 if i == 1 else added[i], rtol=1e-9, atol=1e-12)


def test_blobs_shared_by_name_within_the_cell_are_one():
    cell = rnn(3, 3)
    for layer in (cell[1], cell[4]):
        layer["param"] = {"name": "W"}
    cell[4]["bias_term"] = False
    net = recurrent_net((3, 2, 2), cell=cell, states=states("h", hidden=3), outputs="o", cont=False)
    assert [blob.shape for blob in net.params["r"]] == [(3, 2), (3,), (3, 3)]


def test_dropout_in_a_cell_draws_anew_at_each_step_and_a_snapshot_goes_on_with_it():
    cell = [{"name": "s_next", "type": "Eltwise", "bottom": ["s", "x"]}, {"name": "out", "type": "Dropout"}]
    params = sum_cell() | {"cell": cell, "outputs": "out", "cont": False, "carry": True}
    net, other = recurrent_net((4, 2, 30), **params | {"states": [{"name": "s", "next": "s_next", "shape": 30}]}), None
    x = np.ones((4, 2, 30))
    masks = net.forward(x0=x)["r"] != 0
    assert len({mask.tobytes() for mask in masks}) == 4
    kept = json.loads(json.dumps(net.layer_states()))
    expected = [net.forward(x0=x)["r"].copy() for _ in range(2)]
    other = recurrent_net((4, 2, 30), seed=9, **params | {"states": [{"name": "s", "next": "s_next", "shape": 30}]})
    other.set_layer_states(kept, 3)
    other.batch = 1
    for values in expected:
        assert np.array_equal(other.forward(x0=x)["r"], values)


def test_a_cell_may_hold_a_recurrent_layer():
    inner = {
        "name": "inner",
        "type": "Recurrent",
        "bottom": "x",
        "cont": False,
        "sequences": "z",
        "cell": [{"name": "m_next", "type": "Eltwise", "bottom": ["m", "z"]}],
        "states": [{"name": "m", "next": "m_next", "shape": [1]}],
        "outputs": "m_next",
        "final_states": True,
        "top": ["all", "sum"],
    }
    cell = [
        inner,
        {"name": "quiet", "type": "Silence", "bottom": "all"},
        {"name": "s_next", "type": "Eltwise", "bottom": ["s", "x"]},
    ]
    outer = {"cont": False, "cell": cell, "outputs": "sum"}
    net = recurrent_net((2, 3, 1, 1), states=[{"name": "s", "next": "s_next", "shape": [1, 1]}], **outer)
    # each step hands 3 x 1 x 1 on: a sequence of three numbers, which the inner layer adds up
    net.forward(x0=np.arange(6).reshape(2, 3, 1, 1))
    assert net.blobs["r"].data.ravel().tolist() == [0 + 1 + 2, 3 + 4 + 5]
    net.backward(r=np.array([1, 10]).reshape(2, 1, 1, 1))
    assert net.blobs["x0"].diff.ravel().tolist() == [1, 1, 1, 10, 10, 10]


def test_the_solver_trains_it_to_remember():
    rng = np.random.default_rng(2)
    spec = {
        "solver": {"base_lr": 0.5, "momentum": 0.9, "max_iter": 200},
        "layers": [
            {"name": "in", "type": "Input", "top": ["x", "y"], "shape": [[8, 16, 1], [8, 16]]},
            {"name": "r", "type": "Recurrent", "bottom": "x", "cont": False, "cell": rnn(8, 2), "outputs": "out"}
            | {"states": states("h", hidden=8)},
            {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["r", "y"], "axis": 2},
        ],
    }
    solver = nettrain.get_solver(spec)
    bits = rng.integers(0, 2, (10, 16))
    solver.net.blobs["x"].data[..., 0] = bits[2:]
    solver.net.blobs["y"].data[...] = bits[:-2]  # the bit of two steps before
    solver.net.blobs["y"].data[:2] = 0
    solver.step(1)
    assert solver.losses[-1] > 0.6
    solver.step(199)
    assert solver.losses[-1] < 0.05


def test_a_state_may_begin_with_given_values():
    layer = {
        "type": "Recurrent",
        "cont": False,
        "states": [{"name": "h", "next": "sum", "shape": [2, 2], "initial": {"values": [5], "value": 1}}],
        "outputs": "sum",
        "cell": [{"name": "sum", "type": "Eltwise", "bottom": ["x", "h"]}],
    }
    layers = [{"name": "x", "type": "Input", "shape": [2, 1, 2, 2]}, {"name": "y", "bottom": "x"} | layer]
    net = nettrain.Net({"layers": layers}, dtype="float64")
    y = net.forward(x=np.ones((2, 1, 2, 2)))["y"]
    assert y[:, 0].tolist() == [[[6, 2], [6, 2]], [[7, 3], [7, 3]]]
    assert not net.parameters or all(parameter.lr_mult == 0 for parameter in net.parameters)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3, 2, 1), (3, 3, 1)), ((3, 2, 1), (2, 2, 1)), ((3, 2, 1), (3,))])
def test_sequences_that_do_not_agree_are_an_error(shapes):
    cell = sum_cell() | {"cell": [{"name": "s_next", "type": "Eltwise", "bottom": ["s", "x", "v"]}]}
    with pytest.raises(SpecError, match="sequences must agree in T x N, the first axes; got "):
        recurrent_net(*shapes, cont=False, sequences=["x", "v"], **cell)


def test_a_sequence_that_no_gradient_comes_back_from_has_none():
    cell = sum_cell() | {
        "cell": [
            {"name": "step", "type": "Threshold", "bottom": "v", "top": "step"},
            {"name": "s_next", "type": "Eltwise", "bottom": ["s", "x", "step"]},
        ]
    }
    net = recurrent_net((3, 1, 1), (3, 1, 1), cont=False, sequences=["x", "v"], **cell)
    for _ in range(2):
        net.forward(x0=column(1, 2, 3), x1=column(1, -1, 1))
        assert net.blobs["r"].data.ravel().tolist() == [2, 4, 8]
        net.blobs["x1"].diff.fill(7)
        net.backward(r=column(1, 10, 100))
        assert net.blobs["x0"].diff.ravel().tolist() == [111, 110, 100]
        assert net.blobs["x1"].diff.ravel().tolist() == [0, 0, 0]
