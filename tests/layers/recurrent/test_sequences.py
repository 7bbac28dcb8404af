"""RNN, LSTM and GRU: against cells written out, states from batch to batch, lengths and numbers that change."""

import json

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain import NettrainError, ShapeError

T, N, D, H = 5, 3, 4, 2
STATES = {"RNN": 1, "GRU": 1, "LSTM": 2}
TYPES = list(STATES)


def sequence_net(kind, shapes=((T, N, D), (T, N)), **params):
    if kind != "Recurrent":
        params = {"num_output": H, "weight_filler": "gaussian", "bias_filler": "gaussian"} | params
    return layer_net(kind, *shapes, name="r", **{"seed": 1} | params)


def sequences(seed=0, T=T, N=N):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((T, N, D)), (rng.random((T, N)) < 0.7).astype(float)


GRU_CELL = [
    {"name": "xs", "type": "InnerProduct", "bottom": "x", "num_output": 3 * H},
    {"name": "hs", "type": "InnerProduct", "bottom": "h", "num_output": 3 * H},
    {"name": "cut x", "type": "Slice", "bottom": "xs", "top": ["xr", "xz", "xn"]},
    {"name": "cut h", "type": "Slice", "bottom": "hs", "top": ["hr", "hz", "hn"]},
    {"name": "r0", "type": "Eltwise", "bottom": ["xr", "hr"]},
    {"name": "r", "type": "Sigmoid", "bottom": "r0"},
    {"name": "z0", "type": "Eltwise", "bottom": ["xz", "hz"]},
    {"name": "z", "type": "Sigmoid", "bottom": "z0"},
    {"name": "rhn", "type": "Eltwise", "operation": "PROD", "bottom": ["r", "hn"]},
    {"name": "n0", "type": "Eltwise", "bottom": ["xn", "rhn"]},
    {"name": "n", "type": "TanH", "bottom": "n0"},
    {"name": "h-n", "type": "Eltwise", "bottom": ["h", "n"], "coeff": [1, -1]},
    {"name": "zhn", "type": "Eltwise", "operation": "PROD", "bottom": ["z", "h-n"]},
    {"name": "h_next", "type": "Eltwise", "bottom": ["n", "zhn"]},
]
LSTM_CELL = [
    {"name": "x_gates", "type": "InnerProduct", "bottom": "x", "num_output": 4 * H},
    {"name": "h_gates", "type": "InnerProduct", "bottom": "h", "num_output": 4 * H, "bias_term": False},
    {"name": "gates", "type": "Eltwise", "bottom": ["x_gates", "h_gates"]},
    {"name": "cut", "type": "Slice", "top": ["i", "f", "o", "g"]},
    *({"name": f"{gate} open", "type": "Sigmoid", "bottom": gate, "top": gate} for gate in "ifo"),
    {"name": "g bent", "type": "TanH", "bottom": "g", "top": "g"},
    {"name": "kept", "type": "Eltwise", "operation": "PROD", "bottom": ["f", "c"]},
    {"name": "new", "type": "Eltwise", "operation": "PROD", "bottom": ["i", "g"]},
    {"name": "c_next", "type": "Eltwise", "bottom": ["kept", "new"]},
    {"name": "bent", "type": "TanH"},
    {"name": "h_next", "type": "Eltwise", "operation": "PROD", "bottom": ["o", "bent"]},
]


