"""Blobs joined, cut, repeated and chosen from, as ONNX has it."""

from __future__ import annotations

from .activation import same
from .graph import Tensor
from .here import Emitter, Here
from .sizes import NeedsFixedError

END = 2**31 - 1  # as the end of a Slice: to the last


def cut(here: Here, x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """The part of x along an axis."""
    ends = (here.ints([value], name) for value, name in ((start, "start"), (stop, "end"), (axis, "axis")))
    return here.op("Slice", x, *ends)


def reshaped(here: Here) -> Tensor:
    return here.reshape(here.x[0], here.bottom(), here.top())


def concat(here: Here) -> Tensor:
    return here.op("Concat", *here.x, axis=here.layer.axis) if len(here.x) > 1 else here.x[0]


def slice_(here: Here) -> Tensor | list[Tensor]:
    axis, count = here.layer.axis, len(here.step.top)
    if count == 1:
        return here.x[0]
    sizes = [here.top(i)[axis].size for i in range(count)]
    if None not in sizes:
        fixed = [size for size in sizes if size is not None]
        return here.ops("Split", count, here.x[0], here.ints(fixed, "split"), axis=axis)
    points = here.layer.points  # those of the spec: the last part follows the batch
    return [cut(here, here.x[0], axis, start, stop) for start, stop in zip([0, *points], [*points, END], strict=True)]


def tile(here: Here) -> Tensor:
    repeats = [here.p.tiles if axis == here.layer.axis else 1 for axis in range(len(here.bottom()))]
    return here.op("Tile", here.x[0], here.ints(repeats, "repeats"))


def arg_max(here: Here) -> Tensor:
    p, x, have = here.p, here.x[0], here.bottom()
    axis = 1 if p.axis is None else here.axis(p.axis)
    fixed = here.making.sizes.fixed
    if p.axis is None:
        values = here.layer.split[1]
        if any(dim.size is None for dim in have[1:]):
            raise NeedsFixedError("the values of an example follow the batch")
        x, have = here.reshape(x, have, (have[0], fixed(values))), (have[0], fixed(values))
    size = have[axis].size
    if size is None:
        raise NeedsFixedError("it looks along the batch")
    if p.top_k == 1:
        where = here.op("ArgMax", x, axis=axis, keepdims=1, select_last_index=1)
        largest = here.op("ReduceMax", x, here.ints([axis], "axes"), keepdims=1) if p.out_max_val else None
    else:
        # of equal values TopK takes the one with the smaller index, and nettrain (as Caffe) the other: count backwards
        last = size - 1
        backwards = here.op(
            "Slice",
            x,
            *(here.ints([n], name) for n, name in ((-1, "start"), (-END, "end"), (axis, "axis"), (-1, "step"))),
        )
        largest, where = here.ops("TopK", 2, backwards, here.ints([p.top_k], "k"), axis=axis)
        where = here.op("Sub", here.ints([last], "last"), where)
    indices = here.op("Cast", where, to=1)
    if p.axis is not None:
        return largest if p.out_max_val and largest is not None else indices
    shape = (have[0], fixed(1), fixed(p.top_k))
    one = here.reshape(indices, (have[0], fixed(p.top_k)), shape)
    if p.out_max_val and largest is not None:
        both = here.op("Concat", one, here.reshape(largest, (have[0], fixed(p.top_k)), shape), axis=1)
        shape = (have[0], fixed(2), fixed(p.top_k))
        return here.reshape(both, shape, here.top())
    return here.reshape(one, shape, here.top())


def permute(here: Here) -> Tensor:
    return here.op("Transpose", here.x[0], perm=here.layer.order)


def shuffle_channel(here: Here) -> Tensor:
    have, group, fixed = here.bottom(), here.p.group, here.making.sizes.fixed
    each = here.step.bottom[0].shape[1] // group
    if have[1].size is None:
        raise NeedsFixedError("its channels follow the batch")
    x = here.reshape(here.x[0], have, (have[0], fixed(group), fixed(each), *have[2:]))
    turned = here.op("Transpose", x, perm=[0, 2, 1, *range(3, len(have) + 1)])
    return here.reshape(turned, (have[0], fixed(each), fixed(group), *have[2:]), have)


def batch_reindex(here: Here) -> Tensor:
    examples = here.step.bottom[0]
    here.expects(1, lambda rng, shape: rng.integers(0, examples.shape[0], shape))
    return here.op("Gather", here.x[0], here.op("Cast", here.x[1], to=7), axis=0)


def filter_(here: Here) -> list[Tensor]:
    *filtered, selector = here.x
    here.expects(len(filtered), lambda rng, shape: rng.integers(0, 2, shape))
    row = here.op("Reshape", selector, here.ints([-1], "shape")) if len(here.bottom(len(filtered))) > 1 else selector
    chosen = here.op("Cast", row, to=9)
    return [here.op("Compress", x, chosen, axis=0) for x in filtered]


EMITTERS: dict[str, Emitter] = {
    "ArgMax": arg_max,
    "BatchReindex": batch_reindex,
    "Concat": concat,
    "Filter": filter_,
    "Flatten": reshaped,
    "Permute": permute,
    "Reshape": reshaped,
    "ShuffleChannel": shuffle_channel,
    "Slice": slice_,
    "Split": same,
    "Tile": tile,
}
