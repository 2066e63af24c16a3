"""A lock names what backbones are made of, and what it does not name is not built."""

from __future__ import annotations

import json

import pytest
from saved import TINY, write_weights

import torso
from torso.api import build
from torso.artifact import manifest as manifests
from torso.artifact.lock import Lock, lock_path, read_lock, require_fresh
from torso.files.hashing import hash_of
from torso.plugins.registry import Registry

SPEC = """\
version: 1
backbones:
  edge: {{architecture: TinyNet, weights: {{file: edge.weights.h5}}, truncate: {{layer: {cut}}}}}
  plain: {{architecture: TinyNet, weights: none}}
"""


@pytest.fixture
def spec(tmp_path, registry):
    """A spec with a weights file of its own, and the lock beside it."""
    write_weights(tmp_path / "edge.weights.h5", registry)
    path = tmp_path / "nets.yaml"
    path.write_text(SPEC.format(cut="joined"))
    backbones = torso.load_specs(path, registry=registry)
    place = lock_path(path)
    place.write_text(Lock.of(place, [backbone.record for backbone in backbones.values()]).text())
    return path


def locked(spec, registry):
    return torso.load_specs(spec, registry=registry, locked=True)


def refusal(spec, registry):
    with pytest.raises(torso.IntegrityError) as caught:
        locked(spec, registry)["edge"]
    return str(caught.value)


FIX = "\n  fix: go back to what is locked, or lock the new state: torso lock"


def test_what_is_locked_is_built(spec, registry):
    assert lock_path(spec) == spec.with_name("nets.lock.json")
    backbones = locked(spec, registry)
    assert [backbone.features[0].node for backbone in backbones.values()] == ["joined", "drop"]


def test_the_hash_of_the_weights_is_asked_for_where_the_spec_gives_none(spec, registry):
    plans = torso.load_specs(spec, registry=registry).plans
    assert plans["edge"].weights.request["sha256"] is None
    held = read_lock(spec, plans.values()).check_plan(plans["edge"])
    assert held.weights.request["sha256"] == hash_of(spec.with_name("edge.weights.h5"))


def test_another_weights_file_makes_a_lock_stale(spec, registry):
    plans = torso.load_specs(spec, registry=registry).plans
    require_fresh(spec, plans, pytest.fail)
    write_weights(spec.with_name("edge.weights.h5"), registry, seed=2)
    with pytest.raises(torso.IntegrityError, match=r"does not have the expected hash \(at .*nets\.yaml:3:"):
        require_fresh(spec, plans, pytest.fail)


def test_another_cut_is_refused_before_anything_is_built(spec, registry):
    spec.write_text(SPEC.format(cut="stem"))
    with pytest.raises(torso.IntegrityError) as caught:
        locked(spec, registry)
    assert str(caught.value) == (
        f"backbone 'edge' is not the one that {str(lock_path(spec))!r} names\n"
        f"  plan.truncate.options.name: stem, locked is joined{FIX} {spec}"
    )


@pytest.mark.parametrize(
    ("key", "fact"),
    [
        ("options: {width: 8}", "plan.options.width: 8, locked is 4"),
        ("freeze: none", "plan.freeze.name: freeze-policies/none, locked is freeze-policies/all"),
        ("input: {size: [16, 16]}", "plan.input_shape: 16, 16, 3, locked is 8, 8, 3"),
        ("preprocess: {include: true}", "plan.include_preprocessing: True, locked is False"),
        ("preprocess: {crop: 0.5}", "plan.transform.crop: 0.5, locked is 0.875"),
    ],
)
def test_every_other_choice_is_refused(spec, registry, key, fact):
    spec.write_text(SPEC.format(cut="joined").replace("TinyNet, weights: {", f"TinyNet, {key}, weights: {{"))
    assert fact in refusal(spec, registry)


