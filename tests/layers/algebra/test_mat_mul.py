"""MatMul where nothing is added up: outer products of many vectors at once."""

import nettrain
import numpy as np
import pytest


@pytest.mark.parametrize("transpose_b", [False, True])
def test_outer_products(transpose_b):
    rng = np.random.default_rng(0)
    a, b, dy = rng.standard_normal((3, 4, 1)), rng.standard_normal((3, 1, 5)), rng.standard_normal((3, 4, 5))
    given = np.ascontiguousarray(b.swapaxes(1, 2)) if transpose_b else b
    inputs = [{"name": n, "type": "Input", "shape": list(x.shape)} for n, x in (("a", a), ("b", given))]
    product = {"name": "y", "type": "MatMul", "bottom": ["a", "b"], "transpose_b": transpose_b}
    net = nettrain.Net({"force_backward": True, "layers": [*inputs, product]}, "TRAIN", dtype="float64")
    for k in (1.0, -2.0):  # nothing is left of the first pass
        y = net.forward(a=k * a, b=given)["y"]
        np.testing.assert_allclose(y, k * a * b, rtol=1e-14)
        diffs = net.backward(y=dy)
        np.testing.assert_allclose(diffs["a"][..., 0], np.einsum("nij,nj->ni", dy, b[:, 0]), rtol=1e-12)
        db = k * np.einsum("nij,ni->nj", dy, a[..., 0])
        np.testing.assert_allclose(diffs["b"].reshape(3, 5), db, rtol=1e-12)
