"""Training goes on from what Caffe left: .solverstate, binary and HDF5, with the weights that it names."""

from pathlib import Path

import h5py
import nettrain
import numpy as np
import pytest
from nettrain.interop.caffe import binary, weights
from nettrain.interop.caffe.classes import classes
from nettrain.interop.caffe.solver_state import restore_state, write_state
from nettrain.spec.errors import NettrainError

# All examples in each batch, so that where the data begins does not matter.
SPEC = """
name: points
solver: {{base_lr: 0.1, max_iter: 12, type: {rule}, {extra}}}
layers:
  - name: points
    type: Data
    top: [data, label]
    source: moons
    batch_size: 60
    shuffle: false
    generate: {{examples: 60}}
  - {{name: ip1, type: InnerProduct, bottom: data, num_output: 7}}
  - {{name: norm1, type: BatchNorm, top: ip1}}
  - {{name: relu1, type: ReLU, top: ip1}}
  - {{name: ip2, type: InnerProduct, num_output: 2}}
  - {{name: loss, type: SoftmaxWithLoss, bottom: [ip2, label]}}
"""
RULES = {
    "SGD": "momentum: 0.9, lr_policy: multistep, gamma: 0.5, stepvalue: [3, 8]",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "delta: 1e-6",
    "RMSProp": "rms_decay: 0.9",
    "AdaDelta": "momentum: 0.9, delta: 1e-6",
    "Adam": "momentum: 0.9",
}


def as_caffe(solver, stem):
    """What Caffe would write: a caffemodel and a .solverstate."""
    arrays = {f"param/{name}/{i}": b.data for name, blobs in solver.net.params.items() for i, b in enumerate(blobs)}
    Path(f"{stem}.caffemodel").write_bytes(b"".join(weights.caffemodel(arrays)))
    write_state(solver, Path(f"{stem}.solverstate"), f"{stem}.caffemodel")


def as_hdf5(stem):
    """The same in HDF5, by h5py alone."""
    state = binary.read(Path(f"{stem}.solverstate").read_bytes(), "SolverState", "it")
    net = binary.read(Path(f"{stem}.caffemodel").read_bytes(), "NetParameter", "it")
    with h5py.File(f"{stem}.caffemodel.h5", "w") as file:
        for key, array in weights.parameters(net, "it").items():
            file[key.replace("param", "data")] = np.asarray(array)
    with h5py.File(f"{stem}.solverstate.h5", "w") as file:
        file["iter"] = np.array([state.one("iter")], np.int32)
        file["current_step"] = np.array([state.one("current_step")], np.int32)
        file["learned_net"] = np.bytes_(f"elsewhere/{stem}.caffemodel.h5")
        for i, blob in enumerate(state.many("history")):
            file[f"history/{i}"] = weights.array_of(blob, "it")[0]


def final(command, spec, *options, out="out"):
    command("train", spec, "--out", out, *options)
    with np.load(f"{out}/iter_12.npz") as file:
        return {name: file[name] for name in file if name.startswith("param/")}


