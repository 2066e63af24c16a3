"""What a plugin offers is checked when it is made, and cannot be changed afterwards."""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import torso
from torso.cli.architecture_text import architecture_as_json, architecture_text
from torso.cli.commands.schema_command import _spellings
from torso.errors import TorsoError, collect
from torso.plugins import BUILTINS, Plugins
from torso.specs.json_schema import json_schema
from torso.specs.options import REQUIRED

FILE = torso.WeightsFile(source="url", address="https://example.org/w.h5", sha256="0" * 64)
WEIGHTS = torso.Weights(tag="eyes", files=(FILE,))
ADDRESS = torso.Option(name="shelf", type=str)
VALUES: dict[str, Any] = {
    "option": torso.Option(name="width", type=int, default=4),
    "file": FILE,
    "weights": WEIGHTS,
    "input": torso.InputRules(default=(8, 8)),
    "pixels": torso.Preprocessing(),
    "license": torso.License(),
    "card": torso.Architecture(
        name="Net", family="F", builder="nowhere:build", input=torso.InputRules(default=(8, 8)), weights=(WEIGHTS,),
        preprocessing=torso.Preprocessing(), options=(torso.Option(name="width", type=int, default=4),),
    ),
    "cut": torso.Truncation(name="half", doc="", select=lambda graph, options: "x", options=(ADDRESS,), positional="shelf"),
    "policy": torso.FreezePolicy(name="some", doc="", select=lambda graph, options: torso.FreezePlan()),
    "source": torso.WeightSource(name="shelf", doc="", options=(ADDRESS,), fetch=lambda options: Path("x")),
    "rule": torso.ChannelAdapter(name="odd", doc="", mix=lambda have, want, options: [[1.0] * have] * want),
    "format": torso.ExportFormat(name="tape", doc="", write="a:b", run="a:c"),
}  # fmt: skip
WRONG = [
    ("option", {"type": list}), ("option", {"default": "wide"}), ("option", {"default": 1.5}), ("option", {"choices": 3}),
    ("option", {"choices": ("a",)}), ("option", {"many": True}), ("option", {"minimum": "0"}), ("option", {"name": None}),
    ("file", {"when": {"alpha": {}}}), ("file", {"address": None}), ("file", {"source": 1}),
    ("weights", {"files": (None,)}), ("weights", {"top1": float("nan")}), ("weights", {"classes": 10**400}),
    ("input", {"default": (8,)}), ("input", {"default": 8}), ("input", {"channels": 3}), ("input", {"minimum": True}),
    ("pixels", {"order": "RBG"}), ("pixels", {"mean": ("a",)}), ("pixels", {"divide": float("inf")}),
    ("card", {"weights": (None,)}), ("card", {"options": [1]}), ("card", {"parameters": "1M"}), ("card", {"license": "MIT"}),
    ("card", {"levels": {"C6": "x"}}), ("card", {"levels": {"C1": 2}}), ("card", {"arguments": {"depth": object()}}),
    ("card", {"weights": (WEIGHTS, WEIGHTS)}), ("card", {"weights": (replace(WEIGHTS, tag="none"),)}),
    ("card", {"weights": (replace(WEIGHTS, files=()),)}), ("card", {"options": (ADDRESS, ADDRESS)}),
    ("card", {"input": torso.InputRules(default=(8, 8), divisor=0)}),
    ("card", {"input": torso.InputRules(default=(8, 8), minimum=9)}),
    ("card", {"preprocessing": torso.Preprocessing(divide=0)}), ("card", {"preprocessing": torso.Preprocessing(std=(0,))}),
    ("card", {"preprocessing": torso.Preprocessing(mean=(1.0, 2.0))}),
    ("cut", {"select": None}), ("cut", {"positional": "self"}), ("policy", {"options": None}),
    ("source", {"options": ()}), ("source", {"hashes": ("crc",)}), ("source", {"check": 1}), ("rule", {"mix": [[1]]}),
    ("format", {"write": "a"}), ("format", {"bound": None}), ("format", {"needs": ("",)}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "change"), WRONG)
