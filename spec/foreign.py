"""What other frameworks call things, and what to write here: layer types, their keys, and words that name a choice.

Names of Caffe's forks, PyTorch, Keras, TensorFlow, ONNX and darknet. In each text an advice stands above the words it
is given for, which are indented; upper case, ``_`` and ``-`` make no difference. An advice is one of our names alone,
or a sentence. One of a key or a choice is given where the first name in backticks is known (a word may mean different
things in different places), or everywhere if it has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import folded

Table = dict[str, list[str]]

_TYPES = """
a fully connected layer is `InnerProduct`
    linear dense fc fullyconnected fullconnection connected gemm mlp ip affine lazylinear timedistributeddense
a convolution is `Convolution`
    conv conv2d conv2dlayer convlayer spatialconvolution convolutional lazyconv2d convolution2d cudnnconvolution
    conv2dlocal
a convolution is `Convolution`, in any number of dimensions
    conv1d conv3d convolution1d convolution3d ndconv
a convolution of each channel by itself is `Convolution` with `group` = channels
    depthwiseconvolution convolutiondepthwise depthwiseconv2d depthwiseconv depthwise dwconv depthwiseconvolution2d
    depthwiseconv1d convolutiondw depthwiseconvolutiongpu
a separable convolution is two: `Convolution` with `group` = channels, then one with `kernel_size: 1`
    separableconv2d separableconv separableconvolution separableconvolution2d separableconv1d pointwiseconv
a grouped convolution is `Convolution` with `group`
    groupconvolution groupedconvolution groupconv
a convolution with holes is `Convolution` with `dilation`
    atrousconvolution2d dilatedconvolution atrousconv
a transposed convolution is `Deconvolution`
    convtranspose convtranspose2d conv2dtranspose deconv deconv2d transposedconvolution transposeconv deconvolution2d
    deconvolutional upconv fractionallystridedconvolution
a transposed convolution is `Deconvolution`, in any number of dimensions
    convtranspose1d convtranspose3d conv1dtranspose conv3dtranspose
max pooling is `Pooling` with `pool: MAX`
    maxpool maxpool2d maxpooling maxpooling2d spatialmaxpooling
average pooling is `Pooling` with `pool: AVE`
    avgpool avgpool2d averagepool averagepooling averagepooling2d avepool avepooling meanpool spatialaveragepooling
global average pooling is `Pooling` with `pool: AVE` and `global_pooling: true`
    globalaveragepooling2d adaptiveavgpool2d globalaveragepool globalavgpool globalavgpool2d globalpooling
    adaptiveavgpool
global max pooling is `Pooling` with `pool: MAX` and `global_pooling: true`
    globalmaxpooling2d globalmaxpool adaptivemaxpool2d globalmaxpool2d
pooling is `Pooling`
    pool pool2d pooling2d poolinglayer subsampling subsample
nettrain pools images, in two dimensions: `Reshape` them to N x C x L x 1 first, with `kernel_h` and `kernel_w` in
`Pooling`
    maxpool1d maxpooling1d avgpool1d averagepooling1d globalaveragepooling1d globalmaxpooling1d adaptiveavgpool1d
    adaptivemaxpool1d
nettrain has no pooling in three dimensions
    maxpool3d maxpooling3d avgpool3d averagepooling3d adaptiveavgpool3d
spatial pyramid pooling is `SPP`
    spatialpyramidpooling spppooling pyramidpooling
windows as columns are `Im2col`
    unfold extractimagepatches
nettrain has none; bilinear upsampling by a whole factor is `Deconvolution` with `weight_filler: bilinear`, `group` =
channels and `bias_term: false`; repeating pixels is the same with `weight_filler: 1` and `kernel_size` = `stride`
    upsample upsampling upsampling2d upsamplingbilinear2d upsamplingnearest2d interp interpolate interpolation resize
    resizebilinear resizenearestneighbor resizing bilinearupsampling upsampledarknet nninterp nnupsample
