"""The layer contract: what a type declares and the four methods it may write.

Net calls ``setup`` once, ``reshape`` whenever the bottoms' shapes change, then ``Forward_cpu`` and, for training,
``Backward_cpu``. A layer is plain formulas: order, wiring, sharing and sums over consumers are Net's work.
It is one file because a contract is read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..compute.memory import Memory
from ..compute.stages import Stage
from ..spec.declare import Declared, Nothing
from ..spec.errors import ShapeError, blaming, format_shape
from .blob import Blob
from .example import Example, briefly, is_shape, is_size, labels
from .fillers import Filler, Turn, stream

# What the file of a layer type needs, from one place.
__all__ = ["Example", "Layer", "LossLayer", "NeuronLayer", "ReshapingLayer", "labels"]


class Layer:
    """Base of all layer types. A subclass states what it needs as class attributes and overrides the hooks.

    ``backward_reads`` tells what Backward_cpu looks at besides diffs; from it Net knows when the top may lie in
    the bottom's memory. Backward **adds** to the diffs of ``blobs`` where ``param_propagate_down`` holds, and
    **overwrites** ``bottom[i].diff`` where ``propagate_down[i]`` holds; other diffs it leaves alone.
    """

    Parameters: ClassVar[type[Declared]] = Nothing
    examples: ClassVar[Sequence[Example]] = ()
    num_bottoms: ClassVar[int | tuple[int, int | None]] = 1  # a number, or (least, most) with None for no limit
    num_tops: ClassVar[int | tuple[int, int | None]] = 1
    same_number_of_tops: ClassVar[bool] = False
    backward_reads: tuple[str, ...] = ("bottom.data", "top.data")
    any_layout: bool = False  # the formulas hold for channels-last memory too; else Net makes copies
    may_run_in_place: ClassVar[bool] = False  # Forward gives the same top when it overwrites bottom[0].data
    passes_memory_on: ClassVar[bool] = False  # top[0] has the values of bottom[0], and may lie where they lie
    no_gradient: tuple[int, ...] | str = ()  # bottoms that have none, such as labels; or "all"
    is_loss: ClassVar[bool] = False
    is_score: ClassVar[bool] = False  # the tops say how good a whole batch is; higher is better
    judges: ClassVar[str] = ""  # what bottom[0] is, which bottom[1] has the truth of; see ``JUDGED``
    answers: ClassVar[tuple[int, ...]] = (
        0,
    )  # bottoms of a loss, score or writer of files that the net may answer with
    writes_files: ClassVar[bool] = False  # in every forward pass: nothing that serves does that
    is_input: ClassVar[bool] = False  # the user fills the tops
    normalizes: bool = False  # the scale of what it reads makes no difference to what it gives
    may_die: bool = False  # a unit that gives 0 for every example stops learning
    limits: tuple[float, float] | None = None  # of what it gives; near them its gradient is next to 0
    same_in_tests: bool = False  # in a test its top has the values of its bottom
    is_share: ClassVar[bool] = False  # its scores are shares of a whole: people read them as percentages
    includes: ClassVar[str] = ""  # the type whose function a loss applies itself, and that must not come before it
    classes: int = 0  # how many classes there are, where bottom[1] has their labels, from 0
    guesses_among: int = 0  # C, where equal scores for C classes give a loss of ln C
    moves_blobs: bool = False  # Forward_cpu changes blobs that are never learned, such as running statistics
    runs_code: ClassVar[bool] = False  # it runs code of the user's, which must be allowed
    shapes_follow_values: ClassVar[bool] = False  # Forward_cpu gives the tops their shapes; reshape the largest ones
    batch_axis: ClassVar[int] = 0  # where bottom[0] and the tops have the examples; 1 after an axis of time
    continues_by: int | None = None  # the bottom that says at which steps a sequence goes on
    example_from: str = ""  # where the shape of an example comes from, for messages, and how examples get one shape
    one_shape_by: str = ""
    is_quick_to_examine: bool = False  # all data lies in memory: it is looked through before each run
    pass_size: int | None = None  # examples of one pass over the data, where a layer reads a set that ends
    batch_size: int = 0  # examples of a full batch, where a layer reads some
    batch_count: int = 0  # of the last batch
    origin: str = ""  # what people call the data it reads
    engine: ClassVar[str] = "numpy"  # what computes it, unless ``uncovered`` says why the formulas do
    uncovered: str = ""
    work_is_known: bool = False  # ``forward_work`` and ``backward_work`` say what the passes do
    user_class: type | None = None  # the class of the user's that does the work, and which of its methods: for blame
    called: str = ""
    reads: Mapping[str, str] = {}  # what names the examples read, the same for all who read them -> what people call it
    fitted: Mapping[str, Any] = {}  # before setup what a run found in its training data; after it what was found now
    serves: bool = (
        False  # its data is not read but given, by ``read_given``: shapes follow from ``fitted`` where that has some
    )
    given: Any = None  # examples of a program's that it reads in place of its source
    trains_on_given: ClassVar[bool] = False  # whether it reads ``given``
    can_be_given: ClassVar[bool] = False  # whether it has ``read_given``
    wanted: Sequence[str] = ()  # where it is given examples: the tops that are read, all others do not matter
    keeps_some_for_tests: bool = False  # a solver trains and tests with it: one source is then divided
    can_be_divided: bool = False  # its data is one set, which ``split`` divides into folds too
    remark: str = ""  # what a person should know of the data, told before training
    how_to_split: str = ""  # what to write so that training and test read different examples

    def __init__(
        self,
        parameters: Any,
        *,
        name: str = "",
        phase: str = "TRAIN",
        seed: int = 1701,
        dtype: np.dtype | type | str = np.float32,
        folder: Path | None = None,
        tops: Sequence[str] = (),
    ):
        self.p = parameters
        self.name, self.phase, self.seed = name, phase, seed
        self.dtype = np.dtype(dtype)
        self.folder = folder or Path()  # files named in the spec are looked for here first
        self.top_names = tuple(tops)
        self.blobs: list[Blob] = []
        self.fillers: list[tuple[Filler, bool]] = []
        self.param_propagate_down: list[bool] = []
        self._buffers: dict[str, Memory] = {}
        self.turn = Turn()  # Net gives all its layers one
        self.held: list[np.ndarray] | None = None  # what ``found_statistics`` was given, where that waits
        self.part_of: Layer | None = None  # a layer inside a layer draws its random numbers from that
        self._rng: tuple[int, np.random.Generator] | None = None  # that of a turn

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers of this layer's own for the batch the net works on: they follow from the seed, its name and
        the number of the batch alone. Before the first batch, in ``setup``, they are others."""
        if self.part_of is not None:
            return self.part_of.rng
        if self._rng is None or self._rng[0] != self.turn.begun:
            of = () if self.turn.number is None else (f"batch {self.turn.number}",)
            self._rng = self.turn.begun, stream(self.seed, self.name, *of)
        return self._rng[1]

    @property
    def has_drawn(self) -> bool:
        """Whether it drew random numbers for the batch the net works on."""
        return self._rng is not None and self._rng[0] == self.turn.begun

    def __init_subclass__(cls, **options: Any) -> None:
        """Raises TypeError for an attribute of the class that is not what it must be."""
        super().__init_subclass__(**options)
        for name, (is_right, wanted) in _ATTRIBUTES.items():
            value = vars(cls).get(name)
            if name in vars(cls) and not hasattr(value, "__get__") and not is_right(value):
                raise TypeError(f"{cls.__name__}.{name} must be {wanted}; got {briefly(value)}")
        parameters = vars(cls).get("Parameters", Declared)
        if not (isinstance(parameters, type) and issubclass(parameters, Declared)):
            raise TypeError(
                f"{cls.__name__}.Parameters must be a class that inherits from nettrain.Declared: "
                "`class Parameters(Declared):`"
            )

    # What a type may override

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Look at the bottoms' shapes and declare parameter blobs. Raises ShapeError."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Give every top its shape, from shapes alone. Raises ShapeError."""
        for blob in top:
            blob.reshape(bottom[0].shape, channels_last=bottom[0].channels_last)

    def Forward_cpu(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Fill ``top[i].data``."""
        raise NotImplementedError(f"{type(self).__name__} has no Forward_cpu(self, bottom, top)")

    def Backward_cpu(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Add to the parameters' diffs, overwrite the bottoms' diffs."""
        raise NotImplementedError(f"{type(self).__name__} has no Backward_cpu(self, top, propagate_down, bottom)")

    def forward_work(self, bottom: list[Blob], top: list[Blob]) -> Sequence[Stage]:
        """What ``Forward_cpu`` does with the memory the blobs have now, where ``work_is_known``: Net may then join it
        with that of other layers."""
        raise NotImplementedError

    def backward_work(
        self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob], cleared: Sequence[bool]
    ) -> Sequence[Stage]:
        """What ``Backward_cpu`` does; diffs of ``blobs`` that are ``cleared`` are overwritten instead of added to."""
        raise NotImplementedError

    def passes_gradient_on(self, i: int) -> bool:
        """Whether the gradient of bottom i is that of top[0] as it is, and may lie where that lies.

        ``Backward_cpu`` then has nothing to do where ``bottom[i].shares_diff_with(top[0])``.
        """
        return False

    def formula(self, names: Sequence[str]) -> str:
        """What it computes, written with the names of its bottoms: for explanations."""
        return f"{type(self).__name__}({', '.join(names)})"

    def in_words(self) -> str:
        """In words, what it does to a gradient; when nothing is said, the docstring's Backward is shown."""
        return ""

    def mean_over(self, i: int, bottom: list[Blob], top: list[Blob]) -> Any:
        """Over how many things top i of the last forward pass is a mean: a number, or an array of the top's shape.

        A test weighs batches by it, so that a score of any batch size is that of the whole set; what counted nothing
        (0) adds nothing. None: it is not a mean, but a sum over the batch or something else. Its mean over batches then
        depends on their size, and `nettrain test` says so. Not called for tops with a row for each example.
        """
        return None

    def judged(self, bottom: list[Blob]) -> np.ndarray | None:
        """Which answers of the last batch count, where ``judges`` says what they are: a truth value for each label or
        target (for each position, where labels are shares of classes), in any shape; None for all of them."""
        ignored = getattr(self.p, "ignore_label", None)
        return None if ignored is None else np.not_equal(bottom[1].data, ignored)

    def examine(self, top: list[Blob]) -> Iterator[tuple[int, int]]:
        """Look through the data in the order of the file, some examples at a time; changes nothing of what comes next,
        but ``top[i].known`` may say more than before.

        Yields how many have been looked at, and how many there are. Raises NettrainError for one that cannot be read,
        or holds a value that is not finite.
        """
        return iter(())

    def unready(self) -> str:
        """Why what it makes says nothing yet, such as statistics of no batch; nothing when it does."""
        return ""

    def without_spread(self) -> str:
        """Why what it makes is the same whatever it reads, as with the mean and variance of single values: then nothing
        before it learns. Nothing when it is not so."""
        return ""

    def which_example(self, k: int) -> str:
        """Which example of which data is at place k of the last batch, where a layer reads some."""
        return ""

    def name_of(self, k: int) -> str:
        """What the example at place k of the last batch is called, for tables: a file, or a number."""
        return str(k)

    def unread(self, k: int) -> str:
        """Why the example at place k of the last batch could not be read, where examples are given: what the net makes
        of it means nothing. Nothing when it could."""
        return ""

    def class_counts(self) -> Mapping[str, int]:
        """How many examples of each class it reads, by name or number; nothing where labels are no classes, or are not
        in memory."""
        return {}

    def picture(self, k: int, top: list[Blob]) -> np.ndarray | None:
        """The example at place k of the last batch for people to look at: H x W x 1, or x 3 for red, green, blue, with
        means and scales undone; None for what is no image."""
        return None

    def read_given(self, given: Any) -> None:
        """Read these examples from now on, once, where a net serves. Raises NettrainError for what it cannot read."""
        raise NotImplementedError

    def multiply_adds(self, bottom: list[Blob], top: list[Blob]) -> int:
        """Multiplications of the layer's matrix products in one forward pass; 0 for anything else."""
        return 0

    def skip(self, batches: int) -> None:
        """Go on as if so many batches had been read that somebody else computes. A layer that keeps something from
        batch to batch, such as a place in its data, says so in ``state``, and overrides this."""

    def follows_on(self, bottom: list[Blob]) -> bool:
        """Whether the last forward pass depended on the batch before it, as where a state is carried on."""
        return False

    def keep_statistics(self, statistics: np.ndarray) -> None:
        """Add to the blobs what a batch gave to ``found_statistics``."""

    def start_pass(self) -> None:
        """Called before a pass over a data set, such as a test."""

    def end_pass(self) -> None:
        """Called after it."""

    def state(self) -> dict:
        """What a snapshot must keep besides the blobs, as JSON data."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` gave. Raises an error, at best NettrainError, for what cannot be such a state."""

    def fingerprint(self) -> dict[str, Any]:
        """What tells the data a layer reads from other data of the same name, as JSON data by what a person would call
        it: how many examples, a digest. Nothing for a layer that reads none. A run resumes with the same data only."""
        return {}

    def entries(self) -> Iterable[str]:
        """The files in a list whose files are examples, as they are known to the system, to compare lists by."""
        return ()

    @property
    def computed_by(self) -> str:
        """The engine that computes this case: the class's, or numpy where that does not cover it."""
        return "numpy" if self.uncovered else self.engine

    # What a type may use

    def add_blob(self, shape: Sequence[int], filler: Filler, swap_fans: bool = False) -> None:
        """Declare a parameter blob. Net gives it memory and its first values."""
        self.blobs.append(Blob(shape, self.dtype))
        self.fillers.append((filler, swap_fans))
        self.param_propagate_down.append(True)

    def found_statistics(self, statistics: np.ndarray) -> None:
        """To be called with what a batch adds to blobs that are never learned: where others compute other batches of
        the same update it waits for theirs, else ``keep_statistics`` is called at once."""
        if self.held is None:
            self.keep_statistics(statistics)
        else:
            self.held.append(statistics)

    def fill_blobs(self) -> None:
        """Write the first values of the parameter blobs."""
        for i, (blob, (filler, swap_fans)) in enumerate(zip(self.blobs, self.fillers, strict=True)):
            keys = tuple(name for name, value in vars(self.p).items() if value is filler)  # where it is written
            with blaming(keys):
                rng = stream(self.seed, self.name, f"filler {i}") if filler.is_random else None
                filler.fill(blob.data, rng, swap_fans)

    def buffer(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype | type | None = None, channels_last: bool = False
    ) -> np.ndarray:
        """Memory of the layer's own that is kept between calls: made once, grown when needed, values unspecified."""
        memory = self._buffers.get(name)
        if memory is None:
            memory = self._buffers[name] = Memory()
        return memory.view(shape, np.dtype(dtype or self.dtype), channels_last)


