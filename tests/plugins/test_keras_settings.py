"""Settings of Keras that a plugin leaves changed are put back, and what is built is locked with them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import pytest
from provider import Acme

import torso
from torso.api import load_specs
from torso.artifact.lock import Lock, lock_path
from torso.errors import IntegrityError
from torso.plugins.calling import keras_settings, plugin_errors
from torso.plugins.info import PluginInfo

ACME = PluginInfo(name="acme", origin="entry point", distribution="torso-acme", version="0.2.0")
CHANGES: dict[str, tuple[Callable[[], Any], str]] = {
    "floatx": (lambda: keras.config.set_floatx("float64"), "floatx from float32 to float64"),
    "policy": (lambda: keras.config.set_dtype_policy("mixed_float16"), "dtype_policy from float32 to mixed_float16"),
    "epsilon": (lambda: keras.config.set_epsilon(0.5), "epsilon from 1e-07 to 0.5"),
    "format": (
        lambda: keras.config.set_image_data_format("channels_first"),
        "image_data_format from channels_last to channels_first",
    ),
    "unsafe": (keras.config.enable_unsafe_deserialization, "safe mode, to let files run code"),
}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(policy)
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_what_a_plugin_leaves_changed_is_put_back_and_told(change: Callable[[], Any], words: str, *, fails: bool) -> None:
    before = keras_settings()
    text = f"plugin 'acme' (torso-acme 0.2.0): hook 'x' changed Keras' {words}; torso has put it back"

    def call() -> None:
        with suppress(torso.PluginError), plugin_errors(ACME, "hook 'x'"):
            change()
            assert not fails

    with pytest.warns(UserWarning, match=f"^{re.escape(text)}$"):
        call()
    assert keras_settings() == before
    with pytest.raises((ValueError, TypeError), match=r"unsafe|lambda"):  # in safe mode again
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(keras.layers.Lambda(lambda x: x)))


def test_before_keras_is_imported_its_configuration_file_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "keras.src.backend.common.global_state", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    plain = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last", "dtype_policy": "float32"}
    assert keras_settings() == plain
    (tmp_path / "keras.json").write_text("[]")
    assert keras_settings() == plain
    (tmp_path / "keras.json").write_text('{"floatx": "float64", "backend": "tensorflow"}')
    assert keras_settings() == {**plain, "floatx": "float64", "dtype_policy": "float64"}


def test_reading_the_settings_does_not_fix_the_policy(tmp_path: Path) -> None:
    def read() -> tuple[str, str]:
        keras_settings()
        keras.config.set_floatx("float64")
        return keras_settings()["dtype_policy"], keras.config.dtype_policy().name

    from torso.modeling.threads import start_thread

    assert start_thread(read).result() == ("float64", "float64")


def test_the_next_network_is_what_it_would_be_without_a_careless_builder(tmp_path: Path) -> None:
    careless = Acme(tmp_path, body="keras.config.set_floatx('float64')\n    return network(input_shape)")
    with pytest.warns(UserWarning, match="changed Keras' floatx"):
        careless.create()
    assert {weight.dtype for weight in Acme(tmp_path).create().model.weights} == {"float32"}


@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_bfloat16"])
def test_a_lock_is_for_the_types_that_it_was_made_with(tmp_path: Path, policy: str) -> None:
    acme = Acme(tmp_path)
    spec = tmp_path / "b.yaml"
    spec.write_text("version: 1\nbackbones:\n  Net: {architecture: Net, weights: none}\n")
    record = load_specs(spec, registry=acme.registry)["Net"].record
    lock_path(spec).write_text(Lock.of(lock_path(spec), [record]).text())
    keras.config.set_dtype_policy(policy)
    with pytest.raises(IntegrityError, match=rf"plan\.keras\.dtype_policy: {policy}, locked is float32"):
        load_specs(spec, registry=acme.registry, locked=True)
    assert acme.create().manifest["plan"]["keras"]["dtype_policy"] == policy
