"""What a plan is: every name resolved, every choice checked, every argument known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from torso.contracts.architecture import Architecture
from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.preprocessing import Preprocessing, Transform
from torso.contracts.truncation import Truncation
from torso.contracts.weights import ChannelAdapter, Mix, WeightSource
from torso.errors import Place
from torso.planning.input_size import legal_sizes
from torso.plugins import PluginInfo
from torso.plugins.registry import Contribution
from torso.specs.options import Option, Options, Value

T = TypeVar("T", Truncation, FreezePolicy, ChannelAdapter)
InputShape = tuple[int | None, int | None, int]
"""Height, width and number of channels; both sides are None for images of any size."""


@dataclass(frozen=True, kw_only=True)
class Chosen(Generic[T]):
    """A strategy, a policy or a rule with its checked options, and where the user chose it."""

    contribution: Contribution[T]
    options: Options
    place: Place | None = None

    def __str__(self) -> str:
        """As the user would write it: ``pop 3``."""
        value = self.contribution.value
        words = [value.name]
        words += [
            f"{'' if name == value.positional else name + '='}{_said(setting)}"
            for name, setting in self.options.items()
            if name == value.positional or setting != _default(value.options, name)
        ]
        return " ".join(words)

    def report(self) -> dict[str, Any]:
        return {"name": self.contribution.qualified, "options": dict(self.options)}


@dataclass(frozen=True, kw_only=True)
class PlannedWeights:
    """Where the values will come from.

    Attributes:
        label: The tag, ``none``, or the name of the source that the user asked.
        source: What brings the file; None for ``none``: the values are random.
        request: What the source is asked with.
        place: Where the user chose them, or the backbone's own place.
    """

    label: str
    source: Contribution[WeightSource] | None = None
    request: Options = field(default_factory=dict)
    place: Place | None = None

    @property
    def address(self) -> str | None:
        """The file as the source is asked for it."""
        return str(self.request[self.source.value.name]) if self.source else None

    def report(self) -> dict[str, Any]:
        return {"label": self.label, "source": self.source.qualified if self.source else None, **self.request}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be built, cut and frozen, down to the builder's arguments.

    Attributes:
        name: The backbone's name.
        architecture: The card, and the plugin that offers it.
        options: The architecture's options, defaults filled in.
        arguments: What the builder is called with beside ``input_shape``.
        input_shape: (height, width, channels) in pixels; (None, None, channels) for images of any size.
        weights: Where the values will come from.
        adapt: What turns weights for another number of channels into weights for these, or None.
        mix: What it says of the published weights' own number of channels, in the order of the user's pixels; None without
            a rule, or where it is one for the user's own weights alone, whose number of channels is not known yet.
        truncate: What chooses the cut.
        freeze: What chooses what does not train.
        include_preprocessing: The model itself takes pixels of 0 to 255.
        transform: How pictures of any size become its input.
        warnings: What a user would want to know before building.
        declared: The backbone's spec as YAML, defaults put in.
    """

    name: str
    architecture: Contribution[Architecture]
    options: Options
    arguments: Options
    input_shape: InputShape
    weights: PlannedWeights
    truncate: Chosen[Truncation]
    freeze: Chosen[FreezePolicy]
    adapt: Chosen[ChannelAdapter] | None = None
    mix: Mix | None = None
    include_preprocessing: bool = False
    transform: Transform = field(default_factory=Transform)
    warnings: tuple[str, ...] = ()
    declared: str = ""

    @property
    def source_channels(self) -> int:
        """Number of channels of the network that the weights are for: the builder is asked for that one."""
        return self.input_shape[2] if self.adapt is None else self.architecture.value.input.weights_channels

    @property
    def preprocessing(self) -> Preprocessing:
        """What the pixels need: that of the card, or nothing for a number of channels that no weights were trained on."""
        card = self.architecture.value
        if self.adapt is not None:
            return card.preprocessing.adapted(self.mix) if self.mix else card.preprocessing.without_channels()
        return card.preprocessing if self.input_shape[2] == card.input.weights_channels else Preprocessing()

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """The plugins that what was chosen comes from, each once, sorted by name."""
        chosen: list[Contribution[Any]] = [self.architecture, self.truncate.contribution, self.freeze.contribution]
        chosen += [self.adapt.contribution] if self.adapt else []
        chosen += [self.weights.source] if self.weights.source else []
        return tuple(sorted({one.plugin.name: one.plugin for one in chosen}.values(), key=lambda plugin: plugin.name))

    def report(self) -> dict[str, Any]:
        """The plan as JSON can say it."""
        return {
            "name": self.name,
            "architecture": self.architecture.qualified,
            "provider": self.architecture.plugin.source,
            "options": dict(self.options),
            "builder": self.architecture.value.builder,
            "arguments": dict(self.arguments),
            "input_shape": list(self.input_shape),
            "weights": self.weights.report(),
            "adapt": self.adapt.report() | {"source_channels": self.source_channels} if self.adapt else None,
            "truncate": self.truncate.report(),
            "freeze": self.freeze.report(),
            "include_preprocessing": self.include_preprocessing,
            "transform": asdict(self.transform),
            "warnings": list(self.warnings),
        }


def summary(plan: Plan) -> Mapping[str, str]:
    """The plan in a few lines for a person to read."""
    card = plan.architecture
    settings = ", ".join(f"{name} {value}" for name, value in plan.options.items())
    height, width, channels = plan.input_shape
    size = f"any size ({legal_sizes(card.value.input)})" if height is None else f"{height}×{width} pixels"
    adapt = {"adapt": f"{plan.adapt}, from weights for {_channels(plan.source_channels)}"} if plan.adapt else {}
    return {
        "architecture": f"{card.qualified}{f' ({settings})' if settings else ''}, from {card.plugin.source}",
        "input": f"{size}, {_channels(channels)}",
        **adapt,
        "weights": plan.weights.label if plan.weights.source is None else f"{plan.weights.label}: {plan.weights.address}",
        "cut": str(plan.truncate),
        "freeze": str(plan.freeze),
        **({"preprocess": "in the model, which takes pixels of 0 to 255"} if plan.include_preprocessing else {}),
    }


def _channels(count: int) -> str:
    return f"{count} channel{'s' if count > 1 else ''}"


def _said(setting: Value) -> str:
    return ", ".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)


def _default(options: Iterable[Option], name: str) -> Any:
    return next(option.default for option in options if option.name == name)
