"""Layers over oneDNN: the formulas' numbers, the same bits on any number of threads, and what happens without it."""

import importlib
import os
import pkgutil
import subprocess
import sys

import nettrain
import numpy as np
import pytest
from helpers import layer, layer_net
from nettrain.compute import parallel
from nettrain.compute.onednn.library import library
from nettrain.engines import onednn
from nettrain.net.registry import types

TYPES = [
    found
    for module in pkgutil.iter_modules(onednn.__path__)
    for name, found in vars(importlib.import_module(f"{onednn.__name__}.{module.name}")).items()
    if name.startswith("OneDNN") and found.__module__.endswith(module.name) and name != "OneDNNLayer"
]
NAMES = [cls.__name__.removeprefix("OneDNN") for cls in TYPES]
EXAMPLES = [(name, i) for name in NAMES for i in range(len(types()[name].examples))]


def both(kind, *shapes, values=(), seed=0, phase="TRAIN", prepare=None, channels_last=False, **params):
    """What the formulas and oneDNN make of the same: tops, gradients of bottoms and of parameters, by engine."""
    found = {}
    for engine in ("numpy", "onednn"):
        rng = np.random.default_rng(seed)
        net = layer_net(
            kind, *shapes, dtype="float32", phase=phase, channels_last=channels_last, engine=engine, **params
        )
        step = net.steps[-1]
        if prepare:
            prepare(step.layer)
        given = [values[i](rng, s) if i in values else rng.standard_normal(s) for i, s in enumerate(shapes)]
        for i, one in enumerate(given):
            net.blobs[f"x{i}"].data[...] = one
        for blob in step.layer.blobs if not prepare else ():
            blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
        diffs = [rng.standard_normal(blob.shape) for blob in step.layer.blobs]  # which are added to
        upstream = [rng.standard_normal(blob.shape) for blob in step.top]
        made = []
        for _ in range(2):  # the second time with the calls that were prepared
            net.run_forward()
            for blob, start in zip((*step.top, *step.layer.blobs), (*upstream, *diffs), strict=True):
                blob.diff[...] = start
            net.run_backward(len(net.steps) - 1)
            made += [blob.data.copy() for blob in step.top]
            made += [blob.diff.copy() for blob in (*step.bottom, *step.layer.blobs)]
        found[engine] = step.layer, made
    return found


