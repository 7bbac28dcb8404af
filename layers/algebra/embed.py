"""Embed: a learned vector for each index."""

from __future__ import annotations

import math

import numpy as np

from ...compute.parallel import scratch
from ...net.example import Example, labels
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ..loss.labels import check_range, read_indices

ADDED_AT_ONCE = 1 << 16  # elements added at a time


@register
class Embed(Layer):
    """A vector for each index: y = W[x] + b, as if the index were a one-hot vector and this an InnerProduct.

    bottom[0]: x, indices 0 … input_dim-1 in any shape.    top[0]: y, x's shape and then M = num_output.
    blobs[0]: W, input_dim x M.    blobs[1]: b, M.
    Backward: dW[i] += Σ dy over the places with x = i; db += Σ dy. The indices have no gradient.
    Initial values: W xavier (Caffe: zeros), b zero.
    Errors: an index out of range or not an integer (Caffe reads out of bounds).
    Source: Caffe's Embed.
    """

    class Parameters(Declared):
        num_output: int = param(minimum=1, doc="M, length of a vector")
        input_dim: int = param(minimum=1, doc="the number of indices: one more than the largest")
        bias_term: bool = param(default=True, doc="whether b is added")
        weight_filler: Filler = param(default=Filler(type="xavier"), doc="initial values of W")
        bias_filler: Filler = param(default=Filler(), doc="initial values of b")

        aliases = {
            "embed_param": "write its fields beside type",
            "num_embeddings": "input_dim",
            "embedding_dim": "num_output",
            "vocabulary": "input_dim",
        }

    no_gradient = (0,)
    backward_reads = ()
    examples = (
        Example([(4, 3)], {"num_output": 2, "input_dim": 5}, {0: labels(5)}),
        Example([(6,)], {"num_output": 3, "input_dim": 4, "bias_term": False}, {0: labels(4)}),
    )

    def setup(self, bottom, top):
        check_range(bottom[0], self.p.input_dim)
        self.add_blob((self.p.input_dim, self.p.num_output), self.p.weight_filler)
        if self.p.bias_term:
            self.add_blob((self.p.num_output,), self.p.bias_filler)

    def reshape(self, bottom, top):
        self.N, self.M = math.prod(bottom[0].shape), self.p.num_output
        self.along, step = np.arange(self.M), max(1, ADDED_AT_ONCE // self.M)
        self.blocks = [slice(start, start + step) for start in range(0, self.N, step)]
        top[0].reshape((*bottom[0].shape, self.M))

    def Forward_cpu(self, bottom, top):
        self.index = self.buffer("index", (self.N,), np.intp)
        read_indices(bottom[0], self.index, self.p.input_dim)
        y = top[0].data.reshape(self.N, self.M)
        np.take(self.blobs[0].data, self.index, axis=0, out=y, mode="clip")
        if self.p.bias_term:
            y += self.blobs[1].data

    def Backward_cpu(self, top, propagate_down, bottom):
        dy = top[0].diff.reshape(self.N, self.M)
        if self.param_propagate_down[0] and self.N:
            self.add_rows(dy, self.blobs[0].diff)
        if self.p.bias_term and self.param_propagate_down[1]:
            self.blobs[1].diff += np.sum(dy, axis=0, out=self.buffer("db", (self.M,)))

    def add_rows(self, dy, dW):
        """dW[x] += dy, element by element: adding at indices in numpy is fast for flat arrays, and slow for rows."""
        flat = dW.ravel()
        for block in self.blocks:
            rows = dy[block]
            first = self.index[block] * self.M
            where = np.add.outer(first, self.along, out=scratch("where", rows.shape, np.intp))
            np.add.at(flat, where.ravel(), rows.ravel())
