"""A runtime gives the features of Keras from pixels, or an error that says what it is; a stranger's format is one too."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import settle
from provider import SHAPE, Acme, told

import torso
from torso import runtimes
from torso.export import isolated, write
from torso.testing import check_export_format

PIXELS = np.random.default_rng(3).integers(0, 256, (3, *SHAPE), "uint8")
FORMATS = {"saved_model": (), "litert": ("ai_edge_litert",), "onnx": ("onnxruntime", "tf2onnx"), "openvino": ("openvino",)}
# A stranger's format: the SavedModel itself, of which each way of opening it makes something.
TAPE = """
import shutil, numpy as np

def write(saved_model, folder):
    shutil.copytree(saved_model, folder, dirs_exist_ok=True)

def open_right(folder, threads, precision="float32", change=lambda values: values):
    import tensorflow as tf
    loaded = tf.saved_model.load(str(folder))
    given = loaded.signatures["serving_default"]
    print("it has", threads, "threads")
    def features(images):
        found = {name: change(values.numpy()) for name, values in given(images=tf.constant(images)).items()}
        return {"more": 1.0, **dict(reversed(found.items()))} if loaded else {}
    return features

def open_coarse(folder, threads, precision):
    keep = 7 if precision == "bfloat16" else 23
    step = np.uint32(2 ** (23 - keep))
    return open_right(folder, threads, change=lambda values: ((values + 0.).view("uint32") // step * step).view("float32"))

def open_off(folder, threads):
    return open_right(folder, threads, change=lambda values: values * 1.001)

def open_holes(folder, threads, precision):
    return open_right(folder, threads, change=lambda values: np.where(values > values.min(), values, np.inf))

def open_less(folder, threads):
    return lambda images: {}

def open_reused(folder, threads):
    right, kept = open_right(folder, threads), {}
    def features(images):
        found = right(images)
        for name in ("C1", "C2"):
            kept.setdefault(name, np.zeros((9, *found[name].shape[1:]), "float32"))[:len(images)] = found[name]
        return {name: values[:len(images)] for name, values in kept.items()}
    return features

def open_beside(folder, threads):
    return open_right(folder, threads, change=lambda values: values * (1 if len(values) < 3 else 0.9))

def open_late(folder, threads):
    right = open_right(folder, threads)
    def features(images):
        if len(images) == 3:
            raise ValueError("three are too many")
        return right(images)
    return features

@torso.hookimpl
def torso_export_formats():
    both = {"coarse": ("float32", "bfloat16"), "holes": ("bfloat16", "float32")}
    for way in ("right", "coarse", "off", "holes", "less", "late", "gone"):
        yield torso.ExportFormat(
            name=way, doc="", write=f"{__name__}:write", open=f"{__name__}:open_{way}", precisions=both.get(way, ["float32"])
        )
    yield torso.ExportFormat(name="reused", doc="", write=f"{__name__}:write", open=f"{__name__}:open_reused")
    yield torso.ExportFormat(name="beside", doc="", write=f"{__name__}:write", open=f"{__name__}:open_beside")
    yield torso.ExportFormat(name="loose", doc="", write=f"{__name__}:write", open=f"{__name__}:open_off", bound=0.002)
    yield torso.ExportFormat(name="wanting", doc="", write="a:b", open="a:c", needs=["no_such_module"])
"""


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Acme:
    more = "preprocessing=torso.Preprocessing(order='BGR', divide=127.5, mean=(1, 1.1, 1.2))"
    return Acme(tmp_path_factory.mktemp("acme"), TAPE, more=more)


@pytest.fixture(scope="module")
def twins(acme: Acme) -> torso.Backbone:
    """Two outputs, the later one first; normalised by the statistics of the pixels."""
    backbone = acme.create(truncate={"layers": ["end", "join"]}, freeze="none")
    settle(backbone.model, np.asarray(backbone.preprocess(PIXELS)))
    return backbone


@pytest.fixture
def run(
    acme: Acme, twins: torso.Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., runtimes.Runtime]:
    """Make a runtime of the twins, without another process."""

    def here(folder: Path) -> int:
        isolated.answer(str(folder))
        return 0

    monkeypatch.setattr(isolated, "_run", here)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(name: str, **options: Any) -> runtimes.Runtime:
        made = twins.runtime(name, registry=acme.registry, **options)
        assert list(tmp_path.glob("torso-*")) == []  # AutoGraph may leave a file
        return made

    return run


def by_keras(backbone: torso.Backbone, pool: str | None, pixels: np.ndarray = PIXELS) -> dict[str, np.ndarray]:
    """The features in the order of the backbone, pooled by the layers of Keras."""
    pools = {"avg": keras.layers.GlobalAveragePooling2D(), "max": keras.layers.GlobalMaxPooling2D(), None: lambda each: each}
    return {name: np.asarray(pools[pool](values)) for name, values in backbone(pixels).items()}


def assert_near(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert [*found] == [*expected]
    for name, values in expected.items():
        assert found[name].dtype == "float32"
        assert values.std() > 0.01 * np.abs(values).max()  # it would prove nothing otherwise
        np.testing.assert_allclose(found[name], values, atol=1e-5 * np.abs(values).max())


@pytest.mark.parametrize("pool", [None, "avg", "max"])
@pytest.mark.parametrize("name", ["keras", "tensorflow", "right"])
def test_it_gives_the_pooled_features_of_keras(
    run: Callable[..., runtimes.Runtime], twins: torso.Backbone, name: str, pool: str | None
) -> None:
    made = run(name, pool=pool)
    expected = by_keras(twins, pool)
    assert_near(made(PIXELS), expected)
    assert_near(made((PIXELS[:1]).astype("float64")), {key: values[:1] for key, values in expected.items()})
    assert (made.name, made.precision, made.error < 1e-5, made.cosine > 0.999999) == (name, "float32", True, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_each_format_of_torso_is_a_runtime(twins: torso.Backbone, name: str) -> None:
    if not all(map(find_spec, FORMATS[name])):
        pytest.skip(f"torso[{name}] is not installed")
    made = twins.runtime(name, pool="avg", threads=None if name == "saved_model" else 1)
    expected = by_keras(twins, "avg")
    first = made(PIXELS)
    made(255 - PIXELS)
    assert_near(first, expected)  # the arrays are not those of the next call
    assert_near(made(PIXELS[1:2]), {key: values[1:2] for key, values in expected.items()})
    assert (made.name, made.error < 1e-5) == (name, True)


def test_tensorflow_computes_with_the_weights_of_when_it_was_made_as_constants(
    twins: torso.Backbone, acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = acme.create(truncate={"layers": ["end", "join"]})
    backbone.model.set_weights(twins.model.get_weights())
    drawn: list[Any] = []
    monkeypatch.setattr(runtimes, "traced", lambda *given: drawn.append(write.traced(*given)) or drawn[0])
    before, made = backbone.manifest, backbone.runtime()
    assert drawn[0].captured_inputs == []  # TensorFlow folds no weight that comes from outside
    backbone.model.set_weights([weight * 0 for weight in backbone.model.get_weights()])
    assert_near(made(PIXELS), by_keras(twins, None))
    assert backbone.manifest == before


def test_vectors_and_included_preprocessing_stay_as_they_are(acme: Acme) -> None:
    backbone = acme.create(pooling="max", preprocess={"include": True})
    ((name, values),) = backbone.runtime(pool="avg")(PIXELS).items()
    assert name == backbone.features[0].name
    np.testing.assert_allclose(values, backbone(PIXELS), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "kind", "said"),
    [
        (
            "tensorfow",
            {},
            "UnknownName",
            "unknown runtime 'tensorfow'\n  did you mean: 'tensorflow'\n  known: tensorflow, keras, …",
        ),
        ("l*", {}, "UnknownName", "unknown runtime 'l*'\n…"),
        ("wanting", {}, "Option", "export format 'wanting' needs no_such_module, which is not installed…"),
        ("keras", {"pool": "mean"}, "Option", "pool must be None, 'avg' or 'max', not 'mean'"),
        (
            "tensorflow",
            {"precision": "bfloat16"},
            "Option",
            "runtime 'tensorflow' computes in float32, not in 'bfloat16'\n  fix: runtime 'coarse' or 'holes' or 'openvino'",
        ),
        ("coarse", {"precision": "int8"}, "Option", "runtime 'coarse' computes in float32 or bfloat16, not in 'int8'"),
        ("off", {}, "Integrity", "runtime 'off' gives another feature 'end' than the Keras model: off by 1.0e-03 of its …"),
        ("holes", {}, "Integrity", "…another feature 'end' than the Keras model: with values that are NaN or infinite\n…"),
        ("holes", {"precision": "bfloat16"}, "Integrity", "…: with values that are NaN or infinite\n…"),
        ("less", {}, "Integrity", "runtime 'less' gives no feature 'end'\n…"),
        ("gone", {}, "Plugin", "runtime 'gone' failed: AttributeError: module '…' has no attribute 'open_gone'"),
    ],
)
def test_what_gives_no_features_or_wrong_ones_is_refused(
    run: Callable[..., runtimes.Runtime], name: str, options: dict[str, Any], kind: str, said: str
) -> None:
    with pytest.raises(getattr(torso, f"{kind}Error")) as caught:
        run(name, **options)
    assert re.fullmatch(re.escape(said).replace("…", ".*"), told(caught.value), re.DOTALL)


def test_a_lower_precision_and_a_larger_bound_are_asked_for(run: Callable[..., runtimes.Runtime]) -> None:
    coarse, loose = run("coarse", pool="avg", precision="bfloat16"), run("loose")
    assert (coarse.precision, run("coarse", threads=2).error < 1e-5) == ("bfloat16", True)
    assert 1e-3 < coarse.error < 1e-2
    assert loose.error == pytest.approx(1e-3, rel=0.01)
    assert 0.9999 < coarse.cosine < loose.cosine


def test_images_of_another_form_are_refused_before_they_are_computed(run: Callable[..., runtimes.Runtime]) -> None:
    made = run("late")
    with pytest.raises(torso.PluginError, match=r"^runtime 'late' failed: ValueError: three are too many\n  plugin: "):
        made(PIXELS)
    for images, said in (
        (
            PIXELS[0],
            r"images must be \(N, height, width, 3\), not \(16, 16, 3\)\n  fix: one image is a batch of one: images\[",
        ),
        (PIXELS[:, :8], r"images must be \(N, 16, 16, 3\), not \(3, 8, 16, 3\)\n  fix: "),
        (PIXELS[:0], r"images must be \(N, 16, 16, 3\), not \(0, 16, 16, 3\)\n  fix: at least one image"),
        (run, "pixels must be numbers of 0 to 255, not object"),
    ):
        with pytest.raises(torso.OptionError, match=f"^{said}"):
            made(images)
    made(PIXELS[:1])
    with pytest.raises(torso.OptionError, match="image 0 of 1 has values that are NaN"):
        run("keras")(PIXELS * np.float32("nan"))
    with pytest.warns(torso.PixelWarning, match="they look scaled to 0 to 1 already") as caught:
        run("keras")(PIXELS / 255)
    assert caught[0].filename == __file__


def test_more_weights_than_a_graph_can_hold_are_refused(twins: torso.Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "LARGEST", 1000)
    with pytest.raises(torso.OptionError, match=r"holds less than 1.0 kB of weights, and these are 2.\d kB\n  fix: runtime"):
        twins.runtime()


def test_a_format_that_still_has_run_is_told_what_to_write() -> None:
    said = "'run' of export format 'tape' is now 'open': write open='module:function', and def function"
    with pytest.raises(TypeError, match=said):
        torso.ExportFormat(name="tape", doc="", write="a:b", run="a:c")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("right", None),
        ("off", "what export format 'off' wrote gives another feature 'C1' than the Keras model: off by "),
        ("gone", "running what export format 'gone' wrote failed: "),
        ("beside", "image 0 alone has another feature 'C1' than among three"),
        ("reused", "the next call changes the array of feature 'C1': return copies"),
    ],
)
def test_the_kit_checks_what_open_makes(
    run: Callable[..., runtimes.Runtime], acme: Acme, form: str, said: str | None
) -> None:
    with pytest.raises(AssertionError, match=f"^{said}") if said else nullcontext():
        check_export_format(form, registry=acme.registry)
