"""Pictures as data: folders of classes, tar files, what cannot be read, and reading ahead, which changes no number."""

import io
import itertools
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.data import sources
from nettrain.data.generators import Generate
from nettrain.data.lmdb import read_lmdb
from nettrain.data.order import Order
from nettrain.data.pictures import ahead
from nettrain.data.pictures.decoding import picture
from nettrain.data.pictures.heads import Head, plain_head, read_head
from nettrain.data.pictures.kept import Kept
from nettrain.data.pictures.reading import Look, given_pictures, read_pictures
from nettrain.interop.convert import Options, convert
from nettrain.net.netspec import load
from nettrain.spec.errors import NettrainError
from PIL import Image, PngImagePlugin

pytestmark = pytest.mark.usefixtures("workdir")

SPEC = """\
solver: {base_lr: 0.1, max_iter: 8, snapshot: 4, test_interval: 4, random_seed: 3}
layers:
  - {name: d, type: Data, top: [data, label], source: photos, batch_size: 7,
     transform: {scale: 0.004, crop_size: 6, mirror: true}}
  - {name: ip, type: InnerProduct, bottom: data, num_output: 3, weight_filler: {type: xavier}}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}
"""


def pixels_of(i, size=(8, 9)):
    """H x W x 3, red, green, blue; another one for each i."""
    return np.random.default_rng(i).integers(0, 256, (*size, 3)).astype(np.uint8)


