"""Make the fixtures beside this file, with PyTorch: state dicts, what went in, and what came out.

    python tests/interop/torch_names/make.py

One .npz for each case: ``state/NAME`` as state_dict has it, ``in`` and ``out``. Needs torch; the tests do not.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent


def save(name, module, x, forward=lambda module, x: module(x)):
    module.eval()
    with torch.no_grad():
        y = forward(module, x)
    state = {f"state/{key}": value.numpy() for key, value in module.state_dict().items()}
    np.savez_compressed(HERE / f"{name}.npz", **state, **{"in": x.numpy(), "out": y.numpy()})


def trained(module, *shape):
    """With statistics of a few batches."""
    module.train()
    for _ in range(3):
        module(torch.randn(*shape) * 2 + 1)
    return module


torch.manual_seed(0)


class Named(nn.Sequential):
    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


cnn = Named(
    conv1=nn.Conv2d(3, 4, 3, padding=1, groups=1),
    bn1=nn.BatchNorm2d(4),
    relu1=nn.PReLU(4),
    up1=nn.ConvTranspose2d(4, 2, 2, stride=2),
    bn2=nn.BatchNorm2d(2, affine=False),
    flat=nn.Flatten(),
    ip1=nn.Linear(72, 5),
)
with torch.no_grad():
    cnn.bn1.weight.uniform_(0.5, 2)
    cnn.bn1.bias.normal_()
save("cnn", trained(cnn, 4, 3, 3, 3), torch.randn(2, 3, 3, 3))
for kind in ("LSTM", "GRU"):
    for bias in (True, False):
        module = Named(rnn1=getattr(nn, kind)(3, 4, bias=bias))
        save(f"{kind.lower()}{'' if bias else '_no_bias'}", module, torch.randn(5, 2, 3), lambda m, x: m.rnn1(x)[0])
