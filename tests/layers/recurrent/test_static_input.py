"""A static input of RNN, LSTM and GRU is what every step reads beside its own x."""

import nettrain
import numpy as np
import pytest
from nettrain import SpecError

T, N, D, E, H = 4, 3, 2, 5, 3


def net_of(kind, *shapes):
    names = ["x", "cont", "xs"][: len(shapes)]
    inputs = [{"name": n, "type": "Input", "shape": list(s)} for n, s in zip(names, shapes, strict=True)]
    layer = {"name": "y", "type": kind, "bottom": names, "num_output": H}
    fillers = {"weight_filler": "xavier", "bias_filler": {"type": "gaussian", "std": 0.5}}
    return nettrain.Net({"force_backward": True, "layers": [*inputs, layer | fillers]}, "TRAIN", dtype="float64")


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("shape", [(N, E), (N, 1), (N, 5, 1)])
def test_it_is_the_same_as_to_repeat_it_in_every_x(kind, shape):
    rng = np.random.default_rng(0)
    x, xs, dy = rng.standard_normal((T, N, D)), rng.standard_normal(shape), rng.standard_normal((T, N, H))
    cont = (rng.random((T, N)) < 0.7).astype(float)
    size = xs[0].size
    with_static, longer = net_of(kind, x.shape, cont.shape, xs.shape), net_of(kind, (T, N, D + size), cont.shape)
    Wx, b, Wxs, *more = with_static.params["y"]
    W, *others = longer.params["y"]
    W.data[...] = np.hstack([Wx.data, Wxs.data])
    for blob, same in zip(others, (b, *more), strict=True):
        blob.data[...] = same.data

    y = with_static.forward(x=x, cont=cont, xs=xs)["y"]
    both = np.concatenate([x, np.broadcast_to(xs.reshape(1, N, size), (T, N, size))], axis=2)
    np.testing.assert_allclose(y, longer.forward(x=both, cont=cont)["y"], rtol=1e-12, atol=1e-14)

    ours, theirs = with_static.backward(y=dy), longer.backward(y=dy)
    close = {"rtol": 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(ours["x"], theirs["x"][..., :D], **close)
    np.testing.assert_allclose(ours["xs"].reshape(N, size), theirs["x"][..., D:].sum(axis=0), **close)
    np.testing.assert_allclose(np.hstack([Wx.diff, Wxs.diff]), W.diff, **close)
    for blob, same in zip(others, (b, *more), strict=True):
        np.testing.assert_allclose(same.diff, blob.diff, **close)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("shape", [(N + 1, E), (N,), (1, E), (T, N, E)])
def test_it_has_a_row_for_each_sequence(kind, shape):
    with pytest.raises(SpecError, match=r"the static input must be N x … with N = 3, got "):
        net_of(kind, (T, N, D), (T, N), shape)
