"""The checks, one claim each; a failed one raises ``AssertionError`` and says what it found."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np

from torso.api import build, load, read_graph
from torso.artifact.manifest_file import read_manifest
from torso.backbone import Backbone
from torso.contracts.architecture import Architecture, matching_file
from torso.planning import Plan
from torso.planning.keywords import plan
from torso.plugins.registry import Registry

_PLAIN_KERAS = """
import sys, keras, numpy
for module in sys.argv[4:]:
    __import__(module)
sys.modules["torso"] = None  # as where torso is not installed
model = keras.models.load_model(sys.argv[1])
outputs = keras.tree.flatten(model(numpy.load(sys.argv[2]), training=True))
numpy.save(sys.argv[3], numpy.concatenate([numpy.ravel(output) for output in outputs]))
"""
_LISTING = """
import sys
from torso.plugins.registry import Registry
assert Registry.load(plugins_dirs=sys.argv[2:]).architectures.resolve(sys.argv[1]).value.builder
print([name for name in ("keras", "tensorflow") if name in sys.modules])
"""


@dataclass(frozen=True)
class Subject:
    """One architecture with one set of options."""

    architecture: str  # provider/name
    registry: Registry
    options: Mapping[str, Any] = field(default_factory=dict)  # as in a spec
    weights: str | None = None  # a tag, or "none"; None for the architecture's first tag, or none if it has no tag

    @property
    def declared(self) -> Architecture:
        return self.registry.architectures.resolve(self.architecture).value

    @cached_property
    def plan(self) -> Plan:
        return self.planned(weights=self.weights or next(iter(self.declared.tags), "none"))

    def planned(self, **spec: Any) -> Plan:
        return plan(self.architecture, registry=self.registry, options=self.options, **spec)

    @cached_property
    def backbone(self) -> Backbone:
        return build(self.plan, self.registry)

    @cached_property
    def pixels(self) -> Any:
        """Two images of noise, preprocessed: (2, height, width, channels)."""
        noise = np.random.default_rng(0).integers(0, 256, (2, *(side or 0 for side in self.plan.input_shape)), dtype="uint8")
        return np.asarray(self.backbone.preprocess(noise))

    @cached_property
    def features(self) -> Any:
        """All values of the features of the pixels, flat."""
        features = self.values_of(self.backbone.model, training=False)
        # The checks compare with them: values that are all alike would prove nothing.
        assert np.isfinite(features).all(), "the features of noise are not finite"
        assert features.std() > 1e-6, "the features of noise are all the same"
        return features

    def values_of(self, model: Any, *, training: bool | None = None) -> Any:
        """All values that a model computes from the pixels, flat."""
        import keras

        outputs = keras.tree.flatten(model(self.pixels, training=training))
        return np.concatenate([np.ravel(output) for output in outputs])


def check_listing_imports_no_keras(subject: Subject) -> None:
    plugin = subject.registry.architectures.resolve(subject.architecture).plugin
    if plugin.origin in ("-p", "registered"):  # another process does not know it
        return
    folders = [Path(str(plugin.location)).parent] if plugin.origin == "--plugins-dir" else []
    found = _python(_LISTING, subject.architecture, *folders)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "[]\n", f"listing {subject.architecture} imports {found.stdout.strip()}"


def check_card_says_where_its_figures_come_from(subject: Subject) -> None:
    declared = subject.declared
    sources = {"architecture": declared.source, "preprocessing": declared.preprocessing.source}
    sources |= {f"weights {weights.tag!r}": weights.source for weights in declared.weights}
    missing = [what for what, source in sources.items() if not source]
    assert not missing, f"{subject.architecture} has no source for: {', '.join(missing)}"


def check_published_files_are_hashed_and_fit_their_options(subject: Subject) -> None:
    declared = subject.declared
    for weights in declared.weights:
        for file in weights.files:
            assert file.sha256, f"{file.file_name} has no sha256"
            options = {option.name: option.default for option in declared.options} | dict(file.when)
            size = file.when.get("size", declared.input.default[0])
            assert isinstance(size, int)
            assert matching_file(weights, options, (size, size)) == (file, True), f"{file.file_name} is never chosen"


def check_parameters_are_those_of_the_card(subject: Subject) -> None:
    declared = subject.declared.parameters
    if declared is not None and not subject.options:  # it is declared for the default options
        count = subject.backbone.model.count_params()
        assert count == declared, f"the network has {count} parameters, {declared} are declared"


def check_network_takes_the_images_that_the_card_allows(subject: Subject) -> None:
    model = subject.backbone.model
    assert len(model.inputs) == 1, f"the network has {len(model.inputs)} inputs"
    assert tuple(model.input_shape[1:]) == subject.plan.input_shape, f"the network takes {model.input_shape[1:]}"
    for end in subject.backbone.features:
        assert len(end.shape) == 3, f"an output has shape {end.shape}: no feature map (height, width, channels)"


def check_network_for_any_size_is_the_same_one(subject: Subject) -> None:
    if not subject.declared.input.any_size:
        return
    spec: dict[str, Any] = {"architecture": subject.architecture, "registry": subject.registry, "options": subject.options}
    graph, sized = read_graph(**spec, input={"size": [None, None]}), read_graph(**spec)
    facts = attrgetter("name", "kind", "inputs", "stride", "channels", "parameters")
    for found, expected in zip_longest(map(facts, graph), map(facts, sized), fillvalue=("nothing",)):
        assert found == expected, f"any_size: the network for any size has {found[0]!r} where the other has {expected[0]!r}"


def check_names_are_the_same_on_every_build(subject: Subject) -> None:
    # Keras counts on in one process, so a second build has other numbers.
    again = build(subject.plan, subject.registry)
    assert again.graph.nodes == subject.backbone.graph.nodes


def check_stopping_early_changes_nothing(subject: Subject) -> None:
    from torso.modeling.build import build_model, truncate_and_fill
    from torso.modeling.draw import CannotDrawLean, draw_lean

    clean, levels = subject.declared.is_clean, subject.declared.levels.values()
    names = [one.name for one in subject.backbone.graph.clean_cuts if clean(one.name) or one.name in levels]
    for name in [*names[:: len(names) // 4 + 1], *names[-1:]] if subject.declared.can_stop_early else ():
        cut, channels = subject.planned(weights="none", truncate={"layer": name}), subject.declared.input.weights_channels
        with suppress(CannotDrawLean):  # then it is not stopped
            drawn = draw_lean(cut, channels, until=[name])
            early = truncate_and_fill(drawn, cut, None, lambda step: None, channels, "").model
            whole = build_model(cut, lambda step: None).model
            assert early.get_config() == whole.get_config(), f"stopped after {name!r}, the builder gives another network"
            early.set_weights(whole.get_weights())
            same = np.array_equal(subject.values_of(early), subject.values_of(whole))
            assert same, f"stopped after {name!r}, the builder gives a network with other features"


def check_every_clean_cut_computes_what_the_whole_network_computes(subject: Subject) -> None:
    import keras

    from torso.modeling.truncate import cut

    model = subject.backbone.model
    operations = {operation.name: operation for operation in model.operations}
    for node in subject.backbone.graph.clean[1:]:
        if node.name not in operations:
            continue  # inside a nested model, or a layer that is called twice: Keras has no tensor of that name
        truncated = cut(model, node.name, "truncated")
        expected = keras.Model(model.input, operations[node.name].output)(subject.pixels)
        assert np.array_equal(truncated(subject.pixels), expected), f"the cut at {node.name!r} computes something else"


def check_frozen_is_frozen(subject: Subject) -> None:
    model = subject.backbone.model
    assert not model.trainable_weights, f"{len(model.trainable_weights)} weights still train"
    assert np.array_equal(subject.values_of(model, training=True), subject.features), "training mode changes the features"


def check_saved_model_loads_where_torso_is_not_installed(subject: Subject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = subject.backbone.save(Path(temporary, "saved"))
        pixels, features = Path(temporary, "pixels.npy"), Path(temporary, "features.npy")
        np.save(pixels, subject.pixels)
        loaded = load(folder, registry=subject.registry)
        assert np.array_equal(subject.values_of(loaded.model), subject.features), "torso.load gives other features"
        modules = [one["module"] for one in read_manifest(folder).custom_objects]
        if None not in modules:  # of a single file or a notebook, which another process does not import
            done = _python(_PLAIN_KERAS, folder / "model.keras", pixels, features, *modules)
            assert done.returncode == 0, f"plain Keras cannot load the saved model:\n{done.stderr[-2000:]}"
            assert np.array_equal(np.load(features), subject.features), "plain Keras gives other features"


def _python(*words: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # it finds what this process finds
    return subprocess.run([sys.executable, "-c", *map(str, words)], env=env, capture_output=True, text=True, check=False)


CHECKS: Final[tuple[Callable[[Subject], None], ...]] = tuple(
    check for name, check in list(globals().items()) if name.startswith("check_")
)
