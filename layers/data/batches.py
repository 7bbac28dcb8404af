"""What the layers that read examples share: batches in some order, passes that end, a cursor that is saved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...data.dataset import bad_value, not_finite
from ...data.order import Order
from ...net.blob import Blob, Known
from ...net.fillers import stream
from ...net.layer import Layer
from ...spec.errors import NettrainError

AT_ONCE = 1 << 22  # values read at a time when the data is checked
MOST_LABELS = 100_000  # distinct ones noted at most


class Batches(Layer):
    """Batches of examples. A type calls ``begin`` in ``setup`` and writes ``fill``.

    In TRAIN a batch may span the end of an epoch; in a test pass the last one ends with the data.
    """

    num_bottoms = 0
    no_gradient = "all"

    def begin(self, size: int, batch_size: int, shuffle: bool, shapes: list[tuple[int, ...]], origin: str) -> None:
        """``shapes`` are those of an example, for each top; ``origin`` is what messages call the data. A batch may be
        larger: it wraps around, as in Caffe, and in a test pass ends with the data. Raises NettrainError when
        there are no examples."""
        if not size:  # there is nothing to wrap around
            raise NettrainError(f"{origin} holds no examples", key="source")
        self.pass_size, self.batch_size, self.batch_count, self.origin = size, batch_size, batch_size, origin
        self.shapes = shapes
        self.order = Order(size, shuffle and self.phase == "TRAIN", self.seed, self.name)
        self.stop_at_end = False
        self.left_out = self.skipped = 0  # batches between the last two of ours, and since then

    def check_classes(self, classes: Sequence[str], origin: str) -> None:
        """Raise NettrainError where all examples that are trained on are of one class that has a name."""
        if self.phase == "TRAIN" and len(classes) == 1:
            raise NettrainError(
                f"{origin} has one class only, `{classes[0]}`; to be told apart there must be two",
                key="source",
            )

    def fill(self, indices: np.ndarray, top: list, rng: np.random.Generator | None) -> None:
        """Write the examples with these numbers into the tops. ``rng`` is None in TEST."""
        raise NotImplementedError

    def reshape(self, bottom, top):
        for blob, shape in zip(top, self.shapes, strict=True):
            blob.reshape((self.batch_size, *shape))

    def Forward_cpu(self, bottom, top):
        self.left_out, self.skipped = self.skipped, 0
        where = self.order.epoch, self.order.position
        indices = self.order.next(self.batch_size, self.stop_at_end)
        self.indices, self.batch_count = indices, len(indices)
        for blob in top:
            blob.reshape((self.batch_count, *blob.shape[1:]))
        # Seeded by the place in the data, so that what is random follows from the cursor alone.
        rng = stream(self.seed, self.name, f"transform {where}") if self.phase == "TRAIN" else None
        self.fill(indices, top, rng)
        self.read_ahead()

    def coming(self, batches: int) -> np.ndarray:
        """The examples of the next batches, no more than an epoch of them; where others compute some, as between the
        last two, those of ours."""
        every = self.left_out + 1
        examples = self.order.coming(batches * every * self.batch_size, self.stop_at_end)
        starts = [(i * every + self.left_out) * self.batch_size for i in range(batches)]
        return np.concatenate([examples[start : start + self.batch_size] for start in starts])

    def read_ahead(self) -> None:
        """Have what comes next read meanwhile, where that takes time; changes nothing else."""

    def examine(self, top):
        """Reads the examples as a test does, a batch or less at a time, and notes the distinct labels."""
        count = max(1, min(self.batch_size, AT_ONCE // max(1, sum(map(math.prod, self.shapes)))))
        read = [Blob((count, *shape), self.dtype) for shape in self.shapes]
        seen = [
            np.empty(0, self.dtype) if blob.known is None and math.prod(blob.shape[1:]) == 1 else None for blob in top
        ]
        for start in range(0, self.order.size, count):
            indices = np.arange(start, min(start + count, self.order.size))
            for blob in read:
                blob.reshape((len(indices), *blob.shape[1:]))
            self.fill(indices, read, None)
            for i, (name, blob) in enumerate(zip(self.top_names, read, strict=True)):
                found = not_finite(blob.data, self.dtype)
                if found is not None:
                    raise bad_value(f"{self.origin}: `{name}`", blob.data, found, self.number_of(start + found[0]))
                before = seen[i]
                if before is not None:
                    labels = np.union1d(before, blob.data)
                    few = len(labels) <= MOST_LABELS  # else these are not labels
                    seen[i] = labels if few else None
                    top[i].known = Known(labels, self.origin, each=False) if few else None
            yield start + len(indices), self.order.size

    def number_of(self, i: int) -> int:
        """The number that example ``i`` has in its source, where the layer reads a part of that."""
        return i

    def which_example(self, k):
        return f"example {self.number_of(int(self.indices[k])):,} of {self.origin}, counted from 0"

    def name_of(self, k):
        return f"{self.indices[k]:,}"

    def skip(self, batches):
        self.skipped += batches
        for _ in range(batches):
            self.batch_count = len(self.order.next(self.batch_size, self.stop_at_end))

    def start_pass(self):
        """Begin at the first example, and end the last batch at the last one."""
        self.order.set_state({"epoch": 0, "position": 0})
        self.stop_at_end = True

    def end_pass(self):
        """Continue with endless batches of full size."""
        self.stop_at_end = False

    def state(self):
        return {"order": self.order.state()}

    def set_state(self, state):
        self.order.seed = self.seed
        self.order.set_state(state["order"])
