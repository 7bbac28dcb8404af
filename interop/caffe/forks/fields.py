"""What forks of Caffe added: fields of messages, as they stand in text files, and types that have no equal here."""

from __future__ import annotations

_SIDES = dict.fromkeys(("pad_l", "pad_r", "pad_t", "pad_b"), ("uint32",))
_FILLER = ("FillerParameter",)

FORK_FIELDS: dict[str, dict[str, tuple]] = {
    "LayerParameter": {
        "bn_param": ("BNParameter",),
        "permute_param": ("PermuteParameter",),
        "norm_param": ("NormalizeParameter",),
        "normalize_param": ("NormalizeParameter",),
        "interp_param": ("InterpParameter",),
        "upsample_param": ("UpsampleParameter",),
        "upsample_darknet_param": ("UpsampleParameter",),
        "shuffle_channel_param": ("ShuffleChannelParameter",),
        "roi_pooling_param": ("ROIPoolingParameter",),
        "smooth_l1_loss_param": ("SmoothL1LossParameter",),
        "squeeze_param": ("SqueezeParameter",),
        "resize_bilinear_param": ("ResizeParameter",),
        "resize_nearest_neighbor_param": ("ResizeParameter",),
        "selu_param": ("SeLUParameter",),
        "prior_box_param": ("PriorBoxParameter",),
        "detection_output_param": ("DetectionOutputParameter",),
    },
    "ConvolutionParameter": _SIDES,
    "DropoutParameter": {"sample_weights_test": ("bool",), "scale_train": ("bool",)},
    "SolverParameter": {
        "eval_type": ("string",),
        "ap_version": ("string",),
        "show_per_class_result": ("bool",),
    },
    "PoolingParameter": _SIDES | {"ceil_mode": ("bool",), "avg_include_pad": ("bool",)},
    "DataParameter": {
        "shuffle": ("bool",),
        **dict.fromkeys(("cache", "precache"), ("bool",)),
        **dict.fromkeys(("threads", "parser_threads"), ("uint32",)),
    },
    "ReLUParameter": {"relu6": ("bool",)},
    "BatchNormParameter": {
        "add_eps_before_sqrt": ("bool",),
        "scale_bias": ("bool",),
        "filler": _FILLER,
        "scale_filler": _FILLER,
        "bias_filler": _FILLER,
    },
    "LossParameter": {
        "weight_by_label_freqs": ("bool",),
        "class_weighting": ("float", "repeated"),
        "pre_fixed_normalizer": ("float", "optional", 1),
    },
    "BNParameter": {
        "scale_filler": _FILLER,
        "shift_filler": _FILLER,
        "bn_mode": ("BNParameter.Mode",),
        "slope_filler": _FILLER,
        "bias_filler": _FILLER,
        "frozen": ("bool",),
        "momentum": ("float", "optional", 0.9),
        "eps": ("float",),
        "icnet": ("bool",),
        "engine": ("ConvolutionParameter.Engine",),
    },
    "PermuteParameter": {"order": ("uint32", "repeated")},
    "NormalizeParameter": {
        "across_spatial": ("bool",),
        "scale_filler": _FILLER,
        "channel_shared": ("bool",),
        "eps": ("float",),
        "normalize_type": ("string",),
    },
    "InterpParameter": {
        "height": ("int32",),
        "width": ("int32",),
        "zoom_factor": ("int32",),
        "shrink_factor": ("int32",),
        "pad_beg": ("int32",),
        "pad_end": ("int32",),
        "use_blob_size": ("bool",),
    },
    "UpsampleParameter": {
        "scale": ("uint32",),
        "scale_h": ("uint32",),
        "scale_w": ("uint32",),
        "pad_out_h": ("bool",),
        "pad_out_w": ("bool",),
        "upsample_h": ("uint32",),
        "upsample_w": ("uint32",),
        "stride": ("uint32",),
    },
    "ShuffleChannelParameter": {"group": ("uint32",)},
    "ROIPoolingParameter": {"pooled_h": ("uint32",), "pooled_w": ("uint32",), "spatial_scale": ("float",)},
    "SmoothL1LossParameter": {"sigma": ("float",)},
    "SqueezeParameter": {"axis": ("int32", "repeated"), "squeeze_axis": ("int32", "repeated")},
    "ResizeParameter": {"output_height": ("int32",), "output_width": ("int32",), "align_corners": ("bool",)},
    "SeLUParameter": {"alpha": ("float",), "lambda": ("float",)},
    "PriorBoxParameter": {
        **dict.fromkeys(("min_size", "max_size", "aspect_ratio", "variance"), ("float", "repeated")),
        **dict.fromkeys(("flip", "clip"), ("bool",)),
        **dict.fromkeys(("img_size", "img_h", "img_w"), ("uint32",)),
        **dict.fromkeys(("step", "step_h", "step_w", "offset"), ("float",)),
    },
    "DetectionOutputParameter": {
        "num_classes": ("uint32",),
        "share_location": ("bool",),
        "background_label_id": ("int32",),
        "nms_param": ("NonMaximumSuppressionParameter",),
        "save_output_param": ("SaveOutputParameter",),
        "code_type": ("PriorBoxParameter.CodeType",),
        "variance_encoded_in_target": ("bool",),
        "keep_top_k": ("int32",),
        "confidence_threshold": ("float",),
        "visualize": ("bool",),
        "visualize_threshold": ("float",),
        "save_file": ("string",),
        "objectness_score": ("float",),
    },
    "NonMaximumSuppressionParameter": {"nms_threshold": ("float",), "top_k": ("int32",), "eta": ("float",)},
    "SaveOutputParameter": {
        **dict.fromkeys(
            ("output_directory", "output_name_prefix", "output_format", "label_map_file", "name_size_file"), ("string",)
        ),
        "num_test_image": ("uint32",),
    },
    "LabelMap": {"item": ("LabelMapItem", "repeated")},  # SSD's names of classes
    "LabelMapItem": {"name": ("string",), "label": ("int32",), "display_name": ("string",)},
}
_ENGINES = ("Convolution", "LRN", "Pooling", "ReLU", "SPP", "Sigmoid", "Softmax", "TanH")
FORK_ENUMS: dict[str, list[str]] = {
    **{f"{kind}Parameter.Engine": ["MKL2017", "MKLDNN"] for kind in _ENGINES},
    "V1LayerParameter.LayerType": ["CROP", "MULTI_STAGE_MEANFIELD"],
    "PoolingParameter.PoolMethod": ["AVE_EXC_PAD", "AVE_TF"],
    "BNParameter.Mode": ["LEARN", "INFERENCE"],
    "LossParameter.NormalizationMode": ["PRE_FIXED"],
    "PriorBoxParameter.CodeType": ["CORNER", "CENTER_SIZE", "CORNER_SIZE"],
}

