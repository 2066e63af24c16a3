"""What is known of an architecture before it is built, as frozen values; only ``builder`` leads to code, by name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torso.contracts.preprocessing import Preprocessing
from torso.contracts.weights import WeightsFile
from torso.graph import EXPANSION, LEVELS
from torso.specs.options import Checked, Option, Options, Value


@dataclass(frozen=True, kw_only=True)
class Weights(Checked):
    """Published weights of an architecture.

    Attributes:
        tag: The name in YAML: ``imagenet``.
        files: One for each combination of options that was trained.
        classes: Number of classes of the full network.
        top1: Published top-1 accuracy of the full network with default options, in per cent.
        top5: Published top-5 accuracy, in per cent.
        source: Who published the weights and the figures.
    """

    tag: str
    files: tuple[WeightsFile, ...]
    classes: int | None = None
    top1: float | None = None
    top5: float | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class InputRules(Checked):
    """Which images an architecture takes.

    Attributes:
        default: Default height and width, in pixels.
        minimum: The least height or width, in pixels.
        divisor: Height and width must be multiples of this.
        fixed: Only the default size is possible.
        any_size: The builder also takes ``(None, None, channels)``, and builds a network with the same nodes and weights.
        any_size_divisor: That network gives the same features as one for a given size if both sides are multiples of this.
        channels: Legal numbers of channels; empty for any.
        weights_channels: Number of channels that the published weights expect.
    """

    default: tuple[int, int]
    minimum: int = 1
    divisor: int = 1
    fixed: bool = False
    any_size: bool = False
    any_size_divisor: int = 1
    channels: tuple[int, ...] = ()
    weights_channels: int = 3

    def takes(self, size: tuple[int, int]) -> bool:
        """Whether images may have that size."""
        return min(size) >= self.minimum and not any(side % self.divisor for side in size)


@dataclass(frozen=True, kw_only=True)
class License(Checked):
    """The licence of each part; None where unknown, never a guess."""

    code: str | None = None
    weights: str | None = None
    data: str | None = None


@dataclass(frozen=True, kw_only=True)
class Architecture(Checked):
    """A network that a provider can build.

    Attributes:
        name: The name in YAML; letter case does not count. ``provider/name`` is always unique.
        family: The group it is listed under: ``ResNet``.
        builder: ``package.module:function``, or the function itself. It is called with
            ``input_shape=(height, width, channels)``, the options by name and the arguments that hooks add. It returns the
            headless functional Keras model, without loading weights, and with the same names in each call.
        layers: Modules that register layer classes and functions of your own, with
            ``keras.saving.register_keras_serializable``: ``("acme.blocks",)``. That of the builder need not be named.
        options: What the user can set.
        arguments: Fixed arguments of the builder.
        weights: Published weights, the default first.
        input: Which images it takes.
        preprocessing: What the weights expect of the pixels.
        parameters: Number of parameters of the headless network with default options, or None.
        macs: Its multiply-accumulates for one image of the default size, or None; ``torso.read_graph(NAME).cost()`` counts.
        levels: The node of each level (``C1`` to ``C5``, ``C4@expansion``) with default options; it need not be a clean
            cut. Other levels are inferred. A node that is not there or has another stride is an error.
        clean: Regular expression of whole node names that are clean cuts with any options, for speed.
        can_stop_early: Whether the builder may be stopped once it has called the layers of a cut: nothing that it does later
            changes a layer that it has called, or returns others. Then a network that is cut at ``levels`` or ``clean`` is
            built no further. ``torso.testing`` checks it.
        end: The node where the network ends without its head; by default, where the builder's model ends. Files of weights
            hold the head too, if the builder's model has one.
        paper: Reference and identifier of the publication.
        license: Licence of code, weights and training data.
        source: Where the figures come from.
    """

    name: str
    family: str
    builder: str | Callable[..., Any]
    input: InputRules
    preprocessing: Preprocessing
    options: tuple[Option, ...] = ()
    arguments: Mapping[str, Value] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    weights: tuple[Weights, ...] = ()
    parameters: int | None = None
    macs: int | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    clean: str = ""
    can_stop_early: bool = False
    end: str = ""
    paper: str | None = None
    license: License = field(default_factory=License)
    source: str = ""

    def __post_init__(self) -> None:
        # What is wrong is told here, while the plugin's hook runs: the plugin is disabled for it, with this reason.
        super().__post_init__()
        re.compile(self.clean)
        rules, pixels = self.input, self.preprocessing
        counts = (rules.minimum, rules.divisor, rules.any_size_divisor, rules.weights_channels, *rules.channels)
        for is_right, rule in (
            (all(level.removesuffix(EXPANSION) in LEVELS for level in self.levels), f"levels are {', '.join(LEVELS)}"),
            (len({*self.tags, "none"}) > len(self.tags), "tags differ, also from 'none'"),
            (all(weights.files for weights in self.weights), "weights have files"),
            (min(counts) > 0 and (rules.fixed or rules.takes(rules.default)), "numbers are above 0, the default size legal"),
            (all((pixels.divide, *pixels.std)), "no pixel is divided by 0"),
            ({len(pixels.mean), len(pixels.std)} <= {0, 1, rules.weights_channels}, "mean and std are for each channel"),
        ):
            if not is_right:
                raise TypeError(f"architecture {self.name!r} breaks a rule: {rule}")

    @property
    def builder_name(self) -> str:
        """``package.module:function``, also of a function."""
        builder = self.builder
        return builder if isinstance(builder, str) else f"{builder.__module__}:{getattr(builder, '__qualname__', 'builder')}"

    def is_clean(self, node: str) -> bool:
        """Whether a node of that name is declared to be a clean cut."""
        return bool(self.clean) and re.fullmatch(self.clean, node) is not None

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the published weights, the default first."""
        return tuple(weights.tag for weights in self.weights)


def matching_file(
    weights: Weights, options: Options, size: tuple[int | None, int | None]
) -> tuple[WeightsFile | None, bool]:
    """The file for these options, and whether it was trained at this size (False for any size)."""
    fitting = None
    for file in weights.files:
        if all(options.get(name) == value for name, value in file.when.items() if name != "size"):
            if file.when.get("size") in (None, size[0] if size[0] == size[1] else -1):
                return file, True
            fitting = file  # weights of one size fit networks of all sizes
    return fitting, False
