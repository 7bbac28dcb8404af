"""Words from other frameworks and misspellings: each gets advice that fits, and none gets a name of another meaning."""

import re

import pytest
from nettrain.data.transform import Transform
from nettrain.net import registry
from nettrain.net.fillers import Filler
from nettrain.net.netspec import load
from nettrain.net.records import Common
from nettrain.solver.parameters import SolverParameters
from nettrain.spec import foreign
from nettrain.spec.advice import Advice, advice_on, as_advice, look_up, say, table
from nettrain.spec.errors import NettrainError, SpecError, nearest

SOLVER = "solver: {base_lr: 0.1, max_iter: 5}\n"
NET = """\
layers:
- {name: digits, type: Data, top: [data, label], source: digits, batch_size: 8}
- {name: conv.1, type: Convolution, bottom: data, num_output: 4, kernel_h: 3, kernel_w: 3}
- {name: ip1, type: InnerProduct, num_output: 10}
- {name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}
"""


def problem(text, *settings):
    with pytest.raises(SpecError) as error:
        load(text, settings)
    return " | ".join(p.message for p in error.value.problems)


def suggestion(message):
    found = re.search(r"did you mean `([^`]*)`", message)
    return found[1] if found else None


# Misspellings


@pytest.mark.parametrize(
    ("written", "known", "meant"),
    [
        ("Convolutoin", ["Convolution", "Deconvolution"], "Convolution"),
        ("Covolution", ["Convolution", "Deconvolution"], "Convolution"),
        ("INNER_PRODUCT", ["InnerProduct"], "InnerProduct"),
        ("inner-prodcut", ["InnerProduct"], "InnerProduct"),
        ("SoftmaxWihtLos", ["SoftmaxWithLoss", "Softmax"], "SoftmaxWithLoss"),
        ("bse_lr", ["base_lr"], "base_lr"),
        ("bais_term", ["bias_term"], "bias_term"),
        ("num_out", ["num_output", "name"], "num_output"),  # the beginning of it
        ("stepv", ["stepvalue", "stepsize"], "stepvalue"),
        ("step", ["stepvalue", "stepsize"], None),  # of both
        ("ip", ["ip1", "loss"], "ip1"),
        ("relu2", ["relu1"], "relu1"),
        ("ab", ["ac"], None),  # too short to say
        ("Permute", ["Parameter"], None),
        ("DepthwiseConvolution", ["Deconvolution", "Convolution"], None),
        ("abcdef", ["badcef"], "badcef"),  # two exchanges
        ("", ["a"], None),
    ],
)
def test_a_misspelling_is_a_few_edits(written, known, meant):
    assert nearest(written, known) == meant


def test_edits_are_counted_as_the_plain_recursion_counts_them():
    import random

    def plain(a, b):
        if not a or not b:
            return len(a) + len(b)
        best = min(plain(a[:-1], b) + 1, plain(a, b[:-1]) + 1, plain(a[:-1], b[:-1]) + (a[-1] != b[-1]))
        if len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]:
            best = min(best, plain(a[:-2], b[:-2]) + 1)
        return best

    draw = random.Random(1)
    for _ in range(300):
        a, b = ("".join(draw.choice("abc") for _ in range(draw.randint(2, 6))) for _ in range(2))
        length = max(len(a), len(b))
        allowed = 0 if length < 3 else 1 if length < 6 else 2
        is_prefix = len(a) >= 4 and b.startswith(a)
        assert (nearest(a, [b]) == b) == (a == b or plain(a, b) <= allowed or is_prefix), (a, b)


# Layer types of others

