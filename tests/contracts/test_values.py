"""What a plugin offers is checked when it is made, and cannot be changed afterwards."""

from __future__ import annotations

import json
import random
import re
import sys
from dataclasses import asdict, fields, is_dataclass, replace
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
SHELF, WIDTH = torso.Option(name="shelf", type=str), torso.Option(name="width", type=int, default=4)
RULES = torso.InputRules(default=(8, 8))
PIXELS = torso.Preprocessing()
about: dict[str, Any] = {"family": "F", "builder": "a:b", "input": RULES, "preprocessing": PIXELS, "weights": (WEIGHTS,)}
CARD = torso.Architecture(name="Net", options=(WIDTH,), **about)
CUT = torso.Truncation(name="half", doc="", select=lambda graph, options: "x", options=(SHELF,), positional="shelf")
POLICY = torso.FreezePolicy(name="some", doc="", select=lambda graph, options: torso.FreezePlan())
SOURCE = torso.WeightSource(name="shelf", doc="", options=(SHELF,), fetch=lambda options: Path("x"))
ADAPTER = torso.ChannelAdapter(name="odd", doc="", mix=lambda have, want, options: [[1.0] * have] * want)
FORMAT = torso.ExportFormat(name="tape", doc="", write="a:b", open="a:c")
WRONG = """
WIDTH.type=list WIDTH.default='wide' WIDTH.choices=('a',) WIDTH.many=True WIDTH.name=None FILE.when={'alpha':{}}
WEIGHTS.files=(None,) WEIGHTS.top1=float('nan') WEIGHTS.classes=2**63 RULES.default=(8,) RULES.minimum=True
PIXELS.order='RBG' CARD.weights=(None,) CARD.options=[1] CARD.levels={'C6':'x'} CARD.levels={'C1':2}
CARD.arguments={'depth':object()} CARD.weights=(WEIGHTS,WEIGHTS) CARD.options=(SHELF,SHELF)
CARD.weights=(replace(WEIGHTS,tag='none'),) CARD.weights=(replace(WEIGHTS,files=()),) CARD.input=replace(RULES,divisor=0)
CARD.input=replace(RULES,minimum=9) CARD.preprocessing=replace(PIXELS,std=(0,)) CARD.preprocessing=replace(PIXELS,mean=(1,2))
CUT.select=None CUT.positional='self' SOURCE.options=() SOURCE.hashes=('crc',) ADAPTER.mix=[[1]] FORMAT.write='a'
FORMAT.open=None FORMAT.needs=('',)
"""


@pytest.mark.parametrize("case", WRONG.split())
def test_a_value_of_another_type_is_refused_when_it_is_made(case: str) -> None:
    owner, name, value = re.split("[.=]", case, maxsplit=2)
    with pytest.raises(TypeError):
        replace(globals()[owner], **{name: eval(value)})


def test_a_list_or_dictionary_is_copied_and_cannot_be_changed() -> None:
    levels, options = {"C1": "stem"}, [SHELF]
    card = replace(CARD, levels=levels, options=options)
    levels["C1"], options[0] = "head", WIDTH
    assert (card.levels, card.options) == ({"C1": "stem"}, (SHELF,))
    for change in (lambda: card.levels.update(C1="head"), lambda: card.arguments.__setitem__("depth", 1)):
        with pytest.raises((TypeError, AttributeError)):
            change()
    assert asdict(card)["levels"] == {"C1": "stem"}


# Whatever a value holds, it is refused when it is made, or what reads values gets on with it

HOOKS = {
    "torso_architectures": CARD, "torso_truncations": CUT, "torso_freeze_policies": POLICY,
    "torso_weight_sources": SOURCE, "torso_channel_adapters": ADAPTER, "torso_export_formats": FORMAT,
}  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 3, 2**70, 1.5, float("nan"), "", "x", "a b", "none", "\ud800", "[", (), (None,), ("x",), (1, 1),
    (3.0,), [8, 8], {}, {"C1": "x"}, {"size": 8}, {1: 2}, object(), int, list, str, Path("x"), len, lambda *given: given,
    torso.OptionError, REQUIRED, WIDTH, FILE, WEIGHTS, RULES, PIXELS, *HOOKS.values(),
)  # fmt: skip
LIGHT = {name: module for name, module in BUILTINS.items() if name != "keras"}  # whose catalogue takes a while to read


def mutated(chance: random.Random, value: Any) -> Any:
    """The value with odd ones in some of its fields, and in the fields of the values in it."""
    changes = {}
    for one in fields(value):
        old = getattr(value, one.name)
        inner = old[0] if isinstance(old, tuple) and old else old
        if is_dataclass(inner) and chance.random() < 0.4:
            changes[one.name] = (mutated(chance, inner),) if inner is not old else mutated(chance, inner)
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
    names = ("architectures", "truncations", "freeze_policies", "channel_adapters")
    sources = [(source.name, source.value) for source in registry.weight_sources]
    assert json_schema({**dict(zip(names, map(list, map(_spellings, kinds)), strict=True)), "weight_sources": sources})


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 41))])
def test_only_errors_of_torso_escape_from_odd_values(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, module, odd, refused = random.Random(seed), ModuleType("odd"), "", 0
    hooks = "".join(f"@torso.hookimpl\ndef {hook}(): return [make({hook!r})]\n" for hook in HOOKS)
    make = lambda hook: mutated(chance, HOOKS[hook]) if hook == odd else HOOKS[hook]  # noqa: E731
    exec(hooks, vars(module) | {"torso": torso, "make": make}, vars(module))
    monkeypatch.setitem(sys.modules, "odd", module)
    for _ in range(250):
        odd = chance.choice(["torso_architectures", *HOOKS])
        plugins = Plugins.load(builtins={**LIGHT, "odd": "odd"}, discover=False)
        use(torso.Registry(plugins))
        refused += bool(plugins.absent)
    assert 100 < refused < 220
