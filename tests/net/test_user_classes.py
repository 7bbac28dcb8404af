"""Classes of the user's: attributes and examples that are wrong, and what gradcheck of a file finds."""

import re

import nettrain
import numpy as np
import pytest
from helpers.user_code import BACKWARD, FORWARD, HEAD, NET, write
from nettrain.tools import contract, gradcheck

# Examples and other attributes of a class that are not what they must be

WRONG = {
    "examples = [Example((3, 4))]": "an example is a list of shapes: Example([(3, 4)]), got (3, 4)",
    "examples = [Example([3, 4])]": "an example is a list of shapes: Example([(3, 4)]), got [3, 4]",
    "examples = [Example(5)]": "an example is a list of shapes: Example([(3, 4)]), got 5",
    "examples = [Example('3x4')]": "an example is a list of shapes: Example([(3, 4)]), got '3x4'",
    "examples = [Example(None)]": "an example is a list of shapes: Example([(3, 4)]), got None",
    "examples = [Example([(3, 4), None])]": "an example is a list of shapes: Example([(3, 4)]), got [(3, 4), None]",
    "examples = [Example([(3, -4)])]": "an example is a list of shapes: Example([(3, 4)]), got [(3, -4)]",
    "examples = [Example([(3, 4.0)])]": "an example is a list of shapes: Example([(3, 4)]), got [(3, 4.0)]",
    "examples = [Example((s, s) for s in (1, 2))]": "an example is a list of shapes: Example([(3, 4)]), got <generator",
    "examples = [Example([(3, 4)], 5)]": 'a mapping of names, as in Example([(3, 4)], {"num_output": 2}); got 5',
    "examples = [Example([(3, 4)], {1: 5})]": "a mapping of names",
    "examples = [Example([(3, 4)], None)]": "a mapping of names",
    "examples = [Example([(3, 4)], values=5)]": "functions by the index of the bottom",
    "examples = [Example([(3, 4)], values={0: np.ones((3, 4))})]": "functions by the index of the bottom",
    "examples = [Example([(3, 4)], values={1: np.ones})]": "the example has values for bottom 1, but 1 bottoms",
    "examples = [Example([(3, 4)], values={'x': np.ones})]": "the example has values for bottom 'x', but 1 bottoms",
    "examples = [Example([(3, 4)], tops='y')]": "the tops of an example are a number, as in tops=2; got 'y'",
    "examples = [Example([(3, 4)], tops=True)]": "the tops of an example are a number, as in tops=2; got True",
    "examples = [Example([(3, 4)], phase='test')]": 'the phase of an example is "TRAIN" or "TEST"; got \'test\'',
    "examples = [Example([(3, 4)], prepare=1)]": "`prepare` of an example is a function that takes the layer; got 1",
    "examples = [Example([(3, 4)], files='a.npz')]": "`files` of an example is a function that takes a folder; got 'a.",
    "examples = Example([(3, 4)])": "Mine.examples must be a list of examples: `examples = [Example([(3, 4)])]`",
    "examples = (Example([(3, 4)]) for _ in range(2))": "Mine.examples must be a list of examples",
    "examples = None": "Mine.examples must be a list of examples",
    "examples = {'a': Example([(3, 4)])}": "Mine.examples must be a list of examples",
    "examples = [Example([(3, 4)]), (3, 4)]": "Mine.examples must be a list of examples",
    "examples = [Example]": "Mine.examples must be a list of examples",
    "num_bottoms = '2'": "Mine.num_bottoms must be a number, or the least and the most: `num_bottoms = (1, None)`",
    "num_bottoms = (1,)": "Mine.num_bottoms must be a number, or the least and the most",
    "num_bottoms = (None, 2)": "Mine.num_bottoms must be a number, or the least and the most",
    "num_tops = None": "Mine.num_tops must be a number, or the least and the most",
    "num_tops = (3, 1)": "Mine.num_tops must be a number, or the least and the most",
    "backward_reads = 'bottom.data'": "Mine.backward_reads must be a tuple of 'bottom.data' and 'top.data'",
    "backward_reads = ['data']": "Mine.backward_reads must be a tuple of 'bottom.data' and 'top.data'",
    "backward_reads = [[]]": "Mine.backward_reads must be a tuple of 'bottom.data' and 'top.data'",
    "no_gradient = 0": "Mine.no_gradient must be a tuple of indices of bottoms, or 'all': `no_gradient = (1,)`; got 0",
    "no_gradient = 'none'": "Mine.no_gradient must be a tuple of indices of bottoms, or 'all'",
    "class Parameters: pass": "Mine.Parameters must be a class that inherits from nettrain.Declared",
    "Parameters = {'a': 1}": "Mine.Parameters must be a class that inherits from nettrain.Declared",
}