def test_a_value_of_another_type_is_refused_when_it_is_made(key: str, change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        replace(VALUES[key], **change)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(TypeError, match=r"^weights of Architecture 'Net' must be tuple\[Weights, \.\.\.\], not \(None,\)$"):
        replace(VALUES["card"], weights=(None,))


def test_a_list_or_dictionary_is_copied_and_cannot_be_changed() -> None:
    levels, options = {"C1": "stem"}, [ADDRESS]
    card = replace(VALUES["card"], levels=levels, options=options, parameters=3)
    levels["C1"], options[0] = "head", None  # type: ignore[call-overload]
    assert (card.levels, card.options) == ({"C1": "stem"}, (ADDRESS,))
    for change in (lambda: card.levels.update(C1="head"), lambda: card.arguments.__setitem__("depth", 1)):
        with pytest.raises((TypeError, AttributeError)):
            change()
    assert asdict(copy.deepcopy(card))["levels"] == {"C1": "stem"}
    assert replace(VALUES["weights"], top1=75).top1 == 75  # a whole number is a number


# Whatever stands in a value, it is refused when it is made, or what reads values gets on with it

ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 3, 2**70, 1.5, float("nan"), "", "x", "a b", "none", "\ud800", "[", (), (None,), ("x",), (1, 1),
    (3.0,), [8, 8], {}, {"C1": "x"}, {"size": 8}, {1: 2}, object(), int, list, str, Path("x"), len, lambda *given: given,
    torso.OptionError, REQUIRED, *VALUES.values(),
)  # fmt: skip
HOOKS = {
    "card": "torso_architectures", "cut": "torso_truncations", "policy": "torso_freeze_policies",
    "source": "torso_weight_sources", "rule": "torso_channel_adapters", "format": "torso_export_formats",
}  # fmt: skip
LIGHT = {name: module for name, module in BUILTINS.items() if name != "keras"}  # whose catalogue takes a while to read


def mutated(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """The value with odd ones in some of its fields, and in the fields of the values in it."""
    changes = {}
    for one in fields(value):
        old = getattr(value, one.name)
        inner = old[0] if isinstance(old, tuple) and old and hasattr(old[0], "__dataclass_fields__") else old
        if hasattr(inner, "__dataclass_fields__") and chance.random() < 0.4:
            new = mutated(chance, inner, depth + 1)
            changes[one.name] = (new,) if inner is not old else new
        elif chance.random() < 0.1:
            changes[one.name] = chance.choice(ODD)
    return replace(value, **changes)


def use(registry: torso.Registry) -> None:
    """What needs no TensorFlow, with all that is offered."""
    kinds = (registry.architectures, registry.truncations, registry.freeze_policies, registry.channel_adapters)
    for card in kinds[0]:
        assert all([json.dumps(architecture_as_json(card), allow_nan=False), *architecture_text(card, files=True)])
        for spec in ({}, {"weights": "none"}, {"input": {"channels": 4, "adapt": "odd"}}, {"truncate": {"half": "x"}}):
            errors: list[TorsoError] = []
            plan = collect(errors, torso.plan, card.qualified, registry=registry, **spec)
            assert all(error.exit_code in (2, 4, 5, 7) for error in errors)
            assert not plan or json.dumps(plan.report(), allow_nan=False)
    architectures, cuts, policies, rules = map(_spellings, kinds)
    sources = [(source.name, source.value) for source in registry.weight_sources]
    json_schema(
        architectures=architectures, truncations=cuts, freeze_policies=policies, channel_adapters=rules,
        weight_sources=sources, preprocess=(),
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 41))])
def test_only_errors_of_torso_escape_from_odd_values(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    refused = 0

    def offer(key: str) -> Callable[[], Any]:
        return lambda: [mutated(chance, VALUES[key]) if key == odd else VALUES[key]]

    for number in range(250):
        module, odd = ModuleType(f"odd{number}"), chance.choice(["card", "card", *HOOKS])
        for key, hook in HOOKS.items():
            function = offer(key)
            function.__name__ = hook
            setattr(module, hook, torso.hookimpl(function))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        plugins = Plugins.load(builtins={**LIGHT, "odd": module.__name__}, discover=False)
        use(torso.Registry(plugins))
        refused += any(info.name == "odd" for info in plugins.absent)
    assert 100 < refused < 220
