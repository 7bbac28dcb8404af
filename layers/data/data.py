"""Data: batches from a data set.

It is one file because it is one layer: its keys, and what it does with each kind of set that it is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ...data import one_hot
from ...data.dataset import UNDIVIDED, WHOLE, bad_value, digest, digest_of, not_finite
from ...data.division import Column, Split, counts_of, part_of, rare
from ...data.generators import GENERATORS, Generate
from ...data.given import file_in
from ...data.layout import Layout, arranged, noticed
from ...data.lmdb import has_sizes_of_its_own, is_of_encoded
from ...data.pictures.reading import Look, classes_of_folder, given_pictures, is_of_pictures, is_quick_to_read
from ...data.sources import NAMED, find_file, given_examples
from ...data.table.reading import is_table
from ...data.transform import Transform
from ...data.transforming.facts import find_facts, picture
from ...data.transforming.mixing import Mixing
from ...net.blob import Known
from ...net.example import Example
from ...net.registry import register
from ...spec.advice import say
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, WrongKindError, format_shape
from .batches import Batches
from .columns import ColumnsOf, given_columns
from .given import further_given
from .phases import BatchSize, Source


@register
class Data(Batches):
    """Batches of examples, and their labels, from a data set.

    top[0]: examples, N x (shape of an example).    top[1], optional: labels, N x (shape of a label).
    further tops: the arrays of an .npz with their names, such as masks or several labels, in any shape.
    A source with two splits gives its train split in TRAIN and its test split in TEST. In TRAIN the examples are
    shuffled anew each epoch (``shuffle: false``: the file's order, as in Caffe) and a batch may span the end
    of an epoch, or of several; in TEST the order is the file's, and a whole pass ends with a shorter batch.
    Each example becomes (value - mean) * scale, after crop and mirror; `transform` has more. Label maps, N x H x W or
    N x C x H x W with the images' H and W, move as the pixels of their images do, whichever top they are.
    With transform.mixup top[1] is N x classes in TRAIN: probabilities. In TEST it has the labels.
    Errors: a missing, damaged or empty file; a label asked for that the set does not have; a further top the file has
    no array for, or one with a different number of rows.
    A program may give arrays in place of the source, those of further tops too:
    ``get_solver(spec, given={"data": {"data": x, "label": y}})``, by the name of the layer.
    A folder with an LMDB of Caffe's Datum records is a source too (with encoded images it needs pillow: pip install
    "nettrain[images]"): its examples are read batch by batch, others lie in memory; with
    crop_size or resize they may have several sizes.
    So is a folder with a folder of pictures for each class, perhaps below train, val and test (tests read val, or test
    where there is none); or tar files with KEY.jpg beside KEY.cls, KEY.json or KEY.txt: ``a.tar``, a folder of them,
    ``a-*.tar`` or ``a-{000..009}.tar``. Channels are blue, green, red, as Caffe's,
    or one of grey; EXIF turns them, transparent pixels show white, of 16 bits the upper 8 are taken. What was decoded
    is kept in memory up to ``cache_mb``; ``prefetch`` batches are read ahead by threads, with the same numbers.
    Source: Caffe's Data with transform_param, which never shuffles.
    """

    class Parameters(Declared):
        source: Source = param(
            doc="digits, mnist …, a table (.csv, .parquet …), .npz, IDX, .tar, a folder of pictures; or {train, test}"
        )
        batch_size: BatchSize = param(doc="examples in a batch, or {train: …, test: …}")
        transform: Transform = param(default=Transform(), doc="normalize, crop_size, mirror, scale, mean_value …")
        shuffle: bool = param(default=True, doc="TRAIN: a new order each epoch")
        generate: Generate = param(default=Generate(), doc="options of generated sets: examples, classes, noise …")
        backend: Literal["LMDB"] | None = param(default=None, doc="LMDB: the source is a folder with Datum records")
        split: Split | None = param(
            default=None, doc="share kept for tests, where the source has no part for them: 0.2 by default, 0 for none"
        )
        layout: Layout | None = param(
            default=None,
            doc="arrays of images: NHWC with the channels last, NHW without channels; NCHW is the net's own",
        )
        one_hot: bool = param(
            default=False, doc="labels have a 1 for the class and else 0, N x classes; they become its number"
        )
        label: tuple[Column, ...] | None = param(
            default=None,
            doc="table: the column with the label, by name or number; several; [] for none; else `label` or the last",
        )
        label_column: Column | None = param(default=None, doc="table: an older word for `label`")
        features: tuple[Column, ...] | None = param(default=None, doc="table: these columns; else all but labels")
        drop: tuple[Column, ...] = param(default=(), doc="table: columns that are left out")
        categories: Literal["one_hot", "index"] = param(
            default="one_hot", doc="table: a word becomes a column for each category (1 or 0), or its number"
        )
        missing: Literal["error", "mean", "drop"] = param(
            default="error",
            doc="table: a gap among numbers is refused, is the mean of the training rows, or its row is left out",
        )
        standardize: bool = param(
            default=False, doc="table: numbers minus the mean of the training rows, over their deviation"
        )
        size: tuple[int, ...] = param(
            default=(), minimum=1, doc="pictures: height and width they are brought to, such as 64 or [48, 64]"
        )
        color: bool | None = param(
            default=None, doc="pictures: three channels, false: one, grey; by default three where any has colours"
        )
        damaged: Literal["refuse", "skip"] = param(
            default="refuse", doc="pictures that cannot be read: skip leaves them out"
        )
        cache_mb: int | None = param(
            default=None, minimum=0, doc="pictures: decoded ones kept in memory; by default up to a quarter of it"
        )
        prefetch: int = param(default=2, minimum=0, doc="pictures: batches that threads read ahead")

        aliases = {
            "transform_param": "transform",
            "scale": "write it as transform: {scale: …}",
            "mirror": "write it as transform: {mirror: true}",
            "crop_size": "write it as transform: {crop_size: …}",
            "mean_value": "write it as transform: {mean_value: …}",
            "mean_file": "write it as transform: {mean_file: …}",
            "data_param": say("write its fields beside {}", "type"),
            "batch": "batch_size",
            "target": "label",
            "labels": "label",
            "columns": "features",
        }
        exclusive = (("label", "label_column"),)

        def validate(self) -> Iterable[tuple[str, str]]:
            if len(self.size) > 2:
                yield "size", "has one number, or two: height and width"

        @property
        def look(self) -> Look:
            """How pictures are taken."""
            size = (self.size[0], self.size[-1]) if self.size else None
            cache = None if self.cache_mb is None else self.cache_mb * 1_000_000
            color = self.transform.color if self.color is None else self.color
            return Look(size, color, self.damaged, cache)

    num_tops = (1, None)
    can_be_given = True
    mixing: Mixing | None = None
    trains_on_given = True
    examples = (
        Example(params={"source": "digits", "batch_size": 4}, tops=2),
        Example(params={"source": "spiral", "batch_size": 6, "shuffle": False}, tops=2),
        Example(
            params={
                "source": "digits",
                "batch_size": {"train": 8, "test": 5},
                "transform": {"scale": 0.0625, "crop_size": 6, "mirror": True, "mean_value": 8},
            },
        ),
    )

    def setup(self, bottom, top):
        p, split = self.p, "train" if self.phase == "TRAIN" else "test"
        if self.serves and "example" in self.fitted:
            self.serve(p)
            return
        columns = ColumnsOf(self, split)
        whole = columns.found
        self.can_be_divided = self.is_one_source and whole.split in (WHOLE, UNDIVIDED)
        self.set = columns.in_numbers(self.divided(whole, split))
        is_pictures, is_encoded = is_of_pictures(self.set.data), is_of_encoded(self.set.data)
        self.check_keys_of_pictures(is_pictures, is_encoded)
        remarks = [self.set.remark, *self.notes_on_division(whole), *columns.notes]
        if not p.layout and not is_pictures:
            remarks.append(noticed(whole))
        if len(top) > 1:
            remarks.append(one_hot.noticed(whole))
        if p.transform.color is not None and not is_pictures and not is_encoded:  # Caffe says so and goes on
            remarks.append("transform's force_color and force_gray are for encoded images, which these are not")
        self.remark = "; ".join(filter(None, remarks))
        self.is_quick_to_examine = is_quick_to_read(self.set.data)
        self.reads, self.how_to_split = self.identity(split)
        example = self.set.data.shape[1:]
        shapes = [p.transform.output_shape(example)]
        self.mean = p.transform.mean(self.folder, example)
        in_bgr = whole.split == UNDIVIDED or is_pictures  # as Caffe's databases
        self.facts = find_facts(p.transform, self.fitted, self.training_examples, self.phase == "TRAIN", in_bgr)
        self.further = self.find_further(top)
        if len(top) > 1:
            self.check_classes(self.set.classes, self.set.origin)
        self.example_from = self.set.origin
        if len(example) == 3:
            self.one_shape_by = "a transform with crop_size cuts both to one size"
        self.are_maps = [p.transform.is_map(array, example) for array in self.further]
        for array, is_map in zip(self.further, self.are_maps, strict=True):
            shapes.append((*array.shape[1:-2], *shapes[0][1:]) if is_map else array.shape[1:])
        self.fitted = {"example": list(example), "further": [list(shape) for shape in shapes[1:]]}
        self.fitted |= self.facts.fitted() | columns.fitted
        if self.set.classes:
            self.fitted["classes"] = list(self.set.classes)
        if is_pictures or is_encoded:
            self.fitted["pictures"] = True
        if p.transform.mixup and self.phase == "TRAIN":
            self.mixing = Mixing(p.transform.mixup, self.further, self.set.origin, len(self.set.classes))
            shapes[1], top[1].known = (self.mixing.classes,), None
        self.begin(len(self.set), p.batch_size.of(self.phase), p.shuffle, shapes, self.set.origin)

    def check_keys_of_pictures(self, is_pictures, is_encoded):
        """Raise NettrainError for a key of pictures where the source has none; encoded records have a colour too."""
        p = self.p
        if not is_pictures and (p.size or p.damaged != "refuse" or (p.color is not None and not is_encoded)):
            key = "size" if p.size else "damaged" if p.color is None else "color"
            raise NettrainError(f"{self.set.origin} holds no pictures, which alone have `{key}`", key=key)

    def find_further(self, top):
        """The arrays of the tops after the first, labels before others. Raises NettrainError for a missing one."""
        further = [self.set.labels]
        if len(top) > 1 and self.set.labels is None:
            raise NettrainError(
                f"{self.set.origin} has no labels for the second top; they are the array `label` of an .npz, "
                "y_….npy beside x_….npy; without labels say top: data",
                key="source",
            )
        for name in self.top_names[2:]:
            if name not in self.set.others:
                has = ", ".join(self.set.others) or "none"
                raise NettrainError(
                    f"{self.set.origin} has no array `{name}` for a further top; it has {has}", key="top"
                )
            further.append(self.set.others[name])
        further = further[: len(top) - 1]
        for blob, array in zip(top[1:], further, strict=True):
            if isinstance(array, np.ndarray):
                blob.known = Known(
                    array, self.set.origin, self.set.classes, name_of=self.set.name_of if self.set.names else None
                )
        return further

    def serve(self, p):
        """Shapes as a run found them; examples will be given."""
        example = tuple(self.fitted["example"])
        self.mean = p.transform.mean(self.folder, example)
        self.facts = find_facts(p.transform, self.fitted, self.training_examples, in_training=False)
        shapes = [p.transform.output_shape(example), *map(tuple, self.fitted["further"])]
        self.begin(1, p.batch_size.of(self.phase), False, shapes, "what is given")

    def classes_to_count(self, split):
        """What labels of a folder of pictures count: the classes that a run, or the source to train on, has."""
        source = self.p.source
        return tuple(self.fitted.get("classes", ())) or (
            classes_of_folder(source.train, self.folder) if split == "test" and source.test != source.train else ()
        )

    def read_given(self, given):
        example = tuple(self.fitted["example"])
        self.set = self.given_set(given, example)
        has = tuple(self.set.data.shape[1:])
        if self.p.transform.makes_one_size and has_sizes_of_its_own(self.set.data):
            has = (has[0], *example[1:])  # those of each are looked at when it is read
        if has != example:
            raise ShapeError(
                f"{self.set.origin} has examples of {format_shape(self.set.data.shape[1:])}; the net was trained on "
                f"{format_shape(example)}"
            )
        tops = zip(self.top_names[1:], self.shapes[1:], strict=True)
        self.further = [further_given(self.set, name, self.wanted, shape) for name, shape in tops]
        self.are_maps = [
            name in self.wanted and self.p.transform.is_map(array, example)
            for name, array in zip(self.top_names[1:], self.further, strict=True)
        ]
        self.begin(len(self.set), self.p.batch_size.test, False, self.shapes, self.set.origin)

    def given_set(self, given, example):
        """What is given, as a data set: pictures in the size of those that were trained on, columns of a table as those
        were, or arrays in the layout of the source."""
        if "table" in self.fitted:
            found, self.remark = given_columns(given, self.folder, self.fitted["table"], self.dtype)
            return found
        self.remark = ""
        in_bgr = bool(self.fitted.get("pictures"))
        pictures = given_pictures(given, partial(find_file, folder=self.folder, folders=True), example, in_bgr)
        if pictures is not None:
            return pictures
        if in_bgr and (file := file_in(given)) is not None and is_table(Path(file)):
            raise WrongKindError(
                f"{file}: this net predicts from pictures, folders of them, or arrays of N x {format_shape(example)} "
                "(.npz, .npy), not from tables"
            )
        return arranged(given_examples(given, self.folder, self.p.look.color), self.p.layout)

    def name_of(self, k):
        return self.set.name_of(int(self.indices[k]))

    def unread(self, k):
        return self.set.unreadable(int(self.indices[k]))

    def read_ahead(self):
        if self.p.prefetch and hasattr(self.set.data, "expect"):
            self.set.data.expect(self.coming(self.p.prefetch))

    def class_counts(self):
        return counts_of(self.set.labels, self.set.classes)

    def picture(self, k, top):
        return picture(self.p.transform, top[0].data[k], self.facts, self.mean)

    @property
    def is_one_source(self):
        """Whether both phases read the same."""
        return self.p.source.train == self.p.source.test

    def division(self, found):
        """How a set is divided, None where it is not: of one file that is the source of both phases a fifth is kept
        for tests, unless the spec says otherwise. Raises NettrainError."""
        how = self.p.split
        if how is None:
            by_default = self.is_one_source and self.keeps_some_for_tests and found.split == WHOLE and len(found) > 1
            return Split() if by_default else None
        if found.split not in (WHOLE, UNDIVIDED) or not self.is_one_source:
            raise NettrainError(f"{found.origin} has a part for tests already; leave out split", key="split")
        return how

    def notes_on_division(self, found):
        """What a person should know of how a set is divided."""
        how = self.division(found)
        notes = []
        if how is not None and self.p.split is None:
            notes.append("a fifth is kept for tests (split: 0.2 is the default; split: 0 for none)")
        if how is not None and how.stratify and how.group is None and (how.test or how.folds):
            notes.append(rare(found.labels, found.classes))
        return notes

    def divided(self, found, split):
        """The part of a set for tests (``test``) or training (``train``); all of it where it is not divided."""
        how = self.division(found)
        return found if how is None else part_of(found, how, split)

    def training_examples(self):
        """The examples that are trained on, which a net for tests alone must find itself. Raises NettrainError."""
        if self.phase == "TRAIN":
            return self.set.data
        found = ColumnsOf(self, "train").found
        is_one_set = self.is_one_source and found.split in (WHOLE, UNDIVIDED)
        if is_one_set and self.division(found) is None:
            raise NettrainError(
                "normalize needs the training images, and this layer reads tests alone: give one layer for both, "
                "with source: {train: …, test: …} or split: 0.2, or the numbers as normalize: {mean: [..], std: [..]}",
                key="transform",
            )
        return self.divided(found, "train").data

    def identity(self, split):
        """``reads`` and ``how_to_split``: a set that has no splits is the same in both phases."""
        source, origin = getattr(self.p.source, split), self.set.origin
        if self.given is not None:
            return {}, ""
        if source in GENERATORS:
            drawn = split if self.p.generate.test_examples else "train"
            return {f"{source} {self.p.generate} {drawn}": origin}, "give generate: {test_examples: 300}"
        part = self.set.split
        if source not in NAMED:
            source = str(find_file(source, self.folder, folders=True).resolve())
        divide = "split: 0.2, or " if part in (WHOLE, UNDIVIDED) and self.is_one_source else ""
        return {f"{source} {part}": origin}, f"give {divide}source: {{train: {self.p.source.train}, test: ANOTHER}}"

    def examine(self, top):
        arrays = [self.set.data, *self.further]
        if not all(isinstance(array, np.ndarray) for array in arrays):
            yield from super().examine(top)
            return
        for name, array in zip(self.top_names, arrays, strict=True):
            found = not_finite(array, self.dtype)
            if found is not None:
                raise bad_value(f"{self.set.origin}: `{name}`", array, found, self.number_of(found[0]))
        yield len(self.set), len(self.set)

    def fingerprint(self):
        """That of the set, of further arrays that are read, and of the mean that is subtracted; what is generated
        follows from the spec, and its last bits from the processor."""
        if self.set.origin in GENERATORS:
            return {"examples": len(self.set)}
        more = {} if self.mean is None else {"mean": digest([np.ascontiguousarray(self.mean)])}
        if len(self.further) > 1:
            more["further"] = digest_of(*self.further[1:])
        return self.set.fingerprint | more

    def number_of(self, i):
        return self.set.number_of(i)

    def fill(self, indices, top, rng):
        further = list(zip(self.further, (blob.data for blob in top[1 : 1 + len(self.further)]), strict=True))
        maps = [pair for pair, is_map in zip(further, self.are_maps, strict=True) if is_map]
        self.p.transform.apply(self.set.data, indices, top[0].data, rng, self.mean, maps, self.facts)
        if self.mixing:
            self.mixing(top[0].data, self.set.labels[indices], top[1].data, rng)
            return
        for (array, out), is_map in zip(further, self.are_maps, strict=True):
            if not is_map:
                with np.errstate(
                    over="ignore", invalid="ignore"
                ):  # an infinity then, which is found where it does harm
                    np.copyto(out, array[indices])
