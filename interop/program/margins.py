"""Losses of margins as lines of numpy."""

from __future__ import annotations

from ...layers.loss.contrastive_loss import ContrastiveLoss
from ...layers.loss.hinge_loss import HingeLoss
from ...layers.loss.multiclass_svm_loss import MulticlassSVMLoss
from .expressions import number, over, shaped, times
from .losses import Loss
from .writers import writes


@writes(HingeLoss)
class _HingeLoss(Loss):
    def formula(self):
        return "the mean over the examples of the sum of max(0, 1 - s x), s = 1 for the label's class, else -1"

    def forward(self):
        N, K = self.layer.N, self.layer.K
        signs, margin, x = self.local("signs"), self.local("margin"), shaped(self.x[0], self.bottoms[0], (N, K))
        label = self.named_labels()
        self.say(f"{signs} = np.where({label}[:, None] == np.arange({K}), 1, -1)")
        self.say(f"{margin} = np.maximum(0, 1 - {signs} * {x})")
        square = f"({margin}**2)" if self.p.norm == "L2" else margin
        self.say(f"{self.y[0]} = {square}.sum() / len({self.x[0]})")

    def backward(self):
        if self.wants():
            signs, margin = self.local("signs"), self.local("margin")
            slope = times(2, margin) if self.p.norm == "L2" else f"({margin} > 0)"
            gradient = over(times(f"-{self.d()}", signs, slope), f"len({self.x[0]})")
            self.give(0, shaped(gradient, (self.layer.N, self.layer.K), self.bottoms[0]))


@writes(MulticlassSVMLoss)
class _MulticlassSVMLoss(Loss):
    def formula(self):
        return "the mean over the labels of the sum over j != label of max(0, s_j - s_label + margin)"

    def forward(self):
        layer, p = self.layer, self.p
        N, C, inner = layer.outer, layer.C, layer.inner
        true, behind = self.local("true"), self.local("behind")
        label = f"{self.local('label')}"
        self.say(f"{label} = {shaped(self.x[1], self.bottoms[1], (N, 1, inner))}")
        scores = shaped(self.x[0], self.bottoms[0], (N, C, inner))
        self.say("# where the label's class is", f"{true} = {label} == np.arange({C})[:, None]")
        s = self.local("s")
        self.say(f"{s} = {scores}", f"{behind} = {s} - ({s} * {true}).sum(axis=1, keepdims=True) + {number(p.margin)}")
        kept = f"~{true}"
        valid = f"{label}.size"
        if p.ignore_label is not None:
            kept = f"~{true} & ({label} != {p.ignore_label})"
            valid = f"({label} != {p.ignore_label}).sum()"
        self.say(f"{behind} = np.maximum({behind}, 0) * {kept if kept == f'~{true}' else f'({kept})'}")
        self.over = self.divisor(self.mode(), f"len({s})", f"{label}.size", valid)
        if p.ignore_label is not None and self.mode() == "VALID":
            self.say(f"{self.local('count')} = {valid} or 1")
            self.over = self.local("count")
        self.say(f"{self.y[0]} = {over(f'{behind}.sum()', self.over)}")

    def backward(self):
        if self.wants():
            layer, true, m = self.layer, self.local("true"), self.local("m")
            self.say(f"{m} = np.sign({self.local('behind')})")
            gradient = over(times(self.d(), f"{m} - {true} * {m}.sum(axis=1, keepdims=True)"), self.over)
            self.give(0, shaped(gradient, (layer.outer, layer.C, layer.inner), self.bottoms[0]))


@writes(ContrastiveLoss)
class _ContrastiveLoss(Loss):
    def formula(self):
        other = "max(margin - d², 0)" if self.p.legacy_version else "max(margin - d, 0)²"
        return f"half the mean of d² for similar pairs and {other} for others, d = |a - b|"

    def forward(self):
        N, C = self.layer.N, self.layer.C
        apart, d, similar, inside = map(self.local, ("difference", "distance", "similar", "inside"))
        self.say(f"{apart} = {shaped(f'{self.x[0]} - {self.x[1]}', self.bottoms[0], (N, C))}")
        length = f"({apart}**2).sum(axis=1)"
        self.say(f"{d} = {length if self.p.legacy_version else f'np.sqrt({length})'}")
        self.say(f"{similar} = {shaped(self.x[2], self.bottoms[2], (N,))} != 0")
        self.say(f"{inside} = np.maximum({number(self.p.margin)} - {d}, 0)")
        near, far = (d, inside) if self.p.legacy_version else (f"{d}**2", f"{inside}**2")
        self.say(f"{self.y[0]} = np.where({similar}, {near}, {far}).sum() / (2 * len({d}))")

    def backward(self):
        N, C = self.layer.N, self.layer.C
        apart, d, similar, inside, slope = map(self.local, ("difference", "distance", "similar", "inside", "slope"))
        if not (self.wants(0) or self.wants(1)):
            return
        far = f"-np.sign({inside})" if self.p.legacy_version else f"-{inside} / ({d} + 1e-4)"
        self.say(f"{slope} = np.where({similar}, 1, {far}) / len({d})")
        gradient = f"{times(self.d(), f'{slope}[:, None]')} * {apart}"
        for i, sign in ((0, ""), (1, "-")):
            if self.wants(i):
                self.give(i, sign + shaped(gradient if not sign else f"({gradient})", (N, C), self.bottoms[i]))
