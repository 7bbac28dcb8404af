"""The gradient checker: the zoo passes it, and it fails when a backward pass is wrong."""

import ast
import inspect
import json
import sys
import textwrap

import nettrain
import numpy as np
import pytest
from nettrain.net import registry
from nettrain.net.example import Example
from nettrain.net.layer import Layer, NeuronLayer
from nettrain.spec.errors import NettrainError
from nettrain.tools import contract, gradcheck
from nettrain.tools.numeric import Check, compare

ZOO = registry.types()
EXAMPLES = [(cls, example) for cls in ZOO.values() for example in cls.examples]


@pytest.mark.parametrize(
    ("cls", "example"), EXAMPLES, ids=[f"{c.__name__}-{contract.describe(e)}" for c, e in EXAMPLES]
)
def test_every_example_of_every_layer(cls, example):
    check = contract.check_layer(cls, example)
    assert check.failures == []
    assert check.error < 1e-6
    if cls.no_gradient != "all":
        assert check.checked > 0


# Faults made on purpose: every operator, sign, comparison and constant of every Backward_cpu, one at a time.

SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Pow: ast.Mult}
CALLS = {"add": "subtract", "subtract": "add", "multiply": "add", "divide": "multiply", "greater": "less"}
CALLS |= {"equal": "not_equal", "logical_not": "copy", "sign": "abs", "copyto": "add"}


def faults(tree):
    """(line, what) and a changed copy of the tree for every single fault."""
    nodes = list(ast.walk(tree))
    for position, node in enumerate(nodes):
        for what, change in changes(node):
            copy = ast.parse(ast.unparse(tree))
            change(list(ast.walk(copy))[position])
            yield f"{what} in `{ast.unparse(node)}`, line {getattr(node, 'lineno', 0)}", copy


def changes(node):
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield "operator swapped", lambda n: setattr(n, "op", SWAPS[type(n.op)]())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign dropped", lambda n: setattr(n, "op", ast.UAdd())
    if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value != 0:
        yield "number doubled", lambda n: setattr(n, "value", 2 * n.value)
    if isinstance(node, ast.If):
        yield "condition turned round", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.Attribute) and node.attr in CALLS and getattr(node.value, "id", "") == "np":
        yield "function swapped", lambda n: setattr(n, "attr", CALLS[n.attr])


def accumulations(tree):
    """Every ``x += …`` as ``x[...] = …``: the gradient assigned instead of added."""
    for position, node in enumerate(list(ast.walk(tree))):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
            copy = ast.parse(ast.unparse(tree))
            parents = {child: parent for parent in ast.walk(copy) for child in ast.iter_child_nodes(parent)}
            target = list(ast.walk(copy))[position]
            plain = ast.parse(f"{ast.unparse(target.target)}[...] = {ast.unparse(target.value)}").body[0]
            body = next(b for b in vars(parents[target]).values() if isinstance(b, list) and target in b)
            body[body.index(target)] = plain
            yield f"assigned instead of added: `{ast.unparse(node)}`", copy


def with_method(cls, tree):
    """The class with this method."""
    (name,) = (node.name for node in tree.body)
    module = sys.modules[method_of(cls, name).__module__]
    namespace = {}
    exec(compile(ast.fix_missing_locations(tree), "<fault>", "exec"), module.__dict__, namespace)
    return type(cls.__name__, (cls,), namespace | {"__doc__": cls.__doc__})


def method_of(cls, name):
    """A method of the class or of what it shares with others of its family; None for one that every layer has."""
    found = inspect.getattr_static(cls, name, None)
    return found if inspect.isfunction(found) and found is not getattr(Layer, name, None) else None


def tree_of(cls, name):
    return ast.parse(textwrap.dedent(inspect.getsource(method_of(cls, name))))


