"""Convolution by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Descriptor, Memory, Primitive, plain, reorder
from ...compute.onednn.stages import Work
from ...layers.vision.convolution import Convolution
from .layer import OneDNNLayer
from .shares import Shares, add_up


class OneDNNConvolution(OneDNNLayer, Convolution):
    """y = b + W * x, dx and dW by oneDNN's primitives, for parts of the batch.

    W is brought into the order oneDNN likes before each pass, and so is an x that does not lie channels last: a small
    share of the work. Each part of the batch has a sum of dW of its own; they are added in order.
    """

    def prepare(self, bottom, top):
        if not self.any_layout or not self.kernel:
            return "no spatial axes, or axes of examples before the channels"
        self.primitives = {}
        self.shares = Shares(self.N, self.multiply_adds(bottom, top) // len(bottom))
        for count in self.shares.counts:
            for kind in ("forward", "backward_data", "backward_weights"):
                self.primitives[kind, count] = self.primitive(kind, count)
        return ""

    # Shapes

    def primitive(self, kind, count):
        """The primitive of a pass for so many examples. Raises UnimplementedError."""
        W, b = Descriptor.any(self.weights_shape()), self.b_descriptor()
        given = [self.x_descriptor(count), W, b, self.y_descriptor(count), *self.steps()]
        if kind == "forward":
            return Primitive("convolution_forward", dnn.TRAINING, dnn.DIRECT, *given)
        if kind == "backward_data":
            del given[2]
        return Primitive(f"convolution_{kind}", dnn.DIRECT, *given, self.primitives["forward", count])

    def x_descriptor(self, count, channels_last=True):
        return plain((count, self.C, *self.windows[0].sizes), channels_last)

    def y_descriptor(self, count):
        return plain((count, self.M, *self.windows[0].output), True)

    def b_descriptor(self):
        return plain((self.M,)) if self.p.bias_term else None

    def steps(self):
        """Stride, dilation and padding on both sides, as oneDNN has them."""
        w = self.windows[0]
        axes = zip(w.output, self.stride, self.dilation, self.kernel, w.sizes, self.pad, strict=True)
        far = tuple((o - 1) * s + d * (k - 1) + 1 - size - p for o, s, d, k, size, p in axes)
        return tuple(self.stride), tuple(d - 1 for d in self.dilation), tuple(self.pad), far

    def weights_shape(self):
        group = self.p.group
        shape = (self.M // group, self.C // group, *self.kernel)
        return shape if group == 1 else (group, *shape)

    def weights_descriptor(self, array):
        """Of W or dW as it lies in its blob."""
        shape, strides = self.weights_shape(), [stride // array.itemsize for stride in array.strides]
        return Descriptor.of(shape, strides if self.p.group == 1 else [strides[0] * shape[1], *strides])

    # Passes

    def forward(self, bottom, top):
        for i, blob in enumerate(bottom):
            arrays = (blob.data, top[i].data, *(one.data for one in self.blobs))
            self.passes.run(("y", i), arrays, self.forward_stages)

    def backward(self, top, propagate_down, bottom):
        for i, blob in enumerate(bottom):
            if any(self.param_propagate_down):
                learned = zip(self.blobs, self.param_propagate_down, strict=True)
                diffs, cleared = zip(
                    *(one.diff_to_add_to() if flag else (None, False) for one, flag in learned), strict=True
                )
                stages = self.weight_stages(*cleared)
                self.passes.run(("dW", i, cleared), (blob.data, top[i].diff, *diffs), stages)
            if propagate_down[i]:
                self.passes.run(("dx", i), (blob.diff, top[i].diff, self.blobs[0].data), self.data_stages)

    def channels_last(self, x, share, count, name):
        """Memory for part of x or dx with channels last, and calls that bring there, and back, what lies otherwise."""
        last = self.x_descriptor(count)
        if self.is_last(x):
            return Memory(last, x[share]), [], []
        here = self.x_descriptor(count, channels_last=False)
        copy = self.buffer(name, x.shape, channels_last=True)[share]
        a, b = Memory(here, x[share]), Memory(last, copy)
        there, back = reorder(here, last), reorder(last, here)
        return b, [(there, {dnn.SRC: a, dnn.DST: b})], [(back, {dnn.SRC: b, dnn.DST: a})]

    def is_last(self, x):
        return self.C == 1 or np.moveaxis(x, 1, -1).flags.c_contiguous

    def ordered_weights(self, kind, W):
        """W as the primitives of a pass like it, by the number of examples, and the tasks that bring it there."""
        here, found, tasks = self.weights_descriptor(W), {}, []
        for count in self.shares.counts:
            wanted = self.primitives[kind, count].descriptor(dnn.WEIGHTS)
            if here == wanted:
                found[count] = Memory(here, W)
                continue
            found[count] = Memory(wanted, self.buffer(f"W {kind} {count}", (wanted.elements,)))
            tasks.append([(reorder(here, wanted), {dnn.SRC: Memory(here, W), dnn.DST: found[count]})])
        return found, tasks

    def forward_stages(self, x, y, W, b=None):
        weights, ordering = self.ordered_weights("forward", W)
        bias = {} if b is None else {dnn.BIAS: Memory(self.b_descriptor(), b)}

        def task(_, share, count):
            source, bring, _ = self.channels_last(x, share, count, "x")
            memories = {
                dnn.SRC: source,
                dnn.WEIGHTS: weights[count],
                dnn.DST: Memory(self.y_descriptor(count), y[share]),
            }
            return [*bring, (self.primitives["forward", count], memories | bias)]

        return [ordering, self.shares.stage(task)]

    def data_stages(self, dx, dy, W):
        weights, ordering = self.ordered_weights("backward_data", W)

        def task(_, share, count):
            result, _, back = self.channels_last(dx, share, count, "dx")
            memories = {
                dnn.DIFF_SRC: result,
                dnn.WEIGHTS: weights[count],
                dnn.DIFF_DST: Memory(self.y_descriptor(count), dy[share]),
            }
            return [(self.primitives["backward_data", count], memories), *back]

        return [ordering, self.shares.stage(task)]

    def weight_stages(self, W_is_cleared, b_is_cleared=False):
        """What makes the stages of dW and db; where a gradient is cleared it is overwritten, else added to."""

        def stages(x, dy, dW, db=None):
            order = self.primitives["backward_weights", self.shares.counts[0]].descriptor(dnn.DIFF_WEIGHTS)
            sums_W = self.buffer("dW of parts", (len(self.shares), order.elements))
            sums_b = self.buffer("db of parts", (len(self.shares), self.M))

            def task(i, share, count):
                source, bring, _ = self.channels_last(x, share, count, "x")
                memories = {
                    dnn.SRC: source,
                    dnn.DIFF_DST: Memory(self.y_descriptor(count), dy[share]),
                    dnn.DIFF_WEIGHTS: Memory(order, sums_W[i]),
                }
                bias = {dnn.DIFF_BIAS: Memory(self.b_descriptor(), sums_b[i])} if self.p.bias_term else {}
                return [*bring, (self.primitives["backward_weights", count], memories | bias)]

            last: list[Work] = []
            if dW is not None:
                here = self.weights_descriptor(dW)
                hand_on = reorder(order, here, adding=not W_is_cleared)
                last.append((hand_on, {dnn.SRC: Memory(order, sums_W[0]), dnn.DST: Memory(here, dW)}))
            if db is not None:
                last.append((np.copyto, (db, sums_b[0])) if b_is_cleared else (np.add, (db, sums_b[0], db)))
            return [self.shares.stage(task), add_up(sums_W), add_up(sums_b), [last]]

        return stages
