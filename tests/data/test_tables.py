"""Tables: how files are read, which column is what, and what is fitted to the training rows."""

import csv
import io
import json
import sys
import tracemalloc
from pathlib import Path

import nettrain
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from nettrain import NettrainError
from nettrain.data.division import Split, divide
from nettrain.data.table import kept, pieces
from nettrain.data.table import text as text_reader
from nettrain.data.table.digits import MARGIN, parse
from nettrain.data.table.reading import read_table
from nettrain.data.table.roles import Keys
from nettrain.data.table.sets import fitted, in_numbers, table_set
from nettrain.data.table.text import read_text
from nettrain.tools.data.columns import look, report
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

pytestmark = pytest.mark.usefixtures("workdir")


def table(text, name="t.csv"):
    """The table in a file with this text."""
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(Path(name))


def columns(text, name="t.csv"):
    found = table(text, name).columns
    return {one.name: [one.text(row) for row in range(len(one.values))] for one in found}


# Reading

PLAIN = {"x": ["1.5", "-2"], "kind": ["a", "b"]}


@pytest.mark.parametrize(
    "text",
    [
        "x,kind\n1.5,a\n-2,b\n",
        "x;kind\n1,5;a\n-2;b\n",
        "x\tkind\n1.5\ta\n-2\tb\n",
        "x\tkind\n1,5\ta\n-2\tb",
        "x|kind\r\n1.5|a\r\n-2|b\r\n",
        "\ufeffx, kind\r\n1.5 , a\r\n\r\n-2, b\r\n,\r\n",
        '"x","kind"\n"1,5","a"\n"-2","b"\n',
        'x,kind\r1.5,"a"\r-2,b\r',
    ],
)
def test_one_table_however_it_is_written(text):
    assert columns(text) == PLAIN


def test_gaps_are_empty_or_say_so():
    found = table("x,w\n1,a\n,-\nNA,n/a\nN/A,NULL\nnull,?\n?,-\n-,NaN\nnan,b\n2,\n")
    assert found.columns[0].gaps.tolist() == [False, *[True] * 7, False]
    assert found.columns[1].gaps.tolist() == [False, *[True] * 6, False, True]
    assert found.columns[0].is_whole


@pytest.mark.parametrize("quickly", [True, False])
def test_a_number_with_a_sign_before_nan_is_a_word_whatever_stands_beside_it(monkeypatch, quickly):
    if not quickly:
        monkeypatch.setattr(text_reader, "read_quickly", lambda path, dialect: None)
    found = table("x,y\n1,0\nNA,1\n+nan,0\n2,1\n7.5,1\n").columns[0]
    assert found.kind == "words"
    assert [found.text(row) for row in range(5)] == ["1", "", "+nan", "2", "7.5"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        ("1,2\n3,4\n", ["0", "1"]),
        (",0,1\n0,5,6\n1,7,8\n", ["", "0", "1"]),  # as pandas writes a frame without names
        ("p,x\ne,y\np,y\ne,x\n", ["0", "1"]),  # words come again below: no names
        ("class,cap\np,x\ne,y\np,y\n", ["class", "cap"]),
        ("city,2019,2020,price\nA,1,2,3\nB,1,2,3\nC,1,2,4\n", ["city", "2019", "2020", "price"]),
    ],
)
def test_a_first_row_of_names_is_told_from_values(text, names):
    assert [one.name for one in table(text).columns] == names


@pytest.mark.parametrize("quickly", [True, False])
def test_words_after_many_rows_of_numbers_are_kept_as_they_were_written(monkeypatch, quickly):
    monkeypatch.setattr(pieces, "AT_ONCE", 16)
    monkeypatch.setattr(text_reader, "AT_ONCE", 7)
    if not quickly:
        monkeypatch.setattr(text_reader, "read_quickly", lambda path, dialect: None)
    rows = [f"{i:03}" for i in range(30)] + ["x"] * 20
    found = table("a,b\n" + "".join(f"{one},1\n" for one in rows)).columns[0]
    assert found.kind == "words"
    assert [found.text(row) for row in (7, 29, 30)] == ["007", "029", "x"]


