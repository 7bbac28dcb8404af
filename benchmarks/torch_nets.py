"""The nets of the specs beside this file, in PyTorch; their modules stand in the order of the specs' layers."""

import torch
from torch import nn
from torch.nn import functional

# Caffe rounds the size of a pooled map up, and divides by what lies on the map


def maximum(kernel):
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


def average(kernel):
    return nn.AvgPool2d(kernel, 2, ceil_mode=True)


def relu():
    return nn.ReLU(inplace=True)


def lrn():
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def mlp():
    return nn.Sequential(nn.Linear(784, 512), relu(), nn.Linear(512, 256), relu(), nn.Linear(256, 10))


def lenet():
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), maximum(2)),
        *(nn.Conv2d(20, 50, 5), maximum(2)),
        *(nn.Flatten(), nn.Linear(800, 500), relu(), nn.Linear(500, 10)),
    )


def cifar10_quick():
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), maximum(3), relu()),
        *(nn.Conv2d(32, 32, 5, padding=2), relu(), average(3)),
        *(nn.Conv2d(32, 64, 5, padding=2), relu(), average(3)),
        *(nn.Flatten(), nn.Linear(1024, 64), nn.Linear(64, 10)),
    )


def alexnet():
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, stride=4), relu(), lrn(), maximum(3)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), relu(), lrn(), maximum(3)),
        *(nn.Conv2d(256, 384, 3, padding=1), relu()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), relu()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), relu(), maximum(3)),
        *(nn.Flatten(), nn.Linear(9216, 4096), relu(), nn.Dropout(0.5)),
        *(nn.Linear(4096, 4096), relu(), nn.Dropout(0.5), nn.Linear(4096, 1000)),
    )


class Lstm(nn.Module):
    """Two layers, and scores for every step as cross_entropy takes them; one bias for each layer, as in Caffe."""

    def __init__(self):
        super().__init__()
        self.lstm, self.ip = nn.LSTM(128, 256, 2), nn.Linear(256, 10)
        for i in range(2):
            nn.init.zeros_(getattr(self.lstm, f"bias_hh_l{i}")).requires_grad_(False)

    def forward(self, x):
        return self.ip(self.lstm(x)[0]).flatten(0, 1)


def convolution(inputs, outputs, kernel, stride=1, groups=1):
    """A convolution that keeps the size but for the stride, with batch normalization in place of a bias."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Block(nn.Module):
    """The basic block of ResNets; a projection where the size changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.long = nn.Sequential(
            *(convolution(inputs, outputs, 3, stride), relu()),
            convolution(outputs, outputs, 3),
        )
        self.short = convolution(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return functional.relu(self.long(x) + self.short(x), inplace=True)


def head(channels, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def blocks(widths, count):
    """So many blocks of each width; the first of each width but the first halves the size."""
    inputs = widths[0]
    for width in widths:
        for i in range(count):
            yield Block(inputs, width, 2 if i == 0 and width != widths[0] else 1)
            inputs = width


def resnet18():
    return nn.Sequential(
        *(convolution(3, 64, 7, 2), relu(), nn.MaxPool2d(3, 2, padding=1)),
        *blocks((64, 128, 256, 512), 2),
        head(512, 1000),
    )


def resnet20():
    return nn.Sequential(convolution(3, 16, 3), relu(), *blocks((16, 32, 64), 3), head(64, 10))


def vgg11():
    layers, inputs = [], 3
    for width in (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool"):
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), relu()]
            inputs = width
    return nn.Sequential(
        *(*layers, nn.Flatten()),
        *(nn.Linear(25088, 4096), relu(), nn.Dropout(0.5)),
        *(nn.Linear(4096, 4096), relu(), nn.Dropout(0.5), nn.Linear(4096, 1000)),
    )


class Fire(nn.Module):
    """Few channels, then many: those of 1 x 1 and those of 3 x 3 kernels."""

    def __init__(self, inputs, squeezed, expanded):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.one = nn.Conv2d(squeezed, expanded, 1)
        self.three = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x):
        x = functional.relu(self.squeeze(x), inplace=True)
        both = (functional.relu(expand(x), inplace=True) for expand in (self.one, self.three))
        return torch.cat(tuple(both), 1)


def squeezenet():
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, stride=2), relu(), maximum(3)),
        *(Fire(64, 16, 64), Fire(128, 16, 64), maximum(3)),
        *(Fire(128, 32, 128), Fire(256, 32, 128), maximum(3)),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
        *(nn.Dropout(0.5), nn.Conv2d(512, 1000, 1), relu(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def mobilenet():
    layers, inputs = [convolution(3, 32, 3, 2), relu()], 32
    for width in (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024):
        stride = 2 if width > max(inputs, 64) else 1
        layers += [convolution(inputs, inputs, 3, stride, groups=inputs), relu(), convolution(inputs, width, 1), relu()]
        inputs = width
    return nn.Sequential(*layers, head(1024, 1000))


def autoencoder():
    return nn.Sequential(
        *(nn.Linear(784, 1000), nn.Sigmoid(), nn.Linear(1000, 500), nn.Sigmoid(), nn.Linear(500, 250), nn.Sigmoid()),
        nn.Linear(250, 30),
        *(nn.Linear(30, 250), nn.Sigmoid(), nn.Linear(250, 500), nn.Sigmoid(), nn.Linear(500, 1000), nn.Sigmoid()),
        nn.Linear(1000, 784),
    )


def swap_gates(values):
    """From Caffe's order of an LSTM's gates, i f o g, to PyTorch's, i f g o, and back."""
    i, f, o, g = values.chunk(4)
    return torch.cat((i, f, g, o))


def learned(net):
    """What is learned, in the order of nettrain's parameters: (parameter, what turns nettrain's values into its)."""
    if not isinstance(net, Lstm):
        return [(parameter, lambda values: values) for parameter in net.parameters()]
    kinds = ("weight_ih", "bias_ih", "weight_hh")
    gates = [(getattr(net.lstm, f"{kind}_l{i}"), swap_gates) for i in range(2) for kind in kinds]
    return gates + learned(net.ip)


def loss(scores, x, label):
    """The specs' losses: cross entropy with the labels, or, without labels, of each value with the input's."""
    if label is None:
        return functional.binary_cross_entropy_with_logits(scores, x, reduction="sum") / len(x)
    return functional.cross_entropy(scores, label)


NETS = {
    "mlp64": mlp,
    "mlp256": mlp,
    "lenet": lenet,
    "cifar10_quick": cifar10_quick,
    "alexnet": alexnet,
    "lstm": Lstm,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "vgg11": vgg11,
    "squeezenet": squeezenet,
    "mobilenet": mobilenet,
    "autoencoder": autoencoder,
}
