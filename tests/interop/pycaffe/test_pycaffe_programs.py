"""Programs as they were written for pycaffe, each in a process of its own, and ``install``."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import nettrain.interop.pycaffe as caffe
import numpy as np
import pytest
from PIL import Image

INSTALL = "import nettrain.interop.pycaffe\nnettrain.interop.pycaffe.install()\n"


def run(program, folder, **environment):
    (folder / "program.py").write_text(INSTALL + program)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CLASSIFY = """
import os
os.environ['GLOG_minloglevel'] = '2'
import numpy as np
import caffe

caffe.set_mode_cpu()
net = caffe.Net('deploy.prototxt', 'weights.caffemodel', caffe.TEST)
transformer = caffe.io.Transformer({'data': net.blobs['data'].data.shape})
transformer.set_transpose('data', (2, 0, 1))
transformer.set_mean('data', np.load('mean.npy').mean(1).mean(1))
transformer.set_raw_scale('data', 255)
transformer.set_channel_swap('data', (2, 1, 0))
net.blobs['data'].reshape(10, 3, 4, 4)
image = caffe.io.resize_image(caffe.io.load_image('cat.png'), (6, 6))
crops = caffe.io.oversample([image], (4, 4))
net.blobs['data'].data[...] = [transformer.preprocess('data', crop) for crop in crops]
out = net.forward()
print(' '.join('%.6f' % p for p in out['prob'].mean(axis=0)))
for name, blob in net.blobs.items():
    print(name, tuple(blob.data.shape))
"""
DEPLOY = """name: "deploy" input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv" top: "fc" inner_product_param { num_output: 3 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""


def test_a_program_that_classifies(workdir):
    rng = np.random.default_rng(0)
    pixels, mean = rng.integers(0, 256, (6, 6, 3), np.uint8), rng.uniform(90, 120, (3, 5, 5))
    Image.fromarray(pixels).save("cat.png")
    np.save("mean.npy", mean)
    (workdir / "deploy.prototxt").write_text(DEPLOY)
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.normal(size=blob.data.shape) / 50
    net.save("weights.caffemodel")
    (kernel, bias), (W, b) = ([blob.data for blob in net.params[name]] for name in ("conv", "fc"))

    lines = run(CLASSIFY, workdir).splitlines()

    values = pixels[:, :, ::-1].astype(float).transpose(2, 0, 1) - mean.mean((1, 2))[:, None, None]
    found = []
    for y, x in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1)):
        crop = values[:, y : y + 4, x : x + 4]
        for one in (crop, crop[:, :, ::-1]):
            conv = [
                [[(one[:, i : i + 3, j : j + 3] * kernel[k]).sum() + bias[k] for j in range(2)] for i in range(2)]
                for k in range(2)
            ]
            scores = W @ np.maximum(conv, 0).ravel() + b
            found.append(np.exp(scores) / np.exp(scores).sum())
    np.testing.assert_allclose([float(p) for p in lines[0].split()], np.mean(found, axis=0), atol=2e-6)
    assert lines[1:] == ["data (10, 3, 4, 4)", "conv (10, 2, 2, 2)", "fc (10, 3)", "prob (10, 3)"]


SURGERY = """
import caffe
net = caffe.Net('deploy.prototxt', 'weights.caffemodel', caffe.TEST)
full = caffe.Net('full.prototxt', 'weights.caffemodel', caffe.TEST)
fc, conv = 'fc', 'fc-conv'
full.params[conv][0].data.flat = net.params[fc][0].data.flat
full.params[conv][1].data[...] = net.params[fc][1].data
full.save('full.caffemodel')
"""


def test_net_surgery_casts_a_classifier_to_a_convolution(workdir):
    (workdir / "deploy.prototxt").write_text(DEPLOY)
    head = 'layers { name: "fc" type: INNER_PRODUCT bottom: "conv" top: "fc" inner_product_param { num_output: 3 } }'
    cast = (
        'layers { name: "fc-conv" type: CONVOLUTION bottom: "conv" top: "fc" '
        "convolution_param { num_output: 3 kernel_size: 2 } }"
    )
    full = DEPLOY.replace(head, cast).replace("input_dim: 4 input_dim: 4", "input_dim: 7 input_dim: 5")
    (workdir / "full.prototxt").write_text(full)
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    net.params["fc"][1].data[...] = [1, 2, 3]
    net.save("weights.caffemodel")
    run(SURGERY, workdir)
    cast = caffe.Net("full.prototxt", caffe.TEST, weights="full.caffemodel")
    image = np.random.default_rng(0).normal(size=(1, 3, 7, 5)).astype(np.float32)
    maps = cast.forward(data=image)["prob"]
    assert maps.shape == (1, 3, 4, 2)
    for y in range(4):
        for x in range(2):
            one = net.forward(data=image[:, :, y : y + 4, x : x + 4])["prob"]
            np.testing.assert_allclose(maps[0, :, y, x], one[0], rtol=1e-4)