TYPES = {
    "BN": "`BatchNorm`, with `affine: true`",
    "BatchNorm2d": "`BatchNorm`, with `affine: true`",
    "DepthwiseConvolution": "`Convolution` with `group` = channels",
    "ConvolutionDepthwise": "`Convolution` with `group` = channels",
    "ConvolutionDepthWise": "`Convolution` with `group` = channels",
    "Transpose": "axes are reordered by `Permute` with `order`",
    "ChannelShuffle": "channels of groups are shuffled by `ShuffleChannel`",
    "PixelShuffle": "`Reshape` into more axes, `Permute` and another `Reshape` do it",
    "UpSampling2D": "`Upsample`, which repeats pixels, or `Interp` with `mode: bilinear`",
    "ResizeBilinear": "images get another size by `Interp`",
    "MaxUnpool2d": "unpooling is `Upsample`, whose second bottom is the second top of a `Pooling`",
    "ReLU6": "`Clip` with `min: 0` and `max: 6`",
    "LeakyReLU": "`ReLU` with `negative_slope`",
    "HardSwish": "nettrain has none; built from layers",
    "L2Normalize": "dividing by a vector's length is `Normalize`, with `across_spatial: false`",
    "Attention": "nettrain has none; build it from `InnerProduct`",
    "MultiHeadAttention": "nettrain has none; build it from `InnerProduct`",
    "MaxRoiPool": "maxima of regions are `ROIPooling`",
    "ROIAlign": "nettrain has none: it trains classifiers",
    "PriorBoxes": "the boxes of a detector are `PriorBox`",
    "Proposal": "nettrain has none: it trains classifiers",
    "MultiBoxLoss": "nettrain has none",
    "Axpy": "`Scale` with two bottoms",
    "Dense": "in nettrain (as in Caffe) a fully connected layer is `InnerProduct`",
    "Gemm": "`InnerProduct`",
    "connected": "`InnerProduct`",
    "route": "`Concat`",
    "shortcut": "`Eltwise` with `operation: SUM`",
    "MaxPool": "`Pooling` with `pool: MAX`",
    "GlobalAveragePool": "`global_pooling: true`",
    "MaxPooling1D": "nettrain pools images, in two dimensions",
    "LayerNormalization": "in nettrain layer normalization is `LayerNorm`",
    "CTCLoss": "nettrain has none",
    "FocalLoss": "nettrain has none; with `class_weight`",
    "Identity": "nothing needs to be written for it",
    "DenseImageData": "nettrain has none; images and maps go into an .npz",
    "ReLULayer": "did you mean `ReLU`?",
    "ConvolutionLayer": "did you mean `Convolution`?",
    "SOFTMAX_LOSS": "`SoftmaxWithLoss`",
    "Convolutoin": "did you mean `Convolution`?",
}


@pytest.mark.parametrize("word", TYPES)
def test_a_type_of_another_framework_gets_advice(word):
    message = registry.unknown_type(word)
    assert message.startswith(f"unknown layer type `{word}`; ")
    assert TYPES[word] in message