def save(path, pixels, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def make_folder(top="photos", classes=("bird", "cat", "dog"), each=20, size=(8, 9)):
    for c, name in enumerate(classes):
        for i in range(each):
            save(f"{top}/{name}/{i:02d}.png", pixels_of(100 * c + i, size))


def refused(*words, path="photos", split="train", look=None, classes=()):
    with pytest.raises(NettrainError) as error:
        read_pictures(Path(path), split, look or Look(), classes)
    for word in words:
        assert word in str(error.value), str(error.value)


def net_of(text=SPEC, **keys):
    settings = [f"d.{key}={value}" for key, value in keys.items()]
    Path("net.yaml").write_text(text, encoding="utf-8")
    return nettrain.Net("net.yaml", "TRAIN", settings=settings)


# Folders


def test_a_folder_for_each_class():
    make_folder(classes=("dog", "cat"), each=2)
    save("photos/cat/deep/x.JPG", pixels_of(5), format="JPEG")
    found = read_pictures(Path("photos"), "train", Look())
    assert found.classes == ("cat", "dog")
    assert list(found.names) == ["cat/00.png", "cat/01.png", "cat/deep/x.JPG", "dog/00.png", "dog/01.png"]
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal(found.data[np.array([4, 0, 4])][0], pixels_of(1).transpose(2, 0, 1)[::-1])
    assert found.remark == ""


def test_what_is_ignored_is_counted():
    make_folder(classes=("cat", "dog"), each=1)
    for name in ("cat/notes.txt", "cat/.DS_Store", "dog/a.heic", "dog/Thumbs.db"):
        Path("photos", name).touch()
    save("photos/outside.png", pixels_of(1))
    for name in ("none", ".hidden"):
        Path("photos", name).mkdir()
    remark = read_pictures(Path("photos"), "train", Look()).remark
    assert "2 files that are no pictures ignored (1 .txt, 1 .heic)" in remark
    assert "2 hidden files ignored" in remark
    assert "1 picture outside the folders of classes ignored" in remark
    assert "no pictures in `none/`" in remark
    assert "hidden/" not in remark


@pytest.mark.parametrize(
    ("parts", "tests_read"),
    [(("train", "val", "test"), "val"), (("Train", "validation"), "validation"), (("training", "test"), "test")],
)
def test_parts(parts, tests_read):
    for part in parts:
        make_folder(f"photos/{part}", each=1, classes=("cat", "dog") if part == parts[0] else ("dog",))
    train, test = (read_pictures(Path("photos"), split, Look()) for split in ("train", "test"))
    assert (train.split, test.split) == ("train", "test")
    assert list(train.names) == [f"{parts[0]}/{name}/00.png" for name in ("cat", "dog")]
    assert (list(test.names), test.labels.tolist()) == ([f"{tests_read}/dog/00.png"], [1])
    assert "no pictures of `cat`" in test.remark
    assert ("test/ is kept aside" in test.remark) == (len(parts) == 3)


def test_train_alone_is_divided_and_may_be_a_class():
    make_folder("photos/train", each=1)
    assert read_pictures(Path("photos"), "test", Look()).split == "whole"
    make_folder("vehicles", classes=("bus", "train"), each=1)
    assert read_pictures(Path("vehicles"), "train", Look()).classes == ("bus", "train")


def test_a_class_that_is_not_trained_on():
    make_folder("photos/train", classes=("cat", "dog"), each=1)
    make_folder("photos/val", classes=("cat", "cow"), each=1)
    refused("photos/val has pictures of `cow`, which is no class", split="test")
    net = SPEC.replace("source: photos", "source: {train: photos/train, test: photos/val}")
    Path("net.yaml").write_text(net, encoding="utf-8")
    with pytest.raises(NettrainError, match="`cow`, which is no class"):
        nettrain.Net("net.yaml", "TEST")


def test_labels_of_tests_count_the_classes_of_training():
    make_folder("a", classes=("cat", "dog"), each=1)
    make_folder("b", classes=("dog",), each=1)
    Path("net.yaml").write_text(SPEC.replace("source: photos", "source: {train: a, test: b}"), encoding="utf-8")
    net = nettrain.Net("net.yaml", "TEST")
    net.forward()
    assert net.blobs["label"].data.tolist() == [1] * 7


def test_links_are_followed_and_circles_are_not():
    make_folder(classes=("cat",), each=1)
    save("elsewhere/a.png", pixels_of(7))
    os.symlink("../../elsewhere", "photos/cat/link")
    os.symlink("..", "photos/cat/up")
    os.symlink("../cat", "photos/cat/self")
    os.symlink("../../elsewhere/a.png", "photos/cat/b.png")
    assert list(read_pictures(Path("photos"), "train", Look()).names) == ["cat/00.png", "cat/b.png", "cat/link/a.png"]


def test_pictures_without_classes():
    save("photos/a.png", pixels_of(1))
    refused("photos holds 1 picture but no folder for each class", "photos/cat", "nettrain predict")


# Sizes, channels


def test_several_sizes():
    make_folder(each=2)
    save("photos/cat/big.png", pixels_of(1, (30, 40)))
    refused("2 sizes, height x width from 8 x 9 to 30 x 40, most often 8 x 9 (6 of 7)", "give `size`")
    assert read_pictures(Path("photos"), "train", Look(size=(5, 6))).data.shape == (7, 3, 5, 6)


def test_channels():
    make_folder(each=1)
    for name in ("bird", "cat", "dog"):
        save(f"photos/{name}/00.png", pixels_of(1)[:, :, 0])
    assert read_pictures(Path("photos"), "train", Look()).data.shape[1] == 1
    save("photos/dog/01.png", pixels_of(1))
    assert read_pictures(Path("photos"), "train", Look()).data.shape[1] == 3
    assert read_pictures(Path("photos"), "train", Look(color=False)).data.shape[1] == 1


def test_orientation_depth_and_transparency():
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.array([[0, 0, 0, 255, 255, 255]] * 2, np.uint8)).save("a.tif", exif=turned)
    assert picture(Path("a.tif"), "a", False, None)[0].tolist() == [[0, 0]] * 3 + [[255, 255]] * 3
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save("b.png")
    assert picture(Path("b.png"), "b", False, None).tolist() == [[[0, 1, 255]]]
    Image.fromarray(np.array([[[9, 8, 7, 255], [9, 8, 7, 0]]], np.uint8)).save("c.png")
    assert picture(Path("c.png"), "c", True, None).tolist() == [[[7, 255]], [[8, 255]], [[9, 255]]]
    Image.fromarray(np.array([[0.5]], np.float32)).save("d.tif")
    with pytest.raises(NettrainError, match="d holds numbers of 32 bits"):
        picture(Path("d.tif"), "d", False, None)