nettrain has no unpooling; upsampling is `Deconvolution`
    maxunpool2d maxunpool unpooling unpool maxunpooling
nettrain has none: a sum of windows back into an image is the backward pass of `Im2col`
    fold col2im
nettrain has no layer that reorders axes; the last two of a matrix product may be exchanged: `MatMul` with
`transpose_a` and `transpose_b`
    permute transpose swapaxes movedim moveaxis rearrange
nettrain has none: it needs a layer that reorders axes
    shufflechannel channelshuffle pixelshuffle depthtospace spacetodepth reorg pixelunshuffle spacetobatchnd
    batchtospacend reorgyolo pixelshuffler subpixel
a ReLU is `ReLU`
    rectifier rectifiedlinear relulayer rectifiedlinearunit cudnnrelu
a leaky ReLU is `ReLU` with `negative_slope`
    leakyrelu lrelu leaky rrelu leakyrectify
a ReLU that ends at 6 is `Clip` with `min: 0` and `max: 6`
    relu6 reluclipped clippedrelu cappedrelu relun
that is `ELU` and then `Power` with `scale: 1.0507`; the `alpha` is 1.6733
    selu
nettrain has none; `ELU` is near
    celu
the logistic sigmoid is `Sigmoid`
    logistic logisticsigmoid sigm
the hyperbolic tangent is `TanH`
    hyperbolictangent tanhlayer
softplus is `Softplus`; Caffe's name for it is `BNLL`
    softrelu smoothrelu
nettrain has none; made of layers: `Power` with `shift: 3`, `Clip` with `min: 0` and `max: 6`, `Power` with `scale:
0.16667`, and for hard swish `Eltwise` with `operation: PROD`
    hardsigmoid hardswish hswish hsigmoid hardsilu
nettrain has none; `ReLU`, `Softplus` and `TanH` are near
    softsign softshrink hardshrink tanhshrink shrink thresholdedrelu scaledtanh logsigmoid
the absolute value is `AbsVal`
    abs absolute absolutevalue
a power is `Power`
    pow powlayer
a square root is `Power` with `power: 0.5`
    sqrt squareroot
a square is `Power` with `power: 2`
    square sqr
one over x is `Power` with `power: -1`
    reciprocal inverse
a square root below one is `Power` with `power: -0.5`
    rsqrt
minus x is `Power` with `scale: -1`
    neg negative negate
that is `Power` with `scale` and `shift`
    rescaling mulconstant addconstant lambda multiplyscalar addscalar
holding values between two bounds is `Clip`
    hardtanh clamp clipbyvalue hardlimit brelu
a gate that opens with its own input is `SiLU`
    siluact
nettrain has none; `Threshold` gives 0 and 1
    step sign greater less heaviside binarize stepfunction equal where
activations are types of their own, such as `ReLU`, `Sigmoid` or `TanH`
    activation activationlayer nonlinearity nonlin act activations
a learned slope is `PReLU`
    parametricrelu prelulayer
nettrain has none; `GELU` and `SiLU` are types, and a product of two blobs is `Eltwise` with `operation: PROD`
    geglu swiglu glu gatedlinearunit reglu
softmax is `Softmax`
    softmaxactivation softmaxlayer softmax2d spatialsoftmax
the logarithm of softmax is `LogSoftmax`
    logsoftmaxlayer logsoftmax2d
nettrain has none; `Softmax` is near
    softmin sparsemax gumbelsoftmax adaptivesoftmax hierarchicalsoftmax
batch normalization is `BatchNorm`, with `affine: true` for a learned factor and offset
    bn batchnorm1d batchnorm2d batchnorm3d batchnormalization batchnormalizationlayer spatialbatchnormalization
    syncbatchnorm cudnnbatchnorm bnlayer batchnormlayer syncbn batchnormalizationv2 lazybatchnorm2d batchnormscale
    bninference
