"""Data: batches from a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.generators import Generate
from ..data.order import Order
from ..data.sources import load
from ..data.transform import Transform
from ..net.blob import Labels
from ..net.declare import Declared, Reader, param
from ..net.errors import NettrainError
from ..net.fillers import stream
from ..net.node import Node
from ..net.registry import register
from .layer import Example, Layer


class BatchSize(Declared):
    """A whole number, or one for each phase: ``{train: 64, test: 100}``."""

    train: int = param(minimum=1, doc="examples in a training batch")
    test: int = param(minimum=1, doc="examples in a test batch")

    words = "a whole number >= 1, or {train: 64, test: 100}"

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

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {"train": value, "test": value} if isinstance(value, str) else None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "string"}, super().schema()]}


class Column(str):
    """A column of a table, by name or by number from 0."""

    words = "a name, or a number from 0"

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, int | str):
            return reader.wrong(node, what, cls.words)
        return cls(node.value)

    @classmethod
    def schema(cls) -> dict:
        return {"type": ["string", "integer"]}


@register
class Data(Layer):
    """Batches of examples, and their labels, from a data set in memory.

    top[0]: examples, N x (shape of an example).    top[1], optional: labels, N x (shape of a label).
    A source with two splits gives its train split in TRAIN and its test split in TEST. In TRAIN the examples are
    shuffled anew each epoch (``shuffle: false``: the file's order, as in Caffe) and a batch may reach over the end
    of an epoch; in TEST the order is the file's, and a whole pass ends with a shorter batch.
    Each example becomes (value - mean) * scale, after crop and mirror.
    Errors: a missing, damaged or empty file; more examples in a batch than in the set; a label asked for that the
    set does not have.
    Source: Caffe's Data with transform_param; it reads LMDB and never shuffles.
    """

    class Parameters(Declared):
        source: Source = param(doc="digits, mnist, spiral …, or a .npz, .csv or IDX file; or {train: …, test: …}")
        batch_size: BatchSize = param(doc="examples in a batch, or {train: …, test: …}")
        transform: Transform = param(default=Transform(), doc="scale, mean_value, crop_size, mirror")
        shuffle: bool = param(default=True, doc="TRAIN: a new order each epoch")
        generate: Generate = param(default=Generate(), doc="options of generated sets: examples, classes, noise …")
        label_column: Column | None = param(default=None, doc="csv: the column with the label, by name or number")

        aliases = {
            "transform_param": "transform",
            "scale": "write it as transform: {scale: …}",
            "mirror": "write it as transform: {mirror: true}",
            "crop_size": "write it as transform: {crop_size: …}",
            "mean_value": "write it as transform: {mean_value: …}",
            "data_param": "write its fields beside `type`",
            "batch": "batch_size",
        }

    num_bottoms = 0
    num_tops = (1, 2)
    no_gradient = "all"
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
        self.set = load(getattr(p.source, split), split, self.folder, p.generate, p.label_column)
        self.pass_size = len(self.set)
        self.batch_size = self.batch_count = getattr(p.batch_size, split)
        if self.batch_size > self.pass_size:
            raise NettrainError(
                f"a batch of {self.batch_size:,} is larger than the data: {self.set.origin} has {self.pass_size:,} "
                f"{split} examples",
                key="batch_size",
            )
        if len(top) > 1:
            if self.set.labels is None:
                raise NettrainError(f"{self.set.origin} has no labels for the second top", key="source")
            self.labels = self.set.labels
            top[1].labels = Labels.of(self.labels)
        self.example_shape = p.transform.output_shape(self.set.data.shape[1:])
        self.order = Order(self.pass_size, p.shuffle and self.phase == "TRAIN", self.seed, self.name)
        self.stop_at_end = False

    def reshape(self, bottom, top):
        top[0].reshape((self.batch_size, *self.example_shape))
        if len(top) > 1:
            top[1].reshape((self.batch_size, *self.labels.shape[1:]))

    def Forward_cpu(self, bottom, top):
        where = self.order.epoch, self.order.position
        indices = self.order.next(self.batch_size, self.stop_at_end)
        self.batch_count = len(indices)
        for blob in top:
            blob.reshape((self.batch_count, *blob.shape[1:]))
        # Seeded by the place in the data, so that crops and flips follow from the cursor alone.
        random = self.phase == "TRAIN" and (self.p.transform.crop_size or self.p.transform.mirror)
        rng = stream(self.seed, self.name, f"transform {where}") if random else None
        self.p.transform.apply(self.set.data, indices, top[0].data, rng)
        if len(top) > 1:
            np.copyto(top[1].data, self.labels[indices])

    def start_pass(self):
        """Begin at the first example, and end the last batch at the last one."""
        self.order.set_state({"epoch": 0, "position": 0})
        self.stop_at_end = True

    def end_pass(self):
        """Go on in endless batches of full size."""
        self.stop_at_end = False

    def state(self):
        return {"order": self.order.state()}

    def set_state(self, state):
        self.order.seed = self.seed
        self.order.set_state(state["order"])
