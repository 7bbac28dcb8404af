"""Training on files of pictures: beside the same pixels in memory, and with and without reading ahead.

    python benchmarks/pictures.py
    python benchmarks/pictures.py --small 5000 --rounds 1

Small pictures (32 x 32 PNG) are trained on from a folder and from an .npz, three epochs each: the start and the first
epoch read files, later ones should cost the same. Photographs (1.5 million pixels, JPEG), of which none is kept, are
read with `prefetch` 0 and 2. Besides the time on the clock there is that of the processor, of all threads and of the
one that trains: where others use the machine too these two say more.
"""

import argparse
import tempfile
import time
from pathlib import Path

from side_by_side import positive

NET = """
solver: {{base_lr: 0.001, momentum: 0.9, max_iter: 1000000}}
layers:
  - {{name: data, type: Data, top: [data, label], split: 0, batch_size: {batch}, source: {source}, {keys}}}
  - {{name: conv1, type: Convolution, bottom: data, num_output: 16, kernel_size: 5, stride: {stride}}}
  - {{name: relu1, type: ReLU, top: conv1}}
  - {{name: pool1, type: Pooling, pool: MAX, kernel_size: 2, stride: 2}}
  - {{name: ip, type: InnerProduct, num_output: 10}}
  - {{name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}}
"""
AUGMENT = "{crop_size: 224, mirror: true, scale: 0.0039, jitter: {brightness: 0.2, contrast: 0.2, saturation: 0.2}}"
SMALL, PHOTOS, BATCH = "cache_mb: 1000, transform: {scale: 0.0039}", 96, 24
KINDS = {"brought to 256 x 320": "size: [256, 320], ", "cut from the whole": ""}


def write_pictures(folder, count, side, ending, **options):
    """``count`` pictures in ten classes; their pixels N x 3 x H x W, blue, green, red, and their classes."""
    import numpy as np
    from PIL import Image

    rng, all_pixels = np.random.default_rng(0), []
    for i in range(count):
        (folder / f"{i * 10 // count}").mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (side[0] // 4, side[1] // 4, 3), dtype=np.uint8))
        image = coarse.resize(side[::-1], Image.Resampling.BILINEAR)
        image.save(folder / f"{i * 10 // count}" / f"{i:06d}.{ending}", **options)
        if ending == "png":
            all_pixels.append(np.asarray(image).transpose(2, 0, 1)[::-1])
    return all_pixels, np.arange(count) * 10 // count


def clocks():
    import numpy as np

    return np.array([time.perf_counter(), time.process_time(), time.thread_time()])


def shown(title, seconds):
    wall, processor, thread = seconds * 1e3
    print(f"{title:44} {wall:9.1f} ms {processor:9.1f} ms of processors {thread:9.1f} ms of the thread that trains")


def small(folder, count, rounds):
    import nettrain
    import numpy as np

    pixels, labels = write_pictures(folder / "small", count, (32, 32), "png", compress_level=1)
    np.savez(folder / "small.npz", data=np.stack(pixels), label=labels)
    for _ in range(rounds):
        for source in ("small.npz", "small"):
            keys = SMALL if source == "small" else SMALL.partition(", ")[2]
            spec = folder / "net.yaml"
            spec.write_text(NET.format(batch=64, source=source, keys=keys, stride=2), encoding="utf-8")
            start, steps = clocks(), -(-count // 64)
            solver = nettrain.get_solver(str(spec))
            shown(f"{source}: start", clocks() - start)
            for epoch in range(3):
                start = clocks()
                solver.step(steps)
                shown(f"{source}: a step in epoch {epoch + 1}", (clocks() - start) / steps)


def photographs(folder, rounds):
    import nettrain
    import numpy as np

    write_pictures(folder / "photos", PHOTOS, (1072, 1400), "jpg", quality=88)
    for _ in range(rounds):
        for title, size in KINDS.items():
            for prefetch in (0, 2):
                keys = f"{size}cache_mb: 0, prefetch: {prefetch}, transform: {AUGMENT}"
                spec = folder / "net.yaml"
                spec.write_text(NET.format(batch=BATCH, source="photos", keys=keys, stride=4), encoding="utf-8")
                solver = nettrain.get_solver(str(spec))
                solver.step(4)
                times = []
                for _ in range(8):
                    start = clocks()
                    solver.step(1)
                    times.append(clocks() - start)
                shown(f"photographs {title}, prefetch {prefetch}", np.median(times, axis=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=positive, default=50_000, metavar="N", help="how many small pictures")
    parser.add_argument("--rounds", type=positive, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        photographs(Path(name), options.rounds)
        small(Path(name), options.small, options.rounds)


if __name__ == "__main__":
    main()
