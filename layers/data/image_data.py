"""ImageData: batches of image files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...data.dataset import beginning_of, digest, some_of
from ...data.division import counts_of
from ...data.given import files_in
from ...data.image_list import read_list, refuse_missing
from ...data.images import decode, entries, find_image, size_in_head
from ...data.pictures.folder import read_folder
from ...data.pictures.kept import Kept
from ...data.pictures.reading import classes_of_folder
from ...data.sources import find_file
from ...data.transform import Transform
from ...data.transforming.facts import find_facts, picture
from ...data.transforming.mixing import Mixing
from ...files.extras import extra
from ...net.blob import Known
from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, format_shape
from .batches import Batches
from .given import array_of
from .phases import BatchSize, ListSource

LOOKED_FOR = 10_000  # images of a list that must be there before work begins
LOOKED_AT = 200  # images of a list whose sizes are compared before work begins, at 0.1 ms each and more from a disk


def spread(count: int, some: int) -> list[int]:
    """At most ``some`` of the numbers below ``count``, from all parts of it and at no fixed distance: what recurs
    every ten images is seen too."""
    golden = (5**0.5 - 1) / 2
    return list(range(count)) if count <= some else sorted({int(i * golden % 1 * count) for i in range(some)})


def _two_images(folder: Path) -> None:
    library = extra("PIL.Image", "images", "ImageData")
    for name, size in (("a.png", (5, 4)), ("b.png", (7, 6))):
        library.new("RGB", size, (10, 20, 30)).save(folder / name)
    (folder / "images.txt").write_text("a.png 0\nb.png 3\n", encoding="utf-8")


@register
class ImageData(Batches):
    """Batches of image files from a list of ``file label`` lines, or a folder with a folder of images for each class.

    top[0]: images, N x C x H x W, channels blue, green, red (one with ``is_color: false``), values 0 to 255 before the
    transform.    top[1]: labels, N; with transform.mixup in TRAIN probabilities, N x classes.
    With new_height and new_width every image is resized (bilinear); without, all must have the size of the first: of up
    to 200 of them this is checked before work begins.
    In TRAIN with ``shuffle`` the order changes each epoch. Images are read when they are needed, by threads
    ``prefetch`` batches ahead, and kept as far as ``cache_mb`` allows; that changes no number. A name in a list may be
    in quotes; of a folder, classes are numbered by name, and with train, val and test in it tests read val, or test.
    Needs pillow: pip install "nettrain[images]".
    Errors: a list that is missing or damaged, with file and line; an image missing, damaged or of the wrong size.
    Source: Caffe's ImageData; a bad label there becomes 0.
    """

    class Parameters(Declared):
        source: ListSource = param(
            doc="a text file with `file label` on each line, or a folder for each class; or {train: …, test: …}"
        )
        batch_size: BatchSize = param(
            default=BatchSize(train=1, test=1), doc="images in a batch, or {train: …, test: …}"
        )
        shuffle: bool = param(default=False, doc="TRAIN: a new order each epoch")
        new_height: int = param(default=0, minimum=0, doc="height images are resized to; with new_width")
        new_width: int = param(default=0, minimum=0, doc="width images are resized to; with new_height")
        is_color: bool = param(default=True, doc="three channels; false: one, grey")
        root_folder: str = param(default="", doc="prepended to every file name")
        rand_skip: int = param(default=0, minimum=0, doc="TRAIN: skip 0 to rand_skip - 1 images at the start")
        transform: Transform = param(default=Transform(), doc="normalize, crop_size, mirror, scale, mean_value …")
        cache_mb: int | None = param(
            default=None, minimum=0, doc="decoded images kept in memory; by default up to a quarter of it"
        )
        prefetch: int = param(default=2, minimum=0, doc="batches that threads read ahead")

        aliases = {"image_data_param": "write its fields beside type", "transform_param": "transform"}

        def validate(self) -> Iterable[tuple[str, str]]:
            if bool(self.new_height) != bool(self.new_width):
                given = "new_width" if self.new_height else "new_height"
                yield given, "is missing: new_height and new_width go together"
            yield from self.transform.unforced(f"write is_color: {'true' if self.transform.color else 'false'}")

    num_tops = 2
    mixing: Mixing | None = None
    is_given = False  # whether the images are given, where a net serves
    pixels: np.ndarray | None = None  # those from a program
    can_be_given = True
    how_to_split = "give source: {train: LIST, test: ANOTHER}"
    examples = (
        Example(
            params={"source": "images.txt", "batch_size": 2, "new_height": 4, "new_width": 5, "shuffle": True},
            files=_two_images,
        ),
    )

    def setup(self, bottom, top):
        p = self.p
        self.size = (p.new_height, p.new_width) if p.new_height else None
        if self.serves and "example" in self.fitted:
            self.serve(p)
            return
        self.list = find_file(p.source.of(self.phase), self.folder, folders=True)
        self.root = p.root_folder
        self.is_list, part, classes = not os.path.isdir(self.list), "", ()
        if self.is_list:
            self.files, self.labels, self.lines = read_list(self.list)
        else:
            part, classes = self.read_classes()
        self.reads = {f"{self.list.resolve()}{part}": str(self.list)}
        self.check_classes(classes, str(self.list))
        if not all(os.path.exists(self.path(i)) for i in spread(len(self.files), LOOKED_FOR)):
            refuse_missing(map(self.path, range(len(self.files))), self.where, self.root)
        first = self.image(0)
        self.example = first.shape
        self.example_from = f"{self.files[0]} of {self.list}"
        self.one_shape_by = "give both new_height and new_width, or a transform with crop_size"
        if not self.size:
            self.compare_sizes()
        self.mean = p.transform.mean(self.folder, self.example)
        top[1].known = Known(self.labels, str(self.list))
        shapes = [p.transform.output_shape(self.example), ()]
        limit = None if p.cache_mb is None else p.cache_mb * 1_000_000
        self.images = Kept(len(self.files), self.image_of_one_size, self.example, limit)
        self.images.keep(0, first)
        self.facts = find_facts(p.transform, self.fitted, self.training_examples, self.phase == "TRAIN", bgr=True)
        self.fitted = {"example": list(self.example)} | self.facts.fitted()
        if classes:
            self.fitted["classes"] = list(classes)
        if p.transform.mixup and self.phase == "TRAIN":
            self.mixing = Mixing(p.transform.mixup, [self.labels], str(self.list), len(classes))
            shapes[1], top[1].known = (self.mixing.classes,), None
        self.begin(len(self.files), p.batch_size.of(self.phase), p.shuffle, shapes, str(self.list))
        if p.rand_skip > len(self.files):
            raise NettrainError(f"{self.list} has {len(self.files):,} images, fewer than rand_skip", key="rand_skip")
        if p.rand_skip > 1 and self.phase == "TRAIN":
            self.order.position = int(self.rng.integers(p.rand_skip))

    def serve(self, p):
        """Shapes as a run found them; images will be given."""
        self.example, self.files = tuple(self.fitted["example"]), []
        self.mean = p.transform.mean(self.folder, self.example)
        self.facts = find_facts(p.transform, self.fitted, self.training_examples, in_training=False, bgr=True)
        self.begin(1, p.batch_size.of(self.phase), False, [p.transform.output_shape(self.example), ()], "what is given")

    def read_classes(self):
        """The images of a folder for each class; which part it is, where the folder has several, and the classes."""
        train = self.p.source.train
        known = tuple(self.fitted.get("classes", ()))
        if not known and self.phase == "TEST" and train != self.p.source.test:
            known = classes_of_folder(train, self.folder)
        found = read_folder(self.list, "train" if self.phase == "TRAIN" else "test", known)
        self.files, self.labels = list(found.names), np.asarray(found.labels)
        self.lines, self.root = np.zeros(0, int), f"{self.list}/"
        self.remark = "; ".join(found.remarks)
        return f" {found.split}", found.classes

    def read_given(self, given):
        """Image files, or an array of images as they come from them: N x C x H x W, values 0 to 255."""
        self.is_given, self.pixels = True, None
        if (files := files_in(given)) is not None:
            self.files, origin = files, "what is given"
        else:
            self.pixels, origin = array_of(given, self.top_names[0]), "the array"
            if self.pixels.shape[1:] != self.example:
                raise ShapeError(
                    f"examples must be N x {format_shape(self.example)}, got {format_shape(self.pixels.shape)}"
                )
            self.files = [f"{i:,}" for i in range(len(self.pixels))]
        self.labels = np.zeros(len(self.files))
        self.begin(len(self.files), self.p.batch_size.test, False, self.shapes, origin)

    def entries(self):
        return entries(self.files, self.root, self.list, self.folder)

    def path(self, i):
        if not self.is_list:
            return self.list / self.files[i]
        return find_image(self.files[i], self.root, self.list, self.folder)

    def compare_sizes(self):
        """Only part of a long list, so that work begins at once; the rest is checked when it is read."""
        for i in spread(len(self.files), LOOKED_AT):
            size = size_in_head(self.path(i))
            if size not in (None, self.example[1:]):
                raise self.other_size(i, (self.example[0], *size))

    def other_size(self, i, shape):
        if self.is_given:
            return NettrainError(
                f"{self.files[i]} is {format_shape(shape)}; the net was trained on {format_shape(self.example)}, and "
                "has no new_height and new_width to resize images"
            )
        return NettrainError(
            f"{self.list}: the images have several sizes: {self.files[0]} is {format_shape(self.example)}, "
            f"{self.files[i]} is {format_shape(shape)}; give new_height and new_width to resize them",
            key="source",
        )

    def fingerprint(self):
        """The list, and some images, evenly spread: all may be too many to be read."""
        return {
            "images": len(self.files),
            "list": digest(["\n".join(self.files).encode(), self.labels]),
            "contents": digest(beginning_of(self.path(i)) for i in some_of(len(self.files))),
        }

    def image(self, i):
        path = Path(self.files[i]) if self.is_given else self.path(i)
        if not self.is_given and self.is_list and not os.path.exists(path):
            refuse_missing(map(self.path, range(len(self.files))), self.where, self.root)
        return decode(path, self.where(i), self.size, self.p.is_color)

    def image_of_one_size(self, i):
        image = self.image(i)
        if image.shape != self.example:
            raise self.other_size(i, image.shape)
        return image

    def where(self, i):
        if self.is_given:
            return self.files[i]
        return f"{self.list}{f':{self.lines[i]}' if self.is_list else ''}: image {self.files[i]}"

    def name_of(self, k):
        return self.files[int(self.indices[k])]

    def read_ahead(self):
        if self.p.prefetch and not self.is_given:
            self.images.expect(self.coming(self.p.prefetch))

    def class_counts(self):
        return counts_of(self.labels, self.fitted.get("classes", ()))

    def picture(self, k, top):
        return picture(self.p.transform, top[0].data[k], self.facts, self.mean)

    def training_examples(self):
        """The images, which are read when they are asked for. Raises NettrainError."""
        if self.phase == "TEST":
            raise NettrainError(
                "normalize needs the training images, and this layer reads others: give the layers of both phases one "
                "name, or the numbers as normalize: {mean: [..], std: [..]}",
                key="transform",
            )
        return self.images

    def read(self, indices):
        if self.pixels is not None:
            return self.pixels[indices]
        if self.is_given:  # once: they are not kept
            return np.stack([self.image_of_one_size(int(i)) for i in indices])
        return self.images[indices]

    def fill(self, indices, top, rng):
        images = self.read(indices)
        self.p.transform.apply(images, np.arange(len(indices)), top[0].data, rng, self.mean, facts=self.facts)
        if self.mixing:
            self.mixing(top[0].data, self.labels[indices], top[1].data, rng)
        else:
            np.copyto(top[1].data, self.labels[indices])
