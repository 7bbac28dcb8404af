"""Layers that look at images, and those that normalize."""

from __future__ import annotations

from ..advice import say

TYPES = (
    (
        say("a convolution is {}", "Convolution"),
        "conv conv2d conv2dlayer convlayer spatialconvolution convolutional lazyconv2d convolution2d "
        "cudnnconvolution conv2dlocal",
    ),
    (
        say("a convolution is {}, in any number of dimensions", "Convolution"),
        "conv1d conv3d convolution1d convolution3d ndconv",
    ),
    (
        say("a convolution of each channel by itself is {} with {} = channels", "Convolution", "group"),
        "depthwiseconvolution convolutiondepthwise depthwiseconv2d depthwiseconv depthwise dwconv "
        "depthwiseconvolution2d depthwiseconv1d convolutiondw depthwiseconvolutiongpu",
    ),
    (
        say(
            "a separable convolution is two: {} with {} = channels, then one with {}",
            "Convolution",
            "group",
            "kernel_size: 1",
        ),
        "separableconv2d separableconv separableconvolution separableconvolution2d separableconv1d pointwiseconv",
    ),
    (
        say("a grouped convolution is {} with {}", "Convolution", "group"),
        "groupconvolution groupedconvolution groupconv",
    ),
    (
        say("a convolution with holes is {} with {}", "Convolution", "dilation"),
        "atrousconvolution2d dilatedconvolution atrousconv",
    ),
    (
        say("a transposed convolution is {}", "Deconvolution"),
        "convtranspose convtranspose2d conv2dtranspose deconv deconv2d transposedconvolution transposeconv "
        "deconvolution2d deconvolutional upconv fractionallystridedconvolution",
    ),
    (
        say("a transposed convolution is {}, in any number of dimensions", "Deconvolution"),
        "convtranspose1d convtranspose3d conv1dtranspose conv3dtranspose",
    ),
    (
        say("max pooling is {} with {}", "Pooling", "pool: MAX"),
        "maxpool maxpool2d maxpooling maxpooling2d spatialmaxpooling",
    ),
    (
        say("average pooling is {} with {}", "Pooling", "pool: AVE"),
        "avgpool avgpool2d averagepool averagepooling averagepooling2d avepool avepooling meanpool "
        "spatialaveragepooling",
    ),
    (
        say("global average pooling is {} with {} and {}", "Pooling", "pool: AVE", "global_pooling: true"),
        "globalaveragepooling2d adaptiveavgpool2d globalaveragepool globalavgpool globalavgpool2d globalpooling "
        "adaptiveavgpool",
    ),
    (
        say("global max pooling is {} with {} and {}", "Pooling", "pool: MAX", "global_pooling: true"),
        "globalmaxpooling2d globalmaxpool adaptivemaxpool2d globalmaxpool2d",
    ),
    (say("pooling is {}", "Pooling"), "pool pool2d pooling2d poolinglayer subsampling subsample"),
    (
        say(
            "nettrain pools images, in two dimensions: {} to N x C x L x 1 first, with {} and {} in {}",
            "Reshape",
            "kernel_h",
            "kernel_w",
            "Pooling",
        ),
        "maxpool1d maxpooling1d avgpool1d averagepooling1d globalaveragepooling1d globalmaxpooling1d "
        "adaptiveavgpool1d adaptivemaxpool1d",
    ),
    (
        "nettrain has no pooling in three dimensions",
        "maxpool3d maxpooling3d avgpool3d averagepooling3d adaptiveavgpool3d",
    ),
    (say("spatial pyramid pooling is {}", "SPP"), "spatialpyramidpooling spppooling pyramidpooling"),
    (say("unfolding windows into columns is {}", "Im2col"), "unfold extractimagepatches"),
    (
        say(
            "images get another size by {}, with {} or {}; {} repeats pixels a number of times",
            "Interp",
            "mode: bilinear",
            "mode: nearest",
            "Upsample",
        ),
        "interpolate interpolation resize resizebilinear resizenearestneighbor resizing nninterp",
    ),
    (
        say("upsampling is {}, which repeats pixels, or {} with {}", "Upsample", "Interp", "mode: bilinear"),
        "upsampling upsampling2d upsamplingbilinear2d upsamplingnearest2d bilinearupsampling upsampledarknet "
        "nnupsample",
    ),
    (
        say("unpooling is {}, whose second bottom is the second top of a {}", "Upsample", "Pooling"),
        "maxunpool2d maxunpool unpooling unpool maxunpooling",
    ),
    (say("nettrain has none: adding windows back into an image is the backward pass of {}", "Im2col"), "fold col2im"),
    (say("axes are reordered by {} with {}", "Permute", "order"), "transpose swapaxes movedim moveaxis rearrange"),
    (say("channels of groups are shuffled by {}", "ShuffleChannel"), "channelshuffle shufflenetunit"),
    (
        say(
            "nettrain has none: {} into more axes, {} and another {} do it, N x C·r·r x H x W becoming first "
            "N x C x r x r x H x W",
            "Reshape",
            "Permute",
            "Reshape",
        ),
        "pixelshuffle depthtospace spacetodepth reorg pixelunshuffle spacetobatchnd batchtospacend reorgyolo "
        "pixelshuffler subpixel",
    ),
    (
        say("batch normalization is {}, with {} for a learned factor and offset", "BatchNorm", "affine: true"),
        "bn batchnorm1d batchnorm2d batchnorm3d batchnormalization batchnormalizationlayer "
        "spatialbatchnormalization syncbatchnorm cudnnbatchnorm bnlayer batchnormlayer syncbn "
        "batchnormalizationv2 lazybatchnorm2d batchnormscale bninference",
    ),
    (
        say("nettrain has none; {} with {} is similar", "BatchNorm", "affine: true"),
        "batchrenorm batchrenormalization frozenbatchnorm2d switchnorm switchablenorm filterresponsenorm",
    ),
    (say("layer normalization is {}", "LayerNorm"), "layernormalization ln layernorm2d"),
    (say("group normalization is {}", "GroupNorm"), "groupnormalization gn"),
    (
        say("instance normalization is {} with {} = channels", "GroupNorm", "num_groups"),
        "instancenorm instancenorm1d instancenorm2d instancenormalization instancenorm3d in contrastnormalization",
    ),
    (
        say("local response normalization is {}", "LRN"),
        "localresponsenorm localresponsenormalization crossmaplrn2d spatialcrossmaplrn responsenormalization",
    ),
    (
        say(
            "dividing by a vector's length is {}, with {} by that of the channels of each place",
            "Normalize",
            "across_spatial: false",
        ),
        "l2norm l2normalize l2normalization normalizelayer unitnorm unitnormalization lpnormalization normalizebbox",
    ),
    (
        say(
            "nettrain has none; {}, {}, {}, {} and {} are its normalizations of single examples",
            "LayerNorm",
            "GroupNorm",
            "MVN",
            "LRN",
            "Normalize",
        ),
        "normalization norm grn rmsnorm rmsnormalization weightnorm spectralnorm simplifiedlayernormalization",
    ),
)
