"""caffe.Net: what stands in blobs after whole and partial passes, by plain formulas; hooks, files, refusals."""

import os
import pickle
import re

import nettrain.interop.pycaffe as caffe
import numpy as np
import pytest
from nettrain import Net, NettrainError, SpecError
from nettrain.spec.errors import ShapeError

# x -> ip (in place: relu, then doubled) -> two readers, whose sum is the output
NET = """name: "small" force_backward: true
input: "x" input_shape { dim: 2 dim: 3 }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "h" inner_product_param { num_output: 4
  weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "h" top: "h" }
layer { name: "double" type: "Power" bottom: "h" top: "h" power_param { scale: 2 shift: 1 } }
layer { name: "square" type: "Power" bottom: "h" top: "squared" power_param { power: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "h" bottom: "squared" top: "y" }
"""


@pytest.fixture
def file(workdir):
    def write(text=NET, name="net.prototxt"):
        (workdir / name).write_text(text)
        return name

    return write


@pytest.fixture
def net(file):
    net = caffe.Net(file(), caffe.TEST)
    rng = np.random.default_rng(3)
    net.blobs["x"].data[...] = rng.normal(size=(2, 3))
    net.params["ip"][0].data[...] = rng.normal(size=(4, 3))
    return net


def formula(net):
    """Every value of NET: what each layer makes of h, and y."""
    z = net.blobs["x"].data @ net.params["ip"][0].data.T + net.params["ip"][1].data
    relu = np.maximum(z, 0)
    h = 2 * relu + 1
    return z, relu, h, h**2, h + h**2


def test_a_whole_pass_gives_the_formulas_values_and_gradients(net):
    z, _, h, squared, y = formula(net)
    found = net.forward()
    np.testing.assert_allclose(found["y"], y, rtol=1e-5)
    np.testing.assert_allclose(net.blobs["h"].data, h, rtol=1e-5)
    np.testing.assert_allclose(net.blobs["squared"].data, squared, rtol=1e-5)

    seed = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = net.backward(diffs=["h"], y=seed)
    d_z = seed * (1 + 2 * h) * 2 * (z > 0)
    np.testing.assert_allclose(found["x"], d_z @ net.params["ip"][0].data, rtol=1e-5)
    np.testing.assert_allclose(found["h"], d_z, rtol=1e-5)  # as in Caffe: the one blob was overwritten on the way
    np.testing.assert_allclose(net.blobs["squared"].diff, seed, rtol=1e-5)
    np.testing.assert_allclose(net.blobs["y"].diff, seed, rtol=1e-5)
    np.testing.assert_allclose(net.params["ip"][1].diff, d_z.sum(axis=0), rtol=1e-5)


def test_gradients_of_parameters_add_up_until_they_are_cleared(net):
    net.forward()
    net.backward(y=np.ones((2, 4)))
    array, once = net.params["ip"][0].diff, net.params["ip"][0].diff.copy()
    net.forward()
    net.backward(y=np.ones((2, 4)))
    np.testing.assert_allclose(array, 2 * once, rtol=1e-6)
    net.clear_param_diffs()
    assert not array.any()
    assert not net.params["ip"][0].diff.any()
    assert once.any()


@pytest.mark.parametrize(("end", "which"), [("ip", 0), ("relu", 1), ("double", 2)])
def test_a_blob_written_in_place_shows_what_the_last_layer_that_ran_wrote(net, end, which):
    net.forward()
    assert set(found := net.forward(end=end)) == {"h"}
    np.testing.assert_allclose(net.blobs["h"].data, formula(net)[which], rtol=1e-5)
    assert np.shares_memory(found["h"], net.blobs["h"].data)


def test_a_pass_that_begins_within_layers_in_place_begins_from_what_the_program_wrote(net):
    net.forward(end="ip")
    net.blobs["h"].data[...] = [[-1, 0, 1, 2]] * 2
    net.forward(start="relu")
    np.testing.assert_allclose(net.blobs["h"].data, [[1, 1, 3, 5]] * 2)
    np.testing.assert_allclose(net.blobs["y"].data, [[2, 2, 12, 30]] * 2)
    net.blobs["h"].data[...] = -4
    net.forward(start="double", end="double")
    np.testing.assert_allclose(net.blobs["h"].data, np.full((2, 4), -7))


