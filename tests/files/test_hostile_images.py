"""Images larger than what is asked for, of other formats, and the lists that name them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import first_batch, reader_of, refused
from PIL import Image

pytestmark = pytest.mark.usefixtures("workdir")


# Images and lists


def test_a_small_image_file_of_very_many_pixels():
    for size, words in (
        ((12_000, 9000), "12,000 x 9,000 pixels; a file of its size may have up to"),
        ((20_000, 9000), "more"),
    ):
        Image.new("1", size).save("a.png")
        assert Path("a.png").stat().st_size < 50_000
        refused(f"list.txt:1: image a.png has {words}", reader_of("a.png")["image"])


def test_other_filters_of_warnings_do_not_make_an_image_damaged():
    """Such as those of a thread that read images in the test before."""
    Image.new("1", (12_000, 9000)).save("a.png")
    for _ in range(2):
        refused("list.txt:1: image a.png has 12,000 x 9,000 pixels", reader_of("a.png")["image"])
        warnings.simplefilter("error")


def test_an_image_is_the_same_in_one_piece_and_in_bands():
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1100, 3), "u1")
    Image.fromarray(pixels).save("a.png")
    made = reader_of("a.png")["image"]().blobs["data"].data[0]
    np.testing.assert_array_equal(made, pixels.transpose(2, 0, 1)[::-1])


def test_a_format_that_runs_a_program_is_not_an_image():
    Path("a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    refused("list.txt:1: image a.eps is not an image, or is damaged", reader_of("a.eps")["image"])


def test_lists_of_other_systems_are_read():
    for name in ("a.png", "b.png"):
        Image.new("RGB", (3, 2)).save(name)
    Path("list.txt").write_bytes(b"\xef\xbb\xbfa.png 3\r\n\r\nb.png 4\r\n")
    assert first_batch("ImageData", source="list.txt", batch_size=2).blobs["label"].data.tolist() == [3, 4]
    Path("list.txt").write_bytes(b"\na.png 3\nb.png 4 \n\nc.png 5\n")
    refused(
        "list.txt:5: image c.png: there is no file",
        lambda: first_batch("ImageData", source="list.txt", batch_size=3),
    )


@pytest.mark.parametrize("number", ["²", "١", "9" * 5000, "-1", "1_0", "", "1e3"])
def test_numbers_of_a_window_file(number):
    lines = ["# 0", "a.png", "3", "6", "8", "1", "1 0.9 1 1 4 4"]
    for at in range(2, 6):
        Path("w.txt").write_text("\n".join([*lines[:at], number, *lines[at + 1 :]]), encoding="utf-8")
        refused("w.txt:", reader_of("w.txt")["windows"])
    for at in range(6):
        words = lines[6].split()
        words[at] = "nan" if at == 1 else number if number != "-1" else "x"
        Path("w.txt").write_text("\n".join([*lines[:6], " ".join(words)]), encoding="utf-8")
        refused("w.txt:7: `class overlap x1 y1 x2 y2` is expected", reader_of("w.txt")["windows"])


def test_a_window_file_that_announces_more_windows_than_there_are():
    Path("w.txt").write_text("# 0\na.png\n3\n6\n8\n9999999999\n1 0.9 1 1 4 4\n")
    refused("w.txt:8: `class overlap x1 y1 x2 y2` is expected, but the file ends", reader_of("w.txt")["windows"])


def test_an_image_has_so_many_pixels_on_a_side():
    """Readers of formats keep whole rows, and something for each: 16 bytes of memory for a pixel of a long line."""
    for size in ((300_000, 2), (2, 300_000)):
        Image.new("1", size).save("a.png")
        refused("and 262,144 on a side", reader_of("a.png")["image"])


@pytest.mark.parametrize("form", ["png", "ppm", "tiff"])
def test_of_16_bits_the_upper_8_are_taken(form):
    values = (np.arange(12).reshape(3, 4) * 5000).astype(np.uint16)
    if form == "ppm":  # which pillow cannot write in all versions
        Path("a.ppm").write_bytes(b"P5 4 3 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(f"a.{form}")
    Path("list.txt").write_text(f"a.{form} 0\n")
    made = first_batch("ImageData", source="list.txt", is_color=False).blobs["data"].data
    np.testing.assert_array_equal(made[0, 0], values >> 8)
