"""Which nodes do not train, and what of a model trains then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FreezePlan:
    """What a freeze policy selected, on the three axes of freezing.

    Attributes:
        weights: Names of the nodes that are frozen on all three axes: their weights do not train, their statistics stay
            as stored, and their dropout and stochastic depth are off.
        norm: Names of further BatchNormalization nodes that are frozen, scale and offset too.
        adapt: Names of the BatchNormalization nodes whose statistics follow the data in training while their scale and
            offset do not train. This takes precedence over the other two.
        stochastic: ``"off"`` turns dropout and stochastic depth off in the nodes that train, too.
    """

    weights: frozenset[str] = frozenset()
    norm: frozenset[str] = frozenset()
    adapt: frozenset[str] = frozenset()
    stochastic: Literal["off", "on"] = "off"


@dataclass(frozen=True, kw_only=True)
class FreezeReport:
    """What is frozen in a model, and what trains."""

    frozen: int  # number of parameters that do not train, statistics of normalisation among them
    trainable: int  # number of parameters that train
    trains: Sequence[str]  # paths of the variables that train: conv1_bn/gamma
    adapts: Sequence[str]  # paths of the statistics that follow the data in training
    silenced: Mapping[str, float]  # by path: the rate of each dropout or noise that was turned off
    everything: bool  # training changes nothing: no variable, no statistic, and nothing random is on
    lost_by_keras: Sequence[str] | None = None  # once saved: the variables whose flag plain Keras loses

    @property
    def lost_flags(self) -> str:
        """One line on the layers of which plain Keras loses the frozen flag as it loads them; empty without such layers."""
        layers = list(dict.fromkeys(path.split("/")[0] for path in self.lost_by_keras or ()))
        named = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more layers" if len(layers) > 3 else "")
        cure = "load with torso.load" + (", or set model.trainable to True and then to False" if self.everything else "")
        return f"plain Keras loses the flags of {named}, which train after loading: {cure}" if layers else ""