def _is_range(value: Any) -> bool:
    if isinstance(value, tuple) and len(value) == 2:
        return is_size(value[0]) and (value[1] is None or (is_size(value[1]) and value[1] >= value[0]))
    return is_size(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(name in ("bottom.data", "top.data") for name in value)


def _are_indices(value: Any) -> bool:
    return value == "all" if isinstance(value, str) else is_shape(value)


def _are_examples(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Example) for one in value)


# What a loss or score may judge. `nettrain test` measures the whole set itself from the two bottoms, as the kind of
# answer asks for: confusions and areas under curves are no means that ``mean_over`` could weigh. ``axis``,
# ``ignore_label`` and ``threshold`` among the type's parameters mean what they do for Accuracy and BinaryAccuracy;
# ``judged`` says what else does not count.
JUDGED = {
    "": "nothing of this kind",
    "classes": "scores or probabilities of classes, by labels 0 … C-1 or a share for each class",
    "bits": "scores or probabilities of labels that may each hold, by 1 and 0",
    "values": "values, by those that would be right",
}


# attributes of a layer's class -> whether a value is right, and what one looks like
_ATTRIBUTES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "examples": (_are_examples, "a list of examples: `examples = [Example([(3, 4)])]`"),
    "num_bottoms": (_is_range, "a number, or the least and the most: `num_bottoms = (1, None)` for any"),
    "num_tops": (_is_range, "a number, or the least and the most: `num_tops = (1, None)` for any"),
    "backward_reads": (_are_names, "a tuple of 'bottom.data' and 'top.data': `backward_reads = (\"bottom.data\",)`"),
    "judges": (JUDGED.__contains__, "one of " + ", ".join(filter(None, JUDGED))),
    "no_gradient": (_are_indices, "a tuple of indices of bottoms, or 'all': `no_gradient = (1,)`"),
}


