"""Recurrent as lines of numpy: the lines of its cell in a loop over the steps, and in one back through them."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable

from ...layers.recurrent.recurrent import Recurrent
from .code import Writer
from .expressions import WIDTH, indented, number, plain
from .writers import make, writes

Lines = list[str]


@writes(Recurrent)
class _Recurrent(Writer):
    parameters = ()  # they are named as those of the cell's layers

    def __init__(self, code, step):
        super().__init__(code, step)
        layer, p = self.layer, self.p
        copy = layer.unrolled.copies[0]
        copy.use(layer.blobs)
        copy.learn(layer.param_propagate_down)
        places = p.parts(range(len(self.x)))
        self.sequences = dict(zip(p.sequences, places[0], strict=True))  # name -> which bottom
        self.cont = self.x[places[1][0]] if p.cont else ""
        self.static = dict(zip(p.static, places[2], strict=True))
        self.given = dict(zip((state.name for state in p.given), places[3], strict=True))
        names = {name: f"{name}_t" for name in self.sequences}
        names |= {name: name for name in (*self.static, *(state.name for state in p.states))}
        self.of = {name: code.names.new(wanted) for name, wanted in names.items()}  # as the cell's lines call them
        named = {(name, 0): own for name, own in self.of.items()}
        self.taps = {name: copy.taps[name] for name in copy.taps}
        self.tap_keys = {one.bottom_keys[0][0]: one.bottom_keys[0] for one in copy.steps if not one.top}
        steps = [one for one in copy.steps if one.top and not one.layer.is_input]
        for one in steps:
            one.loss_weights = [0.0] * len(one.top)
        self.cell = code.inner(step, steps, named)
        outside = self.sequences | self.static
        for name, i in outside.items():
            if step.bottom_keys[i] in code.whole:
                self.cell.whole.add((name, 0))
            if not self.wants(i):
                self.cell.unwanted.add((name, 0))
        self.writers = make(self.cell)
        for state in p.states:
            if state.has_blob:
                self.cell.name_parameter(self.first_blob(state).data, f"{state.name}_0")
        self.steps, self.starts = self.local("steps"), self.local("starts")
        self.t = self.counter("t")
        self.carries = p.carry

    def refusal(self):
        if self.code.around and self.carries:
            return "in a cell, where it would carry states from batch to batch, it is not"
        return ""

    def formula(self):
        return f"a cell of {len(self.writers)} layers, run step by step"

    def first_blob(self, state):
        return self.layer.blobs[self.layer.initial_blobs[state.name]]

    def tap(self, name):
        """What the cell's lines call a blob that goes out of it."""
        return self.cell.blobs[self.tap_keys[name]]

    # Forward

    def first(self, state) -> str:
        """The value where a sequence begins, of one example or all: an expression, nothing for zero."""
        if state.has_blob:
            return self.cell.parameter(self.first_blob(state).data)
        return number(self.layer.first(state)) if self.layer.first(state) else ""

    def begin(self, state) -> None:
        own = self.of[state.name]
        if state.name in self.given:
            self.say(f"{own} = {self.x[self.given[state.name]]}[0]")
            return
        carried = self.goes_on(state)
        N = str(self.layer.N) if carried else f"{self.x[0]}.shape[1]"
        shape = f"({', '.join([N, *map(str, state.shape)])})"
        if state.has_blob:
            value = f"np.tile({self.first(state)}, ({', '.join([N, *['1'] * len(state.shape)])}))"
        else:
            value = f"np.full({shape}, {float(self.first(state))!r})" if self.first(state) else f"np.zeros({shape})"
        if carried:
            last = self.last(state)
            title = plain(self.code.title(self.step))
            self.code.before += [f"# {title}: a batch goes on where the last one ended", f"{last} = {value}"]
            self.say(f"{own} = {last}")
        else:
            self.say(f"{own} = {value}")

    def goes_on(self, state) -> bool:
        """Whether a batch begins with this state of the one before."""
        return self.carries and not self.code.forward_only and state.name not in self.given

    def last(self, state) -> str:
        """The state for the next batch, which is not touched on the way back."""
        return self.local(f"last {state.name}")

    def spread(self, state) -> str:
        """cont at this step, in the shape that multiplies a state."""
        at = f"{self.cont}[{self.t}]"
        return f"{at}[:{', None' * len(state.shape)}]" if state.shape else at

    def going_on(self, state) -> str:
        own, c, first = self.of[state.name], self.spread(state), self.first(state)
        begun = f" + (1 - {c}) * {first}" if first and not state.from_bottom else ""
        return f"{own} = {c} * {own}{begun}"

    def forward(self):
        p, cell, t = self.p, self.cell, self.t
        for state in p.states:
            self.begin(state)
        body = [f"{self.of[name]} = {self.x[i]}[{t}]" for name, i in self.sequences.items()]
        body += [self.going_on(state) for state in p.states if self.cont]
        for name, i in self.static.items():
            self.say(f"{self.of[name]} = {self.x[i]}")
        cell.write_forward(self.writers)
        body, cell.lines = [*body, *cell.lines], []
        if self.code.forward_only:
            kept: Lines = []
        else:
            self.back = self.back_through_a_step()
            read = set(names_in(self.back, ast.Load))
            states = [self.of[state.name] for state in p.states]
            kept = [name for name in dict.fromkeys([*states, *names_in(body, ast.Store)]) if name in read]
        self.chunks = chunks(kept)
        outputs = list(zip(self.y, p.outputs, strict=False))
        lists = [*([self.steps] if kept else []), *(y for y, _ in outputs)]
        self.say(*(f"{name} = []" for name in lists), f"for {t} in range(len({self.x[0]})):")
        for i, chunk in enumerate(self.chunks):
            body.append(
                f"{self.steps}[{t}] += [{', '.join(chunk)}]" if i else f"{self.steps}.append([{', '.join(chunk)}])"
            )
        body += [f"{y}.append({self.tap(name)})" for y, name in outputs]
        moves = [(self.of[state.name], self.tap(state.next)) for state in p.states]
        moves = [(own, after) for own, after in moves if own != after]
        if moves:
            body.append(f"{', '.join(own for own, _ in moves)} = {', '.join(after for _, after in moves)}")
        self.say(*indented(body), *(f"{y} = np.array({y})" for y, _ in outputs))
        self.say(*(f"{self.last(state)} = {self.of[state.name]}" for state in p.states if self.goes_on(state)))
        for y, state in zip(self.y[len(p.outputs) :], p.states, strict=False):
            self.say(f"{y} = {self.of[state.name]}[None]")

    # Backward

    def back_through_a_step(self) -> Lines:
        """From the gradients of what goes out of a step to those of what it read, and of the parameters."""
        p, cell = self.p, self.cell
        cell.given.update(self.tap_keys.values())
        cell.write_backward(self.writers)
        for state in p.states:
            own = self.of[state.name]
            d = cell.gradient((state.name, 0), own)
            if self.cont:
                if self.learns_first(state):
                    share = f"((1 - {self.spread(state)}) * {d}).sum(axis=0)"
                    cell.add_to_parameter(self.first_blob(state).data, share)
                cell.say(f"d_{own} = {self.spread(state)} * {d}")
        for name, i in (self.sequences | self.static).items():
            if self.wants(i):
                cell.gradient((name, 0), self.of[name])
        lines, cell.lines = cell.lines, []
        return lines

    def learns_first(self, state):
        return state.learned and self.learns(self.layer.initial_blobs[state.name])

    def backward(self):
        p, code, cell, t = self.p, self.code, self.cell, self.t
        tops = list(zip(self.step.top_keys, self.y, strict=True))
        finals = dict(zip((state.name for state in p.states), tops[len(p.outputs) :], strict=False))
        for state in p.states:
            own = self.of[state.name]
            key, y = finals.get(state.name, (None, ""))
            has = key is not None and code.has_gradient(key)
            self.say(f"d_{own} = d_{y}[0]" if has else f"d_{own} = np.zeros_like({own})")
        outside = {name: i for name, i in (self.sequences | self.static).items() if self.wants(i)}
        built = {name: self.local(f"d_{name}") for name in outside}
        self.say(*(f"{built[name]} = np.zeros_like({self.x[i]})" for name, i in outside.items()))
        for name, owner in cell.learned.items():
            if not code.accumulate and name not in code.learned:
                self.say(f"d_{name} = np.zeros_like({name})")
            code.learned[name] = owner
        incoming = self.incoming([key for key, _ in tops])
        self.say(f"for {t} in reversed(range(len({self.x[0]}))):")
        start = 0
        for chunk in self.chunks:
            part = f"[{start}:{start + len(chunk)}]" if len(self.chunks) > 1 else ""
            self.say(f"    {', '.join(chunk)}{',' * (len(chunk) == 1)} = {self.steps}[{t}]{part}")
            start += len(chunk)
        self.say(*indented([*incoming, *self.back]))
        for name in outside:
            whole = f"{built[name]}[{t}]" if name in self.sequences else built[name]
            self.say(f"    {whole} = {'' if name in self.sequences else f'{whole} + '}d_{self.of[name]}")
        for name, i in outside.items():
            self.give(i, built[name])
        self.to_first()

    def incoming(self, top_keys) -> Lines:
        """The gradients of what goes out of a step: from the outputs at that step, and from the step after it."""
        p = self.p
        parts: dict[str, Lines] = {name: [] for name in self.tap_keys}
        for key, y, name in zip(top_keys, self.y, p.outputs, strict=False):
            if self.code.has_gradient(key):
                parts[name].append(f"d_{y}[{self.t}]")
        for state in p.states:
            parts[state.next].append(f"d_{self.of[state.name]}")
        moves = [
            (f"d_{self.tap(name)}", " + ".join(found) or f"np.zeros_like({self.tap(name)})")
            for name, found in parts.items()
        ]
        moves = [(to, source) for to, source in moves if to != source]
        if {to for to, _ in moves} & {f"d_{self.of[state.name]}" for state in p.states}:  # all at once
            return [f"{', '.join(to for to, _ in moves)} = {', '.join(source for _, source in moves)}"]
        return [f"{to} = {source}" for to, source in moves]

    def to_first(self) -> None:
        """The gradients of the states before the first step."""
        code = self.code
        begins = []
        for state in self.p.states:
            d = f"d_{self.of[state.name]}"
            if state.name in self.given:
                if self.wants(self.given[state.name]):
                    self.give(self.given[state.name], f"{d}[None]")
            elif self.learns_first(state):
                i = self.layer.initial_blobs[state.name]
                if self.carries:
                    name = code.parameter(self.first_blob(state).data)
                    begins.append(f"d_{name} = d_{name} + {d}.sum(axis=0)")
                    if name not in code.learned:
                        if not code.accumulate:
                            self.say(f"d_{name} = np.zeros_like({name})")
                        code.learned[name] = self.owner(i)
                else:
                    self.learn(i, f"{d}.sum(axis=0)")
        if begins:
            code.before.append(f"{self.starts} = True")
            self.say(f"if {self.starts}:", *indented(begins), f"{self.starts} = False")

    def owner(self, i):
        return dict(self.code.owners())[self.code.parameter(self.layer.blobs[i].data)]


def names_in(lines: Iterable[str], context: type) -> Lines:
    """The names that lines assign (``ast.Store``) or read (``ast.Load``), in order."""
    tree = ast.parse(textwrap.dedent("\n".join(lines)))
    nodes = list(ast.walk(tree))
    own = {id(name) for node in nodes if isinstance(node, ast.comprehension) for name in ast.walk(node.target)}
    found = [one for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, context) and id(one) not in own]
    found.sort(key=lambda name: (name.lineno, name.col_offset))
    return list(dict.fromkeys(name.id for name in found))


def chunks(names: Lines) -> list[Lines]:
    """Names in lines that are short enough."""
    found: list[Lines] = []
    for name in names:
        if not found or len(", ".join([*found[-1], name])) > WIDTH - 50:
            found.append([])
        found[-1].append(name)
    return found
