"""DetectionOutput: what a detector has found, of overlapping boxes the surest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


def surest(rng, shape):
    """Values for an Example: scores from 0 to 1."""
    return rng.random(shape)


def unit_boxes(rng, shape):
    """Values for an Example: boxes inside the image, and variances."""
    corner, size = rng.uniform(0, 0.6, (2, shape[2] // 4, 2))
    boxes = np.concatenate([corner, corner + 0.1 + size / 2], axis=1)
    return np.stack([boxes.ravel(), np.full(shape[2], 0.1)])[None]


@register
class DetectionOutput(Layer):
    """A row for each object that was found: number of the image, class, score, and the ends of its box.

    bottom[0]: N x (P·4), offsets of the boxes, or N x (P·classes·4) without ``share_location``.
    bottom[1]: N x (P·num_classes), scores.    bottom[2]: 1 x 2 x P·4, boxes and variances v, as PriorBox gives them.
    top[0]: 1 x 1 x K x 7: n, class, score, left, upper, right, lower; K is known in forward only. Image after image,
    in each by class, in each from the surest on. Where nothing is found, a row n, -1, … for each image.
    A box of ends e, centre c and size s is moved by its offsets o. CORNER: e + v o; CORNER_SIZE: e + v o s;
    CENTER_SIZE: centre c + v o s and size s exp(v o), the offsets being those of the centre, then those of the size.
    v is 1 with ``variance_encoded_in_target``.
    For each class but the background, the top_k boxes with scores above the threshold come in turn, the surest first.
    One is left out if its overlap (intersection / union) with one that was taken is more than nms_threshold, which is
    multiplied by ``eta`` after each box taken, while it is above a half. Of all classes the keep_top_k surest are left.
    Errors: numbers of boxes that differ.
    Source: SSD's DetectionOutput (Liu et al. 2016), without its files and pictures.
    """

    class Parameters(Declared):
        num_classes: int = param(minimum=1, doc="classes, with the background")
        share_location: bool = param(default=True, doc="whether all classes have the same boxes")
        background_label_id: int = param(default=0, minimum=-1, doc="the class that is no object; -1: there is none")
        code_type: Literal["CORNER", "CENTER_SIZE", "CORNER_SIZE"] = param(
            default="CORNER", doc="what the offsets move, and by what measure"
        )
        variance_encoded_in_target: bool = param(default=False, doc="whether offsets are used without the variances")
        confidence_threshold: float | None = param(
            default=None, minimum=-1e30, maximum=1e30, doc="scores up to it are nothing; left out: all count"
        )
        nms_threshold: float = param(default=0.3, minimum=0, doc="the largest overlap of two boxes of a class")
        top_k: int = param(default=-1, minimum=-1, doc="boxes of a class that are looked at; -1: all")
        eta: float = param(default=1.0, above=0, maximum=1, doc="what nms_threshold is multiplied by after each box")
        keep_top_k: int = param(default=-1, minimum=-1, doc="objects of an image; -1: all")

        aliases = {
            "detection_output_param": "write its fields beside type",
            "nms_param": "write its fields beside type",
            "save_output_param": "nettrain writes no files of detections; a Python program has them in the top",
        }

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.background_label_id >= self.num_classes:
                yield (
                    "background_label_id",
                    f"must be below num_classes {self.num_classes}, got {self.background_label_id}",
                )

    num_bottoms = 3
    no_gradient = "all"
    shapes_follow_values = True
    examples = (
        Example([(2, 12), (2, 9), (1, 2, 12)], {"num_classes": 3}, {1: surest, 2: unit_boxes}),
        Example(
            [(2, 24), (2, 6), (1, 2, 12)],
            {"num_classes": 2, "share_location": False, "code_type": "CENTER_SIZE", "keep_top_k": 2, "eta": 0.9},
            {1: surest, 2: unit_boxes},
        ),
        Example(
            [(1, 8), (1, 4), (1, 2, 8)],
            {"num_classes": 2, "code_type": "CORNER_SIZE", "confidence_threshold": 2, "top_k": 1},
            {1: surest, 2: unit_boxes},
        ),
    )

    def reshape(self, bottom, top):
        offsets, scores, priors = (blob.shape for blob in bottom)
        if len(priors) != 3 or priors[:2] != (1, 2) or priors[2] % 4:
            raise ShapeError(f"the boxes must be 1 x 2 x P·4, as PriorBox gives them, got {format_shape(priors)}")
        self.P, self.L = priors[2] // 4, 1 if self.p.share_location else self.p.num_classes
        for what, shape, size in (
            ("offsets", offsets, self.P * self.L * 4),
            ("scores", scores, self.P * self.p.num_classes),
        ):
            if not shape or shape[0] != offsets[0] or np.prod(shape[1:], dtype=int) != size:
                raise ShapeError(f"{self.P} boxes need {what} of N x {size}, got {format_shape(shape)}")
        most = self.P * self.p.num_classes
        if self.p.keep_top_k >= 0:
            most = max(1, min(most, self.p.keep_top_k))
        top[0].reshape((1, 1, offsets[0] * most, 7))

    def Forward_cpu(self, bottom, top):
        N = bottom[0].shape[0]
        offsets = bottom[0].data.reshape(N, self.P, self.L, 4)
        scores = bottom[1].data.reshape(N, self.P, self.p.num_classes)
        priors, variances = bottom[2].data.reshape(2, self.P, 1, 4)
        rows = [row for n in range(N) for row in self.found(n, self.moved(priors, variances, offsets[n]), scores[n])]
        if not rows:
            rows = [(n, *[-1] * 6) for n in range(N)]
        top[0].reshape((1, 1, len(rows), 7))
        top[0].data[0, 0] = np.array(rows).reshape(len(rows), 7)

    def moved(self, priors, variances, offsets):
        """The boxes of one image, P x classes or 1 x 4."""
        if not self.p.variance_encoded_in_target:
            offsets = offsets * variances
        if self.p.code_type == "CORNER":
            return priors + offsets
        sizes = priors[..., 2:] - priors[..., :2]
        if self.p.code_type == "CORNER_SIZE":
            return priors + offsets * np.concatenate([sizes, sizes], axis=-1)
        centres = (priors[..., :2] + priors[..., 2:]) / 2 + offsets[..., :2] * sizes
        with np.errstate(over="ignore"):  # a box beyond everything
            half = np.exp(offsets[..., 2:]) * sizes / 2
        return np.concatenate([centres - half, centres + half], axis=-1)

    def found(self, n, boxes, scores):
        """The rows of one image."""
        rows = []
        for c in range(self.p.num_classes):
            if c != self.p.background_label_id:
                own = boxes[:, c if self.L > 1 else 0]
                rows += [(n, c, scores[i, c], *own[i]) for i in self.taken(own, scores[:, c])]
        if -1 < self.p.keep_top_k < len(rows):
            rows = sorted(sorted(rows, key=lambda row: -row[2])[: self.p.keep_top_k], key=lambda row: row[1])
        return rows

    def taken(self, boxes, scores):
        """Of one class which boxes are left, the surest first."""
        threshold = -np.inf if self.p.confidence_threshold is None else self.p.confidence_threshold
        order = np.flatnonzero(scores > threshold)
        order = order[np.argsort(-scores[order], kind="stable")]
        if self.p.top_k >= 0:
            order = order[: self.p.top_k]
        boxes, most = boxes[order], np.zeros(len(order))
        overlap, left = self.p.nms_threshold, []
        for i in range(len(order)):
            if most[i] > overlap:
                continue
            left.append(order[i])
            np.maximum(most[i + 1 :], overlaps(boxes[i], boxes[i + 1 :]), out=most[i + 1 :])
            if overlap > 0.5:
                overlap *= self.p.eta
        return left


def overlaps(box, others):
    """Intersection / union of a box with each of the others; 0 where they do not overlap."""
    with np.errstate(invalid="ignore", over="ignore"):
        sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
        shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0)
        areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
        return np.divide(shared, areas - shared, out=np.zeros(len(others)), where=shared > 0)
