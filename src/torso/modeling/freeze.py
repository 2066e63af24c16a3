"""Freeze a model as a freeze policy selected: set the flags, turn off what is random, and report what trains."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import keras

from torso.errors import PluginError
from torso.graph import FreezePlan, FreezeReport, Graph
from torso.modeling.freeze_checks import compared, is_random, random_parts, require_frozen, set_trainable, undone_if_refused
from torso.modeling.keras_private import inner_layers
from torso.modeling.variable_paths import leaves, variables_by_path

_NAMED: Final = 6  # how many variables or layers a message names

# The rates of disabled layers, by attribute; Keras has no place for them.
_rates: WeakKeyDictionary[Any, dict[str, float]] = WeakKeyDictionary()


def freeze(model: keras.Model, graph: Graph, plan: FreezePlan, policy: str) -> FreezeReport:
    """Freeze in place what a policy selected of a model's graph; the rest trains as its builder made it."""
    layers = dict(leaves(model))
    for names, does in (plan.norm, "freezes the norm {}"), (plan.adapt, "lets {} adapt"):
        for name in sorted(graph[name].weights_of for name in names):
            if not isinstance(layers.get(name), keras.layers.BatchNormalization):
                raise PluginError(f"freeze policy {policy} {does.format(repr(name))}, which is no BatchNormalization")
    every = {id(layer) for layer in layers.values()}  # by identity: a layer that nested models share has several names
    nodes = ([graph[name] for name in names] for names in (plan.weights, plan.norm, plan.adapt))
    whole, normalised, adapting = ({id(layers[one.weights_of]) for one in some if not one.is_op} for some in nodes)
    frozen = (whole | normalised) - adapting
    silent = every if plan.stochastic == "off" else whole
    if everything := not plan.adapt and all(node.name in plan.weights for node in graph):
        frozen = silent = every
    with undone_if_refused(model):
        set_trainable(model, not everything)
        # What two share is frozen, or silent: that layer comes last.
        for layer in sorted(layers.values(), key=lambda layer: (id(layer) in frozen, id(layer) in silent)):
            set_trainable(layer, id(layer) not in frozen)
            if id(layer) in adapting:  # its scale and offset do not train; Keras saves no flag of a single variable
                for variable in layer.trainable_variables:
                    variable.trainable = False
            _set_stochastic(layer, on=id(layer) not in silent)
        require_frozen(model, frozen, silent)
    return report_of(model)


def report_of(model: keras.Model) -> FreezeReport:
    """What is frozen in a model as it is now; it may be a layer of another model."""
    variables = variables_by_path(model)
    trains = {path: variable for path, variable in variables.items() if variable.trainable}
    trainable = sum(math.prod(shape) for shape in {id(one): one.shape for one in trains.values()}.values())
    moving = {key for _, layer in leaves(model) for key in _statistics(layer)}
    adapts = tuple(path for path, variable in variables.items() if id(variable) in moving)
    return FreezeReport(
        frozen=sum(math.prod(weight.shape) for weight in model.weights) - trainable,
        trainable=trainable,
        trains=tuple(trains),
        adapts=adapts,
        silenced={path: _rates[one][rate] for path, one, rate in _rates_of(model) if _is_disabled(one, rate)},
        everything=not (trains or adapts or any(is_random(layer) for _, layer in leaves(model))),
    )


def restore(model: keras.Model, saved: Mapping[str, Any]) -> None:
    """Freeze a loaded model as its saved report (JSON) says: Keras loses flags within layers that are made of others."""
    paths = {id(variable): path for path, variable in variables_by_path(model).items()}
    trains, adapts = ({key for key, path in paths.items() if path in saved[axis]} for axis in ("trains", "adapts"))
    for path, one, rate in _rates_of(model):
        if path in saved["silenced"]:
            _rates.setdefault(one, {})[rate] = float(saved["silenced"][path])
            one.trainable = one.trainable and bool(one.weights)  # as freeze has it; Keras loses flags of inner layers
    compared.update(leaf for _, leaf in leaves(model) if saved["everything"])
    for _, leaf in leaves(model):
        own = {id(weight): weight for weight in leaf.weights}
        training = {key for key, weight in own.items() if weight.trainable}
        if training == trains & own.keys() and _statistics(leaf) == adapts & own.keys():
            continue
        for layer in inner_layers(leaf):  # from the outside in: an outer flag sets the inner ones
            set_trainable(layer, any(id(weight) in trains | adapts for weight in layer.weights))
        for key, weight in own.items():
            if weight.trainable and key not in trains:
                weight.trainable = False


def copy_rates(source: keras.Model, target: keras.Model) -> None:
    """Tell a model which rates another one of the same layers has, or had before they were turned off."""
    known = {(path, rate): getattr(one, rate) or _rates.get(one, {}).get(rate) for path, one, rate in _rates_of(source)}
    for path, one, rate in _rates_of(target):
        if value := known.get((path, rate)):
            _rates.setdefault(one, {})[rate] = float(value)


def _statistics(layer: Any) -> set[int]:
    """The ids of the statistics in a layer, and in what it wraps, that follow the data in training."""
    found: set[int] = set()
    for one in (inner for inner in inner_layers(layer) if inner.trainable):
        if isinstance(one, keras.layers.BatchNormalization):
            found |= {id(weight) for weight in one.weights if weight is not one.gamma and weight is not one.beta}
        elif isinstance(one, keras.layers.SpectralNormalization):
            found.add(id(one.vector_u))
    return found


def disagreements(model: keras.Model) -> Iterator[str]:
    """Where rates are not what flags say, as flags were set by hand: a line for each way."""
    parts = [part for part in _rates_of(model) if not part[1].weights]
    on = [path for path, one, rate in parts if not one.trainable and getattr(one, rate)]
    if off := [path for path, one, rate in parts if one.trainable and _is_disabled(one, rate)]:
        yield f"{listed(off)} set to trainable, and still off: backbone.unfreeze(...) turns on what trains"
    if on:
        yield f"{listed(on)} not trainable, and still random in training: backbone.freeze(...) turns that off"


def listed(names: Sequence[str]) -> str:
    """The names of variables or layers, and ``is`` or ``are``."""
    more = f", … and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} {'is' if len(names) == 1 else 'are'}"


def _rates_of(model: keras.Model) -> Iterator[tuple[str, Any, str]]:
    return (part for name, leaf in leaves(model) for part in random_parts(name, leaf))


def _set_stochastic(layer: Any, *, on: bool) -> None:
    for _, one, rate in random_parts("", layer):
        value = getattr(one, rate)
        if value and not on:
            _rates.setdefault(one, {})[rate] = float(value)
            setattr(one, rate, 0.0)
        elif on and _is_disabled(one, rate):
            setattr(one, rate, _rates[one][rate])
            if hasattr(one, "seed") and not hasattr(one, "seed_generator"):
                # Loaded with the rate 0, it has no generator; and Keras tracks no state that is added to a built layer.
                object.__setattr__(one, "seed_generator", keras.random.SeedGenerator(one.seed))
        if not one.weights:  # its flag says no more than whether it is on: see disagreements
            one.trainable = on


def _is_disabled(layer: Any, rate: str) -> bool:
    return rate in _rates.get(layer, ()) and not getattr(layer, rate)
