"""Blobs as pycaffe shows them, over those of nettrain's nets.

In pycaffe a layer whose top is named like its bottom writes over it. Here both values are kept where a gradient needs
them, and ``blobs[name]`` is the last one. So that a program sees what Caffe's one blob would hold, each pass ends by
copying the value written last to it, and begins by handing it to the layer that continues from there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.python import View
from ...net.blob import Blob as CoreBlob
from ...net.net import Net as CoreNet


class Values(np.ndarray):
    """An array of a blob whose memory has the channels last, as convolutions have it.

    Written into as it is, or by parts, it is the blob. ``reshape`` and ``ravel`` must copy it, where pycaffe's would
    still be the blob: the copy cannot be written into, so that nothing written is lost in silence.
    """

    def reshape(self, *shape: Any, **options: Any) -> Any:
        return self._kept(super().reshape(*shape, **options))

    def ravel(self, *order: Any, **options: Any) -> Any:
        return self._kept(super().ravel(*order, **options))

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What is computed from it is an array like any other."""
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled as an array like any other, which is read without nettrain."""
        return np.array(self, order="C", subok=False).__reduce_ex__(protocol)

    def _kept(self, made: np.ndarray) -> np.ndarray:
        if self.base is not None and not np.may_share_memory(made, self):
            made.flags.writeable = False
        return made


class Blob(View):
    """An array ``data`` with a gradient ``diff``, ``shape``, ``num`` … ``width``, ``count`` and ``reshape``.

    Each time it is asked for, the array is a new one over the same memory: a program that sets its ``shape`` changes
    what it holds, and not the net.
    """

    @property
    def data(self) -> np.ndarray:
        return self._values("data")

    @data.setter
    def data(self, value: np.ndarray) -> None:
        self.data[...] = value

    @property
    def diff(self) -> np.ndarray:
        return self._values("diff")

    @diff.setter
    def diff(self, value: np.ndarray) -> None:
        self.diff[...] = value

    def _values(self, which: str) -> np.ndarray:
        array = getattr(self._blob, which)
        return array.view() if array.flags.c_contiguous else array.view(Values)


class BlobVec(list):
    """The blobs of a layer. Programs that merge BatchNorm into convolutions ask for this type."""


class Versions:
    """The blobs of a name of which there are several, and the passes that write them."""

    def __init__(self, core: CoreNet):
        makers: dict[str, list[tuple[CoreBlob, int]]] = {}
        readers: dict[tuple[str, int], list[int]] = {}
        for i, step in enumerate(core.steps):
            for key, blob in zip(step.top_keys, step.top, strict=True):
                makers.setdefault(key[0], []).append((blob, i))
            for key, flag in zip(step.bottom_keys, step.propagate_down, strict=True):
                if flag and step.needs_backward:
                    readers.setdefault(key, []).append(i)
        self.several = {name: made for name, made in makers.items() if len(made) > 1}
        self.readers = {
            name: [readers.get((name, version), []) for version in range(len(made))]
            for name, made in self.several.items()
        }

    def before_forward(self, first: int) -> None:
        """The layers from ``first`` on find what a program sees, or wrote."""
        for made in self.several.values():
            shown = made[-1][0]
            found = [blob for blob, maker in made if maker < first]
            if found and found[-1] is not shown and not found[-1].shares_data_with(shown):
                _copy(shown, found[-1], "data")

    def after_forward(self, first: int, last: int) -> None:
        """A program sees what was written last."""
        for made in self.several.values():
            shown = made[-1][0]
            written = [blob for blob, maker in made if first <= maker <= last]
            if written and written[-1] is not shown:
                shown.reshape(written[-1].shape)
                if not written[-1].shares_data_with(shown):
                    _copy(written[-1], shown, "data")

    def before_backward(self, first: int) -> None:
        """The layers from ``first`` down find the gradients that a program sees, or wrote."""
        for made in self.several.values():
            found = [blob for blob, maker in made if maker <= first]
            if found and found[-1] is not made[-1][0]:
                _copy(made[-1][0], found[-1], "diff")

    def after_backward(self, first: int, last: int) -> None:
        """A program sees the gradients that were written last."""
        for name, made in self.several.items():
            for (blob, _), readers in zip(made[:-1], self.readers[name][:-1], strict=True):
                if readers and last <= readers[0] <= first:
                    _copy(blob, made[-1][0], "diff")
                    break


def _copy(source: CoreBlob, target: CoreBlob, what: str) -> None:
    if source.shape == target.shape:
        np.copyto(getattr(target, what), getattr(source, what))


def keep_parameters_in_order(*cores: CoreNet) -> None:
    """Keep the parameters of nets, which may share them, in memory as their shapes say, as Caffe does: what a program
    reshapes, to prune it or to quantise it, is then still the net's. Layers cope with either order."""
    found = [blob for core in cores for blobs in core.params.values() for blob in blobs if blob.channels_last]
    values = [blob.data.copy() for blob in found]
    for blob in found:
        blob.reshape(blob.shape, channels_last=False)
    for blob, value in zip(found, values, strict=True):
        blob.data[...] = value


def keep_diffs_apart(core: CoreNet) -> None:
    """Give gradients that lie in one memory, to save it, each their own: a program may write into one of them.

    Each of several readers of a blob has one too, as after Caffe's Split, and the reader that runs backward last adds
    them up: so parts of a pass give what the whole gives.
    """
    readers: dict[tuple[str, int], list[tuple[Any, int]]] = {}
    makers = {key: blob for step in core.steps for key, blob in zip(step.top_keys, step.top, strict=True)}
    for step in core.steps:
        for i, (key, bottom) in enumerate(zip(step.bottom_keys, step.bottom, strict=True)):
            if step.top and bottom is not step.top[0] and bottom.shares_diff_with(step.top[0]):
                bottom.share_diff(CoreBlob(bottom.shape, bottom.dtype))
            if step.needs_backward and step.propagate_down[i]:
                readers.setdefault(key, []).append((step, i))
    for key, found in readers.items():
        if len(found) < 2:
            continue
        total, last = makers[key], found[0][0]
        seeds = [seed for step, _ in found for seed in step.seeds if seed[0] is total]
        for step, i in found:
            if step.bottom[i] is total:
                own = step.bottom[i] = CoreBlob(total.shape, total.dtype, total.channels_last)
                own.share_data(total)
                step.aliases.append((own, total))
            step.returns = [item for item in step.returns if item[1] is not total]
            step.sums = [item for item in step.sums if item[1] is not total]
            step.seeds = [seed for seed in step.seeds if seed[0] is not total]
        owns = [step.bottom[i] for step, i in found]
        last.returns.append((owns[0], total))
        last.sums += [(own, total, -1) for own in owns[1:]]
        last.seeds += seeds