# Fields that a fork alone has, which are left out: what that means. ``engine`` is in many messages of Intel's.
_PLACES = "it says where and how to compute"
LEFT_OUT: dict[str, dict[str, str]] = {
    "LayerParameter": {
        **dict.fromkeys(
            ("forward_math", "backward_math", "forward_type", "backward_type"), "numbers have 32 bits here"
        ),
        "quantization_param": "the net is computed in floating point, not in Intel's 8 bits",
    },
    "ConvolutionParameter": dict.fromkeys(
        ("conv_algorithm", "cudnn_convolution_algo_seeker", "conv_algos_override"), _PLACES
    ),
    "SolverParameter": {
        "richness": "it is memory of a GPU",
        "group_id": "there is one process",
        "store_blobs_in_old_format": "snapshots are nettrain's own",
        "solver_data_type": "numbers have 32 bits here",
    },
}
LEFT_OUT_EVERYWHERE = {"engine": _PLACES}
# Fields of solvers that change what is learned.
OF_SOLVERS = {
    **dict.fromkeys(("larc", "larc_policy", "larc_eta", "larc_turbo"), "NVIDIA's: rates by layer"),
    **dict.fromkeys(("min_lr", "rampup_interval", "rampup_lr"), "NVIDIA's: other rates at the beginning and end"),
    **dict.fromkeys(("momentum_policy", "momentum_power", "max_momentum"), "NVIDIA's: momentum that changes"),
    "weight_decay_policy": "NVIDIA's: a decay that changes",
    **dict.fromkeys(
        ("warmup_iter", "warmup_start_lr"),
        "Intel's, which changes momentum too; `warmup_iter` and `warmup_lr` in YAML do not",
    ),
    **dict.fromkeys(("local_lr_auto", "local_gw_ratio"), "Intel's: rates by layer"),
    "test_offset": "Intel's: tests that begin later",
    "disabled_update": "Intel's: layers that rest; `freeze` in YAML",
    **dict.fromkeys(("stagelr", "stageiter"), "MobileNet-YOLO's: rates by stage; lr_policy multistep is like it"),
    "stepearly": "SegNet's: a step when the loss stays; lr_policy plateau in YAML is like it",
    "plateau_winsize": "PVANet's: steps when the loss stays; lr_policy plateau in YAML is like it",
    **dict.fromkeys(("clip_weights", "clamp_weights_lower", "clamp_weights_upper"), "happynear's: bounds of weights"),
}