nettrain has none; `BatchNorm` with `affine: true` is near
    batchrenorm batchrenormalization frozenbatchnorm2d switchnorm switchablenorm filterresponsenorm
layer normalization is `LayerNorm`
    layernormalization ln layernorm2d
group normalization is `GroupNorm`
    groupnormalization gn
instance normalization is `GroupNorm` with `num_groups` = channels
    instancenorm instancenorm1d instancenorm2d instancenormalization instancenorm3d in contrastnormalization
local response normalization is `LRN`
    localresponsenorm localresponsenormalization crossmaplrn2d spatialcrossmaplrn responsenormalization
nettrain has none that divides by a vector's length; `LayerNorm`, `GroupNorm`, `MVN` and `LRN` are its normalizations
    normalize normalization norm l2norm l2normalize l2normalization normalizelayer unitnorm unitnormalization
    lpnormalization grn rmsnorm rmsnormalization weightnorm spectralnorm simplifiedlayernormalization normalizebbox
softmax and cross entropy are one layer, `SoftmaxWithLoss`
    crossentropy crossentropyloss softmaxloss softmaxcrossentropy softmaxcrossentropyloss categoricalcrossentropy
    sparsecategoricalcrossentropy ce celoss softmaxwithcrossentropy sparsesoftmaxcrossentropy softmaxoutput xent
    softmaxcrossentropywithlogits
the squared error is `EuclideanLoss`, (1/2N) times the sum of squares
    mse mseloss meansquarederror l2loss l2 squaredloss squarederror squareloss cost sse quadraticloss euclidean
    l2distanceloss
the mean absolute error is `L1Loss`
    mae maeloss meanabsoluteerror l1 absoluteloss absoluteerror l1cost
a squared error that becomes absolute is `SmoothL1Loss`
    huberloss huber smoothl1 smoothl1losslayer smoothl1lossohem
the multiclass SVM loss is `MulticlassSVMLoss`; each class against all others, `HingeLoss`
    svmloss svm hinge marginloss categoricalhinge squaredhinge softmarginloss multiclasshinge multilabelmarginloss
the multiclass SVM loss is `MulticlassSVMLoss`
    multimarginloss
yes or no for every element is `SigmoidCrossEntropyLoss`, from scores
    bceloss binarycrossentropy bce binarycrossentropyloss binarycrossentropywithlogits logisticloss logloss
    sigmoidloss multilabelloss
yes or no for every element is `SigmoidCrossEntropyLoss`
    bcewithlogitsloss bcewithlogits sigmoidcrossentropywithloss sigmoidcrossentropy multilabelsoftmarginloss
cross entropy of given probabilities is `MultinomialLogisticLoss`; of scores, `SoftmaxWithLoss`
    nllloss nll negativeloglikelihood negativeloglikelihoodloss logisticregression
a loss for pairs is `ContrastiveLoss`
    contrastive pairloss siameseloss marginrankingloss cosineembeddingloss hingeembeddingloss
nettrain has none; `ContrastiveLoss` learns from pairs
    tripletloss tripletmarginloss triplet centerloss infonce npairloss arcface cosface rankingloss lifted
    quadrupletloss
nettrain has none; with `class_weight`, `SoftmaxWithLoss` counts some classes more
    focalloss focal softmaxwithfocalloss sigmoidfocalloss weightedsoftmaxwithloss softmaxwithlossohem diceloss dice
    tverskyloss jaccardloss iouloss weightedsoftmaxloss ghmloss generalizeddice softmaxfocalloss
nettrain has none; its losses are in `nettrain layers`
    ctcloss ctc ctcbeamsearchdecoder kldivloss kldivergence kld poissonnllloss poisson gaussiannllloss logcosh klloss
    cosineloss wingloss yololoss yolov3loss regionloss multiboxloss crfloss rnntloss perceptualloss
the share of right answers is `Accuracy`
    acc categoricalaccuracy sparsecategoricalaccuracy metric metrics topkaccuracy top1 top5 accuracylayer precision1
    evaluation eval