def test_sizes_are_those_of_upright_pictures():
    turned = Image.Exif()
    turned[0x0112] = 8
    save("photos/cat/a.jpg", pixels_of(1, (8, 9)))
    save("photos/cat/b.jpg", pixels_of(1, (9, 8)), exif=turned)
    assert read_pictures(Path("photos"), "train", Look()).data.shape == (2, 3, 8, 9)


def heads_of_every_kind():
    """(bytes, whether they are plain) of pictures 5 high and 7 wide."""
    turned = Image.Exif()
    turned[0x0112] = 6
    grey = Image.fromarray(pixels_of(1, (5, 7)))
    notes = PngImagePlugin.PngInfo()
    notes.add_text("what", "a picture")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = grey.convert("RGB" if mode == "P" else "L" if mode == "I;16" else mode)
        image = image.quantize(9) if mode == "P" else image.convert("I").convert(mode) if mode == "I;16" else image
        yield image, "png", {"dpi": (72, 72)}, True
    yield grey, "png", {"exif": turned}, False
    yield grey, "png", {"pnginfo": notes}, False
    for mode in ("L", "RGB", "CMYK"):
        for options in ({}, {"progressive": True}, {"comment": b"x" * 99, "icc_profile": b"y" * 999}):
            yield grey.convert(mode), "jpeg", options, True
    yield grey, "jpeg", {"exif": turned}, False
    yield grey, "jpeg", {"icc_profile": b"y" * 9999}, False
    for kind in ("tiff", "webp", "bmp", "gif"):
        yield grey, kind, {}, False