@pytest.mark.parametrize("kind", ["solverstate", "solverstate.h5"])
@pytest.mark.parametrize("rule", RULES)
def test_it_ends_where_an_uninterrupted_run_does(nettrain_cli, workdir, rule, kind):
    Path("spec.yaml").write_text(SPEC.format(rule=rule, extra=RULES[rule]))
    solver = nettrain.get_solver("spec.yaml")
    solver.step(5)
    as_caffe(solver, "half")
    if kind.endswith("h5"):
        as_hdf5("half")
        Path("half.solverstate").unlink()
        Path("half.caffemodel").unlink()
    solver.step(7)
    done = nettrain_cli("train", "spec.yaml", "--snapshot", f"half.{kind}", "--out", "out")
    assert f"resumed from half.{kind} at iteration 5" in done.stderr
    with np.load("out/iter_12.npz") as file:
        for name, blobs in solver.net.params.items():
            for i, blob in enumerate(blobs):
                np.testing.assert_allclose(file[f"param/{name}/{i}"], blob.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_a_snapshot_becomes_a_state_from_which_training_goes_on(nettrain_cli, workdir, rule):
    spec = SPEC.format(rule=rule, extra=RULES[rule]).replace("type: BatchNorm", "type: BatchNorm, affine: true")
    spec = spec.replace("num_output: 7", "num_output: 7, bias_term: false")  # its gradient is rounding alone
    Path("spec.yaml").write_text(spec)
    straight = final(nettrain_cli, "spec.yaml")
    nettrain_cli("train", "spec.yaml", "--set", "solver.max_iter=5", "--out", "half")
    done = nettrain_cli("convert", "half/iter_5.npz", "--to", "half.solverstate")
    assert "the place in the data is left out" in done.output
    state = classes()["SolverState"].FromString(Path("half.solverstate").read_bytes())
    assert (state.iter, state.learned_net, len(state.history)) == (
        5,
        "half.caffemodel",
        8 * (2 if rule == "Adam" else 1),
    )
    assert [list(blob.shape.dim) for blob in state.history[:8]] == [[7, 2], [7], [7], [1], [7], [7], [2, 7], [2]]
    nettrain_cli("convert", "spec.yaml", "--to", "net.prototxt")  # in Caffe's words too: BatchNorm and Scale
    for name in ("spec.yaml", "net_solver.prototxt"):
        found = final(nettrain_cli, name, "--resume", "half.solverstate", out=f"of {name}")
        assert len(found) == len(straight)
        for (key, one), other in zip(straight.items(), found.values(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=key)


def test_what_has_no_state_becomes_none(nettrain_cli, workdir):
    Path("spec.yaml").write_text(SPEC.format(rule="AdamW", extra="momentum: 0.9"))
    nettrain.Net("spec.yaml").save("net.npz")
    done = nettrain_cli("convert", "net.npz", "--to", "a.solverstate", exit_code=2)
    assert "net.npz holds weights without the state of a solver" in done.stderr
    nettrain_cli("train", "spec.yaml", "--out", "out")
    done = nettrain_cli("convert", "out/iter_12.npz", "--to", "a.solverstate", exit_code=2)
    assert "Caffe has no solver AdamW" in done.stderr
    assert not Path("a.caffemodel").exists()


def test_weights_in_other_folders_are_not_read(workdir, tmp_path_factory):
    Path("spec.yaml").write_text(SPEC.format(rule="SGD", extra="momentum: 0.9"))
    solver = nettrain.get_solver("spec.yaml")
    solver.step(1)
    as_caffe(solver, "one")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "two.caffemodel"
    Path("one.caffemodel").rename(elsewhere)
    for named in (str(elsewhere), f"../{elsewhere.parent.name}/two.caffemodel"):
        write_state(solver, Path("one.solverstate"), named)
        with pytest.raises(NettrainError, match="nothing is read from outside of its folder and the current one"):
            restore_state(solver, Path("one.solverstate"))
    Path("here").mkdir()
    elsewhere.rename("here/two.caffemodel")
    write_state(solver, Path("one.solverstate"), "here/two.caffemodel")
    restore_state(solver, Path("one.solverstate"))


def test_a_state_needs_a_spec(nettrain_cli, workdir):
    Path("spec.yaml").write_text(SPEC.format(rule="SGD", extra="momentum: 0.9"))
    solver = nettrain.get_solver("spec.yaml")
    solver.step(1)
    as_caffe(solver, "one")
    done = nettrain_cli("train", "--resume", "one.solverstate", exit_code=2)
    assert "is a state of Caffe's, which has no net in it: nettrain train SPEC --resume one.solverstate" in done.stderr


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("rule", "has a history of 7 blobs; this net and its rule need 14: 2 for each of 7 parameters"),
        ("weights", "names the weights one.caffemodel, which are not there, nor beside it"),
        ("net", "history 0 is"),
        ("bytes", "is damaged"),
    ],
)
def test_what_does_not_fit_changes_nothing(workdir, what, words):
    Path("spec.yaml").write_text(SPEC.format(rule="SGD", extra="momentum: 0.9"))
    solver = nettrain.get_solver("spec.yaml")
    solver.step(1)
    as_caffe(solver, "one")
    settings = {"rule": ["solver.type=Adam"], "net": ["ip1.num_output=9"]}.get(what, [])
    if what == "weights":
        Path("one.caffemodel").unlink()
    if what == "bytes":
        raw = Path("one.solverstate").read_bytes()
        Path("one.solverstate").write_bytes(raw[: len(raw) // 2])
    other = nettrain.get_solver("spec.yaml", settings=settings)
    before = other.net.flat.data.copy(), [array.copy() for array in other.updater.history]
    with pytest.raises(NettrainError, match=words):
        restore_state(other, Path("one.solverstate"))
    assert other.iter == 0
    assert np.array_equal(other.net.flat.data, before[0])
    assert all(map(np.array_equal, other.updater.history, before[1]))
