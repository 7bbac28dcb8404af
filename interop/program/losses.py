"""Losses as lines of numpy."""

from __future__ import annotations

import math

from ...layers.loss.euclidean_loss import EuclideanLoss
from ...layers.loss.infogain_loss import InfogainLoss
from ...layers.loss.l1_loss import L1Loss
from ...layers.loss.multinomial_logistic_loss import SMALLEST, MultinomialLogisticLoss
from ...layers.loss.sigmoid_cross_entropy_loss import SigmoidCrossEntropyLoss
from ...layers.loss.smooth_l1_loss import SmoothL1Loss
from ...layers.loss.softmax_with_loss import SoftmaxWithLoss
from .code import Writer
from .expressions import number, over, shaped, times
from .writers import writes


class Loss(Writer):
    """What losses share: labels as indices, and what the sum is divided by."""

    def labels(self, shape=None):
        """The labels as integers of this shape, by default as a vector."""
        text = self.x[1] if self.step.bottom_keys[1] in self.code.whole else f"{self.x[1]}.astype(int)"
        return shaped(text, self.bottoms[1], shape or (math.prod(self.bottoms[1]),))

    def named_labels(self, shape=None):
        """The same under one name, which is that of the blob where nothing is to be changed."""
        text = self.labels(shape)
        if text == self.x[1]:
            return text
        self.say(f"{self.local('label')} = {text}")
        return self.local("label")

    def divisor(self, mode, examples, elements, valid):
        """What the sum is divided by: expressions for each normalization."""
        return {"FULL": elements, "BATCH_SIZE": examples, "NONE": "1", "VALID": valid}[mode]

    def mode(self, default="VALID"):
        normalize = getattr(self.p, "normalize", None)
        if normalize is not None:
            default = "VALID" if normalize else "BATCH_SIZE"
        return self.p.normalization or default


@writes(EuclideanLoss)
class _EuclideanLoss(Loss):
    def formula(self):
        return "the sum of (a - b)² / 2N"

    def forward(self):
        a, difference = self.x[0], self.local("difference")
        b = shaped(self.x[1], self.bottoms[1], self.bottoms[0])
        self.say(f"{difference} = {a} - {b}", f"{self.y[0]} = ({difference}**2).sum() / (2 * len({a}))")

    def backward(self):
        for i, sign in ((0, 1), (1, -1)):
            if self.wants(i):
                difference = shaped(self.local("difference"), self.bottoms[0], self.bottoms[i])
                self.give(i, f"{times(sign, self.d(), difference)} / len({self.x[0]})".replace("-1 * 1 *", "-1 *"))


class _Difference(Loss):
    """Of each difference d a value, whose slope is the gradient."""

    def value(self, d: str) -> str:
        raise NotImplementedError

    def slope(self, d: str) -> str:
        raise NotImplementedError

    def backward(self):
        for i, sign in ((0, 1), (1, -1)):
            if self.wants(i):
                scale = over(times(sign, self.d(), self.slope(self.local("difference")), *self.x[2:]), self.over())
                self.give(i, scale)

    def over(self):
        return self.divisor(self.p.normalization, f"len({self.x[0]})", f"{self.x[0]}.size", "")

    def forward(self):
        d = self.local("difference")
        inner, outer = [*(f"{x} * " for x in self.x[2:]), "", ""][:2]
        self.say(f"{d} = {inner}({self.x[0]} - {self.x[1]})" if inner else f"{d} = {self.x[0]} - {self.x[1]}")
        value = f"({outer}{self.value(d)})" if outer else self.value(d)
        self.say(f"{self.y[0]} = {over(f'{value}.sum()', self.over())}")


@writes(L1Loss)
class _L1Loss(_Difference):
    def formula(self):
        return "the mean of |a - b|"

    def value(self, d):
        return f"np.abs({d})"

    def slope(self, d):
        return f"np.sign({d})"


@writes(SmoothL1Loss)
class _SmoothL1Loss(_L1Loss):
    def formula(self):
        return "the mean of d² / 2 beta, and of |d| - beta / 2 where |d| > beta, d = a - b"

    def value(self, d):
        beta = self.p.beta
        if not beta:
            return super().value(d)
        near = over(f"{d}**2", number(2 * beta))
        return f"np.where(np.abs({d}) < {number(beta)}, {near}, np.abs({d}) - {number(beta / 2)})"

    def slope(self, d):
        beta = number(self.p.beta)
        return over(f"np.clip({d}, -{beta}, {beta})", beta) if self.p.beta else super().slope(d)


