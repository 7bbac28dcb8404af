"""The layer zoo: layer types by the name a spec uses for them."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

from .errors import nearest

LayerType = type[Any]  # a class that follows the contract of layers/layer.py, which stands above this module
_TYPES: dict[str, LayerType] = {}

# What other frameworks call things.
ALIASES = {
    "linear": "a fully connected layer is `InnerProduct`",
    "dense": "a fully connected layer is `InnerProduct`",
    "fc": "a fully connected layer is `InnerProduct`",
    "fullyconnected": "a fully connected layer is `InnerProduct`",
    "conv": "a convolution is `Convolution`",
    "conv1d": "a convolution is `Convolution`, in any number of dimensions",
    "conv2d": "a convolution is `Convolution`",
    "conv3d": "a convolution is `Convolution`, in any number of dimensions",
    "maxpool": "max pooling is `Pooling` with `pool: MAX`",
    "maxpool2d": "max pooling is `Pooling` with `pool: MAX`",
    "maxpooling2d": "max pooling is `Pooling` with `pool: MAX`",
    "avgpool": "average pooling is `Pooling` with `pool: AVE`",
    "avgpool2d": "average pooling is `Pooling` with `pool: AVE`",
    "averagepooling2d": "average pooling is `Pooling` with `pool: AVE`",
    "crossentropy": "softmax and cross entropy are one layer, `SoftmaxWithLoss`",
    "crossentropyloss": "softmax and cross entropy are one layer, `SoftmaxWithLoss`",
    "softmaxloss": "softmax and cross entropy are one layer, `SoftmaxWithLoss`",
    "mse": "the squared error is `EuclideanLoss`, (1/2N) times the sum of squares",
    "mseloss": "the squared error is `EuclideanLoss`, (1/2N) times the sum of squares",
    "leakyrelu": "a leaky ReLU is `ReLU` with `negative_slope`",
    "add": "adding blobs is `Eltwise` with `operation: SUM`",
    "mul": "multiplying blobs is `Eltwise` with `operation: PROD`",
    "cat": "joining blobs is `Concat`",
    "convtranspose": "a transposed convolution is `Deconvolution`",
    "convtranspose1d": "a transposed convolution is `Deconvolution`, in any number of dimensions",
    "convtranspose2d": "a transposed convolution is `Deconvolution`",
    "convtranspose3d": "a transposed convolution is `Deconvolution`, in any number of dimensions",
    "conv2dtranspose": "a transposed convolution is `Deconvolution`",
    "deconv": "a transposed convolution is `Deconvolution`",
    "upsample": "bilinear upsampling is `Deconvolution` with `weight_filler: bilinear` and `group` = channels",
    "unfold": "windows as columns are `Im2col`",
    "globalaveragepooling2d": "global average pooling is `Pooling` with `pool: AVE` and `global_pooling: true`",
    "adaptiveavgpool2d": "global average pooling is `Pooling` with `pool: AVE` and `global_pooling: true`",
    "batchnorm1d": "batch normalization is `BatchNorm`, with `affine: true` for a learned factor and offset",
    "batchnorm2d": "batch normalization is `BatchNorm`, with `affine: true` for a learned factor and offset",
    "batchnormalization": "batch normalization is `BatchNorm`, with `affine: true` for a learned factor and offset",
    "layernormalization": "layer normalization is `LayerNorm`",
    "groupnormalization": "group normalization is `GroupNorm`",
    "instancenorm": "instance normalization is `GroupNorm` with `num_groups` = channels",
    "instancenorm2d": "instance normalization is `GroupNorm` with `num_groups` = channels",
    "embedding": "a vector for each index is `Embed`",
    "bceloss": "yes or no for every element is `SigmoidCrossEntropyLoss`, from scores",
    "bcewithlogitsloss": "yes or no for every element is `SigmoidCrossEntropyLoss`",
    "binarycrossentropy": "yes or no for every element is `SigmoidCrossEntropyLoss`, from scores",
    "nllloss": "cross entropy of given probabilities is `MultinomialLogisticLoss`; of scores, `SoftmaxWithLoss`",
    "mae": "the mean absolute error is `L1Loss`",
    "maeloss": "the mean absolute error is `L1Loss`",
    "meanabsoluteerror": "the mean absolute error is `L1Loss`",
    "huberloss": "a squared error that becomes absolute is `SmoothL1Loss`",
    "svmloss": "the multiclass SVM loss is `MulticlassSVMLoss`; each class against all others, `HingeLoss`",
    "multimarginloss": "the multiclass SVM loss is `MulticlassSVMLoss`",
    "gather": "picking rows is `BatchReindex`",
    "abs": "the absolute value is `AbsVal`",
    "pow": "a power is `Power`",
    "hardtanh": "holding values between two bounds is `Clip`",
    "clamp": "holding values between two bounds is `Clip`",
    "repeat": "repeating a blob along an axis is `Tile`",
    "mean": "a mean over the last axes is `Reduction` with `operation: MEAN`",
    "sum": "a sum over the last axes is `Reduction`; of several blobs, `Eltwise`",
    "view": "a new shape is `Reshape`",
    "imagefolder": "a list of images is `ImageData`",
    "imagelist": "a list of images is `ImageData`",
    "hdf5": "HDF5 files are read by `HDF5Data`",
    "h5data": "HDF5 files are read by `HDF5Data`",
    "lmdb": "an LMDB is read by `Data` with `backend: LMDB`",
    "pythonlayer": "a layer of your own is `Python`",
    "zeropadding2d": "padding is `Pad`",
    "zeropad2d": "padding is `Pad`",
    "constantpad2d": "padding is `Pad`, with `value`",
    "reflectionpad2d": "padding is `Pad` with `mode: reflect`",
    "replicationpad2d": "padding is `Pad` with `mode: edge`",
    "padding": "padding is `Pad`",
    "bmm": "a product of two blobs is `MatMul`",
    "batchmatmul": "a product of two blobs is `MatMul`",
    "dot": "a product of two blobs is `MatMul`",
    "repeatvector": "repeating a blob along an axis is `Tile`",
    "cropping2d": "cutting out a part is `Crop`",
    "centercrop": "cutting out a part is `Crop`; of the images of a data layer, its `transform` with `crop_size`",
    "indexselect": "picking rows is `BatchReindex`",
    "take": "picking rows is `BatchReindex`",
    "booleanmask": "keeping some examples is `Filter`",
    "maskedselect": "keeping some examples is `Filter`",
    "reducesum": "a sum over the last axes is `Reduction`",
    "reducemean": "a mean over the last axes is `Reduction` with `operation: MEAN`",
    "topk": "the largest values and where they are: `ArgMax` with `top_k`",
    "variable": "a learned blob is `Parameter`",
    "constant": "a blob of fixed values is `DummyData`; a learned one `Parameter`",
    "broadcastadd": "adding blobs of different shapes is `Eltwise` with `broadcast: true`",
    "broadcastmul": "multiplying blobs of different shapes is `Eltwise` with `operation: PROD` and `broadcast: true`",
}


def register(cls: LayerType) -> LayerType:
    """Class decorator: put a layer type into the zoo under its class name.

    Raises TypeError when the class is not complete: a type needs a docstring, and at least one example, from
    which it is tested, gradient-checked and documented.
    """
    name = cls.__name__
    if name in _TYPES and _file(_TYPES[name]) != _file(cls):
        raise TypeError(f"{name}: {_TYPES[name].__module__} has registered a layer type of this name already")
    if not cls.__dict__.get("__doc__"):
        raise TypeError(f"{name} needs a docstring: formula, shapes, backward formula")
    if not cls.__dict__.get("examples"):
        raise TypeError(f"{name} needs at least one Example in `examples`; without one nothing would check it")
    unknown = set(cls.backward_reads) - {"bottom.data", "top.data"}
    if unknown:
        raise TypeError(f"{name}.backward_reads may hold 'bottom.data' and 'top.data', not {unknown}")
    _TYPES[name] = cls
    return cls


def _file(cls: LayerType) -> str:
    """Where a class comes from. A file that is loaded again, under another name too, registers its types anew."""
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__


def types() -> dict[str, LayerType]:
    """Every registered layer type by name, in alphabetical order."""
    # The zoo is found by name on the first look, so that net/ stands below layers/ and never names a layer.
    importlib.import_module(f"{__package__.rpartition('.')[0]}.layers")
    return dict(sorted(_TYPES.items()))


def layer_type(name: str) -> LayerType | None:
    """The class of a layer type, or None."""
    return types().get(name)


def unknown_type(name: str) -> str:
    """The error for a type that is not in the zoo, with the best advice there is."""
    known = types()
    advice = ALIASES.get(name.casefold().replace("_", "").replace("-", ""))
    near = nearest(name, known)
    if near and near.casefold() == name.casefold():
        advice = f"did you mean `{near}`?"
    elif advice:
        meant = known.get(advice.partition("`")[2].partition("`")[0])
        in_caffe = meant is None or f"Source: Caffe's {meant.__name__}" in (meant.__doc__ or "")
        advice = f"in nettrain{' (as in Caffe)' if in_caffe else ''} {advice}"
    elif near:
        advice = f"did you mean `{near}`?"
    else:
        advice = "`nettrain layers` lists the types"
    return f"unknown layer type `{name}`; {advice}"


def summary(cls: type) -> str:
    """First line of a class's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def layer_type_list() -> list[str]:
    """Names of all layer types, in alphabetical order."""
    return list(types())
