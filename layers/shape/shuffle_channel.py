"""ShuffleChannel: the channels of all groups in turn."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import by_example
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class ShuffleChannel(Layer):
    """The first channel of each group, then the second of each, and so on: a1 a2 a3 b1 b2 b3 becomes a1 b1 a2 b2 a3 b3.

    bottom[0]: x, N x C x any further axes, C channels in ``group`` groups.    top[0]: y, x's shape.
    y has channel i C/group + j of x as its channel j group + i. Between two convolutions in groups it lets each group
    of the second see all groups of the first.
    Backward: dx = dy with the channels back in their places.
    Errors: no channels; C is not divisible by group.
    Source: ShuffleNet (Zhang et al. 2017); PyTorch's channel_shuffle.
    """

    class Parameters(Declared):
        group: int = param(default=1, minimum=1, doc="groups the channels are divided into")

        aliases = {"shuffle_channel_param": "write its fields beside type"}

    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 6, 2, 3)], {"group": 3}),
        Example([(3, 4)], {"group": 2}),
        Example([(2, 3, 2)]),
    )

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) < 2:
            raise ShapeError(f"needs N x C x …, got {format_shape(shape)}")
        if shape[1] % self.p.group:
            raise ShapeError(f"{shape[1]} channels are not divisible by {self.p.group}", key="group")
        super().reshape(bottom, top)

    def in_words(self):
        return "reordering: each channel's gradient goes back to its place"

    def exchange(self, x, y):
        """Both with an axis for the groups: views in any memory order, one beside the other."""
        (N, C, *places), groups = x.shape, self.p.group
        return x.reshape(N, groups, C // groups, *places).swapaxes(1, 2), y.reshape(N, C // groups, groups, *places)

    def Forward_cpu(self, bottom, top):
        x, y = self.exchange(bottom[0].data, top[0].data)
        by_example(np.copyto, y, x)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dx, dy = self.exchange(bottom[0].diff, top[0].diff)
            by_example(np.copyto, dx, dy)
