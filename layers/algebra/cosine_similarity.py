"""CosineSimilarity: how near vectors point to the direction of a key."""

from __future__ import annotations

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class CosineSimilarity(Layer):
    """The cosine between each row of a memory and each key: y_r = m_r · k / (|m_r| |k|), between -1 and 1.

    |v| is sqrt(Σ v² + eps), so that a row of zeros is similar to nothing and its gradient is finite.
    bottom[0]: the memory M, N x R x W: R rows m_r for each example.
    bottom[1]: the keys, N x W, or N x H x W for H keys (heads).    top[0]: y, N x R, or N x H x R.
    Backward: with g = dy / (|m_r| |k|): dm_r = Σ_h g k - m_r Σ_h dy y / |m_r|², dk = Σ_r g m_r - k Σ_r dy y / |k|².
    Errors: numbers of examples N or widths W that differ.
    Source: content addressing of Graves et al., Neural Turing Machines, 2014.
    """

    class Parameters(Declared):
        eps: float = param(default=1e-6, above=0, doc="added to the squared lengths")

    num_bottoms = 2
    backward_reads = ("bottom.data", "top.data")
    examples = (
        Example([(2, 4, 3), (2, 3)]),
        Example([(2, 3, 4), (2, 2, 4)], {"eps": 0.1}),
        Example([(2, 3, 2), (2, 1, 2)], values={0: lambda rng, shape: np.zeros(shape)}, params={"eps": 0.5}),
    )

    def reshape(self, bottom, top):
        memory, keys = (blob.shape for blob in bottom)
        if len(memory) != 3:
            raise ShapeError(f"the memory must be N x R x W, got {format_shape(memory)}")
        if len(keys) not in (2, 3) or (keys[0], keys[-1]) != (memory[0], memory[2]):
            N, _, W = memory
            raise ShapeError(f"the keys must be {N} x {W}, or {N} x (heads) x {W}, got {format_shape(keys)}")
        top[0].reshape((*keys[:-1], memory[1]))

    def multiply_adds(self, bottom, top):
        return top[0].count * bottom[0].shape[2]

    def per_head(self, keys):
        """Keys or similarities with an axis added for the heads where there is none."""
        return keys if keys.ndim == 3 else keys[:, None, :]

    def one_by_length(self, name, vectors):
        """1 / |v| for each vector, with the last axis kept as 1."""
        result = self.buffer(name, (*vectors.shape[:-1], 1))
        np.einsum("nrw,nrw->nr", vectors, vectors, out=result[..., 0])
        result += self.p.eps
        np.sqrt(result, out=result)
        return np.reciprocal(result, out=result)

    def Forward_cpu(self, bottom, top):
        m, k, y = bottom[0].data, self.per_head(bottom[1].data), self.per_head(top[0].data)
        np.matmul(k, m.swapaxes(1, 2), out=y)
        y *= self.one_by_length("of m", m).swapaxes(1, 2)
        y *= self.one_by_length("of k", k)

    def Backward_cpu(self, top, propagate_down, bottom):
        m, k = bottom[0].data, self.per_head(bottom[1].data)
        y, dy = self.per_head(top[0].data), self.per_head(top[0].diff)
        of_m, of_k = self.buffer("of m", (*m.shape[:2], 1)), self.buffer("of k", (*k.shape[:2], 1))
        g, turned = self.buffer("g", y.shape), self.buffer("turned", y.shape)  # the part along the vector itself
        np.multiply(dy, of_k, out=g)
        g *= of_m.swapaxes(1, 2)
        np.multiply(dy, y, out=turned)
        if propagate_down[0]:
            dm, along = bottom[0].diff, self.buffer("along m", of_m.shape)
            np.matmul(g.swapaxes(1, 2), k, out=dm)
            np.sum(turned, axis=1, out=along[..., 0])
            along *= of_m
            along *= of_m
            dm -= np.multiply(along, m, out=self.buffer("part of dm", m.shape))
        if propagate_down[1]:
            dk, along = self.per_head(bottom[1].diff), self.buffer("along k", of_k.shape)
            np.matmul(g, m, out=dk)
            np.sum(turned, axis=2, out=along[..., 0])
            along *= of_k
            along *= of_k
            dk -= np.multiply(along, k, out=self.buffer("part of dk", k.shape))