def test_backward_from_a_layer_begins_with_the_gradient_the_program_wrote(net):
    """As the deep dream does: the objective is what a blob is itself."""
    net.forward(end="double")
    z, _, h, *_ = formula(net)
    blob = net.blobs["h"]
    blob.diff[...] = blob.data
    found = net.backward(start="double")
    np.testing.assert_allclose(found["x"], (h * 2 * (z > 0)) @ net.params["ip"][0].data, rtol=1e-5)


def test_backward_from_one_in_place_layer_to_another(net):
    net.forward()
    z = formula(net)[0]
    net.blobs["h"].diff[...] = 3
    found = net.backward(start="relu", end="relu")
    np.testing.assert_allclose(found["h"], 3 * (z > 0))


def test_gradients_that_could_share_memory_do_not(net):
    """nettrain hands a sum's gradient on without copying it; a program may write into one of the two."""
    net.forward()
    net.backward(y=np.ones((2, 4)))
    net.blobs["squared"].diff[...] = 7
    assert (net.blobs["y"].diff == 1).all()


def test_hooks_are_called_around_each_layer_and_see_its_values(net):
    seen = []
    net.before_forward(lambda i: seen.append(("before", i)))
    net.after_forward(lambda i: seen.append((i, net.blobs["h"].data.copy())))
    net.forward()
    z, relu, h, *_ = formula(net)
    assert [item for item in seen if item[0] == "before"] == [("before", i) for i in range(6)]
    values = {item[0]: item[1] for item in seen if item[0] != "before"}
    for layer, wanted in ((1, z), (2, relu), (3, h), (5, h)):
        np.testing.assert_allclose(values[layer], wanted, rtol=1e-5)
    order = []
    net.before_backward(lambda i: order.append(i))
    net.after_backward(lambda i: order.append(-i))
    net.backward(y=np.ones((2, 4)))
    assert order == [5, -5, 4, -4, 3, -3, 2, -2, 1, -1, 0, 0]
    np.testing.assert_allclose(net.blobs["h"].diff, (1 + 2 * h) * 2 * (z > 0), rtol=1e-5)


def test_a_loss_seeds_its_gradient_unless_the_program_wrote_another(file):
    text = NET + 'layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 3 }\n'
    net = caffe.Net(file(text), caffe.TRAIN)
    net.forward()
    net.backward()
    assert (net.blobs["y"].diff == 3).all()
    assert net.blob_loss_weights["loss"] == 3
    net.blobs["loss"].diff[...] = 5
    net.backward()
    assert (net.blobs["y"].diff == 5).all()


def test_what_a_net_is(net):
    assert list(net.layer_dict) == net._layer_names == ["input", "ip", "relu", "double", "square", "sum"]
    assert [layer.type for layer in net.layers] == ["Input", "InnerProduct", "ReLU", "Power", "Power", "Eltwise"]
    assert net._blob_names == list(net.blobs) == ["x", "h", "squared", "y"]
    assert (net.inputs, net.outputs, net._inputs, net._outputs) == (["x"], ["y"], [0], [3])
    assert net.bottom_names["sum"] == ["h", "squared"]
    assert net.top_names["relu"] == ["h"]
    assert (net._bottom_ids(5), net._top_ids(5)) == ([1, 2], [3])
    assert list(net.params) == ["ip"]
    assert [blob.data.shape for blob in net.layers[1].blobs] == [(4, 3), (4,)]
    blob = net.blobs["x"]
    assert (list(blob.shape), blob.num, blob.channels, blob.height, blob.width, blob.count) == ([2, 3], 2, 3, 1, 1, 6)


def test_reshape_goes_through_the_whole_net(net):
    net.blobs["x"].reshape(5, 3)
    net.reshape()
    assert net.blobs["y"].data.shape == (5, 4)
    net.blobs["x"].reshape(7, 3)
    assert net.forward()["y"].shape == (7, 4)


def test_forward_all_takes_any_number_of_examples(net):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = net.forward_all(blobs=["h"], x=x)
    one_by_one = [net.forward(x=np.stack([row, row]))["y"][0].copy() for row in x]
    np.testing.assert_allclose(found["y"], one_by_one, rtol=1e-5)
    assert found["h"].shape == (5, 4)
    seeds = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    values, gradients = net.forward_backward_all(x=x, y=seeds)
    np.testing.assert_allclose(values["y"], found["y"], rtol=1e-5)
    for i in range(5):
        net.forward(x=np.stack([x[i]] * 2))
        wanted = net.backward(y=np.stack([seeds[i]] * 2))["x"][0]
        np.testing.assert_allclose(gradients["x"][i], wanted, rtol=1e-4)


