"""An epoch of ResNet-20 on images of CIFAR's size, padded by 4, cropped to 32 and flipped, beside PyTorch.

    python benchmarks/epoch.py
    python benchmarks/epoch.py --images 49920 --rounds 1 --torch-python ~/torch/bin/python

nettrain trains from a file with its own data layer. PyTorch has the images in memory and cuts all crops of a batch with
one index, which is its fastest way on a CPU (a DataLoader copies them one by one); weights and batches are
channels_last.
"""

import argparse
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from statistics import median

from growth import one_run
from side_by_side import positive
from zoo import Server, serve

BATCH, SIZE, PAD = 128, 32, 4
RATES = {"base_lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}
CASES = [BATCH * 4, BATCH * 100, BATCH * 390]  # images; the last is an epoch of CIFAR-10


def images_of(count):
    """Noise of three channels, uint8, and ten classes."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8), rng.integers(0, 10, count)


def nettrain_side(count, threads):
    import nettrain
    import numpy as np
    import yaml
    from nettrain.compute.parallel import use_threads

    use_threads(threads)
    images, labels = images_of(count)
    file = Path(tempfile.mkdtemp()) / "images.npz"
    np.savez(file, X=np.pad(images, ((0, 0), (0, 0), (PAD, PAD), (PAD, PAD))), y=labels)
    spec = yaml.safe_load(Path(__file__).with_name("resnet20.yaml").read_text())
    transform = {"crop_size": SIZE, "mirror": True, "scale": 1 / 255}
    data = {"name": "data", "type": "Data", "top": ["data", "label"], "source": str(file), "batch_size": BATCH}
    spec["layers"][0] = data | {"transform": transform}
    spec["solver"] = RATES | {"max_iter": 10**6}
    solver = nettrain.get_solver(spec)
    return lambda: solver.step(count // BATCH)


def torch_side(count, threads):
    import numpy as np
    import torch
    from torch_nets import NETS

    torch.set_num_threads(threads)
    images, labels = images_of(count)
    images = torch.from_numpy(np.pad(images, ((0, 0), (0, 0), (PAD, PAD), (PAD, PAD))).transpose(0, 2, 3, 1).copy())
    labels = torch.from_numpy(labels)
    net = NETS["resnet20"]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        net.parameters(), RATES["base_lr"], momentum=RATES["momentum"], weight_decay=RATES["weight_decay"]
    )
    places = torch.arange(SIZE)

    def epoch():
        for chosen in torch.randperm(count).split(BATCH):
            top, left = torch.randint(0, 2 * PAD + 1, (2, len(chosen), 1))
            columns = torch.where(torch.rand(len(chosen), 1) < 0.5, places, places.flip(0)) + left
            x = images[chosen[:, None, None], (top + places)[:, :, None], columns[:, None, :]]
            x = x.permute(0, 3, 1, 2).float().mul_(1 / 255)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), labels[chosen]).backward()
            optimizer.step()

    return epoch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--images", type=int, default=CASES[1], choices=CASES, help="of an epoch; default 12,800")
    parser.add_argument("--rounds", type=positive, default=3, help="epochs of each side; default 3")
    parser.add_argument("--threads", type=positive, default=cores, help="of both sides; default all cores")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH", help="interpreter that has torch")
    parser.add_argument("--side", choices=["nettrain", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        with one_run() if options.side == "nettrain" else nullcontext():
            serve(options.threads, CASES, {"nettrain": nettrain_side, "torch": torch_side}[options.side])
        return
    sides = [
        Server(__file__, sys.executable, "nettrain", options.threads),
        Server(__file__, options.torch_python, "torch", options.threads),
    ]
    with sides[0], sides[1]:
        for side in sides:
            side.take(CASES.index(options.images))
        turns = [[side.turn() for side in sides] for _ in range(options.rounds)]
    mine, theirs = (median(column) for column in zip(*turns, strict=True))
    ratio = median(first / second for first, second in turns)
    print(f"{options.images:,} images, seconds: nettrain {mine:.1f}, PyTorch {theirs:.1f}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
