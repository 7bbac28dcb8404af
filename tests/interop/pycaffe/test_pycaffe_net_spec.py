"""Nets written in Python, the maps between their blobs, and their pictures."""

import shutil

import nettrain.interop.pycaffe as caffe
import numpy as np
import pytest
from google.protobuf import text_format
from nettrain import NettrainError
from nettrain.interop.pycaffe.coord_map import UndefinedMapException, coord_map, coord_map_from_to, crop

L, P, pb = caffe.layers, caffe.params, caffe.proto.caffe_pb2


def test_a_net_in_python_is_the_prototxt_it_means():
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(shape=[{"dim": [8, 1, 6, 6]}, {"dim": 8}], ntop=2, transform_param={"scale": 0.5})
    n.conv = L.Convolution(
        n.data, kernel_size=3, num_output=2, weight_filler={"type": "xavier"}, param=[{"lr_mult": 1}, {"lr_mult": 2}]
    )
    n.pool = L.Pooling(n.conv, pool=P.Pooling.AVE, kernel_size=2, stride=2)
    n.relu = L.ReLU(n.pool, in_place=True)
    n.ip = L.InnerProduct(n.relu, num_output=3)
    n.loss = L.SoftmaxWithLoss(n.ip, n.label, include={"phase": "TRAIN"}, loss_weight=2)
    expected = text_format.Parse(
        """
        layer { name: "data" type: "DummyData" top: "data" top: "label" transform_param { scale: 0.5 }
          dummy_data_param { shape { dim: 8 dim: 1 dim: 6 dim: 6 } shape { dim: 8 } } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
          convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
        layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
          pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
        layer { name: "relu" type: "ReLU" bottom: "pool" top: "pool" }
        layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 2
          include { phase: TRAIN } }
        """,
        pb.NetParameter(),
    )
    assert str(n.to_proto()) == str(expected)
    assert n.keys() == ["data", "label", "conv", "pool", "relu", "ip", "loss"]
    assert n["conv"] is n.conv is n.vals()[2]


def test_what_has_no_name_gets_caffes():
    """Programs find such blobs by name, in nets and in weights."""
    data = L.Input(shape={"dim": [1, 2]})
    first, second = L.Split(data, ntop=2)
    proto = caffe.to_proto(L.Eltwise(first, L.ReLU(second, in_place=True)), L.ReLU(data), L.Silence(data, ntop=0))
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in proto.layer] == [
        ("Input1", [], ["Input1"]),
        ("Split1", ["Input1"], ["Split1", "Split2"]),
        ("ReLU1", ["Split2"], ["Split2"]),
        ("Eltwise1", ["Split1", "Split2"], ["Eltwise1"]),
        ("ReLU2", ["Input1"], ["ReLU2"]),
        ("Silence1", ["Input1"], []),
    ]
    assert str(first.to_proto()) == str(second.to_proto())


def test_messages_can_be_filled_from_python():
    solver = pb.SolverParameter()
    for name, value in {"base_lr": 0.1, "test_iter": 3, "type": "Adam", "train_state": {"stage": ["a", "b"]}}.items():
        caffe.net_spec.assign_proto(solver, name, value)
    caffe.net_spec.assign_proto(solver, "test_iter", [4])
    assert (solver.type, list(solver.test_iter), list(solver.train_state.stage)) == ("Adam", [3, 4], ["a", "b"])
    with pytest.raises(AttributeError, match=r"there is no SolverParameter.base_rl; did you mean `base_lr`"):
        caffe.net_spec.assign_proto(solver, "base_rl", 1)


def test_a_layer_without_tops_is_written_too():
    n = caffe.NetSpec()
    n.data = L.Input()
    n.silence = L.Silence(n.data, ntop=0)
    assert [layer.name for layer in n.to_proto().layer] == ["data", "silence"]


def test_a_net_of_a_thousand_layers_is_written():
    top = L.Input(shape={"dim": 1})
    for _ in range(1500):
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 1501