# Layers that only train; a net to be used does without them. What they are, for the note.
TRAINING_ONLY = {
    "AnnotatedData": "SSD's images with boxes",
    "MultiBoxLoss": "SSD's loss of boxes and classes",
    "DetectionEvaluate": "SSD's score",
    "CenterLoss": "a loss of distances to the centres of classes",
    "MarginInnerProduct": "SphereFace's product with a margin",
    "SoftmaxWithLossOHEM": "R-FCN's loss of the hardest examples",
    "SmoothL1LossOHEM": "R-FCN's loss of the boxes of the hardest examples",
    "BoxAnnotatorOHEM": "R-FCN's choice of the hardest examples",
    "YoloV3Loss": "YOLO's loss",
    "RegionLoss": "YOLO's loss",
    "YoloDetectionEvaluate": "YOLO's score",
    "DenseImageData": "SegNet's images with maps of labels",
    "ImageSegData": "DeepLab's images with maps of labels",
    "SegAccuracy": "DeepLab's score",
    "ImageLabelmapData": "images with maps of labels",
    "VideoData": "frames of films",
    "SeLuDropout": "dropout for SELU",
    "Yolov3": "YOLO's loss",
    "YoloSeg": "YOLO's loss of a map",
    "EvalDetection": "YOLO's score",
    "SegmentationEvaluate": "a score of maps of labels",
    "SegData": "images with maps of labels",
    "LaneData": "images with lanes",
    "MultiLabelImageData": "images with several labels",
    "DetectNetTransformation": "DetectNet's images with boxes",
    "AssistedExcitation": "a help for training detectors",
}
# Other layers of forks without an equal here: whose they are and what they do.
WITHOUT_EQUAL = {
    "PSROIPooling": "R-FCN's pooling of regions",
    "ROIAlign": "Mask R-CNN's pooling of regions",
    "Proposal": "Faster R-CNN's proposals of regions",
    "MultiStageMeanfield": "CRF-RNN's mean field",
    "SpaceToBatchND": "TensorFlow's rearrangement of pixels",
    "DepthToSpace": "TensorFlow's rearrangement of channels",
    "Reorg": "darknet's rearrangement of pixels",
    "YoloDetectionOutput": "YOLO's boxes",
    "Yolov3DetectionOutput": "YOLO's boxes",
    "Warp": "a warp by a field of displacements",
    "Insanity": "happynear's leaky ReLU with random slopes",
    "InnerDistance": "happynear's distances to learned points",
    "ChannelScale": "happynear's product with a norm",
    "Flip": "a mirror of images",
    "Gather": "a batch that several processes share",
    "TRT": "NVIDIA's TensorRT",
}


def left_out(message: str, name: str) -> str:
    """Why a field that a fork alone has can be left out of a message; nothing where it cannot."""
    return LEFT_OUT.get(message, {}).get(name, "") or LEFT_OUT_EVERYWHERE.get(name, "")
