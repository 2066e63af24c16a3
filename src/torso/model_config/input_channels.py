"""Change a network to images with a different number of channels.

The channels are followed along the configuration, from the input to the layers that read them all. A layer on the way must
treat all channels alike, or hold numbers for each: those are mixed like the kernels. Any other layer is refused by name.
Rows and columns of a mix are in the order in which the network reads the channels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from torso.contracts.preprocessing import weighted_mean
from torso.contracts.weights import Mix
from torso.errors import OptionError
from torso.model_config.calls import Calls, Config, Tensor, is_functional, is_keras, is_sequential, visit_tensors

if TYPE_CHECKING:
    import keras

READERS: Final = frozenset({"Conv2D", "Dense"})  # with a kernel (…, channels in, channels out)
# Layers and ops that treat all channels alike.
ALIKE: Final = frozenset(
    {
        *("Activation", "ELU", "LeakyReLU", "ReLU", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
        *("AveragePooling2D", "MaxPooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        *("CenterCrop", "Cropping2D", "Resizing", "UpSampling2D", "ZeroPadding2D", "Identity"),
        *("Absolute", "Cast", "Clip", "Negative", "Relu", "Relu6", "Sigmoid", "Sqrt", "Square", "Tanh"),
        *("Average", "Maximum", "Minimum"),
    }
)
# The number for a channel that is not read, by weight, setting or op with one number for each channel.
NEUTRAL: Final = {
    "variance": 1.0, "moving_variance": 1.0, "gamma": 1.0, "scale": 1.0, "Multiply": 1.0, "Divide": 1.0, "TrueDivide": 1.0,
    "mean": 0.0, "moving_mean": 0.0, "beta": 0.0, "offset": 0.0, "Add": 0.0, "Subtract": 0.0,
}  # fmt: skip

_ARITHMETIC = frozenset({"Add", "Subtract", "Multiply", "Divide", "TrueDivide"})
_NUMBERED = frozenset({"BatchNormalization", "Normalization", "Rescaling"})


def widen(config: Config, mix: Mix) -> Config:
    """The configuration of the same network for images of other channels; an OptionError names a layer that has only these.

    It has one input, images ``(H, W, C)``. A row of the mix has C numbers: how a new channel is mixed from the old ones.
    """
    new = copy.deepcopy(config)
    walk = _Walk(mix)
    walk.functional(new, [True] * len(Calls(new).inputs), "")
    return new


def image_weights(model: keras.Model) -> dict[int, str]:
    """The names by ``id`` of the weights with a part for each image channel; errors as for :func:`widen`."""
    channels = int(model.inputs[0].shape[-1])
    walk = _Walk(tuple(tuple(float(i == j) for i in range(channels)) for j in range(channels)))
    walk.functional(model.get_config(), [True] * len(model.inputs), "")
    found: dict[int, str] = {}
    for path in walk.mixed:
        layer: Any = model
        for name in path.split("/"):
            layer = layer.get_layer(name)
        names = {"kernel"} if type(layer).__name__ in READERS else NEUTRAL.keys()
        found |= {id(weight): weight.name for weight in layer.weights if weight.name in names}
    return found


def adapted(array: np.ndarray[Any, Any], shape: Sequence[int], mix: Mix, name: str = "kernel") -> np.ndarray[Any, Any]:
    """The values of one weight for other channels; a ValueError if its shape, or that of the result, does not fit."""
    # A kernel (…, C, channels out), or one number for each channel, (C,). A row with a single 1 copies bit by bit.
    if name == "kernel":
        parts = np.moveaxis(array, -2, 0).astype("float64")
        result = np.moveaxis(np.stack([_sum(row, parts) for row in mix]), 0, -2).astype(array.dtype)
    else:
        result = np.array([weighted_mean(row, array.tolist(), neutral=NEUTRAL[name]) for row in mix], array.dtype)
    if result.shape != tuple(shape):
        raise ValueError(f"{name} has shape {result.shape} for {len(mix)} channels, not {tuple(shape)}")
    return result


def _sum(row: Sequence[float], parts: np.ndarray[Any, Any]) -> Any:
    used = [weight * part for weight, part in zip(row, parts, strict=True) if weight]  # 0 times NaN is NaN
    return reduce(np.add, used) if used else np.zeros(parts.shape[1:])


class _Walk:
    """Follows the channels through a configuration, and changes what depends on their number."""

    def __init__(self, mix: Mix) -> None:
        self.mix, self.have, self.want = mix, len(mix[0]), len(mix)
        self.mixed: list[str] = []  # paths of the layers whose weights have a part for each channel

    def functional(self, config: Config, wide: Sequence[bool], prefix: str) -> list[bool]:
        """Change a functional model; ``wide``: which inputs have the image's channels; returns which outputs have them."""
        calls = Calls(config)
        images = {tensor for tensor, is_wide in zip(calls.inputs, wide, strict=True) if is_wide}
        for tensor in images:
            self._set_channels(calls.entries[tensor.layer]["config"], "batch_shape")
        first: dict[str, list[bool]] = {}  # which inputs of a layer's first call have the channels
        ends: dict[str, list[bool]] = {}  # and which outputs
        for call in calls.ordered:
            entry, flags = calls.entries[call.layer], [tensor in images for tensor in call.inputs]
            before = first.setdefault(call.layer, flags)
            for_any = entry["class_name"] in ALIKE and len(flags) == 1
            if flags != before and any(flags + before) and not for_any:
                raise self._refusal(entry, prefix, "is also called on other tensors than the images")
            if not any(flags):
                continue
            if call.layer not in ends:
                shapes = [shape for shape, is_wide in zip(call.shapes, flags, strict=True) if not is_wide]
                ends[call.layer] = self._layer(entry, flags, shapes, prefix)
            images |= {Tensor(call.layer, call.number, end) for end, is_wide in enumerate(ends[call.layer]) if is_wide}

        def describe(tensor: Config) -> None:
            if Tensor(*tensor["keras_history"]) in images:
                self._set_channels(tensor, "shape")

        for entry in calls.entries.values():
            visit_tensors(entry["inbound_nodes"], describe)
        return [tensor in images for tensor in calls.outputs]

    def _set_channels(self, config: Config, key: str) -> None:
        if config[key][-1] == self.have:
            config[key] = [*config[key][:-1], self.want]

    def _sequential(self, config: Config, prefix: str) -> bool:
        if isinstance(config.get("build_input_shape"), (list, tuple)):
            self._set_channels(config, "build_input_shape")
        for entry in config["layers"]:
            if entry["class_name"] == "InputLayer":
                self._set_channels(entry["config"], "batch_shape")
            elif not any(self._layer(entry, [True], [], prefix)):
                return False
        return True

    def _layer(
        self, entry: Config, wide: Sequence[bool], others: Sequence[tuple[int | None, ...]], prefix: str
    ) -> list[bool]:
        """Change a layer in place, as :meth:`functional` does; ``others`` are the shapes of inputs without the channels."""
        kind, config = entry["class_name"], entry["config"]
        path = prefix + config["name"]
        entry.pop("build_config", None)  # it has the old shape
        if is_functional(entry):
            return self.functional(config, wide, f"{path}/")
        if is_sequential(entry):
            return [self._sequential(config, f"{path}/")]
        if not is_keras(entry) or kind not in READERS | ALIKE | _ARITHMETIC | _NUMBERED:
            raise self._refusal(entry, prefix, "may treat channels differently, or mix them")
        if config.get("data_format") == "channels_first":
            raise self._refusal(entry, prefix, "has its channels first")
        if any(shape[-1:] != (1,) for shape in others):
            raise self._refusal(entry, prefix, "joins the images with other tensors")
        if kind in READERS:
            if config.get("groups", 1) != 1:
                raise self._refusal(entry, prefix, "reads the channels in groups")
            self.mixed.append(path)
            return [False]
        if kind in _NUMBERED:
            self._mix_numbers(entry, prefix)
        else:
            self._mix_constants(entry, prefix)
        return [True]

    def _mix_numbers(self, entry: Config, prefix: str) -> None:
        """Mix the numbers that a layer holds for each channel, in its configuration; note the layer if they are weights."""
        config = entry["config"]
        axis = config.get("axis", -1)
        axes = [axis] if isinstance(axis, int) else list(axis or ())
        if not axes:
            return
        if axes not in ([-1], [3]):
            raise self._refusal(entry, prefix, f"normalises along {axes}, not along the channels alone")
        keys = [key for key in ("mean", "variance", "scale", "offset") if config.get(key) is not None]
        if entry["class_name"] == "BatchNormalization" or not keys:
            self.mixed.append(prefix + config["name"])
            return
        for key in keys:
            config[key] = self._mixed(config[key], key, entry, prefix)

    def _mix_constants(self, entry: Config, prefix: str) -> None:
        """Mix the arrays among the arguments of an op and in its configuration."""

        def mixed(value: Any) -> Any:
            if isinstance(value, dict):
                if value.get("class_name") in ("__numpy__", "__tensor__"):
                    return self._mixed(value, entry["class_name"], entry, prefix)
                return {key: mixed(item) for key, item in value.items()}
            return type(value)(map(mixed, value)) if isinstance(value, (list, tuple)) else value

        for key in entry.keys() & {"inbound_nodes", "config"}:
            entry[key] = mixed(entry[key])

    def _mixed(self, value: Any, key: str, entry: Config, prefix: str) -> Any:
        numbers = value["config"]["value"] if isinstance(value, dict) else value
        if not isinstance(numbers, (list, tuple)) or len(numbers) == 1:
            return value  # one number for all channels
        if key not in NEUTRAL or len(numbers) != self.have or not all(isinstance(one, (int, float)) for one in numbers):
            raise self._refusal(entry, prefix, f"holds other numbers than one for each of {self.have} channels")
        mixed = [weighted_mean(row, numbers, neutral=NEUTRAL[key]) for row in self.mix]
        return {**value, "config": {**value["config"], "value": mixed}} if isinstance(value, dict) else mixed

    def _refusal(self, entry: Config, prefix: str, reason: str) -> OptionError:
        name, kind = prefix + entry["config"]["name"], entry["class_name"]
        fact = f"the network cannot be adapted to images with a different number of channels: {name!r}, a {kind}, {reason}"
        known = f"before the first {' or '.join(sorted(READERS))}, layers that treat all channels alike"
        return OptionError(fact, notes=[("known", known)])
