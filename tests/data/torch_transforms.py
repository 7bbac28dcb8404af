"""Makes torch_transforms.json: what PyTorch's own functions give for some pictures. It needs torch."""

import json
import math
from pathlib import Path

import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

x = (torch.arange(2 * 3 * 6 * 5).reshape(2, 3, 6, 5) * 37 % 101 / 100).double()


def plain(values):
    return [[[[round(v, 8) for v in row] for row in channel] for channel in image] for image in values.tolist()]


def smooth(images, size):
    return interpolate(images, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)


def rotate(image, degrees, padding):
    """grid_sample in pixels: the grid's units are made those of pixels, so that nothing is sheared."""
    a, (height, width) = math.radians(degrees), image.shape[1:]
    theta = [
        [math.cos(a), -math.sin(a) * height / width, 0.0],
        [math.sin(a) * width / height, math.cos(a), 0.0],
    ]
    grid = affine_grid(torch.tensor([theta]).double(), [1, *image.shape], align_corners=False)
    return grid_sample(image[None], grid, mode="bilinear", padding_mode=padding, align_corners=False)[0]


def grey(image):
    r, g, b = image
    return (0.2989 * r + 0.587 * g + 0.114 * b)[None]


def blend(one, other, ratio):
    return (ratio * one + (1.0 - ratio) * other).clamp(0, 1)


def jitter(image, brightness, contrast, saturation):
    image = blend(image, torch.zeros_like(image), brightness)
    image = blend(image, grey(image).mean(), contrast)
    return blend(image, grey(image), saturation)


boxes = [[1, 0, 4, 5], [0, 2, 6, 2]]
factors = {"brightness": [1.3, 0.6], "contrast": [0.5, 1.7], "saturation": [1.9, 0.2]}
degrees = [25.0, -140.0]
made = {
    "resize": [{"size": s, "values": plain(smooth(x, s))} for s in ([9, 12], [3, 2], [4, 8], [6, 5])],
    "resized_crop": {
        "boxes": boxes,
        "size": [3, 4],
        "values": plain(
            torch.cat([smooth(x[i : i + 1, :, t : t + h, c : c + w], [3, 4]) for i, (t, c, h, w) in enumerate(boxes)])
        ),
    },
    "rotate": [
        {
            "fill": fill,
            "degrees": degrees,
            "values": plain(torch.stack([rotate(x[i], d, padding) for i, d in enumerate(degrees)])),
        }
        for fill, padding in (("zeros", "zeros"), ("edge", "border"))
    ],
    "jitter": factors
    | {"values": plain(torch.stack([jitter(x[i], *(values[i] for values in factors.values())) for i in range(2)]))},
}
Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