that share is `BinaryAccuracy`
    multilabelaccuracy sigmoidaccuracy binaryacc
nettrain has none; `Accuracy` gives one share for each class as its second top
    precision recall f1 f1score auc roc map meaniou iou confusionmatrix perclassaccuracy detectionevaluate
    precisionrecall
adding blobs is `Eltwise` with `operation: SUM`
    add plus addition shortcut caddtable sumlayer residual addn elementwise elementwisesum elementwiseadd eltwiseadd
    eltwisesum skip
adding blobs is `Eltwise` with `operation: SUM`; of different shapes with `broadcast: true` too
    broadcastadd broadcastplus
a difference is `Eltwise` with `operation: SUM` and `coeff: [1, -1]`
    sub subtract minus subtraction difference
multiplying blobs is `Eltwise` with `operation: PROD`
    mul multiply multiplication prod cmultable eltwiseprod product hadamard elementwisemul elementwiseproduct
multiplying blobs of different shapes is `Eltwise` with `operation: PROD` and `broadcast: true`
    broadcastmul scalechannels broadcastmultiply
a quotient is `Power` with `power: -1`, then `Eltwise` with `operation: PROD`
    div divide division
the larger of two blobs is `Eltwise` with `operation: MAX`
    maximum eltwisemax elementwisemax max
the smaller of two is -max(-a, -b): `Power` with `scale: -1` around `Eltwise` with `operation: MAX`
    minimum min
that is `Eltwise` with `operation: SUM` and `coeff` of 1/n each
    average averagelayer avg
that is `Scale` with two bottoms and `axis: 0`, then `Eltwise` with `operation: SUM`
    axpy scaleadd
joining blobs is `Concat`
    cat concatenate route concatenation merge join concatv2 jointable stack pack depthconcat hstack vstack dstack
    concatlayer
cutting a blob into several is `Slice`
    chunk splitv unstack narrow unpack unbind slicelayer tensorsplit select stridedslice
a factor and an offset for each channel are `Scale` with `bias_term: true`
    scaleshift channelaffine affinechannel scalebias scaling
an offset for each channel is `Bias`
    biasadd addbias biaslayer offset shift
a product of two blobs is `MatMul`
    bmm batchmatmul dot batchdot mm mv matrixmultiply einsum dotproduct
the cosine of rows is `CosineSimilarity`
    cosine cosinedistance pairwisedistance cosinesim
a mean over the last axes is `Reduction` with `operation: MEAN`
    mean reducemean
a sum over the last axes is `Reduction`; of several blobs, `Eltwise`
    sum
a sum over the last axes is `Reduction`
    reducesum reduce reducel1 reducesumsquare
nettrain has no largest or smallest over axes; `ArgMax` gives where it is, and `Pooling` with `global_pooling: true`
that of an image
    reducemax reducemin amax amin reduceprod reducel2 reducelogsumexp logsumexp std var variance cumsum cumprod
the largest values and where they are: `ArgMax` with `top_k`
    topk
where the largest value is: `ArgMax`
    argmaxlayer argmin argsort sort hardmax
a new shape is `Reshape`
    view unflatten reshapelayer squeeze unsqueeze expanddims viewas squeezelayer
one long axis is `Flatten`
    ravel flattenlayer
repeating a blob along an axis is `Tile`
    repeat repeatvector expand broadcastto broadcast repeatinterleave
padding is `Pad`
    zeropadding2d zeropad2d padding zeropadding1d zeropad padv2 zeropadding padlayer
padding is `Pad`, with `value`
    constantpad2d constantpad1d
padding is `Pad` with `mode: reflect`
    reflectionpad2d reflectionpad1d mirrorpad
padding is `Pad` with `mode: edge`
    replicationpad2d replicationpad1d
cutting out a part is `Crop`
    cropping2d cropping1d cropandresize croplayer cropping
