"""What tests of ONNX's models share: models of a few nodes, and how a net that was read compares with onnxruntime."""

from pathlib import Path

import nettrain
import numpy as np
import onnxruntime
from nettrain.files.arrays import write_npz
from nettrain.interop.onnx_in import read
from onnx import TensorProto, helper, numpy_helper

BATCH = 7  # a size that no other axis has


def model_of(nodes, inputs, arrays=(), outputs=("y",), opset=18, ir=8, kind=TensorProto.FLOAT, end=TensorProto.FLOAT):
    """A model of nodes, inputs {name: shape} and constants {name: array}."""
    made = [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()]
    ends = [helper.make_tensor_value_info(name, end, None) for name in outputs]
    kept = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(arrays).items()]
    graph = helper.make_graph(nodes, "g", made, ends, kept)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=ir)


def one(
    op,
    *arrays,
    shape=("N", 4, 5, 6),
    opset=18,
    outputs=("y",),
    domain="",
    first=False,
    end=TensorProto.FLOAT,
    **attributes,
):
    """A model of one node, whose inputs are x and constants (None: left out)."""
    names = ["" if array is None else f"c{i}" for i, array in enumerate(arrays)]
    inputs = [*names, "x"] if first else ["x", *names]
    node = helper.make_node(op, inputs, list(outputs), name=f"the_{op.lower()}", domain=domain, **attributes)
    kept = {name: array for name, array in zip(names, arrays, strict=True) if name}
    return model_of([node], {"x": list(shape)}, kept, outputs, opset, end=end or TensorProto.FLOAT)


def written(model, name="model.onnx"):
    path = Path(name)
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def net_of(found, batch, phase="TEST"):
    """The net of a model that was read, for so many examples, with its parameters."""
    spec = found.root.to_python()
    for layer in spec["layers"]:
        if layer["type"] == "Input":
            axis = layer["shape"].index(BATCH)
            layer["shape"][axis] = batch
    return fill(nettrain.Net(spec | {"force_backward": phase == "TRAIN"}, phase), found)


def fill(net, found):
    """The net with the parameters of a model that was read, which must be all that it has."""
    if found.arrays:
        write_npz(Path("weights.npz"), found.arrays)
        net.copy_from("weights.npz", "all")
    return net


def inputs_of(path, batch, seed=1, spread=1.0):
    rng = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = {}
    for item in session.get_inputs():
        shape = [batch if isinstance(size, str) or size is None else size for size in item.shape]
        values = rng.standard_normal(shape) * spread
        found[item.name] = rng.integers(0, 5, shape) if "int" in item.type else values.astype(np.float32)
    return session, found


def same_as_onnxruntime(model, tolerance=1e-5, spread=1.0, backward=True, sizes=(1, 3)):
    """Read a model, and compare its net with onnxruntime on batches of several sizes; the last net."""
    path = written(model)
    found = read(path, path.name, batch=BATCH)
    for batch in sizes:
        session, x = inputs_of(path, batch, spread=spread)
        wanted = dict(zip([o.name for o in session.get_outputs()], session.run(None, x), strict=True))
        net = net_of(found, batch)
        net.forward(**{name: np.asarray(array, np.float32) for name, array in x.items()})
        for name, blob in found.outputs.items():
            got = net.blobs[blob].data
            assert got.shape == wanted[name].shape, (got.shape, wanted[name].shape)
            np.testing.assert_allclose(got, wanted[name], rtol=tolerance, atol=tolerance)
    if backward:
        trains(found)
    return found


def trains(found):
    """Backward runs through the net in TRAIN, and each parameter that learns gets a gradient."""
    net = net_of(found, 3, "TRAIN")
    rng = np.random.default_rng(2)
    for name in net.inputs:
        shape = net.blobs[name].shape
        net.blobs[name].data[...] = rng.integers(0, 3, shape) if "Embed" in types(found) else rng.standard_normal(shape)
    net.forward()
    read_on = {name for step in net.steps for name, _ in step.bottom_keys}
    ends = [blob for blob in found.outputs.values() if blob not in read_on]
    net.backward(**{blob: rng.standard_normal(net.blobs[blob].shape) for blob in ends})
    learned = [blob for step in net.steps for blob in step.layer.blobs]
    assert all(np.isfinite(blob.diff).all() for blob in learned)
    for step in net.steps:
        if step.spec.cls.__name__ in ("Convolution", "InnerProduct", "Deconvolution", "LSTM", "GRU", "LayerNorm"):
            assert step.layer.blobs[0].diff.any(), step.spec.name


def types(found):
    return [layer["type"] for layer in found.root.to_python()["layers"]]


def layer(found, kind):
    return next(layer for layer in found.root.to_python()["layers"] if layer["type"] == kind)
