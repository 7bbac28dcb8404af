"""An explanation as a page of its own: the graph drawn, values above the wires, gradients below, step by step."""

from __future__ import annotations

import html
from importlib import resources

import numpy as np

from ..files import plain_json
from ..spec.errors import format_shape
from .explain_text import array_words, ending, number, numbers
from .explained import Explanation, Gate, Use, Value
from .layout import lay_out

ROW = 78  # pixels between neighbours
MARGIN = 50
GAP = 60  # between columns, where wires bend
PORT = 14  # between wires that enter or leave a gate
LETTER = 7.9  # width of a letter
BLANK = "____"


def page(explanation: Explanation, title: str) -> str:
    """The HTML of the page; it needs no other file and no network."""
    template = resources.files(__package__).joinpath("explain_page.html").read_text(encoding="utf-8")
    drawing = Drawing(explanation)
    parts = {
        "TITLE": html.escape(title),
        "ENDING": html.escape(ending(explanation)),
        "GRAPH": drawing.svg(),
        "STEPS": _script_safe(plain_json.text(drawing.steps(), indent=None)),
    }
    for name, text in parts.items():
        template = template.replace(f"<!--{name}-->", text)
    return template


def _script_safe(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c")


class Drawing:
    """The graph of gates. A gate has a number; what shows its result or gradient carries it as data-gate.

    A column holds the gates of one rank and to their right the flat pieces of wire that carry the labels; wires bend
    between columns. With ``blanks`` there is a line to write on for every value and gradient that is to be found, with
    ``formulas`` a gate's whole formula below it.
    """

    def __init__(self, explanation: Explanation, blanks: bool = False, formulas: bool = False):
        self.explanation, self.blanks, self.formulas = explanation, blanks, formulas
        self.gates = {gate.name: gate for gate in explanation.gates}
        self.number = {name: i for i, name in enumerate(self.gates)}
        self.makers = {top: gate.name for gate in explanation.gates for top in gate.tops}
        self.read = {name for gate in explanation.gates for name in gate.bottoms}
        inputs = {
            gate.name: [self.makers[name] for name in gate.bottoms if name in self.makers]
            for gate in self.gates.values()
        }
        self.layout = lay_out(list(self.gates), inputs)
        self.columns = self._columns()

    def _columns(self) -> dict[int, tuple[float, float, float]]:
        """rank -> where its column begins, where its gates have their middle, where its labels end."""
        result, x = {}, float(MARGIN)
        for rank in sorted({rank for rank, _ in self.layout.places.values()}):
            gates = [self.gates[name] for name, (at, _) in self.layout.places.items() if at == rank]
            half = max(map(self.half, gates))
            label = max((len(text) for gate in gates for text in self.texts(gate)), default=0) * LETTER + 14
            result[rank] = x, x + half, x + 2 * half + label
            x += 2 * half + label + GAP
        return result

    def texts(self, gate: Gate) -> list[str]:
        values = [self.explanation.values[name] for name in gate.tops if name in self.explanation.values]
        return [text for value in values for text in self.both(value)]

    def both(self, value: Value) -> tuple[str, str]:
        """The labels of a value: itself and its gradient, or blanks where that is asked for."""
        gate = self.gates[value.made_by]
        return (
            BLANK if self.blanks and gate.bottoms else short(value.data),
            BLANK if self.blanks and value.uses else short(value.diff),
        )

    def half(self, gate: Gate) -> float:
        """Half the width of a node."""
        return max(22.0, len(gate.sign if gate.bottoms else gate.name) * LETTER / 2 + 10)

    def y(self, height: float) -> float:
        return MARGIN + height * ROW

    def svg(self) -> str:
        heights = [height for _, height in self.layout.places.values()]
        heights += [height for bend in self.layout.bends.values() for _, height in bend]
        width, height = max(end for _, _, end in self.columns.values()) + MARGIN, self.y(max(heights)) + MARGIN
        drawn = [self.wires(gate) for gate in self.gates.values()] + [self.node(gate) for gate in self.gates.values()]
        size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
        return f"<svg {size}>{''.join(drawn)}</svg>"

    def out(self, gate: Gate, name: str) -> tuple[float, float, float]:
        """Where the wire of a top begins and ends to be flat, and its height."""
        rank, height = self.layout.places[gate.name]
        _, middle, end = self.columns[rank]
        offset = (gate.tops.index(name) - (len(gate.tops) - 1) / 2) * 40
        return middle + self.half(gate), end, self.y(height) + offset

    def port(self, gate: Gate, index: int) -> tuple[float, float]:
        """Where the wire of a bottom enters a gate."""
        rank, height = self.layout.places[gate.name]
        order = sorted(range(len(gate.bottoms)), key=lambda i: (self.comes_from(gate, gate.bottoms[i]), i))
        offset = (order.index(index) - (len(order) - 1) / 2) * PORT
        return self.columns[rank][1] - self.half(gate) + abs(offset) / 3, self.y(height) + offset

    def comes_from(self, gate: Gate, name: str) -> float:
        """The height of a wire where it leaves the column before the gate's."""
        maker = self.makers.get(name)
        if maker is None:
            return 0.0
        bends = self.layout.bends[maker, gate.name]
        return self.y(bends[-1][1]) if bends else self.out(self.gates[maker], name)[2]

    def wires(self, gate: Gate) -> str:
        """The wires into a gate, and the labelled beginnings of those out of it."""
        parts = [self.wire(gate, name, i) for i, name in enumerate(gate.bottoms) if name in self.makers]
        for name in gate.tops:
            x, end, y = self.out(gate, name)
            parts.append(f'<path class="wire" d="M{x:.0f},{y:.0f} H{end:.0f}"/>')
            parts.append(self.labels(gate, name, x + 8, y))
        return "".join(parts)

    def wire(self, gate: Gate, name: str, index: int) -> str:
        """A curve from the end of the flat piece, and where a value has several readers this one's gradient."""
        source = self.gates[self.makers[name]]
        _, x, y = self.out(source, name)
        d = f"M{x:.0f},{y:.0f}"
        flat = [(*self.columns[rank], self.y(height)) for rank, height in self.layout.bends[source.name, gate.name]]
        target, height = self.port(gate, index)
        for begin, end, level in [*((begin, end, level) for begin, _, end, level in flat), (target, None, height)]:
            middle = (x + begin) / 2
            d += f" C{middle:.0f},{y:.0f} {middle:.0f},{level:.0f} {begin:.0f},{level:.0f}"
            if end is not None:
                d += f" H{end:.0f}"
            x, y = end or begin, level
        return f'<path class="wire" d="{d}"/>{self.returned(gate, name, index, target, height)}'

    def returned(self, gate: Gate, name: str, index: int, x: float, y: float) -> str:
        """The gradient that comes back along one of several wires out of a value."""
        value = self.explanation.values.get(name)
        uses = [use for use in value.uses if use.gate == gate.name] if value else []
        if value is None or len(value.uses) < 2 or not uses:
            return ""
        use = uses[min(gate.bottoms[:index].count(name), len(uses) - 1)]
        y += -5 if y <= self.y(self.layout.places[gate.name][1]) else 15
        place = f'x="{x - 6:.0f}" y="{y:.0f}" text-anchor="end"'
        text = BLANK if self.blanks else short(use.gradient)
        return f'<text class="gradient" data-back="{self.number[gate.name]}" {place}>{text}</text>'

    def labels(self, gate: Gate, name: str, x: float, y: float) -> str:
        """The value above the wire and the gradient below it."""
        value = self.explanation.values.get(name)
        if value is None:
            return ""
        k, (above, below) = self.number[gate.name], self.both(value)
        text = f'<text class="value" data-forward="{k}" x="{x:.0f}" y="{y - 6:.0f}">{above}</text>'
        if value.diff is not None:
            last = min(
                (self.number[use.gate] for use in value.uses if use.gate in self.number), default=len(self.gates)
            )
            text += f'<text class="gradient" data-back="{last}" x="{x:.0f}" y="{y + 15:.0f}">{below}</text>'
        return text

    def node(self, gate: Gate) -> str:
        rank, height = self.layout.places[gate.name]
        x, y, half = self.columns[rank][1], self.y(height), self.half(gate)
        text = html.escape(gate.sign if gate.bottoms else gate.name)
        if gate.bottoms:
            body = f'<rect x="{x - half:.0f}" y="{y - 20:.0f}" width="{2 * half:.0f}" height="40" rx="20"/>'
            body += f'<text text-anchor="middle" x="{x:.0f}" y="{y + 5:.0f}">{text}</text>'
            if " " not in gate.name and "(" not in gate.name:
                name = html.escape(f"{gate.name} = {gate.formula}" if self.formulas else gate.name)
                body += f'<text class="name" text-anchor="middle" x="{x:.0f}" y="{y + 38:.0f}">{name}</text>'
        else:
            body = f'<text class="leaf" text-anchor="end" x="{x + half - 6:.0f}" y="{y + 5:.0f}">{text}</text>'
        title = html.escape(gate.formula)
        return f'<g class="gate" data-gate="{self.number[gate.name]}" tabindex="0"><title>{title}</title>{body}</g>'

    def steps(self) -> list[dict]:
        """For each gate what the page says of it on the way forward and on the way back."""
        return [
            {
                "name": gate.name,
                "head": gate.formula if gate.bottoms else gate.name,
                "type": gate.type,
                "words": gate.words,
                "forward": [[name, self.describe(name)] for name in gate.tops if name in self.explanation.values],
                "parameters": [
                    [f"{p.name} {format_shape(p.data.shape)}", array_words(p.data), array_words(p.diff)]
                    for p in gate.parameters
                    if gate.bottoms
                ],
                "upstream": [
                    [name, array_words(self.explanation.values[name].diff)]
                    for name in gate.tops
                    if name in self.explanation.values and self.explanation.values[name].diff is not None
                ],
                "uses": [
                    [use.value, product(use), array_words(use.gradient), self.others(use)] for use in self.uses_of(gate)
                ],
            }
            for gate in self.gates.values()
        ]

    def describe(self, name: str) -> str:
        value = self.explanation.values[name]
        shape = f"{format_shape(value.data.shape)}: " if value.data.size > 1 else ""
        return shape + array_words(value.data)

    def uses_of(self, gate: Gate) -> list[Use]:
        return [
            use
            for name in dict.fromkeys(gate.bottoms)
            for use in (self.explanation.values[name].uses if name in self.explanation.values else ())
            if use.gate == gate.name
        ]

    def others(self, use: Use) -> str:
        """For a value that several gates read: that gradients add up."""
        value: Value = self.explanation.values[use.value]
        return f"one of {len(value.uses)} that add up to {array_words(value.diff)}" if len(value.uses) > 1 else ""


def product(use: Use) -> str:
    """local x upstream, in words where they are too many numbers."""
    if use.local is None or use.upstream is None or not use.by_element or use.local.size > 16 or use.upstream.size > 16:
        return ""
    return f"{numbers(use.local)} × {numbers(use.upstream)}"


def short(array: np.ndarray | None) -> str:
    """A label on a wire: a few numbers, or the shape and the mean size."""
    if array is None:
        return ""
    if array.size <= 4:
        return numbers(array)
    return f"{'x'.join(map(str, array.shape))} ~{number(float(np.abs(array).mean()))}"