# Types and ops of Caffe's forks, Keras, PyTorch, ONNX, TensorFlow and darknet, whether in a table or not
_MANY = """
Abs Acos Acosh ActivityRegularization AdaptiveAvgPool1d AdaptiveLogSoftmaxWithLoss AdaptiveMaxPool2d Add
AdditiveAttention Affine AlphaDropout And AnchorTarget AnnotatedData ArcFace ArgMin Asin Atan Attention Average
AveragePooling1D AveragePooling3D AvgPool3d AxisAlignedBBox Axpy BCELoss BCEWithLogitsLoss BN BatchNorm1d BatchRenorm
BatchToSpaceND Bernoulli Bidirectional Bilinear BitShift BlackmanWindow BoxAnnotatorOHEM BroadcastMul Cast
CategoryEncoding Ceil Celu CenterLoss CenterCropPad ChannelShuffle CircularPad2d Col2Im ColorJitter Compress
Conv1DTranspose Conv3D ConvInteger ConvLSTM2D ConvTranspose ConvolutionDepthwise Correlation CosFace Cos Cosh
CosineEmbeddingLoss CropAndResize Cropping3D CrossMapLRN2d CTCLoss CumSum DFT DataTransformer DeformableConvolution
Dense DenseImageData DepthToSpace DepthwiseConv2D DepthwiseConvolution DequantizeLinear Det DetectionEvaluate
DiceLoss Discretization Div Dropout2d DynamicQuantizeLinear Einsum Embedding EmbeddingBag Equal Erf
Expand ExpandDims EyeLike FeatureAlphaDropout Floor FlowWarp FocalLoss Fold FractionalMaxPool2d FrozenBatchNorm2d
GRUCell GRUUnit Gather GatherElements GatherND GaussianDropout GaussianNLLLoss GaussianNoise Gemm GlobalAveragePool
GlobalLpPool GlobalMaxPooling2D GlobalResponseNorm Greater GridSample GroupNormalization HammingWindow HannWindow
HardShrink HardSigmoid HardSwish Hardmax HashedCrossing Hashing HuberLoss ICNetLoss Identity If ImageLabelmapData
ImageSegData InstanceNorm3d InstanceNormalization IntegerLookup IsInf IsNaN KLDivLoss L2Normalization LPPool2d
LSTMCell LabelSmoothing Lambda LayerNormalization LeakyRelu Less LocalResponseNorm LocallyConnected2D LogSigmoid
LogitNormal Loop LpNormalization LpPool LRN2D MSELoss MarginRankingLoss MarginInnerProduct Masking MatMulInteger Max
MaxPool3d MaxRoiPool MaxUnpool MaxUnpool2d Maximum Mean MeanVarianceNormalization MelSpectrogram MelWeightMatrix Min
Minimum Mod Mul MultiBoxLoss MultiHeadAttention MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiStageMeanfield
Multinomial Multiply Neg NegativeLogLikelihoodLoss NLLLoss NonMaxSuppression NonZero Normalization Not
OneHot Optional Or PairwiseDistance PixelShuffle PixelUnshuffle PoissonNLLLoss Pow Proposal
PSROIPooling QLinearConv QuantizeLinear RMSNorm RMSNormalization RNNCell RReLU ROIAlign RandomBrightness
RandomContrast RandomCrop RandomFlip RandomNormal RandomRotation RandomTranslation RandomUniform RandomZoom Range
ReLU6 Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
RefinedetOutput ReflectionPad2d Region Reorg Repeat RepeatVector ReplicationPad2d Rescaling Resize ResizeBilinear
Resizing ReverseSequence RoiAlign Round Rsqrt SELU STFT Scan ScatterElements ScatterND SegmentationLoss Selu
SeparableConv2D SequenceAt Sequential Shape Shrink Sign SimpleRNN Sin Sinh Size SoftMarginLoss Softmin
Softshrink Softsign Solarization SpaceToBatchND SpaceToDepth SpatialDropout2D SpatialTransformer SpectralNormalization
Sqrt Square Squeeze StackedRNNCells StringLookup Sub Subtract Sum SwitchNorm SyncBatchNorm Tan TanhShrink
TextVectorization TfIdfVectorizer ThresholdedReLU TimeDistributed TopK Transformer Transpose Trilu TripletLoss
TripletMarginLoss Unfold Unflatten Unique UnitNormalization Unsqueeze UpSampling2D Variable VideoData Where
WeightedSoftmaxWithLoss Xor Yolo YoloV3Loss ZeroPadding2D avgpool connected convolutional cost crnn detection
deconvolutional gaussian_yolo iseg local logistic lstm_cell maxpool normalization region reorg route sam
scale_channels shortcut yolo
"""
MANY = _MANY.split()


@pytest.mark.parametrize("word", MANY)
def test_no_foreign_type_is_taken_for_a_misspelling_of_another(word):
    meant = suggestion(registry.unknown_type(word))
    assert meant is None, f"{word}: did you mean {meant}?"


def test_enough_words_are_looked_at():
    assert len(MANY) == len(set(MANY)) > 300


# Keys of layers