cutting out a part is `Crop`; of the images of a data layer, its `transform` with `crop_size`
    centercrop randomcrop
picking rows is `BatchReindex`
    gather indexselect take gathernd takealongaxis gatherelements
keeping some examples is `Filter`
    booleanmask maskedselect mask compress masking nonzero
a learned blob is `Parameter`
    variable weight learnable
a blob of fixed values is `DummyData`; a learned one `Parameter`
    constant const fill constantofshape zeros ones zeroslike oneslike constantfill
a blob of random values is `DummyData` with `data_filler`
    randomnormal randomuniform noise gaussiannoise randomnormallike randomuniformlike
nothing needs to be written for it: blobs are read by any number of layers, and a layer's `bottom` may be any of them
    identity noop passthrough stopgradient cast detach linearactivation copy clone
a gradient is stopped by `propagate_down: false`
    gradientscaler gradientreversal blockgrad gradstop
what nobody reads is taken by `Silence`
    sink terminator
a vector for each index is `Embed`
    embedding embeddingbag wordembedding lookuptable embeddings lookup
a recurrent net is `RNN`, `LSTM` or `GRU`; a cell of your own `Recurrent`
    simplernn rnncell recurrentlayer rnnlayer elman simplernncell vanillarnn
long short-term memory is `LSTM`; one step of it `LSTMUnit`
    lstmcell lstmlayer cudnnlstm lstmcaffe
nettrain has none; `LSTM` reads sequences in one direction
    bidirectional bilstm bidirectionallstm convlstm convlstm2d peepholelstm blstm convlstm2dcell
a gated recurrent unit is `GRU`
    grucell grulayer cudnngru gruunit
nettrain has none; layers read T x N sequences as they are, and `InnerProduct` has `axis: 2` for them
    timedistributed
nettrain has none; it is made of `InnerProduct`, `MatMul`, `Softmax` and `LayerNorm`
    attention multiheadattention selfattention transformer transformerencoder transformerencoderlayer
    transformerdecoder additiveattention scaleddotproductattention dotproductattention bahdanauattention
    positionalencoding positionembedding groupedqueryattention feedforward crossattention transformerblock encoder
    decoder
nettrain has no blocks of several layers under one name: write them as layers
    sequential modulelist residualblock resblock resnetblock basicblock bottleneck inception seblock block module
    model subnet sublayer squeezeexcitation inceptionblock fire denseblock
dropout is `Dropout`
    dropoutlayer dropout1d alphadropout
nettrain has none; `Dropout` sets single values to 0
    dropout2d spatialdropout2d spatialdropout1d dropblock droppath stochasticdepth gaussiandropout dropout3d
    dropconnect featuredropout zoneout
a list of images is `ImageData`
    imagefolder imagelist imagedatalayer imagedatagenerator imagefile imagedatasets folderdata imagerecorditer
HDF5 files are read by `HDF5Data`
    hdf5 h5data h5 hdf5datalayer h5py
an LMDB is read by `Data` with `backend: LMDB`
    lmdb lmdbdata databasedata datalayer dblmdb leveldb dblayer
batches of examples are made by `Data`
    dataset dataloader tfrecord tfdata csvdata csv npz numpydata mnist cifar10 datasource mnistdata loader
    tensordataset recorddata tabledata arraydata
the net's inputs are `Input`, or a layer of data such as `Data`
    inputlayer placeholder inputs inputspec inputdata netinput imageinput
nettrain has none; images and maps go into an .npz that `Data` reads
    denseimagedata imagesegdata videodata imagelabelmapdata annotateddata imagelabeldata segmentationdata labelmapdata
    imagemultilabeldata multiimagedata imagelabellistdata transformeddata augmentation dataaugmentation dataaugment
    audiodata textdata cocodata vocdata
images are changed by the `transform` of the layer that reads them: `Data` or `ImageData`
    transform normalizeimage datatransform randomflip randomhorizontalflip meansubtraction preprocess
