"""Layers that run over sequences as lines of numpy: a loop over the steps, and one that goes back through them."""

from __future__ import annotations

from ...layers.recurrent.gru import GRU
from ...layers.recurrent.lstm import LSTM
from ...layers.recurrent.lstm_unit import LSTMUnit
from ...layers.recurrent.rnn import RNN
from .code import Writer
from .expressions import indented, plain, shaped, sigmoid, times
from .writers import writes

Lines = list[str]


class _Recurrence(Writer):
    """What RNN, LSTM and GRU share. A type writes ``one_step``, from the states h (and c) of the step before, which are
    called h0 and c0 after those of sequences that begin were set to zero; and ``step_back``."""

    gates: tuple[str, ...] = ()  # what a step keeps for the way back, besides h0 and c0

    @classmethod
    def called(cls, layer):
        return ("W_x", "b", *["W_s"] * layer.static, "W_h", *cls.parameters)

    def __init__(self, code, step):
        super().__init__(code, step)
        layer = self.layer
        self.states = [self.local(name) for name in layer.states]
        self.before = [self.local(f"{name}0") for name in layer.states]
        self.kept = [*self.before, *map(self.local, self.gates)]
        self.W_h, self.sums, self.cont, self.steps = (self.w[layer.of_h], *map(self.local, ("in", "cont", "steps")))
        self.d_states, self.d_sums = [f"d_{name}" for name in self.states], f"d_{self.sums}"
        self.exposed = list(range(len(self.x) - len(self.states), len(self.x))) if self.p.expose_hidden else []
        self.carries = not self.exposed

    def refusal(self):
        if self.code.around and self.carries:
            return "in a cell, where it would carry states from batch to batch, it is not"
        return ""

    def one_step(self) -> Lines:
        """From ``sums``, what x gives, and the states before, to the states after."""
        raise NotImplementedError

    def step_back(self) -> Lines:
        """Fills ``d_sums`` at t, and takes the gradients of the states to the step before, without cont."""
        raise NotImplementedError

    def output(self) -> str:
        """What a step gives, from the states after it."""
        return self.states[0]

    def flat(self, name, axes, shape):
        """Values as rows for each of the first axes."""
        if len(shape) == axes + 1:
            return name
        return f"{name}.reshape({f'*{name}.shape[:{axes}]' if axes > 1 else f'len({name})'}, -1)"

    def inputs(self):
        return self.flat(self.x[0], 2, self.bottoms[0])

    def static(self):
        return self.flat(self.x[2], 1, self.bottoms[2])

    def first(self):
        H, N = self.layer.H, self.layer.N
        if self.exposed:
            self.say(*(f"{name} = {self.x[i]}[0]" for name, i in zip(self.states, self.exposed, strict=True)))
        elif self.code.forward_only:
            self.say(*(f"{name} = np.zeros(({self.x[0]}.shape[1], {H}))" for name in self.states))
        else:
            self.code.before.append(f"# {plain(self.code.title(self.step))}: a batch goes on where the last one ended")
            self.code.before += [f"{name} = np.zeros({(N, H)})" for name in self.states]

    def forward(self):
        t, y = self.t(), self.y[0]
        self.first()
        static = f" + {self.static()} @ {self.w[2]}.T" if self.layer.static else ""
        self.say(f"{self.sums} = {self.inputs()} @ {self.w[0]}.T + {self.w[1]}{static}")
        self.say("# 0 where a sequence begins, else 1", f"{self.cont} = {self.x[1]}[:, :, None]")
        if not self.code.forward_only:
            self.say(f"{self.steps} = []")
        self.say(f"{y} = []", f"for {t} in range(len({self.x[0]})):")
        body = [f"{old} = {self.cont}[{t}] * {new}" for old, new in zip(self.before, self.states, strict=True)]
        body += [*self.one_step(), f"{y}.append({self.output()})"]
        if not self.code.forward_only:
            body.append(f"{self.steps}.append(({', '.join(self.kept)}))")
        self.say(*indented(body), f"{y} = np.array({y})")
        for name, state in zip(self.y[1:], self.states, strict=False):
            self.say(f"{name} = {state}[None]")

    def t(self):
        return self.counter("t")

    def backward(self):
        t = self.t()
        for i, name in enumerate(self.d_states):
            is_top = len(self.y) > 1 and self.code.has_gradient(self.step.top_keys[1 + i])
            self.say(f"{name} = {f'{self.d(1 + i)}[0]' if is_top else 0}")
        self.begin_back()
        self.say(f"for {t} in reversed(range(len({self.x[0]}))):")
        body = [f"{', '.join(self.kept)} = {self.steps}[{t}]", *self.step_back()]
        body += [f"{name} = {self.cont}[{t}] * {name}" for name in self.d_states]
        self.say(*indented(body))
        self.learn_all()
        if self.wants(0):
            dx = f"{self.d_sums} @ {self.w[0]}"
            self.give(0, dx if len(self.bottoms[0]) == 3 else f"({dx}).reshape({self.x[0]}.shape)")
        if self.layer.static and self.wants(2):
            self.give(2, shaped(f"{self.d_sums}.sum(axis=0) @ {self.w[2]}", (0, self.layer.E), self.bottoms[2]))
        for i, name in zip(self.exposed, self.d_states, strict=False):
            if self.wants(i):
                self.give(i, f"{name}[None]")

    def begin_back(self):
        self.say(f"{self.d_sums} = np.zeros({self.sums}.shape)")

    def learn_all(self):
        if self.learns(0):
            self.learn(0, f'np.einsum("tng,tnd->gd", {self.d_sums}, {self.inputs()})')
        if self.learns(1):
            self.learn(1, f"{self.d_sums}.sum(axis=(0, 1))")
        if self.layer.static and self.learns(2):
            self.learn(2, f"{self.d_sums}.sum(axis=0).T @ {self.static()}")
        if self.learns(self.layer.of_h):
            self.learn(self.layer.of_h, f'np.einsum("tng,tnh->gh", {self.of_h()}, {self.all("h0")})')

    def of_h(self):
        """The gradient of W_h h0."""
        return self.d_sums

    def all(self, what):
        """One of the things that steps keep, of all of them."""
        return f"[step[{self.kept.index(self.local(what))}] for step in {self.steps}]"


