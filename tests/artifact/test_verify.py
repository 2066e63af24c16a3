"""Whatever happens to a saved backbone: verify says exactly what, and load never returns something else."""

from __future__ import annotations

import shutil

import keras
import pytest
from saved import edit

import torso
from torso.artifact import reference_outputs

NAMES = ("manifest", "files", "graph", "features", "variables", "frozen", "preprocessing", "probe", "made with", "plugins")


def sign_the_model(folder):
    """Make the manifest name the model that stands beside it, as somebody would who wants to deceive."""
    from hashlib import sha256

    data = (folder / "model.keras").read_bytes()
    files = {"model.keras": {"bytes": len(data), "sha256": sha256(data).hexdigest()}}
    edit(folder, lambda manifest: manifest.update(files=files))


def check_of(folder, name):
    return next(check for check in torso.verify(folder).checks if check.name == name)


def failed(folder):
    found = torso.verify(folder)
    wrong = {check.name: check.words for check in found.checks if not check.holds}
    assert found.holds == (not wrong)
    return wrong


def test_a_saved_backbone_is_what_its_manifest_says(saved):
    found = torso.verify(saved)
    assert found.holds
    assert (found.folder, found.name) == (saved, "edge")
    assert tuple(check.name for check in found.checks) == NAMES
    assert [check.words for check in found.checks] == [
        "unchanged",
        "model.keras, unchanged",
        "7 nodes",
        "drop",
        "6 identical",
        "nothing trains, and training gives the same bits",
        "identical",
        "drop: identical",
        "same versions installed",
        "same versions installed",
    ]


def test_a_manifest_edited_by_hand_is_found(saved):
    edit(saved, lambda manifest: manifest.update(built={"way": "ordinary", "why": "I say so"}), sign=False)
    assert failed(saved) == {"manifest": "changed after it was written"}
    with pytest.raises(torso.IntegrityError, match="was changed after it was saved"):
        torso.load(saved)


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (lambda m: m["graph"].update(nodes=8), "graph", "graph.nodes was 8, is 7"),
        (lambda m: m["graph"].update(fingerprint="0" * 64), "graph", "graph.fingerprint was 000000000000…, is "),
        (lambda m: m["frozen"].update(frozen=7), "frozen", "frozen.frozen was 7, is 280"),
        (lambda m: m["frozen"].update(trains=["right/bias"]), "frozen", "frozen.frozen was 280, is 276"),  # it does train
        (lambda m: m["frozen"].update(everything=False), "frozen", "frozen.everything was False, is True"),
        (lambda m: m["features"][0].update(shape=[9, 9, 4]), "features", "features was "),
        (
            lambda m: m["variables"].update({"stem/more": "0" * 64}),
            "variables",
            "variables.stem/more was 000000000000…, is -",
        ),
        (lambda m: m["variables"].pop("right/bias"), "variables", "variables.right/bias was -, is "),
        (lambda m: m["preprocessing"].update(divide=127.5), "preprocessing", "preprocessing.preprocessed was "),
        (lambda m: m["probe"].update(pixels="0" * 64), "preprocessing", "preprocessing.pixels was 000000000000…, is "),
        (lambda m: m["probe"]["features"]["drop"].update(sha256="0" * 64, max=1e6), "probe", "drop: off by 1.0e+00"),
    ],
)
def test_what_a_signed_manifest_says_wrongly_is_found_in_the_model(saved, change, check, words):
    edit(saved, change)
    if check in ("graph", "frozen", "features", "variables"):  # the other two are not computed again
        with pytest.raises(torso.IntegrityError, match=rf" does not match its manifest\n  {check}(\.[\w/]+)? expected: "):
            torso.load(saved)
    wrong = failed(saved)
    assert wrong[check].startswith(words)
    assert set(wrong) <= {check, "probe"}  # another preprocessing gives other features


def test_a_stride_is_held_against_what_the_same_torso_tells(saved):
    edit(saved, lambda manifest: manifest["features"][0].update(stride=None))
    assert failed(saved)["features"].startswith("features was ")
    edit(saved, lambda manifest: manifest["made_with"].update(torso="0.0.9"))
    assert failed(saved) == {}
    assert torso.load(saved).features[0].stride is None  # as it was saved


def test_a_file_of_another_hash_is_not_opened(saved, monkeypatch):
    (saved / "model.keras").write_bytes((saved / "model.keras").read_bytes() + b" ")
    monkeypatch.setattr(keras.models, "load_model", lambda *arguments, **options: pytest.fail("it was opened"))
    assert failed(saved)["files"].endswith("; not opened")


def test_swapped_weights_are_found_even_under_a_signed_manifest(saved, other):
    shutil.copy(other / "model.keras", saved / "model.keras")
    assert set(failed(saved)) == {"files"}
    sign_the_model(saved)
    wrong = failed(saved)
    assert set(wrong) == {"variables", "probe"}
    assert wrong["variables"].startswith("variables.stem/bias was ")
    with pytest.raises(torso.IntegrityError, match=r"variables\.stem/bias expected: "):
        torso.load(saved)


