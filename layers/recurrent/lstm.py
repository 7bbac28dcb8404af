"""LSTM: long short-term memory."""

from __future__ import annotations

import numpy as np

from ...compute.blas import step_product
from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.registry import register
from .recurrence import Recurrence, begins


@register
class LSTM(Recurrence):
    """Long short-term memory: c_t = f cont_t c_{t-1} + i g, h_t = o tanh(c_t).

    i, f, o are σ and g is tanh of the four parts of W_h (cont_t h_{t-1}) + W_x x_t + b, in that order.
    bottom[0]: x, T x N x …: T steps of N sequences, D inputs each.
    bottom[1]: cont, T x N, 0 where a sequence begins, 1 where it continues.
    then, if given: a static input xs, N x …, which adds W_xs xs to every step.
    top[0]: h, T x N x H, H = num_output.
    With expose_hidden the last bottoms are h_0 and c_0, and top[1], top[2] the last h and c, all 1 x N x H; else the
    first step of a batch goes on from the last one of the previous batch, if that had the same number of sequences.
    blobs: W_x 4H x D, b 4H, [W_xs], W_h 4H x H.
    Backward: through all T steps, and to h_0, c_0 if they are bottoms (in Caffe not); not into the batch before.
    σ is computed as (1 + tanh(a/2)) / 2, so that one tanh serves all four parts.
    Initial values: weights xavier (Caffe: zeros), b zero.
    Errors: x and cont that disagree; a cont outside [0, 1]; a number of inputs that is not the first batch's.
    Source: Caffe's LSTM; Hochreiter and Schmidhuber 1997, Gers et al. 2000. Recurrent takes any cell.
    """

    states = ("h", "c")
    gates = 4
    examples = (
        Example([(3, 2, 3), (3, 2)], {"num_output": 3}, {1: begins}),
        Example([(2, 2, 2, 2), (2, 2), (2, 3)], {"num_output": 3}, {1: begins}),
        Example(
            [(2, 2, 3), (2, 2), (1, 2, 3), (1, 2, 3)],
            {"num_output": 3, "expose_hidden": True},
            {1: begins},
            tops=3,
        ),
    )

    def forward_steps(self, pre, y):
        H = self.H
        pre[..., : 3 * H] *= 0.5
        W = self.buffer("W_h with halves", (4 * H, H))
        np.multiply(self.blobs[self.of_h].data, 0.5, out=W)
        W[3 * H :] *= 2
        self.c, self.tanh_c = self.over_time("c", H), self.over_time("tanh c", H)
        product, new = self.buffer("product", (self.N, 4 * H)), self.buffer("new", (self.N, H))

        def steps(rows):
            h, c, part = self.first["h"][rows], self.first["c"][rows], new[rows]
            of_h = step_product(W.T, product[rows])
            for t in range(self.T):
                cont, kept, gates, tanh_c = self.cont[t, rows], self.kept[t, rows], pre[t, rows], self.tanh_c[t, rows]
                np.multiply(h, cont, out=kept)
                gates += of_h(kept)
                np.tanh(gates, out=gates)  # gates become i, f, o, g
                shares = gates[:, : 3 * H]
                shares *= 0.5
                shares += 0.5
                np.multiply(gates[:, H : 2 * H], cont, out=part)
                c = np.multiply(part, c, out=self.c[t, rows])
                c += np.multiply(gates[:, :H], gates[:, 3 * H :], out=part)
                np.tanh(c, out=tanh_c)
                h = np.multiply(gates[:, 2 * H : 3 * H], tanh_c, out=y[t, rows])

        self.over_sequences(steps)
        return {"h": y[-1], "c": self.c[-1]}

    def slopes(self, gates, tanh_c, before, cont, slopes, through):
        """How the pre-activations of i, f, g follow c and that of o follows h; and how c follows h."""
        H = self.H
        i, _, o, g = (gates[..., k * H : (k + 1) * H] for k in range(4))
        shares, by_g = slopes[..., : 3 * H], slopes[..., 3 * H :]
        np.multiply(gates, gates, out=slopes)
        np.subtract(gates[..., : 3 * H], shares, out=shares)  # σ' = σ - σ²
        np.subtract(1, by_g, out=by_g)  # tanh' = 1 - tanh²
        by_g *= i
        slopes[..., :H] *= g
        kept = np.multiply(before, cont, out=scratch("kept c", before.shape, before.dtype))
        slopes[..., H : 2 * H] *= kept
        slopes[..., 2 * H : 3 * H] *= tanh_c
        np.multiply(tanh_c, tanh_c, out=through)
        np.subtract(1, through, out=through)
        through *= o

    def backward_steps(self, dpre, dy, last):
        H, N = self.H, self.N
        before = self.over_time("c before", H)
        np.copyto(before[0], self.first["c"])
        np.copyto(before[1:], self.c[:-1])
        through = self.over_time("through", H)
        gates = self.over_time("pre", 4 * H)
        by_example(self.slopes, gates, self.tanh_c, before, self.cont, dpre, through)
        W = self.blobs[self.of_h].data
        all_dh, all_dc = self.buffer("dh", (N, H)), self.buffer("dc", (N, H))
        np.copyto(all_dh, last.get("h", 0))
        np.copyto(all_dc, last.get("c", 0))
        parts = self.buffer("part", (N, H))

        def steps(rows):
            dh, dc, part = all_dh[rows], all_dc[rows], parts[rows]
            through_h = step_product(W, dh)
            for t in reversed(range(self.T)):
                cont, slopes = self.cont[t, rows], dpre[t, rows]
                dh += dy[t, rows]
                dc += np.multiply(dh, through[t, rows], out=part)
                slopes[:, 2 * H : 3 * H] *= dh
                first_two = slopes[:, : 2 * H].reshape(len(slopes), 2, H)
                first_two *= dc[:, None]
                slopes[:, 3 * H :] *= dc
                dc *= gates[t, rows, H : 2 * H]
                dc *= cont
                through_h(slopes)
                dh *= cont

        self.over_sequences(steps)
        if self.param_propagate_down[self.of_h]:
            self.add_product(self.of_h, self.flat(dpre), self.flat(self.kept))
        return {"h": all_dh, "c": all_dc}
