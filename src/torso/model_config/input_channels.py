"""The same network for images of another number of channels.

The image's channels are followed from the input to the layers that read them all, along the configuration. What is passed
on the way either does the same to every channel, or holds numbers for each: those are mixed as the kernels are. What can be
neither is refused by name. Rows and columns of a mix stand in the order in which the network reads the channels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import reduce
from typing import Any, Final

import keras
import numpy as np

from torso.contracts.preprocessing import weighted_mean
from torso.contracts.weights import Mix
from torso.errors import OptionError
from torso.model_config.calls import Calls, Config, Tensor, is_functional, is_keras, is_sequential, visit_tensors

READERS: Final = frozenset({"Conv2D", "Dense"})
"""Layers that read every channel through a kernel ``(…, channels in, channels out)``, and give others."""

ALIKE: Final = frozenset(
    {
        *("Activation", "ELU", "LeakyReLU", "ReLU", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
        *("AveragePooling2D", "MaxPooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        *("CenterCrop", "Cropping2D", "Resizing", "UpSampling2D", "ZeroPadding2D", "Identity"),
        *("Absolute", "Cast", "Clip", "Negative", "Relu", "Relu6", "Sigmoid", "Sqrt", "Square", "Tanh"),
        *("Average", "Maximum", "Minimum"),
    }
)
"""Layers and ops that do the same to every channel, whatever their number."""

NEUTRAL: Final = {
    "variance": 1.0, "moving_variance": 1.0, "gamma": 1.0, "scale": 1.0, "Multiply": 1.0, "Divide": 1.0, "TrueDivide": 1.0,
    "mean": 0.0, "moving_mean": 0.0, "beta": 0.0, "offset": 0.0, "Add": 0.0, "Subtract": 0.0,
}  # fmt: skip
"""What a channel that is not read gets, of a weight, a setting or an op with one number for each channel."""

_ARITHMETIC = frozenset({"Add", "Subtract", "Multiply", "Divide", "TrueDivide"})
_NUMBERED = frozenset({"BatchNormalization", "Normalization", "Rescaling"})


def widen(config: Config, have: int, want: int, matrix: Mix) -> Config:
    """The configuration of the same network for images of ``want`` channels.

    Args:
        config: ``get_config()`` of a functional model of one input, images ``(H, W, have)``. It is not changed.
        have: Number of channels now.
        want: Number of channels wanted.
        matrix: ``want`` rows of ``have`` numbers, in the network's order: each new channel is made of the old ones.

    Raises:
        OptionError: A layer in front of the first kernels, or with them, cannot be made for other channels; it is named.
    """
    new = copy.deepcopy(config)
    walk = _Walk(have, want, matrix)
    walk.functional(new, [True] * len(Calls(new).inputs), "")
    return new


def image_weights(model: keras.Model) -> dict[int, str]:
    """The weights that have a part for each channel of the images: by their identity (``id``), the name that they go by.

    Args:
        model: Functional model from images ``(H, W, C)``, before or after it was widened.

    Raises:
        OptionError: As :func:`widen`.
    """
    channels = int(model.inputs[0].shape[-1])
    walk = _Walk(channels, channels, tuple(tuple(float(i == j) for i in range(channels)) for j in range(channels)))
    walk.functional(model.get_config(), [True] * len(model.inputs), "")
    found: dict[int, str] = {}
    for path in walk.mixed:
        layer: Any = model
        for name in path.split("/"):
            layer = layer.get_layer(name)
        names = {"kernel"} if type(layer).__name__ in READERS else NEUTRAL.keys()
        found |= {id(weight): weight.name for weight in layer.weights if weight.name in names}
    return found


def adapted(
    array: np.ndarray[Any, Any], shape: Sequence[int], have: int, want: int, matrix: Mix, name: str = "kernel"
) -> np.ndarray[Any, Any]:
    """The values of one weight for other channels; a row with a single 1 copies them to the last bit.

    Args:
        array: A kernel ``(…, have, channels out)``, or one number for each channel, ``(have,)``.
        shape: What the result must have: ``want`` in the place of ``have``.
        have: Number of channels now.
        want: Number of channels wanted.
        matrix: As for :func:`widen`.
        name: What the weight goes by: ``kernel``, ``mean``, ``moving_variance``.

    Raises:
        ValueError: The array does not have these channels, or the result not that shape.
    """
    axis = -2 if name == "kernel" else -1
    if array.ndim < -axis or array.shape[axis] != have or (axis == -1 and array.ndim > 1):
        raise ValueError(f"{name} of shape {array.shape} has no {have} channels")
    if axis == -1:
        numbers = [weighted_mean(row, array.tolist(), neutral=NEUTRAL[name]) for row in matrix]
        result = np.array(numbers, array.dtype)
    else:
        parts = np.moveaxis(array, axis, 0).astype("float64")
        result = np.moveaxis(np.stack([_sum(row, parts) for row in matrix]), 0, axis).astype(array.dtype)
    if result.shape != tuple(shape):
        raise ValueError(f"{name} has shape {result.shape} for {want} channels, not {tuple(shape)}")
    return result


def _sum(row: Sequence[float], parts: np.ndarray[Any, Any]) -> Any:
    used = [weight * part for weight, part in zip(row, parts, strict=True) if weight]  # 0 times what is not read may be NaN
    return reduce(np.add, used) if used else np.zeros(parts.shape[1:])


class _Walk:
    """Follows the image's channels through a configuration, and changes what depends on their number.

    Attributes:
        mixed: Paths of the layers whose weights have a part for each of the channels.
    """

    def __init__(self, have: int, want: int, matrix: Mix) -> None:
        self.have, self.want, self.matrix = have, want, matrix
        self.mixed: list[str] = []

    def functional(self, config: Config, wide: Sequence[bool], prefix: str) -> list[bool]:
        """Change a functional model's configuration in place.

        Args:
            config: The model.
            wide: Which of its inputs have the image's channels.
            prefix: ``outer/`` in a nested model.

        Returns:
            Which of its outputs have them.
        """
        calls = Calls(config)
        images = {tensor for tensor, is_wide in zip(calls.inputs, wide, strict=True) if is_wide}
        for tensor in images:
            self._set_channels(calls.entries[tensor.layer]["config"], "batch_shape")
        done: dict[str, tuple[list[bool], list[bool]]] = {}
        for call in calls.ordered:
            entry, flags = calls.entries[call.layer], [tensor in images for tensor in call.inputs]
            if not any(flags):
                continue
            if call.layer not in done:
                shapes = [shape for shape, is_wide in zip(call.shapes, flags, strict=True) if not is_wide]
                done[call.layer] = flags, self._layer(entry, flags, shapes, prefix)
            _, ends = done[call.layer]
            images |= {Tensor(call.layer, call.number, end) for end, is_wide in enumerate(ends) if is_wide}
        for call in calls.ordered:
            entry, flags = calls.entries[call.layer], [tensor in images for tensor in call.inputs]
            for_any = entry["class_name"] in ALIKE and len(flags) == 1
            if call.layer in done and flags != done[call.layer][0] and not for_any:
                raise self._refusal(entry, prefix, "is called on other things than the images, too")
        for entry in calls.entries.values():
            visit_tensors(entry["inbound_nodes"], lambda tensor: self._describe(tensor, images))
        return [tensor in images for tensor in calls.outputs]

    def _describe(self, tensor: Config, images: set[Tensor]) -> None:
        if Tensor(*tensor["keras_history"]) in images:
            self._set_channels(tensor, "shape")

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
        """Change a layer that reads the image's channels.

        Args:
            entry: The layer or op.
            wide: Which of the tensors that it reads have them.
            others: The shapes of those that have not.
            prefix: As for :meth:`functional`.

        Returns:
            Which of its outputs have them.
        """
        kind, config = entry["class_name"], entry["config"]
        path = prefix + config["name"]
        entry.pop("build_config", None)  # has the shape that it was built for
        if is_functional(entry):
            return self.functional(config, wide, f"{path}/")
        if is_sequential(entry):
            return [self._sequential(config, f"{path}/")]
        if not is_keras(entry) or kind not in READERS | ALIKE | _ARITHMETIC | _NUMBERED:
            raise self._refusal(entry, prefix, "may do something else to each channel, or to all of them together")
        if config.get("data_format") == "channels_first":
            raise self._refusal(entry, prefix, "has its channels first")
        if any(shape[-1:] != (1,) for shape in others):
            raise self._refusal(entry, prefix, "joins the images with something else")
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
        """Mix what a layer holds for each channel, where that stands in its configuration; note where it is in weights."""
        config = entry["config"]
        axis = config.get("axis", -1)
        axes = [axis] if isinstance(axis, int) else list(axis or ())
        if not axes:
            return
        if axes not in ([-1], [3]):
            raise self._refusal(entry, prefix, f"normalises along {axes}, and not the channels alone")
        keys = [key for key in ("mean", "variance", "scale", "offset") if config.get(key) is not None]
        if entry["class_name"] == "BatchNormalization" or not keys:
            self.mixed.append(prefix + config["name"])
            return
        for key in keys:
            config[key] = self._mixed(config[key], key, entry, prefix)

    def _mix_constants(self, entry: Config, prefix: str) -> None:
        """Mix the arrays among the arguments of an op, and in its configuration."""

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
            return value  # one number for all
        if key not in NEUTRAL or len(numbers) != self.have or not all(isinstance(one, (int, float)) for one in numbers):
            raise self._refusal(entry, prefix, f"holds numbers that are not one for each of {self.have} channels")
        mixed = [weighted_mean(row, numbers, neutral=NEUTRAL[key]) for row in self.matrix]
        return {**value, "config": {**value["config"], "value": mixed}} if isinstance(value, dict) else mixed

    def _refusal(self, entry: Config, prefix: str, reason: str) -> OptionError:
        name, kind = prefix + entry["config"]["name"], entry["class_name"]
        return OptionError(
            f"the network cannot be adapted to images of other channels: {name!r}, a {kind}, {reason}",
            notes=[("known", f"in front of the first {' or '.join(sorted(READERS))}, layers that treat all channels alike")],
        )