KEYS = [
    ("Pooling", "ceil_mode", "write `round_mode: CEIL`, which is Caffe's, or `round_mode: FLOOR`"),
    ("Pooling", "pool_size", "did you mean `kernel_size`?"),
    ("Pooling", "padding", "did you mean `pad`?"),
    ("Pooling", "type_", "did you mean `type`?"),
    ("Pooling", "count_excluding_padding", "as Caffe's does; `count_include_pad: false` does not"),
    ("Pooling", "pad_left", "did you mean `pad_l`?"),
    ("Convolution", "pad_l", "a layer of type Pad before it may differ"),
    ("Convolution", "padding", "did you mean `pad`?"),
    ("Convolution", "dilation_rate", "did you mean `dilation`?"),
    ("Convolution", "dilations", "did you mean `dilation`?"),
    ("Convolution", "num_groups", "did you mean `group`?"),
    ("Convolution", "groups", "did you mean `group`?"),
    ("Convolution", "filters", "did you mean `num_output`?"),
    ("Convolution", "out_channels", "did you mean `num_output`?"),
    ("Convolution", "in_channels", "the size of the input is known from the layer before; leave it out"),
    ("Convolution", "use_bias", "did you mean `bias_term`?"),
    ("Convolution", "bias", "did you mean `bias_term`?"),
    ("Convolution", "kernel_initializer", "did you mean `weight_filler`?"),
    ("Convolution", "activation", "an activation is a layer of its own"),
    ("Convolution", "padding_mode", "padding with anything but zeros is a layer of type Pad before it"),
    ("Convolution", "data_format", "nettrain's blobs are N x C x H x W"),
    ("Convolution", "kernel_regularizer", "write it as param: [{decay_mult: …}]"),
    ("Convolution", "size", "did you mean `kernel_size`?"),
    ("InnerProduct", "units", "did you mean `num_output`?"),
    ("InnerProduct", "lr_mult", "write it as param: [{lr_mult: …}]"),
    ("InnerProduct", "trainable", "parameters that are not to be learned have param: [{lr_mult: 0}]"),
    ("InnerProduct", "phase", "`include: TRAIN`"),
    ("InnerProduct", "dropout", "it has name, type"),
    ("ReLU", "inplace", "a top may have its bottom's name"),
    ("ReLU", "alpha", "did you mean `negative_slope`?"),
    ("BatchNorm", "momentum", "moving_average_fraction"),
    ("BatchNorm", "epsilon", "did you mean `eps`?"),
    ("BatchNorm", "track_running_stats", "write `use_global_stats`"),
    ("BatchNorm", "center", "write `affine: true`"),
    ("Dropout", "p", "did you mean `dropout_ratio`?"),
    ("Dropout", "rate", "did you mean `dropout_ratio`?"),
    ("LSTM", "num_layers", "sequences go through a layer once"),
    ("LSTM", "return_sequences", "all steps are output"),
    ("LSTM", "batch_first", "sequences are T x N x …"),
    ("SoftmaxWithLoss", "reduction", "did you mean `normalization`?"),
    ("Softmax", "dim", "did you mean `axis`?"),
    ("Recurrent", "layers", "did you mean `cell`?"),
]


@pytest.mark.parametrize(("kind", "key", "words"), KEYS, ids=lambda x: x if len(x) < 20 else "")
def test_a_key_of_another_framework_gets_advice(kind, key, words):
    message = problem(f"layers:\n- {{name: a, type: {kind}, {key}: 1}}\n")
    assert f"{kind} has no key `{key}`; " in message
    assert words in message


SOLVER_KEYS = {
    "lr": "did you mean `base_lr`?",
    "learningRate": "did you mean `base_lr`?",
    "epochs": "did you mean `max_epoch`?",
    "steps": "iterations at which the rate drops are `stepvalue`",
    "milestones": "did you mean `stepvalue`?",
    "beta_1": "did you mean `momentum`?",
    "beta_2": "did you mean `momentum2`?",
    "betas": "beta1 is `momentum`, beta2 is `momentum2`",
    "nesterov": "write `type: Nesterov`",
    "epsilon": "did you mean `delta`?",
    "optimizer": "did you mean `type`?",
    "clipnorm": "did you mean `clip_gradients`?",
    "lr_schedule": "did you mean `lr_policy`?",
    "batch_size": "it belongs to the Data layer",
    "gpu": "nettrain always runs on the CPU",
    "snapshot_format": "snapshots are .npz",
    "num_workers": "batches are made when they are needed",
    "loss": "the loss is a layer of the net",
    "gama": "did you mean `gamma`?",
}


@pytest.mark.parametrize("key", SOLVER_KEYS)
def test_a_solver_key_of_another_framework_gets_advice(key):
    advice = advice_on(key, SolverParameters.names(), SolverParameters.aliases)
    message = f"did you mean `{advice.text}`?" if advice.is_name else advice.text
    assert SOLVER_KEYS[key] in message


def test_steps_do_not_stand_for_the_length_of_training_alone():
    message = problem_of_solver("base_lr: 0.1, steps: 100")
    assert "stepvalue" in message
    assert "did you mean" not in message


def problem_of_solver(keys):
    from nettrain.solver.parameters import read_parameters
    from nettrain.spec.errors import Problems

    problems = Problems()
    read_parameters(load(f"solver: {{{keys}}}\n{NET}"), problems)
    return " | ".join(p.message for p in problems.found)


CHOICES = [
    ("type: Adamax", "nettrain has none; `Adam` is the closest"),
    ("type: NAdam", "nettrain has none; `Adam` is the closest"),
    ("type: adamw", "did you mean `AdamW`?"),
    ("type: RMSprop", "did you mean `RMSProp`?"),
    ("type: Momentum", "that is `SGD` with `momentum`"),
    ("lr_policy: steps", "that is `multistep` with stepvalue, or `step` with stepsize"),
    ("lr_policy: constant", "did you mean `fixed`?"),
    ("lr_policy: CosineAnnealingLR", "did you mean `cosine`?"),
    ("lr_policy: linear", "that is `poly` with power: 1"),
    ("lr_policy: onecycle", "nettrain has none"),
    ("lr_policy: ReduceLROnPlateau", "did you mean `plateau`?"),
]


