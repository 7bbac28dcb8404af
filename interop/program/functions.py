"""The few functions that a program may begin with, where lines of their own would hide what a layer does."""

from __future__ import annotations

STREAM = '''def stream(*names):
    """Random numbers of their own for each name, so that what one layer draws never shifts another's."""
    key = [byte for name in names for byte in (*name.encode(), 0)]
    return np.random.default_rng(np.random.SeedSequence({seed}, spawn_key=key))
'''

WINDOWS = '''def windows(x, kernel, stride, pad, dilation=(1, 1), value=0):
    """The windows of x, N x C x H' x W' x kernel; pad is how much of the value is around it: ((above, below), ...)."""
    x = np.pad(x, ((0, 0), (0, 0), *pad), constant_values=value)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return found[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
'''

ADD_WINDOWS = '''def add_windows(d, shape, stride, pad, dilation=(1, 1)):
    """The way back: the gradient of every window is added where the window was taken from."""
    (top, bottom), (left, right) = pad
    N, C, H, W = shape
    x = np.zeros((N, C, top + H + bottom, left + W + right))
    rows, columns = d.shape[2] * stride[0], d.shape[3] * stride[1]
    for i in range(d.shape[4]):
        for j in range(d.shape[5]):
            y0, x0 = i * dilation[0], j * dilation[1]
            x[:, :, y0 : y0 + rows : stride[0], x0 : x0 + columns : stride[1]] += d[:, :, :, :, i, j]
    return x[:, :, top : top + H, left : left + W]
'''

NEIGHBOURS = '''def neighbours(x, size):
    """For each channel the sum over as many channels around it."""
    x = np.pad(x, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=1).sum(axis=-1)
'''

FUNCTIONS = {"stream": STREAM, "windows": WINDOWS, "add_windows": ADD_WINDOWS, "neighbours": NEIGHBOURS}