@pytest.mark.parametrize("how", ["gradcheck", "layer_files"])
@pytest.mark.parametrize("line", WRONG)
@pytest.mark.parametrize("decorated", [True, False])
def test_a_wrong_attribute_of_a_class_is_reported_with_its_line(nettrain_cli, workdir, line, how, decorated):
    write(workdir, FORWARD + BACKWARD + f"    {line}\n")
    if not decorated:
        (workdir / "mine.py").write_text((workdir / "mine.py").read_text().replace("@register\n", ""))
    command = ["gradcheck", "mine.py"] if how == "gradcheck" else ["check", "net.yaml", "--allow-python"]
    message = nettrain_cli(*command, exit_code=2).stderr
    assert WRONG[line] in message
    number = int(re.match(r"mine\.py:(\d+):\d+: ", message)[1])
    shown = (workdir / "mine.py").read_text().split("\n")[number - 1]
    assert shown in (f"    {line}", "class Mine(Layer):")
    assert shown.strip() == line or "Mine." in WRONG[line]


# the example, and the words for it: the shapes are right, what is asked of the layer is not
REFUSED = {
    "Example([(3, 4)], {'scala': 2})": "Mine has no key `scala`",
    "Example([(3, 4)], {'scale': np.ones(3)})": "Mine.scale must be a number",
    "Example([(3, 4)], {'scale': {1, 2}})": "Mine.scale must be a number",
    "Example([(3, 4)], {'scale': len})": "Mine.scale must be a number",
    "Example([(3, 4)], tops=3)": "it has 3 tops, the type takes 1",
    "Example([(3, 4)], values={0: lambda: 3})": "takes 0 positional arguments but 2 were given",
    "Example([(3, 4)], values={0: lambda rng, shape: np.ones((7, 7))})": "could not broadcast input array",
    "Example([(3, 4)], values={0: lambda rng, shape: None})": "(one of 12 that are not finite)",
    "Example([(3, 4)], values={0: lambda rng, shape: 1 / 0})": "ZeroDivisionError",
    "Example([(3, 4)], values={0: lambda rng, shape: exit()})": "SystemExit",
    "Example([(3, 4)], prepare=lambda: 3)": "takes 0 positional arguments but 1 was given",
    "Example([(3, 4)], files=lambda folder: folder.nothing)": "has no attribute 'nothing'",
    "Example([(10**9, 10**9)])": "is larger than 2^31 - 1",
    "Example([(3, 4)], values={0: lambda rng, shape: np.random.randn(*shape)})": "draw them from the generator",
}


@pytest.mark.parametrize("example", REFUSED)
def test_an_example_that_does_not_suit_the_layer_is_its_failure(nettrain_cli, workdir, example):
    """The other classes of the file are checked all the same."""
    body = "    class Parameters(Declared):\n        scale: float = param(default=2.0, doc='a factor')\n\n"
    write(workdir, body + FORWARD + BACKWARD + f"    examples = [{example}]\n")
    with (workdir / "mine.py").open("a") as file:
        file.write("\n\nclass Other(Mine):\n    examples = [Example([(2,)])]\n")
    text = nettrain_cli("gradcheck", "mine.py", exit_code=4).stdout
    assert REFUSED[example] in text
    assert re.search(r"^Other .* ok$", text, re.M)