def test_every_enum_has_its_values():
    assert (P.Pooling.MAX, P.Pooling.AVE, P.Eltwise.SUM, P.Data.LMDB) == (0, 1, 1, 1)
    assert all(getattr(P.Eltwise, name) == getattr(pb.EltwiseParameter, name) for name in ("PROD", "SUM", "MAX"))
    with pytest.raises(AttributeError, match="has no value MAXX; did you mean `MAX`"):
        _ = P.Pooling.MAXX
    with pytest.raises(AttributeError, match="no type Poling"):
        _ = P.Poling


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: L.ReLU(3), TypeError, "ReLU input 0 is not a Top"),
        (lambda: L.Convolution(num_outputs=3).to_proto(), AttributeError, "`num_outputs`; did you mean `num_output`"),
        (lambda: L.Convolution(num_output="x").to_proto(), TypeError, "Convolution.num_output cannot be 'x'"),
        (
            lambda: L.Convolution(weight_filler={"typ": "xavier"}).to_proto(),
            AttributeError,
            "there is no Convolution.weight_filler.typ; did you mean `type`",
        ),
        (lambda: L.ReLU(L.Input(), ntop=2, in_place=True), NettrainError, "as many tops as inputs: 1, got 2"),
        (lambda: caffe.NetSpec().data, AttributeError, "has no `data`"),
    ],
)
def test_refusals(make, error, words):
    with pytest.raises(error, match=words):
        make()


# Maps of coordinates


def test_maps_follow_the_arithmetic_of_convolution():
    """A convolution's output y looks at the middle of stride·y - pad … + kernel - 1."""
    data = L.Input()
    for kernel, stride, pad, dilation in ((3, 1, 0, 1), (5, 2, 1, 1), (3, 2, 4, 3)):
        conv = L.Convolution(data, kernel_size=kernel, stride=stride, pad=pad, dilation=dilation, num_output=1)
        axis, a, b = coord_map_from_to(conv, data)
        first = sum(dilation * k - pad for k in range(kernel)) / kernel
        assert (axis, a) == (1, stride)
        assert b == pytest.approx(first)
        assert coord_map(conv.fn)[1] == pytest.approx(1 / stride)


def test_a_crop_begins_where_both_blobs_agree():
    data = L.Input()
    up = L.Deconvolution(L.Convolution(data, kernel_size=4, stride=2, pad=11), kernel_size=4, stride=2)
    made = crop(up, data)
    axis, a, b = coord_map_from_to(up, data)
    assert (made.fn.type_name, made.fn.inputs) == ("Crop", (up, data))
    assert made.fn.params == {"crop_param": {"axis": 2, "offset": [int(-b)]}}
    assert -b == 11
    assert coord_map_from_to(made, data)[1:] == (1, 0)
    assert (axis, a) == (1, 1)


def test_maps_that_are_not_there_are_refused():
    data = L.Input()
    with pytest.raises(RuntimeError, match="not connected by spatial layers"):
        coord_map_from_to(L.InnerProduct(data), data)
    with pytest.raises(UndefinedMapException, match="InnerProduct has no map"):
        coord_map(L.InnerProduct(data).fn)
    with pytest.raises(ValueError, match="kernel_h is not known here; write lists"):
        coord_map(L.Convolution(data, kernel_h=3, kernel_w=5).fn)
    with pytest.raises(AssertionError, match="the scales differ"):
        crop(L.Pooling(data, kernel_size=2, stride=2), data)
    with pytest.raises(AssertionError, match="outside of what is cut"):
        crop(L.Convolution(data, kernel_size=3), data)
    with pytest.raises(AssertionError, match="between pixels"):
        crop(L.Convolution(data, kernel_size=4, pad=9), data)


# Pictures

DRAWN = """name: "a {net}"
layer { name: "data" type: "Data" top: "data" include { phase: TRAIN } data_param { batch_size: 7 } }
layer { name: "in/x" type: "Convolution" bottom: "data" top: "c" param { lr_mult: 3 }
  convolution_param { num_output: 5 kernel_h: 2 kernel_w: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE kernel_size: 2 } }
"""


