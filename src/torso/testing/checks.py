"""The checks, one claim each; a failed one raises ``AssertionError`` and says what it found."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from torso.api import build, load, plan, read_graph
from torso.backbone import Backbone
from torso.contracts.architecture import matching_file
from torso.graph import EXPANSION, LEVELS
from torso.planning import Plan
from torso.plugins.registry import Registry

_PLAIN_KERAS = """
import sys
sys.modules["torso"] = None  # as where torso is not installed
import keras, numpy
model = keras.models.load_model(sys.argv[1])
outputs = keras.tree.flatten(model(numpy.load(sys.argv[2]), training=True))
numpy.save(sys.argv[3], numpy.concatenate([numpy.ravel(output) for output in outputs]))
"""
_LISTING = """
import sys
from torso.plugins.registry import Registry
assert Registry.load().architectures.resolve({name!r}).value.builder
print([name for name in ("keras", "tensorflow") if name in sys.modules])
"""


@dataclass(frozen=True)
class Subject:
    """One architecture with one choice of options.

    Attributes:
        architecture: Its name, ``provider/name``.
        registry: Where it is offered.
        options: What is set; the architecture's defaults otherwise.
        weights: A tag, or ``"none"``; None for the architecture's first tag, or ``none`` where it has no tag.
    """

    architecture: str
    registry: Registry
    options: Mapping[str, Any] = field(default_factory=dict)  # as in a spec
    weights: str | None = None

    @cached_property
    def plan(self) -> Plan:
        card = self.registry.architectures.resolve(self.architecture).value
        weights = self.weights or (card.tags[0] if card.tags else "none")
        return plan(self.architecture, options=self.options, weights=weights, registry=self.registry)

    @cached_property
    def backbone(self) -> Backbone:
        return build(self.plan, self.registry)

    @cached_property
    def pixels(self) -> Any:
        """Two images of noise, preprocessed: (2, height, width, channels)."""
        import numpy as np

        noise = np.random.default_rng(0).integers(0, 256, (2, *(side or 0 for side in self.plan.input_shape)), dtype="uint8")
        return np.asarray(self.backbone.preprocess(noise))

    @cached_property
    def features(self) -> Any:
        """All values of their features in a row; the checks compare with them, so they must not be trivial."""
        import numpy as np

        features = self.values_of(self.backbone.model, training=False)
        assert np.isfinite(features).all(), "the features of noise are not finite"
        assert features.std() > 1e-6, "the features of noise are all the same"
        return features

    def values_of(self, model: Any, *, training: bool | None = None) -> Any:
        """All values that a model gives for the pixels, output after output."""
        import keras
        import numpy as np

        outputs = keras.tree.flatten(model(self.pixels, training=training))
        return np.concatenate([np.ravel(output) for output in outputs])


def check_listing_imports_no_keras(subject: Subject) -> None:
    """Listing the architecture imports neither Keras nor TensorFlow."""
    code = _LISTING.format(name=subject.architecture)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "[]\n", f"listing {subject.architecture} imports {found.stdout.strip()}"


def check_card_says_where_its_figures_come_from(subject: Subject) -> None:
    """The card, its preprocessing and its weights name their source."""
    card = subject.plan.architecture.value
    silent = [] if card.source else ["source of the card"]
    silent += [] if card.preprocessing.source else ["source of the preprocessing"]
    silent += [f"source of the weights {weights.tag!r}" for weights in card.weights if not weights.source]
    assert not silent, f"{subject.architecture} does not say: {', '.join(silent)}"


def check_published_files_are_hashed_and_fit_their_options(subject: Subject) -> None:
    """Every weights file has a SHA-256, and is the one that its own options lead to."""
    card = subject.plan.architecture.value
    for weights in card.weights:
        for file in weights.files:
            assert file.sha256, f"{file.file_name} has no sha256"
            options = {option.name: option.default for option in card.options} | dict(file.when)
            size = file.when.get("size", card.input.default[0])
            assert isinstance(size, int)
            assert matching_file(weights, options, (size, size)) == (file, True), f"{file.file_name} is never chosen"


def check_parameters_are_those_of_the_card(subject: Subject) -> None:
    """The headless network has as many parameters as the card says, with default options."""
    card = subject.plan.architecture.value
    if card.parameters is None or subject.options:
        return
    count = subject.backbone.model.count_params()
    assert count == card.parameters, f"the network has {count} parameters, its card says {card.parameters}"


def check_network_takes_the_images_that_the_card_allows(subject: Subject) -> None:
    """One input of the planned shape, and outputs that are maps of cells."""
    model = subject.backbone.model
    assert len(model.inputs) == 1, f"the network has {len(model.inputs)} inputs"
    assert tuple(model.input_shape[1:]) == subject.plan.input_shape, f"the network takes {model.input_shape[1:]}"
    for end in subject.backbone.features:
        assert end.stride, f"the network ends in shape {end.shape}: that is no map (height, width, channels)"


def check_network_for_any_size_is_the_same_one(subject: Subject) -> None:
    """Where the card allows any size, that network has the nodes and the weights of the one for a size."""
    if not subject.plan.architecture.value.input.any_size:
        return
    open_size = {"size": [None, None]}
    graph = read_graph(subject.architecture, registry=subject.registry, options=subject.options, input=open_size)
    found, expected = (
        [(node.name, node.kind, node.inputs, node.stride, node.channels, node.parameters) for node in network]
        for network in (graph, subject.backbone.graph)
    )
    different = [a[0] for a, b in zip(found, expected, strict=False) if a != b]
    assert found == expected, (
        f"any_size: the network for any size has {len(found)} nodes, the one for a size {len(expected)}"
        + (f"; the first that differs is {different[0]!r}" if different else "")
    )


def check_declared_levels_are_in_the_network(subject: Subject) -> None:
    """Each level that the card declares is there, at its stride, with default options."""
    card = subject.plan.architecture.value
    if subject.options:
        return
    graph = subject.backbone.graph
    for level, name in card.levels.items():
        assert name in graph, f"level {level} is declared to be {name!r}, and that is not in the network"
        stride = LEVELS[level.removesuffix(EXPANSION)]
        found = graph[name].stride
        assert found == stride, f"level {level} is declared to be {name!r}, and that has stride {found}, not {stride}"


def check_names_are_the_same_on_every_build(subject: Subject) -> None:
    """A second build in one process has the same nodes, whatever Keras numbers."""
    again = build(subject.plan, subject.registry)
    assert again.graph.nodes == subject.backbone.graph.nodes


def check_every_clean_cut_computes_what_the_whole_network_computes(subject: Subject) -> None:
    """Each clean cut gives, bit for bit, what the whole network computes there."""
    import keras
    import numpy as np

    from torso.modeling.truncate import cut

    model = subject.backbone.model
    names = [node.name for node in subject.backbone.graph]
    operations = {operation.name: operation for operation in model.operations}
    for node in subject.backbone.graph.clean[1:]:
        if node.name not in operations:
            continue  # inside a nested model, or a layer that is called twice: Keras gives no tensor by its name
        trunk = cut(model, node.name, "trunk", keep=names)
        expected = keras.Model(model.input, operations[node.name].output)(subject.pixels)
        assert np.array_equal(trunk(subject.pixels), expected), f"the cut at {node.name!r} computes something else"


def check_frozen_is_frozen(subject: Subject) -> None:
    """Nothing trains, and training mode changes no bit."""
    import numpy as np

    model = subject.backbone.model
    assert not model.trainable_weights, f"{len(model.trainable_weights)} weights still train"
    assert np.array_equal(subject.values_of(model, training=True), subject.features), "training mode changes the features"


def check_saved_model_loads_where_torso_is_not_installed(subject: Subject) -> None:
    """Plain Keras, in a process without torso, loads the saved model and gives the same features; so does torso."""
    import numpy as np

    with tempfile.TemporaryDirectory() as temporary:
        folder = subject.backbone.save(Path(temporary, "saved"))
        pixels, features = Path(temporary, "pixels.npy"), Path(temporary, "features.npy")
        np.save(pixels, subject.pixels)
        command = [sys.executable, "-c", _PLAIN_KERAS, *map(str, (folder / "model.keras", pixels, features))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"plain Keras cannot load the saved model:\n{done.stderr[-2000:]}"
        assert np.array_equal(np.load(features), subject.features), "plain Keras gives other features"
        loaded = load(folder)
        assert np.array_equal(subject.values_of(loaded.model), subject.features), "torso.load gives other features"


CHECKS: Final[tuple[Callable[[Subject], None], ...]] = (
    check_listing_imports_no_keras,
    check_card_says_where_its_figures_come_from,
    check_published_files_are_hashed_and_fit_their_options,
    check_parameters_are_those_of_the_card,
    check_network_takes_the_images_that_the_card_allows,
    check_network_for_any_size_is_the_same_one,
    check_declared_levels_are_in_the_network,
    check_names_are_the_same_on_every_build,
    check_every_clean_cut_computes_what_the_whole_network_computes,
    check_frozen_is_frozen,
    check_saved_model_loads_where_torso_is_not_installed,
)
