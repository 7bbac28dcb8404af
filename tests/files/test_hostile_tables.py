"""csv that is no table, and which column is the label."""

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
        (ROWS + "1,1_0,0\n", "a.csv:3: `1_0` is not a number"),
        (ROWS + "1,١,0\n", "a.csv:3: `١` is not a number"),
        (ROWS + "1,0x10,0\n", "a.csv:3: `0x10` is not a number"),
        (ROWS + '1,"2\n3",0\n', "a.csv:3: `2\\n3` is not a number"),
        (
            ROWS + '1,"2,0\n' + ROWS,
            'a.csv:3: a quoted cell does not end: a `"` is not closed',
        ),
        (ROWS + "\n\n1,,0\n", "a.csv:5: column 1 (counted from 0) has no value"),
        (ROWS + "1,\0,0\n", "a.csv:3: `\\x00` is not a number"),
        (
            "label,a,label\n" + ROWS,
            "a.csv has 2 columns `label`; say which is the label by its number: label: 0 or 2",
        ),
        ("1," * (1 << 23), "line 1 has more than 8,388,608 characters"),
        (ROWS * 3000 + "1,\u00e9,\n", "a.csv:6001: `\u00e9` is not a number"),
        (ROWS * 10 + "1,1.234,56,0\n", "a.csv:21: 4 columns where 3 are expected"),
        (ROWS * 10 + '1,"1,234.5",0\n', "a.csv:21: `1,234.5` is not a number; write 1234.5"),
        (
            "1 2  0\n",
            "the columns are separated by spaces; nettrain reads `,`, `;`, tabs or `|` between them: write `,`",
        ),
        ("x,y,z\n1,2,3\n1,NA,3\n", "a.csv:3: column `y` has no value"),
        ("Label,x,y\n0,1,2\n", "column `Label`: did you mean `label`? The label would be the last column, `y`; rename"),
        ("x,LABEL,y\n0,1,2\n", "rename one, or say label: LABEL"),
        ("LABELS,0,1\n0,1,2\n", "column `LABELS`: did you mean `label`?"),
    ],
    ids=range(17),
)
def test_what_a_table_cannot_hold(text, words):
    Path("a.csv").write_text(text, encoding="utf-8")
    refused(words, reader_of("a.csv")["csv"], most=100_000_000)


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
    words = "a.csv:2: column 1 (counted from 0) holds 1e+300; that is more than the net's numbers can hold"
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
    for key in ("drop", "features"):
        with pytest.raises(NettrainError, match=rf"2 columns `x`; say which one by its number: {key}: \[0\] or \[1\]"):
            first_batch("Data", source="a.csv", batch_size=2, **{key: ["x"]})


def test_the_label_is_any_column_of_a_table():
    Path("a.csv").write_text("a,b,c\n" + ROWS)
    for column in range(3):
        net = first_batch("Data", source="a.csv", batch_size=2, label_column=column, shuffle=False)
        table = np.array([[1, 2, 0], [3, 4, 1]])
        np.testing.assert_array_equal(net.blobs["label"].data, table[:, column])
        np.testing.assert_array_equal(net.blobs["data"].data, np.delete(table, column, axis=1))
