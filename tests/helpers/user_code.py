"""What tests of users' code share: a file with a layer in it, and what is said of it."""

import re

HEAD = '''
import numpy as np
from nettrain import Declared, Example, Filler, Layer, param, register


def helper(blob):
    return blob.nothing


@register
class Mine(Layer):
    """y = 2 x. Backward: dx = 2 dy."""

    examples = [Example([(3, 4)])]
    backward_reads = ()
'''
FORWARD = "    def Forward_cpu(self, bottom, top):\n        top[0].data[...] = 2 * bottom[0].data\n"
BACKWARD = (
    "    def Backward_cpu(self, top, propagate_down, bottom):\n"
    "        if propagate_down[0]:\n            bottom[0].diff[...] = 2 * top[0].diff\n"
)
NET = """\
layer_files: mine.py
solver: {base_lr: 0.1, max_iter: 2}
layers:
- {name: d, type: Data, source: digits, batch_size: 4, top: [data, label]}
- {name: ip, type: InnerProduct, bottom: data, num_output: 10}
- {name: y, type: Mine}
- {name: loss, type: SoftmaxWithLoss, bottom: [y, label]}
"""

DOUBLED = '''
import nettrain


@nettrain.register
class Doubled(nettrain.Layer):
    """Twice x."""

    examples = [nettrain.Example([(2, 3)])]

    def Forward_cpu(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data
'''


def with_doubled(folder, layers):
    """The path of a spec of these layers, YAML that begins at line 4, which knows a layer type of the user's."""
    (folder / "mine.py").write_text(DOUBLED)
    spec = folder / "net.yaml"
    spec.write_text(f"\nlayer_files: mine.py\nlayers:\n{layers}")
    return spec


def write(folder, body):
    (folder / "mine.py").write_text(HEAD + body)
    (folder / "net.yaml").write_text(NET)


def blamed(text):
    """The part of the line that the carets stand below."""
    line, carets = next(
        (above, below)
        for above, below in zip(text.split("\n"), text.split("\n")[1:], strict=False)
        if re.fullmatch(r" *\| *\^+", below)
    )
    return line[carets.index("^") : carets.rindex("^") + 1]