@pytest.mark.parametrize(("type_name", "cell", "states"), [("LSTM", LSTM_CELL, "hc"), ("GRU", GRU_CELL, "h")])
def test_the_same_as_a_recurrent_cell_written_out(type_name, cell, states):
    """Three batches, the state carried from one to the next, with sequences that begin in the middle."""
    kept = [{"name": s, "next": f"{s}_next", "shape": [H]} for s in states]
    spelled = sequence_net("Recurrent", cell=cell, states=kept, outputs="h_next", carry=True)
    layer = sequence_net(type_name)
    for mine, theirs in zip(layer.params["r"], spelled.params["r"], strict=True):
        theirs.data[...] = mine.data
    for batch in range(3):
        x, cont = sequences(batch)
        dy = np.random.default_rng(9 + batch).standard_normal((T, N, H))
        for net in (layer, spelled):
            net.forward(x0=x, x1=cont)
            net.backward(r=dy)
        np.testing.assert_allclose(layer.blobs["r"].data, spelled.blobs["r"].data, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(layer.blobs["x0"].diff, spelled.blobs["x0"].diff, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.flat.diff, spelled.flat.diff, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("type_name", TYPES)
def test_two_batches_are_one_long_one(type_name):
    whole, halves = sequence_net(type_name), sequence_net(type_name)
    x, cont = sequences(T=6)
    y = whole.forward(x0=x, x1=cont)["r"].copy()
    parts = [halves.forward(x0=x[i : i + 3], x1=cont[i : i + 3])["r"].copy() for i in (0, 3)]
    np.testing.assert_allclose(np.concatenate(parts), y, rtol=1e-12)
    # with a different number of sequences there is nothing to continue from
    fresh = sequence_net(type_name).forward(x0=x[:, :2], x1=np.ones((6, 2)))["r"]
    np.testing.assert_allclose(halves.forward(x0=x[:, :2], x1=np.ones((6, 2)))["r"], fresh, rtol=1e-12)


@pytest.mark.parametrize("type_name", TYPES)
def test_exposed_states_are_what_is_carried(type_name):
    count = STATES[type_name]
    shapes = [(T, N, D), (T, N), *[(1, N, H)] * count]
    tops = ["r", *(f"last{i}" for i in range(count))]
    exposed, plain = sequence_net(type_name, shapes, expose_hidden=True, top=tops), sequence_net(type_name)
    states = [np.zeros((1, N, H))] * count
    for batch in range(2):
        x, cont = sequences(batch)
        exposed.forward(x0=x, x1=cont, **{f"x{2 + i}": s for i, s in enumerate(states)})
        np.testing.assert_allclose(exposed.blobs["r"].data, plain.forward(x0=x, x1=cont)["r"], rtol=1e-12)
        states = [exposed.blobs[name].data.copy() for name in tops[1:]]


@pytest.mark.parametrize("type_name", TYPES)
def test_a_snapshot_keeps_the_state_bit_for_bit(type_name):
    one, other = sequence_net(type_name, dtype="float32"), sequence_net(type_name, dtype="float32")
    one.forward(x0=sequences(0)[0], x1=sequences(0)[1])
    kept = json.loads(json.dumps(one.layer_states()))
    other.reshape()
    other.set_layer_states(kept, 1)
    for batch in (1, 2):
        x, cont = sequences(batch)
        assert np.array_equal(one.forward(x0=x, x1=cont)["r"], other.forward(x0=x, x1=cont)["r"])


@pytest.mark.parametrize("type_name", [*TYPES, "Recurrent"])
def test_a_pass_over_a_data_set_begins_afresh(type_name):
    params = {"cell": LSTM_CELL, "states": [{"name": s, "next": f"{s}_next", "shape": [H]} for s in "hc"]}
    params |= {"outputs": "h_next", "carry": True}
    net = sequence_net(type_name, **(params if type_name == "Recurrent" else {}))
    x, _ = sequences()
    first = net.forward(x0=x, x1=np.ones((T, N)))["r"].copy()
    assert not np.array_equal(net.forward(x0=x, x1=np.ones((T, N)))["r"], first)
    net.layers["r"].start_pass()
    assert np.array_equal(net.forward(x0=x, x1=np.ones((T, N)))["r"], first)


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize(("steps", "count"), [(1, 1), (1, 0), (4, 1)])
def test_short_and_few(type_name, steps, count):
    net = sequence_net(type_name)
    x, cont = sequences(T=steps, N=count)
    assert net.forward(x0=x, x1=cont)["r"].shape == (steps, count, H)
    net.backward(r=np.ones((steps, count, H)))
    assert net.blobs["x0"].diff.shape == (steps, count, D)


@pytest.mark.parametrize("type_name", TYPES)
def test_no_number_is_too_large(type_name):
    net = sequence_net(type_name)
    x, cont = sequences()
    y = net.forward(x0=1e4 * x, x1=cont)["r"]
    net.backward(r=np.ones_like(y))
    assert np.isfinite(y).all()
    assert np.isfinite(net.blobs["x0"].diff).all()


@pytest.mark.parametrize("type_name", TYPES)
def test_another_number_of_inputs_is_refused(type_name):
    with pytest.raises(ShapeError, match=r"a step takes 4 inputs for each example, got 3"):
        sequence_net(type_name).forward(x0=np.zeros((T, N, 3)), x1=np.zeros((T, N)))


def test_the_gradient_of_the_unit_holds_for_any_cont():
    layers = [
        {"name": "in", "type": "Input", "top": ["c", "gates", "cont"], "shape": [[1, 1, 1], [1, 1, 4], [1, 1]]},
        {"name": "u", "type": "LSTMUnit", "bottom": ["c", "gates", "cont"], "top": ["c1", "h1"]},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
    net.forward(c=[[[2.0]]], gates=np.zeros((1, 1, 4)), cont=[[0.5]])
    assert net.blobs["c1"].data.item() == 0.5 * 0.5 * 2
    net.backward(c1=[[[1.0]]], h1=[[[0.0]]])
    # dc' = f cont; the forget gate's slope is cont c' σ'(0) = 0.5 * 2 / 4, where Caffe has f(1 - f) of the product
    assert net.blobs["c"].diff.item() == 0.25
    np.testing.assert_allclose(net.blobs["gates"].diff.ravel(), [0, 0.25, 0, 0.5])


def test_a_net_of_them_learns_and_its_snapshot_goes_on(workdir):
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, (12, 8))
    spec = {
        "solver": {"base_lr": 0.5, "momentum": 0.9, "max_iter": 150},
        "layers": [
            {"name": "in", "type": "Input", "top": ["x", "cont", "y"], "shape": [[10, 8, 1], [10, 8], [10, 8]]},
            {"name": "lstm", "type": "LSTM", "bottom": ["x", "cont"], "num_output": 8},
            {"name": "ip", "type": "InnerProduct", "num_output": 2, "axis": 2},
            {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "y"], "axis": 2},
        ],
    }

    def solver():
        made = nettrain.get_solver(spec)
        made.net.blobs["x"].data[..., 0], made.net.blobs["y"].data[...] = bits[2:], bits[:-2]
        made.net.blobs["y"].data[:2] = 0
        made.net.blobs["cont"].data[...] = 1
        return made

    one = solver()
    one.step(20)
    path = one.snapshot()
    one.step(100)
    assert one.losses[-1] < 0.3  # from ln 2
    other = solver()
    other.restore(path)
    other.step(100)
    assert np.array_equal(one.net.flat.data, other.net.flat.data)


def test_nothing_is_said_of_a_cont_that_learns():
    with pytest.raises(NettrainError, match="has no gradient for its bottom 1"):
        nettrain.Net(
            {
                "layers": [
                    {"name": "x", "type": "Input", "shape": [T, N, D]},
                    {"name": "cont", "type": "InnerProduct", "bottom": "x", "num_output": N},
                    {"name": "r", "type": "LSTM", "bottom": ["x", "cont"], "num_output": H},
                    {"name": "t", "type": "Input", "shape": [T, N, H]},
                    {"name": "loss", "type": "EuclideanLoss", "bottom": ["r", "t"]},
                ]
            },
            phase="TRAIN",
        )
