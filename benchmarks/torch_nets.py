"""The nets of the specs beside this file, in PyTorch."""

from torch import nn

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
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias_hh"):
                nn.init.zeros_(parameter).requires_grad_(False)

    def forward(self, x):
        return self.ip(self.lstm(x)[0]).flatten(0, 1)


NETS = {"mlp64": mlp, "mlp256": mlp, "lenet": lenet, "cifar10_quick": cifar10_quick, "alexnet": alexnet, "lstm": Lstm}