def reached(cls, name):
    """The names of the methods that a method uses, itself included."""
    found, new = set(), {name} if method_of(cls, name) else set()
    while new:
        found |= new
        nodes = [node for method in new for node in ast.walk(tree_of(cls, method))]
        used = {n.attr for n in nodes if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "self"}
        new = {method for method in used - found if method_of(cls, method)}
    return found


def backward_methods(cls):
    """Backward_cpu and what it alone uses, but for what only chooses a way that is fast."""
    speed = {"backward_windows", "parts", "multiply_adds"}
    return sorted(reached(cls, "Backward_cpu") - reached(cls, "Forward_cpu") - speed)


class Remembered:
    """``compare`` with the values of forward passes remembered, which no fault in a backward pass changes."""

    def __init__(self):
        self.values = {}

    def __call__(self, name, values, backward, evaluate, entries, to):
        bench = evaluate.__self__

        def value():
            blobs = (*bench.bottom, *bench.layer.blobs)
            key = (type(bench.layer).__name__, id(bench.example), *(blob.data.tobytes() for blob in blobs))
            if key not in self.values:
                self.values[key] = evaluate()
            return self.values[key]

        compare(name, values, backward, value, entries, to)


def noticed(cls):
    for example in cls.examples:
        try:
            if not contract.check_layer(cls, example).ok:
                return True
        except Exception:
            return True
    return False


def sharing(cls, method):
    """The class, and the others that have the same method from a common base."""
    return [cls, *(o for o in ZOO.values() if o is not cls and method_of(o, method) is method_of(cls, method))]


LEARNING = [cls for cls in ZOO.values() if cls.no_gradient != "all" and not cls.runs_code]


@pytest.mark.parametrize("cls", LEARNING, ids=lambda cls: cls.__name__)
def test_every_fault_in_a_backward_pass_is_noticed(cls, monkeypatch):
    monkeypatch.setattr(contract, "compare", Remembered())
    missed, count = [], 0
    with np.errstate(all="ignore"):
        for method in backward_methods(cls):
            tree = tree_of(cls, method)
            for what, copy in [*faults(tree), *accumulations(tree)]:
                count += 1
                # a method of several types must be noticed to be wrong by one of them
                if not any(noticed(with_method(other, copy)) for other in sharing(cls, method)):
                    missed.append(f"{method}: {what}")
    assert count > 0
    assert missed == []


class Square(NeuronLayer):
    """y = x²."""

    examples = (Example([(3, 4)]),)
    backward_reads = ("bottom.data",)
    factor = 2.0

    def Forward_cpu(self, bottom, top):
        np.square(bottom[0].data, out=top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            np.multiply(top[0].diff, self.factor * bottom[0].data, out=bottom[0].diff)


def only(cls):
    return contract.check_layer(cls, cls.examples[0])


def test_a_right_layer_passes():
    assert only(Square).ok


@pytest.mark.parametrize(("factor", "hint"), [(4.0, "ratio 2.000 in all 12 entries: a missing 1/2"), (-2.0, "sign")])
def test_a_constant_ratio_is_named(factor, hint):
    (failure, *_) = only(type("Wrong", (Square,), {"factor": factor, "examples": Square.examples})).failures
    assert hint in failure


def test_a_small_error_in_one_entry_is_noticed():
    class Almost(Square):
        def Backward_cpu(self, top, propagate_down, bottom):
            super().Backward_cpu(top, propagate_down, bottom)
            if propagate_down[0]:
                bottom[0].diff[1, 2] *= 1 + 1e-4

    assert not only(Almost).ok


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda self, top, down, bottom: bottom[0].diff.fill(np.nan), "nan"),
        (lambda self, top, down, bottom: Square.Backward_cpu(self, top, [True], bottom), "was written"),
        (lambda self, top, down, bottom: top[0].diff.fill(0), "changed top[0].diff"),
    ],
)
def test_breaches_of_the_contract_are_noticed(fault, words):
    check = only(type("Wrong", (Square,), {"Backward_cpu": fault, "examples": Square.examples}))
    assert any(words in failure for failure in check.failures)


