"""An explanation as text: a table of a small graph, a paragraph for each layer of a large net."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..spec.errors import format_shape
from .explained import Explanation, Gate, Use, Value
from .table import table

SMALL = 16  # elements of a blob that is shown whole
MOST_ROWS = 100  # values that are shown as one table


def report(explanation: Explanation, whole: bool = False) -> str:
    """The explanation in words. ``whole``: every element of every blob (up to 1,000)."""
    small = all(value.data.size <= SMALL for value in explanation.values.values())
    small &= not any(gate.parameters and gate.bottoms for gate in explanation.gates)
    if small and len(explanation.values) <= MOST_ROWS:
        text = _as_table(explanation)
    else:
        text = "\n".join(_paragraph(gate, explanation, whole) for gate in explanation.gates)
    return "\n".join(filter(None, [text, ending(explanation)]))


def ending(explanation: Explanation) -> str:
    """The loss, or where the gradient starts; and what of it one example has."""
    losses = explanation.losses
    total = number(explanation.loss)
    if explanation.seeded:
        text = f"the gradient starts as 1 at {', '.join(explanation.seeded)}"
    elif not explanation.has_loss:
        text = "no loss and no output that has a gradient: nothing goes back"
    elif len(losses) < 2:
        text = f"loss {total}"
    else:
        text = f"loss {total} = " + " + ".join(f"{number(loss)} ({name})" for name, loss in losses.items())
    if explanation.sample is not None:
        one = f"example {explanation.sample} of {explanation.examples}"
        text += f"; above, {one}, but the loss and the gradients of parameters are those of the whole batch"
    return text


def _as_table(explanation: Explanation) -> str:
    words = {gate.name: gate.words for gate in explanation.gates}
    order = {gate.name: i for i, gate in enumerate(explanation.gates)}
    said: set[str] = set()
    rows = []
    for gate in explanation.gates:
        for name in gate.tops:
            if name not in explanation.values:
                continue
            value = explanation.values[name]
            uses = sorted(value.uses, key=lambda use: order.get(use.gate, 0))
            cells = [_label(name, gate), numbers(value.data), numbers(value.diff)]
            branches = len(uses) > 1 or bool(uses and value.loss_weight)
            if len(uses) != 1 or branches:
                rows.append([*cells, "a branch: the gradients add up" if branches else ""])
            if branches and value.loss_weight:
                rows.append(["  into the loss", "", number(value.loss_weight)])
            for use in uses:
                text = words.get(use.gate, "") if use.gate not in said else ""
                said.add(use.gate)
                line = [_product(use), text]
                if not branches:
                    rows.append([*cells, *line])
                else:
                    rows.append([f"  into {use.gate}", "", numbers(use.gradient), *line])
    rows = [[*row, *[""] * (5 - len(row))] for row in rows]
    return table(["node", "forward", "gradient", "local x upstream", "what the gate does"], rows, right=(1, 2))


def _label(name: str, gate: Gate) -> str:
    """``q = x + y``; only the name for a variable, and where the name is the formula."""
    if not gate.bottoms or name == gate.formula:
        return name
    return f"{name} = {gate.formula}"


def _product(use: Use) -> str:
    """``-4 x 1``, where the local gradient can be written down."""
    if use.local is None or use.upstream is None:
        return ""
    if use.by_element and use.upstream.size in (1, use.local.size):
        return f"{numbers(use.local)} x {numbers(use.upstream)}"
    return f"J ({format_shape(use.local.shape)}) x {numbers(use.upstream)}"


def _paragraph(gate: Gate, explanation: Explanation, whole: bool) -> str:
    """A layer: what it makes, its parameters, and what came back along its wires."""
    head = f"{', '.join(gate.tops) or gate.name} = {gate.formula}" if gate.bottoms else ", ".join(gate.tops)
    if gate.type not in head:
        head += f"   ({gate.type})"
    lines = [head]
    rows = []
    for name in gate.tops:
        if name in explanation.values:
            rows += _rows(name, explanation.values[name], whole)
    for parameter in gate.parameters if gate.bottoms else ():
        rows += _rows(parameter.name, parameter, whole)
    uses = [use for name in gate.bottoms for use in _uses(explanation, name) if use.gate == gate.name]
    for use in uses:
        rows.append([f"into {use.value}", "", array_words(use.gradient, whole)])
        if use.by_element and use.local is not None:
            rows.append(["", "local", array_words(use.local, whole)])
    single = [cells for row in rows for cells in _one_line_each(row)]
    lines += [f"  {line}" for line in table(["", "", ""], single).splitlines()[1:]]
    if gate.bottoms and gate.words:
        lines.append(f"  {gate.words}")
    return "\n".join(lines) + "\n"


def _one_line_each(row: list[str]) -> list[list[str]]:
    """The row, and one more for each further line of its last cell."""
    first, *more = row[-1].splitlines() or [""]
    return [[*row[:-1], first], *([*[""] * (len(row) - 1), line] for line in more)]


def _uses(explanation: Explanation, name: str) -> Sequence[Use]:
    return explanation.values[name].uses if name in explanation.values else ()


def _rows(name: str, value: Value, whole: bool) -> list[list[str]]:
    rows = [[name, format_shape(value.data.shape), array_words(value.data, whole)]]
    if value.diff is not None:
        rows.append(["", "gradient", array_words(value.diff, whole)])
    if len(value.uses) > 1:
        rows.append(["", "", f"read by {', '.join(use.gate for use in value.uses)}: their gradients add up"])
    return rows


def number(x: float) -> str:
    """Four digits, and an integer of up to nine as it is: ``-0.1966``, ``56088``."""
    if x == round(x, 0) and abs(x) < 1e9:
        return str(int(x))
    return f"{x:.4g}"


def numbers(array: np.ndarray | None) -> str:
    """A small array: a number, or numbers in brackets. Nothing for no gradient."""
    if array is None:
        return "-"
    if array.size == 1:
        return number(float(array.reshape(())))
    if array.ndim == 1:
        return f"[{' '.join(number(float(x)) for x in array)}]"
    return f"[{' '.join(numbers(row) for row in array)}]"


def array_words(array: np.ndarray | None, whole: bool = False) -> str:
    """A small array as it is; of a large one mean, extremes and the first few values."""
    if array is None:
        return "-"
    if array.size <= SMALL:
        return numbers(array)
    if whole:
        return np.array2string(array, max_line_width=110, threshold=1000, formatter={"float_kind": number})  # type: ignore[arg-type]
    some = " ".join(number(float(x)) for x in array.reshape(-1)[:5])
    zeros = float((array == 0).mean())
    share = f", {zeros:.0%} zero" if zeros else ""
    mean = float(array.mean())
    if abs(mean) < 1e-14 * float(np.abs(array).max()):  # of rounding
        mean = 0.0
    ends = f"{number(float(array.min()))} … {number(float(array.max()))}"
    return f"mean {number(mean)}, {ends}{share}: {some} …"