@pytest.mark.parametrize(("keys", "words"), CHOICES, ids=lambda x: x[:24])
def test_a_choice_of_another_framework_gets_advice(keys, words):
    assert words in problem_of_solver(f"base_lr: 0.1, max_iter: 5, {keys}")


LAYER_CHOICES = [
    ("{type: Pooling, pool: AVG, kernel_size: 2}", "did you mean `AVE`?"),
    ("{type: Pooling, pool: AVE_EXC_PAD, kernel_size: 2}", "that is `AVE` with count_include_pad: false"),
    ("{type: Pooling, pool: min, kernel_size: 2}", "nettrain has none; it is -max(-x)"),
    ("{type: Eltwise, operation: SUB}", "that is `SUM` with coeff: [1, -1]"),
    ("{type: Eltwise, operation: MUL}", "did you mean `PROD`?"),
    ("{type: Eltwise, operation: mean}", "that is `SUM` with a coeff of 1/n for each"),
    ("{type: Reduction, operation: average}", "did you mean `MEAN`?"),
    ("{type: Pad, pad: [1], mode: replicate}", "did you mean `edge`?"),
    ("{type: InnerProduct, num_output: 2, weight_filler: he_normal}", "did you mean `msra`?"),
    ("{type: InnerProduct, num_output: 2, weight_filler: glorot_uniform}", "did you mean `xavier`?"),
    ("{type: InnerProduct, num_output: 2, weight_filler: normal}", "did you mean `gaussian`?"),
    ("{type: InnerProduct, num_output: 2, weight_filler: zeros}", "that is `constant` with value: 0"),
    ("{type: InnerProduct, num_output: 2, weight_filler: orthogonal}", "nettrain has none; `gaussian` is the closest"),
    ("{type: ReLU, include: validation}", "did you mean `TEST`?"),
]


@pytest.mark.parametrize(("layer", "words"), LAYER_CHOICES, ids=lambda x: x[:40])
def test_a_choice_of_a_layer_gets_advice(layer, words):
    assert words in problem(f"layers:\n- {{name: a, {layer[1:]}\n")


@pytest.mark.parametrize("name", ["emnist", "cifar100", "kmnist", "iris"])
def test_another_data_set_is_not_a_misspelling(name, workdir):
    from nettrain.data.sources import find_file

    with pytest.raises(NettrainError, match=f"there is no data set `{name}`; named ones: digits, mnist"):
        find_file(name, workdir, folders=True)


# The tables themselves


def test_each_type_has_one_advice_and_none_is_a_type():
    assert {word: pieces for word, pieces in foreign.TYPES.items() if len(pieces) > 1} == {}
    assert [name for name in registry.types() if name.casefold() in foreign.TYPES] == []


def test_advice_speaks_of_types_and_keys_that_there_are():
    types, common = registry.types(), {*Common.names(), "nettrain layers"}
    for pieces in foreign.TYPES.values():
        names = pieces[0].names
        keys = set().union(*(types[name].Parameters.names() for name in names if name in types)) | common
        keys |= {"transform", "crop_size"}
        assert [name for name in names if name not in types and name not in keys] == [], pieces[0]


def test_advice_on_keys_speaks_of_keys_that_there_are():
    known = set(Common.names()) | {"transform"}
    known = known.union(*(cls.Parameters.names() for cls in registry.types().values()), ["crop_size"])
    for pieces in foreign.KEYS.values():
        for advice in pieces:
            assert [name for name in advice.names if name not in known] == [], advice


def test_advice_of_the_solver_speaks_of_its_keys():
    known = {*SolverParameters.names(), "nettrain train --resume RUN", "nettrain train --threads N"}
    known |= {"layers", "solver"}
    for word, advice in SolverParameters.aliases.items():
        assert word not in SolverParameters.names()
        assert [name for name in as_advice(advice).names if name not in known] == [], word