@writes(SoftmaxWithLoss)
class _SoftmaxWithLoss(Loss):
    def __init__(self, code, step):
        super().__init__(code, step)
        layer, p = self.layer, self.p
        self.spatial = (layer.outer, layer.C, layer.inner)
        weighted = p.class_weight or p.label_smoothing or layer.dense or len(self.x) > 2
        modes = ("VALID", "FULL", "BATCH_SIZE")
        flat = len(self.bottoms[0]) == 2 and layer.inner == 1
        self.is_plain = flat and not weighted and p.ignore_label is None and self.mode() in modes

    def formula(self):
        return "the mean of -log p, p the softmax of the scores at the label"

    def forward(self):
        if self.is_plain:
            x, shifted, log_p = self.x[0], self.local("shifted"), self.local("log_p")
            self.say(f"{shifted} = {x} - {x}.max(axis=1, keepdims=True)")
            self.say(f"{log_p} = {shifted} - np.log(np.exp({shifted}).sum(axis=1, keepdims=True))")
            label = self.named_labels()
            self.say(f"{self.y[0]} = -{log_p}[np.arange(len({x})), {label}].mean()")
            self.label = label
        else:
            self.forward_in_general()
        if len(self.y) > 1:
            shape = self.bottoms[0] if self.is_plain else self.spatial
            probabilities = f"np.exp({self.local('log_p')})"
            self.say(f"{self.y[1]} = {shaped(probabilities, shape, self.bottoms[0])}")

    def forward_in_general(self):
        """Targets t for each class, N x C x positions, and weights s of the positions."""
        p, layer, (N, C, inner) = self.p, self.layer, self.spatial
        x, log_p, t, s = self.local("scores"), self.local("log_p"), self.local("t"), self.local("s")
        self.say(f"{x} = {shaped(self.x[0], self.bottoms[0], self.spatial)}")
        self.say(f"{x} = {x} - {x}.max(axis=1, keepdims=True)")
        self.say(f"{log_p} = {x} - np.log(np.exp({x}).sum(axis=1, keepdims=True))")
        weights = f"np.array({[float(w) for w in layer.weights]})"
        if layer.dense:
            targets = shaped(self.x[1], self.bottoms[1], self.spatial)
        else:
            label = self.local("label")
            self.say(f"{label} = {shaped(self.x[1], self.bottoms[1], (N, 1, inner))}")
            targets = f"1.0 * ({label} == np.arange({C})[:, None])"
        self.say(f"{t} = {targets}")
        counts = "1.0"
        if len(self.x) > 2:
            counts = shaped(self.x[2], self.bottoms[2], (N, 1, inner))
        if p.ignore_label is not None:
            counts = times(counts, f"({self.local('label')} != {p.ignore_label})").replace("1.0 * ", "1.0 * ")
        whole = f"np.ones(({x}.shape[0], 1, {inner}))"
        self.say(f"{s} = {whole if counts == '1.0' else counts}")
        valid = f"{s}.sum()"
        if p.class_weight and not layer.dense:
            valid = f"({s} * {t} * {weights}[:, None]).sum()"
        self.over = self.divisor(self.mode(), f"{x}.shape[0]", f"{s}.size", valid)
        if self.mode() == "VALID":
            self.say(f"{self.local('count')} = {valid} or 1")
            self.over = self.local("count")
        if p.label_smoothing:
            e = number(p.label_smoothing)
            self.say(f"{t} = (1 - {e}) * {t} + {e} / {C}")
        if p.class_weight:
            self.say(f"{t} = {t} * {weights}[:, None]")
        self.say(f"{self.y[0]} = {over(f'-({s} * {t} * {log_p}).sum()', self.over)}")

    def backward(self):
        if not self.wants():
            return
        log_p, d = self.local("log_p"), self.d()
        if self.is_plain:
            dx, x = self.into(0), self.x[0]
            self.say(f"{dx} = np.exp({log_p})", f"{dx}[np.arange(len({x})), {self.label}] -= 1")
            self.say(f"{dx} /= len({x})" if d == "1" else f"{dx} *= {d} / len({x})")
            self.give_built(0, dx)
        else:
            t, s = self.local("t"), self.local("s")
            gradient = f"{s} * (np.exp({log_p}) * {t}.sum(axis=1, keepdims=True) - {t})"
            self.give(0, shaped(over(times(d, gradient), self.over), self.spatial, self.bottoms[0]))
        if len(self.y) > 1 and self.code.has_gradient(self.step.top_keys[1]):
            dp, y = self.d(1), self.y[1]
            axis = self.step.bottom[0].canonical_axis(self.p.axis)
            self.give(0, f"{y} * ({dp} - ({dp} * {y}).sum(axis={axis}, keepdims=True))")


