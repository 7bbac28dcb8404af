"""A run's folder: what is in it, what it stands for, the list of runs, two of them compared, folds."""

import json
import os
import re
import shutil
from pathlib import Path

import nettrain
import numpy as np
import pytest
import yaml
from nettrain import NettrainError
from nettrain.net.netspec import load
from nettrain.solver.lock import take
from nettrain.solver.snapshot import read_snapshot
from nettrain.spec.differences import differences

SOLVER = {"base_lr": 0.1, "max_iter": 6, "test_interval": 3, "random_seed": 5}
LAYERS = [
    {"name": "the data", "type": "Data", "top": ["data", "label"], "source": "all.npz", "batch_size": 8},
    {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
    {"name": "accuracy", "type": "Accuracy", "bottom": ["ip", "label"], "include": "test"},
    {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
]


@pytest.fixture(autouse=True)
def _project(workdir):
    """A spec and its data in a folder of their own."""
    rng = np.random.default_rng(0)
    labels = np.arange(41) % 3
    data = rng.standard_normal((41, 4)).astype(np.float32) + labels[:, None]
    Path("my project").mkdir()
    np.savez("my project/all.npz", data=data, label=labels)
    write("my project/net.yaml")


def write(path, **keys):
    Path(path).write_text(yaml.safe_dump({"name": "n", "solver": SOLVER | keys, "layers": LAYERS}))


SPEC = "my project/net.yaml"


def of_rows(run):
    return [json.loads(line) | {"it_per_s": 0} for line in Path(run, "metrics.jsonl").read_text().splitlines()]


def same(one, other):
    """Whether two specs are one net and solver; what leaving out says too may be left out."""
    nets = [[nettrain.Net(spec, phase) for phase in ("TRAIN", "TEST")] for spec in (one, other)]
    steps = [
        [(s.spec.name, s.bottom_keys, s.top_keys, s.spec.parameters) for n in two for s in n.steps] for two in nets
    ]
    return steps[0] == steps[1] and one.solver.to_python() == other.solver.to_python()


# The folder


def test_the_spec_in_a_run_is_what_was_trained_and_is_trained_again(nettrain_cli):
    settings = ["solver.base_lr=0.05", "the data.batch_size=5", "ip.weight_filler={type: gaussian, std: 0.1}"]
    nettrain_cli("train", SPEC, *(word for one in settings for word in ("--set", one)))
    text = Path("runs/n/001/spec.yaml").read_text()
    assert "--set 'the data.batch_size=5'" in text
    assert f"nettrain {nettrain.__version__}" in text
    assert f"numpy {np.__version__}" in text
    assert "# seed 5\n" in text
    assert same(load("runs/n/001/spec.yaml"), load(SPEC, settings))
    nettrain_cli("train", "runs/n/001/spec.yaml")
    assert of_rows("runs/n/002") == of_rows("runs/n/001")
    os.rename("runs", "my project/elsewhere")  # the data is no longer where the copy says
    assert "data file not found" in nettrain_cli("check", "my project/elsewhere/n/001/spec.yaml", exit_code=2).stderr
    os.mkdir("moved")
    os.rename("my project", "moved/my project")
    os.rename("moved/my project/elsewhere", "moved/runs")  # all of it together
    nettrain_cli("check", "moved/runs/n/001/spec.yaml")


def test_the_copy_of_a_spec_keeps_blocks_and_a_folder_that_was_named(nettrain_cli):
    block = {"layers": [{"name": "a", "type": "InnerProduct", "num_output": "$wide"}], "parameters": {"wide": None}}
    layers = [LAYERS[0], {"name": "use", "type": "dense", "wide": 3}, *LAYERS[2:]]
    layers[2:] = [one | {"bottom": ["use", "label"]} for one in layers[2:]]
    spec = {"name": "b", "folder": "my project", "solver": SOLVER, "blocks": {"dense": block}, "layers": layers}
    Path("b.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    nettrain_cli("train", "b.yaml", "--set", "use.wide=4")
    assert same(load("runs/b/001/spec.yaml"), load("b.yaml", ["use.wide=4"]))
    assert "wide: 4" in Path("runs/b/001/spec.yaml").read_text()
    nettrain_cli("check", "runs/b/001/spec.yaml")


def test_a_resume_is_in_the_record_and_in_the_spec(nettrain_cli):
    nettrain_cli("train", SPEC)
    nettrain_cli("train", "--resume", "runs/n/001", "--set", "solver.max_iter=9")
    record = json.loads(Path("runs/n/001/run.json").read_text())
    assert [one["iteration"] for one in record["began"]] == [0, 6]
    assert (record["file"], record["ended"]["how"], record["ended"]["iteration"]) == (SPEC, "finished", 9)
    assert load("runs/n/001/spec.yaml").to_python()["solver"]["max_iter"] == 9
    nettrain_cli("train", "--resume", "runs/n/001/iter_6.npz", "--out", "other")
    other = json.loads(Path("other/run.json").read_text())
    assert (other["file"], [one["from"] for one in other["began"]]) == (SPEC, ["runs/n/001/iter_6.npz"])


def test_a_file_that_is_not_the_runs_is_never_written_over(nettrain_cli):
    before = Path(SPEC).read_bytes()
    os.rename(SPEC, "my project/spec.yaml")
    result = nettrain_cli("train", "my project/spec.yaml", "--out", "my project")
    assert Path("my project/spec.yaml").read_bytes() == before
    assert "my project/spec.yaml is not nettrain's and stays as it is" in result.stderr
    assert not Path("my project/run.json").exists()
    shutil.copy("my project/spec.yaml", "snaps_spec.yaml")
    nettrain_cli("train", "my project/spec.yaml", "--set", "solver.snapshot_prefix=snaps")
    assert Path("snaps_spec.yaml").read_bytes() == before


def test_a_run_that_came_to_nothing_leaves_nothing(workdir):
    def fails(solver):
        raise RuntimeError("no")

    solver = nettrain.get_solver(SPEC, settings=["solver.test_interval=0"])
    solver.gradient = lambda: fails(solver)
    with pytest.raises(RuntimeError):
        solver.solve()
    assert not Path("runs").exists()


# In place of a spec and of weights


@pytest.fixture
def run(nettrain_cli):
    """A run whose best weights are not its newest, and whose spec has gone."""
    nettrain_cli("train", SPEC, "--set", "ip.num_output=4", "--set", "solver.base_lr=100", "--out", "my run")
    os.remove(SPEC)
    return "my run"


@pytest.mark.parametrize("command", ["test", "summary", "explain", "check", "gradcheck", "plot", "test --weights"])
def test_every_command_takes_a_run(nettrain_cli, run, command):
    name, *options = command.split()
    if "--weights" in options:
        options += [run]
    nettrain_cli(name, run, *options)


def test_a_run_brings_its_best_weights_and_what_it_found(nettrain_cli, run):
    best = read_snapshot(Path(run, "best.npz"))
    net = nettrain.Net(run, "TEST")
    assert np.array_equal(net.params["ip"][0].data, best.params["param/ip/0"])
    shown = json.loads(nettrain_cli("explain", run, "--phase", "test", "--json").stdout)
    assert "ip" in json.dumps(shown)
    other = nettrain.Net(run, "TEST", weights=f"{run}/iter_6.npz")
    assert not np.array_equal(other.params["ip"][0].data, net.params["ip"][0].data)
    fresh = nettrain.Net(f"{run}/spec.yaml", "TEST")
    assert fresh.copy_from(run).origin == f"{run}/best.npz"
    assert np.array_equal(fresh.params["ip"][0].data, net.params["ip"][0].data)


@pytest.mark.parametrize("how", [["--weights"], ["--set", "solver.weights="]])
def test_weights_of_a_run(nettrain_cli, run, how):
    given = [*how[:-1], how[-1] + run] if "=" in how[-1] else [*how, run]
    printed = nettrain_cli("train", f"{run}/spec.yaml", *given, "--out", "tuned").stdout
    first, scores = of_rows("tuned")[0]["test"], json.loads(nettrain_cli("test", run, "--json").stdout)["scores"]
    assert first == pytest.approx(scores)
    assert "n · " in printed


def test_damaged_best_weights_are_not_quietly_replaced(nettrain_cli, run):
    Path(run, "best.npz").write_bytes(b"PK")
    errors = nettrain_cli("train", f"{run}/spec.yaml", "--weights", run, "--out", "tuned", exit_code=2).stderr
    assert "best.npz is damaged" in errors
    assert "to take these weights instead: 'my run/iter_6.npz'" in errors
    assert "best.npz is damaged" in nettrain_cli("summary", run).stderr  # where any will do it is said


@pytest.mark.parametrize("source", ["my run", "my run/best.npz"])
def test_convert_takes_a_run(nettrain_cli, run, source):
    nettrain_cli("convert", source, "--to", "x.yaml")
    spec = load("x.yaml").to_python()
    assert spec["layers"][1]["num_output"] == 4
    with np.load("x.npz") as arrays, np.load("my run/best.npz") as best:
        assert np.array_equal(arrays["param/ip/0"], best["param/ip/0"])
    nettrain_cli("convert", source, "--to", "z.npz")
    nettrain_cli("convert", source, "--to", "y.py", "--inference")


def test_runs_that_share_a_folder_by_their_prefix(nettrain_cli):
    for name in ("a", "b"):
        nettrain_cli("train", SPEC, "--set", f"solver.snapshot_prefix=snaps/{name}", "--set", "ip.num_output=5")
    for command in ("test", "summary", "plot"):
        nettrain_cli(command, "snaps/a")
    found = json.loads(nettrain_cli("runs", "snaps", "--json").stdout)["runs"]
    assert [one["run"] for one in found] == ["snaps/a", "snaps/b"]
    assert found[0]["bytes"] == sum(path.stat().st_size for path in Path("snaps").glob("a_*"))


# The list


def listed(nettrain_cli, *names):
    return {one["run"]: one for one in json.loads(nettrain_cli("runs", *names, "--json").stdout)["runs"]}


def test_the_list_says_what_was_done_and_how_it_ended(nettrain_cli):
    nettrain_cli("train", SPEC, "--set", "solver.base_lr=0.2", "--set", "solver.base_lr=0.3")
    nettrain_cli("train", SPEC, "--set", "solver.base_lr=1e38", exit_code=3)
    stopped = nettrain.get_solver(SPEC, on_step=lambda solver: setattr(solver, "request", "stop"))
    stopped.solve()
    shutil.copytree("runs/n/001", "runs/n/killed")
    record = json.loads(Path("runs/n/killed/run.json").read_text()) | {"ended": None}
    Path("runs/n/killed/run.json").write_text(json.dumps(record))
    shutil.copytree("runs/n/001", "runs/n/old")
    Path("runs/n/old/run.json").unlink()
    odd = {"cut": "{", "list": "[]", "odd": json.dumps(record | {"began": [{}], "monitor": 3})}
    odd["empty"] = json.dumps(record | {"began": []})
    for name, text in odd.items():
        shutil.copytree("runs/n/001", f"runs/n/{name}")
        Path(f"runs/n/{name}/run.json").write_text(text)
    found = listed(nettrain_cli)
    states = {Path(name).name: one["state"] for name, one in found.items()}
    assert states == {
        "001": "finished",
        "002": "failed",
        "003": "interrupted",
        "killed": "interrupted",
        "old": "unknown",
        "cut": "damaged",
        "list": "damaged",
        "odd": "damaged",
        "empty": "damaged",
    }
    assert "the same" in nettrain_cli("runs", "runs/n/odd", "runs/n/empty").stdout  # by their snapshots
    first, killed = found["runs/n/001"], found["runs/n/killed"]
    assert (first["spec"], first["settings"], first["iteration"]) == (SPEC, ["solver.base_lr=0.3"], 6)
    best = read_snapshot(Path("runs/n/001/best.npz")).state["monitor"]["best"]
    assert [first["score"], first["at"]] == best
    assert [killed["score"], killed["at"]] == pytest.approx(best)  # from the rows
    assert found["runs/n/003"]["iteration"] == 1
    text = nettrain_cli("runs").stdout
    assert "failed: training diverged" in text
    assert "1 of 6" in text
    assert "no runs in my project" in nettrain_cli("runs", "my project", exit_code=2).stderr


def test_a_run_is_running_while_another_process_has_its_lock(nettrain_cli):
    nettrain_cli("train", SPEC)
    held = take(Path("runs/n/001/.lock"), "it")
    mine = json.loads(Path("runs/n/001/.lock").read_text())
    Path("runs/n/001/.lock").write_text(json.dumps(mine | {"pid": os.getppid()}))
    assert listed(nettrain_cli)["runs/n/001"]["state"] == "running"
    del held


def test_two_runs_compared(nettrain_cli):
    nettrain_cli("train", SPEC)
    other = ["ip.num_output=7", "the data.split=0.5", "solver.random_seed=6"]
    nettrain_cli("train", SPEC, *(word for one in other for word in ("--set", one)))
    Path("runs/n/001/run.json").unlink()  # as of an older nettrain
    found = json.loads(nettrain_cli("runs", "runs/n/001", "runs/n/002/", "--json").stdout)
    spec = {one["key"]: one["values"] for one in found["spec"]}
    assert spec == {
        "solver.random_seed": [5, 6],
        "layer.ip.num_output": [3, 7],
        "layer.the data.split": [None, 0.5],
    }
    data = {one["key"]: one["values"] for one in found["data"]}
    assert data["training.the data.examples"] == [32, 20]
    scores = {one["key"]: one["values"] for one in found["scores"]}
    assert scores["last test loss"] == [of_rows(f"runs/n/00{i}")[-1]["test"]["loss"] for i in (1, 2)]
    assert {one["key"]: one["values"] for one in found["versions"]}["seed"] == [5, 6]
    assert "layer.ip.num_output" in nettrain_cli("runs", "runs/n/001", "runs/n/002").stdout


def test_a_score_is_shown_alike_wherever_it_is_shown(nettrain_cli):
    """An accuracy that is a percentage in the lines of training is one everywhere, whatever it is called."""
    spec = Path(SPEC).read_text().replace("name: accuracy", "name: right")
    Path(SPEC).write_text(spec)
    said = nettrain_cli("train", SPEC, "--set", "solver.patience=1", "--set", "solver.max_iter=60").stdout
    score, at = listed(nettrain_cli)["runs/n/001"]["score"], listed(nettrain_cli)["runs/n/001"]["at"]
    shown = f"{score:.2%}"
    assert f"best right {shown} at {at}" in said
    assert f"no better right than {shown} (iteration {at})" in said
    assert f"right {shown} at {at}" in nettrain_cli("runs").stdout
    assert f"right {shown}" in re.sub(" +", " ", nettrain_cli("test", "runs/n/001").stdout)
    nettrain_cli("train", SPEC)
    assert f"best right {shown}" in re.sub(" +", " ", nettrain_cli("runs", "runs/n/001", "runs/n/002").stdout)
    nettrain_cli("plot", "runs/n/001", "--metric", "right")
    assert re.search(r">[0-9.]+%<", Path("curves.svg").read_text())
    best = nettrain.load("runs/n/001").predict_proba("my project/all.npz").max(axis=1)
    assert nettrain_cli("predict", "runs/n/001", "my project/all.npz").stdout.splitlines()[1].endswith(f"{best[0]:.2%}")


# Folds


def test_folds_are_runs_of_their_own(nettrain_cli):
    result = nettrain_cli("train", SPEC, "--folds", 3, "--set", "the data.split={seed: 4}", "--json")
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    runs = [f"runs/n/001/fold{i}" for i in (1, 2, 3)]
    assert [one["run"] for one in found["folds"]] == runs
    scores = [json.loads(nettrain_cli("test", one, "--json").stdout)["scores"]["accuracy"] for one in runs]
    assert [one["score"] for one in found["folds"]] == pytest.approx(scores)
    assert (found["mean"], found["std"]) == pytest.approx((np.mean(scores), np.std(scores)))
    sizes = [read_snapshot(Path(one, "best.npz")).state["data"][1]["the data"]["examples"] for one in runs]
    assert sorted(sizes) == [13, 14, 14]
    for i, one in enumerate(runs, 1):
        split = load(f"{one}/spec.yaml").to_python()["layers"][0]["split"]
        assert split == {"seed": 4, "folds": 3, "fold": i}
    assert list(listed(nettrain_cli)) == runs
    mean = f"{found['mean']:.2%} ± {found['std']:.2%} (mean and standard deviation of the best of"
    assert nettrain_cli("runs", "runs/n/001").stdout.splitlines()[-1] == f"runs/n/001: accuracy {mean} 3 folds)"
    (group,) = json.loads(nettrain_cli("runs", "runs/n/001", "--json").stdout)["folds"]
    assert {key: group[key] for key in found} == found
    two = nettrain_cli("runs", *runs[:2], runs[0]).stdout  # compared, or listed, a fold at a time
    assert f"{np.mean(scores[:2]):.2%} ±" in two
    assert "of 2 of 3 folds" in two
    assert (
        "runs/n/001 holds the runs fold1, fold2, fold3; choose one"
        in nettrain_cli("test", "runs/n/001", exit_code=2).stderr
    )
    nettrain_cli("train", "--resume", runs[1], "--set", "solver.max_iter=8")


def test_interrupted_folds_go_on(nettrain_cli, monkeypatch):
    whole = json.loads(nettrain_cli("train", SPEC, "--folds", 2, "--json").stdout)
    step, made = nettrain.Solver.gradient, []

    def interrupted(solver):
        made.append(0)
        if len(made) == 9:  # in the second fold
            solver.request = "stop"
        return step(solver)

    monkeypatch.setattr(nettrain.Solver, "gradient", interrupted)
    solve = nettrain.Solver.solve

    def solving(solver):
        solve(solver)
        if solver.ended:
            raise KeyboardInterrupt

    monkeypatch.setattr(nettrain.Solver, "solve", solving)
    errors = nettrain_cli("train", SPEC, "--folds", 2, exit_code=130).stderr
    again = "nettrain train 'my project/net.yaml' --folds 2 --out runs/n/002"
    assert f"1 of 2 folds are finished; to go on: {again}" in errors
    monkeypatch.setattr(nettrain.Solver, "gradient", step)
    monkeypatch.setattr(nettrain.Solver, "solve", solve)
    before = Path("runs/n/002/fold1/run.json").read_bytes()
    result = nettrain_cli("train", SPEC, "--folds", 2, "--out", "runs/n/002", "--json")
    assert json.loads(result.stdout)["mean"] == whole["mean"]
    assert Path("runs/n/002/fold1/run.json").read_bytes() == before
    assert "resumed from" in result.stderr
    errors = nettrain_cli("train", SPEC, "--folds", 3, "--out", "runs/n/002", exit_code=2).stderr
    assert "runs/n/002/fold1 is a run of another spec: layer.the data.split.folds is 3 now and 2 there" in errors


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("the data.source={train: all.npz, test: ./all.npz}", "such as source: all.csv; `the data` does not read one"),
        ("the data.include=train", "--folds compares scores, and nothing is tested"),
        ("the data.source=none.npz", "data file not found"),
    ],
)
def test_what_cannot_be_folded(nettrain_cli, setting, message):
    endless = {"name": "t", "type": "DummyData", "top": ["data", "label"], "shape": [[8, 4], [8]], "include": "test"}
    layers = [LAYERS[0], endless, *LAYERS[1:]] if "include" in setting else LAYERS
    Path(SPEC).write_text(yaml.safe_dump({"solver": SOLVER | {"test_interval": 0}, "layers": layers}))
    assert message in nettrain_cli("train", SPEC, "--folds", 3, "--set", setting, exit_code=2).stderr
    assert not Path("runs").exists()


def test_folds_need_a_spec(nettrain_cli):
    assert "--folds needs a spec" in nettrain_cli("train", "--folds", 3, "--resume", "x", exit_code=2).stderr


def test_an_empty_run_says_so():
    Path("empty").mkdir()
    with pytest.raises(NettrainError, match="this is a folder, not a YAML file"):
        nettrain.Net("empty")


@pytest.mark.parametrize("name", ["elsewhere/it", "elsewhere/it/best.npz", "elsewhere/it/iter_6.npz"])
def test_a_run_on_a_machine_without_its_data(nettrain_cli, name, workdir):
    """Copied without the data: what needs none works, what needs some takes it from another place, and nothing is
    written to the run."""
    nettrain_cli("train", SPEC)
    whole = nettrain_cli("summary", "runs/n/001").stdout
    Path("elsewhere").mkdir()
    shutil.move("runs/n/001", "elsewhere/it")
    shutil.move("my project/all.npz", "new.npz")
    shutil.rmtree("my project")
    before = {path.name: path.read_bytes() for path in Path("elsewhere/it").iterdir()}
    assert nettrain_cli("summary", name).stdout == whole
    for command in (
        ["predict", name, "new.npz"],
        ["convert", name, "--to", "x.caffemodel"],
        ["plot", name],
        ["runs", name],
    ):
        assert nettrain_cli(*command).stdout
    for command in ("test", "check", "data", "explain"):
        assert "all.npz" in nettrain_cli(command, name, exit_code=2).stderr
        assert nettrain_cli(command, name, "--set", "the data.source=new.npz").stdout
    shutil.rmtree("runs")
    nettrain_cli("check", name, "--set", "the data.source=new.npz")
    assert {path.name: path.read_bytes() for path in Path("elsewhere/it").iterdir()} == before


def test_layers_of_one_name_are_compared_by_their_place_among_these():
    data = [{"name": "d", "include": phase} for phase in ("train", "test")]
    found = differences({"layers": data}, {"layers": [data[0], {"name": "d2"}, data[1] | {"shuffle": False}]})
    assert found == [("layer.d (2).shuffle", None, False), ("layer.d2", None, {"name": "d2"})]