@writes(RNN)
class _RNN(_Recurrence):
    parameters = ("W_o", "b_o")
    gates = ("h1",)  # the state after the step; h goes on to the next batch, and must not be touched on the way back

    def formula(self):
        return "h = tanh(W_x x + b + W_h h0), y = tanh(W_o h + b_o), h0 that of the step before"

    def one_step(self):
        h, h0, h1 = map(self.local, ("h", "h0", "h1"))
        return [f"{h} = {h1} = np.tanh({self.sums}[{self.t()}] + {h0} @ {self.W_h}.T)"]

    def output(self):
        return f"np.tanh({self.local('h')} @ {self.w[-2]}.T + {self.w[-1]})"

    def begin_back(self):
        super().begin_back()
        self.say(f"{self.local('d_out')} = {times(self.d(), f'1 - {self.y[0]}**2')}")

    def step_back(self):
        t, d_h, d_sums, d_out, h1 = self.t(), self.d_states[0], self.d_sums, self.local("d_out"), self.local("h1")
        return [
            f"{d_h} = {d_h} + {d_out}[{t}] @ {self.w[-2]}",
            f"{d_sums}[{t}] = {d_h} * (1 - {h1}**2)",
            f"{d_h} = {d_sums}[{t}] @ {self.W_h}",
        ]

    def learn_all(self):
        super().learn_all()
        if self.learns(len(self.w) - 2):
            self.learn(len(self.w) - 2, f'np.einsum("tno,tnh->oh", {self.local("d_out")}, {self.all("h1")})')
        if self.learns(len(self.w) - 1):
            self.learn(len(self.w) - 1, f"{self.local('d_out')}.sum(axis=(0, 1))")


@writes(LSTM)
class _LSTM(_Recurrence):
    gates = ("i", "f", "o", "g", "tanh_c")

    def formula(self):
        return (
            "c = f c0 + i g, h = o tanh(c), with h0 and c0 of the step before; i, f, o are sigmoids and g is tanh of "
            "the four parts of W_x x + b + W_h h0"
        )

    def one_step(self):
        i, f, o, g, tanh_c = map(self.local, self.gates)
        c, h, h0, c0 = map(self.local, ("c", "h", "h0", "c0"))
        return [
            f"{i}, {f}, {o}, {g} = np.split({self.sums}[{self.t()}] + {h0} @ {self.W_h}.T, 4, axis=1)",
            *(f"{gate} = {sigmoid(gate)}" for gate in (i, f, o)),
            f"{g} = np.tanh({g})",
            f"{c} = {f} * {c0} + {i} * {g}",
            f"{tanh_c} = np.tanh({c})",
            f"{h} = {o} * {tanh_c}",
        ]

    def step_back(self):
        i, f, o, g, tanh_c = map(self.local, self.gates)
        d_h, d_c = self.d_states
        d_i, d_f, d_o, d_g = (f"d_{gate}" for gate in (i, f, o, g))
        t, d_sums = self.t(), self.d_sums
        return [
            f"{d_h} = {d_h} + {self.d()}[{t}]",
            f"{d_c} = {d_c} + {d_h} * {o} * (1 - {tanh_c}**2)",
            *lstm_gates_back(d_h, d_c, i, f, o, g, tanh_c, self.local("c0")),
            f"{d_sums}[{t}] = np.concatenate([{d_i}, {d_f}, {d_o}, {d_g}], axis=1)",
            f"{d_h} = {d_sums}[{t}] @ {self.W_h}",
            f"{d_c} = {d_c} * {f}",
        ]