def test_other_versions_are_a_warning_or_with_strict_an_error(spec, registry, monkeypatch):
    there = manifests.version
    monkeypatch.setattr(manifests, "version", lambda name: "99.0")
    with pytest.warns(UserWarning, match="locked is") as said:
        assert locked(spec, registry)["edge"].name == "edge"
    assert [str(one.message) for one in said] == [
        f"{name}: warning: made_with.{package}: 99.0, locked is {there(package)}"
        for name in ("edge", "plain")
        for package in ("keras", "tensorflow", "torso")  # not of h5py, which changes no value
    ]
    with pytest.raises(torso.ManyErrors) as caught:  # one for each backbone
        read_lock(spec, torso.load_specs(spec, registry=registry).plans.values(), strict=True)
    for package in ("torso", "keras", "tensorflow"):
        assert str(caught.value).count(f"made_with.{package}: 99.0, locked is {there(package)}") == 2


def test_another_version_of_a_plugin_is_a_warning(spec, registry):
    rewrite(spec, lambda entry: entry["plugins"].update(tiny="0.9"))
    with pytest.warns(UserWarning, match=r"^edge: warning: plugins\.tiny: sha256:[0-9a-f]{16}, locked is 0\.9$"):
        assert locked(spec, registry)["edge"].name == "edge"


