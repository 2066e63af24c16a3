"""Which cut is best on one's own pictures: a simple classifier on the features of each, and what each costs."""

from __future__ import annotations

import math
import os
import timeit
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from torso.api import build
from torso.errors import OptionError
from torso.files.atomic import scratch_directory
from torso.graph import Graph
from torso.planning import Plan
from torso.planning.keywords import FIRST_TAG
from torso.planning.known_graph import known_graph
from torso.planning.resolve import make_plan, make_plans
from torso.planning.selection import nodes_of, select_cut
from torso.plugins.registry import Registry
from torso.specs.backbone_spec import Choice
from torso.specs.spec_file import BackboneSpec, backbone_from_python, read_spec, write_spec
from torso.specs.yaml_nodes import MappingNode, ScalarNode, from_python, path_of

if TYPE_CHECKING:
    from torso.backbone import Backbone


@dataclass(frozen=True)
class ProbedCut:
    """A cut, how well a classifier does on its features, and what it costs."""

    backbone: str
    node: str
    level: str | None
    channels: int | None
    accuracy: float  # mean over the folds, from 0 to 1
    standard_error: float  # of that mean
    parameters: int
    macs: int | None  # for one image
    ms: float | None = None  # one image through TensorFlow; measured where no cut of this network is cheaper and better

    @property
    def price(self) -> tuple[float, int, float]:
        """What cuts are sorted by, the cheapest first; of two that cost the same, the better one."""
        return math.inf if self.macs is None else self.macs, self.parameters, -self.accuracy


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What :func:`torso.probe` returns."""

    cuts: tuple[ProbedCut, ...]  # network by network, from the input on
    classes: Mapping[Any, int]  # pictures of each label, those that failed too
    failed: Sequence[tuple[str, str]]  # path and error of the pictures that were left out
    specs: Mapping[str, BackboneSpec]

    @property
    def best(self) -> ProbedCut:
        """The cut of the highest accuracy."""
        return min(self.cuts, key=lambda cut: (-cut.accuracy, cut.price))

    @property
    def chosen(self) -> ProbedCut:
        """The cheapest cut whose accuracy is within one standard error of the best one's."""
        least = self.best.accuracy - self.best.standard_error - 1e-9  # means of the same numbers in another order
        return min((cut for cut in self.cuts if cut.accuracy >= least), key=lambda cut: cut.price)

    @property
    def front(self) -> tuple[ProbedCut, ...]:
        """The Pareto front, the cheapest first: the cuts than which no other is at once as cheap and better."""
        return pareto_front(self.cuts)

    def spec(self) -> str:
        """The text of a spec with the chosen cut. It is frozen whole, as it was probed."""
        spec, cut = self.specs[self.chosen.backbone], self.chosen
        end = Choice(name="level" if cut.level else "layer", value=from_python(cut.level or cut.node))
        return write_spec([replace(spec, truncate=end, freeze=None, regularize=None, weights=_anywhere(spec.weights))])

    def to_json(self) -> dict[str, Any]:
        """All of it; the labels as text."""
        return {
            "cuts": [asdict(cut) | {"on_front": cut in self.front} for cut in self.cuts],
            "best": asdict(self.best),
            "chosen": asdict(self.chosen),
            "classes": {str(label): count for label, count in self.classes.items()},
            "failed": dict(self.failed),
        }