def lstm_gates_back(d_h, d_c, i, f, o, g, tanh_c, before) -> Lines:
    """The gradients of what i, f and o are sigmoids of, and g tanh."""
    return [
        f"d_{i} = {d_c} * {g} * {i} * (1 - {i})",
        f"d_{f} = {d_c} * {before} * {f} * (1 - {f})",
        f"d_{o} = {d_h} * {tanh_c} * {o} * (1 - {o})",
        f"d_{g} = {d_c} * {i} * (1 - {g}**2)",
    ]


@writes(GRU)
class _GRU(_Recurrence):
    parameters = ("b_h",)
    gates = ("r", "z", "n", "n_h")

    def formula(self):
        return (
            "h = (1 - z) n + z h0, with h0 of the step before; r and z are sigmoids of the first two parts of "
            "(W_x x + b) + (W_h h0 + b_h), and n = tanh(the third of the first + r times the third of the second)"
        )

    def one_step(self):
        r, z, n, n_h = map(self.local, self.gates)
        h, h0, n_x, r_h, z_h = map(self.local, ("h", "h0", "n_x", "r_h", "z_h"))
        return [
            f"{r}, {z}, {n_x} = np.split({self.sums}[{self.t()}], 3, axis=1)",
            f"{r_h}, {z_h}, {n_h} = np.split({h0} @ {self.W_h}.T + {self.w[-1]}, 3, axis=1)",
            f"{r} = 1 / (1 + np.exp(-{r} - {r_h}))",
            f"{z} = 1 / (1 + np.exp(-{z} - {z_h}))",
            f"{n} = np.tanh({n_x} + {r} * {n_h})",
            f"{h} = (1 - {z}) * {n} + {z} * {h0}",
        ]

    def begin_back(self):
        super().begin_back()
        self.say(f"{self.of_h()} = np.zeros({self.sums}.shape)")

    def of_h(self):
        return self.local("d_of_h")

    def step_back(self):
        r, z, n, n_h = map(self.local, self.gates)
        (d_h,), h0, t = self.d_states, self.local("h0"), self.t()
        return [
            f"{d_h} = {d_h} + {self.d()}[{t}]",
            f"d_{n} = {d_h} * (1 - {z}) * (1 - {n}**2)",
            f"d_{z} = {d_h} * ({h0} - {n}) * {z} * (1 - {z})",
            f"d_{r} = d_{n} * {n_h} * {r} * (1 - {r})",
            f"{self.d_sums}[{t}] = np.concatenate([d_{r}, d_{z}, d_{n}], axis=1)",
            f"{self.of_h()}[{t}] = np.concatenate([d_{r}, d_{z}, d_{n} * {r}], axis=1)",
            f"{d_h} = {d_h} * {z} + {self.of_h()}[{t}] @ {self.W_h}",
        ]

    def learn_all(self):
        super().learn_all()
        if self.learns(len(self.w) - 1):
            self.learn(len(self.w) - 1, f"{self.of_h()}.sum(axis=(0, 1))")


@writes(LSTMUnit)
class _LSTMUnit(Writer):
    def formula(self):
        return "c = f cont c0 + i g, h = o tanh(c); i, f, o are sigmoids and g is tanh of the four parts of the gates"

    def parts(self):
        return [self.local(name) for name in ("i", "f", "o", "g", "tanh_c")]

    def forward(self):
        i, f, o, g, tanh_c = self.parts()
        c, h = self.y
        before = self.local("c0")
        self.say(f"{before} = {self.x[2]}[:, :, None] * {self.x[0]}")
        self.say(f"{i}, {f}, {o}, {g} = np.split({self.x[1]}, 4, axis=2)")
        self.say(*(f"{gate} = {sigmoid(gate)}" for gate in (i, f, o)), f"{g} = np.tanh({g})")
        self.say(f"{c} = {f} * {before} + {i} * {g}", f"{tanh_c} = np.tanh({c})", f"{h} = {o} * {tanh_c}")

    def backward(self):
        i, f, o, g, tanh_c = self.parts()
        d_h, d_c, before = self.d(1), self.local("d_c"), self.local("c0")
        self.say(f"{d_c} = {self.d(0)} + {d_h} * {o} * (1 - {tanh_c}**2)")
        if self.wants(1):
            self.say(*lstm_gates_back(d_h, d_c, i, f, o, g, tanh_c, before))
            self.give(1, f"np.concatenate([{', '.join(f'd_{gate}' for gate in (i, f, o, g))}], axis=2)")
        if self.wants(0):
            self.give(0, f"{self.x[2]}[:, :, None] * {f} * {d_c}")