@pytest.mark.parametrize("save", ["save", "save_hdf5"])
def test_weights_go_to_a_file_and_back(net, save):
    getattr(net, save)("weights")
    other = caffe.Net("net.prototxt", caffe.TEST, weights="weights")
    with pytest.warns(DeprecationWarning, match="the old order"):
        legacy = caffe.Net("net.prototxt", "weights", caffe.TEST)
    for made in (other, legacy, caffe.Net("net.prototxt", caffe.TEST, 0, None, "weights")):
        for mine, theirs in zip(net.params["ip"], made.params["ip"], strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_what_save_writes_protobuf_reads(net, workdir):
    net.save("weights")
    message = caffe.proto.caffe_pb2.NetParameter()
    message.ParseFromString((workdir / "weights").read_bytes())
    layers = {layer.name: layer for layer in message.layer}
    assert message.name == "small"
    assert (layers["relu"].type, list(layers["relu"].bottom), list(layers["relu"].top)) == ("ReLU", ["h"], ["h"])
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(layers["ip"].blobs[0]), net.params["ip"][0].data)


def test_nets_share_values_and_not_gradients(net, file):
    other = caffe.Net(file(NET.replace('"double"', '"triple"')), caffe.TEST)
    other.share_with(net)
    net.params["ip"][0].data[0, 0] = 42
    net.params["ip"][0].diff[0, 0] = 1
    assert other.params["ip"][0].data[0, 0] == 42
    assert other.params["ip"][0].diff[0, 0] == 0


def test_constants_of_dummy_data_stay_what_the_program_wrote(file):
    net = caffe.Net(
        file(
            'layer { name: "d" type: "DummyData" top: "d" top: "r" dummy_data_param {'
            " shape { dim: 2 } shape { dim: 2 }"
            ' data_filler { type: "constant" value: 7 } data_filler { type: "gaussian" } } }'
        ),
        caffe.TRAIN,
    )
    assert (net.blobs["d"].data == 7).all()
    net.blobs["d"].data[...] = 3
    first = net.forward()["r"].copy()
    assert (net.blobs["d"].data == 3).all()
    assert (net.forward()["r"] != first).all()


def test_memory_data_takes_arrays(file):
    net = caffe.Net(
        file(
            'layer { name: "m" type: "MemoryData" top: "data" top: "label" '
            "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 } }"
        ),
        caffe.TEST,
    )
    data = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3)
    net.set_input_arrays(data, np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1))
    for wanted in ([0, 1], [2, 3], [0, 1]):
        found = net.forward()
        np.testing.assert_array_equal(found["label"], wanted)
        np.testing.assert_array_equal(found["data"], data[wanted])
    with pytest.raises(RuntimeError, match="labels must be an array of float32, got int64"):
        net.set_input_arrays(data, np.arange(4))


def test_each_net_has_a_seed_of_its_own_that_can_be_set(file):
    path = file()

    def weights(count):
        return [caffe.Net(path, caffe.TEST).params["ip"][0].data.copy() for _ in range(count)]

    caffe.set_random_seed(5)
    first, second = weights(2)
    assert (first != second).any()
    caffe.set_random_seed(5)
    np.testing.assert_array_equal(weights(1)[0], first)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda net: caffe.Net("none.prototxt", caffe.TEST), RuntimeError, "Could not open file none.prototxt"),
        (lambda net: caffe.Net("net.prototxt", caffe.TEST, weights="w"), RuntimeError, "Could not open file w"),
        (lambda net: caffe.Net("net.prototxt"), NettrainError, "phase must be caffe.TRAIN or caffe.TEST, got None"),
        (lambda net: net.forward(z=1), RuntimeError, "do not match net inputs. They are x, got z"),
        (lambda net: net.forward(x=np.ones((3, 3))), RuntimeError, "not batch sized: `x` has 2 examples"),
        (lambda net: net.forward(x=np.ones((2, 5))), RuntimeError, "`x` is 2 x 3, got 2 x 5; reshape the blob first"),
        (lambda net: net.backward(q=1), RuntimeError, "do not match net outputs. They are y, got q"),
        (lambda net: net.backward(y=np.ones((1, 4))), RuntimeError, "Diff is not batch sized"),
        (lambda net: net.forward(start="rely"), NettrainError, "no layer `rely`; did you mean `relu`?"),
        (lambda net: net.forward(blobs=["squred"]), NettrainError, "no blob `squred`; did you mean `squared`?"),
        (lambda net: net.set_input_arrays(1, 2), RuntimeError, "first layer is MemoryData"),
        (lambda net: net.forward_backward_all(w=np.ones((2, 4))), RuntimeError, "neither inputs nor outputs"),
    ],
)
def test_refusals(net, call, error, words):
    with pytest.raises(error, match=re.escape(words)) as raised:
        call(net)
    assert isinstance(raised.value, NettrainError)