outputs are written by `HDF5Output`
    output outputlayer save dump
a layer of your own is `Python`
    pythonlayer custom customlayer pyfunc userdefined
nettrain has none: it trains classifiers and regressions, not detectors
    roipooling roipool roialign psroipooling psroialign priorbox detectionoutput proposal yolo region detection
    anchortarget proposaltarget nonmaxsuppression nms rpn anchorgenerator yolodetectionoutput deformablepsroipooling
    correlation priorboxes roidata yolov3detectionoutput ssd refinedetoutput
nettrain has none
    shape size range crnn spatialtransformer gridsample affinegrid deformableconvolution deformableconv2d deformconv2d
    locallyconnected2d locallyconnected1d local
    locallyconnected bilinear crf multistagemeanfield hashing stochasticpool lppool2d
    fractionalmaxpool2d mixturedensity capsule graphconv gcnconv gatconv flow resample flowwarp octaveconv dynamicconv
    erf floor ceil round sin cos tan mod logicaland logicalor not isnan quantizelinear dequantizelinear onehot rot90
    flip reverse roll tril triu scatter scatternd loop if scan fft dft stft melspectrogram quantize fakequant
    categoryencoding hash discretization stringlookup textvectorization crelu
"""

_KEYS = """
cell
    layers net
bottom
    inputs input in from source_layer
top
    outputs output out
param
    params parameters
num_output
    units out_features out_channels filters num_filters n_filters nb_filter neurons hidden_units num_hidden output_dim
    outputs nout n_output num_outputs num_units size_out hidden_size
kernel_size
    kernel kernel_shape ksize filter_size pool_size window filter_shape size
stride
    strides subsample
pad
    padding pads border
dilation
    dilation_rate dilations dilate atrous_rate hole rate
group
    groups num_groups num_group n_group groupcount feature_group_count
bias_term
    bias use_bias has_bias with_bias biases no_bias biasterm
weight_filler
    kernel_initializer weight_init init initializer weight_initializer w_init embeddings_initializer weights_init
    filler weight_fill
bias_filler
    bias_initializer bias_init b_init
filler
    weight_filler initializer init kernel_initializer initial value
eps
    epsilon variance_epsilon
dropout_ratio
    p rate prob probability drop_prob ratio keep_prob drop_rate
negative_slope
    slope alpha leak leakiness leaky
axis
    dim axes
local_size
    size n depth_radius nsize
round_mode
    rounding
global_pooling
    global is_global
operation
    op operator eltwise_op
coeff
    coefficients coeffs weights
normalization
    reduction
ignore_label
    ignore_index ignore
batch_size
    batch batchsize minibatch bs
source
    file path filename dataset data_dir
slice_point
    slice_points sections split indices_or_sections
shape
    dims size input_shape target_shape dim out_shape
transpose_a
    trans_a
transpose_b
    trans_b
tiles
    repeats multiples times
crop_size
    crop
loss_weight
    lossweight loss_weights
propagate_down
    need_backward stop_gradient
write `round_mode: CEIL`, which is Caffe's, or `round_mode: FLOOR`
    ceil_mode rounding_type pooling_convention
write `pool: MAX` or `pool: AVE`
    pool_type pooling mode method pool_method op pooling_type
nettrain's `pool: AVE` counts the padding, as Caffe's does, except beyond the padded image
    count_include_pad count_excluding_padding exclude
a second top of Pooling with `pool: MAX` has the places
    return_indices
a `kernel_size` of the image is `global_pooling: true`
    output_size adaptive
