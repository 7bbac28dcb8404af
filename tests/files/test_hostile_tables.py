"""csv that is no table of numbers, or one of another country, and which column is the label."""

from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import first_batch, reader_of, refused
from nettrain import NettrainError
from nettrain.files import arrays as npz

pytestmark = pytest.mark.usefixtures("workdir")


# csv

ROWS = "1,2,0\n3,4,1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,1_0,0\n", "a.csv:1: `1_0` is not a number"),
        (ROWS + "1,١,0\n", "a.csv:3: `١` is not a number"),
        (ROWS + "1,0x10,0\n", "a.csv:3: `0x10` is not a number"),
        (ROWS + '1,"2\n3",0\n', "a.csv:3: a quoted cell does not end on its line"),
        ('a,"b\nc",label\n' + ROWS, "a.csv:1: a quoted cell does not end on its line"),
        (ROWS + "\n\n1,,0\n", "a.csv:5: column 2 is empty; a number is needed"),
        (ROWS + "1,\0,0\n", "a.csv:3: `\\x00` is not a number"),
        (
            "label,a,label\n" + ROWS,
            "a.csv has 2 columns `label`; say which is the label by its number: label_column: 0 or 2",
        ),
        ("1," * (1 << 23), "line 1 has more than 8,388,608 characters"),
        (ROWS * 3000 + "1,\u00e9,\n", "a.csv:6001: `\u00e9` is not a number"),
    ],
    ids=range(10),
)
def test_tables_of_what_are_not_numbers(text, words):
    Path("a.csv").write_text(text, encoding="utf-8")
    refused(words, reader_of("a.csv")["csv"], most=100_000_000)


SEPARATED = "the columns are separated by {0}; nettrain reads `,` between columns: write `,` for {0}"
COMMAS = (
    "the columns are separated by {0}, and numbers have a decimal comma; nettrain reads `,` between columns; write "
    "1.5 for 1,5, and then `,` for {0}"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1;2;0\n", "a.csv:1: " + SEPARATED.format("`;`")),
        ("a;b;label\n1;2;0\n", "a.csv:2: " + SEPARATED.format("`;`")),
        ("1\t2\t0\n", "a.csv:1: " + SEPARATED.format("tabs")),
        ("1 2  0\n", "a.csv:1: " + SEPARATED.format("spaces")),
        ("1|2|0\n", "a.csv:1: " + SEPARATED.format("`|`")),
        ("a;b;label\n1,5;2,5;0\n", "a.csv:2: " + COMMAS.format("`;`")),
        ("1,5\t2,5\t0\n", "a.csv:1: " + COMMAS.format("tabs")),
        ("5;3;setosa\n", "a.csv:1: " + SEPARATED.format("`;`")),
        ('"1,5","2,5",0\n', "a.csv:1: `1,5` is not a number with a decimal point; write 1.5"),
        (
            "5.1,3.5,setosa\n",
            "a.csv:1: `setosa` is not a number, but a label must be: number the classes from 0, such as 0 for `setosa`",
        ),
        ("kind,x,y\n1,2,3\nIris versicolor,2,3\n", "number the words in column 1, or remove it"),
        ("label,x\ncat,2\n", "such as 0 for `cat`"),
        ("x,y,z\n1,2,3\n1,NA,3\n", "a.csv:3: `NA` is not a number: column 2 has no value there"),
        ("Label,x,y\n0,1,2\n", "column `Label`: did you mean `label`? The label would be the last column, `y`; rename"),
        ("x,LABEL,y\n0,1,2\n", "rename one, or say label_column: LABEL"),
        ("LABELS,0,1\n0,1,2\n", "column `LABELS`: did you mean `label`?"),
    ],
)
def test_tables_of_other_formats_are_said_to_be(text, words):
    Path("a.csv").write_text(text)
    refused(words, reader_of("a.csv")["csv"])


def test_a_label_in_capitals_is_the_last_column_or_is_named():
    Path("a.csv").write_text("x,y,Label\n1,2,0\n")
    assert first_batch("Data", source="a.csv", batch_size=1).blobs["label"].data.tolist() == [0]
    Path("a.csv").write_text("Label,x,y\n7,1,2\n")
    net = first_batch("Data", source="a.csv", batch_size=1, label_column="Label")
    assert net.blobs["label"].data.tolist() == [7]
    words = "has no column `label`; did you mean `Label`?"
    refused(words, lambda: first_batch("Data", source="a.csv", batch_size=1, label_column="label"))


def test_names_of_columns_are_shown_in_part():
    """However long, and however many."""
    for head in (["label ", "x" * 500_000], ["x" * 500_000, "y"], [f"c{i}" for i in range(100_000)]):
        Path("a.csv").write_text(",".join(head) + "\n" + ",".join("1" for _ in head) + "\n")
        with pytest.raises(NettrainError) as error:
            first_batch("Data", source="a.csv", batch_size=1, label_column="none such")
        assert len(str(error.value)) < 1000
    Path("a.csv").write_text("Label," + "x" * 500_000 + "\n1,2\n")
    with pytest.raises(NettrainError, match="did you mean `label`") as error:
        first_batch("Data", source="a.csv", batch_size=1)
    assert len(str(error.value)) < 1000


def test_a_number_too_large_for_float32_is_called_that(nettrain_cli):
    Path("a.csv").write_text("1,2,0\n1,1e300,1\n")
    Path("a.yaml").write_text("layers: [{name: d, type: Data, top: [x, y], source: a.csv, batch_size: 2}]")
    words = "a.csv: `x` of example 1 holds 1e+300 in column 1, both counted from 0; that is more than the net's numbers"
    assert words in nettrain_cli("check", "a.yaml", exit_code=2).stderr


def test_an_array_of_an_archive_keeps_its_kind():
    path = Path("a.npz")
    npz.write_npz(path, {"single": np.ones(3, np.float32), "large": np.array([2**60 + 1])})
    with npz.open_npz(path, "file") as archive:
        assert np.asarray(archive["single"]).dtype == np.float32
        assert np.asarray(archive["large"]).tolist() == [2**60 + 1]
        assert np.asarray(archive["single"], np.float64).dtype == np.float64


def test_the_place_of_a_byte_that_is_not_text_is_counted_from_the_start_of_the_file():
    for mark in (b"", b"\xef\xbb\xbf"):
        for at in (0, 100, 5000, 8191, 8192, 100_000):
            rows = (ROWS.encode() * 20_000)[:at]
            Path("a.csv").write_bytes(mark + rows + b"\xff,1,2\n")
            refused(f"byte {len(mark) + at} is not UTF-8", reader_of("a.csv")["csv"])


def test_of_two_columns_of_one_name_the_label_is_chosen_by_number():
    Path("a.csv").write_text("label,a,label\n" + ROWS)
    assert first_batch("Data", source="a.csv", batch_size=2, label_column=2, shuffle=False).blobs[
        "label"
    ].data.tolist() == [
        0,
        1,
    ]
    Path("a.csv").write_text("x,x,label\n" + ROWS)
    first_batch("Data", source="a.csv", batch_size=2)


def test_the_label_is_any_column_of_a_table():
    Path("a.csv").write_text("a,b,c\n" + ROWS)
    for column in range(3):
        net = first_batch("Data", source="a.csv", batch_size=2, label_column=column, shuffle=False)
        table = np.array([[1, 2, 0], [3, 4, 1]])
        np.testing.assert_array_equal(net.blobs["label"].data, table[:, column])
        np.testing.assert_array_equal(net.blobs["data"].data, np.delete(table, column, axis=1))