def test_what_stands_in_backticks_is_said_by_name():
    """A name that is written into a sentence by hand is one that nobody knows of: it may be misspelt or renamed."""
    tables = (foreign.TYPES, foreign.KEYS, foreign.TOP, foreign.CHOICES)
    sentences = [advice for table in tables for pieces in table.values() for advice in pieces]
    sets = [cls.Parameters for cls in registry.types().values()] + [SolverParameters, Transform, Filler]
    sentences += [as_advice(advice) for cls in sets for advice in cls.aliases.values()]
    assert len(sentences) > 1500
    for advice in sentences:
        quoted = [name.partition(":")[0] for name in re.findall("`([^`]*)`", advice.text)]
        assert quoted == ([] if advice.is_name else list(advice.names)), advice


def test_a_sentence_is_made_from_names():
    advice = say("max pooling is {} with {}, as {a: 1} is", "Pooling", "pool: MAX")
    assert advice.text == "max pooling is `Pooling` with `pool: MAX`, as {a: 1} is"
    assert (advice.names, advice.is_name) == (("Pooling", "pool"), False)
    for names in ((), ("Pooling",), ("a", "b", "c")):
        with pytest.raises(ValueError, match="zip"):
            say("it is {} with {}", *names)


def test_an_alias_is_a_name_or_a_sentence():
    assert as_advice("pad") == Advice("pad", ("pad",), is_name=True)
    assert as_advice("write it below") == Advice("write it below")
    assert as_advice(say("it is {}", "pad")) == say("it is {}", "pad")


def test_of_several_advices_the_one_whose_first_name_is_known_is_given():
    words = table(("num_output", "N-Units filters"), (say("of a {}, {}", "kernel", "b"), "filters"), ("leave it", "n"))
    assert look_up(words, "n_units", ["num_output"]).text == "num_output"
    assert look_up(words, "filters", ["num_output", "kernel"]).text == "num_output"
    assert look_up(words, "Filters", ["kernel"]).text == "of a `kernel`, `b`"
    assert look_up(words, "filters", ["b"]) is None
    assert look_up(words, "n", []).text == "leave it"
    assert look_up(words, "other", ["num_output"]) is None


# --set

SETTINGS = [
    ("base_lr=0.1", "did you mean `solver.base_lr`?"),
    ("lr=0.1", "did you mean `solver.base_lr`?"),
    ("optimizer=Adam", "did you mean `solver.type`?"),
    ("momentum=0.9", "did you mean `solver.momentum`?"),
    ("epochs=3", "did you mean `solver.max_epoch`?"),
    ("batch_size=4", "it belongs to the Data layer"),
    ("ip1.num_ouput=3", "did you mean `ip1.num_output`?"),
    ("ip1.units=3", "did you mean `ip1.num_output`?"),
    ("conv.1.num_ouput=3", "did you mean `conv.1.num_output`?"),
    ("digits.trnsform.scale=2", "did you mean `digits.transform.scale`?"),
    ("digits.transform.scal=2", "did you mean `digits.transform.scale`?"),
    ("digits.transform={scal: 2}", "did you mean `scale`?"),
    ("num_output=3", "it is a key of a layer: `conv.1.num_output`, `ip1.num_output`"),
    ("layers.ip1.num_output=3", "did you mean `ip1.num_output`?"),
    ("layers.3.num_output=3", "a layer is addressed by its name: digits, conv.1, ip1, loss"),
    ("ip1/num_output=3", "did you mean `ip1.num_output`?"),
    ("solver:base_lr=3", "did you mean `solver.base_lr`?"),
    ("sovler.base_lr=1", "did you mean `solver.base_lr`?"),
    ("layer", "write it as KEY=VALUE"),
    ("ip1=3", "such as ip1.num_output=…"),
    ("xyzzy.a=3", "the layers are digits, conv.1, ip1, loss"),
]


@pytest.mark.parametrize(("setting", "words"), SETTINGS, ids=lambda x: x[:30])
def test_near_misses_of_a_setting_get_the_whole_path(setting, words):
    assert words in problem(SOLVER + NET, setting)


def test_a_key_at_the_top_is_told_where_it_belongs():
    assert "a spec has no key `base_lr`; `base_lr` belongs in `solver:`" in problem("base_lr: 0.1\n" + NET)
    assert "a spec has no key `lr`; `base_lr` belongs in `solver:`" in problem("lr: 0.1\n" + NET)
    assert "a spec has no key `num_output`; `num_output` belongs in a layer" in problem("num_output: 3\n" + NET)


def test_a_layer_whose_name_has_dots_can_be_set():
    assert load(SOLVER + NET, ["conv.1.num_output=7"]).layers[1].parameters.num_output == 7


