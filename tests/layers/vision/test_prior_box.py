"""PriorBox: known boxes, one box at a time, and what comes from the image, from its size and from a step."""

import math

import numpy as np
import pytest
from helpers import layer_net


def boxes(places, image=None, **params):
    """Boxes as H x W x P x 4, and the variances."""
    shapes = [(1, 2, *places)] + ([(1, 3, *image)] if image else [])
    net = layer_net("PriorBox", *shapes, **params)
    ends, variances = net.forward()["y"][0].reshape(2, *places, -1, 4)
    return ends, variances


def test_known_boxes():
    """Of 10 x 10 places in an image of 100 x 100, as in SSD's own test."""
    ends, variances = boxes((10, 10), (100, 100), min_size=4, max_size=9)
    assert ends.shape == (10, 10, 2, 4)
    np.testing.assert_allclose(ends[0, 0], [[0.03, 0.03, 0.07, 0.07], [0.02, 0.02, 0.08, 0.08]], rtol=1e-12)
    np.testing.assert_allclose(ends[4, 4, 0], [0.43, 0.43, 0.47, 0.47], rtol=1e-12)
    np.testing.assert_allclose(ends[4, 9, 1], [0.92, 0.42, 0.98, 0.48], rtol=1e-12)
    np.testing.assert_array_equal(variances, np.full(ends.shape, 0.1))


def test_ratios_come_both_ways_and_once():
    ends, _ = boxes((1, 1), (10, 10), min_size=4, aspect_ratio=[2, 0.5, 1, 2], step=10)
    sizes = 10 * (ends[0, 0, :, 2:] - ends[0, 0, :, :2])
    np.testing.assert_allclose(sizes, [[4, 4], [32**0.5, 8**0.5], [8**0.5, 32**0.5]], rtol=1e-12)
    ends, _ = boxes((1, 1), (10, 10), min_size=4, aspect_ratio=[2, 0.5], flip=False)
    assert ends.shape[2] == 3
    ends, _ = boxes((1, 1), (10, 10), min_size=[3, 5], max_size=[4, 9], aspect_ratio=[3])
    widths = 10 * (ends[0, 0, :, 2] - ends[0, 0, :, 0])
    np.testing.assert_allclose(widths, [3, 12**0.5, 27**0.5, 3**0.5, 5, 45**0.5, 75**0.5, (25 / 3) ** 0.5], rtol=1e-12)


def test_one_box_at_a_time():
    rng = np.random.default_rng(8)
    for _ in range(40):
        places, image = ([int(n) for n in rng.integers(1, hi, 2)] for hi in (6, 90))
        sizes = [float(s) for s in rng.uniform(1, 40, rng.integers(1, 4))]
        larger = [s + 2.5 for s in sizes] if rng.random() < 0.5 else []
        ratios = [float(a) for a in rng.choice([1, 2, 3, 0.25], rng.integers(0, 3), replace=False)]
        flip, clip, offset = bool(rng.integers(2)), bool(rng.integers(2)), float(rng.choice([0, 0.5]))
        params = {"min_size": sizes, "max_size": larger, "aspect_ratio": ratios} | {"flip": flip, "clip": clip}
        step = (image[0] / places[0], image[1] / places[1])
        if rng.random() < 0.5:
            step = (4.0, 7.0)
            params |= {"step_h": step[0], "step_w": step[1]}
        ends, _ = boxes(places, image, offset=offset, **params)
        expected = []
        for i, j in np.ndindex(*places):
            x, y = (j + offset) * step[1], (i + offset) * step[0]
            for k, size in enumerate(sizes):
                shapes = [(int(size), int(size))]
                if larger:
                    shapes.append((math.sqrt(int(size) * int(larger[k])),) * 2)
                for ratio in ratios:
                    for a in ([ratio, 1 / ratio] if flip else [ratio]) if ratio != 1 else []:
                        shapes.append((int(size) * math.sqrt(a), int(size) / math.sqrt(a)))
                for w, h in shapes:
                    box = [
                        (x - w / 2) / image[1],
                        (y - h / 2) / image[0],
                        (x + w / 2) / image[1],
                        (y + h / 2) / image[0],
                    ]
                    expected.append([min(max(end, 0), 1) for end in box] if clip else box)
        np.testing.assert_allclose(ends.reshape(-1, 4), expected, rtol=1e-10, atol=1e-12)


def test_an_image_is_given_by_its_size_too():
    given, _ = boxes((2, 3), (20, 30), min_size=5)
    for params in ({"img_h": 20, "img_w": 30}, {"img_h": 20, "img_w": 30, "step": 10}):
        np.testing.assert_allclose(boxes((2, 3), min_size=5, **params)[0], given, rtol=1e-12)
    square, _ = boxes((2, 2), (8, 8), min_size=5)
    np.testing.assert_array_equal(boxes((2, 2), (99, 7), min_size=5, img_size=8)[0], square)


def test_variances_are_one_for_all_or_one_for_each_end():
    _, variances = boxes((2, 1), (20, 30), min_size=5, variance=[0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(variances.reshape(2, 4), [[0.1, 0.2, 0.3, 0.4]] * 2)


@pytest.mark.parametrize("size", [(3, 4), (5, 2)])
def test_boxes_follow_the_map(size):
    net = layer_net("PriorBox", (1, 1, 2, 2), inputs="x", min_size=5, img_size=40)
    y = net.forward(x=np.zeros((2, 1, *size)))["y"]
    np.testing.assert_array_equal(y[0, 0], boxes(size, (40, 40), min_size=5)[0].ravel())
