"""A wrong argument from a program is reported in one sentence, by an error of nettrain's own."""

import nettrain
import numpy as np
import pytest
from nettrain import NettrainError
from nettrain.net import arguments

NET = {
    "layers": [
        {"name": "x", "type": "Input", "shape": [2, 3]},
        {"name": "ip", "type": "InnerProduct", "num_output": 3},
    ]
}
SOLVED = {
    "solver": {"base_lr": 0.1, "max_iter": 2},
    "layers": [
        {"name": "d", "type": "Data", "top": ["data", "label"], "source": "spiral", "batch_size": 3},
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
    ],
}
RAGGED = [[1, 2], [3]]


def solver(**options):
    return nettrain.get_solver(SOLVED, **{"out": "run"} | options)


def net(**options):
    return nettrain.Net(NET, **options)


WRONG = {
    "settings must be a list of strings, got 5 (int)": lambda: solver(settings=5),
    "settings must be a list of strings, got [5] (list)": lambda: solver(settings=[5]),
    "settings must be a list of strings, got {'solver.base_lr': 1} (dict)": lambda: net(settings={"solver.base_lr": 1}),
    "weights must be a list of paths, got 5 (int)": lambda: solver(weights=5),
    "stages must be a list of strings, got 5 (int)": lambda: solver(stages=5),
    "stages must be a list of strings, got b'x' (bytes)": lambda: net(stages=b"x"),
    "freeze must be a list of strings, got 5 (int)": lambda: net(freeze=5),
    "level must be an integer, got 'a' (str)": lambda: solver(level="a"),
    "level must be an integer, got 1.5 (float)": lambda: net(level=1.5),
    "out must be a path, got 5 (int)": lambda: solver(out=5),
    "dtype must be float32 or float64, got 'float16' (str)": lambda: solver(dtype="float16"),
    "dtype must be float32 or float64, got 'foo' (str)": lambda: net(dtype="foo"),
    "dtype must be float32 or float64, got None (NoneType)": lambda: net(dtype=None),
    "on_row must be a function, got 5 (int)": lambda: solver(on_row=5),
    "a spec is a path, YAML text, a mapping or a loaded NetSpec, got int": lambda: nettrain.Net(5),
    "a spec is a path, YAML text, a mapping or a loaded NetSpec, got NoneType": lambda: nettrain.get_solver(None),
    "a spec is a path, YAML text, a mapping or a loaded NetSpec, got list": lambda: nettrain.Net([NET]),
    "a spec is a path, YAML text, a mapping or a loaded NetSpec, got bytes": lambda: nettrain.Net(b"layers: []\n"),
    "seed must be an integer >= 0, got -1 (int)": lambda: net(seed=-1),
    "seed must be an integer, got 1.5 (float)": lambda: net(seed=1.5),
    "share_with must be a Net, got int": lambda: net(share_with=5),
    "parameters can be shared only with another Net, got str": lambda: net().share_with("a"),
    "the weights must be a path, got 5 (int)": lambda: net(weights=5),
    "the weights must be a path, got None (NoneType)": lambda: net().copy_from(None),
    "strict must be one of none, shapes, all, got 'foo'": lambda: net().copy_from("w.npz", strict="foo"),
    "`x` must be an array of numbers, got None (NoneType)": lambda: net().forward(x=None),
    "`x` must be an array of numbers, got 'abc' (str)": lambda: net().forward(x="abc"),
    "`x` must be an array of numbers, got {} (dict)": lambda: net().forward(x={}),
    "`x` must be an array of numbers, got array([1.+0.j, 1.+0.j])": lambda: net().forward(x=np.ones(2) * (1 + 0j)),
    "`x` must be an array: its rows have different lengths": lambda: net().forward(x=RAGGED),
    "the diff of `ip` must be an array of numbers, got None (NoneType)": lambda: net().backward(ip=None),
    "the net has no blob `y`": lambda: net().forward(blobs="y"),
    "blobs must be a list of strings, got 5 (int)": lambda: net().forward(blobs=5),
    "path must be a path, got None (NoneType)": lambda: net().save(None),
    "path is empty; it must be a path": lambda: net().save(""),
    "cannot write no/such/w.npz: No such file or directory": lambda: net().save("no/such/w.npz"),
    "cannot write .: ": lambda: net().save("."),
    "iterations must be an integer, got 'a' (str)": lambda: solver().step("a"),
    "iterations must be an integer, got None (NoneType)": lambda: solver().step(None),
    "the snapshot must be a path, got 5 (int)": lambda: solver().restore(5),
    "the run must be a path, got None (NoneType)": lambda: solver().resume(None),
}


@pytest.mark.parametrize("words", WRONG)
def test_one_sentence(workdir, words):
    with pytest.raises(NettrainError) as error:
        WRONG[words]()
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)


def test_one_string_is_a_list_of_one(workdir):
    assert solver(settings="solver.base_lr=0.5").p.base_lr == 0.5
    assert solver(stages="deploy").stages == ("deploy",)
    frozen = nettrain.Net(SOLVED, "TRAIN", freeze="ip")
    assert [step.frozen for step in frozen.steps] == [False, True, False]
    frozen.save("w.npz")
    assert solver(weights="w.npz").load_reports[0].loaded == ["ip"]
    assert set(net().forward(x=np.ones((2, 3)), blobs="x")) == {"ip", "x"}


@pytest.mark.parametrize("name", ["w.npz", "w.part", "w", ".part"])
def test_weights_may_be_called_anything(workdir, name):
    one = net()
    one.save(name)
    other = net(seed=5, weights=name)
    np.testing.assert_array_equal(one.params["ip"][0].data, other.params["ip"][0].data)


@pytest.mark.parametrize(
    "values", [[[1, 2, 3]] * 2, np.ones((2, 3), "i8"), np.ones((2, 3), bool), np.ones((2, 3), "f2")]
)
def test_numbers_of_any_kind_are_taken(values):
    assert net().forward(x=values)["ip"].dtype == np.float32


def test_a_mapping_may_hold_numpys_numbers_and_arrays():
    layers = [{"name": "x", "type": "Input", "shape": np.array([2, 3])}]
    layers.append({"name": "ip", "type": "InnerProduct", "num_output": np.int64(3)})
    assert nettrain.Net({"layers": layers}).forward(x=np.ones((2, 3)))["ip"].shape == (2, 3)


class Secret:
    def __repr__(self):
        raise ValueError("nobody may see it")


def test_what_cannot_be_shown_is_refused_in_words_too():
    with pytest.raises(NettrainError, match=r"seed must be an integer.*, got one that cannot be shown \(Secret\)"):
        nettrain.Net("configs/mlp.yaml", seed=Secret())


@pytest.mark.parametrize("dtype", [{"names": ["a"]}, "f4,", object()])
def test_a_dtype_that_numpy_refuses(dtype):
    with pytest.raises(NettrainError, match="dtype must be float32 or float64"):
        nettrain.Net("configs/mlp.yaml", dtype=dtype)


def test_a_number_beyond_float32_is_an_infinity():
    assert arguments.numbers([1e300, 1], np.dtype("f4"), "x").tolist() == [np.inf, 1]
