"""Convolution by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Descriptor, Memory, Primitive, plain, reorder
from ...compute.stages import Stage, Work, parts_of
from ...layers.vision.convolution import Convolution
from .layer import OneDNNLayer
from .shares import Shares, add_up

MOST_SUMS = 8  # of dW, one for each part of the batch
SUMS = 1 << 20  # elements of all of them, or as many as x and y have
LARGE = 1 << 20  # elements of a W that is rather cut than read by every thread
LEAST_CHANNELS = 32  # of a piece of W
PIECES = (4, 2)  # of W: the first that leaves enough channels


class OneDNNConvolution(OneDNNLayer, Convolution):
    """y = b + W * x, dx and dW by oneDNN's primitives.

    The work is cut into parts of the batch. Each has a sum of dW of its own; they are added in order. Where W is larger
    than x and y, and where there is one example, the channels of what is computed are cut instead: the pieces lie apart
    in memory, and oneDNN's channels do not, so they are copied, and so is nothing of W.
    """

    def prepare(self, bottom, top):
        if not self.any_layout or not self.kernel:
            return "no spatial axes, or axes of examples before the channels"
        self.made = {}
        self.work = self.multiply_adds(bottom, top) // len(bottom)
        elements = [bottom[0].count, top[0].count]
        W = self.blobs[0].count
        self.shares = Shares(self.N, max(elements))
        self.sums = self.parts_of_sums(W, sum(elements))
        cut = self.p.group == 1 and (self.N == 1 or (W >= LARGE and max(elements) < W))
        self.outputs, self.inputs = (self.pieces(n) if cut else [slice(0, n)] for n in (self.M, self.C))
        for kind in ("forward", "backward_data", "backward_weights"):
            for count in self.counts(kind):
                self.primitive(kind, count)
        return ""

    def parts_of_sums(self, W, elements):
        """The parts of the batch that have a sum of dW each: fewer where W is large beside what is read for them."""
        return parts_of(self.N, 1, most=max(2, min(MOST_SUMS, max(SUMS, elements) // W)))

    def pieces(self, channels):
        """Slices of equally many channels: one where there are few."""
        number = next((n for n in PIECES if channels % (n * LEAST_CHANNELS) == 0), 1)
        return [slice(i * channels // number, (i + 1) * channels // number) for i in range(number)]

    def is_cut(self, kind):
        """Whether channels are cut for this pass, not examples."""
        return len(self.inputs if kind == "backward_data" else self.outputs) > 1

    def adds_b(self):
        return self.p.bias_term

    # Shapes

    def counts(self, kind):
        """The numbers of examples that a pass's primitives are for."""
        if self.is_cut(kind):
            return [self.N]
        if kind == "backward_weights":
            return sorted({part.stop - part.start for part in self.sums})
        return self.shares.counts

    def primitive(self, kind, count):
        """The primitive of a pass for so many examples. Raises UnimplementedError."""
        if (kind, count) not in self.made:
            M, C = len(self.outputs), len(self.inputs)
            if kind == "backward_data":
                forward = self.made_of("forward", count, self.M, self.C // C)
                self.made[kind, count] = self.made_of(kind, count, self.M, self.C // C, forward)
            else:
                forward = self.made_of("forward", count, self.M // M, self.C)
                again = kind == "backward_weights"
                self.made[kind, count] = self.made_of(kind, count, self.M // M, self.C, forward) if again else forward
        return self.made[kind, count]

    def made_of(self, kind, count, M, C, forward=None):
        """A primitive of so many examples with so many channels of y and x."""
        W, b = Descriptor.any(self.weights_shape(M, C)), plain((M,)) if self.adds_b() else None
        given = [self.x_descriptor(count, C), W, b, self.y_descriptor(count, M), *self.steps()]
        if kind == "forward":
            return Primitive("convolution_forward", dnn.TRAINING, dnn.DIRECT, *given)
        if kind == "backward_data":
            del given[2]
        return Primitive(f"convolution_{kind}", dnn.DIRECT, *given, forward)

    def x_descriptor(self, count, C, channels_last=True):
        return plain((count, C, *self.windows[0].sizes), channels_last)

    def y_descriptor(self, count, M):
        return plain((count, M, *self.windows[0].output), True)

    def steps(self):
        """Stride, dilation and padding on both sides, as oneDNN has them."""
        w = self.windows[0]
        axes = zip(w.output, self.stride, self.dilation, self.kernel, w.sizes, self.pad, strict=True)
        far = tuple((o - 1) * s + d * (k - 1) + 1 - size - p for o, s, d, k, size, p in axes)
        return tuple(self.stride), tuple(d - 1 for d in self.dilation), tuple(self.pad), far

    def weights_shape(self, M, C):
        group = self.p.group
        shape = (M // group, C // group, *self.kernel)
        return shape if group == 1 else (group, *shape)

    def weights_descriptor(self, array):
        """Of W or dW, or a piece of it, as it lies in its blob."""
        shape, strides = array.shape, [stride // array.itemsize for stride in array.strides]
        if self.p.group > 1:
            shape = self.weights_shape(self.M, self.C)
            strides = [strides[0] * shape[1], *strides]
        return Descriptor.of(shape, strides)

    # Passes

    def forward_work(self, bottom, top):
        arrays = [blob.data for blob in self.blobs]
        return [
            stage for x, y in zip(bottom, top, strict=True) for stage in self.forward_stages(x.data, y.data, *arrays)
        ]

    def backward_work(self, top, propagate_down, bottom, cleared):
        stages = []
        for i, x in enumerate(bottom):
            if any(self.param_propagate_down):
                diffs = [
                    blob.diff if learns else None
                    for blob, learns in zip(self.blobs, self.param_propagate_down, strict=True)
                ]
                stages += self.weight_stages(i, x.data, top[i].diff, diffs, [flag and i == 0 for flag in cleared])
            if propagate_down[i]:
                stages += self.data_stages(x.diff, top[i].diff, self.blobs[0].data)
        return stages

    def channels_last(self, x, share, name):
        """Memory for part of x or dx with channels last, and calls that bring there, and back, what lies otherwise."""
        count = len(x[share])
        last = self.x_descriptor(count, self.C)
        if self.is_last(x):
            return Memory(last, x[share]), [], []
        here = self.x_descriptor(count, self.C, channels_last=False)
        copy = self.buffer(name, x.shape, channels_last=True)[share]
        a, b = Memory(here, x[share]), Memory(last, copy)
        there, back = reorder(here, last), reorder(last, here)
        return b, [(there, {dnn.SRC: a, dnn.DST: b})], [(back, {dnn.SRC: b, dnn.DST: a})]

    def is_last(self, x):
        return self.C == 1 or np.moveaxis(x, 1, -1).flags.c_contiguous

    def ordered(self, W, wanted, name):
        """W, or a piece, as a primitive likes it, and the calls that bring it there."""
        here = self.weights_descriptor(W)
        if here == wanted:
            return Memory(here, W), []
        copy = Memory(wanted, self.buffer(name, (wanted.elements,)))
        return copy, [(reorder(here, wanted), {dnn.SRC: Memory(here, W), dnn.DST: copy})]

    def ordered_weights(self, kind, W):
        """W as the primitives of a pass like it, by the number of examples, and the stage that brings it there."""
        found, tasks = {}, []
        for count in self.counts(kind):
            wanted = self.primitive(kind, count).descriptor(dnn.WEIGHTS)
            found[count], calls = self.ordered(W, wanted, f"W {kind} {count}")
            tasks += [calls] if calls else []
        return found, Stage(tasks, when="before", work=W.size * len(tasks))

    def piece_of(self, array, channels, name):
        """Memory for some channels of an array that lies channels last, copied, and calls there and back."""
        shape = (array.shape[0], channels.stop - channels.start, *array.shape[2:])
        size, part = array.itemsize, array[:, channels]
        here, last = Descriptor.of(shape, [stride // size for stride in part.strides]), plain(shape, True)
        copy = self.buffer(f"{name} {channels.start}", shape, channels_last=True)
        a, b = Memory(here, part), Memory(last, copy)
        return b, (reorder(here, last), {dnn.SRC: a, dnn.DST: b}), (reorder(last, here), {dnn.SRC: b, dnn.DST: a})

    def forward_stages(self, x, y, W, b=None):
        if self.is_cut("forward"):
            return self.pieces_of_y(x, y, W, b)
        weights, ordering = self.ordered_weights("forward", W)
        bias = {} if b is None else {dnn.BIAS: Memory(plain((self.M,)), b)}

        def task(_, share, count):
            source, bring, _ = self.channels_last(x, share, "x")
            memories = {
                dnn.SRC: source,
                dnn.WEIGHTS: weights[count],
                dnn.DST: Memory(self.y_descriptor(count, self.M), y[share]),
            }
            return [*bring, (self.primitive("forward", count), memories | bias)]

        return [ordering, self.shares.stage(task, self.work)]

    def pieces_of_y(self, x, y, W, b):
        primitive = self.primitive("forward", self.N)
        source, bring, _ = self.channels_last(x, slice(None), "x")
        tasks = []
        for channels in self.outputs:
            weights, ordering = self.ordered(W[channels], primitive.descriptor(dnn.WEIGHTS), f"W {channels.start}")
            result, _, back = self.piece_of(y, channels, "y")
            memories = {dnn.SRC: source, dnn.WEIGHTS: weights, dnn.DST: result}
            bias = {} if b is None else {dnn.BIAS: Memory(plain((len(b[channels]),)), b[channels])}
            tasks.append([*ordering, (primitive, memories | bias), back])
        return [Stage([bring] if bring else []), Stage(tasks, work=self.work)]

    def data_stages(self, dx, dy, W):
        if self.is_cut("backward_data"):
            return self.pieces_of_dx(dx, dy, W)
        weights, ordering = self.ordered_weights("backward_data", W)

        def task(_, share, count):
            result, _, back = self.channels_last(dx, share, "dx")
            memories = {
                dnn.DIFF_SRC: result,
                dnn.WEIGHTS: weights[count],
                dnn.DIFF_DST: Memory(self.y_descriptor(count, self.M), dy[share]),
            }
            return [(self.primitive("backward_data", count), memories), *back]

        return [ordering, self.shares.stage(task, self.work)]

    def pieces_of_dx(self, dx, dy, W):
        primitive = self.primitive("backward_data", self.N)
        upstream = Memory(self.y_descriptor(self.N, self.M), dy)
        whole = dx if self.is_last(dx) else self.buffer("dx", dx.shape, channels_last=True)
        tasks = []
        for channels in self.inputs:
            weights, ordering = self.ordered(W[:, channels], primitive.descriptor(dnn.WEIGHTS), f"Wᵀ {channels.start}")
            result, _, back = self.piece_of(whole, channels, "dx")
            memories = {dnn.DIFF_SRC: result, dnn.WEIGHTS: weights, dnn.DIFF_DST: upstream}
            tasks.append([*ordering, (primitive, memories), back])
        _, _, last = self.channels_last(dx, slice(None), "dx")
        return [Stage(tasks, work=self.work), Stage([last] if last else [])]

    def weight_stages(self, i, x, dy, diffs, cleared):
        """Those of dW and db; where a gradient is cleared it is overwritten, else added to."""
        if self.is_cut("backward_weights"):
            return self.pieces_of_dW(x, dy, diffs, cleared)
        order = self.primitive("backward_weights", self.counts("backward_weights")[0]).descriptor(dnn.DIFF_WEIGHTS)
        sums_W = self.buffer(f"dW of parts {i}", (len(self.sums), order.elements))
        sums_b = self.buffer(f"db of parts {i}", (len(self.sums), self.M))
        tasks = []
        for part, share in enumerate(self.sums):
            count = share.stop - share.start
            source, bring, _ = self.channels_last(x, share, f"x {i}")
            upstream = Memory(self.y_descriptor(count, self.M), dy[share])
            sums = [Memory(order, sums_W[part]), Memory(plain((self.M,)), sums_b[part])]
            tasks.append([*bring, self.weight_gradient(count, source, upstream, *sums)])
        last = self.hand_on(Memory(order, sums_W[0]), order, sums_b[0], diffs, cleared)
        adding = [*add_up(sums_W), *add_up(sums_b)]
        return [
            Stage(tasks, when="after", work=self.work),
            Stage(adding, when="after", work=sums_W.size),
            Stage([last], when="after", work=order.elements),
        ]

    def weight_gradient(self, count, source, upstream, dW, db):
        memories = {dnn.SRC: source, dnn.DIFF_DST: upstream, dnn.DIFF_WEIGHTS: dW}
        bias = {dnn.DIFF_BIAS: db} if self.adds_b() else {}
        return self.primitive("backward_weights", count), memories | bias

    def hand_on(self, made, order, db, diffs, cleared):
        """Calls that bring sums to where the gradients are."""
        calls: list[Work] = []
        if diffs[0] is not None:
            here = self.weights_descriptor(diffs[0])
            bring = reorder(order, here, adding=not cleared[0])
            calls.append((bring, {dnn.SRC: made, dnn.DST: Memory(here, diffs[0])}))
        if self.adds_b() and diffs[1] is not None:
            calls.append((np.copyto, (diffs[1], db)) if cleared[1] else (np.add, (diffs[1], db, diffs[1])))
        return calls

    def pieces_of_dW(self, x, dy, diffs, cleared):
        order = self.primitive("backward_weights", self.N).descriptor(dnn.DIFF_WEIGHTS)
        source, bring, _ = self.channels_last(x, slice(None), "x")
        tasks = []
        for channels in self.outputs:
            count = channels.stop - channels.start
            upstream, there, _ = self.piece_of(dy, channels, "dy")
            made = Memory(order, self.buffer(f"dW {channels.start}", (order.elements,)))
            db = self.buffer(f"db {channels.start}", (count,))
            own = [None if diff is None else diff[channels] for diff in diffs]
            calls = self.hand_on(made, order, db, own, cleared)
            tasks.append(
                [there, self.weight_gradient(self.N, source, upstream, made, Memory(plain((count,)), db)), *calls]
            )
        return [Stage([bring] if bring else []), Stage(tasks, when="after", work=self.work)]