# What a file of the user's contains that is not a layer type yet


@pytest.mark.parametrize(
    ("text", "asked", "words"),
    [
        (HEAD.replace("@register\n", "") + FORWARD, "Mine", "mine.py:10:1 has a class Mine: put @register above it"),
        (HEAD.replace("@register\n", "") + FORWARD, "mine", "mine.py:10:1 has a class Mine: put @register above it"),
        (HEAD.replace("@register\n", "") + FORWARD, "Mines", "mine.py:10:1 has a class Mine: put @register above it"),
        (
            "class Mine:\n    pass\n",
            "Mine",
            "mine.py:1:1 has a class Mine, which is not a layer type: let it inherit from",
        ),
        (
            "class Mine:\n    def forward(self, bottom, top):\n        pass\n",
            "Mine",
            "with pycaffe's methods: write type: Python, module: mine, layer: Mine",
        ),
        (HEAD + FORWARD, "Minee", "did you mean `Mine`?"),
        (HEAD.replace("@register\n", "") + FORWARD, "Dense", "a fully connected layer is `InnerProduct`"),
    ],
)
def test_a_class_that_is_not_registered_is_named(nettrain_cli, workdir, text, asked, words):
    (workdir / "mine.py").write_text(text)
    (workdir / "net.yaml").write_text(NET.replace("type: Mine", f"type: {asked}"))
    message = nettrain_cli("check", "net.yaml", "--allow-python", exit_code=2).stderr
    assert f"net.yaml:6:19: unknown layer type `{asked}`" in message
    assert words in message


# gradcheck of a file


def test_every_class_of_a_file_is_checked(nettrain_cli, workdir):
    write(workdir, FORWARD + BACKWARD)
    (workdir / "mine.py").write_text(
        (workdir / "mine.py").read_text()
        + "\n\nclass Base(Layer):\n    pass\n"
        + "\n\nclass Other(Mine):\n    examples = [Example([(2,)]), Example([(5,)])]\n"
    )
    (workdir / "more.py").write_text(
        "from mine import Mine\n\n\nclass Third(Mine):\n    examples = Mine.examples\n    scale = 1\n"
    )
    text = nettrain_cli("gradcheck", "mine.py").stdout
    assert re.findall(r"^(\w+)  ", text, re.M) == ["layer", "Mine", "Base", "Other", "Other"]
    assert "not checked: no `examples`" in text
    assert re.findall(r"^(\w+)  ", nettrain_cli("gradcheck", "more.py").stdout, re.M) == ["layer", "Third"]
    assert re.findall(r"^(\w+)  ", nettrain_cli("gradcheck", "mine.py:Other").stdout, re.M) == ["layer", *["Other"] * 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "mine.py has no layer class: a class that inherits from nettrain.Layer; it has no class at all"),
        ("class A:\n    pass\n", "it has A"),
        ("class A:\n    def forward(self, bottom, top):\n        pass\n", "A is for a layer of type Python"),
        ("from nettrain import Layer\nclass A(Layer):\n    pass\n", "A has no `examples`"),
        (
            "from nettrain import Layer\nclass A(Layer):\n    examples = [(3, 4)]\n",
            "A.examples must be a list of examples: `examples = [Example([(3, 4)])]`; got [(3, 4)]",
        ),
    ],
)
def test_a_file_with_nothing_to_check_says_so(nettrain_cli, workdir, text, words):
    (workdir / "mine.py").write_text(text)
    assert words in nettrain_cli("gradcheck", "mine.py", exit_code=2).stderr


