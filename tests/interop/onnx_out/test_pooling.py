"""Pooling as ONNX on geometries that converters get wrong: windows that hang over, borders that count."""

import itertools

import numpy as np
import onnxruntime
import pytest
from nettrain import Net
from nettrain.interop.onnx_out import export

# height, width, kernel, stride, pad: windows that fit, overhang by one and by more, borders on one axis, strides above
# the kernel, a kernel as large as the image
GEOMETRIES = [
    ((6, 6), (2, 2), (2, 2), (0, 0)),
    ((7, 7), (2, 2), (2, 2), (0, 0)),
    ((7, 7), (3, 3), (2, 2), (0, 0)),
    ((8, 8), (3, 3), (2, 2), (0, 0)),
    ((8, 8), (3, 3), (2, 2), (1, 1)),
    ((7, 9), (3, 3), (2, 2), (1, 1)),
    ((10, 10), (4, 4), (3, 3), (1, 1)),
    ((10, 11), (5, 5), (3, 3), (2, 2)),
    ((5, 5), (3, 3), (1, 1), (1, 1)),
    ((6, 5), (3, 2), (2, 1), (1, 0)),
    ((9, 6), (2, 3), (3, 2), (0, 1)),
    ((5, 5), (1, 1), (2, 2), (0, 0)),
    ((6, 6), (1, 1), (3, 3), (0, 0)),
    ((4, 4), (4, 4), (1, 1), (0, 0)),
    ((4, 4), (4, 4), (2, 2), (2, 2)),
    ((5, 8), (4, 4), (4, 4), (1, 1)),
    ((13, 13), (5, 5), (4, 4), (3, 3)),
    ((11, 3), (6, 3), (5, 2), (3, 1)),
]


def by_hand(x, kernel, stride, pad, shape, how):
    """Window by window: the maximum inside the image; the mean over the window cut to the padded image."""
    sizes, y = x.shape[2:], np.empty(shape)
    for i, j in itertools.product(*map(range, shape[2:])):
        start = [a * s - p for a, s, p in zip((i, j), stride, pad, strict=True)]
        end = [min(a + k, n + p) for a, k, n, p in zip(start, kernel, sizes, pad, strict=True)]
        window = x[:, :, max(0, start[0]) : end[0], max(0, start[1]) : end[1]]
        area = (end[0] - start[0]) * (end[1] - start[1])
        y[:, :, i, j] = window.max(axis=(2, 3)) if how == "MAX" else window.sum(axis=(2, 3)) / area
    return y


@pytest.mark.parametrize("how", ["MAX", "AVE"])
@pytest.mark.parametrize("rounds", ["CEIL", "FLOOR"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_geometry(geometry, rounds, how):
    sizes, kernel, stride, pad = geometry
    names = ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w")
    layer = {"name": "y", "type": "Pooling", "pool": how, "round_mode": rounds}
    layer |= dict(zip(names, [*kernel, *stride, *pad], strict=True))
    net = Net({"layers": [{"name": "x", "type": "Input", "shape": [1, 2, *sizes]}, layer]}, phase="TEST")
    model = export(net)
    session = onnxruntime.InferenceSession(model.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = np.random.default_rng(batch).normal(0, 1, (batch, 2, *sizes)).astype(np.float32) - 3
        (y,) = session.run(None, {"x": x})
        assert y.shape == (batch, *net.blobs["y"].shape[1:])
        np.testing.assert_allclose(y, by_hand(x, kernel, stride, pad, y.shape, how), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(y, net.forward(x=x)["y"], rtol=1e-5, atol=1e-6)


def test_where_maxima_are_of_equal_values():
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 2, 5, 5]},
        {"name": "p", "type": "Pooling", "kernel_size": 3, "stride": 2, "pad": 1, "top": ["y", "where"]},
    ]
    net = Net({"layers": layers}, phase="TEST")
    x = np.random.default_rng(0).integers(0, 3, (2, 2, 5, 5)).astype(np.float32)
    session = onnxruntime.InferenceSession(export(net).proto.SerializeToString(), providers=["CPUExecutionProvider"])
    y, where = session.run(["y", "where"], {"x": x})
    wanted = net.forward(x=x)
    np.testing.assert_array_equal(y, wanted["y"])
    np.testing.assert_array_equal(where, wanted["where"])