def test_reading_what_was_not_declared_is_noticed():
    check = only(type("Wrong", (Square,), {"backward_reads": (), "examples": Square.examples}))
    assert any("overwritten before backward" in failure for failure in check.failures)


def test_a_forward_that_changes_its_bottom_is_noticed():
    def forward(self, bottom, top):
        bottom[0].data[...] *= 2
        top[0].data[...] = bottom[0].data

    check = only(type("Wrong", (Square,), {"Forward_cpu": forward, "examples": Square.examples}))
    assert any("changed bottom[0].data" in failure for failure in check.failures)


class AtKink(NeuronLayer):
    """y = |x| at x = 0, where every slope between -1 and 1 is a right answer."""

    examples = (Example([(2, 2)], values={0: lambda rng, shape: np.array([[0.0, 1.0], [-1.0, 0.0]])}),)
    slope = 0.5

    def Forward_cpu(self, bottom, top):
        np.abs(bottom[0].data, out=top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x = bottom[0].data
            bottom[0].diff[...] = np.where(x == 0, self.slope, np.sign(x)) * top[0].diff


def test_a_kink_is_reported_and_not_failed():
    check = only(AtKink)
    assert (check.ok, check.kinks) == (True, 2)


def test_a_slope_outside_the_two_sides_of_a_kink_fails():
    assert not only(type("Steep", (AtKink,), {"slope": 3.0, "examples": AtKink.examples})).ok


def mlp(**wrong):
    return {
        "layers": [
            {"name": "data", "type": "Data", "top": ["data", "label"], "source": "digits", "batch_size": 8},
            {"name": "ip1", "type": "InnerProduct", "bottom": "data", "num_output": 6, **wrong},
            {"name": "tanh", "type": "TanH", "top": "ip1"},
            {"name": "drop", "type": "Dropout"},
            {"name": "ip2", "type": "InnerProduct", "num_output": 10},
            {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip2", "label"]},
        ]
    }


def test_a_whole_net_on_its_own_data():
    checks = list(gradcheck.check_net(nettrain.net.netspec.load(mlp())))
    assert [c.subject for c in checks] == ["ip1[0]", "ip1[1]", "ip2[0]", "ip2[1]"]
    assert all(c.ok for c in checks)
    assert checks[0].checked == gradcheck.ENTRIES_OF_A_NET


def test_a_blob_that_does_not_learn_is_not_checked():
    checks = list(gradcheck.check_net(nettrain.net.netspec.load(mlp(param={"lr_mult": 0}))))
    assert checks[0].verdict == "not learned"


def test_a_fault_in_one_layer_of_a_net_is_found(monkeypatch):
    right = ZOO["TanH"].Backward_cpu

    def wrong(self, top, propagate_down, bottom):
        right(self, top, propagate_down, bottom)
        bottom[0].diff *= 2

    monkeypatch.setattr(ZOO["TanH"], "Backward_cpu", wrong)
    verdicts = {c.subject: c.ok for c in gradcheck.check_net(nettrain.net.netspec.load(mlp()))}
    assert verdicts == {"ip1[0]": False, "ip1[1]": False, "ip2[0]": True, "ip2[1]": True}


OWN = '''
"""A layer of a student's own."""
import numpy as np
from nettrain import Example, Layer, register

class Swish2(Layer):
    """y = x sigmoid(x)."""
    examples = [Example([(3, 4)])]
    def Forward_cpu(self, bottom, top):
        x = bottom[0].data
        top[0].data[...] = x / (1 + np.exp(-x))
    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x = bottom[0].data
            s = 1 / (1 + np.exp(-x))
            bottom[0].diff[...] = FACTOR * top[0].diff * (s + x * s * (1 - s))
'''


@pytest.mark.parametrize(("factor", "ok"), [("1", True), ("2", False)])
def test_a_layer_in_a_file_of_ones_own(tmp_path, factor, ok):
    path = tmp_path / "own.py"
    path.write_text(OWN.replace("FACTOR", factor))
    (check,) = gradcheck.check_file(str(path), "Swish2")
    assert check.ok is ok


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Swish3", OWN, "no layer class `Swish3`; it has Swish2"),
        ("Swish2", "import nonsense_module", "does not load: ModuleNotFoundError"),
        ("Swish2", "def", "does not load: SyntaxError"),
        ("Swish2", "from nettrain import Layer\nclass Swish2(Layer): pass", "has no `examples`"),
    ],
)
def test_a_file_that_cannot_be_checked_says_why(tmp_path, name, text, words):
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(NettrainError, match=r"own\.py|Swish2") as caught:
        gradcheck.load_classes(str(path), name)
    assert words in str(caught.value)


