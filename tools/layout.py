"""Where the nodes of a graph stand when it is drawn from left to right (after Sugiyama, Tagawa and Toda, 1981).

Ranks are the longest paths; a wire over several ranks passes a point in each; in every rank nodes are ordered by the
mean place of what they are wired to, and then moved towards it as far as the distances between them allow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8


@dataclass
class Layout:
    """``places``: node -> (rank, height), heights in units of the distance between neighbours. ``bends``: the places
    that the wire (from, to) passes in the ranks between."""

    places: dict[str, tuple[int, float]]
    bends: dict[tuple[str, str], list[tuple[int, float]]]


def lay_out(nodes: Sequence[str], inputs: Mapping[str, Sequence[str]]) -> Layout:
    """Places for ``nodes``, which are given in an order in which they can be computed, from what each of them reads."""
    ranks = _ranks(nodes, inputs)
    chains: dict[tuple[str, str], list[str]] = {}
    above: dict[str, list[str]] = defaultdict(list)  # neighbours to the left
    below: dict[str, list[str]] = defaultdict(list)
    columns: dict[int, list[str]] = defaultdict(list)
    for node in nodes:
        columns[ranks[node]].append(node)
    for node in nodes:
        for source in dict.fromkeys(inputs.get(node, ())):
            points = [f"{source} -> {node} at {rank}" for rank in range(ranks[source] + 1, ranks[node])]
            for rank, point in enumerate(points, ranks[source] + 1):
                columns[rank].append(point)
            chains[source, node] = points
            path = [source, *points, node]
            for left, right in pairwise(path):
                above[right].append(left)
                below[left].append(right)
    heights = {name: float(i) for column in columns.values() for i, name in enumerate(column)}
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for rank in sorted(columns, reverse=not forward):
            _place(columns[rank], above if forward else below, heights)
    lowest = min(heights.values(), default=0.0)
    where = {name: (rank, heights[name] - lowest) for rank, column in columns.items() for name in column}
    places = {node: where[node] for node in nodes}
    return Layout(places, {wire: [where[point] for point in points] for wire, points in chains.items()})


def _ranks(nodes: Sequence[str], inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The longest path to each node; one that reads nothing stands right before its first reader."""
    ranks: dict[str, int] = {}
    for node in nodes:
        ranks[node] = 1 + max((ranks[source] for source in inputs.get(node, ())), default=-1)
    readers: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for source in inputs.get(node, ()):
            readers[source].append(node)
    for node in nodes:
        if not inputs.get(node) and readers[node]:
            ranks[node] = min(ranks[reader] for reader in readers[node]) - 1
    return ranks


def _place(column: list[str], neighbours: Mapping[str, Sequence[str]], heights: dict[str, float]) -> None:
    """Order a rank by the mean height of its neighbours, at least 1 apart, as near to those means as that allows."""
    wanted = {
        name: sum(heights[n] for n in neighbours[name]) / len(neighbours[name])
        if neighbours.get(name)
        else heights[name]
        for name in column
    }
    column.sort(key=lambda name: (wanted[name], heights[name]))
    # groups of nodes that touch stand together around the mean of what they want
    groups: list[tuple[float, int]] = []  # (sum of wanted minus place in group, number of nodes)
    for name in column:
        total, count = wanted[name], 1
        while groups:
            before, others = groups[-1]
            if before / others + others <= total / count:
                break
            groups.pop()
            total, count = before + total - others * count, others + count
        groups.append((total, count))
    names = iter(column)
    for total, count in groups:
        for i in range(count):
            heights[next(names)] = total / count + i
