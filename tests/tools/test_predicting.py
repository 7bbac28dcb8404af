"""`nettrain predict`: every kind of net and of file, in each form; what cannot be read; who stops reading."""

import csv
import io
import json
import shlex
import subprocess
import sys

import nettrain
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import PATIENCE, layer
from nettrain.cli import main

DATA = {"top": ["x", "t"], "batch_size": 4}
IP = layer("ip", "InnerProduct", "x", num_output=3)
SOFTMAX = layer("loss", "SoftmaxWithLoss", ["ip", "t"])


def train(*layers, out="run"):
    spec = {"name": "p", "solver": {"base_lr": 0.01, "max_iter": 3}, "layers": list(layers)}
    nettrain.get_solver(spec, out=out).solve()
    return nettrain.load(out)


def predict(*arguments, stdin=None):
    """(exit code, stdout, stderr)"""
    result = CliRunner().invoke(main, ["predict", *map(str, arguments)], input=stdin)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def arrays(workdir):
    """A net for three classes of four numbers, and nine examples."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 4))
    np.savez("set.npz", data=x, label=np.arange(9) % 3)
    np.savez("new.npz", x=x)
    return x, train(layer("d", "Data", source="set.npz", split=0, **DATA), IP, SOFTMAX)


@pytest.fixture
def pictures(workdir):
    image = pytest.importorskip("PIL.Image")
    (workdir / "new" / "sub").mkdir(parents=True)
    for i, name in enumerate(("0", "1", "2", "3", "4", "sub/5")):
        image.new("L", (3, 3), 40 * i).save(f"new/{name}.png")
    (workdir / "list.txt").write_text("".join(f"new/{i}.png {i % 3}\n" for i in range(5)))
    source = layer("d", "ImageData", source="list.txt", is_color=False, **DATA)
    model = train(source, IP, SOFTMAX)
    (workdir / "new" / "notes.txt").write_text("no picture")
    (workdir / "new" / ".hidden.png").write_bytes(b"no picture")
    return model, [f"new/{name}.png" for name in ("0", "1", "2", "3", "4", "sub/5")]


def test_the_forms_say_the_same(arrays):
    x, model = arrays
    said = model.predict_proba(x)
    best, order = said.argmax(axis=1), np.argsort(-said, axis=1)

    code, out, err = predict("run", "new.npz")
    rows = [line.split() for line in out.splitlines()]
    assert (code, err, rows[0]) == (0, "", ["name", "class", "probability"])
    assert rows[1:] == [[str(i), str(best[i]), f"{said[i, best[i]]:.2%}"] for i in range(9)]
    assert len({len(line) for line in out.splitlines()}) == 1  # in columns, over batches

    code, out, _ = predict("run", "new.npz", "--csv", "--top", 2)
    head, *rows = csv.reader(io.StringIO(out))
    assert head == ["name", "class", "probability", "class_2", "probability_2"]
    assert [[int(row[1]), int(row[3])] for row in rows] == order[:, :2].tolist()
    assert np.allclose([float(row[4]) for row in rows], np.sort(said, axis=1)[:, 1])

    code, out, _ = predict("run", "new.npz", "--json")
    objects = [json.loads(line) for line in out.splitlines()]
    assert objects[3] == {"name": "3", "class": best[3], "probability": float(said[3].max())}

    code, out, _ = predict("run", "new.npz", "--npz", "out.npz")
    assert (code, out) == (0, "out.npz: 9 examples · name, prob\n")
    with np.load("out.npz") as found:
        assert np.array_equal(found["prob"], said)
        assert found["name"].tolist() == [str(i) for i in range(9)]


def test_pictures_in_folders_and_by_names_in_stdin(pictures):
    model, files = pictures
    expected = model.predict(files).tolist()
    for arguments, stdin in (
        (("new",), None),
        (files, None),
        (("-",), "\n".join(files)),
        (("new/0.png", "-"), "\n".join(files[1:])),
    ):
        code, out, err = predict("run", *arguments, "--csv", stdin=stdin)
        rows = list(csv.reader(io.StringIO(out)))[1:]
        assert (code, err) == (0, "")
        assert [row[0] for row in rows] == files
        assert [int(row[1]) for row in rows] == expected


def test_files_that_cannot_be_read_are_named_and_the_rest_goes_on(pictures, workdir):
    _, files = pictures
    (workdir / "new" / "2.png").write_bytes(b"\x89PNG damaged")
    code, out, err = predict("run", *files, "none.png", "--csv")
    assert code == 2
    assert [row[0] for row in csv.reader(io.StringIO(out))][1:] == [f for f in files if f != "new/2.png"]
    assert len(err.splitlines()) == 2
    assert err.startswith("new/2.png is not an image, or is damaged")
    assert "there is no file none.png" in err
    (workdir / "empty").mkdir()
    code, out, err = predict("run", "empty", "--npz", "out.npz")
    assert (code, out) == (2, "")
    assert "empty cannot be read: Is a directory" in err
    assert not (workdir / "out.npz").exists()


def test_values_yes_or_no_and_labels(workdir):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 4))
    np.savez("new.npz", data=x)
    targets = {"value": rng.standard_normal(5), "values": rng.standard_normal((5, 3)), "bits": np.ones((5, 3))}
    found = {}
    for name, target in targets.items():
        np.savez(f"{name}.npz", data=x, label=target)
        ip = layer("ip", "InnerProduct", "x", num_output=target.size // 5)
        shape = layer("shaped", "Reshape", "ip", shape=[0]) if target.ndim == 1 else layer("shaped", "Power", "ip")
        kind = "SigmoidCrossEntropyLoss" if name == "bits" else "EuclideanLoss"
        model = train(
            layer("d", "Data", source=f"{name}.npz", split=0, **DATA),
            ip,
            shape,
            layer("loss", kind, ["shaped", "t"]),
            out=name,
        )
        found[name] = model.answer(x).__next__().outputs[model.main]
        code, out, _ = predict(name, "new.npz", "--csv")
        head, first, *_ = csv.reader(io.StringIO(out))
        assert code == 0
        assert head == [
            "name",
            *{"value": ["value"], "values": ["value_0", "value_1", "value_2"], "bits": ["0", "1", "2"]}[name],
        ]
        assert np.allclose(np.array(first[1:], float), found[name][0])
    _, out, _ = predict("bits", "new.npz", "--json")
    labels = {str(i): float(p) for i, p in enumerate(found["bits"][0]) if p > 0.5}
    assert json.loads(out.splitlines()[0]) == {"name": "0", "labels": labels}
    np.savez("one.npz", data=x, label=np.ones((5, 1)))
    one = layer("ip", "InnerProduct", "x", num_output=1, bias_filler=-5)
    loss = layer("loss", "SigmoidCrossEntropyLoss", ["ip", "t"])
    model = train(layer("d", "Data", source="one.npz", split=0, **DATA), one, loss, out="one")
    no = 1 - model.predict_proba(x)[0, 0]
    assert json.loads(predict("one", "new.npz", "--json")[1].splitlines()[0]) == {
        "name": "0",
        "class": 0,
        "probability": pytest.approx(no),
    }


def test_a_spec_with_weights_and_what_is_wrong(arrays, workdir):
    import yaml

    _, model = arrays
    spec = {"layers": [layer("d", "Data", source="set.npz", **DATA), IP, SOFTMAX]}
    (workdir / "net.yaml").write_text(yaml.safe_dump(spec))
    model.net.save("w.npz")
    assert predict("net.yaml", "new.npz", "--weights", "w.npz") == predict("run", "new.npz")
    assert predict("net.yaml", "new.npz", "--weights", "run") == predict("run", "new.npz")
    for arguments, code, said in (
        (("run",), 2, "Missing argument 'FILES...'"),
        (("run", "new.npz", "--csv", "--json"), 2, "give only one of them"),
        (("none", "new.npz"), 2, "there is no run or snapshot none"),
        (("net.yaml", "new.npz"), 2, "is the name of a spec, not of a run"),
        (("run", "none.npz"), 2, "data file not found: none.npz"),
        (("run", "new.npz", "--npz", "no/folder/out.npz"), 1, "cannot write no/folder/out.npz"),
    ):
        found = predict(*arguments)
        assert (found[0], found[1]) == (code, "")
        assert said in found[2]


def test_a_table_in_stdin_is_called_so(arrays):
    code, out, err = predict("run", "-", "--csv", stdin="a,b\nword,1\n")
    assert (code, out) == (2, "")
    assert err.startswith("stdin:2: ")
    x, model = arrays
    table = "\n".join(",".join(map(repr, [*row, 0])) for row in x.tolist())
    code, out, err = predict("run", "-", "--csv", stdin=table)
    assert [int(row[1]) for row in csv.reader(io.StringIO(out[out.index("\n") + 1 :]))] == model.predict(x).tolist()


def test_whoever_reads_the_results_may_stop(arrays):
    np.savez("many.npz", x=np.zeros((20_000, 4), "f4"))  # more than a pipe holds
    command = f"{shlex.quote(sys.executable)} -m nettrain predict run many.npz --set d.batch_size=1000"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -2; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        timeout=PATIENCE,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].split() == ["name", "class", "probability"]
    assert done.stdout.splitlines()[-1] == "0"
