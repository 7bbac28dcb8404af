"""Random nets of small layers, wired at random, some in place, some outputs read by no layer: what a net has computed
before, with other batches, leaves no trace, and gradients are those of the loss."""

import nettrain
import numpy as np
import pytest
from nettrain.net import plan

NEURONS = ["TanH", "Sigmoid", "BNLL", "GELU", "SiLU", "Swish", "Mish", "Softplus"]  # smooth: no kinks


class Maker:
    """Makes layers on blobs of N x C x 4 x 4; ``channels`` knows the C of each."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.layers, self.channels = [{"name": "x", "type": "Input", "shape": [2, 3, 4, 4]}], {"x": 3}

    def choose(self, values):
        return values[int(self.rng.integers(len(values)))]

    def add(self, kind, bottoms, channels, in_place=False, **params):
        name = f"l{len(self.layers)}"
        top = bottoms[0] if in_place else name
        self.layers.append({"name": name, "type": kind, "bottom": bottoms, "top": top, **params})
        self.channels[top] = channels
        return top

    def grow(self):
        blobs = list(self.channels)
        x = self.choose([*blobs, *blobs[-2:]])
        C, in_place = self.channels[x], bool(self.rng.random() < 0.4)
        kind = self.choose(
            ["neuron", "neuron", "conv", "sum", "sum", "product", "bias", "norm", "flat", "concat", "slice"]
        )
        if kind == "neuron":
            self.add(self.choose(NEURONS), [x], C, in_place)
        elif kind == "conv":
            axis = self.choose([1, 1, -3])  # counted from the end, it may also be plain in memory
            self.add("Convolution", [x], 4, num_output=4, kernel_size=3, pad=1, axis=axis)
        elif kind in ("sum", "product"):
            others = [b for b in blobs if self.channels[b] == C]
            bottoms = [x, *(self.choose(others) for _ in range(self.rng.integers(1, 3)))]
            coefficients = {"coeff": [0.5] * len(bottoms)} if self.rng.random() < 0.2 and kind == "sum" else {}
            operation = "SUM" if kind == "sum" else "PROD"
            self.add("Eltwise", bottoms, C, in_place, operation=operation, **coefficients)
        elif kind == "bias":
            self.add(self.choose(["Bias", "Scale"]), [x], C, in_place, filler="gaussian")
        elif kind == "norm":
            self.add(self.choose(["BatchNorm", "LayerNorm", "MVN"]), [x], C, in_place)
        elif kind == "flat":
            flat = self.add("Flatten", [x], 0)
            del self.channels[flat]
            if self.rng.random() < 0.8:  # otherwise nothing reads it
                self.add("Reshape", [flat], C, shape=[0, C, 4, 4])
        elif kind == "concat":
            other = self.choose(blobs)
            if C + self.channels[other] <= 12:
                self.add("Concat", [x, other], C + self.channels[other])
        elif C > 1:
            self.layers.append({"name": f"l{len(self.layers)}", "type": "Slice", "bottom": x, "slice_point": [1]})
            self.layers[-1]["top"] = [f"{self.layers[-1]['name']}{part}" for part in "ab"]
            self.channels |= dict(zip(self.layers[-1]["top"], (1, C - 1), strict=True))

    def finish(self):
        """A loss on some of the blobs."""
        for blob in list(self.channels)[-3:]:
            scores = self.add("InnerProduct", [blob], 0, num_output=2)
            self.add("TanH", [scores], 0, in_place=True)
            self.add("Reduction", [scores], 0, loss_weight=float(self.rng.uniform(0.5, 1.5)))
        return self.layers


def run(net, x):
    net.forward(x=x)
    net.clear_param_diffs()
    net.backward()
    return net.loss, net._input_blobs["x"].diff.copy(), net.flat.diff.copy()


@pytest.mark.parametrize("seed", range(80))
def test_nothing_remains_of_earlier_batches_and_the_gradient_is_the_losss(seed):
    maker = Maker(seed)
    for _ in range(int(maker.rng.integers(3, 11))):
        maker.grow()
    spec = {"layers": maker.finish(), "force_backward": True}

    def fresh():
        return nettrain.Net(spec, "TRAIN", dtype="float64", seed=seed)

    net = fresh()
    for size in (2, 4, 3, 3):
        x = maker.rng.standard_normal((size, 3, 4, 4))
        once = run(fresh(), x)
        for ours, theirs in zip(run(net, x), once, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)

    # along one random direction of the input and of the parameters that are learned
    _, dx, dw = once
    learned = np.concatenate([np.full(p.blob.count, p.lr_mult > 0) for p in net.parameters])
    v, w = maker.rng.standard_normal(x.shape), maker.rng.standard_normal(dw.shape) * learned

    def loss(t):
        moved = fresh()
        moved.flat.data[...] += t * w
        moved.forward(x=x + t * v)
        return moved.loss

    numeric = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert (dx * v).sum() + (dw * w).sum() == pytest.approx(numeric, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(80))
def test_every_gradient_is_the_one_of_a_net_that_shares_no_memory(seed, monkeypatch):
    maker = Maker(seed)
    for _ in range(int(maker.rng.integers(3, 11))):
        maker.grow()
    spec = {"layers": maker.finish(), "force_backward": bool(seed % 2)}
    x = maker.rng.standard_normal((2, 3, 4, 4))

    def gradients():
        net = nettrain.Net(spec, "TRAIN", dtype="float64", seed=seed)
        run(net, x)
        read = {key for step in net.steps if step.needs_backward for key in step.bottom_keys}
        return {
            key: top.diff.copy()
            for step in net.steps
            if step.needs_backward
            for key, top in zip(step.top_keys, step.top, strict=True)
            if key in read  # what nobody reads has no gradient
        }

    shared = gradients()
    for name in ("pass_memory_on", "pass_diffs_on"):
        monkeypatch.setattr(plan, name, lambda steps: None)
    for key, alone in gradients().items():
        np.testing.assert_allclose(shared[key], alone, rtol=1e-12, atol=1e-13, err_msg=str(key))
