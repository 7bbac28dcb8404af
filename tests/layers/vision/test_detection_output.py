"""DetectionOutput: known values, one pair of boxes at a time, and boxes without a size."""

import math

import numpy as np
import pytest
from helpers import layer_net

# four boxes in a row; the second overlaps the first by a third, the third is nearly the second
BOXES = [[0, 0, 0.4, 0.4], [0.2, 0, 0.6, 0.4], [0.21, 0, 0.61, 0.4], [0.7, 0.7, 0.9, 0.9]]


def found(scores, priors=BOXES, offsets=None, variances=0.1, **params):
    """The rows for images of these scores, N x P x classes."""
    scores, priors = np.array(scores, float), np.array(priors, float)
    N, P, C = scores.shape
    offsets = np.zeros((N, P * 4)) if offsets is None else np.reshape(offsets, (N, -1))
    given = {"x0": offsets, "x1": scores.reshape(N, -1), "x2": [[priors.ravel(), np.broadcast_to(variances, P * 4)]]}
    net = layer_net("DetectionOutput", offsets.shape, (N, P * C), (1, 2, 4 * P), num_classes=C, **params)
    return net.forward(**given)["y"][0, 0]


def test_of_overlapping_boxes_the_surest_is_left():
    scores = [[[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1]]]
    rows = found(scores, confidence_threshold=0.05, nms_threshold=0.45)
    np.testing.assert_allclose(rows[:, :3], [[0, 1, 0.9], [0, 1, 0.8], [0, 1, 0.1]])
    np.testing.assert_allclose(rows[:, 3:], [BOXES[0], BOXES[1], BOXES[3]])
    assert len(found(scores, confidence_threshold=0.05)) == 2  # an overlap of 1/3 is more than 0.3
    assert len(found(scores, nms_threshold=1)) == 4
    assert len(found(scores, confidence_threshold=0.1, nms_threshold=0.45)) == 2  # 0.1 is not above 0.1
    assert len(found(scores, top_k=1)) == 1
    both = found(scores, background_label_id=-1, nms_threshold=0.45)
    assert both[:, 1].tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(both[:, 2], [0.9, 0.3, 0.1, 0.9, 0.8, 0.1])


def test_of_all_classes_the_surest_are_left_in_order():
    scores = [[[0, 0.5, 0.9], [0, 0.4, 0.1], [0, 0.1, 0.1], [0, 0.8, 0.7]]]
    rows = found(scores, keep_top_k=3, nms_threshold=0.2)
    np.testing.assert_allclose(rows[:, :3], [[0, 1, 0.8], [0, 2, 0.9], [0, 2, 0.7]])


def test_nothing_found_is_a_row_for_each_image():
    scores = np.full((2, 4, 2), 0.5)
    rows = found(scores, confidence_threshold=0.6)
    assert rows.tolist() == [[0, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1]]
    scores[1, 3, 1] = 0.7
    assert found(scores, confidence_threshold=0.6)[:, :2].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("CORNER", [0.2 + 0.1, 0.4 + 0.4, 0.6 + 0.9, 0.6 + 1.6]),
        ("CORNER_SIZE", [0.2 + 0.04, 0.4 + 0.08, 0.6 + 0.36, 0.6 + 0.32]),
        (
            "CENTER_SIZE",
            [
                0.44 - 0.2 * math.exp(0.9),
                0.58 - 0.1 * math.exp(1.6),
                0.44 + 0.2 * math.exp(0.9),
                0.58 + 0.1 * math.exp(1.6),
            ],
        ),
    ],
)
def test_offsets(code, expected):
    prior, offsets, variances = [[0.2, 0.4, 0.6, 0.6]], [1, 2, 3, 4], np.array([0.1, 0.2, 0.3, 0.4])
    rows = found([[[0, 1]]], prior, offsets, variances, code_type=code)
    np.testing.assert_allclose(rows[0, 3:], expected, rtol=1e-12)
    rows = found([[[0, 1]]], prior, offsets * variances, 7, code_type=code, variance_encoded_in_target=True)
    np.testing.assert_allclose(rows[0, 3:], expected, rtol=1e-12)


def overlap(a, b):
    wide, high = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - wide * high)


def slowly(boxes, scores, background, threshold, nms, top_k, eta, keep):
    """One image: boxes P x classes x 4, scores P x classes. Every box against every one that was taken."""
    rows = []
    for c in range(scores.shape[1]):
        if c == background:
            continue
        order = sorted((p for p in range(len(scores)) if scores[p, c] > threshold), key=lambda p: -scores[p, c])
        taken, most = [], nms
        for p in order[: top_k if top_k >= 0 else None]:
            if all(overlap(boxes[p, c], boxes[q, c]) <= most for q in taken):
                taken.append(p)
                most *= eta if most > 0.5 else 1
        rows += [[c, scores[p, c], *boxes[p, c]] for p in taken]
    if -1 < keep < len(rows):
        least = sorted((row[1] for row in rows), reverse=True)[keep]
        rows = [row for row in rows if row[1] > least]
    return rows


def test_every_box_against_every_other():
    rng = np.random.default_rng(4)
    lengths = set()
    for _ in range(60):
        N, P, C, shared = *(int(n) for n in rng.integers(1, (3, 30, 5))), bool(rng.integers(2))
        corner = rng.uniform(0, 0.5, (P, 2))
        priors = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, (P, 2))], 1)
        offsets, scores = rng.uniform(-0.5, 0.5, (N, P, 1 if shared else C, 4)), rng.random((N, P, C))
        background, top_k, keep = (int(rng.integers(-1, n)) for n in (C, 15, 12))
        nms, eta, threshold = float(rng.uniform(0, 0.9)), float(rng.choice([1, 0.8])), float(rng.choice([0, 0.5]))
        params = {"background_label_id": background, "top_k": top_k, "keep_top_k": keep, "nms_threshold": nms}
        params |= {"eta": eta, "confidence_threshold": threshold, "share_location": shared}
        rows = found(scores, priors, offsets, **params)
        boxes = np.broadcast_to(priors[:, None] + 0.1 * offsets, (N, P, C, 4))
        expected = [
            [n, *row]
            for n in range(N)
            for row in slowly(boxes[n], scores[n], background, threshold, nms, top_k, eta, keep)
        ]
        lengths.add(len(expected))
        np.testing.assert_allclose(rows, expected or [[n, *[-1] * 6] for n in range(N)], rtol=1e-12)
    assert len(lengths) > 15


def test_boxes_without_a_size_and_scores_that_are_no_numbers():
    thin = [[0.5, 0.5, 0.5, 0.5], [0.4, 0.4, 0.6, 0.6]]
    assert len(found([[[0, 0.5], [0, np.nan]]], thin)) == 1
    assert len(found([[[0, 0.5], [0, 0.4]]], thin)) == 2
    rows = found([[[0, 0.5], [0, 0.4]]], thin, offsets=np.ones(8), code_type="CENTER_SIZE")
    np.testing.assert_allclose(rows[0, 3:], thin[0], rtol=1e-12)


@pytest.mark.parametrize("value", [1000, -1000])
def test_extreme_offsets(value):
    rows = found([[[0, 0.5]] * 4], offsets=np.full((1, 16), value), code_type="CENTER_SIZE", nms_threshold=0)
    assert len(rows) >= 1
    assert not np.isnan(rows).any()