def probe(
    architectures: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    source: str | os.PathLike[str],
    *,
    cuts: Literal["levels", "blocks", "all"] = "blocks",
    classifier: Literal["logistic", "knn"] = "logistic",
    folds: int = 5,
    seed: int = 0,
    weights: str | None = FIRST_TAG,
    keep: str | os.PathLike[str] | None = None,
    registry: Registry | None = None,
    progress: Callable[[str], None] | None = None,
) -> Probe:
    """Say which cut is best on labelled pictures: the accuracy of a simple classifier on the features of each cut.

    The features of all cuts of a network, averaged over positions, are computed in one pass.

    Args:
        architectures: Names of architectures; or spec files (``.yaml``), whose backbones are probed up to their own cuts.
        source: The pictures and their labels, as for :func:`extract`.
        cuts: ``"levels"``; ``"blocks"`` for the ends of all blocks, and the end; or ``"all"`` clean cuts.
        classifier: ``"logistic"`` regression, or ``"knn"``: the nearest neighbours.
        folds: Of the cross-validation. The same picture, by its bytes, is never on both sides.
        seed: Of the folds.
        weights: A tag, as ``"imagenet"``, for the architectures; None for random initialisation.
        keep: A folder for the features, one folder in it for each backbone; an interrupted run goes on there.
        registry: The plugins; by default those that are installed.
        progress: Called with each step in a few words; by default a bar on stderr.

    Raises:
        OptionError: scikit-learn or pyarrow is not installed; there is one label only, or none; or a class has fewer
            pictures than folds.
        TorsoError: As :func:`create_backbone` and :func:`extract` do.
    """
    if missing := [name for name in ("sklearn", "threadpoolctl", "pyarrow", "tqdm") if not find_spec(name)]:
        fix = "pip install 'torso[probe]'"
        raise OptionError(f"a probe needs {' and '.join(missing)}, which cannot be imported", notes=[("fix", fix)])
    legal_cuts, classifiers = ("levels", "blocks", "all"), ("logistic", "knn")
    for name, value, legal in ("cuts", cuts, legal_cuts), ("classifier", classifier, classifiers):
        if value not in legal:
            raise OptionError(f"{name} must be {' or '.join(map(repr, legal))}, not {value!r}")
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise OptionError(f"folds must be a number from 2 on, not {folds!r}")
    registry = registry or Registry.load()
    words = [architectures] if isinstance(architectures, str) or not isinstance(architectures, Iterable) else architectures
    specs = declared(words, registry, weights)
    import_module("torso.modeling")  # before Keras
    from torso.extraction.extract import extract
    from torso.extraction.source import Source

    classes = Counter(Source.of(source).listing()["label"].to_pylist())
    _require_classes(classes, folds, "pictures")
    found: list[ProbedCut] = []
    failed: dict[str, str] = {}
    with nullcontext(Path(keep)) if keep else scratch_directory() as folder:
        for name, (spec, plan) in specs.items():
            say = partial(_say, progress, name)
            graph, backbone = _with_all_cuts(spec, plan, cuts, registry, say)
            counts = partial(_say_counts, say) if progress else None
            features = extract(backbone, source, folder / name, registry=registry, progress=counts)
            failed.update(features.failed())
            say("classifying")
            found += _probed(backbone, graph, features.table(), classifier, folds, seed)
    only_specs = {name: spec for name, (spec, _) in specs.items()}
    return Probe(cuts=tuple(found), classes=classes, failed=[*failed.items()], specs=only_specs)


def declared(
    words: Iterable[str | os.PathLike[str]], registry: Registry, weights: str | None
) -> dict[str, tuple[BackboneSpec, Plan]]:
    """The backbones that are meant, with their plans; without TensorFlow."""
    found: dict[str, BackboneSpec] = {}
    given = {} if weights == FIRST_TAG else {"weights": weights}
    for word in map(str, words):
        if word.lower().endswith((".yaml", ".yml")):
            some = read_spec(word)
        else:
            name = registry.architectures.resolve(word).name
            some = {name: backbone_from_python(name, architecture=word, **given)}
        if twice := sorted({*found} & {*some}):
            raise OptionError(
                f"{twice[0]!r} is named twice", notes=[("fix", "give backbones names of their own, in a spec")]
            )
        found |= some
    return {name: (found[name], plan) for name, plan in make_plans(found.values(), registry).items()}


def pareto_front(cuts: Iterable[ProbedCut]) -> tuple[ProbedCut, ...]:
    front: list[ProbedCut] = []
    for cut in sorted(cuts, key=lambda cut: cut.price):
        if not front or cut.accuracy > front[-1].accuracy:
            front.append(cut)
    return tuple(front)


