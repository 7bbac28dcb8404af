"""Layers in the user's own Python code: pycaffe's protocol, and never without being allowed."""

import json
import sys
from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain import NettrainError, SpecError

# as pycaffe's users write it
LOSS = """
import caffe
import numpy as np


class SquaredLoss(caffe.Layer):
    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("needs two inputs")
        self.factor = float(self.param_str or 1)

    def reshape(self, bottom, top):
        self.diff = np.zeros_like(bottom[0].data)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = self.factor * np.sum(self.diff**2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.factor * self.diff / bottom[i].num * top[0].diff[0]


class Scaled(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 3

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += np.sum(top[0].diff * bottom[0].data)
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data * top[0].diff


class Counter(caffe.Layer):
    def setup(self, bottom, top):
        self.count = 0

    def reshape(self, bottom, top):
        top[0].reshape(self.count + 1, 2)

    def forward(self, bottom, top):
        self.count += 1
        top[0].data[...] = self.count * (10 if self.phase == 0 else 1)

    def backward(self, top, propagate_down, bottom):
        pass


class Plain:
    def forward(self, bottom, top):
        raise KeyError("mine")
"""


@pytest.fixture
def mine(workdir):
    (workdir / "mine.py").write_text(LOSS)
    yield workdir
    sys.modules.pop("mine", None)


python_net = partial(layer_net, "Python", module="mine", allow_python=True)


def test_a_loss_of_pycaffe(mine):
    net = python_net((3, 4), (3, 4), layer="SquaredLoss", param_str="2", loss_weight=1)
    a, b = np.random.default_rng(0).standard_normal((2, 3, 4))
    net.forward(x0=a, x1=b)
    assert net.loss == pytest.approx(((a - b) ** 2).sum() / 3)
    net.backward()
    np.testing.assert_allclose(net.blobs["x0"].diff, 2 * (a - b) / 3)
    np.testing.assert_allclose(net.blobs["x1"].diff, -2 * (a - b) / 3)
    net.forward(x0=a[:2], x1=b[:2])  # another batch: reshape is called
    assert net.loss == pytest.approx(((a - b)[:2] ** 2).sum() / 2)


def test_parameters_and_attributes_and_data(mine):
    net = python_net((2, 2), layer="Scaled")
    assert net.params["y"][0].data.tolist() == [3]  # what setup wrote
    assert net.forward(x0=[[1, 2], [3, 4]])["y"].tolist() == [[3, 6], [9, 12]]
    net.backward(y=np.ones((2, 2)))
    assert net.params["y"][0].diff.tolist() == [10]
    assert net.blobs["x0"].diff.tolist() == [[3, 3], [3, 3]]
    for phase, unit in (("TRAIN", 10), ("TEST", 1)):
        net = python_net(layer="Counter", phase=phase)
        assert net.forward()["y"].tolist() == [[unit] * 2]
        assert net.forward()["y"].tolist() == [[2 * unit] * 2] * 2


def test_it_runs_nothing_unless_allowed(mine, nettrain_cli):
    (mine / "mine.py").write_text("open('ran', 'w').close()\nclass A:\n    def forward(self, bottom, top): pass\n")
    spec = "layers:\n- {name: a, type: Python, module: mine, layer: A, top: []}\n"
    (mine / "spec.yaml").write_text(spec)
    with pytest.raises(
        SpecError, match="Python `a` runs code from a file; if you trust it, allow it with --allow-python"
    ):
        nettrain.Net("spec.yaml")
    for command in ("check", "summary", "time"):
        output = nettrain_cli(command, "spec.yaml", exit_code=2).output
        assert "spec.yaml:2:19" in output
    spec = {"name": "n", "layers": [{"name": "a", "type": "Input", "shape": [1]}]}
    for settings in ("a.type=Python", "name=m"):
        with pytest.raises(SpecError):
            nettrain.Net(
                spec | {"layers": [{"name": "a", "type": "Python", "module": "mine", "layer": "A"}]},
                settings=[settings],
            )
    assert not (mine / "ran").exists()
    nettrain_cli("summary", "spec.yaml", "--allow-python")
    assert (mine / "ran").exists()


def test_it_trains_from_the_command_line(mine, nettrain_cli):
    (mine / "spec.yaml").write_text(
        "solver: {base_lr: 0.1, max_iter: 20}\n"
        "layers:\n"
        "- {name: d, type: Data, source: digits, batch_size: 8, top: [data, label]}\n"
        "- {name: ip, type: InnerProduct, bottom: data, num_output: 1}\n"
        "- {name: flat, type: Reshape, shape: [-1]}\n"
        "- {name: l, type: Python, bottom: [flat, label], module: mine, layer: SquaredLoss, loss_weight: 1e-4}\n"
    )
    output = nettrain_cli("train", "spec.yaml", "--allow-python", "--out", "out").output
    assert "done: 20 iterations" in output
    nettrain_cli("train", "spec.yaml", exit_code=2)


def test_errors_name_module_class_and_method(mine):
    with pytest.raises(NettrainError) as error:
        python_net(layer="Plain").forward()
    assert "KeyError: 'mine', in Plain.forward" in str(error.value)
    assert 'raise KeyError("mine")' in str(error.value)
    assert isinstance(error.value.__cause__, KeyError)
    for params, words in (
        ({"layer": "None_"}, "module mine has no class `None_`; it has SquaredLoss"),
        ({"module": "nowhere", "layer": "A"}, "there is no nowhere.py and no module nowhere"),
    ):
        with pytest.raises(NettrainError) as error:
            python_net(**params)
        assert words in str(error.value)
    sys.modules.pop("mine", None)
    (mine / "mine.py").write_text("import not_there_at_all\n")
    with pytest.raises(
        NettrainError,
        match=r"mine\.py:1:1: module mine does not load: ModuleNotFoundError: No module named 'not_there_at_all'",
    ):
        python_net(layer="A")
    (mine / "mine.py").write_text("def broken(:\n")
    with pytest.raises(NettrainError, match="module mine does not load: SyntaxError"):
        python_net(layer="A")