@settings(max_examples=15, deadline=None, database=None)
@given(some.lists(some.tuples(*[some.text(',;"\n |\té', max_size=4)] * 2), max_size=4))
def test_quoted_text_comes_back(rows):
    """Whatever is in quotes: separators, quotes, line breaks."""
    rows = [("first", "a;b\n"), ("second", 'c"d,')] + [(f"v{a}", f"w{b}") for a, b in rows]
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("one", "two"), *rows])
    Path("q.csv").write_bytes(file.getvalue().encode())
    found, _ = read_text(Path("q.csv"))
    for i, name in enumerate(("one", "two")):
        assert found.columns[i].name == name
        assert [found.columns[i].text(k) for k in range(len(rows))] == [row[i].strip() for row in rows]


def digits(cells, comma=False):
    """What is read of cells by their digits, and which are left to others."""
    text = b" " * MARGIN + b"".join(cell.encode() + b";" for cell in cells)
    ends = MARGIN + np.cumsum([len(cell.encode()) + 1 for cell in cells]) - 1
    starts = ends - [len(cell.encode()) for cell in cells]
    return parse(np.frombuffer(text, np.uint8), starts, ends, comma)


def test_numbers_read_by_their_digits_are_those_of_float():
    rng = np.random.default_rng(0)
    cells = [f"{x:.{k % 9}f}" for k, x in enumerate((rng.normal(size=4000) * 10.0 ** (np.arange(4000) % 5)).tolist())]
    cells += map(repr, rng.normal(size=4000).tolist())
    near = 2**53 + rng.integers(0, 2**53, 2000)
    cells += [f"{n}{sign}{rest}" for n in near.tolist() for sign, rest in (("", ""), (".", "5"), ("", "512"))]
    cells += [f"{2.0**e * (1 + d * 2.0**-53):.17g}" for e in range(-8, 40) for d in range(-9, 9)]
    cells += ["9" * 19, "-0", "+1.", ".5", "-.5", "0" * 19, "007"]
    values, odd = digits(cells)
    assert not odd[:4000].any()
    assert not odd[-6:].any()
    expected = np.array([0.0 if left else float(cell) for cell, left in zip(cells, odd.tolist(), strict=True)])
    assert np.where(odd, 0.0, values).tobytes() == expected.tobytes()


def test_what_is_no_plain_number_is_left_to_others():
    others = ["", ".", "-", "1..2", "1e5", "1x", "9" * 20, "nan", "1 ", " 1", "é1", "1/2", "1:2", "--1", "1-2", "1_0"]
    others += ["١", "1,5", "1.2.3.4.5.6.7.8.", "123456789/", "12345678\u00e9"]
    assert digits(others)[1].all()
    values, odd = digits(["1,5", ",5", "1.5", "-0,25", "123456,75", "1,", "1.2,3", ","], comma=True)
    assert values[:5].tolist() == [1.5, 0.5, 1.5, -0.25, 123456.75]
    assert odd.tolist() == [False] * 5 + [True] * 3


