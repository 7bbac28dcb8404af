"""Caffe's command line, typed as its users do."""

import pytest
from nettrain.commands.caffe_words import translated

CASES = [
    ("train -solver a.prototxt -gpu 0", "train a.prototxt"),
    ("train --solver=a.prototxt --weights=b.caffemodel", "train a.prototxt --weights=b.caffemodel"),
    ("train -solver=a.prototxt -snapshot b.solverstate", "train a.prototxt --snapshot b.solverstate"),
    ("test -model a.prototxt -weights b -iterations 3 -gpu=0,1", "test a.prototxt --weights b --iterations 3"),
    ("time -model a.prototxt -phase TEST", "time a.prototxt --phase TEST"),
    ("train a.prototxt --sigint_effect none", "train a.prototxt --sigint_effect none"),
    ("train -solver a -- -gpu", "train a -- -gpu"),
    ("train a.yaml --set solver.base_lr=1 --weights w", "train a.yaml --set solver.base_lr=1 --weights w"),
    ("train -logtostderr -solver a -v=1 --minloglevel 2 --log_dir=x", "train a"),
    ("time -model a --alsologtostderr=1 -iterations 3", "time a --iterations 3"),
    ("test -model a -phase TEST -weights=b", "test a --weights=b"),
    ("device_query -gpu 0", "env"),
    ("check -solver a", "check -solver a"),
    ("summary --model", "summary --model"),
]


@pytest.mark.parametrize(("typed", "meant"), CASES, ids=[typed for typed, _ in CASES])
def test_what_caffes_users_type(typed, meant, capsys):
    assert translated(typed.split()) == meant.split()
    said = capsys.readouterr().err
    assert ("CPU" in said) == ("gpu" in typed.split(" -- ")[0] and "gpu" not in meant)
    assert ("log" in said) == ("log" in typed)


def test_caffes_whole_line_trains(nettrain_cli, workdir):
    nettrain_cli("convert", "configs/mlp.yaml", "--to", "mlp.prototxt")
    done = nettrain_cli("train", "-solver", "mlp_solver.prototxt", "-gpu", "all", "--set", "solver.max_iter=3")
    assert "--gpu all is left out: nettrain runs on the CPU" in done.stderr
    assert "done: 3 iterations" in done.stdout
