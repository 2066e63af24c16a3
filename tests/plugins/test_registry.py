from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st
from refusals import refusal
from work import calls_in

from torso.errors import ClashError, OptionError, PluginError, UnknownNameError
from torso.plugins import PluginInfo
from torso.plugins.registry import Catalogue, Contribution, Registry


@dataclass(frozen=True)
class Eye:
    name: str


def plugin(name: str, version: str = "1.0", **more: Any) -> PluginInfo:
    return PluginInfo(name=name, origin="entry point", distribution=f"torso-{name}", version=version, **more)


def offer(*qualified: str) -> list[Contribution[Eye]]:
    pairs = [text.split("/") for text in qualified]
    return [Contribution(value=Eye(name), plugin=plugin(provider)) for provider, name in pairs]


def catalogue(*qualified: str, absent: tuple[PluginInfo, ...] = ()) -> Catalogue[Eye]:
    return Catalogue("eye", offer(*qualified), absent=absent)


def test_resolve_takes_bare_and_qualified_names_in_any_letter_case_and_nothing_else():
    eyes = catalogue("acme/ResNet50", "acme/ResNet101")
    for name in ("ResNet50", "resnet50", "acme/ResNet50", "ACME/RESNET50", "res_net_50", "acme/resnet_50"):
        assert eyes.resolve(name).qualified == "acme/ResNet50"
    for name in ("value", "", "/", "/ResNet50", "acme/", "acme", "a/acme/ResNet50"):
        with pytest.raises(UnknownNameError):
            eyes.resolve(name)


def test_resolve_refuses_to_guess_between_two_plugins():
    eyes = catalogue("beta/EyeNet", "acme/eyenet", "acme/ResNet50")
    assert [eyes.resolve(name).plugin.name for name in ("acme/EyeNet", "beta/eyenet")] == ["acme", "beta"]
    assert refusal(eyes.resolve, "EYENET", kind=ClashError) == (
        "eye 'EYENET' is offered by 2 plugins\n"
        "  known: acme/eyenet, by plugin 'acme' (torso-acme 1.0)\n"
        "  known: beta/EyeNet, by plugin 'beta' (torso-beta 1.0)\n"
        "  fix: write 'acme/eyenet' or 'beta/EyeNet', or block with -p no:acme or -p no:beta"
    )


def test_resolve_suggests_near_names_and_says_who_is_not_in_use():
    why = "its import failed: ModuleNotFoundError: No module named 'keras_hub'"
    vit = plugin("vit", "0.3.0", status="disabled", reason=why)
    ears = PluginInfo(name="ears", origin="-p", location="ears", status="blocked", reason="it is blocked with -p no:ears")
    eyes = catalogue("acme/ResNet50", "acme/VGG16", absent=(vit, ears))
    assert refusal(eyes.resolve, "resnet5O", kind=UnknownNameError) == (
        "unknown eye 'resnet5O'\n"
        "  did you mean: 'ResNet50'\n"
        "  known: ResNet50, VGG16\n"
        f"  disabled: plugin 'vit' (torso-vit 0.3.0): {why}\n"
        "  blocked: plugin 'ears' (ears): it is blocked with -p no:ears"
    )
    assert refusal(Catalogue("architecture", offer("acme/ResNet50")).resolve, "eyes", kind=UnknownNameError) == (
        "unknown architecture 'eyes'\n  known: ResNet50\n"
        "  fix: if it is of your own, load its plugin: install it, or --plugins-dir FOLDER; "
        "in Python registry=torso.Registry.load(plugins_dirs=[…])"
    )


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("acme/EyeNot", "'acme/EyeNet'"),  # of that provider alone
        ("acmee/EyeNet", "'acme/EyeNet', 'beta/EyeNet'"),
        ("keras/ResNet5O", "'beta/ResNet50'"),
    ],
)
def test_resolve_suggests_qualified_names_for_a_qualified_name(name, suggestion):
    eyes = catalogue("acme/EyeNet", "beta/EyeNet", "beta/ResNet50")
    assert f"\n  did you mean: {suggestion}\n" in refusal(eyes.resolve, name)


def test_names_are_listed_as_people_sort_them():
    names = ["x/ResNet101", "x/resnet50v2", "x/VGG16", "b/ResNet50", "a/ResNet50", "x/b7", "x/B10", "x/b07"]
    listed = ["x/b7", "x/b07", "x/B10", "a/ResNet50", "b/ResNet50", "x/resnet50v2", "x/ResNet101", "x/VGG16"]
    assert [one.qualified for one in catalogue(*names)] == listed