def test_errors_of_the_file_come_all_at_once_with_their_places(file):
    text = NET.replace("num_output: 4", "num_output: -4").replace('"square" type: "Power"', '"square" type: "Powr"')
    with pytest.raises(SpecError) as error:
        caffe.Net(file(text), caffe.TEST)
    assert "net.prototxt:3:" in str(error.value)
    assert "net.prototxt:7:" in str(error.value)


def test_parameters_of_other_shapes_are_not_shared(net, file):
    text = NET.replace("num_output: 4", "num_output: 6")
    other = caffe.Net(file(text), caffe.TEST)
    with pytest.raises(ShapeError, match="`ip` cannot share its parameters: 6 x 3, 6 here and 4 x 3, 4 there"):
        other.share_with(net)


LAYERS = """
import caffe

class Scale(caffe.Layer):
    def setup(self, bottom, top):
        self.by = float(self.param_str)
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = self.by
        assert caffe.TEST == 1 and caffe.io is not None and caffe.Net is not None

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = self.blobs[0].data * top[0].diff

class Broken(caffe.Layer):
    def setup(self, bottom, top):
        self.fail("setup")

    def reshape(self, bottom, top):
        self.fail("reshape")
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.fail("forward")

    def backward(self, top, propagate_down, bottom):
        self.fail("backward")

    def fail(self, where):
        if where == self.param_str:
            raise KeyError("the program's own") from ValueError("for this reason")
"""
PYTHON = """force_backward: true input: "x" input_shape { dim: 2 dim: 3 }
layer { name: "scale" type: "Python" bottom: "x" top: "y"
  python_param { module: "mine" layer: "Scale" param_str: "4" } }
"""


def test_a_python_layer_is_the_programs_own_object(file, workdir):
    (workdir / "mine.py").write_text(LAYERS)
    net = caffe.Net(file(PYTHON), caffe.TEST)
    layer = net.layers[1]
    assert (layer.by, layer.type, layer.phase) == (4, "Python", 1)
    assert isinstance(layer, caffe.Layer)
    np.testing.assert_array_equal(net.forward(x=np.ones((2, 3)))["y"], np.full((2, 3), 4))
    layer.blobs[0].data[0] = 5
    np.testing.assert_array_equal(net.forward(x=np.ones((2, 3)))["y"], np.full((2, 3), 5))
    np.testing.assert_array_equal(net.backward(y=np.ones((2, 3)))["x"], np.full((2, 3), 5))


@pytest.mark.parametrize("method", ["setup", "reshape", "forward", "backward"])
def test_an_exception_of_a_python_layer_keeps_its_type_and_says_where(file, workdir, method):
    (workdir / "mine.py").write_text(LAYERS)
    text = PYTHON.replace('"Scale" param_str: "4"', f'"Broken" param_str: "{method}"')

    def run():
        net = caffe.Net(file(text), caffe.TEST)
        net.forward()
        net.backward()

    with pytest.raises(KeyError, match="the program's own") as error:
        run()
    assert "Python `scale`" in error.value.__notes__[0]
    assert f"Broken.{method}" in error.value.__notes__[0]
    assert len(error.value.__notes__) == 1
    assert isinstance(error.value.__cause__, ValueError)


