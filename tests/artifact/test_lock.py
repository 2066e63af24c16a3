"""A lock names what backbones are made of, and what it does not name is not built."""

from __future__ import annotations

import json
import shutil

import pytest
from networks import images, settle
from saved import TINY

import torso
from torso.api import build
from torso.artifact import manifest as manifests
from torso.artifact.lock import Lock, lock_path, read_lock
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
    write_weights(tmp_path, registry)
    path = tmp_path / "nets.yaml"
    path.write_text(SPEC.format(cut="joined"))
    backbones = torso.load_specs(path, registry=registry)
    place = lock_path(path)
    place.write_text(Lock.of(place, [backbone.record for backbone in backbones.values()]).text())
    return path


def write_weights(folder, registry, seed=1):
    model = torso.get_base_model("TinyNet", weights="none", registry=registry)
    settle(model, images((8, 8, 3), seed=seed))
    model.get_layer("stem").bias.assign([seed] * 4)
    model.save_weights(folder / "edge.weights.h5")


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


def test_another_cut_is_refused_before_anything_is_built(spec, registry):
    spec.write_text(SPEC.format(cut="stem"))
    with pytest.raises(torso.IntegrityError) as caught:
        locked(spec, registry)
    assert str(caught.value) == (
        f"backbone 'edge' is not the one that {str(lock_path(spec))!r} names\n"
        f"  plan.truncate.options.name: stem, locked is joined{FIX}"
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


def test_another_version_is_refused(spec, registry, monkeypatch):
    there = manifests.version
    monkeypatch.setattr(manifests, "version", lambda name: "99.0")
    with pytest.raises(torso.ManyErrors) as caught:  # one for each backbone
        locked(spec, registry)
    for package in ("torso", "keras", "tensorflow", "h5py"):
        assert str(caught.value).count(f"made_with.{package}: 99.0, locked is {there(package)}") == 2


def test_a_plugin_of_another_version_is_refused_before_anything_is_built(spec, registry):
    rewrite(spec, lambda entry: next(p for p in entry["plugins"] if p["name"] == "tiny").update(version="0.9"))
    with pytest.raises(torso.IntegrityError, match=r"plugins\.tiny\.version: -, locked is 0\.9"):
        locked(spec, registry)


@pytest.fixture
def meddled(tmp_path):
    """The plugins, with one more that changes every trunk."""
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


def test_a_plugin_that_changes_the_trunk_is_refused_unless_it_was_locked(spec, meddled, registry):
    said = refusal(spec, meddled)  # though the plan is the same
    assert "plugins.meddler.name: meddler, locked is -" in said
    assert "graph: " in said
    manifests = [backbone.record for backbone in torso.load_specs(spec, registry=meddled).values()]
    lock_path(spec).write_text(Lock.of(lock_path(spec), manifests).text())
    assert locked(spec, meddled)["edge"].features[0].node == "end"
    assert "plugins.meddler.name: -, locked is meddler" in refusal(spec, registry)


def rewrite(spec, change):
    """Change what is locked of ``edge``, as if it had been locked so."""
    place = lock_path(spec)
    entries = json.loads(place.read_text())["backbones"]
    change(entries["edge"])
    place.write_text(Lock(place, entries).text())


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda entry: entry.update(graph="0" * 64), "graph: "),
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
    assert third == f"{str(lock_path(spec))!r} does not name the backbone 'third'\n  known: edge, plain{FIX}"


def test_a_lock_that_was_changed_by_hand_is_refused(spec, registry):
    place = lock_path(spec)
    place.write_text(place.read_text().replace('"joined"', '"stem"'))
    fix = "undo the change, or write the lock again: torso lock --force"
    assert refusal(spec, registry) == f"{str(place)!r} was changed after it was written\n  fix: {fix}"
    place.write_text('{"lock": 2}')
    assert f"{str(place)!r} is a lock of version 2, and this torso reads version 1" in refusal(spec, registry)


def test_without_a_lock_nothing_is_built(spec, registry):
    lock_path(spec).unlink()
    with pytest.raises(torso.OptionError, match=r"there is no '.*nets\.lock\.json'.*\n  fix: torso lock nets\.yaml, "):
        locked(spec, registry)


def test_a_lock_holds_where_the_plugins_folder_is_elsewhere(spec, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(TINY / "tiny.py", tmp_path / "elsewhere")
    assert locked(spec, Registry.load(plugins_dirs=[tmp_path / "elsewhere"], discover=False))["edge"].name == "edge"
    rewrite(spec, lambda entry: entry["plan"].update(builder="torso_file_0123456789ab:build"))  # as torso 0.1.0 wrote it
    assert locked(spec, Registry.load(plugins_dirs=[TINY], discover=False))["edge"].name == "edge"
    rewrite(spec, lambda entry: entry["plan"].update(builder="torso_file_0123456789ab:other"))
    assert "plan.builder: torso_file:build, locked is torso_file:other" in refusal(
        spec, Registry.load(plugins_dirs=[TINY], discover=False)
    )


def test_the_same_backbones_give_the_same_lock_which_says_nothing_of_the_machine(spec, registry):
    plans = torso.load_specs(spec, registry=registry).plans.values()
    again = Lock.of(lock_path(spec), [build(plan, registry).record for plan in plans])
    assert again.text() == lock_path(spec).read_text()
    assert str(spec.parent) not in again.text()
