"""YAML that reads back as what it was written from."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nettrain import Net
from nettrain.interop.convert import Options, convert
from nettrain.interop.yaml_out import to_yaml
from nettrain.net.netspec import load
from nettrain.spec.errors import Place
from nettrain.spec.node import Node
from nettrain.spec.reading import _UNWRITABLE, read_text

HARD = [
    "",
    " ",
    "a: b",
    "a #b",
    "# a",
    "- a",
    "'",
    '"',
    "\\",
    "~",
    "null",
    "yes",
    "No",
    "true",
    "1",
    "1e3",
    "0x10",
    "010",
]
HARD += [
    "1_000",
    "12:30:45",
    "2001-01-01",
    ".5",
    ".inf",
    "-.NaN",
    "<<",
    "=",
    "!tag",
    "&a",
    "*a",
    "*",
    "%a",
    "@a",
    "`a",
    "|",
]
HARD += [
    ">",
    "?",
    "? a",
    ":",
    "a:",
    "[a",
    "a]",
    "{a",
    "a,b",
    "a, b",
    "\n",
    "a\nb",
    "\t",
    "\ttab",
    "a ",
    " a",
    "é",
    "\u2028",
]
HARD += [
    "\ufeff",
    "😀",
    "$name",
    "---",
    "...",
    "-",
    "--",
    "+1",
    "1.",
    "1e5",
    "+.5",
    "on",
    "y",
    "0o7",
]
texts = st.sampled_from(HARD) | st.text(max_size=5).filter(lambda text: text.isprintable() or len(text) < 3)
texts = texts.filter(lambda text: not _UNWRITABLE.search(text))  # which no spec has
numbers = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.booleans()
keys = texts.filter(lambda text: text not in ("layers", "solver", "blocks", "<<"))
values = st.recursive(
    texts | numbers, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)
layers = st.dictionaries(keys, values, max_size=4).map(lambda rest: {"name": "a", "type": "Odd", **rest})
roots = st.builds(
    lambda head, solver, entries: {**head, **({"solver": solver} if solver else {}), "layers": entries},
    st.dictionaries(keys, values, max_size=2),
    st.dictionaries(keys, values, max_size=3),
    st.lists(layers, min_size=1, max_size=3),
)


def alike(one, other):
    """Equal, with 1 and 1.0 alike: YAML writes both as 1. Booleans are not numbers."""
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(alike, one, other))
    return (
        isinstance(one, bool) == isinstance(other, bool)
        and isinstance(one, str) == isinstance(other, str)
        and one == other
    )


@given(roots)
@settings(max_examples=150, deadline=None)
def test_a_tree_reads_back_as_itself(root):
    text = to_yaml(Node.plain(root, Place("it", 1, 1), in_one_place=True))
    back = read_text(text, "it").to_python()
    assert alike(dict(sorted(root.items())), dict(sorted(back.items()))), text


@pytest.mark.parametrize("text", HARD)
def test_a_hard_text(text):
    root = {"name": text, "layers": [{"name": text, "type": "ReLU", text or "k": [text, {text or "k": text}]}]}
    written = to_yaml(Node.plain(root, Place("it", 1, 1), in_one_place=True))
    assert read_text(written, "it").to_python() == root, written


PROTOTXT = """# LeNet, as a person writes it
name: "net"  # beside
layer {
  name: "data" type: "Input" top: "data"
  # the size of an image
  input_param { shape { dim: 1 dim: 1 dim: 12 dim: 12 } }
}
# the first
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 5 weight_filler { type: "gaussian" std: 1e-3 } }  # small
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" relu_param { negative_slope: .10 } }
layer { name: "ip1" type: "InnerProduct" bottom: "conv1" top: "ip1" inner_product_param { num_output: 10 } }
# the end
"""


def test_comments_and_numbers_of_the_source_are_kept(workdir):
    Path("net.prototxt").write_text(PROTOTXT)
    convert("net.prototxt", "net.yaml", Options())
    text = Path("net.yaml").read_text()
    lines = [line.strip() for line in text.splitlines()]
    comments = [line for line in lines if line.startswith("#")]
    assert sorted(comments) == sorted(
        ["# LeNet, as a person writes it", "# beside", "# the size of an image", "# the first", "# small", "# the end"]
    )
    at = next(i for i, line in enumerate(lines) if "conv1, type" in line or line == "- name: conv1")
    assert {"# the first", "# small"} <= set(lines[at - 2 : at])
    assert lines[-1] == "# the end"
    assert "std: 1e-3" in text or "std: 0.001" in text
    assert "negative_slope: .10" in text
    assert "top:" not in text.split("relu1")[0].split("conv1")[1]  # what leaving out says too is left out
    ours, theirs = Net("net.prototxt", seed=3), Net("net.yaml", seed=3)
    x = np.random.default_rng(0).normal(size=(1, 1, 12, 12))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(ours.forward(data=x).values(), theirs.forward(data=x).values(), strict=True)
    )
    assert load("net.yaml").name == "net"


COMMENTED = """\
# a head
#     indented
name: net  # beside

# of the solver
solver:
  # the rate
  base_lr: 0.1  # small

# of the blocks
blocks:
  # of a block
  b:
    # of its parameters
    parameters: {n: 2}
    layers:
      - {name: ip, type: InnerProduct, num_output: $n}  # of a layer in it

# of the layers
layers:
  - {name: data, type: Input, shape: [2, 3]}
  # above
  - name: "#1"  # in
    type: b
    n: 3  # it
  - {name: d, type: InnerProduct, num_output: 3,  # of two lines
     bias_term: false}
# the end
"""


@pytest.mark.parametrize("flat", [False, True])
def test_comments_of_yaml_are_kept(workdir, flat):
    Path("in.yaml").write_text(COMMENTED)
    convert("in.yaml", "out.yaml", Options(flat=flat))
    text = Path("out.yaml").read_text()
    comments = [line.strip() for line in text.splitlines() if line.lstrip().startswith("#")]
    of_blocks = ["# of the blocks", "# of a block", "# of its parameters"]
    above = ["# a head", "#     indented", "# beside", "# of the solver", "# the rate", "# small"]
    inside = ["# of the layers", "# above", "# in", "# it", "# of two lines", "# the end"]
    if flat:  # a layer of a block has what stands above it
        assert sorted(comments) == sorted([*above, *of_blocks, "# of a layer in it", *inside])
        assert text.index("# of a layer in it") < text.index("#1/ip") < text.index("# of two lines")
    else:
        assert comments == [*above, *of_blocks, "# of a layer in it", *inside]
        assert text.index("# above") < text.index("#1") < text.index("# of two lines") < text.index("bias_term")
        convert("out.yaml", "again.yaml", Options())
        assert Path("again.yaml").read_text() == text