def by_pillow(content, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("nettrain.data.pictures.heads.plain_head", lambda start: None)
        return read_head(content, "a")


def test_heads_are_what_pillow_says(monkeypatch):
    rng = np.random.default_rng(4)
    for image, kind, options, is_plain in heads_of_every_kind():
        file = io.BytesIO()
        image.save(file, kind, **options)
        content = file.getvalue()
        said = (kind, image.mode, options)
        assert (plain_head(content[:4096]) is not None) == is_plain, said
        assert read_head(content, "a") == by_pillow(content, monkeypatch), said
        assert read_head(content, "a")[:2] == ((7, 5) if "exif" in options else (5, 7)), said
        for _ in range(12):  # where bytes are others, pillow is asked, or finds the same, unless it gives up
            damaged = bytearray(content)
            damaged[rng.integers(min(len(content), 60))] = rng.integers(256)
            found = by_pillow(bytes(damaged), monkeypatch)
            assert found.wrong or read_head(bytes(damaged), "a") == found, said
        assert (
            all(plain_head(content[:end]) in (None, Head(5, 7, image.mode != "L")) for end in range(60)) or not is_plain
        )


# Damage


def damage(good):
    """Some files that cannot be read; ``good`` is a picture."""
    Path("photos/cat/text.png").write_text("no picture")
    Path("photos/dog/short.png").write_bytes(good[: len(good) - 40])
    Path("photos/dog/empty.jpg").touch()
    os.symlink("nothing", "photos/bird/gone.png")


DAMAGED = ("bird/gone.png", "cat/text.png", "dog/empty.jpg", "dog/short.png")


def test_damaged_files_are_named_all_at_once():
    make_folder(each=2)
    damage(Path("photos/cat/00.png").read_bytes())
    refused("4 of 10 pictures cannot be read", "damaged: skip", *DAMAGED)
    refused("4 of 10", *DAMAGED, look=Look(size=(4, 4)))


def test_damaged_files_are_left_out_where_that_is_wanted():
    make_folder(each=2)
    damage(Path("photos/cat/00.png").read_bytes())
    found = read_pictures(Path("photos"), "train", Look(damaged="skip"))
    assert [found.name_of(i) for i in range(6)] == [f"{c}/0{i}.png" for c in ("bird", "cat", "dog") for i in (0, 1)]
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert "4 damaged left out" in found.remark
    assert all(name in found.remark for name in DAMAGED)
    part = found.part(np.array([5, 2]), "test")
    assert [part.name_of(i) for i in range(2)] == ["dog/01.png", "cat/00.png"]
    assert np.array_equal(part.data[np.array([0])][0], pixels_of(201).transpose(2, 0, 1)[::-1])


def test_many_damaged_files_are_counted():
    for i in range(23):
        path = Path(f"photos/cat/{i:02d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no")
    refused("23 of 23", "cat/19.png", "and 3 more")


def test_damage_beyond_the_head_is_found_before_training(nettrain_cli):
    make_folder(each=2)
    good = Path("photos/cat/00.png").read_bytes()
    for name in ("dog/short.png", "cat/short.png"):
        Path("photos", name).write_bytes(good[: len(good) - 40])
    Path("net.yaml").write_text(SPEC, encoding="utf-8")
    for command in ("check", "train"):
        said = nettrain_cli(command, "net.yaml", exit_code=2).stderr
        for words in ("of 8 pictures cannot be read", "cat/short.png", "dog/short.png"):
            assert words in said, said


# Tar files


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def png(i):
    file = io.BytesIO()
    Image.fromarray(pixels_of(i)).save(file, "PNG")
    return file.getvalue()


def make_tar(labels, ending="cls"):
    with tarfile.open("x.tar", "w") as tar:
        for i, label in enumerate(labels):
            add(tar, f"../../{i:03d}.png", png(i))
            if label is not None:
                add(tar, f"../../{i:03d}.{ending}", label.encode())


@pytest.mark.parametrize(
    ("labels", "ending", "numbers", "classes"),
    [
        (("3", "0\n"), "cls", [3, 0], ()),
        (('{"label": 2}', '{"cls": 1}'), "json", [2, 1], ()),
        (("dog", "cat", "dog"), "cls", [1, 0, 1], ("cat", "dog")),
        (('"dog"', '{"class": "cat"}'), "json", [1, 0], ("cat", "dog")),
    ],
)
def test_tar(labels, ending, numbers, classes):
    make_tar(labels, ending)
    found = read_pictures(Path("x.tar"), "train", Look())
    assert found.labels.tolist() == numbers
    assert found.classes == classes
    assert np.array_equal(found.data[np.arange(len(labels))][1], pixels_of(1).transpose(2, 0, 1)[::-1])
    assert sorted(os.listdir()) == ["x.tar"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_of_every_format_of_tar(form):
    long = "/".join(["deep" * 10] * (5 if form == tarfile.USTAR_FORMAT else 9)) + "/größe"
    with tarfile.open("x.tar", "w", format=form) as tar:
        tar.addfile(tarfile.TarInfo("folder"))
        add(tar, f"{long}.png", png(1))
        add(tar, f"{long}.cls", b"4")
    found = read_pictures(Path("x.tar"), "train", Look())
    assert (list(found.names), found.labels.tolist()) == ([f"{long}.png"], [4])
    assert np.array_equal(found.data[np.array([0])][0], pixels_of(1).transpose(2, 0, 1)[::-1])


@pytest.mark.parametrize(
    ("labels", "ending", "words"),
    [
        (("1", None), "cls", "has labels, but none for ../../001.png"),
        (("1", "cat"), "cls", "labels of both kinds"),
        (("[1]",) * 2, "json", "holds no label"),
        (("{}",) * 2, "json", "holds no label"),
        (("",) * 2, "cls", "holds no label"),
        (("1" * 30,), "cls", "too many digits"),
        (("1" * 70_000,), "cls", "too many for a label"),
    ],
)
def test_wrong_labels_of_a_tar(labels, ending, words):
    make_tar(labels, ending)
    refused("x.tar", words, path="x.tar")


def test_damaged_tar_files():
    make_tar(("1", "0"))
    whole = Path("x.tar").read_bytes()
    for content in (b"", whole[:700], b"\x1f\x8b" + whole, b"x" * 2000):
        Path("x.tar").write_bytes(content)
        refused("x.tar", path="x.tar")
    with tarfile.open("x.tar", "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    refused("x.tar holds no pictures", path="x.tar")


def make_shards(labels, name="shards/a-{:03d}.tar", ending="cls"):
    """A tar file for each list of labels; keys are the same in each."""
    Path("shards").mkdir(exist_ok=True)
    number = itertools.count()
    for k, some in enumerate(labels):
        with tarfile.open(name.format(k), "w") as tar:
            for i, label in enumerate(some):
                add(tar, f"{i}.png", png(next(number)))
                add(tar, f"{i}.{ending}", label.encode())


WORDS = [["cat", "emu"], ["dog"], ["cat", "dog", "emu"]]


@pytest.mark.parametrize(
    ("source", "which"),
    [
        ("shards", (0, 1, 2)),
        ("shards/", (0, 1, 2)),
        ("shards/a-*.tar", (0, 1, 2)),
        ("shards/a-{000..002}.tar", (0, 1, 2)),
        ("shards/a-{002,000}.tar", (2, 0)),
        ("sha{rds,rds}/a-00{1..1}.tar", (1, 1)),
        ("shards/a-00[12].tar", (1, 2)),
    ],
)
@pytest.mark.parametrize("ending", ["cls", "txt"])
def test_shards(source, which, ending):
    make_shards(WORDS, ending=ending)
    found = sources.load(source, "train", Path(), Generate())
    starts = np.cumsum([0, *map(len, WORDS)])
    wanted = [(int(starts[k]) + i, f"a-00{k}.tar/{i}.png", word) for k in which for i, word in enumerate(WORDS[k])]
    assert list(found.names) == [name for _, name, _ in wanted]
    assert [found.classes[label] for label in found.labels] == [word for *_, word in wanted]
    pixels = [pixels_of(number).transpose(2, 0, 1)[::-1] for number, *_ in wanted]
    np.testing.assert_array_equal(found.data[np.arange(len(found))], pixels)


def test_the_first_file_beside_a_picture_holds_its_label():
    with tarfile.open("x.tar", "w") as tar:
        add(tar, "0.png", png(0))
        add(tar, "0.txt", b"a long\ncaption")
        add(tar, "0.json", b'{"license": 4}')
        add(tar, "0.cls", b"7")
    found = read_pictures(Path("x.tar"), "train", Look())
    assert (found.labels.tolist(), found.remark) == ([7], "2 files in x.tar that are no pictures ignored")


def test_wrong_shards():
    make_shards(WORDS)
    with pytest.raises(NettrainError, match=r"there is no a-003\.tar, a-004\.tar, a-005\.tar and 4 more"):
        sources.load("shards/a-{000..009}.tar", "train", Path(), Generate())
    with pytest.raises(NettrainError, match="data file not found: shards/b-"):
        sources.load("shards/b-*.tar", "train", Path(), Generate())
    with pytest.raises(NettrainError, match="more than 100,000 files"):
        sources.load("shards/{000..999}{000..999}.tar", "train", Path(), Generate())
    make_shards([["3"]], "shards/a-{:03d}.tar")
    refused("labels of both kinds", path="shards")
    make_shards([["cat"]], "shards/val-{:03d}.tar")
    refused("tar files of several kinds", "source: {train: shards/a-*.tar, test: shards/val-*.tar}", path="shards")


def test_labels_of_shards_for_tests_count_the_classes_of_training():
    make_shards(WORDS)
    make_shards([["emu", "dog"]], "shards/b-{:03d}.tar")
    source = "{train: shards/a-*.tar, test: 'shards/b-{000..000}.tar'}"
    Path("net.yaml").write_text(SPEC, encoding="utf-8")
    net = nettrain.Net("net.yaml", "TEST", settings=[f"d.source={source}", "d.batch_size=2"])
    net.forward()
    assert net.blobs["label"].data.ravel().tolist() == [2, 1]


# Kept, and read ahead


@pytest.mark.parametrize("limit", [None, 0, 5 * 216, 216 * 60])
def test_prefetch_and_cache_change_no_number(limit):
    make_folder()
    wanted = np.stack([pixels_of(100 * c + i).transpose(2, 0, 1)[::-1] for c in range(3) for i in range(20)])
    data = read_pictures(Path("photos"), "train", Look(cache=limit)).data
    order = np.random.default_rng(1).permutation(np.arange(150) % 60)
    for k in range(0, 150, 10):
        data.expect(order[k : k + 30])
        assert np.array_equal(data[order[k : k + 10]], wanted[order[k : k + 10]])
    data.expect(order)
    data.expect(order[:2])  # what nobody asks for is forgotten
    assert len(data.expected) <= 4
    assert data.used == (60 if limit is None else min(60, limit // 216))
    assert len(data.store) == (60 if limit is None else min(60, limit // 216))
    assert np.array_equal(data[np.array([3, 3])], wanted[[3, 3]])


def test_what_comes_is_told_beyond_the_end_of_an_epoch():
    for shuffle in (True, False):
        order = Order(10, shuffle, 5, "d")
        for _ in range(9):  # batches of 4: some end with an epoch, some span its end
            told, ends = order.coming(8).tolist(), order.coming(8, stop_at_end=True).tolist()
            state = order.state()
            assert order.next(8).tolist() == told
            assert told[: len(ends)] == ends
            assert len(ends) == min(8, 10 - state["position"])
            order.set_state(state)
            order.next(4)
        assert sorted(order.coming(99).tolist()[: 10 - order.position]) == sorted(order.next(10 - order.position))


def test_what_is_kept_is_made_once():
    made = []
    kept = Kept(4, lambda i: made.append(i) or np.full(2, i, np.uint8), (2,), limit=6)
    for _ in range(3):
        assert kept[np.array([0, 1, 2, 3])].tolist() == [[i, i] for i in range(4)]
    assert made == [0, 1, 2, 3, 3, 3]


def test_an_error_ahead_comes_where_it_belongs():
    def make(i):
        if i == 5:
            raise NettrainError("five")
        return np.zeros(1, np.uint8)

    kept = Kept(8, make, (1,))
    kept.expect(np.arange(8))
    kept[np.arange(5)]
    with pytest.raises(NettrainError, match="five"):
        kept[np.arange(4, 8)]
    assert kept[np.array([7])].tolist() == [[0]]


def test_work_that_no_thread_does_is_done_by_who_asks(monkeypatch):
    monkeypatch.setattr(ahead, "begin", lambda tasks: None)
    kept = Kept(8, lambda i: np.full(1, i, np.uint8), (1,))
    kept.expect(np.arange(8))
    assert kept[np.arange(8)].ravel().tolist() == list(range(8))
    assert [i for i, _ in ahead.each(lambda i: i, range(20))] == list(range(20))


FORKS = """
import os, threading
import numpy as np
from nettrain.data.pictures.heads import Head, plain_head, read_head
from nettrain.data.pictures.kept import Kept
inside, go = threading.Event(), threading.Event()
parent = os.getpid()
def make(i):
    if os.getpid() == parent and threading.current_thread() is not threading.main_thread():
        inside.set()
        go.wait()
    return np.full(1, i, np.uint8)
kept = Kept(8, make, (1,))
kept.expect(np.arange(8))
inside.wait()
child = os.fork()
if not child:
    kept.expect(np.arange(8))
    os._exit(0 if kept[np.arange(8)].ravel().tolist() == list(range(8)) else 1)
assert os.waitpid(child, 0)[1] == 0
print("done", flush=True)  # and ends although its threads wait
"""


def test_a_fork_while_threads_read_and_an_end_while_they_do():
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# Training


def weights(file):
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith("param")}


def test_training_is_the_same_resumed_and_with_nothing_ahead_or_kept(nettrain_cli):
    make_folder()
    Path("net.yaml").write_text(SPEC, encoding="utf-8")
    said = nettrain_cli("train", "net.yaml", "--out", "a")
    assert "photos: 48 train / 12 test" in said.output
    for out, keys in {"b": "prefetch=0", "c": "cache_mb=0", "d": "prefetch=5"}.items():
        nettrain_cli("train", "net.yaml", "--out", out, "--set", f"d.{keys}")
    nettrain_cli("train", "net.yaml", "--out", "e", "--set", "solver.max_iter=4")
    nettrain_cli("train", "net.yaml", "--resume", "e")
    wanted = weights("a/iter_8.npz")
    assert len(wanted) == 2
    for out in "bcde":
        found = weights(f"{out}/iter_8.npz")
        assert all(np.array_equal(found[name], array) for name, array in wanted.items()), out


def test_a_picture_that_changed_is_other_data():
    make_folder(each=2)
    net = net_of()
    kept = net.layers["d"].set.data.of
    assert nettrain.Net("net.yaml", "TEST").layers["d"].set.data.of is kept
    before = net.layers["d"].fingerprint()
    save("photos/cat/00.png", pixels_of(77))
    again = net_of()
    assert again.layers["d"].set.data.of is not kept
    assert again.layers["d"].fingerprint() != before


def test_keys_of_pictures_belong_to_pictures():
    with pytest.raises(NettrainError, match="digits holds no pictures, which alone have `size`"):
        net_of(source="digits", size=3, transform="{scale: 1}")
    with pytest.raises(NettrainError, match="size has one number, or two"):
        net_of(size="[1, 2, 3]")


# Layers of Caffe's


LIST_SPEC = """\
solver: {base_lr: 0.1, max_iter: 2}
layers:
  - {name: d, type: ImageData, top: [data, label], source: SOURCE, batch_size: {train: 2, test: 3}}
  - {name: ip, type: InnerProduct, bottom: data, num_output: 3}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}
"""


def nets_of(source, text=LIST_SPEC):
    Path("list.yaml").write_text(text.replace("SOURCE", source), encoding="utf-8")
    nets = [nettrain.Net("list.yaml", phase) for phase in ("TRAIN", "TEST")]
    for net in nets:
        net.forward()
    return nets


def test_lists_for_each_phase_with_quotes_tabs_and_a_byte_order_mark():
    save("my photo.png", pixels_of(1))
    save('"odd".png', pixels_of(2))
    save('"odd"', pixels_of(3), format="PNG")
    Path("a.txt").write_bytes(b'\xef\xbb\xbf"my photo.png"\t2\r\nmy photo.png 1\n')
    Path("b.txt").write_text('"odd".png 0\n"odd" 1\n my photo.png  \t2 \n')
    train, test = nets_of("{train: a.txt, test: b.txt}")
    assert train.blobs["label"].data.tolist() == [2, 1]
    assert test.blobs["label"].data.tolist() == [0, 1, 2]
    for k, i in enumerate((2, 3, 1)):
        assert np.array_equal(test.blobs["data"].data[k], pixels_of(i).transpose(2, 0, 1)[::-1])


def test_image_data_reads_folders():
    make_folder("photos/train", classes=("cat", "dog"), each=2)
    make_folder("photos/val", classes=("dog",), each=3)
    train, test = nets_of("photos")
    assert train.blobs["label"].data.tolist() == [0, 0]
    assert test.blobs["label"].data.tolist() == [1, 1, 1]
    assert test.layers["d"].name_of(1) == "val/dog/01.png"
    assert train.fitted()["d"] == {"example": list(train.layers["d"].example), "classes": ["cat", "dog"]}
    assert test.layers["d"].reads != train.layers["d"].reads
    Path("photos/val/dog/01.png").write_text("no")
    with pytest.raises(NettrainError, match=r"photos: image val/dog/01\.png is not an image"):
        nets_of("photos")


def test_lists_of_each_phase_are_two_layers_of_caffe():
    save("a.png", pixels_of(1))
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("a.png 1\n")
    nets_of("{train: a.txt, test: b.txt}")
    convert("list.yaml", "list.prototxt", Options())
    data = load("list.prototxt").layers[:2]
    assert [one.parameters.source.train for one in data] == ["a.txt", "b.txt"]
    assert [one.parameters.batch_size.train for one in data] == [2, 3]
    nets_of("a.txt", LIST_SPEC.replace("{train: 2, test: 3}", "2"))
    convert("list.yaml", "one.prototxt", Options())
    assert Path("one.prototxt").read_text().count("ImageData") == 1


def test_pictures_become_records_for_caffe():
    make_folder(each=3)
    Path("net.yaml").write_text(SPEC.replace("batch_size: 7,", "batch_size: 7, size: 6,"), encoding="utf-8")
    convert("net.yaml", "net.prototxt", Options())
    made = read_lmdb(Path("net_d_train_lmdb"))
    assert made.data.shape[1:] == (3, 6, 6)
    part = nettrain.Net("net.yaml", "TRAIN").layers["d"].set  # what split leaves to training
    assert len(made) == len(part) == 7
    assert np.array_equal(made.data[np.array([6])], part.data[np.array([6])])


# Predicting


def test_pictures_given_to_a_net():
    make_folder(each=2)
    names = ["photos/cat/00.png", "photos/cat/bad.png", "gone.png", Path("photos/dog/01.png")]
    Path("photos/cat/bad.png").write_text("no")
    found = given_pictures(names, Path, (3, 4, 5), True)
    assert found.data[np.arange(4)].shape == (4, 3, 4, 5)
    assert [found.name_of(i) for i in range(4)] == [str(name) for name in names]
    assert [bool(found.unreadable(i)) for i in range(4)] == [False, True, True, False]
    assert "is not an image" in found.unreadable(1)
    assert len(given_pictures("photos", Path, (3, 4, 5), True)) == 7
    assert len(given_pictures("photos/dog/01.png", Path, (1, 4, 5), False)) == 1
    assert given_pictures(np.zeros(3), Path, (3,), True) is None
    with pytest.raises(NettrainError, match="not trained on pictures"):
        given_pictures(names, Path, (7,), False)


def test_a_trained_net_answers_for_files_and_names_those_it_cannot_read(nettrain_cli):
    make_folder()
    Path("net.yaml").write_text(SPEC, encoding="utf-8")
    nettrain_cli("train", "net.yaml", "--out", "run")
    model = nettrain.load("run")
    assert model.classes == ("bird", "cat", "dog")
    Path("bad.png").write_text("no")
    answers = list(model.answer(["photos/cat/03.png", "bad.png", *(f"photos/dog/{i:02d}.png" for i in range(9))]))
    named = [name for one in answers for name in one.names]
    assert named == ["photos/cat/03.png", *(f"photos/dog/{i:02d}.png" for i in range(9))]
    assert [len(one.outputs["prob"]) for one in answers] == [6, 4]
    assert [list(one.unread) for one in answers] == [["bad.png"], []]
    array = pixels_of(103).transpose(2, 0, 1)[None, ::-1]
    assert np.allclose(model.predict_proba(array), answers[0].outputs["prob"][:1], rtol=1e-6)


@pytest.mark.parametrize("keys", ["", "size: 6, color: true, "])
def test_without_pillow_its_install_command_is_said(keys, monkeypatch, nettrain_cli):
    """Also where pictures, or their heads, are read by threads."""
    make_folder(each=3)
    Path("net.yaml").write_text(SPEC.replace("batch_size: 7,", f"batch_size: 7, {keys}"), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for words in (("check", "net.yaml"), ("train", "net.yaml"), ("new", "mine", "--data", "photos")):
        assert 'pip install "nettrain[images]"' in nettrain_cli(*words, exit_code=2).stderr
