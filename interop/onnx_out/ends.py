"""What data goes through on its way into a net that serves."""

from __future__ import annotations

from typing import Any

from ...data.table.encoding import value_names
from ...data.transform import Transform
from ...net.step import Step

# Readers of images, which give the channels in Caffe's order.
IN_CAFFES_ORDER = ("ImageData", "WindowData")


def preprocessing(step: Step) -> dict[str, Any]:
    """What a layer does to an example before the net sees it, as far as its parameters say."""
    said: dict[str, Any] = {}
    transform = getattr(step.layer.p, "transform", None)
    if isinstance(transform, Transform):
        if transform.mean_value:
            said["mean"] = list(transform.mean_value)
        if transform.mean_file:
            said["mean_file"] = transform.mean_file
        if transform.scale != 1:
            said["scale"] = transform.scale
        if transform.normalize:
            found = step.layer.fitted["normalize"]
            said["mean"], said["std"] = found["mean"], found["std"]
        if transform.resize:
            said["resize"] = list(transform.new_size)
        if transform.crop_size:
            said["crop_size"] = transform.crop_size
    fillers = getattr(step.layer.p, "data_filler", None)  # of DummyData
    if fillers is not None and (not fillers or fillers[0].type == "constant"):
        said["value"] = fillers[0].value if fillers else 0.0
    are_pictures = "pictures" in step.layer.fitted
    if step.spec.common.type in IN_CAFFES_ORDER or are_pictures:
        said["channel_order"] = "BGR" if step.top[0].shape[1] == 3 else "gray"
    if are_pictures:
        said["size"] = list(step.layer.fitted["example"][1:])
    if "table" in step.layer.fitted:
        table = step.layer.fitted["table"]
        said |= {"columns": value_names(table), "fitted": table["columns"]}
        said |= {key: table[key] for key in ("categories", "missing")}
    if step.layer.fitted.get("classes"):
        said["class_names"] = list(step.layer.fitted["classes"])
    return said


def in_words(name: str, said: dict[str, Any]) -> str:
    """A sentence on what an input must go through."""
    if "value" in said:
        return f"`{name}` is an input; in the net it is always {said['value']:g}"
    parts = []
    if "columns" in said:
        made = any({"deviation", "categories"} & one.keys() for one in said["fitted"])
        parts.append(f"{len(said['columns'])} numbers of a table{', as fitted in its metadata' if made else ''}")
    if "size" in said:
        parts.append("pictures of {} x {} pixels".format(*said["size"]))
    if "resize" in said:
        parts.append(f"images of {said['resize'][0]} x {said['resize'][1]} pixels")
    if "crop_size" in said:
        parts.append(f"the centre of {said['crop_size']} x {said['crop_size']} pixels")
    if "channel_order" in said:
        parts.append({"BGR": "the channels blue, green, red", "gray": "one channel, gray"}[said["channel_order"]])
    value = "value"
    if "mean_file" in said:
        value = f"value - the image in {said['mean_file']}"
    elif "mean" in said:
        means = said["mean"]
        value = f"value - {f'{means[0]:g}' if len(means) == 1 else 'the mean of its channel in ' + format_list(means)}"
    if "std" in said:
        value = f"({value}) / its deviation in {format_list(said['std'])}"
    if "scale" in said:
        value = f"({value}) * {said['scale']:g}" if value != "value" else f"value * {said['scale']:g}"
    parts += [value] * (value != "value")
    return f"`{name}` takes what the data layer made of an example: {', '.join(parts)}"


def format_list(numbers: list[float]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"
