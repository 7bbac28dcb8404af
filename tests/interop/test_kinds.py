"""What a file is, told by what is in it."""

import time
from pathlib import Path

import pytest
from nettrain.interop.kinds import is_binary, is_net, is_prototxt

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "a" }',
        'layer: { name: "a" }',
        "layer <\n>",
        "layers {\n  name: 'a' }",
        "layers\n{ layer { } }",
        "layers: {\n  type: CONVOLUTION }",
        'name: "x" layer{type:"ReLU"}',
        '# layers:\nname: "x"\ninput: "data"\ninput_dim: 1',
        'net: "a.prototxt"\nbase_lr: 0.1',
        "train_net: 'a.prototxt'",
        "base_lr: 0.1\nsolver_mode: GPU",
        "net_param {\n}",
        'item {\n  name: "none_of_the_above"\n}',
        '\r\n  layer {\r\n name: "a" }',
    ],
)
def test_prototxts(text):
    assert is_prototxt(text)


@pytest.mark.parametrize(
    "text",
    [
        "layers:\n  - {name: a, type: ReLU}",
        "layers: [{name: a}]",
        "layers: {data: {type: Input}}",
        'solver:\n  net: "a"\n  base_lr: 0.1\nlayers:\n- {name: x}',
        "blocks: {a: {layers: [{name: x}]}}\nlayers:\n- {name: x}",
        "# layer { }\nlayers:\n  - {name: a}",
        "",
        "name: a\n",
    ],
)
def test_yaml(text):
    assert not is_prototxt(text)


def test_all_of_our_own():
    files = [path for path in ROOT.glob("**/*.yaml") if ".venv" not in path.parts]
    assert len(files) > 50
    assert [path for path in files if is_prototxt(path.read_text(encoding="utf-8", errors="replace"))] == []


def test_binary_nets():
    assert is_net(b"\n\x05LeNet\xa2\x06\x02\n\x00")
    assert is_net(b"\x12\x02\x22\x00")
    for other in (b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", "name: a".encode("utf-16"), bytes(range(256)), b"name: \0"):
        assert is_binary(other)
        assert not is_net(other)


@pytest.mark.parametrize("piece", [" ", "layers", "layer \t", "\n\n \t", "layers:\n", "layers:\n\n\n\n", "#", "net:"])
def test_long_texts_are_told_soon(piece):
    began = time.perf_counter()
    is_prototxt(piece * (1_000_000 // len(piece)))
    is_prototxt("layers:" + piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - began < 5