class NeuronLayer(Layer):
    """One bottom, one top of the same shape, element by element."""

    may_run_in_place = True


class LossLayer(Layer):
    """Two bottoms (predictions, labels or targets) with equal first axis; one scalar top of loss weight 1.

    Backward multiplies by the top's diff, which Net has set to the loss weight. A loss that is not a mean over the
    examples (axis 0 of the predictions) says so in ``mean_over``.
    """

    num_bottoms: ClassVar[int | tuple[int, int | None]] = 2
    is_loss = True
    no_gradient: tuple[int, ...] | str = (1,)
    backward_reads: tuple[str, ...] = ("bottom.data",)

    def reshape(self, bottom, top):
        if not bottom[0].shape or bottom[0].shape[:1] != bottom[1].shape[:1]:
            raise ShapeError(
                "predictions and labels must have the same number of examples (axis 0), "
                f"got {format_shape(bottom[0].shape)} and {format_shape(bottom[1].shape)}"
            )
        top[0].reshape(())

    def mean_over(self, i, bottom, top):
        return bottom[0].shape[0]


class ReshapingLayer(Layer):
    """One bottom, one top with the same values in another shape; in a net also in the same memory, without a copy."""

    backward_reads = ()
    passes_memory_on = True

    def in_words(self):
        return "the same numbers in another shape; so is the gradient"

    def Forward_cpu(self, bottom, top):
        if not top[0].shares_data_with(bottom[0]):
            np.copyto(top[0].data, bottom[0].data.reshape(top[0].shape))

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0] and not top[0].shares_diff_with(bottom[0]):
            np.copyto(bottom[0].diff, top[0].diff.reshape(bottom[0].shape))
