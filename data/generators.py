"""Data sets made by formula, seeded: the same seed gives the same examples, train and test differ."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..net.fillers import stream
from ..spec.declare import Declared, param
from ..spec.errors import NettrainError
from .dataset import DataSet

MOST_VALUES = 10**8
SHAPES = {"randn": (10,), "gratings": (3, 32, 32)}  # of an example, when no shape is given


class Generate(Declared):
    """How many examples a generator makes, and of what kind."""

    examples: int = param(default=300, minimum=1, doc="examples in the train split")
    test_examples: int = param(default=300, minimum=0, doc="examples in the test split; 0: the training ones again")
    classes: int = param(default=3, minimum=1, doc="spiral, blobs, randn, gratings: number of classes")
    noise: float = param(default=0.2, minimum=0, doc="standard deviation of the noise")
    shape: tuple[int, ...] = param(
        default=(), minimum=1, doc="shape of an example; left out: 10 for randn, 3 x 32 x 32 for gratings"
    )
    outputs: int = param(default=0, minimum=0, doc="randn: numbers in a target; 0 gives class labels instead")
    seed: int = param(default=0, minimum=0, doc="seed of the examples")


Made = tuple[np.ndarray, np.ndarray]


def spiral(rng: np.random.Generator, count: int, options: Generate) -> Made:
    """K interleaved spiral arms in the plane (CS231n's toy set): radius 0..1, four radians of turn per arm."""
    labels = np.arange(count) % options.classes
    place = np.arange(count) // options.classes
    arm = max(1, -(-count // options.classes) - 1)
    radius = place / arm
    angle = 4 * labels + 4 * radius + rng.normal(0, options.noise, count)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1), labels


def moons(rng: np.random.Generator, count: int, options: Generate) -> Made:
    """Two half circles that interlock."""
    labels = np.arange(count) % 2
    angle = np.pi * rng.random(count)
    x = np.where(labels == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(labels == 0, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack([x, y], axis=1) + rng.normal(0, options.noise, (count, 2)), labels


def xor(rng: np.random.Generator, count: int, options: Generate) -> Made:
    """The four corners (±1, ±1); the label says whether the signs differ."""
    corner = np.arange(count) % 4
    points = np.stack([np.where(corner & 1, 1.0, -1.0), np.where(corner & 2, 1.0, -1.0)], axis=1)
    return points + rng.normal(0, options.noise, points.shape), (corner & 1) ^ (corner >> 1)


def blobs(rng: np.random.Generator, count: int, options: Generate) -> Made:
    """One round cloud per class, centres evenly on the unit circle."""
    labels = np.arange(count) % options.classes
    angle = 2 * np.pi * labels / options.classes
    centres = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centres + rng.normal(0, options.noise, (count, 2)), labels


def randn(rng: np.random.Generator, count: int, options: Generate) -> Made:
    """Normally distributed inputs; random labels, or normally distributed targets when ``outputs`` is set."""
    data = rng.standard_normal((count, *shape_of("randn", options)))
    if options.outputs:
        return data, rng.standard_normal((count, options.outputs))
    return data, rng.integers(0, options.classes, count)


def gratings(rng: np.random.Generator, count: int, options: Generate) -> Made:
    """Images C x H x W, each a sum of four waves of random direction, wavelength and colour, and a random label."""
    shape = shape_of("gratings", options)
    if len(shape) != 3:
        raise NettrainError("gratings are images: shape must be [channels, height, width]", key="generate")
    channels, height, width = shape
    data = rng.normal(0, options.noise, (count, *shape))
    data += rng.standard_normal((count, channels, 1, 1))
    y, x = np.arange(height)[:, None] / height, np.arange(width) / width
    for _ in range(4):
        cycles = rng.uniform(1, 16, (count, 1, 1))
        angle, phase = rng.uniform(0, 2 * np.pi, (2, count, 1, 1))
        wave = np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        data += rng.standard_normal((count, channels, 1, 1)) * wave[:, None]
    return data, rng.integers(0, options.classes, count)


def shape_of(name: str, options: Generate) -> tuple[int, ...]:
    """The shape of an example of a generator that makes any."""
    return options.shape or SHAPES.get(name, ())


GENERATORS: dict[str, Callable[[np.random.Generator, int, Generate], Made]] = {
    "spiral": spiral,
    "moons": moons,
    "xor": xor,
    "blobs": blobs,
    "randn": randn,
    "gratings": gratings,
}


def generate(name: str, options: Generate, split: str) -> DataSet:
    """The ``train`` or ``test`` split of a generated data set."""
    drawn = split if options.test_examples else "train"
    count = options.examples if drawn == "train" else options.test_examples
    values = count * max(math.prod(shape_of(name, options)), options.outputs) if name in SHAPES else count
    if values > MOST_VALUES:
        raise NettrainError(
            f"{name}: {values:,} values of generated data are more than {MOST_VALUES:,}", key="generate"
        )
    data, labels = GENERATORS[name](stream(options.seed, name, drawn), count, options)
    return DataSet(data, labels, name, split)