def test_registering_needs_a_docstring_and_an_example():
    with pytest.raises(TypeError, match="docstring"):
        nettrain.register(type("Bare", (Layer,), {}))
    with pytest.raises(TypeError, match="Example"):
        nettrain.register(type("Bare", (Layer,), {"__doc__": "y = x."}))


# What cannot be compared is never ok

LOG = """
layers:
- {name: x, type: DummyData, shape: [4, 3], data_filler: VALUE}
- {name: ip, type: InnerProduct, num_output: 2, weight_filler: 1}
- {name: other, type: InnerProduct, num_output: 2, weight_filler: 1}
- {name: log, type: Log}
- {name: loss, type: Reduction, loss_weight: 1}
"""


@pytest.mark.parametrize(("value", "kind", "what"), [(-1, "NaN", "8 NaN"), (0, "infinite", "8 inf")])
def test_a_loss_that_is_no_number_leaves_nothing_to_compare(nettrain_cli, workdir, value, kind, what):
    (workdir / "net.yaml").write_text(LOG.replace("VALUE", str(value)))
    text = nettrain_cli("gradcheck", "net.yaml", exit_code=4).stdout
    words = f"nothing could be compared: the loss is {kind}; the first bad value: forward, layer `log`"
    assert text.count(f"{words} (net.yaml:6:10): {what} among 8 of its outputs") == 1  # for all four blobs
    assert text.count("  FAILED\n") == 4
    assert "4 parameter blobs: 4 FAILED" in text
    assert nettrain_cli("gradcheck", "net.yaml", "--json", exit_code=4).stdout.count("nothing could be compared") == 4
    (workdir / "net.yaml").write_text(LOG.replace("VALUE", "1"))
    assert "4 parameter blobs: all ok" in nettrain_cli("gradcheck", "net.yaml").stdout


def test_data_that_is_no_number_is_named_by_gradcheck(nettrain_cli, workdir):
    np.savez("a.npz", data=np.full((4, 3), np.nan), label=np.zeros(4, int))
    (workdir / "net.yaml").write_text(
        LOG.replace("type: DummyData, shape: [4, 3], data_filler: VALUE", "type: Data, source: a.npz, batch_size: 4")
    )
    text = nettrain_cli("gradcheck", "net.yaml", exit_code=4).stdout
    assert "the loss is NaN; the first bad value: forward, layer `x` (net.yaml:3:10): 12 NaN among 12" in text


ROOT = """
layers:
- {name: a, type: Parameter, shape: [3], filler: VALUE}
- {name: b, type: Parameter, shape: [2], filler: 4}
- {name: ab, type: Concat, bottom: [a, b], axis: 0}
- {name: root, type: Power, power: 0.5}
- {name: loss, type: Reduction, loss_weight: 1}
"""


def test_a_blob_of_points_without_a_slope_is_not_ok(nettrain_cli, workdir):
    (workdir / "net.yaml").write_text(ROOT.replace("VALUE", "0"))
    text = nettrain_cli("gradcheck", "net.yaml", exit_code=4).stdout
    assert "nothing could be compared: a[0][0]: the end of the domain, no value below" in text
    assert "b[0]       2              2" in text
    assert "2 parameter blobs: 1 FAILED" in text


