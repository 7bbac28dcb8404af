"""Fields that forks of Caffe added to its messages, as they stand in text files."""

from __future__ import annotations

_SIDES = dict.fromkeys(("pad_l", "pad_r", "pad_t", "pad_b"), ("uint32",))
_FILLER = ("FillerParameter",)

FORK_FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
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
    },
    "ConvolutionParameter": _SIDES,
    "PoolingParameter": _SIDES | {"ceil_mode": ("bool",)},
    "ReLUParameter": {"relu6": ("bool",)},
    "BatchNormParameter": {
        "add_eps_before_sqrt": ("bool",),
        "scale_bias": ("bool",),
        "scale_filler": _FILLER,
        "bias_filler": _FILLER,
    },
    "LossParameter": {"weight_by_label_freqs": ("bool",), "class_weighting": ("float", "repeated")},
    "BNParameter": {
        "scale_filler": _FILLER,
        "shift_filler": _FILLER,
        "bn_mode": ("BNParameter.Mode",),
        "slope_filler": _FILLER,
        "bias_filler": _FILLER,
        "frozen": ("bool",),
        "momentum": ("float",),
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
    },
    "InterpParameter": {
        "height": ("int32",),
        "width": ("int32",),
        "zoom_factor": ("int32",),
        "shrink_factor": ("int32",),
        "pad_beg": ("int32",),
        "pad_end": ("int32",),
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
}
FORK_ENUMS: dict[str, list[str]] = {
    "PoolingParameter.PoolMethod": ["AVE_EXC_PAD", "AVE_TF"],
    "BNParameter.Mode": ["LEARN", "INFERENCE"],
}