@given(st.lists(st.text(st.characters(exclude_characters="/"), min_size=1), unique_by=str.casefold))
def test_any_names_can_be_listed_and_resolved(names):
    eyes = catalogue(*(f"acme/{name}" for name in names))
    assert sorted(one.name for one in eyes) == sorted(names)
    assert [eyes.resolve(name).name for name in names] == names
    assert len(eyes) == len(names)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["mobilenet*"], ["a/MobileNet", "a/MobileNetV2"]),
        (["b/*"], ["b/ResNet50"]),
        (["*50", "MOBILENET"], ["a/MobileNet", "b/ResNet50"]),
        (["resnet"], ["b/ResNet50"]),
        (["res?et"], []),
        (["mobilenet_v2"], ["a/MobileNetV2"]),
        (["net_v*", "tv2"], ["a/MobileNetV2"]),
        ([], []),
    ],
)
def test_search_matches_bare_and_qualified_names(patterns, found):
    eyes = catalogue("a/MobileNetV2", "a/MobileNet", "b/ResNet50")
    assert [one.qualified for one in eyes.search(*patterns)] == found


def test_the_work_of_a_resolve_does_not_grow_with_the_names():
    few, many = (catalogue(*(f"acme/Network{number}" for number in range(count))) for count in (1_000, 10_000))
    assert calls_in(few.resolve, "network999") == calls_in(many.resolve, "network999") < 50


# The registry of real plugins


def test_the_registry_collects_every_kind_of_the_builtin_plugins():
    registry = Registry.load(discover=False)
    for kind, name in {
        "architectures": "keras/ResNet50",
        "truncations": "truncations/none",
        "freeze_policies": "freeze-policies/all",
        "weight_sources": "weight-sources/file",
        "channel_adapters": "channel-adapters/map",
        "export_formats": "export-formats/onnx",
    }.items():
        assert getattr(registry, kind).resolve(name.partition("/")[2]).qualified == name


def test_blocking_a_plugin_ends_a_clash(load):
    with pytest.raises(ClashError, match="architecture 'EyeNet' is offered by 2 plugins"):
        Registry(load("good", "clash")).architectures.resolve("EyeNet")
    assert Registry(load("good", "clash", plugins=["no:beta"])).architectures.resolve("EyeNet").plugin.name == "acme"


def test_an_unknown_name_tells_of_a_plugin_that_failed_while_it_was_collected(load, tmp_path):
    (tmp_path / "half.py").write_text("import torso\n@torso.hookimpl\ndef torso_architectures(): raise KeyError('HalfNet')")
    registry = Registry(load("good", plugins_dirs=[tmp_path]))
    why = f"plugin 'half' ({tmp_path / 'half.py'}): its hook 'torso_architectures' failed: KeyError: 'HalfNet'"
    for kind in (registry.truncations, registry.architectures):
        assert f"\n  disabled: {why}" in refusal(kind.resolve, "HalfNet")


# Arguments for the builder


def arguments(load, folder: Path, **answers: str) -> dict[str, object]:
    """The arguments for EyeNet from plugins that each answer ``torso_build_arguments`` with an expression."""
    for name, answer in answers.items():
        (folder / f"{name}.py").write_text(
            "from types import MappingProxyType\nimport torso\n"
            "def refuse(): raise torso.OptionError('alpha cannot be 0.3')\n"
            "@torso.hookimpl\ndef torso_build_arguments(architecture, options, weights, input_shape):\n"
            f"    return {answer}\n"
        )
    registry = Registry(load("good", plugins_dirs=[folder]))
    eyenet = registry.architectures.resolve("EyeNet")
    return registry.build_arguments(eyenet, MappingProxyType({"alpha": 0.35}), "none", (64, 64, 3))


def test_build_arguments_merges_what_the_plugins_answer(load, tmp_path):
    assert arguments(
        load,
        tmp_path,
        ape="{'alpha': options['alpha'], 'name': architecture.name}",
        bee="None",
        cow="MappingProxyType({'alpha': 0.35, 'shape': input_shape, 'weights': weights})",
    ) == {"alpha": 0.35, "name": "EyeNet", "shape": (64, 64, 3), "weights": "none"}


RETURNS = (
    "reading the answer of hook 'torso_build_arguments' failed: TypeError: {}\n"
    "  plugin: {{ape}}\n  see: --debug for its traceback"
)


@pytest.mark.parametrize(
    ("answers", "kind", "text"),
    [
        ({"ape": "{'depth': 1}", "bee": "{'depth': 2}"}, ClashError,
         "two plugins set the argument 'depth' of architecture 'EyeNet' differently\n"
         "  known: 1, by {ape}\n  known: 2, by {bee}\n  fix: block one of them with -p no:ape or -p no:bee"),
        ({"ape": "refuse()"}, OptionError, "alpha cannot be 0.3\n  raised by: {ape}"),
        ({"ape": "5"}, PluginError, RETURNS.format("'int' object is not iterable")),
        ({"ape": "{'alpha': 1j}"}, PluginError, RETURNS.format("Object of type complex is not JSON serializable")),
    ],
)  # fmt: skip
def test_build_arguments_are_refused_with_the_plugin(load, tmp_path, answers, kind, text):
    said = refusal(arguments, load, tmp_path, **answers, kind=kind)
    plugins = {name: f"plugin {name!r} ({tmp_path / name}.py)" for name in ("ape", "bee")}
    assert said == text.format(**plugins)
