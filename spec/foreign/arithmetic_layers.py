"""Layers of arithmetic on numbers and vectors: products, activations, sums, dropout."""

from __future__ import annotations

from ..advice import say

TYPES = (
    (
        say("a fully connected layer is {}", "InnerProduct"),
        "linear dense fc fullyconnected fullconnection connected gemm mlp ip affine lazylinear timedistributeddense",
    ),
    (say("a ReLU is {}", "ReLU"), "rectifier rectifiedlinear relulayer rectifiedlinearunit cudnnrelu"),
    (say("a leaky ReLU is {} with {}", "ReLU", "negative_slope"), "leakyrelu lrelu leaky rrelu leakyrectify"),
    (
        say("a ReLU capped at 6 is {} with {} and {}", "Clip", "min: 0", "max: 6"),
        "relu6 reluclipped clippedrelu cappedrelu relun",
    ),
    (say("that is {} and then {} with {}; the {} is 1.6733", "ELU", "Power", "scale: 1.0507", "alpha"), "selu"),
    (say("nettrain has none; {} is similar", "ELU"), "celu"),
    (say("the logistic sigmoid is {}", "Sigmoid"), "logistic logisticsigmoid sigm"),
    (say("the hyperbolic tangent is {}", "TanH"), "hyperbolictangent tanhlayer"),
    (say("softplus is {}; Caffe's name for it is {}", "Softplus", "BNLL"), "softrelu smoothrelu"),
    (
        say(
            "nettrain has none; built from layers: {} with {}, {} with {} and {}, {} with {}, and for hard "
            "swish {} with {}",
            "Power",
            "shift: 3",
            "Clip",
            "min: 0",
            "max: 6",
            "Power",
            "scale: 0.16667",
            "Eltwise",
            "operation: PROD",
        ),
        "hardsigmoid hardswish hswish hsigmoid hardsilu",
    ),
    (
        say("nettrain has none; {}, {} and {} are similar", "ReLU", "Softplus", "TanH"),
        "softsign softshrink hardshrink tanhshrink shrink thresholdedrelu scaledtanh logsigmoid",
    ),
    (say("the absolute value is {}", "AbsVal"), "abs absolute absolutevalue"),
    (say("a power is {}", "Power"), "pow powlayer"),
    (say("a square root is {} with {}", "Power", "power: 0.5"), "sqrt squareroot"),
    (say("a square is {} with {}", "Power", "power: 2"), "square sqr"),
    (say("one over x is {} with {}", "Power", "power: -1"), "reciprocal inverse"),
    (say("a square root below one is {} with {}", "Power", "power: -0.5"), "rsqrt"),
    (say("minus x is {} with {}", "Power", "scale: -1"), "neg negative negate"),
    (
        say("that is {} with {} and {}", "Power", "scale", "shift"),
        "rescaling mulconstant addconstant lambda multiplyscalar addscalar",
    ),
    (say("keeping values between two bounds is {}", "Clip"), "hardtanh clamp clipbyvalue hardlimit brelu"),
    (say("x times its own sigmoid is {}", "SiLU"), "siluact"),
    (
        say("nettrain has none; {} gives 0 and 1", "Threshold"),
        "step sign greater less heaviside binarize stepfunction equal where",
    ),
    (
        say("activations are types of their own, such as {}, {} or {}", "ReLU", "Sigmoid", "TanH"),
        "activation activationlayer nonlinearity nonlin act activations",
    ),
    (say("a learned slope is {}", "PReLU"), "parametricrelu prelulayer"),
    (
        say(
            "nettrain has none; {} and {} are types, and a product of two blobs is {} with {}",
            "GELU",
            "SiLU",
            "Eltwise",
            "operation: PROD",
        ),
        "geglu swiglu glu gatedlinearunit reglu",
    ),
    (say("softmax is {}", "Softmax"), "softmaxactivation softmaxlayer softmax2d spatialsoftmax"),
    (say("the logarithm of softmax is {}", "LogSoftmax"), "logsoftmaxlayer logsoftmax2d"),
    (
        say("nettrain has none; {} is similar", "Softmax"),
        "softmin sparsemax gumbelsoftmax adaptivesoftmax hierarchicalsoftmax",
    ),
    (say("dropout is {}", "Dropout"), "dropoutlayer dropout1d alphadropout"),
    (
        say("nettrain has none; {} sets individual values to 0", "Dropout"),
        "dropout2d spatialdropout2d spatialdropout1d dropblock droppath stochasticdepth gaussiandropout dropout3d "
        "dropconnect featuredropout zoneout",
    ),
    (
        say("adding blobs is {} with {}", "Eltwise", "operation: SUM"),
        "add plus addition shortcut caddtable sumlayer residual addn elementwise elementwisesum elementwiseadd "
        "eltwiseadd eltwisesum skip",
    ),
    (
        say(
            "adding blobs is {} with {}; of different shapes with {} too",
            "Eltwise",
            "operation: SUM",
            "broadcast: true",
        ),
        "broadcastadd broadcastplus",
    ),
    (
        say("a difference is {} with {} and {}", "Eltwise", "operation: SUM", "coeff: [1, -1]"),
        "sub subtract minus subtraction difference",
    ),
    (
        say("multiplying blobs is {} with {}", "Eltwise", "operation: PROD"),
        "mul multiply multiplication prod cmultable eltwiseprod product hadamard elementwisemul elementwiseproduct",
    ),
    (
        say(
            "multiplying blobs of different shapes is {} with {} and {}",
            "Eltwise",
            "operation: PROD",
            "broadcast: true",
        ),
        "broadcastmul scalechannels broadcastmultiply",
    ),
    (
        say("a quotient is {} with {}, then {} with {}", "Power", "power: -1", "Eltwise", "operation: PROD"),
        "div divide division",
    ),
    (
        say("the larger of two blobs is {} with {}", "Eltwise", "operation: MAX"),
        "maximum eltwisemax elementwisemax max",
    ),
    (
        say(
            "the smaller of two is -max(-a, -b): {} with {} around {} with {}",
            "Power",
            "scale: -1",
            "Eltwise",
            "operation: MAX",
        ),
        "minimum min",
    ),
    (say("that is {} with {} and {} of 1/n each", "Eltwise", "operation: SUM", "coeff"), "average averagelayer avg"),
    (
        say("that is {} with two bottoms and {}, then {} with {}", "Scale", "axis: 0", "Eltwise", "operation: SUM"),
        "axpy scaleadd",
    ),
)
