"""The update of the weights, and the learning rate, as lines of numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...net.build import Parameter
from ...solver import policies, rules
from ...solver.parameters import SolverParameters
from .expressions import number, times

Lines = list[str]


def rate_lines(p: SolverParameters, max_iter: int) -> tuple[str, Lines, list[str]]:
    """(the learning rate as an expression, lines before it, notes)."""
    policy = p.lr_policy.cls(p.lr_policy.p, p.base_lr, max_iter)
    expression = POLICIES[type(policy)](policy)
    notes = []
    if isinstance(policy, policies.Plateau):
        notes.append("the rate stays at base_lr: lr_policy plateau looks at tests, which the program does not make")
    if not p.warmup_iter and isinstance(policy, policies.Fixed | policies.Plateau):
        return expression, [], notes
    lines = [f"rate = {expression}"]
    if p.warmup_iter:
        n, first, last = p.warmup_iter, number(p.warmup_lr), number(policy(p.warmup_iter))
        rise = f"{first} + ({last} - {first}) * iteration / {n}" if p.warmup_lr else f"{last} * iteration / {n}"
        lines += [f"if iteration < {n}:", f"    rate = {rise}"]
    return "rate", lines, notes


def _step(policy):
    return f"{number(policy.base_lr)} * {number(policy.p.gamma)} ** (iteration // {policy.p.stepsize})"


def _inv(policy):
    p = policy.p
    return f"{number(policy.base_lr)} * (1 + {number(p.gamma)} * iteration) ** {number(-p.power)}"


def _multistep(policy):
    reached = " + ".join(f"(iteration >= {value})" for value in policy.steps)
    return f"{number(policy.base_lr)} * {number(policy.p.gamma)} ** ({reached})"


def _poly(policy):
    if not policy.max_iter:
        return "0.0"
    return f"{number(policy.base_lr)} * max(0, 1 - iteration / {policy.max_iter}) ** {number(policy.p.power)}"


def _sigmoid(policy):
    inside = f"{number(0.5 * policy.p.gamma)} * (iteration - {policy.p.stepsize})"
    return f"{number(policy.base_lr)} * 0.5 * (1 + np.tanh({inside}))"


def _cosine(policy):
    least, base = policy.p.min_lr, policy.base_lr
    share = f"min(1, iteration / {policy.max_iter})" if policy.max_iter else "1"
    wave = f"0.5 * (1 + np.cos(np.pi * {share}))"
    if not least:
        return times(base, "wave").replace("wave", wave)
    return f"{number(least)} + ({number(base)} - {number(least)}) * {wave}"


POLICIES: dict[type[policies.Policy], Callable[..., str]] = {
    policies.Fixed: lambda policy: number(policy.base_lr),
    policies.Plateau: lambda policy: number(policy.base_lr),
    policies.Step: _step,
    policies.Exp: lambda policy: f"{number(policy.base_lr)} * {number(policy.p.gamma)}**iteration",
    policies.Inv: _inv,
    policies.MultiStep: _multistep,
    policies.Poly: _poly,
    policies.Sigmoid: _sigmoid,
    policies.Cosine: _cosine,
}


class Update:
    """The lines that change the weights W by their gradients g, at a rate; h is what is kept of each parameter."""

    kept: tuple[str, ...] = ()  # letters of what is kept

    def __init__(self, p: SolverParameters):
        self.p, self.own = p, p.type.p

    def once(self) -> Lines:
        """What is the same for all parameters."""
        return []

    def step(self, W: str, g: str, rate: str, kept: list[str]) -> Iterable[str]:
        raise NotImplementedError


class _SGD(Update):
    def __init__(self, p):
        super().__init__(p)
        self.mu = number(self.own.momentum)
        self.kept = ("v",) if self.own.momentum else ()

    def step(self, W, g, rate, kept):
        if not kept:
            yield f"{W} = {W} - {times(rate, g)}"
            return
        (v,) = kept
        yield f"{v} = {self.mu} * {v} + {times(rate, g)}"
        yield f"{W} = {W} - {v}"


class _Nesterov(_SGD):
    def step(self, W, g, rate, kept):
        if not kept:
            yield from super().step(W, g, rate, kept)
            return
        (v,) = kept
        yield f"{W} = {W} + {self.mu} * {v}"
        yield f"{v} = {self.mu} * {v} + {times(rate, g)}"
        yield f"{W} = {W} - (1 + {self.mu}) * {v}"


class _AdaGrad(Update):
    kept = ("h",)

    def step(self, W, g, rate, kept):
        (h,) = kept
        yield f"{h} = {h} + {g}**2"
        yield f"{W} = {W} - {times(rate, g)} / (np.sqrt({h}) + {number(self.own.delta)})"


class _RMSProp(Update):
    kept = ("h",)

    def step(self, W, g, rate, kept):
        (h,) = kept
        rho = number(self.own.rms_decay)
        yield f"{h} = {rho} * {h} + (1 - {rho}) * {g}**2"
        yield f"{W} = {W} - {times(rate, g)} / (np.sqrt({h}) + {number(self.own.delta)})"


class _AdaDelta(Update):
    kept = ("h", "k", "u")

    def step(self, W, g, rate, kept):
        h, k, u = kept
        mu, delta = number(self.own.momentum), number(self.own.delta)
        yield f"{h} = {mu} * {h} + (1 - {mu}) * {g}**2"
        yield f"{u} = {g} * np.sqrt(({k} + {delta}) / ({h} + {delta}))"
        yield f"{k} = {mu} * {k} + (1 - {mu}) * {u}**2"
        yield f"{W} = {W} - {times(rate, u)}"


class _Adam(Update):
    def __init__(self, p):
        super().__init__(p)
        self.kept = ("m", "v", "most") if self.own.amsgrad else ("m", "v")

    def once(self):
        b1, b2 = number(self.own.momentum), number(self.own.momentum2)
        lines = [f"correction = np.sqrt(1 - {b2} ** (iteration + 1)) / (1 - {b1} ** (iteration + 1))"]
        return lines + self.further(b2)

    def further(self, b2):
        return []

    def delta(self):
        return number(self.own.delta)

    def step(self, W, g, rate, kept):
        m, v, *most = kept
        b1, b2 = number(self.own.momentum), number(self.own.momentum2)
        yield f"{m} = {b1} * {m} + (1 - {b1}) * {g}"
        yield f"{v} = {b2} * {v} + (1 - {b2}) * {g}**2"
        below = v
        for below in most:
            yield f"{below} = np.maximum({below}, {v})"
        yield f"{W} = {W} - {times(rate, 'correction', m)} / (np.sqrt({below}) + {self.delta()})"


class _AdamW(_Adam):
    def further(self, b2):
        return [f"delta = {number(self.own.delta)} * np.sqrt(1 - {b2} ** (iteration + 1))"]

    def delta(self):
        return "delta"


UPDATES: dict[type[rules.Rule], type[Update]] = {
    rules.SGD: _SGD,
    rules.Nesterov: _Nesterov,
    rules.AdaGrad: _AdaGrad,
    rules.RMSProp: _RMSProp,
    rules.AdaDelta: _AdaDelta,
    rules.Adam: _Adam,
    rules.AdamW: _AdamW,
}


def update_lines(
    p: SolverParameters,
    owners: Iterable[tuple[str, Parameter]],
    learned: Iterable[str],
    rate: str,
    kept_name: Callable[[str], str],
) -> tuple[Lines, Lines]:
    """(what is kept of each parameter before the loop, the update in it). ``kept_name`` gives a name for a wish."""
    before: Lines = []
    lines: Lines = []
    rule = UPDATES[p.type.cls](p)
    gradients = [f"d_{name}" for name in learned]
    if p.iter_size > 1:
        lines.append(f"# the gradient is the mean over {p.iter_size} batches")
        lines += [f"{g} = {g} / {p.iter_size}" for g in gradients]
    if p.clip_gradients > 0:
        limit = number(p.clip_gradients)
        lines.append(f"# all gradients together are no longer than {limit}")
        lines.append(f"gradients = [{', '.join(gradients)}]")
        lines.append("norm = np.sqrt(sum(np.sum(g**2) for g in gradients))")
        lines.append(f"scale = min(1, {limit} / norm) if norm else 1")
        lines += [f"{g} = scale * {g}" for g in gradients]
    owners, learned = [(name, one) for name, one in owners if one.lr_mult != 0], set(learned)
    if p.weight_decay:  # it shrinks a parameter that no gradient reaches, too
        lines += [f"d_{name} = np.zeros_like({name})" for name, _ in owners if name not in learned]
        learned |= {name for name, _ in owners}
    updated = [(name, one) for name, one in owners if name in learned]
    lines += rule.once() if updated else []
    for name, one in updated:
        own_rate = times(one.lr_mult, rate) if rate == "rate" else number(float(rate) * one.lr_mult)
        decay, g = p.weight_decay * one.decay_mult, f"d_{name}"
        if decay and p.type.cls.decays:
            lines.append(f"{name} = {name} - {times(own_rate, decay, name)}")
        elif decay:
            size = name if p.regularization_type == "L2" else f"np.sign({name})"
            lines.append(f"{g} = {g} + {times(decay, size)}")
        kept = [kept_name(f"{letter}_{name}") for letter in rule.kept]
        before += [f"{one} = 0" for letter, one in zip(rule.kept, kept, strict=True) if letter != "u"]
        lines += rule.step(name, g, own_rate, kept)
    return before, lines
