"""Every bundled config as ONNX, on batches of 1 and 3."""

import re
from pathlib import Path

import pytest
from nettrain import Net
from nettrain.interop.onnx_out import export, verify

ROOT = Path(__file__).parents[3]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config(data_sets, config):
    settings = []
    if re.search("resnet20|cifar10", config):
        settings = ["cifar.source=gratings", "cifar.generate={shape: [3, 32, 32], classes: 10}"]
    if "alexnet" in config:
        settings = ["fc6.num_output=256", "fc7.num_output=256"]  # else 56 million weights of the same kind
    net = Net(ROOT / config, phase="TEST", settings=settings)
    for layer in net.layers.values():
        if type(layer).__name__.endswith("BatchNorm"):  # as after training: an untrained one divides by √eps
            for blob, value in zip(layer.blobs[:3], (0, 1, 1), strict=True):
                blob.data.fill(value)
    model = export(net)
    found = verify(model, net)
    assert found.difference < 1e-5
    reads_data = bool(model.serving.sources)
    assert found.batches == ((1, 3) if reads_data else (1,))
    assert bool(model.inputs) == reads_data


def test_the_neural_turing_machine_is_a_scan():
    net = Net(ROOT / "configs/ntm_copy.yaml", phase="TEST")
    proto = export(net).proto
    (scan,) = (node for node in proto.graph.node if node.op_type == "Scan")
    assert scan.name == "ntm"
    (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
    assert {"ntm/controller", "ntm/alike", "ntm/M_next"} <= {node.name for node in body.node}
    assert not [one.name for one in body.initializer if re.search("weight|bias", one.name)]  # they lie outside, once
    assert {"ntm/controller.weight", "ntm/wishes.bias"} <= {one.name for one in proto.graph.initializer}


def test_lenet_reads_as_it_was_written(mnist):
    net = Net(ROOT / "configs/lenet.yaml", phase="TEST")
    model = export(net)
    graph = model.proto.graph
    nodes = [(node.name, node.op_type, list(node.input), list(node.output)) for node in graph.node]
    assert nodes == [
        ("conv1", "Conv", ["data", "conv1.weight", "conv1.bias"], ["conv1"]),
        ("pool1", "MaxPool", ["conv1"], ["pool1"]),
        ("conv2", "Conv", ["pool1", "conv2.weight", "conv2.bias"], ["conv2"]),
        ("pool2", "MaxPool", ["conv2"], ["pool2"]),
        ("ip1/Flatten", "Flatten", ["pool2"], ["ip1/Flatten"]),
        ("ip1", "Gemm", ["ip1/Flatten", "ip1.weight", "ip1.bias"], ["ip1__0"]),
        ("relu1", "Relu", ["ip1__0"], ["ip1"]),
        ("ip2", "Gemm", ["ip1", "ip2.weight", "ip2.bias"], ["ip2"]),
        ("prob", "Softmax", ["ip2"], ["prob"]),
    ]
    assert (model.proto.ir_version, model.proto.opset_import[0].version) == (8, 18)
    assert model.proto.producer_name == "nettrain"
    assert {one.key: one.value for one in model.proto.metadata_props} == {"data.scale": "0.00390625", "classes": "10"}
    assert model.inputs[0].shape == ("N", 1, 28, 28)
    edges = {one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in graph.value_info}
    assert edges["pool1"] == ["N", 20, 12, 12]
    assert edges["ip1/Flatten"][1] == 800