@pytest.fixture
def drawn():
    return text_format.Parse(DRAWN, pb.NetParameter())


def test_a_graph_has_every_layer_and_every_edge(drawn):
    text = caffe.draw.draw_net(drawn, "LR", ext="dot").decode()
    for line in (
        '"data_Data" -> "data_blob" [label="Batch 7"];',
        '"data_blob" -> "in/x_Convolution";',
        '"in/x_Convolution" -> "c_blob" [label="5"];',
        '"c_blob" -> "relu_ReLU" [dir=both];',
        'label="in/x\\n(Convolution)\\nkernel size: 2x3\\nstride: 1\\npad: 1"',
        'label="pool\\n(AVE Pooling)\\nkernel size: 2\\nstride: 1\\npad: 0"',
        'digraph "a \\{net\\}" {',
    ):
        assert line in text
    assert "lr mult" not in text
    assert "lr mult: 3" in caffe.draw.draw_net(drawn, "LR", "dot", display_lrm=True).decode()


def test_a_graph_of_one_phase_has_its_layers_alone(drawn):
    train, test = (caffe.draw.draw_net(drawn, "TB", "dot", phase=phase).decode() for phase in (caffe.TRAIN, caffe.TEST))
    assert "data_Data" in train
    assert "data_Data" not in test
    assert 'label="in/x (Convolution) kernel size: 2x3 stride: 1 pad: 1"' in test


def test_a_picture_is_drawn_by_dot(drawn, workdir, monkeypatch):
    if shutil.which("dot"):
        caffe.draw.draw_net_to_file(drawn, "net.svg")
        picture = (workdir / "net.svg").read_text()
        assert picture.startswith("<?xml")
        assert "in/x" in picture
        with pytest.raises(NettrainError, match="dot cannot draw the net"):
            caffe.draw.draw_net(drawn, "LR", ext="nothing")
    caffe.draw.draw_net_to_file(drawn, "net.gv")
    assert (workdir / "net.gv").read_text().startswith("digraph")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NettrainError, match="Graphviz is needed"):
        caffe.draw.draw_net(drawn, "LR")


def test_layers_of_forks_are_written_and_read(workdir):
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 4, 2, 3]})
    n.norm = L.Normalize(n.data, across_spatial=False, scale_filler={"type": "constant", "value": 20})
    n.pool = L.Pooling(n.norm, pool=P.Pooling.MAX, kernel_size=1, ceil_mode=False)
    n.perm = L.Permute(n.pool, order=[0, 2, 3, 1])
    n.boxes = L.PriorBox(n.pool, n.data, min_size=1, variance=[0.1] * 4)
    text = str(n.to_proto())
    assert text_format.Parse(text, pb.NetParameter()) == n.to_proto()
    (workdir / "net.prototxt").write_text(text)
    net = caffe.Net("net.prototxt", caffe.TEST)
    x = np.random.default_rng(0).normal(size=(1, 4, 2, 3)).astype(np.float32)
    wanted = 20 * x / np.sqrt((x**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(net.forward(data=x)["perm"], wanted.transpose(0, 2, 3, 1), rtol=1e-4)
    assert net.blobs["boxes"].data.shape == (1, 2, 24)
    assert pb.PriorBoxParameter.CORNER == P.PriorBox.CORNER
    labels = text_format.Parse('item { name: "n1" label: 1 display_name: "cat" }', pb.LabelMap())
    assert (labels.item[0].label, labels.item[0].display_name) == (1, "cat")


def test_caffe_pb2_has_messages_and_enums_and_nothing_else():
    assert (pb.TRAIN, pb.TEST) == (0, 1)
    assert pb.SolverParameter().base_lr == 0
    assert {"NetParameter", "Datum", "BlobProto"} <= set(dir(pb))
    with pytest.raises(AttributeError, match="caffe_pb2 has no `Nothing`"):
        _ = pb.Nothing
    assert np.all(pb.BlobProto(data=[1, 2]).data == np.array([1, 2]))
