"""What a plan is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from torso.contracts.architecture import Architecture
from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.preprocessing import Preprocessing, Transform
from torso.contracts.truncation import Truncation
from torso.contracts.weights import ChannelAdapter, Mix, WeightSource
from torso.errors import Place
from torso.graph.node import channels_of
from torso.planning.input_size import in_words, legal_sizes
from torso.plugins import PluginInfo
from torso.plugins.calling import keras_settings, plugin_errors
from torso.plugins.registry import Contribution
from torso.specs.options import Options

T = TypeVar("T", Truncation, FreezePolicy, ChannelAdapter)
InputShape = tuple[int | None, int | None, int]  # height, width, channels; both sides are None for images of any size


@dataclass(frozen=True, kw_only=True)
class Chosen(Generic[T]):
    """A strategy, policy or rule with its checked options, and where the user chose it."""

    contribution: Contribution[T]
    options: Options
    place: Place | None = None

    def __str__(self) -> str:
        """As the user would write it, without defaults: ``pop 3``."""
        value = self.contribution.value
        words = [value.name]
        for option in value.options:
            setting = self.options[option.name]
            text = ", ".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)
            if option.name == value.positional:  # shown even at its default: it is what the user chose
                words.append(text)
            elif setting != option.default:
                words.append(f"{option.name}={text}")
        return " ".join(words)

    def report(self) -> dict[str, Any]:
        return {"name": self.contribution.qualified, "options": dict(self.options)}


@dataclass(frozen=True, kw_only=True)
class PlannedWeights:
    """Where the weights come from."""

    label: str  # the tag, "none", or the name of the source that the user chose
    source: Contribution[WeightSource] | None = None  # None for random initialisation
    request: Options = field(default_factory=dict)  # the options for the source
    seed: int | None = None  # of random initialisation; the label tells it
    place: Place | None = None  # where the user chose them, or the backbone's own place

    @property
    def address(self) -> str | None:
        """Where the source finds the file."""
        return str(self.request[self.source.value.name]) if self.source else None

    def check(self) -> None:
        """Refuse what the source can know to be wrong without a connection."""
        if self.source:
            with plugin_errors(self.source.plugin, f"weight source {self.source.qualified!r}", self.place):
                self.source.value.check(self.request)

    def fetch(self) -> Path:
        """The local file that the source gets."""
        assert self.source is not None
        with plugin_errors(self.source.plugin, f"weight source {self.source.qualified!r}", self.place):
            path = self.source.value.fetch(self.request)
            if not (isinstance(path, Path) and path.is_file()):
                raise FileNotFoundError(f"fetch returned {path!r}, no path of a file")
            return path

    def report(self) -> dict[str, Any]:
        return {"label": self.label, "source": self.source.qualified if self.source else None, **self.request}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be built, cut and frozen, down to the builder's arguments."""

    name: str  # of the backbone
    architecture: Contribution[Architecture]
    options: Options  # of the architecture, defaults included
    arguments: Options  # of the builder, without input_shape
    input_shape: InputShape
    weights: PlannedWeights
    truncate: Chosen[Truncation]
    freeze: Chosen[FreezePolicy]
    adapt: Chosen[ChannelAdapter] | None = None
    # What adapt returns for the published weights, in the user's channel order. None without a rule, or where the rule fits
    # only the user's own weights, whose number of channels is not known yet.
    mix: Mix | None = None
    regularize: Options = field(default_factory=dict)  # empty for none
    include_preprocessing: bool = False  # the model itself takes pixels of 0 to 255
    transform: Transform = field(default_factory=Transform)  # how pictures of any size become its input
    warnings: tuple[str, ...] = ()  # what a user should know before building
    declared: str = ""  # the backbone's spec as YAML, defaults included
    pooling: str | None = None  # "avg" or "max", of each output
    prefix: str = ""  # of the names of all nodes

    @property
    def source_channels(self) -> int:
        """Number of input channels of the network that the builder is asked for: that of the weights."""
        return self.input_shape[2] if self.adapt is None else self.architecture.value.input.weights_channels

    @property
    def preprocessing(self) -> Preprocessing:
        """What the pixels need; nothing for a number of channels that no weights were trained on."""
        architecture = self.architecture.value
        numbers = architecture.preprocessing
        if self.adapt is not None:
            return numbers.adapted(self.mix) if self.mix else numbers.without_channels()
        return numbers if self.input_shape[2] == architecture.input.weights_channels else Preprocessing()

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """The plugins of all that was chosen, each once, sorted by name."""
        chosen: list[Contribution[Any]] = [self.architecture, self.truncate.contribution, self.freeze.contribution]
        chosen += [self.adapt.contribution] if self.adapt else []
        chosen += [self.weights.source] if self.weights.source else []
        return tuple(sorted({one.plugin.name: one.plugin for one in chosen}.values(), key=lambda plugin: plugin.name))

    def report(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "architecture": self.architecture.qualified,
            "provider": self.architecture.plugin.source,
            "options": dict(self.options),
            "builder": self.architecture.value.builder_name,
            "arguments": dict(self.arguments),
            "input_shape": list(self.input_shape),
            "weights": self.weights.report(),
            "adapt": self.adapt.report() | {"source_channels": self.source_channels} if self.adapt else None,
            "truncate": self.truncate.report(),
            "freeze": self.freeze.report(),
            "regularize": dict(self.regularize),
            "include_preprocessing": self.include_preprocessing,
            "transform": asdict(self.transform),
            "pooling": self.pooling,
            "prefix": self.prefix,
            "keras": keras_settings(),  # of now: what is built now is computed with them
            "warnings": list(self.warnings),
        }


def summary(plan: Plan) -> Mapping[str, str]:
    """The plan in a few lines for a person to read."""
    architecture, weights = plan.architecture, plan.weights
    settings = ", ".join(f"{name} {value}" for name, value in plan.options.items())
    size = in_words(plan.input_shape[:2])
    if plan.input_shape[0] is None:
        size += f" ({legal_sizes(architecture.value.input)})"
    lines = {
        "architecture": f"{architecture.qualified}{f' ({settings})' if settings else ''}, from {architecture.plugin.source}",
        "input": f"{size}, {channels_of(plan.input_shape[2])}",
        "adapt": f"{plan.adapt}, from weights for {channels_of(plan.source_channels)}" if plan.adapt else "",
        "weights": weights.label if weights.source is None else f"{weights.label}: {weights.address}",
        "cut": str(plan.truncate),
        "pooling": plan.pooling or "",
        "freeze": str(plan.freeze),
        "trains": plan.freeze.contribution.value.doc,
        "regularize": ", ".join(f"{name} {value}" for name, value in plan.regularize.items() if value),
        "preprocess": "in the model, which takes pixels of 0 to 255" if plan.include_preprocessing else "",
    }
    return {label: text for label, text in lines.items() if text}
