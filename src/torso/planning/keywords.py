"""The plan of one backbone from keywords. Each value keeps the name of the argument that it came from."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import signature
from typing import Any, Final, Literal, ParamSpec, TypeVar

from torso.errors import OptionError, Place, SpecError, TorsoError, collect, did_you_mean, known, raise_all
from torso.planning.plan import Plan
from torso.planning.resolve import make_plan
from torso.plugins.registry import Registry
from torso.specs.backbone_spec import BACKBONE_NAME
from torso.specs.nearly_right import with_fix
from torso.specs.spec_file import backbone_from_python
from torso.specs.yaml_nodes import ScalarNode, SequenceNode, from_python, must_be

P = ParamSpec("P")
T = TypeVar("T")

FIRST_TAG: Final = "the first tag"  # weights that the user does not name; None is random initialisation, as in Keras


def takes_what(named: Callable[P, object]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function that passes its arguments on the parameters of another one, for ``help()``, editors and mypy."""

    def same(function: Callable[..., T]) -> Callable[P, T]:
        returned = signature(function).return_annotation
        function.__signature__ = signature(named).replace(return_annotation=returned)  # type: ignore[attr-defined]
        return function

    return same


def plan(
    architecture: str,
    *,
    input_shape: Sequence[int | None] | None = None,
    weights: str | Mapping[str, Any] | None = FIRST_TAG,
    truncate: str | Mapping[str, Any] | None = None,
    freeze: str | Mapping[str, Any] = "all",
    pooling: Literal["avg", "max"] | None = None,
    regularize: float | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    input: Mapping[str, Any] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    name: str | None = None,
    prefix: str | None = None,
    seed: int | None = None,
    registry: Registry | None = None,
    **architecture_options: Any,
) -> Plan:
    """Return what :func:`create_backbone` would do, without TensorFlow or an internet connection.

    Raises:
        TorsoError: One error that lists everything that is wrong.
    """
    keywords: dict[str, Any] = {
        "architecture": architecture, "input_shape": input_shape, "truncate": truncate, "freeze": freeze, "pooling": pooling,
        "weights": None if weights == FIRST_TAG else "none" if weights is None else weights, "options": options,
        "input": input, "preprocess": preprocess, "prefix": prefix, "seed": seed,
        "regularize": regularize,
    }  # fmt: skip
    registry = registry or Registry.load()
    errors: list[TorsoError] = []
    found = collect([], registry.architectures.resolve, str(architecture))  # an unknown one is refused with all else
    bare = found.name if found else str(architecture).rsplit("/", 1)[-1]
    own = [option.name for option in found.value.options] if found else [*architecture_options]
    for key in [key for key in architecture_options if key not in own]:
        errors.append(_unknown(key, architecture_options.pop(key), bare, [*own, *[*keywords, "name"][1:]]))
    default = bare if re.fullmatch(BACKBONE_NAME, bare) else "backbone"  # what is no name is refused as an architecture
    title = str(default if name is None else name)
    keys = collect(errors, _keys_of, keywords, architecture_options)
    declared = None if keys is None else collect(errors, backbone_from_python, title, **keys)
    planned = None if declared is None else collect(errors, make_plan, declared, registry)
    raise_all(errors)
    assert planned is not None
    return planned


def _unknown(key: str, value: Any, network: str, names: Collection[str]) -> TorsoError:
    fact = f"no parameter and no option of {network} is called {key!r}"
    notes = [*did_you_mean(key, names), known(names, most=20)]
    node = collect([], from_python, value, f"$.{key}") or ScalarNode("", place=Place(f"$.{key}"))
    return with_fix(OptionError(fact, place=node.place, notes=notes), key, node)


def _keys_of(keywords: Mapping[str, Any], architecture_options: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that were set; those of ``input_shape``, ``seed`` and single options are put where a spec has them."""
    keys = {key: value for key, value in keywords.items() if value is not None}
    if keys.get("freeze") == "all":  # then it is torso's own, whatever plugins offer under that name
        del keys["freeze"]
    elif "freeze" not in keys:
        notes = [("fix", 'write freeze="none" if everything is to train, or leave it out')]
        raise SpecError("freeze is None", place=Place("$.freeze"), notes=notes)
    _split_shape(keys)
    if (seed := keys.pop("seed", None)) is not None:
        if keys.get("weights") != "none":
            notes = [("fix", "write weights=None, or leave seed out")]
            raise OptionError("seed is of random initialisation only", place=Place("$.seed"), notes=notes)
        keys["weights"] = {"none": {"seed": from_python(seed, "$.seed")}}
    options = keys.get("options", {})
    if architecture_options and isinstance(options, Mapping):
        if twice := next((name for name in architecture_options if name in options), None):
            raise SpecError(f"{twice} is given twice", place=Place("$.options"), notes=[("fix", "write it once")])
        alone = {name: from_python(value, f"$.{name}") for name, value in architecture_options.items()}
        keys["options"] = {**options, **alone}
    return keys


def _split_shape(keys: dict[str, Any]) -> None:
    """Replace ``input_shape`` by ``size`` and ``channels`` of ``input``."""
    if (shape := keys.pop("input_shape", None)) is None:
        return
    node, given = from_python(shape, "$.input_shape"), keys.get("input", {})
    if not isinstance(node, SequenceNode) or len(node.items) != 3:
        error = must_be("input_shape", "(height, width, channels)", node, SpecError)
        raise with_fix(error, "input_shape", node)
    if isinstance(given, Mapping):
        if both := [key for key in ("size", "channels") if key in given]:
            notes = [("fix", f"leave {both[0]} out of input")]
            raise SpecError(f"input_shape and input both set the {both[0]}", place=node.place, notes=notes)
        keys["input"] = {**given, "size": SequenceNode(node.items[:2], node.place), "channels": node.items[2]}