def test_a_module_may_import_its_neighbours_and_name_the_phases(mine):
    (mine / "beside").mkdir()
    (mine / "beside" / "a_neighbour.py").write_text("SIZE = 3\n")
    (mine / "beside" / "theirs.py").write_text(
        "import caffe\nimport a_neighbour\n\nTEST = caffe.TEST\n\n\nclass A(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(a_neighbour.SIZE + (self.phase == TEST))\n"
    )
    (mine / "beside" / "spec.yaml").write_text("layers:\n- {name: a, type: Python, module: theirs, layer: A}\n")
    before = list(sys.path)
    sizes = [nettrain.Net("beside/spec.yaml", phase, allow_python=True).blobs["a"].shape for phase in ("TRAIN", "TEST")]
    assert sizes == [(3,), (4,)]
    assert sys.path == before
    for name in ("theirs", "a_neighbour"):
        sys.modules.pop(name, None)


def test_caffe_is_lent_only_while_the_module_loads(mine):
    python_net((2, 2), layer="Scaled")
    assert "caffe" not in sys.modules


def test_a_cell_holds_no_python(mine):
    cell = [{"name": "h_next", "type": "Python", "module": "mine", "layer": "Scaled", "bottom": ["h"]}]
    layer = {"name": "r", "type": "Recurrent", "bottom": "x", "cont": False, "cell": cell, "outputs": "h_next"}
    layer["states"] = {"name": "h", "next": "h_next", "shape": [1]}
    spec = {"layers": [{"name": "x", "type": "Input", "shape": [2, 2, 1]}, layer]}
    with pytest.raises(SpecError, match="it runs code and belongs outside the cell"):
        nettrain.Net(spec, allow_python=True)


TWICE = '''
import numpy as np
from nettrain import Example, Layer, register

@register
class {name}(Layer):
    """y = {factor} x. Backward: dx = {factor} dy."""

    examples = [Example([(2, 3)])]

    def Forward_cpu(self, bottom, top):
        np.multiply(bottom[0].data, {factor}, out=top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        np.multiply(top[0].diff, {factor}, out=bottom[0].diff)
'''
GATED = {
    "layer_files": ["twice.py"],
    "layers": [
        {"name": "x", "type": "Parameter", "shape": [2], "filler": 3},
        {"name": "y", "type": "TwiceForTest", "loss_weight": 1},
    ],
}


def write_twice(folder, name="TwiceForTest", factor=2):
    (folder / "twice.py").write_text(TWICE.format(name=name, factor=factor))


def test_layer_files_give_types_of_their_own(workdir):
    write_twice(workdir)
    net = nettrain.Net(GATED, allow_python=True)
    net.forward()
    assert net.blobs["y"].data.tolist() == [6, 6]
    write_twice(workdir, factor=5)  # changed and loaded again, as in a notebook
    net = nettrain.Net(GATED, allow_python=True)
    net.forward()
    assert net.blobs["y"].data.tolist() == [15, 15]


def test_layer_files_lie_beside_the_spec(workdir, monkeypatch):
    (workdir / "specs").mkdir()
    write_twice(workdir / "specs", factor=7)
    (workdir / "specs" / "net.yaml").write_text(json.dumps(GATED))
    net = nettrain.Net("specs/net.yaml", allow_python=True)
    net.forward()
    assert net.blobs["y"].data.tolist() == [21, 21]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "twice.py: no such file"),
        ("raise ValueError(3)", "twice.py does not load: ValueError: 3"),
        (TWICE.format(name="ReLU", factor=2), "relu has already registered a layer type of this name"),
        ("import nothing_of_the_kind", "ModuleNotFoundError"),
        ("import sys; sys.exit(0)", "twice.py does not load: SystemExit: 0"),
    ],
)
def test_layer_files_that_do_not_load(workdir, text, says):
    if text:
        (workdir / "twice.py").write_text(text)
    with pytest.raises(NettrainError) as error:
        nettrain.Net(GATED | {"layers": [{"name": "y", "type": "NoSuchType"}]}, allow_python=True)
    assert says in str(error.value)
    assert "unknown layer type" not in str(error.value)  # it may be one of that file's
    assert nettrain.layer_type_list().count("ReLU") == 1


def test_a_run_with_layer_files_goes_on_from_any_folder(nettrain_cli, workdir, monkeypatch):
    write_twice(workdir)
    spec = GATED | {"name": "twice", "solver": {"base_lr": 0.1, "max_iter": 3}}
    (workdir / "net.yaml").write_text(json.dumps(spec))
    nettrain_cli("train", "net.yaml", "--allow-python")
    (workdir / "elsewhere").mkdir()
    monkeypatch.chdir(workdir / "elsewhere")
    more = ("train", "--resume", workdir / "runs/twice/001", "--set", "solver.max_iter=5")
    assert "allow it with --allow-python" in nettrain_cli(*more, exit_code=2).stderr
    assert "done: 5 iterations" in nettrain_cli(*more, "--allow-python").stdout