# What excludes each other


def parameters(spec):
    return SolverParameters.from_mapping(spec.solver.to_python(), "solver")


def test_a_setting_replaces_what_it_excludes():
    epochs = SOLVER.replace("max_iter: 5", "max_epoch: 5") + NET
    spec = load(epochs, ["solver.max_iter=7", "conv.1.kernel_size=5"])
    conv = spec.layers[1].parameters
    assert (conv.kernel_size, conv.kernel_h, conv.kernel_w) == ((5,), None, None)
    from nettrain.solver.parameters import read_parameters
    from nettrain.spec.errors import Problems

    p = read_parameters(spec, Problems())
    assert (p.max_iter, p.max_epoch) == (7, None)
    assert spec.to_python()["solver"] == {"base_lr": 0.1, "max_iter": 7}  # what a snapshot keeps


@pytest.mark.parametrize(
    ("layer", "setting", "left"),
    [
        ("{type: ReLU, include: TEST}", "a.exclude=TRAIN", {"exclude"}),
        ("{type: ReLU, exclude: TEST}", "a.include=TRAIN", {"include"}),
        ("{type: Slice, slice_dim: 1}", "a.axis=0", {"axis"}),
        ("{type: Pooling, kernel_size: 2, pad_h: 1, pad_w: 1}", "a.pad=0", {"kernel_size", "pad"}),
    ],
)
def test_what_excludes_each_other_is_one_mechanism(layer, setting, left):
    spec = load(f"layers:\n- {{name: a, {layer[1:]}\n", [setting])
    assert set(spec.root.value["layers"].value[0].value) - {"name", "type"} == left


@pytest.mark.parametrize(
    ("first", "last"),
    [("solver.max_epoch=3", "solver.max_iter=9"), ("solver.max_iter=9", "solver.max_epoch=3")],
)
def test_two_settings_that_exclude_each_other_are_an_error_with_both(first, last):
    """Someone who types both means something by each."""
    from nettrain.solver.parameters import read_parameters
    from nettrain.spec.errors import Problems

    problems = Problems()
    assert read_parameters(load(SOLVER + NET, [first, last]), problems) is None
    key, other = (setting.partition("=")[0] for setting in (last, first))
    message = (
        f"--set {last}: {key} cannot be combined with `{other.removeprefix('solver.')}` (--set {first}); write one"
    )
    assert [str(found).startswith(message) for found in problems.found] == [True]


def test_settings_inside_a_mapping_replace_too():
    text = NET.replace("batch_size: 8", "batch_size: 8, transform: {mean_value: 3}")
    spec = load(text, ["digits.transform.mean_file=a.npy"])
    assert spec.layers[0].parameters.transform.mean_value == ()
    assert spec.layers[0].parameters.transform.mean_file == "a.npy"


def test_both_in_a_file_stay_an_error():
    assert "cannot be combined with `mean_value`; write one of them" in problem(
        NET.replace("batch_size: 8", "batch_size: 8, transform: {mean_value: 3, mean_file: a.npy}")
    )


def test_a_run_by_epochs_is_resumed_by_iterations(nettrain_cli):
    with open("net.yaml", "w") as file:
        file.write(SOLVER.replace("max_iter: 5", "max_epoch: 0.1").replace("0.1,", "0.001,") + NET)
    nettrain_cli("train", "net.yaml")
    result = nettrain_cli("train", "--resume", "runs/net/001", "--set", "solver.max_iter=25")
    assert "done: 25 iterations" in result.output
    again = nettrain_cli("train", "--resume", "runs/net/001", "--set", "solver.max_epoch=0.2")
    assert "done: 36 iterations" in again.output


@pytest.mark.parametrize("mapping", ["solver:\n", "layers:\n- name: a\n  type: Convolution\n"])
def test_of_very_many_unknown_keys_some_get_advice_and_the_rest_are_counted(mapping):
    text = mapping + "".join(f"  key{i}: 1\n" for i in range(300))
    if "layers" not in text:
        text += NET
    from nettrain.solver.parameters import read_parameters
    from nettrain.spec.errors import Problems

    problems = Problems()
    read_parameters(load(text, (), problems), problems)
    messages = [problem.message for problem in problems.found]
    assert len([message for message in messages if "has no key `key" in message]) == 100
    assert [message for message in messages if "has 200 more unknown keys" in message]
