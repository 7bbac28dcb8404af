"""How a Neural Turing Machine finds places in its memory: as lines of numpy."""

from __future__ import annotations

from ...layers.algebra.circular_convolution import CircularConvolution
from ...layers.algebra.cosine_similarity import CosineSimilarity
from .code import Writer
from .expressions import number, times
from .writers import writes


@writes(CircularConvolution)
class _CircularConvolution(Writer):
    def formula(self):
        return "y_i = sum over j of s_j w_(i - j), round a circle"

    def terms(self, values, sign):
        """The values shifted by each distance, times its share."""
        shifts, k = self.bottoms[1][-1], self.counter("k")
        half = shifts // 2
        share = f"{self.x[1]}[..., {k} : {k} + 1]"
        distance = f"{k} - {half}" if sign > 0 else f"{half} - {k}"
        return f"sum({share} * np.roll({values}, {distance}, axis=-1) for {k} in range({shifts}))"

    def forward(self):
        self.say(f"{self.y[0]} = {self.terms(self.x[0], 1)}")

    def backward(self):
        if self.wants(0):
            self.give(0, self.terms(self.d(), -1))
        if self.wants(1):
            shifts, k = self.bottoms[1][-1], self.counter("k")
            moved = f"np.roll({self.x[0]}, {k} - {shifts // 2}, axis=-1)"
            self.give(1, f"np.stack([({self.d()} * {moved}).sum(axis=-1) for {k} in range({shifts})], axis=-1)")


@writes(CosineSimilarity)
class _CosineSimilarity(Writer):
    def formula(self):
        return "the cosine between each row of the memory and each key"

    def __init__(self, code, step):
        super().__init__(code, step)
        self.heads = len(self.bottoms[1]) == 3
        self.key, self.of_m, self.of_k = (
            self.x[1] if self.heads else self.local("key"),
            self.local("rows"),
            self.local("keys"),
        )

    def per_head(self, name):
        return name if self.heads else f"{name}[:, None]"

    def forward(self):
        m, k, eps = self.x[0], self.key, number(self.p.eps)
        if not self.heads:
            self.say(f"{k} = {self.per_head(self.x[1])}")
        self.say("# the lengths of both", f"{self.of_m} = np.sqrt(({m}**2).sum(axis=2) + {eps})[:, None]")
        self.say(f"{self.of_k} = np.sqrt(({k}**2).sum(axis=2, keepdims=True) + {eps})")
        cosine = f"{k} @ {m}.swapaxes(1, 2) / {self.of_m} / {self.of_k}"
        self.say(f"{self.y[0]} = {cosine if self.heads else f'({cosine})[:, 0]'}")

    def backward(self):
        m, k, along, across = self.x[0], self.key, self.local("along"), self.local("across")
        d = self.per_head(self.d())
        self.say(f"{across} = {d} / {self.of_m} / {self.of_k}", f"{along} = {times(d, self.per_head(self.y[0]))}")
        if self.wants(0):
            turned = self.local("turned")
            self.say(f"{turned} = {along}.sum(axis=1, keepdims=True) / {self.of_m}**2")
            self.give(0, f"{across}.swapaxes(1, 2) @ {k} - {turned}.swapaxes(1, 2) * {m}")
        if self.wants(1):
            dk = f"{across} @ {m} - {along}.sum(axis=2, keepdims=True) / {self.of_k}**2 * {k}"
            self.give(1, dk if self.heads else f"({dk})[:, 0]")
