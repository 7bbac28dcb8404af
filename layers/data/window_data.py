"""WindowData: windows cut out of images, such as R-CNN trains on."""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...data.dataset import beginning_of, digest, some_of
from ...data.images import decode, entries, find_image, resize
from ...data.kinds import not_text, other_kind
from ...data.sources import find_file
from ...data.transform import Transform
from ...files.extras import extra
from ...files.reading import lines as lines_of
from ...net.blob import Known
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, format_shape
from .phases import BatchSize, ListSource

WHOLE, DECIMAL = r"([+-]?[0-9]{1,9})", r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
WINDOW = re.compile(rf"{WHOLE}\s+{DECIMAL}" + 4 * rf"\s+{WHOLE}", re.ASCII)
CACHED = 64  # images kept without cache_images: the windows of one image often follow each other


@dataclass(frozen=True)
class Window:
    """A rectangle of an image, its corners included, and what is in it."""

    image: int
    label: int
    overlap: float
    corners: tuple[int, int, int, int]  # x1 y1 x2 y2


def read_windows(path: Path) -> tuple[list[str], list[Window]]:
    """(image files, windows) of a window file. Raises NettrainError with the line that is wrong."""
    try:
        lines = [line.strip() for _, line in lines_of(path)]
    except (OSError, UnicodeDecodeError) as error:
        raise NettrainError(f"{path} is not a window file{not_text(path, error)}", key="source") from None
    files: list[str] = []
    windows: list[Window] = []
    at = 0

    def wrong(what: str) -> NettrainError:
        found = f"got `{lines[at][:200]}`" if at < len(lines) else "but the file ends"
        return NettrainError(f"{path}:{at + 1}: {what} is expected, {found}{other_kind(path, 'window')}", key="source")

    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        if not lines[at].startswith("#"):
            raise wrong("`# image_index`")
        at += 1
        if at + 5 > len(lines):
            at = len(lines)
            raise wrong("file, channels, height, width, number of windows, one per line,")
        files.append(lines[at])
        for _ in range(4):
            at += 1
            if not re.fullmatch("[0-9]{1,10}", lines[at]):
                raise wrong("an integer")
        count = int(lines[at])
        at += 1
        for _ in range(count):
            found = WINDOW.fullmatch(lines[at]) if at < len(lines) else None
            if not found:
                raise wrong("`class overlap x1 y1 x2 y2`")
            label, overlap, x1, y1, x2, y2 = found.groups()
            windows.append(Window(len(files) - 1, int(label), float(overlap), (int(x1), int(y1), int(x2), int(y2))))
            at += 1
    if not windows:
        raise NettrainError(f"{path} lists no windows", key="source")
    return files, windows