def test_points_without_a_slope_among_others_are_said(nettrain_cli, workdir):
    spec = ROOT.replace("VALUE", "{type: constant, values: [0, 0, 4]}")
    (workdir / "net.yaml").write_text(spec)
    text = nettrain_cli("gradcheck", "net.yaml").stdout
    assert "  ok, 2 not compared\n" in text
    assert "not compared: a[0][0]: the end of the domain, no value below, and 1 more" in text
    assert "2 parameter blobs: all ok, 2 entries not compared" in text
    found = json.loads(nettrain_cli("gradcheck", "net.yaml", "--json").stdout)["checks"][0]
    assert [line.partition(":")[0] for line in found["uncompared"]] == ["a[0][0]", "a[0][1]"]


class Rooted(NeuronLayer):
    """y = sqrt(|x|), with an infinite slope at 0. Backward: dx = sign(x) / (2 y) dy."""

    examples = (Example([(3,)], values={0: lambda rng, shape: np.zeros(shape)}),)
    backward_reads = ("bottom.data", "top.data")
    may_run_in_place = False

    def Forward_cpu(self, bottom, top):
        np.sqrt(np.abs(bottom[0].data), out=top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            np.divide(np.sign(bottom[0].data), 2 * top[0].data, out=bottom[0].diff)
            bottom[0].diff *= top[0].diff


def test_a_layer_whose_example_has_no_slope_anywhere_is_not_ok():
    check = contract.check_layer(Rooted, Rooted.examples[0])
    assert any("nothing could be compared: bottom[0][0]: " in failure for failure in check.failures)
    some = Example([(3,)], values={0: lambda rng, shape: np.array([0.0, 1.0, 2.0])})
    check = contract.check_layer(Rooted, some)
    assert check.verdict == "ok, 1 not compared"


def test_at_a_kink_values_are_compared():
    """|x| at 0: whatever lies between the slopes is right, and what does not is wrong."""
    for backward, is_right in ((0.0, True), (-1.0, True), (1.5, False)):
        x, check = np.zeros(1), Check("", "")
        compare("x", x, np.array([backward]), lambda x=x: float(np.abs(x).sum()), [0], check)
        assert check.ok is is_right
        assert (check.kinks, check.uncompared) == ((1, []) if is_right else (0, []))


class Twins(Layer):
    """top[i] = bottom[i], as many as there are."""

    num_bottoms = num_tops = (1, None)
    same_number_of_tops = True
    backward_reads = ()

    def reshape(self, bottom, top):
        for one, other in zip(bottom, top, strict=True):
            other.reshape(one.shape)

    def Forward_cpu(self, bottom, top):
        for one, other in zip(bottom, top, strict=True):
            other.data[...] = one.data

    def Backward_cpu(self, top, propagate_down, bottom):
        for one, other, wanted in zip(bottom, top, propagate_down, strict=True):
            if wanted:
                one.diff[...] = other.diff


def test_an_example_has_as_many_tops_as_bottoms_where_the_type_has():
    check = contract.check_layer(Twins, Example([(3, 4), (2,), (5,)]))
    assert (check.failures, check.checked) == ([], 19)


class Ones(Layer):
    """A bottomless layer that promises what it cannot be asked for."""

    num_bottoms = 0
    may_run_in_place = True
    backward_reads = ()

    def reshape(self, bottom, top):
        top[0].reshape((2, 2))

    def Forward_cpu(self, bottom, top):
        top[0].data.fill(1)

    def Backward_cpu(self, top, propagate_down, bottom):
        pass


def test_nothing_runs_in_place_where_there_is_no_bottom():
    assert contract.check_layer(Ones, Example()).failures == []