TRAIN = """
import os
import tempfile
import numpy as np
import caffe
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2

def net():
    n = caffe.NetSpec()
    n.data, n.label = L.Python(module='mine', layer='Points', param_str=repr(dict(batch=32)), ntop=2)
    n.ip1 = L.InnerProduct(n.data, num_output=16, weight_filler=dict(type='xavier'))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=2, weight_filler=dict(type='xavier'))
    n.accuracy = L.Accuracy(n.ip2, n.label)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()

with open('net.prototxt', 'w') as f:
    f.write(str(net()))
s = caffe_pb2.SolverParameter()
s.train_net = os.path.abspath('net.prototxt')
s.test_net.append('net.prototxt')
s.test_interval = 100
s.test_iter.append(5)
s.max_iter = 60
s.base_lr = 0.5
s.momentum = 0.9
s.lr_policy = 'fixed'
s.snapshot_prefix = 'points'
s.solver_mode = caffe_pb2.SolverParameter.GPU
s.random_seed = 3
os.mkdir('elsewhere')
with open('elsewhere/mine.py', 'w') as f:
    f.write('raise RuntimeError("this is not the module that is meant")')
with tempfile.NamedTemporaryFile('w', delete=False, suffix='.prototxt', dir='elsewhere') as f:
    f.write(str(s))

caffe.set_device(0)
caffe.set_mode_gpu()
solver = caffe.SGDSolver(f.name)
solver.net.layers[0].set_radius(1.0)
loss, accuracy = [], []
for it in range(60):
    solver.step(1)
    loss.append(float(solver.net.blobs['loss'].data))
    accuracy.append(float(solver.net.blobs['accuracy'].data))
solver.test_nets[0].forward()
solver.snapshot()
print(loss[0] > 0.5, np.mean(loss[-5:]) < 0.15, np.mean(accuracy[-5:]) > 0.9)
print(solver.iter, solver.net.params['ip1'][0].data.shape, solver.net.blobs['ip1'].diff.any())
"""
POINTS = """
import numpy as np
import caffe

class Points(caffe.Layer):
    def setup(self, bottom, top):
        self.batch = eval(self.param_str)['batch']
        self.rng = np.random.RandomState(0)
        self.radius = None

    def set_radius(self, radius):
        self.radius = radius

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, 2)
        top[1].reshape(self.batch)

    def forward(self, bottom, top):
        points = self.rng.uniform(-2, 2, size=(self.batch, 2))
        top[0].data[...] = points
        top[1].data[...] = np.hypot(*points.T) < (self.radius or 1)

    def backward(self, top, propagate_down, bottom):
        pass
"""


def test_a_training_loop_with_a_python_layer_for_data(workdir):
    """The solver lies elsewhere: the module is the one that the program itself would import."""
    (workdir / "mine.py").write_text(POINTS)
    out = run(TRAIN, workdir, GLOG_minloglevel="2").splitlines()
    assert out == ["True True True", "60 (16, 2) True"]
    assert sorted(name for name in os.listdir() if name.startswith("points")) == [
        "points_iter_60.caffemodel",
        "points_iter_60.solverstate",
    ]


def test_every_module_of_pycaffes_is_found(workdir):
    program = """
import caffe, caffe.io, caffe.draw, caffe.net_spec, caffe.coord_map, caffe.classifier, caffe.detector, caffe.proto
import caffe.proto.caffe_pb2 as pb
from caffe.proto import caffe_pb2
from caffe.pycaffe import Net, SGDSolver
from caffe._caffe import layer_type_list
assert pb is caffe_pb2 and Net is caffe.Net and caffe.__version__ == '1.0.0'
assert {'Data', 'Convolution', 'Python'} <= set(caffe.layer_type_list())
assert (caffe.TRAIN, caffe.TEST, caffe.has_nccl()) == (0, 1, False)
timer = caffe.Timer()
timer.start()
timer.stop()
assert 0 <= timer.ms < 1000
"""
    run(program, workdir)


