"""Layers of data, shapes and sequences, and what has no layer here; data sets."""

from __future__ import annotations

from ..advice import say

TYPES = (
    (
        say("joining blobs is {}", "Concat"),
        "cat concatenate route concatenation merge join concatv2 jointable stack pack depthconcat hstack vstack "
        "dstack concatlayer",
    ),
    (
        say("cutting a blob into several is {}", "Slice"),
        "chunk splitv unstack narrow unpack unbind slicelayer tensorsplit select stridedslice",
    ),
    (
        say("a factor and an offset for each channel are {} with {}", "Scale", "bias_term: true"),
        "scaleshift channelaffine affinechannel scalebias scaling",
    ),
    (say("an offset for each channel is {}", "Bias"), "biasadd addbias biaslayer offset shift"),
    (
        say("a product of two blobs is {}", "MatMul"),
        "bmm batchmatmul dot batchdot mm mv matrixmultiply einsum dotproduct",
    ),
    (say("the cosine of rows is {}", "CosineSimilarity"), "cosine cosinedistance pairwisedistance cosinesim"),
    (say("a mean over the last axes is {} with {}", "Reduction", "operation: MEAN"), "mean reducemean"),
    (say("a sum over the last axes is {}; of several blobs, {}", "Reduction", "Eltwise"), "sum"),
    (say("a sum over the last axes is {}", "Reduction"), "reducesum reduce reducel1 reducesumsquare"),
    (
        say(
            "nettrain has no maximum or minimum over axes; {} says where it is, {} with {} gives that of an image",
            "ArgMax",
            "Pooling",
            "global_pooling: true",
        ),
        "reducemax reducemin amax amin reduceprod reducel2 reducelogsumexp logsumexp std var variance cumsum cumprod",
    ),
    (say("the largest values, and where they are: {} with {}", "ArgMax", "top_k"), "topk"),
    (say("where the largest value is: {}", "ArgMax"), "argmaxlayer argmin argsort sort hardmax"),
    (
        say("changing the shape is {}", "Reshape"),
        "view unflatten reshapelayer squeeze unsqueeze expanddims viewas squeezelayer",
    ),
    (say("merging axes into one is {}", "Flatten"), "ravel flattenlayer"),
    (
        say("repeating a blob along an axis is {}", "Tile"),
        "repeat repeatvector expand broadcastto broadcast repeatinterleave",
    ),
    (say("padding is {}", "Pad"), "zeropadding2d zeropad2d padding zeropadding1d zeropad padv2 zeropadding padlayer"),
    (say("padding is {}, with {}", "Pad", "value"), "constantpad2d constantpad1d"),
    (say("padding is {} with {}", "Pad", "mode: reflect"), "reflectionpad2d reflectionpad1d mirrorpad"),
    (say("padding is {} with {}", "Pad", "mode: edge"), "replicationpad2d replicationpad1d"),
    (say("cutting out a part is {}", "Crop"), "cropping2d cropping1d cropandresize croplayer cropping"),
    (
        say(
            "cutting out a part is {}; of the images of a data layer, its {} with {}",
            "Crop",
            "transform",
            "crop_size",
        ),
        "centercrop randomcrop",
    ),
    (say("picking rows is {}", "BatchReindex"), "gather indexselect take gathernd takealongaxis gatherelements"),
    (say("keeping some examples is {}", "Filter"), "booleanmask maskedselect mask compress masking nonzero"),
    (say("a learned blob is {}", "Parameter"), "variable weight learnable"),
    (
        say("a blob of fixed values is {}; a learned one {}", "DummyData", "Parameter"),
        "constant const fill constantofshape zeros ones zeroslike oneslike constantfill",
    ),
    (
        say("a blob of random values is {} with {}", "DummyData", "data_filler"),
        "randomnormal randomuniform noise gaussiannoise randomnormallike randomuniformlike",
    ),
    (
        say(
            "nothing needs to be written for it: blobs are read by any number of layers, and a layer's {} "
            "may be any of them",
            "bottom",
        ),
        "identity noop passthrough stopgradient cast detach linearactivation copy clone",
    ),
    (say("a gradient is stopped by {}", "propagate_down: false"), "gradientscaler gradientreversal blockgrad gradstop"),
    (say("a blob that nothing reads is consumed by {}", "Silence"), "sink terminator"),
    (
        say("a vector for each index is {}", "Embed"),
        "embedding embeddingbag wordembedding lookuptable embeddings lookup",
    ),
    (
        say("a recurrent net is {}, {} or {}; a cell of your own {}", "RNN", "LSTM", "GRU", "Recurrent"),
        "simplernn rnncell recurrentlayer rnnlayer elman simplernncell vanillarnn",
    ),
    (
        say("long short-term memory is {}; one step of it {}", "LSTM", "LSTMUnit"),
        "lstmcell lstmlayer cudnnlstm lstmcaffe",
    ),
    (
        say("nettrain has none; {} reads sequences in one direction", "LSTM"),
        "bidirectional bilstm bidirectionallstm convlstm convlstm2d peepholelstm blstm convlstm2dcell",
    ),
    (say("a gated recurrent unit is {}", "GRU"), "grucell grulayer cudnngru gruunit"),
    (
        say(
            "nettrain has none; layers read T x N sequences as they are, and {} has {} for them",
            "InnerProduct",
            "axis: 2",
        ),
        "timedistributed",
    ),
    (
        say("nettrain has none; build it from {}, {}, {} and {}", "InnerProduct", "MatMul", "Softmax", "LayerNorm"),
        "attention multiheadattention selfattention transformer transformerencoder transformerencoderlayer "
        "transformerdecoder additiveattention scaleddotproductattention dotproductattention bahdanauattention "
        "positionalencoding positionembedding groupedqueryattention feedforward crossattention transformerblock "
        "encoder decoder",
    ),
    (
        "nettrain has no blocks of several layers under one name: write them as layers",
        "sequential modulelist residualblock resblock resnetblock basicblock bottleneck inception seblock block "
        "module model subnet sublayer squeezeexcitation inceptionblock fire denseblock",
    ),
    (
        say("a list of images is {}", "ImageData"),
        "imagefolder imagelist imagedatalayer imagedatagenerator imagefile imagedatasets folderdata imagerecorditer",
    ),
    (say("HDF5 files are read by {}", "HDF5Data"), "hdf5 h5data h5 hdf5datalayer h5py"),
    (
        say("an LMDB is read by {} with {}", "Data", "backend: LMDB"),
        "lmdb lmdbdata databasedata datalayer dblmdb leveldb dblayer",
    ),
    (
        say("batches of examples are made by {}", "Data"),
        "dataset dataloader tfrecord tfdata csvdata csv npz numpydata mnist cifar10 datasource mnistdata loader "
        "tensordataset recorddata tabledata arraydata",
    ),
    (
        say("the net's inputs are {}, or a data layer such as {}", "Input", "Data"),
        "inputlayer placeholder inputs inputspec inputdata netinput imageinput",
    ),
    (
        say("nettrain has none; images and maps go into an .npz that {} reads", "Data"),
        "denseimagedata imagesegdata videodata imagelabelmapdata annotateddata imagelabeldata segmentationdata "
        "labelmapdata imagemultilabeldata multiimagedata imagelabellistdata transformeddata augmentation "
        "dataaugmentation dataaugment audiodata textdata cocodata vocdata",
    ),
    (
        say("images are changed by the {} of the layer that reads them: {} or {}", "transform", "Data", "ImageData"),
        "transform normalizeimage datatransform randomflip randomhorizontalflip meansubtraction preprocess",
    ),
    (say("outputs are written by {}", "HDF5Output"), "output outputlayer save dump"),
    (say("the boxes of a detector are {}", "PriorBox"), "priorboxes anchorbox"),
    (say("maxima of regions are {}", "ROIPooling"), "roipool maxroipool"),
    (say("a layer of your own is {}", "Python"), "pythonlayer custom customlayer pyfunc userdefined"),
    (
        "nettrain has none: it trains classifiers and regressors, not detectors",
        "roialign psroipooling psroialign proposal yolo region "
        "detection anchortarget proposaltarget nonmaxsuppression nms rpn anchorgenerator yolodetectionoutput "
        "deformablepsroipooling correlation roidata yolov3detectionoutput ssd refinedetoutput",
    ),
    (
        "nettrain has none",
        "shape size range crnn spatialtransformer gridsample affinegrid deformableconvolution deformableconv2d "
        "deformconv2d locallyconnected2d locallyconnected1d local locallyconnected bilinear crf "
        "multistagemeanfield hashing stochasticpool lppool2d fractionalmaxpool2d mixturedensity capsule graphconv "
        "gcnconv gatconv flow resample flowwarp octaveconv dynamicconv erf floor ceil round sin cos tan mod "
        "logicaland logicalor not isnan quantizelinear dequantizelinear onehot rot90 flip reverse roll tril triu "
        "scatter scatternd loop if scan fft dft stft melspectrogram quantize fakequant categoryencoding hash "
        "discretization stringlookup textvectorization crelu",
    ),
)

# not known, and no misspellings of those that are
DATA_SETS = (
    "cifar100 emnist kmnist qmnist imagenet iris svhn stl10 coco voc pascal omniglot celeba imdb usps boston "
    "titanic wine circles regression sine swissroll caltech101 ptb wikitext librispeech speechcommands lfw "
    "tinyimagenet"
)