@writes(InfogainLoss)
class _InfogainLoss(Loss):
    def formula(self):
        return "the mean of -sum of H[label, k] log p_k, p the softmax of the scores"

    def forward(self):
        layer, p = self.layer, self.p
        self.spatial = N, C, inner = layer.outer, layer.C, layer.inner
        x, log_p, label, t = map(self.local, ("scores", "log_p", "label", "t"))
        if layer.H is None:
            H = shaped(self.x[2], self.bottoms[2], (C, C))
        else:
            H = self.local("H")
            self.code.arrays[H] = layer.H
            self.code.before.append(f'{H} = arrays["{H}"].reshape({C}, {C})')
        self.say(f"{x} = {shaped(self.x[0], self.bottoms[0], self.spatial)}")
        self.say(f"{x} = {x} - {x}.max(axis=1, keepdims=True)")
        self.say(f"{log_p} = {x} - np.log(np.exp({x}).sum(axis=1, keepdims=True))")
        self.say(f"{label} = {self.labels((N, inner))}")
        valid = f"{label}.size"
        if p.ignore_label is None:
            self.say(f"{t} = {H}[{label}].swapaxes(1, 2)")
        else:
            counts = f"({label} != {p.ignore_label})"
            self.say(f"{t} = ({H}[{label} * {counts}] * {counts}[:, :, None]).swapaxes(1, 2)")
            valid = f"{counts}.sum()"
        self.over = self.divisor(self.mode(), f"len({x})", f"{label}.size", valid)
        if valid.endswith("sum()") and self.mode() == "VALID":
            self.say(f"{self.local('count')} = {valid} or 1")
            self.over = self.local("count")
        self.say(f"{self.y[0]} = {over(f'-({t} * {log_p}).sum()', self.over)}")
        if len(self.y) > 1:
            self.say(f"{self.y[1]} = {shaped(f'np.exp({log_p})', self.spatial, self.bottoms[0])}")

    def backward(self):
        if not self.wants():
            return
        log_p, t = self.local("log_p"), self.local("t")
        gradient = f"np.exp({log_p}) * {t}.sum(axis=1, keepdims=True) - {t}"
        self.give(0, shaped(over(times(self.d(), gradient), self.over), self.spatial, self.bottoms[0]))
        if len(self.y) > 1 and self.code.has_gradient(self.step.top_keys[1]):
            dp, y = self.d(1), self.y[1]
            axis = self.step.bottom[0].canonical_axis(self.p.axis)
            self.give(0, f"{y} * ({dp} - ({dp} * {y}).sum(axis={axis}, keepdims=True))")


@writes(SigmoidCrossEntropyLoss)
class _SigmoidCrossEntropyLoss(Loss):
    def formula(self):
        return "the sum of -t log p - (1 - t) log(1 - p), p the sigmoid of the scores, over what counts"

    def forward(self):
        x, t = self.x[0], shaped(self.x[1], self.bottoms[1], self.bottoms[0])
        if t != self.x[1]:
            self.say(f"{self.local('t')} = {t}")
            t = self.local("t")
        self.t = t
        loss = f"np.maximum({x}, 0) - {x} * {t} + np.log1p(np.exp(-np.abs({x})))"
        valid = f"{x}.size"
        if self.p.ignore_label is not None:
            counts = self.local("counts")
            self.say(f"{counts} = np.trunc({t}) != {self.p.ignore_label}")
            loss = f"{counts} * ({loss})"
            valid = f"{counts}.sum()"
        self.over = self.divisor(self.mode("BATCH_SIZE"), f"len({x})", f"{x}.size", valid)
        if self.over.endswith("counts.sum()"):
            self.say(f"{self.local('count')} = {valid} or 1")
            self.over = self.local("count")
        self.say(f"{self.y[0]} = {over(f'({loss}).sum()', self.over)}")

    def backward(self):
        if self.wants():
            gradient = f"1 / (1 + np.exp(-{self.x[0]})) - {self.t}"
            if self.p.ignore_label is not None:
                gradient = f"{self.local('counts')} * ({gradient})"
            self.give(0, over(times(self.d(), gradient), self.over))


@writes(MultinomialLogisticLoss)
class _MultinomialLogisticLoss(Loss):
    def formula(self):
        return "the mean of -log p, p the probability of the label"

    def forward(self):
        N, K, p = self.layer.N, self.layer.K, self.local("p")
        self.label = self.named_labels()
        x = shaped(self.x[0], self.bottoms[0], (N, K))
        self.say(f"{p} = np.maximum({x}[np.arange(len({self.x[0]})), {self.label}], {SMALLEST})")
        self.say(f"{self.y[0]} = -np.log({p}).mean()")

    def backward(self):
        if self.wants():
            x, dx = self.x[0], self.local("dx")
            self.say(f"{dx} = np.zeros((len({x}), {self.layer.K}))")
            self.say(f"{dx}[np.arange(len({x})), {self.label}] = -{self.d()} / len({x}) / {self.local('p')}")
            self.give(0, shaped(dx, (self.layer.N, self.layer.K), self.bottoms[0]))