write `moving_average_fraction`, the share that is kept (PyTorch's momentum is 1 minus it)
    momentum bn_momentum
write `use_global_stats`; left out, it is the batch's statistics in TRAIN
    track_running_stats training frozen is_training use_running_average use_global_statistics bn_mode mode
write `affine: true`
    scale center elementwise_affine scale_bias use_scale use_shift learnable
nettrain's blobs are N x C x H x W; there is no choice
    data_format channels_last image_data_format layout
sequences are T x N x …, time first and then examples
    batch_first time_major
padding of other kinds than zeros is a layer before, of type Pad
    padding_mode
padding is the same on both sides; a layer of type Pad before it may differ
    pad_l pad_r pad_t pad_b pad_left pad_right pad_top pad_bottom output_padding
padding is counted in pixels: `pad`
    auto_pad border_mode
the size of the input is known from the layer before; leave it out
    in_channels in_features input_size input_channels num_input in_dim num_features normalized_shape channels c_in nin
    n_input num_channels
an activation is a layer of its own, such as {name: relu1, type: ReLU}
    activation act nonlinearity activation_function transfer
batch normalization is a layer of its own, of type BatchNorm
    batch_normalize batch_norm use_bn bn normalizer_fn
write it as param: [{lr_mult: …}], an entry for each parameter blob
    lr_mult blobs_lr lr lr_multiplier learning_rate learning_rate_multiplier lr_scale lr_mults
write it as param: [{decay_mult: …}], an entry for each parameter blob
    decay_mult weight_decay regularizer kernel_regularizer l2 wd_mult bias_regularizer kernel_constraint
    weight_regularizer decay
parameters that are not to be learned have param: [{lr_mult: 0}], or stand in solver.freeze
    trainable frozen freeze fixed learnable requires_grad
shared parameters have the same name: param: [{name: …}]
    share shared tied weight_tying share_from
that is the type of the layer: write type
    layer_type class_name class op_type
the name of the layer is name
    id layer_name
a layer is in one phase only with `include: TRAIN` or `include: TEST`
    phase
a layer is in some stages only with include: {stage: …}
    stage stages
a top may have its bottom's name; memory is then shared where that is safe
    inplace in_place
seeds follow from solver.random_seed
    seed random_state
everything is float32; explain and gradcheck use float64
    dtype precision
sequences go through a layer once, in one direction; write several layers
    num_layers bidirectional layers n_layers go_backwards
all steps come out, T x N x …; a layer of type Slice takes the last
    return_sequences return_state
the gates are TanH and Sigmoid, and dropout is a layer of its own
    recurrent_dropout recurrent_activation nonlinearities recurrent_initializer
"""

_TOP = """
layers
    layer net network model architecture
solver
    optimizer optim train training trainer hyperparameters hparams solver_param
data is read by a layer, such as {type: Data}
    data dataset datasets dataloader inputs input
losses and scores are layers, such as {type: SoftmaxWithLoss} and {type: Accuracy}
    loss losses metrics criterion
a test is made where a layer reads test data; how often says test_interval in `solver`
    test val validation eval
"""

_CHOICES = """
TRAIN
    training
TEST
    testing val validation eval evaluation inference deploy
nettrain has none; `Adam` is the nearest
    adamax nadam radam lion lamb adabelief adafactor sparseadam adan yogi lookahead rprop lbfgs sophia adamp ranger
nettrain has none; `SGD` is the nearest
    ftrl lars asgd sgdw sophiag signsgd gd averagedsgd muon
that is `SGD` with `momentum`
    momentum sgdm gradientdescent momentumoptimizer
SGD
    stochasticgradientdescent batchgradientdescent
Nesterov
    nag nesterovmomentum nesterovs sgdnesterov
that is `Adam` with amsgrad: true
    amsgrad
AdamW
    adamdecoupled decoupledadam adamweightdecay
fixed
    constant none const constantlr
that is `multistep` with stepvalue, or `step` with stepsize
    steps multisteplr piecewise piecewiseconstant steplr milestones multifixed stepdecay
exp
    exponential exponentiallr exponentialdecay
that is `poly` with power: 1
    linear linearlr polynomial polynomiallr polynomialdecay lineardecay
cosine
    cosineannealing cosineannealinglr cosinedecay cos sgdr cosinewarmup
plateau
    reducelronplateau reduceonplateau adaptive reducelr
nettrain has none; `cosine` with warmup_iter is near
    onecycle onecyclelr cyclic cycliclr triangular clr cosinerestarts cosineannealingwarmrestarts warmup noam
`inv` is near: (1 + gamma·iter)^-power
    inverse inversetime inversetimedecay inversesqrt
AVE
    average avg mean avepool avgpool
MAX
    maximum maxpool maxpooling
nettrain has none; `AVE` counts the padding
    aveexcpad
nettrain has none; it is -max(-x): layers Power with scale: -1 around `MAX`
    min minimum minpool
that is `SUM` with coeff: [1, -1]
    sub subtract minus difference diff
SUM
    add plus addition
PROD
    mul multiply product times multiplication
nettrain has none; Power with power: -1, then `PROD`
    div divide quotient
MEAN
    average avg ave reducemean
that is `SUM` with a coeff of 1/n for each
    mean average avg ave
SUMSQ
    sumsquare l2 sumofsquares sqsum
ASUM
    l1 abssum sumabs
nettrain has none; over axes there are `SUM`, `ASUM`, `SUMSQ` and `MEAN`
    max min prod logsumexp
reflect
    mirror reflection reflect101
edge
    replicate replication border nearest
that is `constant` with value: 0, or the number 0
    zeros zero none
constant
    zero zeros
nettrain has none; `reflect` leaves out the edge, `edge` repeats it
    symmetric circular wrap periodic
that is `VALID`, the mean over all that counts
    mean average avg
that is `NONE`, which divides by 1
    sum no
BATCH_SIZE
    batchmean batch
msra
    he henormal heuniform kaiming kaimingnormal kaiminguniform heinit variancescaling
xavier
    glorot glorotuniform glorotnormal xavieruniform xaviernormal glorotinit lecun lecunnormal lecununiform
gaussian
    normal randomnormal randn gauss normaldistribution
nettrain has none; `gaussian` is the nearest
    truncatednormal truncnormal orthogonal sparse spectral dirac
uniform
    randomuniform rand uniformdistribution
that is `constant` with value: 1, or the number 1
    ones one
nettrain has none; a matrix can be given as `constant` with values: […]
    identity eye diagonal unit
nettrain has none
    l1l2 elasticnet
"""

_DATA_SETS = """
cifar100 emnist kmnist qmnist imagenet iris svhn stl10 coco voc pascal omniglot celeba imdb usps boston titanic wine
circles regression sine swissroll caltech101 ptb wikitext librispeech speechcommands lfw tinyimagenet
"""


def _table(text: str) -> Table:
    """Word -> its advices, in the order of the text."""
    result: Table = {}
    parts = re.findall(r"^((?:\S.*\n)+)((?: +.*\n)+)", text, re.MULTILINE)
    for advice, words in parts:
        sentence = " ".join(advice.split())
        for word in re.sub("[-_]", "", words.casefold()).split():  # as `folded`, at once: every command does this
            result.setdefault(word, []).append(sentence)
    return result


TYPES, KEYS, TOP, CHOICES = _table(_TYPES), _table(_KEYS), _table(_TOP), _table(_CHOICES)
DATA_SETS = frozenset(_DATA_SETS.split())  # not known, and no misspellings of those that are


def names_in(advice: str) -> list[str]:
    """The names that an advice speaks of; of ``pool: MAX`` and its like the key."""
    if " " not in advice:
        return [advice] * bool(advice)
    return [name.partition(":")[0] for name in re.findall("`([^`]*)`", advice)]


def advice(table: Table, word: str, known: Iterable[str]) -> str:
    """What to write instead of a word from elsewhere, or nothing."""
    advices = table.get(folded(word))
    known = set(known) if advices else set()
    for one in advices or ():
        names = names_in(one)
        if not names or names[0] in known:
            return one
    return ""