def breaches():
    """(what is wrong, the class's body, the line that repairs it); each is the right layer with one mistake."""
    forward, backward = FORWARD, BACKWARD
    blob = (
        "    def setup(self, bottom, top):\n        self.add_blob((4,), Filler(value=1))\n"
        "    backward_reads = ('bottom.data',)\n"
        "    def Forward_cpu(self, bottom, top):\n        top[0].data[...] = self.blobs[0].data * bottom[0].data\n"
        "    def Backward_cpu(self, top, propagate_down, bottom):\n"
        "        if self.param_propagate_down[0]:\n"
        "            self.blobs[0].diff += (top[0].diff * bottom[0].data).sum(0)\n"
        "        if propagate_down[0]:\n            bottom[0].diff[...] = self.blobs[0].data * top[0].diff\n"
    )
    right = forward + backward
    neuron = right + "    may_run_in_place = True\n"
    both = right.replace("    def Forward", "    backward_reads = ('bottom.data', 'top.data')\n    def Forward")
    written = "diff[...] = 2 * top[0].diff"
    drawn = forward.replace("2 * bottom[0].data", "2 * bottom[0].data + {}") + backward
    return [
        (
            "spoils bottom.data",
            both.replace(written, f"{written}; bottom[0].data[...] = 0"),
            "`x = bottom[0].data.copy()`",
        ),
        (
            "spoils one value",
            both.replace(written, f"{written}; bottom[0].data[1, 2] += 1e-9"),
            "changed bottom[0].data",
        ),
        ("spoils top.data", both.replace(written, f"{written}; top[0].data *= 2"), "Backward_cpu changed top[0].data"),
        ("spoils top.diff", both.replace(written, "diff[...] = np.multiply(top[0].diff, 2, out=top[0].diff)"), "`dy ="),
        (
            "learns by itself",
            blob.replace("        top[0].data", "        self.blobs[0].data *= 0.9\n        top[0].data"),
            "solver",
        ),
        (
            "learns in backward",
            blob.replace("diff += (", "data -= 0.1; self.blobs[0].diff += ("),
            "only the solver changes",
        ),
        (
            "adds in forward",
            blob.replace("        top[0].data", "        self.blobs[0].diff += 1\n        top[0].data"),
            "only",
        ),
        (
            "clips its bottom",  # a repetition changes nothing more
            forward.replace("        top", "        np.maximum(bottom[0].data, 0, out=bottom[0].data)\n        top")
            + backward
            + "    shapes_follow_values = True\n",
            "Forward_cpu changed bottom[0].data; write into top[0].data only",
        ),
        (
            "draws from np.random",
            drawn.format("np.random.randn()"),
            "draw them from `self.rng` (not np.random or random)",
        ),
        ("draws a little", drawn.format("1e-9 * np.random.default_rng().random()"), "draw them from `self.rng`"),
        ("draws from random", drawn.format("__import__('random').random()"), "gives a different top[0].data each time"),
        ("counts", drawn.format("self.n; self.n += 1") + "    n = 0\n", "in `state` and `set_state`"),
        ("nan gradient", right.replace(written, "diff[...] = np.nan"), "backward +nan  numeric"),
        ("draws from its own", drawn.format("self.rng.standard_normal()"), None),
        (
            "draws in backward",
            right.replace(written, f"{written} + np.random.randn()"),
            "Backward_cpu gives different results each",
        ),
        (
            "draws blobs",
            blob + "    def fill_blobs(self):\n        self.blobs[0].data[...] = np.random.randn(4)\n",
            "from the same seed",
        ),
        (
            "draws blobs from its own",
            blob + "    def fill_blobs(self):\n        self.blobs[0].data[...] = self.rng.random(4)\n",
            None,
        ),
        ("written unasked", right.replace("if propagate_down[0]", "if True"), "write it only `if propagate_down[0]:`"),
        ("added to", right.replace("diff[...] =", "diff[...] +="), "overwrite it: `bottom[0].diff[...] = …`"),
        ("not written", forward + backward.replace("bottom[0].diff[...] = 2", "2"), "`no_gradient = (0,)`"),
        ("returned", right.replace("top[0].data[...] =", "return"), "nobody takes, and does not fill top[0].data"),
        (
            "half filled",
            right.replace("data[...] = 2 *", "data[:2] = 2 *").replace("bottom[0].data\n", "bottom[0].data[:2]\n"),
            "depends on what it held before",
        ),
        (
            "reads",
            right.replace("2 * top[0].diff", "2 * top[0].diff + 0 * bottom[0].data"),
            "`backward_reads = ('bottom.data',)`",
        ),
        (
            "changes its top",
            right.replace("= 2 * top[0].diff", "= 2 * top[0].diff; top[0].diff[...] = 0"),
            "`dy = top[0].diff.copy()`",
        ),
        (
            "changes its bottom",
            right.replace("2 * bottom[0].data", "2 * bottom[0].data; bottom[0].data[...] = 0"),
            "`x = bottom[0].data.copy()`",
        ),
        ("no numbers", right.replace("2 * bottom[0].data", "bottom[0].data / 0"), "`Example(…, values={0: lambda"),
        (
            "shape in forward",
            right.replace("top[0].data[...] =", "top[0].reshape((4, 3)); top[0].data[...] =").replace(
                "2 * bottom[0].data", "2 * bottom[0].data.T"
            ),
            "in reshape(self, bottom, top): `top[0].reshape(…)`",
        ),
        (
            "in place",
            neuron.replace("2 * bottom[0].data", "np.abs(bottom[0].data) + bottom[0].data")
            .replace(
                "top[0].data[...] = np.abs(bottom[0].data) +",
                "np.abs(bottom[0].data, out=top[0].data); top[0].data[...] +=",
            )
            .replace("2 * top[0].diff", "(1 + np.sign(bottom[0].data)) * top[0].diff")
            .replace("may_run", "backward_reads = ('bottom.data',)\n    may_run"),
            "`may_run_in_place = False` in the class",
        ),
        ("two bottoms", right.replace("[(3, 4)]", "").replace("2 *", "2 *"), None),
        ("blob overwritten", blob.replace("diff += (", "diff[...] = ("), "add to it: `self.blobs[0].diff += …`"),
        (
            "blob unasked",
            blob.replace("if self.param_propagate_down[0]:", "if True:"),
            "only `if self.param_propagate_down[0]:`",
        ),
        (
            "blob half",
            blob.replace("if self.param_propagate_down[0]:", "if self.param_propagate_down[0] and propagate_down[0]:"),
            "under `if self.param_propagate_down[0]:`, whatever else",
        ),
        ("right with a blob", blob, None),
    ]