MERGED = """
import google.protobuf as pb2
import caffe
from caffe.proto import caffe_pb2
model = caffe_pb2.NetParameter()
with open('deploy.prototxt') as f:
    pb2.text_format.Merge(f.read(), model)
for layer in list(model.layer):
    if layer.type in ('BatchNorm', 'Scale'):
        model.layer.remove(layer)
    elif layer.type == 'Convolution':
        layer.convolution_param.bias_term = True
with open('merged.prototxt', 'w') as f:
    f.write(str(model))
net = caffe.Net('deploy.prototxt', 'weights.caffemodel', caffe.TEST)
merged = caffe.Net('merged.prototxt', caffe.TEST)
for key in net.params.keys():
    if type(net.params[key]) is caffe._caffe.BlobVec and key + '/bn' in net.params:
        mean, var, factor = [blob.data for blob in net.params[key + '/bn']]
        scale, shift = [blob.data for blob in net.params[key + '/scale']]
        rstd = 1 / (var / factor + 1e-5) ** 0.5
        w, b = merged.params[key]
        w.data[...] = net.params[key][0].data * (rstd * scale).reshape((-1, 1, 1, 1))
        b.data[...] = -mean / factor * rstd * scale + shift
merged.save('merged.caffemodel')
"""
NORMALIZED = """input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "conv/bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "conv/scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""


def test_batch_norm_is_merged_into_convolutions(workdir):
    (workdir / "deploy.prototxt").write_text(NORMALIZED)
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    values = {"conv/bn": ([1, 2], [3, 4], [2]), "conv/scale": ([0.5, -1], [0.1, 0.2])}
    for name, wanted in values.items():
        for blob, value in zip(net.params[name], wanted, strict=True):
            blob.data[...] = value
    net.save("weights.caffemodel")
    run(MERGED, workdir)
    merged = caffe.Net("merged.prototxt", caffe.TEST, weights="merged.caffemodel")
    assert [layer.type for layer in merged.layers] == ["Input", "Convolution", "ReLU"]
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(merged.forward(data=x)["conv"], net.forward(data=x)["conv"], rtol=1e-4, atol=1e-6)


def test_without_protobuf_all_but_the_messages_works(workdir):
    program = """
import sys
sys.modules['google.protobuf'] = None
import caffe
from caffe.proto import caffe_pb2
from caffe import layers as L, params as P
data = L.Input(shape=dict(dim=[1]))
assert P.Pooling.MAX == 0
for make in (lambda: caffe_pb2.NetParameter(), lambda: caffe.to_proto(data)):
    try:
        make()
    except Exception as error:
        print(error)
"""
    assert run(program, workdir).count('pip install "nettrain[caffe]"') == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: caffe.NCCL(None, ""),
        caffe.NCCL.new_uid,
        lambda: caffe.set_solver_count(2),
        lambda: caffe.set_solver_rank(1),
        lambda: caffe.set_multiprocess(True),
        lambda: caffe.set_random_seed(-1),
    ],
)
def test_what_has_no_equal_is_refused(call):
    with pytest.raises(caffe.net.NettrainError):
        call()


def test_a_gpu_is_not_there_and_the_program_goes_on(monkeypatch, capsys):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    caffe.set_device(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        caffe.set_mode_gpu()
    assert "this runs on the CPU" in capsys.readouterr().err
    monkeypatch.setenv("GLOG_minloglevel", "2")
    caffe.set_mode_gpu()
    assert not capsys.readouterr().err


def test_the_old_script_of_the_readme_runs_as_it_stands(workdir, monkeypatch):
    text = (Path(__file__).parents[3] / "README.md").read_text()
    script = text.split("```python\nimport nettrain.interop.pycaffe as caffe\n")[1].split("```")[0]
    (workdir / "deploy.prototxt").write_text(
        'input: "data" input_shape { dim: 1 dim: 4 } layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        'inner_product_param { num_output: 3 weight_filler { type: "xavier" } } } '
        'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'
    )
    caffe.Net("deploy.prototxt", caffe.TEST).save("model.caffemodel")
    said = []
    image = np.arange(4.0)
    exec("import nettrain.interop.pycaffe as caffe\n" + script, {"image": image, "print": said.append})
    net = caffe.Net("deploy.prototxt", caffe.TEST, weights="model.caffemodel")
    assert said == [(net.params["ip"][0].data @ image).argmax()]
