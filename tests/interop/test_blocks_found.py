"""What repeats in a prototxt becomes a block; the net is the same as with --flat."""

from pathlib import Path

import numpy as np
import pytest
from nettrain import Net
from nettrain.interop.convert import Options, convert
from nettrain.net.netspec import load

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
    + inception("inception_3c", "inception_3b/output", 2, 2, 2)
    + relu("in_place_on_a_block", "inception_3c/output")
    + TAIL.format("inception_3c/output"),
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
    convert("net.prototxt", "short.yaml", Options(force=True))
    convert("net.prototxt", "flat.yaml", Options(flat=True, force=True))
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
    assert "name: /" not in text  # these are the names that a block gives by itself
    assert len(text.splitlines()) < len(Path("flat.yaml").read_text().splitlines())


@pytest.mark.parametrize("name", UGLY)
def test_what_is_no_block_stays_as_it_is(workdir, name):
    same(workdir, UGLY[name])


def bn(name, blob):
    text = f'layer {{ name: "bn{name}" type: "BatchNorm" bottom: "{blob}" top: "{blob}" }}\n'
    text += f'layer {{ name: "scale{name}" type: "Scale" bottom: "{blob}" top: "{blob}" '
    return text + "scale_param { bias_term: true } }\n"


def unit(id_, bottom, few, stride=0):
    """A unit of ResNet-50 as its authors name the layers: with a stride a projection."""
    text, last = "", bottom
    step = f"stride: {stride or 1} bias_term: false"
    if stride:
        last = f"res{id_}_branch1"
        text = conv(last, bottom, 4 * few, 1, keys=step) + bn(f"{id_}_branch1", last)
    blob = bottom
    for branch, channels, size in (("2a", few, 1), ("2b", few, 3), ("2c", 4 * few, 1)):
        name = f"res{id_}_branch{branch}"
        text += conv(name, blob, channels, size, keys=step if branch == "2a" else "bias_term: false")
        text += bn(f"{id_}_branch{branch}", name) + (relu(f"{name}_relu", name) if branch != "2c" else "")
        blob = name
    text += f'layer {{ name: "res{id_}" type: "Eltwise" bottom: "{last}" bottom: "{blob}" top: "res{id_}" }}\n'
    return text + relu(f"res{id_}_relu", f"res{id_}")


def chain(text, blob, *units):
    for make, id_, *rest in units:
        made, blob = make(id_, blob, *rest)
        text += made
    return text + TAIL.format(blob)


def residual(id_, bottom, few, stride=0):
    return unit(id_, bottom, few, stride), f"res{id_}"


def growing(id_, bottom, channels):
    name = f"dense{id_}"
    text = conv(f"{name}_1", bottom, 2 * channels) + relu(f"{name}_relu", f"{name}_1")
    text += conv(f"{name}_2", f"{name}_1", channels, 3) + relu(f"{name}_end", f"{name}_2")
    return text + concat(f"concat{id_}", bottom, f"{name}_2"), f"concat{id_}"


def triple(id_, bottom, channels):
    name = f"conv{id_}"
    return conv(name, bottom, channels, 3) + bn(id_, name) + relu(f"relu{id_}", name), name


RESNET = [(residual, "2a", 2, 1), *((residual, f"2{x}", 2) for x in "bc"), (residual, "3a", 4, 2)]
RESNET += [*((residual, f"3b{i}", 4) for i in range(1, 8)), (residual, "4a", 6, 2), (residual, "4b", 6)]


def test_units_of_a_resnet_keep_their_names(workdir):
    text = same(workdir, chain(conv("conv1", "data", 4), "conv1", *RESNET))
    assert len(Path("flat.yaml").read_text().splitlines()) > 200
    lines = [line.strip() for line in text.splitlines()]
    assert len(lines) < 85
    ids = ", ".join(f"3b{i}" for i in range(1, 8))
    assert f"- {{name: res3b, type: residual, repeat: 7, id: [{ids}], num_output: 4}}" in lines
    assert "- {name: res4a, type: projection, id: 4a, stride: 2, num_output: 6}" in lines
    assert any("/res$(id)_branch2c" in line for line in lines)
    assert "num_output: 4 * $num_output" in text
    assert {"residual", "projection"} < set(load("short.yaml").to_python()["blocks"])
    assert "res3b5" in Net("short.yaml", phase="TEST").blobs


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (
            [(growing, str(i), 2) for i in range(1, 7)],
            "{name: dense1, type: dense, repeat: 6, id: [1, 2, 3, 4, 5, 6]",
        ),
        ([(growing, f"_{i}", i) for i in range(1, 7)], "type: dense"),
        ([(triple, f"{i}", 4 + 2 * (i > 3)) for i in range(1, 9)], "repeat: 5, id: [4, 5, 6, 7, 8], num_output: 6"),
    ],
    ids=["growing inputs", "values that all differ", "a chain"],
)
def test_parts_of_a_row(workdir, units, expected):
    assert expected in same(workdir, chain("", "data", *units))


def test_nothing_is_made_of_what_skips_or_is_short(workdir):
    down, blob = "", "data"
    for i in (1, 2, 3):  # of a U-Net: each part is read again later
        made, blob = triple(f"d{i}", blob, 4)
        down += made
    for i in (3, 2, 1):
        down += concat(f"up{i}", blob, f"convd{i}")
        made, blob = triple(f"u{i}", f"up{i}", 4)
        down += made
    text = same(workdir, down + TAIL.format(blob))
    assert [(use.block, use.repeat) for use in load(text).uses] == [("conv", 3), *[("conv", None)] * 3]
    assert len(load(text).to_python()["blocks"]["conv"]["layers"]) == 4  # never across a blob that is read outside
    pairs = "".join(conv(f"c{i}", f"c{i - 1}" if i else "data", 4) + relu(f"r{i}", f"c{i}") for i in range(6))
    assert "blocks:" not in same(workdir, pairs + TAIL.format("c5"))


def test_shared_parameters_and_dollar_signs(workdir):
    shared = "".join(
        conv(f"c{i}", f"c{i - 1}" if i else "data", 3, 1, SHARED) + bn(f"{i}", f"c{i}") + relu(f"r{i}", f"c{i}")
        for i in range(6)
    )
    text = same(workdir, shared + TAIL.format("c5"))
    assert "repeat: 6" in text
    same(workdir, shared.replace('"c', '"$c').replace('"$conv', '"conv') + TAIL.format("$c5"))
    assert load("short.yaml").uses == []