def one_image(folder: Path) -> None:
    """A small window file with its image."""
    library = extra("PIL.Image", "images", "WindowData")
    library.new("RGB", (8, 6), (10, 20, 30)).save(folder / "a.png")
    lines = ["# 0", "a.png", "3", "6", "8", "3", "1 0.9 1 1 4 4", "1 0.1 0 0 7 5", "2 0.2 3 2 6 5"]
    (folder / "windows.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@register
class WindowData(Layer):
    """Windows of images, some with an object in them and the rest background, warped to one size.

    top[0]: windows, N x 3 x S x S, S = transform.crop_size, channels blue, green, red.    top[1]: labels, N, 0 for
    background.
    Of a batch the last fg_fraction are drawn from the windows with overlap >= fg_threshold, the others from those with
    overlap < bg_threshold that are not foreground. A window is enlarged so that context_pad pixels of the result are
    its surroundings; what lies beyond the image is 0. In TRAIN with transform.mirror half of them are flipped.
    y = (pixel - transform.mean_value) * scale; of transform.mean_file the centre is subtracted instead.
    The source has, for each image: `# index`, file, channels, height, width, number of windows, and a line
    `class overlap x1 y1 x2 y2` for each window.
    Needs pillow: pip install "nettrain[images]".
    Errors: a source with a malformed line; foreground of class 0; no foreground or no background;
    an image that is missing or damaged (Caffe gives zeros); a window outside its image.
    Source: Caffe's WindowData.
    """

    class Parameters(Declared):
        source: ListSource = param(doc="the window file, or {train: …, test: …}")
        batch_size: BatchSize = param(doc="windows in a batch, or {train: …, test: …}")
        fg_threshold: float = param(default=0.5, doc="overlap at or above which a window is foreground")
        bg_threshold: float = param(default=0.5, doc="overlap below which a window is background")
        fg_fraction: float = param(default=0.25, minimum=0, maximum=1, doc="share of a batch that is foreground")
        context_pad: int = param(default=0, minimum=0, doc="pixels of surroundings on each side of the result")
        crop_mode: Literal["warp", "square"] = param(
            default="warp", doc="square: the window's longer side in both directions"
        )
        scale: float = param(default=1.0, doc="multiplies every value, after the mean is subtracted")
        cache_images: bool = param(default=False, doc="keep every image in memory")
        root_folder: str = param(default="", doc="prepended to every file name")
        transform: Transform = param(doc="crop_size, the side of the result; mean_value; mirror")

        aliases = {
            "window_data_param": "write its fields beside type",
            "transform_param": "transform",
            "crop_size": "write it as transform: {crop_size: …}",
            "mirror": "write it as transform: {mirror: true}",
        }

        def validate(self) -> Iterable[tuple[str, str]]:
            if not self.transform.crop_size:
                yield "transform", "needs crop_size, the side of the windows in the net"
            elif 2 * self.context_pad >= self.transform.crop_size:
                yield "context_pad", f"must leave room in crop_size {self.transform.crop_size}, got {self.context_pad}"
            yield from self.transform.unforced("windows are read in colour")
            if self.transform.scale != 1:
                yield "scale", "belongs beside type in WindowData, as in Caffe, not in transform"
            for key in self.transform.beyond_caffe:
                yield "transform", f"has no {key} for windows: crop_size, mirror, mean_value or mean_file"
            if len(self.transform.mean_value) not in (0, 1, 3):
                yield "transform", f"mean_value has 1 or 3 numbers, got {len(self.transform.mean_value)}"

    num_bottoms = 0
    num_tops = 2
    how_to_split = "give source: {train: FILE, test: ANOTHER}"
    no_gradient = "all"
    examples = (
        Example(
            params={"source": "windows.txt", "batch_size": 4, "context_pad": 1, "transform": {"crop_size": 5}},
            files=one_image,
        ),
    )

    def setup(self, bottom, top):
        p = self.p
        self.list = find_file(p.source.of(self.phase), self.folder)
        self.windows = p.batch_size.of(self.phase)  # in a batch
        self.files, windows = read_windows(self.list)
        self.reads = {str(self.list.resolve()): str(self.list)}
        self.foreground = [w for w in windows if w.overlap >= p.fg_threshold]
        self.background = [w for w in windows if w.overlap < min(p.bg_threshold, p.fg_threshold)]
        # of the foreground in a batch, as Caffe computes it: in float32
        self.count = int(np.float32(self.windows) * np.float32(p.fg_fraction))
        for w in self.foreground:
            if w.label <= 0:
                raise NettrainError(
                    f"{self.list}: window {' '.join(map(str, w.corners))} of {self.files[w.image]} has overlap "
                    f"{w.overlap:g}, so it is foreground; its class must be 1 or more, got {w.label}",
                    key="source",
                )
        for kind, found, wanted in (
            ("foreground", self.foreground, self.count),
            ("background", self.background, self.windows - self.count),
        ):
            if wanted and not found:
                raise NettrainError(f"{self.list} has no {kind} windows at these thresholds", key="source")
        labels = [w.label for w in self.foreground] * bool(self.count) + [0] * (self.windows > self.count)
        top[1].known = Known(np.array(labels), str(self.list))
        self.mean = p.transform.mean(self.folder, check=self._check_mean)
        if self.mean is not None:
            y, x = ((size - p.transform.crop_size) // 2 for size in self.mean.shape[1:])
            self.mean = self.mean[:, y : y + p.transform.crop_size, x : x + p.transform.crop_size]
        self.images: OrderedDict[int, np.ndarray] = OrderedDict()

    def _check_mean(self, shape):
        """Of a mean image the centre is taken, in the windows' size."""
        side = self.p.transform.crop_size
        if len(shape) != 3 or shape[0] != 3 or min(shape[1:]) < side:
            raise NettrainError(
                f"mean_file {self.p.transform.mean_file} holds {format_shape(shape)}; 3 x {side} x {side} or more "
                "is needed"
            )

    def reshape(self, bottom, top):
        side = self.p.transform.crop_size
        top[0].reshape((self.windows, 3, side, side))
        top[1].reshape((self.windows,))

    def fingerprint(self):
        """The window file, and some images, evenly spread: all may be too many to be read."""
        windows = [*self.foreground, *self.background]
        return {
            "windows": len(windows),
            "list": digest(repr(part).encode() for part in (self.files, windows)),
            "contents": digest(beginning_of(self.path(i)) for i in some_of(len(self.files))),
        }

    def entries(self):
        return entries(self.files, self.p.root_folder, self.list, self.folder)

    def examine(self, top):
        """Reads each image, and checks that its windows are inside it."""
        of_image = defaultdict(list)
        for window in [*self.foreground, *self.background]:
            of_image[window.image].append(window)
        done, total = 0, len(self.foreground) + len(self.background)
        for i, windows in sorted(of_image.items()):
            limits = decode(self.path(i), f"{self.list}: image {self.files[i]}").shape[1:]
            for window in windows:
                self.check_inside(window, limits)
            done += len(windows)
            yield done, total

    def path(self, i):
        return find_image(self.files[i], self.p.root_folder, self.list, self.folder)

    def image(self, i):
        if i not in self.images:
            self.images[i] = decode(self.path(i), f"{self.list}: image {self.files[i]}")
            if len(self.images) > CACHED and not self.p.cache_images:
                self.images.popitem(last=False)
        return self.images[i]

    def Forward_cpu(self, bottom, top):
        p, background = self.p, self.windows - self.count
        mirror = p.transform.mirror and self.phase == "TRAIN"
        values = np.array(p.transform.mean_value or [0.0]).reshape(-1, 1, 1)
        top[0].data.fill(0)
        for i in range(self.windows):
            windows = self.background if i < background else self.foreground
            window = windows[int(self.rng.integers(len(windows)))]
            flip = mirror and bool(self.rng.integers(2))
            pixels, (y, x) = self.crop(window, flip)
            _, height, width = pixels.shape
            place = np.s_[:, y : y + height, x : x + width]
            mean = self.mean[place] if self.mean is not None else values
            top[0].data[i][place] = (pixels - mean) * p.scale
            top[1].data[i] = 0 if i < background else window.label

    def check_inside(self, window, limits):
        """Raise NettrainError for a window that reaches beyond its image of H x W pixels."""
        x1, y1, x2, y2 = window.corners
        if not (0 <= x1 <= x2 < limits[1] and 0 <= y1 <= y2 < limits[0]):
            raise NettrainError(
                f"{self.list}: window {x1} {y1} {x2} {y2} is not inside {self.files[window.image]}, "
                f"{limits[1]} x {limits[0]} pixels",
                key="source",
            )

    def crop(self, window, flip):
        """A window's pixels as they stand in the result, and where they begin there (row, column)."""
        image, side, pad = self.image(window.image), self.p.transform.crop_size, self.p.context_pad
        limits = image.shape[1:]
        x1, y1, x2, y2 = window.corners
        self.check_inside(window, limits)
        spans, sizes, begins = [(y1, y2), (x1, x2)], [side, side], [0, 0]
        if pad or self.p.crop_mode == "square":
            # in single precision, as Caffe: half a pixel is then rounded the same way
            halves = [np.float32(last - first + 1) / np.float32(2) for first, last in spans]
            centres = [first + half for (first, _), half in zip(spans, halves, strict=True)]
            if self.p.crop_mode == "square":
                halves = [max(halves)] * 2
            enlarged = np.float32(side) / np.float32(side - 2 * pad)
            for axis in (0, 1):
                first = _rounded(centres[axis] - halves[axis] * enlarged)
                last = _rounded(centres[axis] + halves[axis] * enlarged)
                before, after = max(0, -first), max(0, last - limits[axis] + 1)
                per_pixel = np.float32(side) / np.float32(last - first + 1)
                spans[axis] = (first + before, last - after)
                sizes[axis] = _rounded((last - after - first - before + 1) * per_pixel)
                missing = after if flip and axis == 1 else before
                begins[axis] = _rounded(missing * per_pixel)
                sizes[axis] = max(1, min(sizes[axis], side - begins[axis]))
        (y1, y2), (x1, x2) = spans
        pixels = resize(image[:, y1 : y2 + 1, x1 : x2 + 1], (sizes[0], sizes[1]))
        return (pixels[:, :, ::-1] if flip else pixels), begins


def _rounded(value: float | np.floating) -> int:
    """To the nearest integer, halves away from zero."""
    return int(np.floor(abs(float(value)) + 0.5) * np.sign(value))
