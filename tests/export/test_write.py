"""An export computes the same features elsewhere, by name; one that does not is refused, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import settle
from provider import Acme
from refusals import refusal as refusal_of
from tables import table

import torso
from torso.artifact.documents import digest_of
from torso.artifact.reference_outputs import reference_images
from torso.export import isolated, write
from torso.export.record import is_export, write_record

FIXTURES = Path(__file__).parents[1] / "fixtures"
FORMATS = {
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "openvino": ("openvino",),
}
PHOTOGRAPHS = "sklearn.datasets"  # two of them, 427 by 640 pixels

NETWORKS: dict[str, dict[str, Any]] = {
    # three outputs, two of one shape, in an order that no converter keeps; any size; pixels of 0 to 255 as they are
    "pyramid": {
        "architecture": "MobileNetV2", "options": {"alpha": 0.35}, "input": {"size": [None, None]},
        "truncate": {"layers": ["block_5_add", "block_4_add", "block_2_add"]}, "preprocess": {"include": True},
    },
    # its Normalization has constants that stand in no variable
    "normalization": {"architecture": "EfficientNetB0", "input": {"size": [64, 64]}, "truncate": {"level": "C2"}},
    # bare ops, grouped convolutions that are compiled by XLA, GELU, LayerNormalization
    "ops": {"architecture": "ConvNeXtTiny", "input": {"size": [64, 64]}, "truncate": {"level": "C2"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> torso.Registry:
    return torso.Registry.load(
        discover=False, plugins_dirs=[FIXTURES / name for name in ("plugin_folder", "export_formats")]
    )


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    images: list[np.ndarray] = pytest.importorskip(PHOTOGRAPHS).load_sample_images().images
    return [image[::3, ::3] for image in images]


@pytest.fixture(scope="module")
def settled(registry: torso.Registry, photographs: list[np.ndarray]) -> Callable[..., torso.Backbone]:
    """A backbone of the table or of another spec, with the statistics that the photographs have in it; built once."""

    @cache
    def settled(name: str) -> torso.Backbone:
        spec = NETWORKS.get(name, {"architecture": name, "truncate": {"levels": ["C3", "C4", "C5"]}})
        backbone = torso.create_backbone(**spec, weights="none", freeze="none", registry=registry)  # for the statistics
        settle(backbone.model, np.asarray(backbone.preprocess(backbone.transform(photographs))))
        return backbone

    return settled


def features(backbone: torso.Backbone, pixels: np.ndarray) -> dict[str, np.ndarray]:
    given = backbone.model(backbone.preprocess(pixels))
    given = given if isinstance(given, dict) else {backbone.features[0].name: given}
    return {name: np.asarray(values) for name, values in given.items()}


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "export.json").read_text())
    return found


def require(name: str) -> None:
    """Skip where the extra of a format is not installed; nothing is imported for that."""
    if any(find_spec(module) is None for module in FORMATS[name]):
        pytest.skip(f"torso[{name}] is not installed")


RUN = {
    "saved_model": """
import tensorflow as tf
signature = tf.saved_model.load(folder).signatures["serving_default"]
features = {name: values.numpy() for name, values in signature(images=tf.constant(images)).items()}
""",
    "litert": """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(folder + "/model.tflite")
features = interpreter.get_signature_runner()(images=images)
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(folder + "/model.onnx", providers=["CPUExecutionProvider"])
assert [one.name for one in session.get_inputs()] == ["images"]
names = ["block_4_add", "block_2_add", "block_5_add"]
features = dict(zip(names, session.run(names, {"images": images})))
""",
    "openvino": """
