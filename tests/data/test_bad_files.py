"""Every file in bad_data/ is wrong, or seems to be, and beside it stands all that is said of it.

``NAME.said`` belongs to the file or folder NAME. Each ``$ LAYER {keys}`` in it is a spec that reads it,
and ``$ nettrain …`` a command line; what follows is what a person sees, to the letter. The exit code is 2, unless
that begins with ``spec.yaml: ok``.
"""

import itertools
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from nettrain.cli import main

FOLDER = Path(__file__).parent.parent / "bad_data"
SAID = sorted(FOLDER.glob("*.said"))
SPEC = """\
solver: {{base_lr: 0.1, max_iter: 5, test_interval: 5}}
layers:
- name: d
  type: {kind}
  top: [data, label]
  batch_size: 2
{keys}
- {{name: ip, type: InnerProduct, bottom: data, num_output: 3}}
- {{name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}}
"""


def cases(text):
    """Each spec or command line, and what is said of it."""
    lines = text.splitlines(keepends=True)
    for start, some in itertools.groupby(lines, key=_Counter()):
        asked, *said = some
        assert asked.startswith("$ "), start
        yield asked[2:].strip(), "".join(said)


class _Counter:
    """How many lines that begin with ``$`` there were."""

    def __init__(self):
        self.count = 0

    def __call__(self, line):
        self.count += line.startswith("$ ")
        return self.count


def in_yaml(value):
    """On one line, as it was given."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).splitlines()[0]


def said_of(asked):
    """The exit code, and what a person sees."""
    program, rest = asked.split(maxsplit=1)
    arguments = shlex.split(rest)
    if program != "nettrain":
        keys = "\n".join(f"  {key}: {in_yaml(value)}" for key, value in yaml.safe_load(rest).items())
        Path("spec.yaml").write_text(SPEC.format(kind=program, keys=keys))
        arguments = ["check", "spec.yaml"]
    result = CliRunner().invoke(main, arguments)
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    return result.exit_code, result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy, in which commands may write."""
    place = tmp_path_factory.mktemp("bad") / "data"
    shutil.copytree(FOLDER, place)
    return place


@pytest.mark.parametrize("path", SAID, ids=lambda path: path.stem)
def test_exactly_what_is_written_is_said(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NETTRAIN_DATA", raising=False)
    for asked, wanted in cases(path.read_text(encoding="utf-8")):
        code, found = said_of(asked)
        assert found == wanted, asked
        assert code == (0 if wanted.startswith("spec.yaml: ok") else 2), asked


def test_of_every_file_it_is_written_what_is_said():
    assert len(SAID) > 50
    there = {path.name for path in FOLDER.iterdir()}
    without = {name for name in there if not name.endswith(".said") and f"{name}.said" not in there}
    assert without == {"good"}  # which lists name
    assert [path.name for path in SAID if not list(cases(path.read_text(encoding="utf-8")))] == []


def test_another_message_is_noticed(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert said_of("Data {source: empty.csv}")[0] == 2
    assert said_of("Data {source: plain.csv}")[0] == 0
    with pytest.raises(AssertionError):
        list(cases("a message of nothing\n"))


# What a trained net cannot be given


@pytest.fixture(scope="module")
def runs(folder):
    """A run of a table and one of pictures, made elsewhere than where they are used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, source in (("table", "plain.csv"), ("pictures", "good")):
            Path(f"{name}.yaml").write_text(f"name: {name}\n" + SPEC.format(kind="Data", keys=f"  source: {source}"))
            result = CliRunner().invoke(main, ["train", f"{name}.yaml", "--out", f"{name}_run"])
            assert result.exit_code == 0, result.output
    return folder


WANTS_TABLES = "this net predicts from tables (.csv, .tsv, .parquet) with the columns width, height\n"
WANTS_PICTURES = "predicts from pictures, folders of them, or arrays of N x 3 x 4 x 4 (.npz, .npy), not from tables\n"


@pytest.mark.parametrize(
    ("run", "files", "said", "answers"),
    [
        ("table", ["good"], f"good/cat/0.png: {WANTS_TABLES}", 0),
        ("table", ["good/cat/0.png", "plain.csv", "good/dog"], f"good/cat/0.png: {WANTS_TABLES}", 12),
        ("table", ["one_hot.npz"], f"one_hot.npz: {WANTS_TABLES}", 0),
        ("table", ["missing_files.txt"], f"missing_files.txt: {WANTS_TABLES}", 0),
        ("pictures", ["plain.csv", "word.csv", "good/cat"], f"plain.csv: this net {WANTS_PICTURES}", 2),
        ("pictures", ["is_csv.parquet"], f"is_csv.parquet: this net {WANTS_PICTURES}", 0),
        (
            "pictures",
            ["damaged/cat"],
            "damaged/cat/1.png is not an image, or is damaged: image file is truncated\n",
            1,
        ),
    ],
)
def test_files_of_a_kind_that_a_run_does_not_take_are_told_once(run, files, said, answers, runs, monkeypatch):
    """The others are predicted all the same."""
    monkeypatch.chdir(runs)
    result = CliRunner().invoke(main, ["predict", f"{run}_run", *files, "--csv"])
    assert result.exit_code == 2, result.output
    assert result.stderr == said
    assert len(result.stdout.splitlines()) == (answers + 1 if answers else 0)


def test_examples_are_called_as_their_file_was_given(runs, monkeypatch):
    """Relative to the current folder where the spec is: in reports too, which read it from the run."""
    monkeypatch.chdir(runs)
    given = CliRunner().invoke(main, ["predict", "table_run", "plain.csv", "--csv"]).stdout
    whole = CliRunner().invoke(main, ["predict", "table_run", str(runs / "plain.csv"), "--csv"]).stdout
    assert given.splitlines()[1].startswith("plain.csv:2,")
    assert whole.splitlines()[1].startswith(f"{runs / 'plain.csv'}:2,")
    report = CliRunner().invoke(main, ["test", "table_run"]).stdout
    assert "\nplain.csv:" in report
    assert str(runs) not in report
