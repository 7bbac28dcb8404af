"""What repeats in a prototxt becomes a block; the net is the same as with --flat."""

from pathlib import Path

import numpy as np
import pytest
from nettrain import Net
from nettrain.interop.convert import Options, convert

HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'


def conv(name, bottom, channels, size=1, extra="", keys=""):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {extra} convolution_param {{ '
        f'num_output: {channels} kernel_size: {size} pad: {size // 2} {keys} weight_filler {{ type: "xavier" }} }} }}\n'
    )


def relu(name, blob):
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}\n'


def concat(name, *bottoms):
    return (
        f'layer {{ name: "{name}" type: "Concat" top: "{name}" ' + " ".join(f'bottom: "{b}"' for b in bottoms) + " }\n"
    )


def fire(use, bottom, few, many):
    s, a, b = f"{use}/squeeze1x1", f"{use}/expand1x1", f"{use}/expand3x3"
    text = conv(s, bottom, few) + relu(f"{use}/relu", s) + conv(a, s, many) + relu(f"{use}/relu_a", a)
    return text + conv(b, s, many, 3) + relu(f"{use}/relu_b", b) + concat(f"{use}/concat", a, b)


def inception(use, bottom, one, three, pool):
    text = conv(f"{use}/1x1", bottom, one) + conv(f"{use}/3x3", bottom, three, 3)
    text += f'layer {{ name: "{use}/pool" type: "Pooling" bottom: "{bottom}" top: "{use}/pool" '
    text += "pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 } }\n"
    text += conv(f"{use}/pool_proj", f"{use}/pool", pool)
    return text + concat(f"{use}/output", f"{use}/1x1", f"{use}/3x3", f"{use}/pool_proj")


def separable(use, bottom, channels, extra=""):
    text = conv(f"{use}/dw", bottom, 4, 3, extra, "group: 4 bias_term: false")
    text += f'layer {{ name: "{use}/dw/bn" type: "BatchNorm" bottom: "{use}/dw" top: "{use}/dw" }}\n'
    text += f'layer {{ name: "{use}/dw/scale" type: "Scale" bottom: "{use}/dw" top: "{use}/dw" '
    text += "scale_param { bias_term: true } }\n" + relu(f"{use}/dw/relu", f"{use}/dw")
    return text + conv(f"{use}/sep", f"{use}/dw", channels)


TAIL = 'layer {{ name: "ip" type: "InnerProduct" bottom: "{}" top: "ip" inner_product_param {{ num_output: 3 }} }}\n'
NETS = {
    "squeezenet": fire("fire2", "data", 2, 3) + fire("fire3", "fire2/concat", 2, 4) + TAIL.format("fire3/concat"),
    "googlenet": inception("inception_3a", "data", 2, 3, 1)
    + inception("inception_3b", "inception_3a/output", 1, 2, 3)
    + TAIL.format("inception_3b/output"),
    "mobilenet": conv("conv1", "data", 4)
    + separable("conv2_1", "conv1", 4)
    + separable("conv2_2", "conv2_1/sep", 4)
    + separable("conv3_1", "conv2_2/sep", 6)
    + TAIL.format("conv3_1/sep"),
}
SHARED = 'param { name: "w" } param { name: "b" }'
UGLY = {
    "a name that the use would have": fire("fire2", "data", 2, 3)
    + conv("fire3", "fire2/concat", 3)
    + fire("fire4", "fire3", 2, 3)
    + TAIL.format("fire4/concat").replace('"ip"', '"fire2"'),
    "an input that is changed in place": conv("c", "data", 4)
    + relu("a/relu", "c")
    + conv("a/conv", "c", 4)
    + relu("b/relu", "a/conv")
    + conv("b/conv", "a/conv", 4)
    + TAIL.format("b/conv"),
    "shared parameters": conv("c", "data", 4)
    + conv("a/1", "c", 4, 1, SHARED)
    + relu("a/2", "a/1")
    + conv("b/1", "a/1", 4, 1, SHARED)
    + relu("b/2", "b/1")
    + TAIL.format("b/1"),
    "rules": conv("c", "data", 4)
    + separable("a", "c", 4, "include { phase: TEST }")
    + separable("b", "c", 4, "include { phase: TEST }")
    + TAIL.format("c"),
    "two outputs": inception("a", "data", 2, 3, 1)
    + inception("b", "a/1x1", 2, 3, 1)
    + concat("z", "a/output", "b/1x1", "b/output"),
}


def same(workdir, text):
    Path("net.prototxt").write_text(HEAD + text)
    convert("net.prototxt", "short.yaml", Options())
    convert("net.prototxt", "flat.yaml", Options(flat=True))
    nets = [Net(name, phase="TEST", seed=5, dtype="float64") for name in ("net.prototxt", "short.yaml", "flat.yaml")]
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    first = list(nets[0].forward(data=x).values())
    for net in nets[1:]:
        assert list(net.layers) == list(nets[0].layers)
        assert {k: [b.shape for b in v] for k, v in net.params.items()} == {
            k: [b.shape for b in v] for k, v in nets[0].params.items()
        }
        for name, blobs in net.params.items():
            for one, two in zip(blobs, nets[0].params[name], strict=True):
                one.data[...] = two.data
        for one, two in zip(net.forward(data=x).values(), first, strict=True):
            assert np.array_equal(one, two)
    return Path("short.yaml").read_text()


@pytest.mark.parametrize("name", NETS)
def test_what_repeats_is_a_block(workdir, name):
    text = same(workdir, NETS[name])
    assert "blocks:" in text
    assert len(text.splitlines()) < len(Path("flat.yaml").read_text().splitlines())


@pytest.mark.parametrize("name", UGLY)
def test_what_is_no_block_stays_as_it_is(workdir, name):
    same(workdir, UGLY[name])
