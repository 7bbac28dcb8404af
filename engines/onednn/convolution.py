"""Convolution by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.library import Unimplemented
from ...compute.onednn.primitives import Descriptor, Memory, Primitive, plain
from ...compute.onednn.stages import Passes
from ...layers.vision.convolution import Convolution
from .shares import add_up, parts

ADDING = (("sum", 1.0, 0, 0),)  # what is there already stays: the result is added to it


class OneDNNConvolution(Convolution):
    """y = b + W * x, dx and dW by oneDNN's primitives.

    The weights are brought into the order oneDNN likes before each pass, a small share of its work. A batch is cut into
    parts; each has a sum of dW of its own, and these are added in order.
    """

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.passes, self.primitives, self.uncovered = Passes(), {}, ""
        if not self.N or not self.any_layout or not self.kernel:
            self.uncovered = "its shape"
            return
        self.shares = parts(self.N, self.multiply_adds(bottom, top) // len(bottom))
        self.counts = sorted({share.stop - share.start for share in self.shares})
        try:
            for count in self.counts:
                for kind in ("forward", "backward_data", "backward_weights"):
                    self.primitives[kind, count] = self.primitive(kind, count)
        except Unimplemented as error:
            self.uncovered = str(error)

    # Shapes

    def primitive(self, kind, count):
        """The primitive of a pass for so many examples. Raises Unimplemented."""
        x, y = self.x_descriptor(count), self.y_descriptor(count)
        given = [x, Descriptor.any(self.weights_shape()), self.b_descriptor(), y]
        if kind == "forward":
            return Primitive("convolution_forward", dnn.TRAINING, dnn.DIRECT, *given, *self.steps())
        if kind == "backward_data":
            del given[2]
        return Primitive(f"convolution_{kind}", dnn.DIRECT, *given, *self.steps(), self.primitives["forward", count])

    def x_descriptor(self, count):
        return plain((count, self.C, *self.windows[0].sizes), True)

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

    def Forward_cpu(self, bottom, top):
        if self.uncovered:
            return super().Forward_cpu(bottom, top)
        for i, blob in enumerate(bottom):
            arrays = (self.channels_last(blob, i), top[i].data, *(one.data for one in self.blobs))
            self.passes.run(("y", i), arrays, self.forward)

    def Backward_cpu(self, top, propagate_down, bottom):
        if self.uncovered:
            return super().Backward_cpu(top, propagate_down, bottom)
        for i, blob in enumerate(bottom):
            dy = top[i].diff
            if any(self.param_propagate_down):
                learned = [
                    one.diff_to_add_to() if flag else (None, False)
                    for one, flag in zip(self.blobs, self.param_propagate_down, strict=True)
                ]
                diffs, cleared = zip(*learned, strict=True)
                self.passes.run(
                    ("dW", i, cleared), (self.channels_last(blob, i), dy, *diffs), self.weight_gradients(cleared)
                )
            if propagate_down[i]:
                dx = blob.diff if self.is_last(blob) else self.buffer(f"dx {i}", blob.shape, channels_last=True)
                self.passes.run(("dx", i), (dx, dy, self.blobs[0].data), self.data_gradient)
                if dx is not blob.diff:
                    np.copyto(blob.diff, dx)

    def is_last(self, blob):
        return blob.channels_last or self.C == 1

    def channels_last(self, blob, i):
        """The values of a blob with channels last: where they lie otherwise, a copy."""
        if self.is_last(blob):
            return blob.data
        copy = self.buffer(f"x {i}", blob.shape, channels_last=True)
        np.copyto(copy, blob.data)
        return copy

    def ordered_weights(self, kind, W):
        """W as the primitives of a pass like it, by the number of examples, and the tasks that bring it there."""
        here, found, tasks = self.weights_descriptor(W), {}, []
        for count in self.counts:
            wanted = self.primitives[kind, count].descriptor(dnn.WEIGHTS)
            if here == wanted:
                found[count] = Memory(here, W)
                continue
            found[count] = Memory(wanted, self.buffer(f"W {kind} {count}", (wanted.elements,)))
            tasks.append([(Primitive("reorder", here, wanted), {dnn.SRC: Memory(here, W), dnn.DST: found[count]})])
        return found, tasks

    def each_share(self, kind, memories):
        """A task for each part of the batch, with the memories that ``memories(share, count)`` gives."""
        tasks = []
        for share in self.shares:
            count = share.stop - share.start
            tasks.append([(self.primitives[kind, count], memories(share, count))])
        return tasks

    def forward(self, x, y, W, b=None):
        """The stages of y = b + W * x."""
        weights, ordering = self.ordered_weights("forward", W)
        bias = {} if b is None else {dnn.BIAS: Memory(self.b_descriptor(), b)}

        def memories(share, count):
            return bias | {
                dnn.SRC: Memory(self.x_descriptor(count), x[share]),
                dnn.WEIGHTS: weights[count],
                dnn.DST: Memory(self.y_descriptor(count), y[share]),
            }

        return [ordering, self.each_share("forward", memories)]

    def data_gradient(self, dx, dy, W):
        """The stages of dx, the gradient of x."""
        weights, ordering = self.ordered_weights("backward_data", W)

        def memories(share, count):
            return {
                dnn.DIFF_SRC: Memory(self.x_descriptor(count), dx[share]),
                dnn.WEIGHTS: weights[count],
                dnn.DIFF_DST: Memory(self.y_descriptor(count), dy[share]),
            }

        return [ordering, self.each_share("backward_data", memories)]

    def weight_gradients(self, cleared):
        """What makes the stages of dW and db; where a gradient is cleared it is overwritten, else added to."""

        def stages(x, dy, dW, db=None):
            order = self.primitives["backward_weights", self.counts[0]].descriptor(dnn.DIFF_WEIGHTS)
            sums_W = self.buffer("dW of parts", (len(self.shares), order.elements))
            sums_b = self.buffer("db of parts", (len(self.shares), self.M))

            def memories(share, count):
                i = self.shares.index(share)
                bias = {dnn.DIFF_BIAS: Memory(self.b_descriptor(), sums_b[i])} if self.p.bias_term else {}
                return bias | {
                    dnn.SRC: Memory(self.x_descriptor(count), x[share]),
                    dnn.DIFF_DST: Memory(self.y_descriptor(count), dy[share]),
                    dnn.DIFF_WEIGHTS: Memory(order, sums_W[i]),
                }

            last = []
            if dW is not None:
                here = self.weights_descriptor(dW)
                adding = Primitive("reorder", order, here, post_ops=() if cleared[0] else ADDING)
                last.append((adding, {dnn.SRC: Memory(order, sums_W[0]), dnn.DST: Memory(here, dW)}))
            if db is not None:
                last.append((np.copyto, (db, sums_b[0])) if cleared[1] else (np.add, (db, sums_b[0], db)))
            return [self.each_share("backward_weights", memories), add_up(sums_W), add_up(sums_b), [last]]

        return stages