def close(found, tolerance=1e-5):
    for mine, theirs in zip(found["onednn"][1], found["numpy"][1], strict=True):
        scale = max(1.0, float(np.abs(theirs).max(initial=0)))
        np.testing.assert_allclose(mine / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_every_example_equals_the_formulas(name, number, channels_last):
    example = types()[name].examples[number]
    last = channels_last and name not in ("InnerProduct",) and any(len(shape) > 2 for shape in example.bottoms)
    tops = [f"y{i}" for i in range(example.tops)] if example.tops else None
    params = dict(example.params) | ({"top": tops} if tops else {})
    found = both(
        name,
        *example.bottoms,
        values=example.values,
        phase=example.phase,
        prepare=example.prepare,
        channels_last=last,
        **params,
    )
    assert found["onednn"][0].engine == "onednn"
    assert found["numpy"][0].computed_by == "numpy"
    close(found)


CASES = [
    ("Convolution", [(5, 3, 19, 17)], {"num_output": 8, "kernel_size": 3, "pad": 1}),
    ("Convolution", [(8, 16, 12, 12)], {"num_output": 24, "kernel_size": 5, "pad": 2, "group": 4}),
    ("Convolution", [(8, 32, 14, 14)], {"num_output": 32, "kernel_size": 3, "pad": 1, "group": 32, "stride": 2}),
    ("Convolution", [(9, 16, 30)], {"num_output": 16, "kernel_size": 3, "dilation": 2, "bias_term": False}),
    ("Convolution", [(2, 4, 6, 7, 8)], {"num_output": 5, "kernel_size": [3, 2, 1], "pad": [1, 0, 0]}),
    ("Convolution", [(1, 1, 28, 28)], {"num_output": 20, "kernel_size": 5}),
    ("Convolution", [(3, 8, 7, 7)], {"num_output": 4, "kernel_size": 3, "pad": 9}),
    ("InnerProduct", [(64, 300)], {"num_output": 200}),
    ("InnerProduct", [(256, 784)], {"num_output": 512, "transpose": True}),
    ("InnerProduct", [(1, 9)], {"num_output": 1, "bias_term": False}),
    ("Pooling", [(9, 16, 13, 11)], {"kernel_size": 3, "stride": 2}),
    ("Pooling", [(9, 16, 13, 11)], {"kernel_size": 3, "stride": 2, "pad": 1, "round_mode": "FLOOR"}),
    ("Pooling", [(4, 32, 9, 9)], {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1}),
    ("Pooling", [(4, 32, 8, 8)], {"pool": "AVE", "kernel_size": 3, "stride": 2}),
    ("Pooling", [(4, 64, 7, 7)], {"pool": "AVE", "global_pooling": True}),
    ("Pooling", [(9, 16, 13, 11)], {"kernel_size": 3, "stride": 2, "pad_t": 2, "pad_r": 1}),
    ("Pooling", [(4, 32, 9, 9)], {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad_b": 2, "pad_l": 1, "pad_r": 1}),
    ("Pooling", [(4, 32, 8, 8)], {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1, "count_include_pad": False}),
    ("Scale", [(16, 16, 31, 33)], {"bias_term": True}),
    ("Scale", [(700, 300)], {}),
    ("ReLU", [(16, 16, 31, 33)], {}),
    ("ReLU", [(9, 50, 11)], {"negative_slope": 0.1}),
    ("BatchNorm", [(16, 16, 32, 32)], {}),
    ("BatchNorm", [(16, 16, 31, 33)], {"affine": True}),
    ("BatchNorm", [(700, 300)], {"affine": True}),
    ("BatchNorm", [(6, 512, 3, 3)], {"use_global_stats": True}),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("name", "shapes", "params"), CASES, ids=str)
def test_larger_cases_equal_the_formulas(name, shapes, params, channels_last):
    found = both(name, *shapes, channels_last=channels_last and len(shapes[0]) > 2, **params)
    close(found, 3e-5)  # of the largest value, after sums of thousands


@pytest.mark.parametrize(
    ("name", "shapes", "params", "covered"),
    [
        ("Convolution", [(2, 4, 6, 6)], {"num_output": 4, "kernel_size": 3}, True),
        ("Convolution", [(2, 3, 4, 6, 6)], {"num_output": 4, "kernel_size": 3, "axis": 2}, False),
        ("Pooling", [(2, 4, 6, 6)], {"pool": "STOCHASTIC", "kernel_size": 2}, False),
        ("Pooling", [(2, 4, 6, 6)], {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1}, False),
        ("Pooling", [(2, 4, 6, 6)], {"kernel_size": 2, "top": ["y", "where"]}, False),
        ("Pooling", [(2, 4, 6, 6)], {"pool": "AVE", "kernel_size": 3, "pad_b": 2}, True),
        ("Pooling", [(2, 4, 7, 7)], {"pool": "AVE", "kernel_size": 3, "stride": 3, "pad_r": 1}, False),
        (
            "Pooling",
            [(2, 4, 6, 6)],
            {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1, "count_include_pad": False},
            True,
        ),
        ("BatchNorm", [(2, 4, 6, 6)], {}, False),  # its channels do not lie last
    ],
)
def test_what_is_not_covered_is_computed_by_the_formulas(name, shapes, params, covered):
    values = {0: lambda rng, shape: rng.uniform(0.5, 2, shape)}
    found = both(name, *shapes, values=values, **params)
    one = found["onednn"][0]
    assert (one.computed_by == "onednn") == covered == (one.uncovered == "")
    close(found)


NET = [
    layer(
        "data", "DummyData", top=["data", "label"], shape=[[12, 3, 16, 16], [12]], data_filler=[{"type": "gaussian"}, 0]
    ),
    layer("conv1", "Convolution", "data", num_output=16, kernel_size=3, pad=1),
    layer("bn1", "BatchNorm", affine=True),
    layer("relu1", "ReLU"),
    layer("pool1", "Pooling", kernel_size=3, stride=2),
    layer("conv2", "Convolution", num_output=16, kernel_size=3, pad=1, group=16),
    layer("bn2", "BatchNorm"),
    layer("pool2", "Pooling", pool="AVE", global_pooling=True),
    layer("ip", "InnerProduct", num_output=10),
    layer("loss", "SoftmaxWithLoss", ["ip", "label"]),
]


def trained(threads, engine="onednn", out="run", iterations=4):
    before = parallel.threads()
    parallel.use_threads(threads)
    try:
        keys = {"base_lr": 0.05, "max_iter": iterations, "engine": engine}
        solver = nettrain.get_solver({"name": "net", "solver": keys, "layers": NET}, out=out)
        solver.solve()
        return solver
    finally:
        parallel.use_threads(before)


def test_the_bits_do_not_depend_on_the_number_of_threads(workdir):
    found = {threads: trained(threads, out=f"run{threads}") for threads in (1, 2, 3, 5)}
    assert {one.net.computed_by for one in found.values()} == {"onednn"}
    assert len({one.net.flat.data.tobytes() for one in found.values()}) == 1


def test_training_is_that_of_the_formulas(workdir):
    mine, theirs = trained(2, out="a"), trained(2, "numpy", out="b")
    assert mine.losses[-1] == pytest.approx(theirs.losses[-1], rel=1e-4)
    np.testing.assert_allclose(mine.net.flat.data, theirs.net.flat.data, rtol=0, atol=1e-4)


def test_a_run_goes_on_to_the_same_bits_and_another_engine_is_said(workdir, nettrain_cli):
    whole = trained(2, out="whole", iterations=6)
    first = trained(2, out="part", iterations=3)
    assert first.net.computed_by == "onednn"
    second = nettrain.get_solver(whole.spec, out="part2", weights=None)
    second.restore("part/iter_3.npz")
    second.solve()
    assert second.net.flat.data.tobytes() == whole.net.flat.data.tobytes()
    said = nettrain_cli("train", "--resume", "part", "--engine", "numpy", "--set", "solver.max_iter=4").stderr
    assert "note: the layers are computed by numpy, before the snapshot by onednn: the last digits will differ" in said


def test_what_openmp_was_told_before_holds_after_the_work(workdir):
    ask, tell = library().openmp
    before = ask()
    try:
        tell(3)
        trained(1, iterations=1)
        assert ask() == 3
    finally:
        tell(before)


# Which engine


def classes(**keys):
    net = nettrain.Net({"layers": [layer("data", "Input", shape=[4, 8, 6, 6]), *NET[1:3]]}, **keys)
    return [one.computed_by for one in net.layers.values()]


def test_who_says_which_engine(monkeypatch):
    monkeypatch.delenv("NETTRAIN_ENGINE", raising=False)
    assert classes() == classes(engine="onednn") == ["numpy", "onednn", "onednn"]
    assert classes(engine="numpy") == classes(dtype="float64") == ["numpy"] * 3
    monkeypatch.setenv("NETTRAIN_ENGINE", "numpy")
    assert classes() == ["numpy"] * 3
    assert classes(engine="onednn") == ["numpy", "onednn", "onednn"]
    monkeypatch.setenv("NETTRAIN_ENGINE", "cuda")
    with pytest.raises(nettrain.NettrainError, match="NETTRAIN_ENGINE must be one of auto, numpy, onednn, got 'cuda'"):
        classes()
    monkeypatch.delenv("NETTRAIN_ENGINE")
    with pytest.raises(nettrain.NettrainError, match="the engine must be one of auto, numpy, onednn, got 'gpu'"):
        classes(engine="gpu")


@pytest.mark.parametrize(
    ("word", "by"), [("CAFFE", "numpy"), ("numpy", "numpy"), ("DEFAULT", "onednn"), ("CUDNN", "onednn")]
)
def test_a_layer_has_an_engine_of_its_own(word, by):
    layers = [layer("x", "Input", shape=[4, 8]), layer("ip", "InnerProduct", num_output=3, engine=word)]
    assert nettrain.Net({"layers": layers}, engine="onednn").layers["ip"].computed_by == by


def run(code, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables, timeout=120
    )
    return done.stdout + done.stderr


ONE = "import nettrain; n = nettrain.Net({'layers': [{'name': 'x', 'type': 'Input', 'shape': [2, 3]}, \
{'name': 'ip', 'type': 'InnerProduct', 'num_output': 2}]}, engine='%s'); print(n.computed_by)"


def test_without_the_library_auto_takes_numpy_and_onednn_says_how_to_get_it(tmp_path):
    (tmp_path / "libdnnl.so.3").write_bytes(b"nothing")
    missing = {"NETTRAIN_ONEDNN": str(tmp_path / "libdnnl.so.3"), "NETTRAIN_ENGINE": "auto"}
    assert run(ONE % "auto", **missing).split() == ["numpy"]
    words = run(ONE % "onednn", **missing)
    assert "oneDNN cannot be loaded: " in words
    assert "to install it: pip install 'nettrain[onednn]'" in words


def test_a_layer_that_asks_for_it_is_shown_where_it_is_written(tmp_path):
    code = (
        "import nettrain; nettrain.Net('layers:\\n- {name: x, type: Input, shape: [2, 3]}\\n"
        "- {name: ip, type: InnerProduct, num_output: 2, engine: onednn}')"
    )
    words = run(code, NETTRAIN_ONEDNN=str(tmp_path / "none"), NETTRAIN_ENGINE="numpy")
    assert "spec:3:57: InnerProduct `ip`: oneDNN cannot be loaded: " in words


def test_another_library_is_refused():
    import ctypes.util

    other = ctypes.util.find_library("m")
    words = run(ONE % "onednn", NETTRAIN_ONEDNN=other, NETTRAIN_ENGINE="auto")
    assert "cannot be loaded" in words or "is not oneDNN" in words


def test_the_library_is_loaded_when_a_net_is_made():
    code = "import sys, nettrain.net.net, nettrain.solver.solver; print('nettrain.compute.onednn' in sys.modules)"
    assert run(code).split() == ["False"]


def test_env_and_time_say_which(nettrain_cli, workdir):
    assert f"oneDNN     {library().version}, " in nettrain_cli("env").stdout
    with open("net.yaml", "w", encoding="utf-8") as file:
        file.write(
            "layers:\n- {name: x, type: Input, shape: [2, 4, 6, 6]}\n"
            "- {name: c, type: Convolution, num_output: 3, kernel_size: 3}\n"
            "- {name: p, type: Pooling, pool: AVE, kernel_size: 3, stride: 2, pad: 1}\n"
        )
    out = nettrain_cli("time", "net.yaml", "--iterations", "1", "--engine", "onednn", "--phase", "test").stdout
    assert [line.split()[2] for line in out.splitlines() if line.split()[:1] in (["c"], ["p"])] == ["onednn", "numpy"]
    assert "numpy computes p: AVE with a pad and a window over the end" in out
