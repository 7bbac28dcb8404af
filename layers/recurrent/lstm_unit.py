"""LSTMUnit: one step of an LSTM, from its gates."""

from __future__ import annotations

import numpy as np

from ...compute.functions import sigmoid
from ...compute.parallel import scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.errors import ShapeError, format_shape
from ..loss.targets import CONT
from .recurrence import begins


@register
class LSTMUnit(Layer):
    """One step of an LSTM: c = f cont c' + i g, h = o tanh(c); i, f, o are σ and g is tanh of the gates' four parts.

    bottom[0]: c', 1 x N x H.    bottom[1]: the gates before σ and tanh, 1 x N x 4H, in the order i, f, o, g.
    bottom[2]: cont, 1 x N, in [0, 1].
    top[0]: c, 1 x N x H.    top[1]: h, 1 x N x H.
    Backward: with a = dc + dh o (1 - tanh²(c)): dc' = a f cont, and for the gates a g, a cont c', dh tanh(c), a i times
    the slopes of σ and tanh. Right for any cont; Caffe's only for 0 and 1. It has no gradient.
    Errors: shapes that are not 1 x N x H, 1 x N x 4H and 1 x N; a cont outside [0, 1].
    Source: Caffe's LSTMUnit, of which its LSTM is made.
    """

    num_bottoms = 3
    num_tops = 2
    no_gradient = (2,)
    continues_by = 2
    batch_axis = 1
    backward_reads = ("bottom.data",)
    examples = (Example([(1, 3, 2), (1, 3, 8), (1, 3)], values={2: begins}),)

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) != 3 or shape[0] != 1 or bottom[1].shape != (1, shape[1], 4 * shape[2]):
            got = f"{format_shape(shape)} and {format_shape(bottom[1].shape)}"
            raise ShapeError(f"needs c of 1 x N x H and gates of 1 x N x 4H, got {got}")
        if bottom[2].shape != shape[:2]:
            raise ShapeError(f"needs cont of 1 x N = {format_shape(shape[:2])}, got {format_shape(bottom[2].shape)}")
        CONT.check_known(bottom[2])
        self.N, self.H = shape[1:]
        for blob in top:
            blob.reshape(shape)

    def parts(self, array):
        """i, f, o, g of N x 4H."""
        array = array.reshape(self.N, 4 * self.H)
        return [array[:, k * self.H : (k + 1) * self.H] for k in range(4)]

    def Forward_cpu(self, bottom, top):
        CONT.check(bottom[2])
        gates = self.buffer("gates", (self.N, 4 * self.H))
        given = bottom[1].data.reshape(gates.shape)
        sigmoid(given[:, : 3 * self.H], out=gates[:, : 3 * self.H])
        np.tanh(given[:, 3 * self.H :], out=gates[:, 3 * self.H :])
        i, f, o, g = self.parts(gates)
        c, h = top[0].data[0], top[1].data[0]
        self.tanh_c = self.buffer("tanh c", c.shape)
        np.multiply(f, bottom[2].data.reshape(self.N, 1), out=c)
        c *= bottom[0].data[0]
        c += np.multiply(i, g, out=scratch("new", c.shape, c.dtype))
        np.tanh(c, out=self.tanh_c)
        np.multiply(o, self.tanh_c, out=h)

    def Backward_cpu(self, top, propagate_down, bottom):
        i, f, o, g = self.parts(self.buffer("gates", (self.N, 4 * self.H)))
        before, cont, dh, tanh_c = bottom[0].data[0], bottom[2].data.reshape(self.N, 1), top[1].diff[0], self.tanh_c
        a = top[0].diff[0] + dh * o * (1 - tanh_c * tanh_c)
        if propagate_down[0]:
            np.multiply(a, f * cont, out=bottom[0].diff[0])
        if propagate_down[1]:
            di, df, do, dg = self.parts(bottom[1].diff)
            np.multiply(a, g * i * (1 - i), out=di)
            np.multiply(a, cont * before * f * (1 - f), out=df)
            np.multiply(dh, tanh_c * o * (1 - o), out=do)
            np.multiply(a, i * (1 - g * g), out=dg)
