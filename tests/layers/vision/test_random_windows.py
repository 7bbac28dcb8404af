"""Convolution and Deconvolution over random geometries against a slow plain formula: every way the work is cut, windows
wholly in the padding, pads up to three times the image, strides beyond it. All numbers are small and whole: single
precision is then exact too, and every result must be equal to the last bit."""

from collections import Counter
from dataclasses import dataclass

import nettrain
import numpy as np
import pytest
from nettrain.compute import parallel
from nettrain.layers.vision import convolution, windows


@dataclass(frozen=True)
class Geometry:
    """One layer: some examples, an image of some channels, its windows at some places, and their outputs.

    A Convolution goes from the image to the places, a Deconvolution from the places to the image.
    """

    type: str
    examples: tuple[int, ...]  # the axes before the channels
    channels: int  # of the image
    outputs: int  # at each place
    group: int
    image: tuple[int, ...]
    places: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    bias: bool
    dtype: str
    channels_last: bool
    cut: tuple[int, int, int, int] | None  # LIMITS, or as they are

    @property
    def sides(self):
        """Shapes of the image and of what belongs to the places."""
        return (*self.examples, self.channels, *self.image), (*self.examples, self.outputs, *self.places)

    def net(self):
        bottom, top = self.sides if self.type == "Convolution" else self.sides[::-1]
        layer = {
            "name": "y",
            "type": self.type,
            "num_output": top[len(self.examples)],
            "kernel_size": self.kernel,
            "stride": self.stride,
            "pad": self.pad,
            "dilation": self.dilation,
            "group": self.group,
            "bias_term": self.bias,
            "axis": len(self.examples),
        }
        layers = [{"name": "x", "type": "Input", "shape": bottom}, layer]
        net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype=self.dtype)
        assert net.blobs["y"].shape == top
        net.blobs["x"].reshape(bottom, channels_last=self.channels_last)
        net.reshape()
        return net

    def slow(self, x, W, y):
        """One place at a time, for an image x and values y of the places: W x, W transposed y, and y x transposed."""
        G, C, M, kernel = self.group, self.channels, self.outputs, self.kernel
        W = W.reshape(G, M // G, -1)
        y = y.reshape(-1, G, M // G, *self.places)
        x = np.pad(x.reshape(len(y), G, C // G, *self.image), [(0, 0)] * 3 + [(p, p) for p in self.pad])
        Wx, Wy, yx = np.zeros(y.shape), np.zeros(x.shape), np.zeros(W.shape)
        for place in np.ndindex(*self.places):
            window = [
                slice(i * s, i * s + d * (k - 1) + 1, d)
                for i, s, d, k in zip(place, self.stride, self.dilation, kernel, strict=True)
            ]
            values = x[:, :, :, *window].reshape(len(x), G, -1)
            Wx[..., *place] = np.einsum("ngk,gmk->ngm", values, W)
            Wy[:, :, :, *window] += np.einsum("ngm,gmk->ngk", y[..., *place], W).reshape(len(x), G, C // G, *kernel)
            yx += np.einsum("ngm,ngk->gmk", y[..., *place], values)
        inside = [slice(p, p + size) for p, size in zip(self.pad, self.image, strict=True)]
        image, places = self.sides
        return Wx.reshape(places), Wy[:, :, :, *inside].reshape(image), yx.reshape(M, C // G, *kernel)


# by which the layers decide how to cut the work
LIMITS = [
    (windows, "CHUNK_BYTES"),
    (windows, "ROWS_OF_PRODUCT"),
    (windows, "SHORTEST_PRODUCT"),
    (convolution, "SMALL"),
]
AS_IT_COMES = None
WAYS_TO_CUT = [
    AS_IT_COMES,
    (1, 10**6, 48, 10**6),  # single examples
    (1, 1, 48, 10**6),  # bands of one row
    (1, 1, 1, 0),  # each row of the kernel a product of its own, weights in the order that suits large ones
    (1, 20, 1, 10**6),  # bands of a few rows
]


def draw(rng, type, kind):
    """A geometry of a few hundred places, more for the kind ``large``, which is cut into bands as it is."""
    while True:
        axes = 2 if kind == "large" else int(rng.choice([1, 2, 2, 2, 3]))
        low, high = (8, 14) if kind == "large" else (1, {1: 40, 2: 9, 3: 4}[axes])
        sizes = rng.integers(low, high + 1, axes)
        kernel = np.ones(axes, int) if kind == "pointwise" else rng.integers(1, 5, axes)
        stride = [np.ones(axes, int), rng.choice([1, 1, 2, 3], axes), rng.integers(1, 3 * sizes + 1)]
        stride = stride[rng.choice(3, p=[0.4, 0.4, 0.2])]
        dilation = rng.choice([1, 1, 2, 3], axes)
        extent = dilation * (kernel - 1) + 1
        if type == "Convolution":
            image, pad = sizes, rng.integers(0, 3 * sizes + 1) if rng.random() < 0.7 else rng.integers(0, 3, axes)
            if (extent > image + 2 * pad).any():
                continue
            places = (image + 2 * pad - extent) // stride + 1
        else:
            places = 4 * sizes if kind == "large" else sizes
            whole = stride * (places - 1) + extent
            pad = rng.integers(0, (whole + 1) // 2) if rng.random() < 0.7 else np.minimum(1, (whole - 1) // 2)
            image = whole - 2 * pad
        group, channels, outputs = 1, int(rng.choice([1, 2, 3, 4, 16])), int(rng.choice([1, 2, 3, 16]))
        if kind == "grouped":
            group = int(rng.integers(2, 4))
            channels, outputs = group * int(rng.integers(1, 4)), group * int(rng.integers(2, 4))
        elif kind == "depthwise":
            group = channels = outputs = int(rng.choice([2, 3, 16, 17]))
        elif kind == "single channel":
            channels = 1
        elif kind == "large":
            group, channels, outputs = [(1, 32, 8), (2, 64, 8), (96, 96, 96)][rng.integers(3)]
        least, most = (1536, 3000) if kind == "large" else (1, 400)
        if not least <= places.prod() <= most or image.prod() > most:
            continue
        examples = [(1,), (2,), (3,), (16,), (2, 3)][rng.choice(2 if kind == "large" else 5)]
        return Geometry(
            type,
            examples,
            channels,
            outputs,
            group,
            *(tuple(map(int, numbers)) for numbers in (image, places, kernel, stride, pad, dilation)),
            bias=bool(rng.random() < 0.8),
            dtype=str(rng.choice(["float32", "float64"])),
            channels_last=len(examples) == 1 and bool(rng.random() < 0.5),
            cut=None if kind == "large" else WAYS_TO_CUT[rng.integers(len(WAYS_TO_CUT))],
        )


def check(geometry, net, several):
    """Forward and backward, on one thread and on several: what the slow formula says."""
    rng, W = np.random.default_rng(0), net.params["y"][0]
    image, places = (rng.integers(-9, 10, shape).astype(float) for shape in geometry.sides)
    axes = len(geometry.pad)
    b = rng.integers(-9, 10, (net.blobs["y"].shape[-axes - 1], *[1] * axes)) * geometry.bias
    W.data[...] = rng.integers(-9, 10, W.shape)
    Wx, Wy, dW = geometry.slow(image, W.data.astype(float), places)
    x, dy, y, dx = (image, places, Wx, Wy) if geometry.type == "Convolution" else (places, image, Wy, Wx)
    if geometry.bias:
        net.params["y"][1].data[...] = b.ravel()
    for threads in (1, several):
        parallel.use_threads(threads)
        for blob in net.params["y"]:
            blob.diff[...] = 5
        np.testing.assert_array_equal(net.forward(x=x)["y"], y + b)
        np.testing.assert_array_equal(net.backward(y=dy)["x"], dx)
        np.testing.assert_array_equal(W.diff, 5 + dW)
        if geometry.bias:
            np.testing.assert_array_equal(
                net.params["y"][1].diff, 5 + np.moveaxis(dy, -axes - 1, 0).reshape(len(b), -1).sum(axis=1)
            )


def what_is_reached(g, layer):
    """Which paths a geometry takes, by the layer's own plan of it, and which edges it has."""
    w = layer.windows[0]
    chunks = w.chunks(layer.N, layer.dtype.itemsize)
    bands = {(rows.start, rows.stop) for _, rows in chunks}
    yield type(w).__name__
    yield f"{len(g.pad)}-D"
    yield g.dtype
    if len(bands) > 1:
        yield "bands as it comes" if g.cut is AS_IT_COMES else "bands"
    if any(examples.stop - examples.start > 1 for examples, _ in chunks):
        yield "examples together"
    if w.P > 1:
        yield "products of rows"
    if w.by_channel:
        yield "by channel"
    if w.channels_last and not w.by_channel:
        yield "channels last"
    flipped = layer.backward_windows(w, channels_last=layer.any_layout)
    yield "folded" if flipped is None else "flipped"
    extent = [d * (k - 1) + 1 for d, k in zip(g.dilation, g.kernel, strict=True)]
    for start, stop in bands:
        first, last = start * g.stride[0] - g.pad[0], (stop - 1) * g.stride[0] - g.pad[0] + extent[0]
        if last <= 0 or first >= g.image[0]:
            yield "a band in the padding" + (" as it comes" if g.cut is AS_IT_COMES else "")
    if any(p >= size for p, size in zip(g.pad, g.image, strict=True)):
        yield "pad beyond the image"
    if any(p > 2 * size for p, size in zip(g.pad, g.image, strict=True)):
        yield "pad beyond two images"
    if any(s > size for s, size in zip(g.stride, g.image, strict=True)):
        yield "stride beyond the image"
    if any(e > size for e, size in zip(extent, g.image, strict=True)):
        yield "kernel beyond the image"
    if g.places[0] == 1:
        yield "one row"
    if set(g.places) == {1}:
        yield "one window"


PATHS = {
    "Windows",
    "1-D",
    "2-D",
    "3-D",
    "float32",
    "float64",
    "bands",
    "examples together",
    "folded",
    "flipped",
    "a band in the padding",
    "pad beyond the image",
    "pad beyond two images",
    "stride beyond the image",
    "kernel beyond the image",
    "one row",
    "channels last",
}
ROWS = {"products of rows", "by channel"}
# kind -> how many convolutions, and what they must reach
KINDS = {
    "plain": (150, PATHS | ROWS | {"one window"}),
    "grouped": (80, PATHS | ROWS),
    "depthwise": (90, PATHS | {"Depthwise"}),
    "pointwise": (80, PATHS - {"kernel beyond the image"}),
    "single channel": (80, PATHS | ROWS),
    "large": (
        20,
        {"Windows", "Depthwise", "products of rows", "bands as it comes", "a band in the padding as it comes"},
    ),
}
assert sum(count for count, _ in KINDS.values()) == 500


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("type", ["Convolution", "Deconvolution"])
def test_equals_the_slow_formula(type, kind, monkeypatch):
    as_they_are = [getattr(module, name) for module, name in LIMITS]
    monkeypatch.setattr(parallel, "_wanted", parallel.threads())  # and so after the test again
    count, paths = KINDS[kind]
    rng, reached = np.random.default_rng([len(kind), len(type)]), Counter()
    for number in range(count if type == "Convolution" or kind == "large" else count // 2):
        g = draw(rng, type, kind)
        for limit, value in zip(LIMITS, g.cut or as_they_are, strict=True):
            monkeypatch.setattr(*limit, value)
        net = g.net()
        try:
            check(g, net, several=2 + number % 2)
        except Exception as error:
            raise AssertionError(f"{g}: {error}") from error
        reached.update(set(what_is_reached(g, net.layers["y"])))
    assert paths - set(reached) == set()