@pytest.fixture
def meddled(tmp_path):
    """The plugins, with one more that changes every truncated model."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "meddler.py").write_text(
        "import torso\n"
        "@torso.hookimpl\n"
        "def torso_before_freeze(model):\n"
        "    import keras\n"
        "    return keras.Model(model.input, keras.layers.ReLU(name='end')(model.output), name=model.name)\n"
    )
    return Registry.load(plugins_dirs=[TINY, folder], discover=False)


def test_a_plugin_that_changes_the_model_is_refused_unless_it_was_locked(spec, meddled, registry):
    said = refusal(spec, meddled)  # though the plan is the same
    assert "plugins.meddler: sha256:" in said
    assert "graph.layers.end.kind: ReLU, locked is -" in said
    manifests = [backbone.record for backbone in torso.load_specs(spec, registry=meddled).values()]
    lock_path(spec).write_text(Lock.of(lock_path(spec), manifests).text())
    assert locked(spec, meddled)["edge"].features[0].node == "end"
    assert "plugins.meddler: -, locked is sha256:" in refusal(spec, registry)


def rewrite(spec, change):
    """Change what is locked of ``edge``, as if it had been locked so."""
    place = lock_path(spec)
    entries = json.loads(place.read_text())["backbones"]
    change(entries["edge"])
    place.write_text(Lock(place, entries).text())


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda entry: entry["graph"].update(fingerprint="0" * 64), "graph.fingerprint: "),
        (lambda entry: entry["features"][0].update(stride=9), "features.joined.stride: 1, locked is 9"),
        (lambda entry: entry["frozen"].update(frozen=1), "frozen.frozen: 280, locked is 1"),
        (lambda entry: entry["preprocessing"].update(divide=1.0), "preprocessing.divide: 255.0, locked is 1.0"),
    ],
)
def test_what_only_the_built_backbone_tells_is_held_against_the_lock_too(spec, registry, change, fact):
    rewrite(spec, change)
    backbones = locked(spec, registry)  # nothing to be known yet
    with pytest.raises(torso.IntegrityError) as caught:
        backbones["edge"]
    assert fact in str(caught.value)


def test_all_that_is_not_locked_is_told_at_once(spec, registry):
    spec.write_text(SPEC.format(cut="stem") + "  third: {architecture: TinyNet, weights: none}\n")
    with pytest.raises(torso.ManyErrors) as caught:
        locked(spec, registry)
    edge, third = map(str, caught.value.parts())
    assert edge.startswith("backbone 'edge' is not the one that ")
    assert third == f"{str(lock_path(spec))!r} does not name the backbone 'third'\n  known: edge, plain{FIX} {spec}"


def test_a_lock_that_was_changed_by_hand_is_refused(spec, registry):
    place = lock_path(spec)
    place.write_text(place.read_text().replace('"joined"', '"stem"'))
    fix = f"undo the change, or write the lock again: torso lock {spec} --force"
    assert refusal(spec, registry) == f"{str(place)!r} was changed after it was written\n  fix: {fix}"
    place.write_text('{"lock": 3}')
    assert f"{str(place)!r} is a lock of version 3, and this torso reads version 2" in refusal(spec, registry)


def test_without_a_lock_nothing_is_built(spec, registry):
    lock_path(spec).unlink()
    spec = spec.rename(spec.with_name("my nets.yml"))
    with pytest.raises(torso.OptionError) as caught:
        locked(spec, registry)
    fact = f"there is no lock {str(lock_path(spec))!r}"
    assert str(caught.value) == f"{fact}\n  fix: torso lock '{spec}', and keep it beside the spec"


def registry_of(folder, source):
    (folder / "tiny.py").write_text(source)
    return Registry.load(plugins_dirs=[folder], discover=False)


def test_a_plugin_of_one_file_is_its_name_and_its_source(spec, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    source = (TINY / "tiny.py").read_text()
    assert locked(spec, registry_of(tmp_path / "elsewhere", source))["edge"].name == "edge"
    with pytest.warns(UserWarning, match=r"plugins\.tiny: sha256:.*, locked is sha256:"):
        assert locked(spec, registry_of(tmp_path / "elsewhere", source + "# more\n"))["edge"].name == "edge"


@pytest.mark.filterwarnings("ignore:.*plugins.tiny")
@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ('name="left")', 'name="left", activation="swish")', "left.activation: silu, locked is linear"),
        ('padding="same", name="right")', 'padding="same", name="right", dilation_rate=2)',
         "right.dilation_rate: [2,2], locked is [1,1]"),
        ('MaxPooling2D(name="half")', 'MaxPooling2D(name="half", padding="same")', "half.padding: same, locked is valid"),
        ('MaxPooling2D(name="half")(joined)', 'MaxPooling2D(name="half")(joined * 2.0)', 'multiply.arguments: [["#0",2],{'),
        ('Add(name="joined")([left, right])', 'Maximum(name="joined")([left, right])', "joined.kind: Maximum, locked"),
        ('name="left")', 'name="left", dtype="mixed_bfloat16")', "left.dtype: mixed_bfloat16, locked is float32"),
    ],
)  # fmt: skip
def test_other_arithmetic_with_the_same_names_and_shapes_is_refused_by_layer_and_setting(spec, tmp_path, old, new, fact):
    source = (TINY / "tiny.py").read_text()
    assert old in source
    backbones = locked(spec, registry_of(tmp_path, source.replace(old, new)))
    with pytest.raises(torso.IntegrityError) as caught:
        backbones["edge" if "half" not in new else "plain"]
    assert f"graph.layers.{fact}" in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*plugins.tiny")
def test_other_names_seeds_and_initialisers_are_no_other_arithmetic(spec, tmp_path):
    source = (TINY / "tiny.py").read_text()
    source = source.replace('name="left")', 'name="left", kernel_initializer="he_normal")')
    source = source.replace('0.5, name="drop")', '0.5, name="drop", seed=7)').replace('name="tiny")', 'name="other")')
    assert locked(spec, registry_of(tmp_path, source))["plain"].name == "plain"


def test_a_lock_has_one_line_for_a_list(spec):
    lines = lock_path(spec).read_text().splitlines()
    assert [line for line in lines if line.strip(' ,"').replace(".", "").isalnum()] == []  # an item alone
    assert any(line.strip() == '"shape": [8, 8, 4],' for line in lines)
    assert len(lines) < 140


def test_the_same_backbones_give_the_same_lock_which_says_nothing_of_the_machine(spec, registry):
    plans = torso.load_specs(spec, registry=registry).plans.values()
    again = Lock.of(lock_path(spec), [build(plan, registry).record for plan in plans])
    assert again.text() == lock_path(spec).read_text()
    assert str(spec.parent) not in again.text()