@pytest.mark.parametrize(("what", "body", "repair"), breaches(), ids=[what for what, _, _ in breaches()])
def test_each_breach_is_reported_with_the_line_that_repairs_it(workdir, what, body, repair):
    (workdir / "mine.py").write_text(HEAD + body)
    (check,) = gradcheck.check_file("mine.py", "Mine")
    assert check.ok is (repair is None), check.failures
    if repair:
        assert any(repair in failure for failure in check.failures), check.failures


def test_an_example_with_other_bottoms_than_the_type_takes(workdir):
    (workdir / "mine.py").write_text(HEAD.replace("[(3, 4)]", "[(3, 4), (3, 4)]") + FORWARD + BACKWARD)
    (check,) = gradcheck.check_file("mine.py", "Mine")
    assert "`num_bottoms = 2` in the class" in check.failures[0]


def test_forward_in_place_is_compared_for_every_type_that_may_run_in_place():
    """A type of the zoo that overwrites what it still reads."""

    class Wrong(nettrain.Layer):
        """y = x + |x|."""

        examples = (nettrain.Example([(3, 4)]),)
        may_run_in_place = True

        def Forward_cpu(self, bottom, top):
            np.abs(bottom[0].data, out=top[0].data)
            top[0].data[...] += bottom[0].data

        def Backward_cpu(self, top, propagate_down, bottom):
            if propagate_down[0]:
                bottom[0].diff[...] = (1 + np.sign(bottom[0].data)) * top[0].diff

    (failure,) = contract.check_layer(Wrong, Wrong.examples[0]).failures
    assert "top[0].data differs; `may_run_in_place = False`" in failure