def accuracies(values: np.ndarray, labels: Any, pictures: Any, classifier: str, folds: int, seed: int) -> np.ndarray:
    """The share that is classified right, in each fold; rows of the same picture are in the same fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    neighbours = min(5, 2 * folds - 2)  # of the fewest pictures that there may be
    chosen = LogisticRegression(max_iter=1000) if classifier == "logistic" else KNeighborsClassifier(neighbours)
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # on small arrays, threads mostly wait for one another
        model = make_pipeline(StandardScaler(), chosen)
        return np.asarray(cross_val_score(model, values, labels, groups=pictures, cv=splits, error_score="raise"))


def _require_classes(classes: Mapping[Any, int], folds: int, what: str) -> None:
    if None in classes:
        fix = "put each picture into a folder that is named as its class; or a Parquet file with a column label"
        raise OptionError(f"{classes[None]} of {sum(classes.values())} pictures have no label", notes=[("fix", fix)])
    if len(classes) == 1:
        (label, count), *_ = classes.items()
        raise OptionError(f"all {count} {what} have the label {label!r}, and a classifier needs two")
    if small := [f"class {label!r} has {count}" for label, count in classes.items() if count < folds]:
        fix = "more pictures, or fewer folds" if folds > 2 else "more pictures"
        few = f"{', '.join(small[:3])}{', …' if small[3:] else ''} {what}"
        raise OptionError(f"{few}, and there are {folds} folds", notes=[("fix", fix)])


def _with_all_cuts(
    spec: BackboneSpec, plan: Plan, cuts: str, registry: Registry, say: Callable[[str], None]
) -> tuple[Graph, Backbone]:
    """The graph of the whole network, and a backbone that has the output of each cut by its name."""
    from torso.modeling.draw import headless_graph

    graph = known_graph(plan) or headless_graph(plan)  # levels may be unclean, so the cut may be partial
    own, levels = nodes_of(select_cut(plan, graph)) or graph.ends, [graph[name] for name in graph.levels.values()]
    ends = [node for node in map(graph.__getitem__, own) if node in graph.clean_cuts or node in levels]
    nodes = {"levels": levels, "blocks": [*graph.blocks, *ends], "all": graph.clean_cuts}[cuts]
    last = max(map(graph.position, own))
    found = {graph.position(node.name): node for node in nodes if node.can_end and len(node.shape) == 3}
    names = [found[position].name for position in sorted(found) if position <= last]
    if not names:
        raise OptionError(f"{plan.name} has no {'cuts' if cuts == 'all' else cuts} to probe")
    several = Choice(name="layers", value=from_python({"names": names, "allow_partial": True}))
    spec = replace(spec, truncate=several, freeze=None, regularize=None, prefix=None)
    return graph, build(make_plan(spec, registry, lambda plan: graph), registry, progress=say)


def _probed(backbone: Backbone, graph: Graph, table: Any, classifier: str, folds: int, seed: int) -> list[ProbedCut]:
    """Classify the features of each cut, of the pictures that could be read."""
    from pyarrow.compute import list_flatten

    classes = dict.fromkeys(table["label"].to_pylist(), 0)
    table = table.filter(table["error"].is_null())
    pictures, labels = table["sha256"].to_pylist(), table["label"].to_pylist()
    classes |= Counter(label for label, _ in {*zip(labels, pictures, strict=True)})
    _require_classes(classes, folds, "different pictures that can be read")
    numbers = np.unique(np.array(labels), return_inverse=True)[1]
    found = []
    for feature in backbone.features:
        values = np.asarray(list_flatten(table[feature.name])).reshape(len(table), -1)
        scores = accuracies(values, numbers, pictures, classifier, folds, seed)
        accuracy, error = float(scores.mean()), float(scores.std(ddof=1)) / math.sqrt(folds)
        cost, level = backbone.graph.kept(feature.node).cost(), graph.level_of(feature.name)
        cut = backbone.name, feature.name, level, values.shape[1], accuracy, error, cost.parameters, cost.macs
        found.append(ProbedCut(*cut))
    times = {cut.node: _milliseconds(backbone, cut.node) for cut in pareto_front(found)}
    return [replace(cut, ms=times.get(cut.node)) for cut in found]


def _milliseconds(backbone: Backbone, name: str) -> float:
    """The median time of one image, from preprocessed pixels to the feature map; the first is not counted."""
    import keras

    from torso.runtimes import by_tensorflow

    model = backbone.model
    compute = by_tensorflow(keras.Model(model.input, {name: model.output[name]}))
    image = np.zeros((1, *model.input_shape[1:]), "float32")
    _, *times = timeit.repeat(lambda: np.asarray(compute(image)[name]), number=1, repeat=21)
    return 1000 * median(times)


def _anywhere(weights: Any) -> Any:
    """The same weights, in a spec in another folder."""
    file = weights.get("file") if isinstance(weights, MappingNode) else None
    if not isinstance(file, ScalarNode):
        return weights
    here = replace(file, text=str(path_of(file).resolve()))
    return replace(weights, entries=tuple((key, here if one is file else one) for key, one in weights))


def _say(progress: Callable[[str], None] | None, name: str, step: str) -> None:
    if progress:
        progress(f"{name}: {step}")


def _say_counts(say: Callable[[str], None], done: int, pictures: int, failed: int) -> None:
    say(f"{done} of {pictures} pictures, {failed} failed")
