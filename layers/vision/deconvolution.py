"""Deconvolution: a convolution that runs from its output to its input."""

from __future__ import annotations

import numpy as np

from ...compute.channels import Channels
from ...net.example import Example
from ...net.registry import register
from ...spec.errors import ShapeError, format_shape
from .convolution import Convolution


@register
class Deconvolution(Convolution):
    """Transposed convolution: every x is multiplied by M kernels, and these are added up where they overlap.

    y[m, o] = b[m] + Σ_{c,i,k : o = i·stride + k·dilation - pad} W[c, m, k] x[c, i]
    bottom[i]: x, N x C x (spatial axes), all of one shape.    top[i]: y, N x M x (output axes), for each bottom.
    Output axes: stride (size - 1) + dilation (kernel - 1) + 1 - 2 pad.
    blobs[0]: W, C x M/group x (kernel axes).    blobs[1]: b, M.
    Backward: dx = W col(dy), dW += x col(dy)ᵀ, db += Σ dy, col(y) having a window of y in each column, as a Convolution
    from y to x would read it. Forward is that convolution's gradient: y = b + col⁻¹(Wᵀ x).
    Initial values: W xavier (Caffe: zeros) with fan_in and fan_out exchanged, b zero. For upsampling by a factor f:
    kernel_size 2f - f % 2, stride f, pad ceil((f - 1) / 2), num_output = group = C, weight_filler bilinear,
    bias_term false and lr_mult 0.
    Errors: a pad that leaves no output; channels or num_output not divisible by group; bottoms of different shapes.
    Source: Caffe's Deconvolution; PyTorch's conv_transpose.
    """

    transposed = True
    examples = (
        Example([(2, 3, 2, 3)], {"num_output": 2, "kernel_size": 3, "stride": 2, "pad": 1}),
        Example([(2, 2, 3, 3)], {"num_output": 3, "kernel_size": 2}),
        Example([(2, 4, 2, 3)], {"num_output": 2, "kernel_size": [3, 2], "stride": 2, "dilation": [2, 1], "group": 2}),
        Example(
            [(1, 3, 3, 2)],
            {
                "num_output": 3,
                "group": 3,
                "kernel_size": 4,
                "stride": 2,
                "pad": 1,
                "weight_filler": "bilinear",
                "bias_term": False,
            },
        ),
        Example([(2, 2, 3)], {"num_output": 2, "kernel_size": 2, "stride": 3}),
        Example([(2, 16, 2, 2)], {"num_output": 16, "kernel_size": 3, "stride": 2, "pad": 1, "group": 16}),
        Example([(1, 2, 2, 1, 2)], {"num_output": 1, "kernel_size": [2, 1, 2], "stride": [1, 2, 1]}),
        Example([(1, 2, 2, 2), (1, 2, 2, 2)], {"num_output": 2, "kernel_size": 2, "stride": 2}, tops=2),
    )

    def lay_out(self, bottom, sizes, kernel, stride, pad, dilation):
        if 0 in sizes:
            raise ShapeError(f"{format_shape(bottom[0].shape)} has no pixels")
        output = tuple(map(self.output_size, sizes, kernel, stride, pad, dilation))
        layout = (output, kernel, stride, pad, dilation, self.any_layout)
        self.windows = [self.windows_over(self.C, *layout) for _ in bottom]
        return output

    @staticmethod
    def output_size(size, kernel, stride, pad, dilation):
        full = stride * (size - 1) + dilation * (kernel - 1) + 1
        if full <= 2 * pad:
            raise ShapeError(
                f"pad {pad} leaves nothing: the output is {stride} x ({size} - 1) + {dilation} x ({kernel} - 1) + 1 "
                f"- 2 x {pad} = {full - 2 * pad}",
                key=("pad", "pad_h", "pad_w"),
                hint=f"use pad <= {(full - 1) // 2}",
            )
        return full - 2 * pad

    def Forward_cpu(self, bottom, top):
        W, b = self.kernels(), self.bias()
        for i, w in enumerate(self.windows):
            x, y = bottom[i].data, top[i].data
            if back := self.backward_windows(w, bottom[i].channels_last):
                self.correlate(("y", i), x, self.flipped(W), b, y, back)
            else:
                self.gradients(("y", i), y, W, x, y, w)

    def hand_over(self, do, total, y):
        b = self.bias()
        if b is None:
            do(np.copyto, y, total)
        else:
            do(np.add, total, b.reshape(-1, *[1] * (y.ndim - 2)), y)

    def Backward_cpu(self, top, propagate_down, bottom):
        W, learns_W = self.kernels(), self.param_propagate_down[0]
        for i, w in enumerate(self.windows):
            x, dy = bottom[i].data, top[i].diff
            if propagate_down[i]:
                self.correlate(("dx", i), dy, W, None, bottom[i].diff, w)
            self.gradients(("dW", i), dy, W, x, None, w, learns_W)
            if self.N and self.p.bias_term and self.param_propagate_down[1]:
                self.add_sums(dy)

    def add_sums(self, dy):
        """db += Σ dy"""
        channels = Channels.of((self.N, self.C, dy.size // (self.N * self.C)), self.any_layout)
        self.blobs[1].diff += channels.sums([np.asarray], [dy])[0]
