"""Keys of layers, and of a whole spec."""

from __future__ import annotations

from ..advice import say

KEYS = (
    ("cell", "layers net"),
    ("bottom", "inputs input in from source_layer"),
    ("top", "outputs output out"),
    ("param", "params parameters"),
    (
        "num_output",
        "units out_features out_channels filters num_filters n_filters nb_filter neurons hidden_units num_hidden "
        "output_dim outputs nout n_output num_outputs num_units size_out hidden_size",
    ),
    ("kernel_size", "kernel kernel_shape ksize filter_size pool_size window filter_shape size"),
    ("stride", "strides subsample"),
    ("pad", "padding pads border"),
    ("dilation", "dilation_rate dilations dilate atrous_rate hole rate"),
    ("group", "groups num_groups num_group n_group groupcount feature_group_count"),
    ("bias_term", "bias use_bias has_bias with_bias biases no_bias biasterm"),
    (
        "weight_filler",
        "kernel_initializer weight_init init initializer weight_initializer w_init embeddings_initializer "
        "weights_init filler weight_fill",
    ),
    ("bias_filler", "bias_initializer bias_init b_init"),
    ("filler", "weight_filler initializer init kernel_initializer initial value"),
    ("eps", "epsilon variance_epsilon"),
    ("dropout_ratio", "p rate prob probability drop_prob ratio keep_prob drop_rate"),
    ("negative_slope", "slope alpha leak leakiness leaky"),
    ("axis", "dim axes"),
    ("local_size", "size n depth_radius nsize"),
    ("round_mode", "rounding"),
    ("global_pooling", "global is_global"),
    ("operation", "op operator eltwise_op"),
    ("coeff", "coefficients coeffs weights"),
    ("normalization", "reduction"),
    ("ignore_label", "ignore_index ignore"),
    ("batch_size", "batch batchsize minibatch bs"),
    ("source", "file path filename dataset data_dir"),
    ("slice_point", "slice_points sections split indices_or_sections"),
    ("shape", "dims size input_shape target_shape dim out_shape"),
    ("transpose_a", "trans_a"),
    ("transpose_b", "trans_b"),
    ("tiles", "repeats multiples times"),
    ("crop_size", "crop"),
    ("order", "dims perm axes permutation"),
    ("loss_weight", "lossweight loss_weights"),
    ("propagate_down", "need_backward stop_gradient"),
    (
        say("write {}, which is Caffe's, or {}", "round_mode: CEIL", "round_mode: FLOOR"),
        "ceil_mode rounding_type pooling_convention",
    ),
    (say("write {} or {}", "pool: MAX", "pool: AVE"), "pool_type pooling mode method pool_method op pooling_type"),
    (
        say("{} counts the padding, as Caffe's does; {} does not", "pool: AVE", "count_include_pad: false"),
        "count_excluding_padding exclude exclusive",
    ),
    (say("the second top of Pooling with {} has the positions", "pool: MAX"), "return_indices"),
    (say("a {} of the whole image is {}", "kernel_size", "global_pooling: true"), "output_size adaptive"),
    (
        say("write {}, the share that is kept (PyTorch's momentum is 1 minus it)", "moving_average_fraction"),
        "momentum bn_momentum",
    ),
    (
        say("write {}; without it, TRAIN uses the batch's statistics", "use_global_stats"),
        "track_running_stats training frozen is_training use_running_average use_global_statistics bn_mode mode",
    ),
    (say("write {}", "affine: true"), "scale center elementwise_affine scale_bias use_scale use_shift learnable"),
    ("nettrain's blobs are N x C x H x W; there is no choice", "data_format channels_last image_data_format layout"),
    ("sequences are T x N x …, time first and then examples", "batch_first time_major"),
    ("padding with anything but zeros is a layer of type Pad before it", "padding_mode"),
    (
        "padding is the same on both sides; a layer of type Pad before it may differ",
        "pad_l pad_r pad_t pad_b pad_left pad_right pad_top pad_bottom output_padding",
    ),
    (say("padding is counted in pixels: {}", "pad"), "auto_pad border_mode"),
    (
        "the size of the input is known from the layer before; leave it out",
        "in_channels in_features input_size input_channels num_input in_dim num_features normalized_shape "
        "channels c_in nin n_input num_channels",
    ),
    (
        "an activation is a layer of its own, such as {name: relu1, type: ReLU}",
        "activation act nonlinearity activation_function transfer",
    ),
    (
        "batch normalization is a layer of its own, of type BatchNorm",
        "batch_normalize batch_norm use_bn bn normalizer_fn",
    ),
    (
        "write it as param: [{lr_mult: …}], an entry for each parameter blob",
        "lr_mult blobs_lr lr lr_multiplier learning_rate learning_rate_multiplier lr_scale lr_mults",
    ),
    (
        "write it as param: [{decay_mult: …}], an entry for each parameter blob",
        "decay_mult weight_decay regularizer kernel_regularizer l2 wd_mult bias_regularizer kernel_constraint "
        "weight_regularizer decay",
    ),
    (
        "parameters that are not to be learned have param: [{lr_mult: 0}], or their layer is in solver.freeze",
        "trainable frozen freeze fixed learnable requires_grad",
    ),
    ("shared parameters have the same name: param: [{name: …}]", "share shared tied weight_tying share_from"),
    ("that is the type of the layer: write type", "layer_type class_name class op_type"),
    ("the name of the layer is name", "id layer_name"),
    (say("a layer is in only one phase with {} or {}", "include: TRAIN", "include: TEST"), "phase"),
    ("a layer is in only some stages with include: {stage: …}", "stage stages"),
    ("a top may have its bottom's name; memory is then shared where it is safe", "inplace in_place"),
    ("seeds follow from solver.random_seed", "seed random_state"),
    ("everything is float32; explain and gradcheck use float64", "dtype precision"),
    (
        "sequences go through a layer once, in one direction; write several layers",
        "num_layers bidirectional layers n_layers go_backwards",
    ),
    ("all steps are output, T x N x …; a layer of type Slice takes the last", "return_sequences return_state"),
    (
        "the gates are TanH and Sigmoid, and dropout is a layer of its own",
        "recurrent_dropout recurrent_activation nonlinearities recurrent_initializer",
    ),
)

TOP = (
    ("layers", "layer net network model architecture"),
    ("solver", "optimizer optim train training trainer hyperparameters hparams solver_param"),
    ("data is read by a layer, such as {type: Data}", "data dataset datasets dataloader inputs input"),
    (
        "losses and scores are layers, such as {type: SoftmaxWithLoss} and {type: Accuracy}",
        "loss losses metrics criterion",
    ),
    (
        say("tests are run where a layer reads test data; test_interval in {} says how often", "solver"),
        "test val validation eval",
    ),
)
