"""What a plan is: every name resolved, every choice checked, every argument known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torso.architecture import Architecture
from torso.errors import Place
from torso.freezing import FreezePolicy
from torso.preprocessing import Preprocessing
from torso.registry import Contribution
from torso.spec.options import Option, Options, Value
from torso.truncation import Truncation
from torso.weights import WeightSource

T = TypeVar("T", Truncation, FreezePolicy)
InputShape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Chosen(Generic[T]):
    """A strategy or policy with its checked options, and where the user chose it."""

    contribution: Contribution[T]
    options: Options
    place: Place | None = None

    def __str__(self) -> str:
        """As the user would write it: ``pop 3``."""
        value = self.contribution.value
        words = [value.name]
        words += [
            f"{'' if name == value.main else name + '='}{_said(setting)}"
            for name, setting in self.options.items()
            if name == value.main or setting != _default(value.options, name)
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
        input_shape: (height, width, channels) in pixels.
        weights: Where the values will come from.
        truncate: What chooses the cut.
        freeze: What chooses what does not train.
        warnings: What a user would want to know before building.
    """

    name: str
    architecture: Contribution[Architecture]
    options: Options
    arguments: Options
    input_shape: InputShape
    weights: PlannedWeights
    truncate: Chosen[Truncation]
    freeze: Chosen[FreezePolicy]
    warnings: tuple[str, ...] = ()

    @property
    def preprocessing(self) -> Preprocessing:
        """What the pixels need: that of the card, or nothing for a number of channels that no weights were trained on."""
        card = self.architecture.value
        return card.preprocessing if self.input_shape[2] == card.input.weights_channels else Preprocessing()

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
            "truncate": self.truncate.report(),
            "freeze": self.freeze.report(),
            "warnings": list(self.warnings),
        }


def summary(plan: Plan) -> Mapping[str, str]:
    """The plan in a few lines for a person to read."""
    card = plan.architecture
    settings = ", ".join(f"{name} {value}" for name, value in plan.options.items())
    height, width, channels = plan.input_shape
    return {
        "architecture": f"{card.qualified}{f' ({settings})' if settings else ''}, from {card.plugin.source}",
        "input": f"{height}×{width} pixels, {channels} channel{'s' if channels > 1 else ''}",
        "weights": plan.weights.label if plan.weights.source is None else f"{plan.weights.label}: {plan.weights.address}",
        "cut": str(plan.truncate),
        "freeze": str(plan.freeze),
    }


def _said(setting: Value) -> str:
    return ", ".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)


def _default(options: Iterable[Option], name: str) -> Any:
    return next(option.default for option in options if option.name == name)