import sys
sys.modules["openvino_telemetry"] = None
import openvino
model = openvino.compile_model(folder + "/model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
assert len(model.inputs) == 1
given = model({"images": images})
features = {name: given[name] for name in ("block_4_add", "block_2_add", "block_5_add")}
""",
}


RUNNING = """
import sys, numpy as np
folder, there = sys.argv[1:]
images = np.load(there + "/images.npy")
{run}
np.savez(there + "/features.npz", **features)
"""


@pytest.mark.parametrize(
    ("form", "name"),
    [
        pytest.param(form, name, marks=() if (form, name) == ("litert", "pyramid") else pytest.mark.slow)
        for form in FORMATS for name in NETWORKS
    ],
)  # fmt: skip
def test_each_format_gives_the_features_of_keras_with_and_without_torso(
    settled: Callable[..., torso.Backbone], photographs: list[np.ndarray], registry: torso.Registry,
    plain_keras: Callable[..., Any], tmp_path: Path, form: str, name: str,
) -> None:  # fmt: skip
    require(form)
    backbone = settled(name)
    folder = backbone.export(tmp_path / "there", to=form, images=photographs, registry=registry)
    told = record(folder)
    assert [output["name"] for output in told["outputs"]] == [feature.name for feature in backbone.features]
    given = features(backbone, backbone.transform(photographs))
    for output, values in zip(told["outputs"], given.values(), strict=True):
        assert values.std() > 0.1  # it would prove nothing otherwise
        assert np.abs(values[0] - values[1]).mean() > 0.1
        assert 0 <= output["error"] < 1e-5
        assert output["shape"][-1] == values.shape[-1]
    kernels = sum(4 * np.prod(weight.shape) for weight in backbone.model.weights if len(weight.shape) > 1)
    assert sum(facts["bytes"] for facts in told["files"].values()) > 0.95 * kernels
    if form in ("litert", "onnx"):
        assert len(told["files"]) == 1
    if name != "pyramid":
        return

    pixels = photographs[0][None, :64, :96].astype("float32")  # one image of another size; the preprocessing is in the files
    np.save(tmp_path / "images.npy", pixels)
    plain_keras(RUNNING.format(run=RUN[form]), folder, tmp_path)
    expected = {key: np.asarray(values) for key, values in backbone.model(pixels).items()}
    with np.load(tmp_path / "features.npz") as found:
        assert set(found.files) == set(expected)
        for key, values in expected.items():
            np.testing.assert_allclose(found[key], values, atol=1e-5 * np.abs(values).max())
    left, right = expected["block_5_add"], expected["block_4_add"]
    assert left.shape == right.shape
    assert np.abs(left - right).max() > 0.1 * np.abs(left).max()  # one taken for the other would have been noticed


def listed(folder: Path, *names: str) -> Acme:
    """A network that gives a list, of two nodes of these names."""
    inner = f"keras.Model(a, [layers.Conv2D(4, 3, name=name)(a) for name in {names}], name='inner')"
    return Acme(
        folder, body=f"a = keras.Input(input_shape)\n    return keras.Model(images, {inner}(images))", more="clean=''"
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_outputs_in_a_list_bear_the_names_of_their_nodes(tmp_path: Path, form: str) -> None:
    require(form)
    backbone = listed(tmp_path, "z-1.c", "d").create()
    told = record(backbone.export(tmp_path / "there", to=form))
    assert [output["name"] for output in told["outputs"]] == ["inner/z-1.c", "inner/d"]
    assert all(output["error"] < 1e-5 for output in told["outputs"])
    one, other = (np.asarray(values) for values in backbone.model(backbone.preprocess(reference_images(16, 16, 3))))
    assert np.abs(one - other).max() > 0.1 * np.abs(one).max()


def test_a_network_that_tensorflow_cannot_draw_is_refused_with_the_reason(tmp_path: Path) -> None:
    backbone = listed(tmp_path, "a name", "d").create()
    said = refusal_of(backbone.export, tmp_path / "there", to="saved_model", kind=torso.PluginError)
    fact, cause = said.split("\n  cause: ")
    assert fact == "the network computes, but TensorFlow cannot draw the graph of it that exports and runtimes begin from"
    assert cause.startswith("'a name' is not a valid scope name.")
    assert not (tmp_path / "there").exists()
    later = keras.layers.Dense(1)
    later.build((None, 1))
    assert later.kernel.path == f"{later.name}/kernel"  # nothing of the failure hangs on


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture", ["MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny", "ResNet50", "DenseNet121", "NASNetMobile"]
)
@pytest.mark.parametrize("form", FORMATS)
def test_whole_networks_are_exported_as_pyramids(
    settled: Callable[..., torso.Backbone], photographs: list[np.ndarray], registry: torso.Registry, tmp_path: Path,
    architecture: str, form: str,
) -> None:  # fmt: skip
    require(form)
    backbone = settled(architecture)
    told = record(backbone.export(tmp_path / "there", to=form, images=photographs, registry=registry))
    assert [output["name"] for output in told["outputs"]] == ["C3", "C4", "C5"]
    assert all(values.std() > 1e-3 for values in features(backbone, backbone.transform(photographs)).values())


# With formats that need no TensorFlow


@pytest.fixture(scope="module")
def twins(registry: torso.Registry) -> torso.Backbone:
    """Two outputs of one shape."""
    backbone = torso.create_backbone(
        "TinyNet", name="twins", weights="none", truncate={"layers": ["right", "left"]}, registry=registry
    )
    settle(backbone.model, np.asarray(backbone.preprocess(reference_images(8, 8, 3))))
    return backbone


def weights_alone(model: keras.Model, names: list[str], folder: Path) -> None:
    """In place of a SavedModel, which takes a second."""
    folder.mkdir()
    (folder / "weights").write_bytes(b"".join(np.asarray(weight).tobytes() for weight in model.weights))


def run_here(folder: Path) -> int:
    """In place of another process, which takes a second."""
    isolated.answer(str(folder))
    return 0


@pytest.fixture
def export_for_real(
    twins: torso.Backbone, registry: torso.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Export the twins to ``there`` in a format of the fixture, which gives the features that it is told are right."""
    monkeypatch.setenv("TORSO_TEST_FEATURES", str(tmp_path / "features.npz"))

    def export(to: str, *, backbone: torso.Backbone = twins, folder: str = "there", **arguments: Any) -> Path:
        shape = backbone.model.input_shape[1:]
        pixels = backbone.transform(arguments["images"]) if "images" in arguments else reference_images(*shape)
        np.savez(tmp_path / "features.npz", **features(backbone, pixels))
        return backbone.export(tmp_path / "deep" / folder, to=to, registry=registry, **arguments)

    return export


@pytest.fixture
def export(export_for_real: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The same without a SavedModel and without another process."""
    monkeypatch.setattr(write, "save_for_inference", weights_alone)
    monkeypatch.setattr(isolated, "_run", run_here)
    return export_for_real


def refusal(export: Callable[..., Path], to: str, kind: type[torso.TorsoError], **arguments: Any) -> str:
    """The error, once it is sure that nothing was left behind."""
    with pytest.raises(kind) as caught:
        export(to, **arguments)
    folder = Path(os.environ["TORSO_TEST_FEATURES"]).parent
    assert [*(folder / "deep").rglob("*")] == []  # made parents stay
    assert isinstance(caught.value.__cause__, MemoryError) == (to == "hungry")  # for the exit code
    return str(caught.value)


def test_the_record_is_whole_and_the_functions_run_on_the_cpu_elsewhere(
    export_for_real: Callable[..., Path], twins: torso.Backbone
) -> None:
    folder = export_for_real("faithful")
    process, devices = (folder / "process").read_text().split()
    assert (int(process) != os.getpid(), devices) == (True, "-1")
    told = record(folder)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(told["files"]) == files - {"export.json"}
    assert all(facts["bytes"] == (folder / name).stat().st_size for name, facts in told["files"].items())
    assert told["digest"] == digest_of(told)
    assert told["made_with"].keys() == {"torso", "keras", "tensorflow", "h5py"}
    source = hashlib.sha256((FIXTURES / "export_formats" / "odd.py").read_bytes()).hexdigest()
    kept = ("export", "format", "plugin", "backbone", "input", "outputs", "compared", "training")
    assert {key: told[key] for key in kept} == {
        "export": 1,
        "format": "odd/faithful",
        "plugin": {"name": "odd", "origin": "--plugins-dir", "distribution": None, "version": f"sha256:{source[:16]}"},
        "backbone": {"name": "twins", "architecture": "tiny/TinyNet", "manifest": digest_of(twins.manifest)},
        "input": {
            "name": "images",
            "shape": [None, 8, 8, 3],
            "dtype": "float32",
            "expects": "RGB pixels of 0..255, divided by 255",
            "preprocessing": {"order": "RGB", "divide": 255.0, "mean": [], "std": []},
        },
        "outputs": [
            {"name": name, "node": name, "level": None, "stride": 1, "channels": 4, "shape": [None, 8, 8, 4], "error": 0.0}
            for name in ("right", "left")
        ],
        "compared": {"images": 2, "sha256": told["compared"]["sha256"], "bound": 1e-4},
        "training": "none: it computes features as outside of training, and what is frozen is not said in it",
    }  # fmt: skip


def test_pictures_of_the_user_are_transformed_and_preprocessed(
    export: Callable[..., Path], twins: torso.Backbone, tmp_path: Path
) -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (20, 30, 3), "uint8") for seed in range(3)]
    told = record(export("faithful", images=pictures))
    assert told["compared"]["images"] == 3
    given = np.load(tmp_path / "features.npz.images.npy")
    np.testing.assert_array_equal(given, twins.transform(pictures) / np.float32(255))


def test_a_model_that_takes_pixels_says_so_in_the_record(export: Callable[..., Path], registry: torso.Registry) -> None:
    spec: dict[str, Any] = {"truncate": {"layers": ["right", "left"]}, "weights": "none", "registry": registry}
    for channels, pixels in (3, "RGB pixels of 0..255"), (1, "pixels of 0..255"):
        backbone = torso.create_backbone("TinyNet", preprocess={"include": True}, input={"channels": channels}, **spec)
        told = record(export("faithful", backbone=backbone, folder=str(channels)))["input"]
        assert (told["expects"], told["preprocessing"]) == (pixels, None)


def test_exporting_leaves_the_backbone_as_it_is(export: Callable[..., Path], twins: torso.Backbone, tmp_path: Path) -> None:
    before = torso.load(twins.save(tmp_path / "before")).manifest
    export("faithful")
    after = torso.load(twins.save(tmp_path / "after")).manifest
    assert {**before, "files": {}, "digest": ""} == {**after, "files": {}, "digest": ""}  # the file holds the time


@pytest.mark.parametrize("row", table("refused"), ids=lambda row: row["format"])
def test_what_a_format_does_wrong_is_refused(export: Callable[..., Path], row: dict[str, str]) -> None:
    found = refusal(export, row["format"], getattr(torso, row["error"]))
    assert re.fullmatch(re.escape(row["message"]).replace("…", ".*"), found, re.DOTALL)


def test_a_feature_that_is_off_is_refused_above_the_bound_and_let_through_below_it(export: Callable[..., Path]) -> None:
    assert "'right' than the Keras model: off by 1.0e-03 of its" in refusal(export, "noisy", torso.IntegrityError)
    assert "and 0.0005 is tolerated" in refusal(export, "noisy", torso.IntegrityError, bound=5e-4)
    assert "0 is tolerated" in refusal(export, "noisy", torso.IntegrityError, bound=0)
    assert record(export("faithful", folder="exact", bound=0))["compared"]["bound"] == 0
    told = record(export("noisy", bound=2e-3))
    assert told["compared"]["bound"] == 2e-3
    assert [output["error"] for output in told["outputs"]] == pytest.approx([1e-3, 1e-3], rel=0.01)


@pytest.mark.parametrize("bound", [-1e-4, float("nan"), float("inf"), True, "much"])
def test_a_bound_that_is_no_size_is_refused(export: Callable[..., Path], bound: Any) -> None:
    said = refusal(export, "faithful", torso.OptionError, bound=bound)
    assert said == f"the bound must be a number from 0 on, as 1e-4, not {bound!r}"


def test_values_that_are_no_numbers_are_refused_on_either_side_whatever_the_bound(
    export: Callable[..., Path], registry: torso.Registry
) -> None:
    assert refusal(export, "huge", torso.IntegrityError, bound=1e30).startswith(
        "what export format 'huge' wrote gives another feature 'left' than the Keras model: with values that are NaN or "
        "infinite\n"
    )
    backbone = torso.create_backbone("TinyNet", weights="none", truncate={"layer": "stem"}, registry=registry)
    backbone.model.weights[0].assign(np.full(backbone.model.weights[0].shape, np.nan))
    assert refusal(export, "faithful", torso.IntegrityError, backbone=backbone).startswith(
        "feature 'stem' of the Keras model has values that are NaN or infinite: nothing can be compared"
    )


def test_an_earlier_export_and_nothing_else_is_replaced_with_force_by_a_whole_one(
    export: Callable[..., Path],
) -> None:
    folder = export("faithful")
    before = {path: path.stat().st_ino for path in folder.rglob("*")}
    with pytest.raises(torso.OutputExistsError, match="already exists\n  fix: choose another name, or replace it"):
        export("faithful")
    with pytest.raises(torso.IntegrityError):
        export("noisy", force=True)
    assert {path: path.stat().st_ino for path in folder.rglob("*")} == before
    export("faithful", force=True)
    assert {path: path.stat().st_ino for path in folder.rglob("*")} != before
    assert [path.name for path in folder.parent.iterdir()] == ["there"]
    assert is_export(folder)
    (folder / "inner" / "mine.txt").write_text("mine")
    with pytest.raises(torso.OutputExistsError, match="it is not an earlier result, or holds other files too"):
        export("faithful", force=True)
    assert (folder / "inner" / "mine.txt").read_text() == "mine"


def test_a_link_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("values")
    (tmp_path / "odd").symlink_to("model")
    with pytest.raises(torso.PluginError, match="the export has 'odd', which is no regular file\n  fix: write plain files"):
        write_record({}, tmp_path)


@pytest.mark.slow
def test_openvino_leaves_nothing_in_the_home_and_tells_nobody(
    export_for_real: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("openvino")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("CI", "TF_BUILD", "JENKINS_URL"):  # where these are set, it is quiet of itself
        monkeypatch.delenv(variable, raising=False)
    assert set(record(export_for_real("openvino"))["files"]) == {"model.xml", "model.bin"}
    assert list((tmp_path / "home").rglob("*")) == []
