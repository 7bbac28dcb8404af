"""Data: batches from a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ...data.dataset import UNDIVIDED, WHOLE, bad_value, digest, digest_of, not_finite
from ...data.division import Column, Split, part_of
from ...data.generators import GENERATORS, Generate
from ...data.layout import Layout, arranged, noticed
from ...data.sources import NAMED, find_file, given_examples, load
from ...data.transform import Transform
from ...net.blob import Known
from ...net.example import Example
from ...net.registry import register
from ...spec.advice import say
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, format_shape
from .batches import Batches
from .given import further_given, set_given

PHASES = {"training": "train", "val": "test", "valid": "test", "validation": "test", "eval": "test", "testing": "test"}


class BatchSize(Declared):
    """An integer, or one for each phase: ``{train: 64, test: 100}``."""

    train: int = param(minimum=1, doc="examples in a training batch")
    test: int = param(minimum=1, doc="examples in a test batch")

    words = "an integer >= 1, or {train: 64, test: 100}"
    aliases = PHASES

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"train": value, "test": value}
        return None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "integer", "minimum": 1}, super().schema()]}


class Source(Declared):
    """A name or a path, or one for each split: ``{train: a.npz, test: b.npz}``."""

    train: str = param(doc="data set of the TRAIN phase")
    test: str = param(doc="data set of the TEST phase")

    words = "a name such as digits, a path, or {train: a.npz, test: b.npz}"
    aliases = PHASES

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {"train": value, "test": value} if isinstance(value, str) else None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "string"}, super().schema()]}


@register
class Data(Batches):
    """Batches of examples, and their labels, from a data set.

    top[0]: examples, N x (shape of an example).    top[1], optional: labels, N x (shape of a label).
    further tops: the arrays of an .npz with their names, such as masks or several labels, in any shape.
    A source with two splits gives its train split in TRAIN and its test split in TEST. In TRAIN the examples are
    shuffled anew each epoch (``shuffle: false``: the file's order, as in Caffe) and a batch may span the end
    of an epoch, or of several; in TEST the order is the file's, and a whole pass ends with a shorter batch.
    Each example becomes (value - mean) * scale, after crop and mirror. Label maps, N x H x W or N x C x H x W with the
    images' H and W, are cropped and flipped with their images, whichever top they are.
    Errors: a missing, damaged or empty file; a label asked for that the set does not have; a further top the file has
    no array for, or one with a different number of rows.
    A program may give arrays in place of the source, those of further tops too:
    ``get_solver(spec, given={"data": {"data": x, "label": y}})``, by the name of the layer.
    A folder with an LMDB of Caffe's Datum records is a source too (with encoded images it needs pillow: pip install
    "nettrain[images]"): its examples are read batch by batch, others lie in memory.
    Source: Caffe's Data with transform_param, which never shuffles.
    """

    class Parameters(Declared):
        source: Source = param(doc="digits, mnist, spiral …, or a .npz, .csv or IDX file; or {train: …, test: …}")
        batch_size: BatchSize = param(doc="examples in a batch, or {train: …, test: …}")
        transform: Transform = param(default=Transform(), doc="scale, mean_value or mean_file, crop_size, mirror")
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
        label_column: Column | None = param(default=None, doc="csv: the column with the label, by name or number")

        aliases = {
            "transform_param": "transform",
            "scale": "write it as transform: {scale: …}",
            "mirror": "write it as transform: {mirror: true}",
            "crop_size": "write it as transform: {crop_size: …}",
            "mean_value": "write it as transform: {mean_value: …}",
            "mean_file": "write it as transform: {mean_file: …}",
            "data_param": say("write its fields beside {}", "type"),
            "batch": "batch_size",
        }

    num_tops = (1, None)
    can_be_given = True
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
        if self.given is not None:
            found = set_given(self.given, split)
        else:
            found = load(getattr(p.source, split), split, self.folder, p.generate, p.label_column, p.backend)
        seen = "" if p.layout else noticed(found)
        self.set = self.divided(arranged(found, p.layout), split)
        self.remark = "; ".join(filter(None, [self.remark, seen]))
        self.is_quick_to_examine = isinstance(self.set.data, np.ndarray)
        self.reads, self.how_to_split = self.identity(split)
        shapes = [p.transform.output_shape(self.set.data.shape[1:])]
        self.mean = p.transform.mean(self.folder, self.set.data.shape[1:])
        self.further = [self.set.labels]
        if len(top) > 1 and self.set.labels is None:
            raise NettrainError(f"{self.set.origin} has no labels for the second top", key="source")
        for name in self.top_names[2:]:
            if name not in self.set.others:
                has = ", ".join(self.set.others) or "none"
                raise NettrainError(
                    f"{self.set.origin} has no array `{name}` for a further top; it has {has}", key="top"
                )
            self.further.append(self.set.others[name])
        self.further = self.further[: len(top) - 1]
        for blob, array in zip(top[1:], self.further, strict=True):
            if isinstance(array, np.ndarray):
                blob.known = Known(array, self.set.origin)
        example = self.set.data.shape[1:]
        self.example_from = self.set.origin
        if len(example) == 3:
            self.one_shape_by = "a transform with crop_size cuts both to one size"
        self.are_maps = [p.transform.is_map(array, example) for array in self.further]
        for array, is_map in zip(self.further, self.are_maps, strict=True):
            shapes.append((*array.shape[1:-2], *shapes[0][1:]) if is_map else array.shape[1:])
        self.fitted = {"example": list(example), "further": [list(shape) for shape in shapes[1:]]}
        if self.set.classes:
            self.fitted["classes"] = list(self.set.classes)
        self.begin(len(self.set), getattr(p.batch_size, split), p.shuffle, shapes, self.set.origin)

    def serve(self, p):
        """Shapes as a run found them; examples will be given."""
        example = tuple(self.fitted["example"])
        self.mean = p.transform.mean(self.folder, example)
        shapes = [p.transform.output_shape(example), *map(tuple, self.fitted["further"])]
        self.begin(1, p.batch_size.test, False, shapes, "what is given")

    def read_given(self, given):
        self.set, example = arranged(given_examples(given, self.folder), self.p.layout), tuple(self.fitted["example"])
        if tuple(self.set.data.shape[1:]) != example:
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

    def name_of(self, k):
        return self.set.name_of(int(self.indices[k]))

    def divided(self, found, split):
        """The part of a set that this phase reads: of one file that is the source of both, a fifth is kept for tests
        unless the spec says otherwise."""
        how, is_one = self.p.split, self.p.source.train == self.p.source.test
        if how is None and is_one and self.keeps_some_for_tests and found.split == WHOLE and len(found) > 1:
            how, self.remark = Split(), "a fifth is kept for tests (split: 0.2 is the default; split: 0 for none)"
        if how is None:
            return found
        if found.split not in (WHOLE, UNDIVIDED) or not is_one:
            raise NettrainError(f"{found.origin} has a part for tests already; leave out split", key="split")
        return part_of(found, how, split)

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
        divide = "split: 0.2, or " if part in (WHOLE, UNDIVIDED) and self.p.source.train == self.p.source.test else ""
        return {f"{source} {part}": origin}, f"give {divide}source: {{train: {self.p.source.train}, test: ANOTHER}}"

    def examine(self, top):
        if not self.is_quick_to_examine:
            yield from super().examine(top)
            return
        for name, array in zip(self.top_names, [self.set.data, *self.further], strict=True):
            found = not_finite(array, self.dtype)
            if found is not None:
                raise bad_value(f"{self.set.origin}: `{name}`", array, found, self.set.number_of(found[0]))
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

    def which_example(self, k):
        return f"example {self.set.number_of(int(self.indices[k])):,} of {self.origin}, counted from 0"

    def fill(self, indices, top, rng):
        further = list(zip(self.further, (blob.data for blob in top[1 : 1 + len(self.further)]), strict=True))
        maps = [pair for pair, is_map in zip(further, self.are_maps, strict=True) if is_map]
        self.p.transform.apply(self.set.data, indices, top[0].data, rng, self.mean, maps)
        for (array, out), is_map in zip(further, self.are_maps, strict=True):
            if not is_map:
                with np.errstate(
                    over="ignore", invalid="ignore"
                ):  # an infinity then, which is found where it does harm
                    np.copyto(out, array[indices])