MOVING = """
import caffe
import numpy as np

class Images(caffe.Layer):
    def setup(self, bottom, top):
        self.at = 0

    def reshape(self, bottom, top):
        self.image = np.full((1, 3, 4 + self.at % 3, 5), 1.0 + self.at)
        top[0].reshape(*self.image.shape)
        top[1].reshape(1, 1, *self.image.shape[2:])

    def forward(self, bottom, top):
        top[0].data[...], top[1].data[...] = self.image, 1
        self.at += 1

    def backward(self, top, propagate_down, bottom):
        pass

class Times(caffe.Layer):
    def setup(self, bottom, top):
        if not len(self.blobs):
            self.blobs.add_blob()
        self.blobs[0].reshape(3)
        self.blobs[0].data[...] = [2, 3, 4]

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.x = bottom[0].data
        self.x.shape = (3, -1)
        top[0].data[0] = (self.x * self.blobs[0].data[:, None]).reshape(top[0].data.shape[1:])

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(axis=(0, 2, 3))
"""


def test_training_on_images_of_changing_size_by_python_layers(file, workdir):
    """As fully convolutional nets are trained: the data layer loads in reshape."""
    (workdir / "moving.py").write_text(MOVING)
    file(
        """layer { name: "d" type: "Python" top: "data" top: "t" python_param { module: "moving" layer: "Images" } }
        layer { name: "times" type: "Python" bottom: "data" top: "y" python_param { module: "moving" layer: "Times" } }
        layer { name: "sum" type: "Convolution" bottom: "y" top: "s" param { lr_mult: 0 } convolution_param {
          num_output: 1 kernel_size: 1 bias_term: false weight_filler { type: "constant" value: 1 } } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "s" bottom: "t" top: "loss" }"""
    )
    (workdir / "s.prototxt").write_text('train_net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed"')
    solver = caffe.SGDSolver("s.prototxt")
    w = np.array([2.0, 3.0, 4.0])
    for i in range(4):
        solver.step(1)
        height, value = 4 + i % 3, 1.0 + i
        assert solver.net.blobs["s"].data.shape == (1, 1, height, 5)
        error = value * w.sum() - 1
        assert float(solver.net.blobs["loss"].data) == pytest.approx(height * 5 * error**2 / 2, rel=1e-5)
        w = w - 0.001 * error * value * height * 5
        np.testing.assert_allclose(solver.net.params["times"][0].data, w, rtol=1e-5)
    assert solver.net.layers[0].at == 4


def test_a_shape_that_a_program_sets_is_its_own_arrays_alone(net):
    """Pruning scripts do it: pycaffe gives a new array each time, over the same memory."""
    mine = net.params["ip"][0].data
    mine.shape = (2, -1)
    mine[0] = 0
    assert net.params["ip"][0].data.shape == (4, 3)
    np.testing.assert_array_equal(net.params["ip"][0].data[:2], 0)
    assert net.forward()["y"].shape == (2, 4)


def test_a_yaml_spec_is_a_net_too(workdir):
    (workdir / "net.yaml").write_text(
        "layers:\n  - {name: x, type: Input, shape: [1, 2]}\n  - {name: y, type: Power, scale: 3}\n"
    )
    np.testing.assert_array_equal(caffe.Net("net.yaml", caffe.TEST).forward(x=[[1, 2]])["y"], [[3, 6]])
    assert not os.path.exists("runs")


RESIDUAL = """force_backward: true input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 }
layer { name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 3 kernel_size: 3 pad: 1
  weight_filler { type: "gaussian" std: 1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "scale" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "sum1" type: "Eltwise" bottom: "a" bottom: "x" top: "s" }
layer { name: "relu" type: "ReLU" bottom: "s" top: "s" }
layer { name: "sum2" type: "Eltwise" bottom: "s" bottom: "a" top: "s2" }
layer { name: "flat" type: "Flatten" bottom: "s2" top: "flat" }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip" inner_product_param { num_output: 2
  weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Sigmoid" bottom: "ip" top: "ip" }
layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }
"""


@pytest.mark.parametrize("with_hooks", [False, True])
def test_numbers_are_those_of_nettrains_own_net(file, with_hooks):
    """Which shares memory between gradients and knows nothing of blobs written in place."""
    shim = caffe.Net(file(RESIDUAL), caffe.TRAIN)
    shim.save("w")
    core = Net("net.prototxt", "TRAIN", weights="w", engine="numpy")
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    if with_hooks:
        shim.after_forward(lambda i: None)
        shim.before_backward(lambda i: None)
    for _ in range(2):  # also when everything has been written before
        shim.clear_param_diffs()
        core.clear_param_diffs()
        np.testing.assert_allclose(shim.forward(x=x)["loss"], core.forward(x=x)["loss"], rtol=1e-6)
        np.testing.assert_allclose(shim.backward()["x"], core.backward()["x"], rtol=1e-5, atol=1e-6)
        for name, blobs in core.params.items():
            for mine, theirs in zip(shim.params[name], blobs, strict=True):
                np.testing.assert_allclose(mine.diff, theirs.diff, rtol=1e-5, atol=1e-5)


