"""Probe: accuracies of plain scikit-learn on the features of plain Keras, and which cut is chosen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import torso
from torso.probing import Probe, ProbedCut
from torso.specs.spec_file import read_spec

TINY = Path(__file__).parent / "fixtures" / "plugin_folder"


@pytest.fixture(scope="module")
def registry() -> torso.Registry:
    return torso.Registry.load(plugins_dirs=[TINY], discover=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of noise, 14 pictures each: as it is, in rows, in columns; five are there twice, one is damaged."""
    random, folder = np.random.default_rng(0), tmp_path / "photos"
    for number in range(42):
        pixels, darker = random.integers(0, 256, (8, 8, 3)), random.uniform(0.3, 1)
        if number % 3:
            (pixels, pixels.swapaxes(0, 1))[number % 3 - 1][::2] = pixels[::2] * darker
        place = folder / "abc"[number % 3] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype("uint8")).save(place)
        if number < 5:
            place.with_name(f"again{number}.png").write_bytes(place.read_bytes())
    (folder / "a/bad.png").write_bytes(b"")
    return folder


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The pictures on both sides of each split that scikit-learn makes, as bytes of their features."""
    import sklearn.model_selection as selection

    real, found = selection.cross_val_score, []

    def spy(model: Any, values: Any, labels: Any, *, groups: Any, cv: Any, **options: Any) -> Any:
        rows = [row.tobytes() for row in values]
        found.extend(({rows[i] for i in one}, {rows[i] for i in other}) for one, other in cv.split(values, labels, groups))
        return real(model, values, labels, groups=groups, cv=cv, **options)

    monkeypatch.setattr(selection, "cross_val_score", spy)
    return found


@pytest.mark.parametrize("classifier", ["logistic", "knn"])
def test_accuracies_are_those_of_scikit_learn_on_the_features_of_keras(
    photos: Path, registry: torso.Registry, tmp_path: Path, seen: list[Any], classifier: str
) -> None:
    spec = tmp_path / "tiny.yaml"
    keys = "architecture: TinyNet, options: {width: 6}, weights: {none: {seed: 3}}, preprocess: {crop: 1.0}"
    spec.write_text(f"version: 1\nbackbones:\n  net: {{{keys}}}\n")
    steps: list[str] = []
    kept = tmp_path / "kept"
    found = torso.probe(
        str(spec), photos, classifier=classifier, seed=4, keep=kept, registry=registry, progress=steps.append
    )
    whole = torso.load_specs(spec, registry=registry)["net"].model
    files = sorted(path for path in photos.glob("*/*.png") if path.name != "bad.png")
    pixels = np.stack([keras.utils.img_to_array(keras.utils.load_img(file)) for file in files]) / 255
    labels = np.array(["abc".index(file.parent.name) for file in files])
    contents = [file.read_bytes() for file in files]
    groups = [contents.index(one) for one in contents]
    assert len({*groups}) == len(files) - 5
    assert [cut.node for cut in found.cuts] == ["stem", "joined", "half", "drop"]
    for cut in found.cuts:
        part = keras.Model(whole.input, whole.get_layer(cut.node).output)
        values, right = np.asarray(part(pixels)).mean((1, 2)), []
        for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=4).split(values, labels, _digests(contents)):
            scaler = StandardScaler().fit(values[train])
            model = LogisticRegression(max_iter=1000) if classifier == "logistic" else KNeighborsClassifier(5)
            model.fit(scaler.transform(values[train]), labels[train])
            right.append(np.mean(model.predict(scaler.transform(values[test])) == labels[test]))
        assert cut.accuracy == pytest.approx(np.mean(right), abs=1e-9)
        assert cut.standard_error == pytest.approx(np.std(right, ddof=1) / 5**0.5, abs=1e-9)
        assert 0.34 < cut.accuracy < 1
        assert (cut.backbone, cut.channels, cut.parameters) == ("net", 6, part.count_params())
    assert len({cut.accuracy for cut in found.cuts}) > 1
    assert [cut.macs for cut in found.cuts[:2]] == [64 * 6 * 27, 64 * (6 * 27 + 36 + 6 * 54)]
    assert {cut.ms is not None for cut in found.front} == {True}
    assert len(seen) == 4 * 5
    for one, other in seen:
        assert one
        assert not one & other
    assert found.classes == {"a": 17, "b": 16, "c": 15}
    assert [path for path, _ in found.failed] == ["a/bad.png"]
    assert json.loads(json.dumps(found.to_json()))["chosen"]["node"] == found.chosen.node
    assert "net: 48 of 48 pictures, 1 failed" in steps
    assert torso.Features(kept / "net").names == ("stem", "joined", "half", "drop")


def _digests(contents: list[bytes]) -> list[str]:
    from hashlib import sha256

    return [sha256(one).hexdigest() for one in contents]


def test_a_spec_is_probed_up_to_its_own_cut(photos: Path, registry: torso.Registry, tmp_path: Path) -> None:
    spec = tmp_path / "two.yaml"
    spec.write_text(
        "version: 1\ndefaults: {architecture: TinyNet, weights: none}\nbackbones:\n"
        "  short: {truncate: {layer: joined}, freeze: none, prefix: s_, pooling: max}\n  long: {}\n"
    )
    found = torso.probe([str(spec)], photos, cuts="all", folds=2, registry=registry, progress=lambda step: None)
    assert [(cut.backbone, cut.node) for cut in found.cuts] == [
        *(("short", node) for node in ("stem", "joined")),
        *(("long", node) for node in ("stem", "joined", "half", "drop")),
    ]
    levels = torso.probe("TinyNet", photos, cuts="levels", weights=None, registry=registry, progress=lambda step: None)
    assert [(cut.node, cut.level) for cut in levels.cuts] == [("half", "C1")]
    assert "    truncate: {level: C1}\n" in levels.spec()


def cut(node: str, accuracy: float, error: float, macs: int | None, backbone: str = "net") -> ProbedCut:
    level = "C4" if node == "d" else None
    numbers = {"accuracy": accuracy, "standard_error": error, "macs": macs, "parameters": 7, "channels": 8}
    return ProbedCut(backbone=backbone, node=node, level=level, **numbers)  # type: ignore[arg-type]


CHEAP = cut("a", 0.5, 0.3, 1)
SAME = cut("b", 0.6, 0.3, 1)
NEAR = cut("c", 0.79, 0.0, 5, "other")
BEST = cut("d", 0.85, 0.06, 9)
AS_GOOD = cut("e", 0.85, 0.2, 10)
UNKNOWN = cut("f", 0.84, 0.0, None)


@pytest.mark.parametrize(
    ("cuts", "best", "chosen", "front"),
    [
        ([CHEAP, SAME, NEAR, BEST, AS_GOOD, UNKNOWN], BEST, NEAR, [SAME, NEAR, BEST]),  # the error is the best one's
        ([UNKNOWN, AS_GOOD, BEST, CHEAP], BEST, BEST, [CHEAP, BEST]),
        ([cut("g", 0.1 + 0.2, 0.1, 9), cut("h", 0.2, 0.0, 4)], cut("g", 0.1 + 0.2, 0.1, 9), cut("h", 0.2, 0.0, 4), None),
        ([UNKNOWN], UNKNOWN, UNKNOWN, [UNKNOWN]),
    ],
)
def test_the_cheapest_cut_within_one_standard_error_of_the_best(cuts: Any, best: Any, chosen: Any, front: Any) -> None:
    found = Probe(cuts=tuple(cuts), classes={}, failed=[], specs={})
    assert (found.best, found.chosen) == (best, chosen)
    assert front is None or [*found.front] == front


def test_the_spec_of_the_chosen_cut_is_right_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    Path("here/own.yaml").write_text(
        "version: 1\nbackbones:\n  net: {architecture: VGG16, weights: {file: w.h5}, freeze: {through: C5}, pooling: avg}\n"
    )
    specs = read_spec("here/own.yaml")
    written = [Probe(cuts=(one,), classes={}, failed=[], specs=specs).spec() for one in (BEST, AS_GOOD)]
    rest = f"    architecture: VGG16\n    weights: {{file: {json.dumps(str(tmp_path / 'here/w.h5'))}}}\n    truncate: {{"
    for text, end in zip(written, ("level: C4", "layer: e"), strict=True):
        assert text == f"version: 1\nbackbones:\n  net:\n{rest}{end}}}\n    pooling: avg\n"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"remove": "b c"}, "all 17 pictures have the label 'a', and a classifier needs two"),
        ({"remove": "a b c", "loose": True}, "2 of 2 pictures have no label\n  fix: put each picture into a folder"),
        ({"loose": True}, "2 of 50 pictures have no label"),
        ({"folds": 16}, "class 'c' has 15 pictures, and there are 16 folds\n  fix: more pictures, or fewer folds"),
        ({"folds": 1}, "folds must be a number from 2 on, not 1"),
        ({"cuts": "block"}, "cuts must be 'levels' or 'blocks' or 'all', not 'block'"),
        ({"classifier": "svm"}, "classifier must be 'logistic' or 'knn', not 'svm'"),
        ({"words": ["TinyNett"]}, "unknown architecture 'TinyNett'"),
        ({"words": ["TinyNet", "tinynet"]}, "'TinyNet' is named twice"),
        ({"words": Path("nowhere.yaml")}, "there is no file 'nowhere.yaml'"),
        ({"words": [3]}, "unknown architecture '3'"),
        ({"without": "sklearn"}, "a probe needs sklearn, which cannot be imported\n  fix: pip install 'torso[probe]'"),
    ],
)
def test_refused_before_a_network_is_built(
    photos: Path, registry: torso.Registry, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], text: str
) -> None:
    module = sys.modules[Probe.__module__]
    build: Callable[..., Any] = lambda *others, **options: pytest.fail("it builds a network")  # noqa: E731
    monkeypatch.setattr(module, "build", build)
    without = given.pop("without", "")
    monkeypatch.setattr(module, "find_spec", lambda name: name != without)
    for name in given.pop("remove", "").split():
        for file in (photos / name).iterdir():
            file.unlink()
    for number in range(2 * given.pop("loose", False)):
        (photos / f"{number}.png").write_bytes(b"")
    with pytest.raises(torso.TorsoError) as refused:
        torso.probe(given.pop("words", "TinyNet"), photos, weights=None, registry=registry, **given)
    assert str(refused.value).startswith(text)


def test_a_class_without_enough_different_pictures_is_refused(photos: Path, registry: torso.Registry) -> None:
    for file in (photos / "c").iterdir():
        file.write_bytes((photos / "c/02.png").read_bytes())
    for file in (photos / "b").iterdir():
        file.write_bytes(b"")
    found = r"^class 'b' has 0, class 'c' has 1 different pictures that can be read, and there are 5 folds"
    with pytest.raises(torso.OptionError, match=found):
        torso.probe("TinyNet", photos, weights=None, registry=registry, progress=lambda step: None)