@settings(max_examples=60, deadline=None, database=None)
@given(some.data())
def test_reading_by_columns_and_cell_by_cell_give_the_same(data):
    """The same table to the bit, or the same message, whatever is in the file."""
    cell = some.sampled_from([
        *("1", "-2.5", "3.25", "1e-3", " 4 ", "0.1234567890123456", "1,5", "007", "inf", "1_0", "", "NA", "+nan"),
        *("nan", "a", "é", " c ", "x;y", 'q"', "two\nlines", "r\rs", "\u00a0", " ", "2024-01-02", '""', "\0", "w" * 70),
    ])  # fmt: skip
    width = data.draw(some.integers(2, 3))
    pools = [data.draw(some.lists(cell, min_size=1, max_size=3)) for _ in range(width)]
    rows = data.draw(some.lists(some.tuples(*map(some.sampled_from, pools)), min_size=1, max_size=12))
    file = io.StringIO()
    end = data.draw(some.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    csv.writer(file, delimiter=data.draw(some.sampled_from(",;\t")), lineterminator=end).writerows(rows)
    at = data.draw(some.integers(0, len(file.getvalue())))
    text = file.getvalue()[:at] + data.draw(some.sampled_from(["", "", "", '"', ",", "\n"])) + file.getvalue()[at:]
    Path("t.csv").write_bytes(data.draw(some.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode())
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for quickly in (True, False):
            patch.setattr(pieces, "AT_ONCE", data.draw(some.sampled_from([3, 20, 1000])))
            patch.setattr(text_reader, "AT_ONCE", 4)
            if not quickly:
                patch.setattr(text_reader, "read_quickly", lambda path, dialect: None)
            try:
                made, wrong = read_text(Path("t.csv"))
                found.append([made.named, made.line.numbers.tolist(), wrong.said, wrong.more, wrong.hints])
                found[-1] += [(one.name, one.kind, one.words, one.values.tobytes()) for one in made.columns]
            except NettrainError as error:
                found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize("rows", [3, 30])
def test_a_point_among_decimal_commas_is_found_wherever_it_stands(rows, monkeypatch):
    """However a file is read in pieces; a column of points alone is one of numbers."""
    monkeypatch.setattr(pieces, "AT_ONCE", 40)
    monkeypatch.setattr(text_reader, "AT_ONCE", 4)
    lines = [f"{k},5;{k}.5;w{k % 2}.,;n.a.;0,{k}" for k in range(rows)]
    Path("t.csv").write_text("\n".join(["a;b;c;d;e", *lines]))
    found, wrong = read_text(Path("t.csv"), ("a",))
    assert not wrong.said
    assert [one.kind for one in found.columns[:3]] == ["numbers", "numbers", "words"]
    assert found.columns[0].values.tolist() == found.columns[1].values.tolist() == [k + 0.5 for k in range(rows)]
    for row in (0, rows // 2, rows - 1):
        some_lines = [*lines[:row], "7.25;1.5;x;;0,5", *lines[row + 1 :]]
        Path("t.csv").write_text("\n".join(["a;b;c;d;e", *some_lines]))
        _, wrong = read_text(Path("t.csv"), ("a",))
        assert [one.split(";")[0].split(" (")[0] for one in wrong.said] == [
            f"t.csv:{row + 2}: `7.25` is not a number with a decimal comma"
        ]


def test_reading_costs_no_calls_for_each_cell_and_little_memory_beside_the_columns(monkeypatch):
    rng = np.random.default_rng(0)
    words = rng.choice(["red", "green", "a longer word", ""], 8000).tolist()
    numbers = [f"{x:.4f}" if x > -1.5 else "" for x in rng.normal(size=8000).tolist()]
    lines = [f'{x},"{w}",{k},{w},{x}\n' for k, (x, w) in enumerate(zip(numbers, words, strict=True))]
    for rows in (4000, 8000):
        Path(f"{rows}.csv").write_text("a,b,c,d,e\n" + "".join(lines[:rows]))
    monkeypatch.setattr(pieces, "AT_ONCE", 1 << 14)

    def calls(path):
        count = 0

        def seen(frame, event, arg):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(seen)
        try:
            read_text(path)
        finally:
            sys.setprofile(None)
        return count

    assert (calls(Path("8000.csv")) - calls(Path("4000.csv"))) / 20_000 < 0.5
    tracemalloc.start()
    try:
        found, _ = read_text(Path("8000.csv"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * sum(one.values.nbytes for one in found.columns)


def test_the_line_of_a_row_counts_line_breaks_in_quotes_and_empty_lines():
    found = table('a,b\n\n"x\ny",1\n\n"z",2\n')
    assert [found.place(row) for row in (0, 1)] == ["t.csv:3", "t.csv:6"]
    assert table("a,b\n\n3,1\n\n\n4,2\n").place(1) == "t.csv:6"


def test_parquet_is_read_as_the_same_table(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = {"n": [1, None, 3], "x": [0.5, 1.5, None], "w": ["b", None, "a"], "flag": [True, False, None]}
    pq.write_table(pa.table(data), "t.parquet")
    found = read_table(Path("t.parquet"))
    assert [one.kind for one in found.columns] == ["numbers", "numbers", "words", "words"]
    assert [[one.text(k) for k in range(3)] for one in found.columns] == [
        ["1", "", "3"],
        ["0.5", "1.5", ""],
        ["b", "", "a"],
        ["true", "false", ""],
    ]
    pq.write_table(pa.table({"a": [[1]], "b": [1]}), "u.parquet")
    with pytest.raises(NettrainError, match="column `a` holds list"):
        read_table(Path("u.parquet"))
    Path("v.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(NettrainError, match=r"v\.parquet is damaged or not a Parquet file"):
        read_table(Path("v.parquet"))


# Tables that are kept


def test_a_table_is_kept_for_its_very_file(monkeypatch, tmp_path):
    monkeypatch.setenv("NETTRAIN_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(kept, "SMALLEST", 1)
    text = 'a,b\n1,x\n2,"y\nz"\n'
    Path("t.csv").write_text(text)
    read_table(Path("t.csv"))
    (file,) = (tmp_path / "kept").iterdir()

    def found():
        entry = kept.entry(Path("t.csv"), "")
        return kept.find(entry, "t.csv")

    again = found()
    assert [[one.text(k) for k in range(2)] for one in again.columns] == [["1", "2"], ["x", "y\nz"]]
    assert [again.line(k) for k in range(2)] == [2, 3]
    Path("t.csv").write_text(text.replace("2", "3"))  # as long, perhaps at the same time: the digest tells
    assert found() is None
    Path("t.csv").write_text(text)
    whole = file.read_bytes()
    for at in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        file.write_bytes(damaged)
        assert found() is None
    file.write_bytes(whole[:-5])
    assert found() is None
    monkeypatch.setenv("NETTRAIN_CACHE", "off")
    assert kept.entry(Path("t.csv"), "") is None
    monkeypatch.setenv("NETTRAIN_CACHE", "/dev/null/none")  # where nothing can be written
    kept.keep(kept.entry(Path("t.csv"), ""), again)


# Fitting


def people(rows, seed=0):
    """Rows of (number with gaps, whole number, word with gaps, label)."""
    rng = np.random.default_rng(seed)
    for _ in range(rows):
        age = "" if rng.random() < 0.2 else f"{rng.normal(40, 12):.3f}"
        word = rng.choice(["Rome", "Oslo", "Bern", "", "Lima"], p=[0.4, 0.3, 0.2, 0.09, 0.01])
        yield [age, str(rng.integers(0, 5)), word, rng.choice(["yes", "no"])]


def written(rows, name="p.csv"):
    text = "age,visits,city,bought\n" + "".join(",".join(row) + "\n" for row in rows)
    Path(name).write_text(text)
    return np.array([[np.nan if cell == "" else float(cell) for cell in row[:2]] for row in rows]), rows


@pytest.mark.parametrize("categories", ["one_hot", "index"])
def test_what_is_fitted_is_scikit_learns_of_the_training_rows(categories):
    rows = list(people(200))
    written(rows)
    keys = Keys(missing="mean", standardize=True, categories=categories)
    whole = table_set(read_table(Path("p.csv")), keys)
    assert whole.classes == ("no", "yes")
    train, test = divide(len(rows), Split(), whole.labels)
    known = json.loads(json.dumps(fitted(whole.part(train, "train"))))
    frame = np.array(rows, object)
    frame[:, :2] = np.where(frame[:, :2] == "", "nan", frame[:, :2]).astype(float)
    words = [*sorted(set(frame[train, 2]) - {""}), ""]
    if categories == "index":
        encoder = OrdinalEncoder(categories=[words], handle_unknown="use_encoded_value", unknown_value=len(words))
    else:
        encoder = OneHotEncoder(categories=[words], handle_unknown="ignore", sparse_output=False)
    oracle = ColumnTransformer(
        [("numbers", make_pipeline(SimpleImputer(), StandardScaler()), [0, 1]), ("words", encoder, [2])]
    ).fit(frame[train])
    for part in (train, test):
        made, _ = in_numbers(whole.part(part, "train"), known, np.dtype(float))
        np.testing.assert_allclose(made.data, oracle.transform(frame[part]).astype(float), rtol=1e-12, atol=1e-12)
        assert made.labels.tolist() == [["no", "yes"].index(rows[i][3]) for i in part]


SPEC = """\
solver: {{base_lr: 0.1, max_iter: 3, test_interval: 3, display: 0}}
layers:
  - {{name: d, type: Data, top: [data, label], source: {source}, batch_size: 8, missing: mean, standardize: true{more}}}
  - {{name: ip, type: InnerProduct, bottom: data, num_output: 2}}
  - {{name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}}
"""


def spec(source="p.csv", more=""):
    Path("s.yaml").write_text(SPEC.format(source=source, more=more))


def test_a_test_net_applies_what_the_training_rows_said():
    rows = list(people(60))
    written(rows[:40], "a.csv")
    written(rows[40:], "b.csv")
    written(rows)
    for source in ("p.csv", "{train: a.csv, test: b.csv}"):
        spec(source)
        nets = [nettrain.Net("s.yaml", phase) for phase in ("TRAIN", "TEST")]
        layers = [net.layers["d"] for net in nets]
        assert layers[0].fitted == layers[1].fitted
        assert abs(layers[0].set.data[:, 0].mean()) < 1e-6
        assert abs(layers[1].set.data[:, 0].mean()) > 1e-3
        assert layers[0].set.data.dtype == np.float32


def test_a_run_predicts_and_tests_with_what_it_fitted(nettrain_cli):
    rows = list(people(60))
    written(rows)
    spec()
    nettrain_cli("train", "s.yaml", "--out", "r")
    model = nettrain.load("r")
    expected = model.predict_proba("p.csv")
    # other columns, in another order, without the label, in another file's manner
    text = "note;city;visits;age\n" + "".join(
        f"{i};{row[2]};{row[1]};{row[0].replace('.', ',')}\n" for i, row in enumerate(rows)
    )
    Path("q.tsv").write_text(text)
    np.testing.assert_array_equal(model.predict_proba("q.tsv"), expected)
    values = [
        [None if cell == "" else cell if i == 2 else float(cell) for i, cell in enumerate(row[:3])] for row in rows
    ]
    np.testing.assert_array_equal(model.predict_proba(values), expected)
    assert next(model.answer("q.tsv")).names[0].endswith("q.tsv:2")
    assert set(model.predict("p.csv")) <= {"yes", "no"}
    Path("u.csv").write_text("age,visits,city\n30,1,Atlantis\n")
    model.predict("u.csv")
    assert "column `city` has what training did not have: `Atlantis`" in model.net.layers["d"].remark
    Path("v.csv").write_text("age,town\n30,Rome\n")
    with pytest.raises(NettrainError, match=r"v\.csv has no columns `visits`, `city`, which the net was trained with"):
        model.predict("v.csv")
    # one row to test on: a mean of its own would make it 0
    written(rows[:1], "one.csv")
    net = nettrain.Net("s.yaml", "TEST", settings=["d.source=one.csv", "d.split=0"], fitted=model.net.fitted())
    np.testing.assert_allclose(net.layers["d"].set.data[0, 1], (float(rows[0][1]) - 1.9583334) / 1.4, atol=1)
    assert net.layers["d"].fitted["table"] == model.net.layers["d"].fitted["table"]


def test_columns_are_chosen_by_name_and_number():
    Path("t.csv").write_text("id,a,b,c,label\n1,1,2,x,0\n2,3,4,y,1\n3,5,6,x,1\n4,7,8,y,0\n")
    found = table_set(read_table(Path("t.csv")), Keys())
    assert found.data.places == (1, 2, 3)
    assert found.data.notes == ("column `id` numbers the rows and is left out",)
    assert table_set(read_table(Path("t.csv")), Keys(features=("id", "b"))).data.places == (0, 2)
    assert table_set(read_table(Path("t.csv")), Keys(drop=("a", "3"))).data.places == (2,)
    several = table_set(read_table(Path("t.csv")), Keys(label=("a", "b")))
    assert several.labels.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert table_set(read_table(Path("t.csv")), Keys(label=("c", "label"))).labels[:, 0].tolist() == [0, 1, 0, 1]
    assert table_set(read_table(Path("t.csv")), Keys(label=())).labels is None
    assert found.others["c"].tolist() == found.others["3"].tolist() == [0, 1, 0, 1]


def test_rows_of_a_group_stay_together_and_the_group_is_no_feature():
    Path("t.csv").write_text("who,x,label\n" + "".join(f"p{i // 4},{i},{i % 2}\n" for i in range(40)))
    Path("s.yaml").write_text(SPEC.format(source="t.csv", more=", split: {test: 0.3, group: who}"))
    train, test = (nettrain.Net("s.yaml", phase).layers["d"].set for phase in ("TRAIN", "TEST"))
    assert train.data.shape == (28, 1)
    assert not set(train.others["who"]) & set(test.others["who"])


def test_rows_with_gaps_are_dropped_on_request():
    Path("t.csv").write_text("a,b,label\n1,x,0\n,x,1\n3,,0\n4,y,\n5,y,1\n")
    found = table_set(read_table(Path("t.csv")), Keys(missing="drop"))
    assert found.labels.tolist() == [0, 1]
    assert found.name_of(1) == "t.csv:6"
    assert found.data.notes == ("3 rows have gaps and are left out",)


# What is wrong


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        (
            "a,b,y\n1,,0\n,2,1\n",
            "",
            ["t.csv:2: column `b` has no value", "t.csv:3: column `a`", "missing: mean", "[a, b]"],
        ),
        ("a,y\n1,0\n2,\n", "", ["t.csv:3: column `y`, the label, has no value", "missing: drop"]),
        ("d,a,y\n2024-01-02,1,0\n2024-01-03,1,1\n", "", ["column `d` holds dates (such as 2024-01-02)", "drop: [d]"]),
        ("d,a,y\n2.1.24,1,0\n3.1.24,1,1\n", "", ["holds dates (such as 2.1.24)"]),
        ("d,a,y\n3 Jan 2024 10:30,1,0\n", "", ["holds dates"]),
        ("n,y\n" + "".join(f"w{i},0\n" for i in range(101)), "", ["101 different words in 101 rows", "drop: [n]"]),
        ("a,y\n" + "1,0\n" * 40 + "2x,0\n3,0\n1 2,1\n", "", ["t.csv:42: `2x` is not a number", "t.csv:44: `1 2`"]),
        ("a,y\n" + "1,0,5\n" * 30, "", ["t.csv:2: 3 columns where 2 are expected", "t.csv:21: 3", "… and 10 more"]),
        ("a,y\n1,0\ninf,1\n3,0\n", "", ["t.csv:3: column `a` is infinite"]),
        ("a,y\n1,0\n1,2\n", "features: [y]", ["column `y` is the label; it cannot be a feature too"]),
        ("a,y\n1,0\n1,2\n", "drop: [b]", ["t.csv has no column `b`"]),
        ("a,y\n1,0\n1,2\n", "drop: [a]", ["has no column left for features"]),
        ("a,y\n1,0\n1,2\n", "label: z", ["t.csv has no column `z`"]),
        ("a,y\n1,0\n1,2\n", "label: [[y]]", ["label"]),
        ("a,b,y\n1,u,0\n1,v,2\n2,w,2\n", "label: [b, y]", ["of several labels each is a number, or one of two words"]),
        ("a,y\n1,2024-01-01\n2,2024-02-01\n", "", ["the label, holds dates"]),
        ("a,y\n1,0\n2,1\n", "label: y, label_column: y", ["cannot be combined with"]),
        ("a,y\n1,0\n2,1\n".encode("utf-16"), "", ["it is UTF-16: save it as UTF-8"]),
        ("é,y\n1,0\n2,1\n".encode("latin-1"), "", ["byte 0 is not UTF-8; save it as UTF-8"]),
    ],
    ids=range(19),
)
def test_bad_tables(nettrain_cli, text, more, words):
    Path("t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    keys = f"source: t.csv, batch_size: 2{', ' if more else ''}{more}"
    Path("s.yaml").write_text(f"layers: [{{name: d, type: Data, top: [x, y], {keys}}}]\n")
    found = nettrain_cli("check", "s.yaml", exit_code=2).stderr
    assert all(word in found for word in words), found


def test_a_class_that_training_does_not_have_is_named():
    Path("a.csv").write_text("x,kind\n1,cat\n2,dog\n3,cat\n")
    Path("b.csv").write_text("x,kind\n1,cat\n2,cow\n")
    spec("{train: a.csv, test: b.csv}")
    with pytest.raises(NettrainError, match=r"b\.csv:3: column `kind`: `cow` is no class of the training data"):
        nettrain.Net("s.yaml", "TEST")


def test_keys_of_tables_are_refused_for_what_is_none():
    spec("digits", ", split: 0")
    with pytest.raises(NettrainError, match="digits is not a table, which `missing` is for"):
        nettrain.Net("s.yaml")


def test_columns_of_one_name_stay_apart_in_tests():
    rows = "".join(f"{i},{i + 100},{i + 200},{i % 2},{1 - i % 2}\n" for i in range(20))
    Path("t.csv").write_text("x,x,x,y,y\n" + rows)
    keys = {"source": "t.csv", "batch_size": 4, "split": 0.2, "drop": [1], "label": 4}
    spec = {"layers": [{"name": "d", "type": "Data", "top": ["data", "label"], **keys}]}
    train = nettrain.Net(spec)
    for fitted_before in ({}, train.fitted()):
        test = nettrain.Net(spec, "TEST", fitted=fitted_before).layers["d"].set
        np.testing.assert_array_equal(test.data[:, :2], np.add.outer(test.rows, [0, 200]))
        np.testing.assert_array_equal(test.labels, 1 - test.rows % 2)


# nettrain data


def test_the_columns_of_a_table_are_shown(nettrain_cli):
    Path("t.csv").write_text(
        "id,age,name,when,sex,kind\n"
        + "".join(
            f"{i},{'' if i == 3 else 20 + i},n{i},2024-01-{i + 1:02},{'fm'[i % 2]},{'ab'[i > 5]}\n" for i in range(30)
        )
    )
    found = json.loads(nettrain_cli("data", "t.csv", "--json").stdout)
    assert [one["becomes"].split(" ")[0] for one in found["columns"]] == [
        "left",
        "feature,",
        "too",
        "dates",
        "2",
        "label",
    ]
    age = found["columns"][1]
    assert (age["low"], age["high"], age["missing"], age["distinct"], age["example"]) == (20, 49, 1, 29, "20")
    assert found["classes"] == [{"class": "a", "rows": 6}, {"class": "b", "rows": 24}]
    keys = {"label": "kind", "drop": ["name", "when"], "missing": "mean", "standardize": True}
    assert found["keys"] == keys
    shown = nettrain_cli("data", "t.csv").stdout
    line = shown.rstrip().splitlines()[-1].strip()
    Path("s.yaml").write_text(f"layers:\n  - {line.replace('{', '{name: d, ', 1)}\n")
    assert nettrain.Net("s.yaml").layers["d"].set.data.shape == (30, 3)  # what it says can be read as it stands
    assert "no column `x`" in nettrain_cli("data", "t.csv", "--label", "x", exit_code=2).stderr


def test_the_keys_that_are_shown_can_be_read_whatever_columns_are_called():
    Path("null.csv").write_text(
        "no,null,true,1e5\n" + "".join(f"{i},{i % 2},{i / 7},{'ab'[i % 2]}\n" for i in range(9))
    )
    for label in ("null", "true", "no"):
        line = report(look("null.csv", [label], ["1e5"])).splitlines()[-1].strip()
        Path("s.yaml").write_text(f"layers:\n  - {line.replace('{', '{name: d, ', 1)}\n")
        assert nettrain.Net("s.yaml").layers["d"].p.label == (label,)