def test_parts_of_a_pass_give_what_the_whole_gives(file):
    net = caffe.Net(file(RESIDUAL), caffe.TRAIN)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    loss = float(net.forward(x=x)["loss"])
    gradient = net.backward()["x"].copy()
    net.blobs["x"].data[...] = x
    names = net._layer_names
    for name in names:
        net.forward(start=name, end=name)
    assert float(net.blobs["loss"].data) == pytest.approx(loss, rel=1e-6)
    for first, last in (("loss", "flat"), ("sum2", "scale"), ("bn", names[0])):
        net.backward(start=first, end=last)
    np.testing.assert_allclose(net.blobs["x"].diff, gradient, rtol=1e-5, atol=1e-6)


def test_what_is_written_into_a_convolutions_arrays_is_never_lost_in_silence(file):
    net = caffe.Net(file(RESIDUAL), caffe.TRAIN)
    blob = net.blobs["a"]
    blob.data.flat = np.arange(96)
    np.testing.assert_array_equal(blob.data, np.arange(96).reshape(2, 3, 4, 4))
    blob.data[1] += 1000
    assert net._core.blobs["a"].data[1].min() >= 1000
    for copied in (blob.data.reshape(2, -1), blob.data.ravel(), np.reshape(blob.data, -1), blob.data[0].ravel()):
        np.testing.assert_array_equal(copied.ravel()[:48], np.arange(48))
        with pytest.raises(ValueError, match="read-only"):
            copied[...] = 0
    blob.data[0].reshape(3, -1)[1] = 5  # the places of one image lie together
    assert (blob.data[0, 1] == 5).all()
    free = (blob.data * 2).reshape(-1)  # of a result of the program's own
    free[...] = 1
    assert net.blobs["x"].data.reshape(-1).base is not None
    stored = pickle.dumps(blob.data)
    assert b"nettrain" not in stored
    np.testing.assert_array_equal(pickle.loads(stored), blob.data)


def test_parameters_can_be_reshaped_and_written_into(file, workdir):
    """As programs do that prune and quantise: what they write is in the net, and in the file."""
    (workdir / "s.prototxt").write_text(
        'train_net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" test_iter: 1 '
        'test_net: "net.prototxt" test_interval: 9'
    )
    file(
        RESIDUAL.replace(
            'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 }',
            'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 '
            'dim: 4 dim: 4 } data_filler { type: "gaussian" } } }',
        )
    )
    solver = caffe.SGDSolver("s.prototxt")
    tested = solver.test_nets[0].params["a"][0]
    for net in (solver.net, caffe.Net("net.prototxt", caffe.TEST)):
        before = net.params["a"][0].data.copy()
        rows = net.params["a"][0].data.reshape(3, -1)
        rows[:, ::2] = 0
        np.testing.assert_array_equal(
            net.params["a"][0].data, np.where(np.arange(27) % 2, before.reshape(3, 27), 0).reshape(before.shape)
        )
        columns = net.params["a"][0].data
        columns.shape = [3, -1]
        columns[1] = 8
        assert (net.params["a"][0].data[1] == 8).all()
        net.save("pruned")
        np.testing.assert_array_equal(caffe.Net("net.prototxt", caffe.TEST, weights="pruned").params["a"][0].data[1], 8)
    assert (tested.data[1] == 8).all()
    solver.step(1)
    assert solver.net.params["a"][0].diff.any()
    np.testing.assert_array_equal(tested.data, solver.net.params["a"][0].data)


def test_batches_of_gradients_need_no_batches_of_inputs(file):
    net = caffe.Net(file(), caffe.TEST)
    net.blobs["x"].data[...] = 1
    seeds = np.arange(16, dtype=np.float32).reshape(4, 4)
    values, gradients = net.forward_backward_all(y=seeds)
    assert values["y"].shape == (4, 4)
    for i in (0, 2):
        net.forward()
        np.testing.assert_allclose(gradients["x"][i : i + 2], net.backward(y=seeds[i : i + 2])["x"], rtol=1e-5)