@pytest.mark.parametrize("name", ["model.keras", "manifest.json"])
def test_a_file_that_is_missing_is_named(saved, name):
    (saved / name).unlink()
    if name == "manifest.json":
        lost = saved / "model.keras"
        fix = f"\n  fix: keras.models.load_model({str(lost)!r}), or weights={{'file': {str(lost)!r}}}"
        made = "\n  fix: torso build SPEC -o FOLDER, or Backbone.save"
        for look, place, notes in (torso.verify, saved, made), (torso.load, saved, made), (torso.load, lost, fix):
            with pytest.raises(torso.OptionError) as caught:
                look(place)
            assert str(caught.value) == f"{str(place)!r} holds no saved backbone: it has no manifest.json{notes}"
    else:
        assert failed(saved)["files"].endswith("…, is -; not opened")
        with pytest.raises(torso.IntegrityError, match=r"model\.keras' is missing$"):
            torso.load(saved)


def test_a_file_of_another_hand_is_named(saved):
    (saved / "model.weights.h5").write_bytes(b"")
    assert failed(saved) == {"files": "not saved with it: model.weights.h5"}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda manifest: manifest.pop("probe"), "TypeError: .* missing .* 'probe'"),
        (lambda manifest: manifest["files"].clear(), "KeyError: 'model.keras'"),
        (lambda manifest: manifest["probe"].update(tolerance="x"), "ValueError: could not convert string to float: 'x'"),
    ],
)
def test_a_manifest_that_lacks_a_fact_or_has_an_odd_one_is_refused(saved, change, cause):
    edit(saved, change, sign=False)
    with pytest.raises(torso.IntegrityError, match=f"is not a valid manifest\n  cause: {cause}"):
        torso.verify(saved)


def test_other_versions_and_plugins_that_are_not_here_are_told_of_and_hold(saved):
    plugin = {"name": "acme", "origin": "entry point", "distribution": "acme-nets", "version": "1.4"}
    edit(saved, lambda manifest: (manifest["plugins"].append(plugin), manifest["made_with"].update(keras="3.9.0")))
    assert failed(saved) == {}
    assert check_of(saved, "plugins").words == "acme-nets 1.4, here not installed (not needed to load it)"
    assert check_of(saved, "made with").words == f"keras 3.9.0, here {keras.__version__}"
    assert torso.load(saved).name == "edge"


@pytest.mark.parametrize(
    ("key", "share", "holds", "off"),
    [("mean", 0, True, "6.0e-08"), ("mean", 5e-5, True, "5.0e-05"), ("mean", 1.5e-4, False, "1.5e-04"),
     ("sketch", 0.01, False, "1.0e-02")],  # which no statistic shows
)  # fmt: skip
def test_features_of_another_machine_may_differ_within_the_tolerance(saved, key, share, holds, off):
    def change(manifest):
        told = manifest["probe"]["features"]["drop"]
        by = share * max(abs(told["max"]), abs(told["min"]))
        told.update(
            {"sha256": "0" * 64, key: told["mean"] + by if key == "mean" else [told["sketch"][0] + by, *told["sketch"][1:]]}
        )

    edit(saved, change)
    check = check_of(saved, "probe")
    assert (check.holds, check.words) == (holds, f"drop: off by {off} of the largest value, tolerance 0.0001")


@pytest.mark.parametrize(
    ("layer", "key", "value", "expected", "found", "checks"),
    [
        ("left", "activation", keras.activations.relu6, "linear", "relu6", {"graph", "probe"}),
        ("drop", "rate", 0.5, "0", "0.5", {"graph", "frozen"}),
    ],
)
def test_a_setting_of_a_layer_that_was_changed_is_named(saved, layer, key, value, expected, found, checks):
    fact = f"graph.layers.{layer}.{key}"
    model = keras.models.load_model(saved / "model.keras")
    setattr(model.get_layer(layer), key, value)
    model.save(saved / "model.keras")
    sign_the_model(saved)
    wrong = failed(saved)
    assert set(wrong) == checks
    assert wrong["graph"].startswith(f"{fact} was {expected}, is {found}, and 1 more")
    with pytest.raises(torso.IntegrityError, match=rf"{fact} expected: {expected}\n  {fact} found: {found}"):
        torso.load(saved)


def test_a_frozen_model_that_gives_other_features_in_training_is_found(saved, monkeypatch):
    features_for = reference_outputs.features_for

    def otherwise(model, given, names, *, training=False):
        features = features_for(model, given, names)
        return {name: values + training for name, values in features.items()}

    monkeypatch.setattr(reference_outputs, "features_for", otherwise)
    assert failed(saved) == {"frozen": "frozen.in_training was the same bits, is different features: drop"}


def test_verify_and_load_open_no_connection(saved, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *arguments: pytest.fail("a connection"))
    assert (torso.verify(saved).holds, torso.load(saved).name) == (True, "edge")
