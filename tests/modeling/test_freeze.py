"""What a report says trains is what training moves, and nothing else; also when Keras has lost it in between."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import images, moved_by, randomize, settle
from provider import Acme

import torso
from torso.errors import OptionError
from torso.graph import FreezePlan, FreezeReport
from torso.modeling import freeze_checks
from torso.modeling.freeze import freeze, report_of
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import inner_layers
from torso.modeling.variable_paths import leaves, variables_by_path

layers = keras.layers


def freeze_all(model: keras.Model, **axes: Any) -> FreezeReport:
    graph = read_graph(model, "Net")
    return freeze(model, graph, FreezePlan(weights=frozenset(node.name for node in graph), **axes), "'all'")


def under_a_head(model: keras.Model) -> set[str]:
    """The variables of a model that would train as a part of another one."""
    inputs = keras.Input(model.input_shape[1:])
    trains = {id(weight) for weight in keras.Model(inputs, layers.Dense(1)(model(inputs))).trainable_weights}
    return {path for path, variable in variables_by_path(model).items() if id(variable) in trains}


def test_freeze_all_leaves_nothing_that_training_could_move(residual: keras.Model) -> None:
    graph = read_graph(residual, "Residual")
    report = freeze(residual, graph, FreezePlan(weights=frozenset(node.name for node in graph)), "'all'")
    assert report == FreezeReport(
        frozen=residual.count_params(), trainable=0, trains=(), adapts=(), silenced={"drop": 0.5}, everything=True
    )
    pixels = images((8, 8, 3))
    features = residual(pixels, training=False)
    np.testing.assert_array_equal(residual(pixels, training=True), features)
    assert moved_by(residual) == set()
    np.testing.assert_array_equal(residual(pixels, training=True), features)


def test_freeze_nothing_lets_everything_move(residual: keras.Model) -> None:
    residual.trainable = False  # as a builder may give it
    report = freeze(residual, read_graph(residual, "Residual"), FreezePlan(stochastic="on"), "'none'")
    statistics = 2 * 4  # moving mean and variance do not train in any case
    assert (report.frozen, report.trainable) == (statistics, residual.count_params() - statistics)
    weights = {path for path in variables_by_path(residual) if not path.startswith("drop/")}
    assert set(report.trains) == {path for path in weights if not path.startswith("norm/moving")}
    assert report.adapts == ("norm/moving_mean", "norm/moving_variance")
    assert (report.silenced, report.everything) == ({}, False)
    assert moved_by(residual) == weights
    pixels = images((8, 8, 3))
    assert not np.array_equal(residual(pixels, training=True), residual(pixels, training=False))


def test_freeze_some_moves_the_others_only(residual: keras.Model) -> None:
    freeze(residual, read_graph(residual, "Residual"), FreezePlan(weights=frozenset({"stem", "norm"})), "'some'")
    every = {path for path in variables_by_path(residual) if not path.startswith("drop/")}
    assert moved_by(residual) == {path for path in every if not path.startswith(("stem/", "norm/"))}
    freeze(residual, read_graph(residual, "Residual"), FreezePlan(norm=frozenset({"norm"})), "'norm'")
    assert [layer.name for layer in residual.layers if not layer.trainable] == ["norm", "drop"]


def test_freeze_reaches_nested_layers_and_shared_ones_by_any_call() -> None:
    inner = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(2, 1, name="conv")], name="inner")
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="end")(inner(inputs)))
    freeze(model, read_graph(model, "Nested"), FreezePlan(weights=frozenset({"inner/conv"})), "'some'")
    assert {weight.path for weight in model.trainable_weights} == {"end/kernel", "end/bias"}
    shared = layers.Dense(2, name="shared")
    model = keras.Model(inputs, shared(shared(inputs)))
    freeze(model, read_graph(model, "Shared"), FreezePlan(weights=frozenset({"shared:1"})), "'some'")
    assert model.trainable_weights == []


# --- each policy ---------------------------------------------------------------------------------------------------------

POLICIES: list[Any] = [
    "adapt_norm",
    *(
        pytest.param(policy, marks=pytest.mark.slow)
        for policy in (
            "all_but_norm",
            "all",
            "none",
            {"through": {"at": "C1", "norm": "train"}},
            {"through": "C1"},
            {"all_but_last": {"blocks": 1, "stochastic": "off"}},
            "acme/edges",
        )
    ),
]
HOOKS = """
def edges(graph, options):
    norm = {node.name for node in graph if node.kind == "BatchNormalization"}
    return torso.FreezePlan(weights={graph.nodes[1].name}, norm=norm, stochastic="on")

def most(graph, options):
    return torso.FreezePlan(weights={node.name for node in graph} - {graph.end.name}, stochastic="on")

@torso.hookimpl
def torso_freeze_policies():
    yield torso.FreezePolicy(name="edges", doc="The first layer is frozen, and every normalisation.", select=edges)
    yield torso.FreezePolicy(name="most", doc="All is frozen but the end.", select=most)
"""
Create = Callable[..., torso.Backbone]


@pytest.fixture
def create(make: Callable[..., Acme]) -> Create:
    """Builds ``Net``, whose builder has these lines, or another network."""

    def create(body: str = "return network(input_shape)", architecture: str = "Net", **spec: Any) -> torso.Backbone:
        registry = make(HOOKS, body=body).registry
        return torso.create_backbone(architecture, weights="none", registry=registry, **{"input": {"size": [8, 8]}, **spec})

    return create


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def save(backbone: torso.Backbone, folder: Path, *, lost: bool) -> Path:
    """Save; ``lost`` says whether plain Keras loses flags, which is a warning then."""
    with pytest.warns(torso.FreezeWarning, match="plain Keras loses the flags") if lost else nullcontext():
        return backbone.save(folder)


def moving(report: Any) -> set[str]:
    return {*report["trains"], *report["adapts"]}


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_training_moves_what_the_report_says_whoever_loads(create: Create, tmp_path: Path, policy: Any) -> None:
    spec: dict[str, Any] = {"options": {"alpha": 0.35}, "input": {"size": [32, 32]}, "truncate": {"level": "C2"}}
    backbone = create(architecture="MobileNetV2", freeze=policy, **spec)
    settle(backbone.model, images((32, 32, 3)) / 255)
    report = backbone.manifest["frozen"]
    assert report["everything"] == (not moving(report)) == (policy == "all")
    folder = save(backbone, tmp_path / "saved", lost=policy == "adapt_norm")  # the held scale and offset
    lost = set(manifest(folder)["frozen"]["lost_by_keras"])
    assert moved_by(backbone.model) == moving(report)
    assert moved_by(torso.load(folder).model) == moving(report)
    assert moved_by(keras.models.load_model(folder / "model.keras")) == moving(report) | lost


# --- what Keras loses ----------------------------------------------------------------------------------------------------

ATTENTION = """x = layers.Reshape((16, 4))(layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(images))
    x = layers.{layer}(name="attention")(x, x)
    return keras.Model(images, layers.Dense(3, name="end")(x))"""
LOST = {
    "attention": ATTENTION.format(layer="MultiHeadAttention").replace("(name", "(2, 2, name"),
    "grouped": ATTENTION.format(layer="GroupQueryAttention").replace("(name", "(2, 2, 1, name"),
    "bidirectional": """x = layers.Reshape((8, 24))(images)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.Dense(4, name="stem")(x))
    return keras.Model(images, layers.Dense(3, name="end")(x))""",
}
each_lost = pytest.mark.parametrize(
    "name", ["attention", *(pytest.param(name, marks=pytest.mark.slow) for name in ("grouped", "bidirectional"))]
)


@each_lost
def test_a_layer_made_of_others_is_frozen_after_load_and_not_by_keras_alone(
    create: Create, tmp_path: Path, name: str
) -> None:
    backbone = create(LOST[name])
    inner = {
        path for path in variables_by_path(backbone.model) if not path.startswith(("stem", "end")) and "seed" not in path
    }
    folder = save(backbone, tmp_path / "saved", lost=name != "bidirectional")  # a wrapper's own are saved with it
    lost = set(manifest(folder)["frozen"]["lost_by_keras"])
    assert lost == (set() if name == "bidirectional" else inner)
    loaded = torso.load(folder)
    checks = {check.name: check for check in torso.verify(folder).checks}
    assert all(check.holds for check in checks.values())
    cure = (
        "; plain Keras loses the flags of attention, which train after loading: load with torso.load, "
        "or set model.trainable to True and then to False"
    )
    assert checks["frozen"].words == "nothing trains, and training gives the same bits" + (cure if lost else "")
    assert under_a_head(backbone.model) == under_a_head(loaded.model) == set()
    assert moved_by(loaded.model) == set()
    plain = keras.models.load_model(folder / "model.keras")
    assert under_a_head(plain) == lost
    assert moved_by(plain) <= lost
    assert bool(moved_by(plain)) == bool(lost)
    plain = keras.models.load_model(folder / "model.keras")
    plain.trainable = True
    plain.trainable = False  # the cure
    assert moved_by(plain) == set()


@each_lost
def test_a_layer_made_of_others_is_partly_frozen_after_load_as_it_was_before(
    create: Create, tmp_path: Path, name: str
) -> None:
    backbone = torso.load(save(create(LOST[name], freeze="acme/most"), tmp_path / "most", lost=name != "bidirectional"))
    assert under_a_head(backbone.model) == {"end/kernel", "end/bias"} == set(backbone.manifest["frozen"]["trains"])
    backbone.unfreeze()
    again = torso.load(backbone.save(tmp_path / "none"))
    assert len(under_a_head(again.model)) >= 10
    assert under_a_head(again.model) == under_a_head(backbone.model) == set(again.manifest["frozen"]["trains"])


def test_what_was_frozen_by_hand_within_a_layer_is_frozen_after_load(create: Create, tmp_path: Path) -> None:
    backbone = create(LOST["attention"], freeze="none")
    (query,) = [one for one in inner_layers(backbone.model.get_layer("attention")) if one.name == "query"]
    query.trainable = False
    backbone.model.get_layer("end").bias.trainable = False
    expected = set(variables_by_path(backbone.model)) - {"attention/query/kernel", "attention/query/bias", "end/bias"}
    folder = save(backbone, tmp_path / "saved", lost=True)
    assert set(manifest(folder)["frozen"]["trains"]) == expected
    assert manifest(folder)["frozen"]["lost_by_keras"] == ["attention/query/kernel", "attention/query/bias", "end/bias"]
    assert under_a_head(torso.load(folder).model) == expected


KEPT = {
    "norm in a wrapper": """x = layers.TimeDistributed(layers.BatchNormalization())(layers.Conv2D(3, 1, name="stem")(images))
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))""",
    "renormalised": """x = layers.BatchNormalization(renorm=True)(layers.Conv2D(3, 1, name="stem")(images))
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))""",
    "a norm called twice": """norm = layers.BatchNormalization()
    x = norm(layers.Conv2D(3, 1, name="conv")(norm(layers.Conv2D(3, 1, name="stem")(images))))
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))""",
    "a norm in a part that is called twice": """part = keras.Sequential([layers.Conv2D(3, 1), layers.BatchNormalization()])
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(part(part(layers.Conv2D(3, 1, name="stem")(images)))))""",
    "noise and dropouts": """x = layers.SpatialDropout2D(0.3)(layers.Conv2D(8, 1, name="stem")(images))
    x = layers.GaussianNoise(0.2)(x)
    x = layers.AlphaDropout(0.4)(layers.GaussianDropout(0.1)(x))
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))""",
}


def quiet(model: keras.Model) -> bool:
    """Whether training computes what is computed otherwise, and that is not the same for every image."""
    pixels = images(model.input_shape[1:]) / 255
    expected = np.asarray(model(pixels))
    assert expected.std() > 1e-6
    assert (expected[0] != expected[1]).any()
    return all(np.array_equal(model(pixels, training=True), expected) for _ in range(3))


@pytest.mark.parametrize("policy", ["all", "none"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "noise" not in name else ()) for name in KEPT]
)
def test_what_keras_keeps_is_the_same_whoever_loads_it(create: Create, tmp_path: Path, name: str, policy: str) -> None:
    backbone = create(KEPT[name], freeze=policy)
    randomize(backbone.model)
    folder = backbone.save(tmp_path / "saved")
    told = manifest(folder)["frozen"]
    assert (told["everything"], told["lost_by_keras"]) == (policy == "all", [])
    models = backbone.model, torso.load(folder).model, keras.models.load_model(folder / "model.keras")
    for model in models:
        assert quiet(model) == (policy == "all")
        assert under_a_head(model) == set(told["trains"])
        assert moved_by(model) == moving(told)


def test_norms_that_bound_kernels_train_after_load_as_before(create: Create, tmp_path: Path) -> None:
    backbone = create(
        """x = layers.SpectralNormalization(layers.Conv2D(3, 1), name="bounded")(images)
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))""",
        freeze="none",
    )
    told = backbone.manifest["frozen"]
    assert told["adapts"] == ["bounded/vector_u"]
    assert moving(told) == set(variables_by_path(backbone.model))
    loaded = torso.load(backbone.save(tmp_path / "saved"))
    assert moved_by(loaded.model) == moved_by(backbone.model) == moving(told)


def test_noise_that_was_off_in_the_file_is_as_strong_as_built_when_on_again(create: Create, tmp_path: Path) -> None:
    backbone = torso.load(create(KEPT["noise and dropouts"]).save(tmp_path / "saved"))
    rates = {"spatial_dropout2d": 0.3, "gaussian_noise": 0.2, "gaussian_dropout": 0.1, "alpha_dropout": 0.4}
    assert backbone.manifest["frozen"]["silenced"] == rates
    assert quiet(backbone.model)
    backbone.unfreeze()
    noisy = {name: layer for name, layer in leaves(backbone.model) if name in rates}
    assert {name: getattr(layer, "rate", None) or layer.stddev for name, layer in noisy.items()} == rates
    for layer in noisy.values():  # each of them draws anew
        part = keras.Model(layer.input, layer.output)
        given = np.ones((8, 8, 8, 8), "float32")  # of one image, 1 in 80 draws would be the same
        assert (np.asarray(part(given, training=True)) != np.asarray(part(given, training=True))).any()


# --- what is easily got wrong ---------------------------------------------------------------------------------------------


def attention(**options: Any) -> keras.Model:
    inputs = keras.Input((4, 4))
    return keras.Model(inputs, layers.MultiHeadAttention(2, 2, name="attention", **options)(inputs, inputs))


def deep() -> keras.Model:
    inputs = keras.Input((2, 3, 4))
    made = layers.Bidirectional(layers.LSTM(2), name="both", trainable=False)
    return keras.Model(inputs, layers.TimeDistributed(keras.Sequential([keras.Input((3, 4)), made]), name="each")(inputs))


@pytest.mark.parametrize(
    ("build", "weights", "private"),
    [(partial(attention, trainable=False), 8, True), (partial(attention, trainable=False), 8, False), (deep, 6, True)],
)
def test_a_layer_that_was_made_not_trainable_is_frozen_to_its_last_variable(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], keras.Model], weights: int, private: bool
) -> None:
    model = build()
    assert len(under_a_head(model)) == weights  # Keras does not hand the flag on to the layers within
    if not private:
        monkeypatch.setattr(freeze_checks, "inner_layers", lambda layer: [layer])
    assert freeze_all(model).everything
    assert under_a_head(model) == set()
    freeze(model, read_graph(model, "Net"), FreezePlan(stochastic="on"), "'none'")
    assert len(under_a_head(model)) == weights


def test_a_norm_that_is_to_adapt_does_so_whatever_else_is_frozen_and_trains_with_everything(residual: keras.Model) -> None:
    norm = frozenset({"norm"})
    for axes in ({"adapt": norm}, {"adapt": norm, "norm": norm}):
        report = freeze_all(residual, **axes)
        assert (report.trains, report.adapts) == ((), ("norm/moving_mean", "norm/moving_variance"))
        assert moved_by(residual) == {"norm/moving_mean", "norm/moving_variance"}
    freeze(residual, read_graph(residual, "Residual"), FreezePlan(stochastic="on"), "'none'")
    assert {"norm/gamma", "norm/beta"} <= under_a_head(residual)


def test_a_dropout_that_nested_models_share_is_off_in_what_is_frozen(create: Create, tmp_path: Path) -> None:
    body = """drop = layers.Dropout(0.5, name="drop")
    a = keras.Input(input_shape)
    inner = keras.Model(a, drop(layers.Conv2D(3, 1, name="conv")(a)), name="inner")
    return keras.Model(images, drop(layers.Conv2D(3, 1, name="end")(inner(images))))"""
    backbone = create(body, freeze={"through": "inner/drop"})
    inner = backbone.model.get_layer("inner")
    assert inner.get_layer("drop") is backbone.model.get_layer("drop")
    assert quiet(inner)
    assert backbone.manifest["frozen"]["silenced"] == {"inner/drop": 0.5, "drop": 0.5}
    assert quiet(torso.load(backbone.save(tmp_path / "saved")).model.get_layer("inner"))


def test_a_layer_that_is_called_alone_too_is_frozen_with_the_wrapper_that_has_it() -> None:
    dense = layers.Dense(4, name="dense")
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, dense(layers.TimeDistributed(dense, name="each")(inputs)))
    for name in "each", "dense":
        freeze(model, read_graph(model, "Net"), FreezePlan(weights=frozenset({name})), "'some'")
        assert under_a_head(model) == set()


def test_nested_models_that_came_frozen_say_that_they_train_where_they_do(create: Create) -> None:
    body = """inner = keras.Sequential([layers.Conv2D(3, 1, name="conv")], name="inner")
    x = inner(images)
    inner.trainable = False
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))"""
    inner = create(body, freeze="none").model.get_layer("inner")
    assert inner.trainable
    assert len(inner.trainable_weights) == 2


@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(2),
        layers.GRU(2, dropout=0.0),
        layers.Bidirectional(layers.SimpleRNN(2)),
        layers.TimeDistributed(layers.Dropout(0.0)),
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)]),
    ],
    ids=lambda layer: layer.name,
)
def test_a_random_generator_that_is_asked_for_nothing_is_no_reason_to_refuse(layer: layers.Layer) -> None:
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, layer(inputs))
    assert freeze_all(model).everything
    values = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_array_equal(model(values, training=True), model(values))


RANDOM = "draws random numbers in training, and torso cannot turn that off"
CHANGES = "Keras changes in training, trainable or not"
OTHERWISE = "computes differently in training, trainable or not"


class DropPath(layers.Layer):
    """Leaves a whole image out, and keeps no state; as in packages that draw with a seed of the process."""

    def __init__(self, rate: float, **about: Any) -> None:
        super().__init__(**about)
        self.rate = rate

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return x
        kept = keras.random.uniform((keras.ops.shape(x)[0], 1, 1)) >= self.rate
        return x * keras.ops.cast(kept, x.dtype)


def odd(call: Callable[..., Any], **parts: Any) -> layers.Layer:
    """A layer of another package, that computes by this function."""
    return type("Odd", (layers.Layer,), {"call": call, **parts})(name="it")


def follow(self: Any, x: Any) -> Any:
    self.state.assign(0.9 * self.state + 0.1 * keras.ops.mean(x, axis=(0, 1)))
    return x - self.state


def centre(self: Any, x: Any, training: bool = False) -> Any:
    return x - keras.ops.mean(x, axis=0, keepdims=True) if training else x


def large(self: Any, x: Any, training: bool = False) -> Any:
    return keras.ops.clip(x, -4, 4) if training else x


def negative(self: Any, x: Any, training: bool = False) -> Any:
    return keras.ops.relu(x) if training else x


def ends(self: Any, x: Any, training: bool = False) -> Any:
    return sys.exit(3) if training else x


def hidden(self: Any, x: Any) -> Any:
    return x + self.scale * tf.random.normal((4,))


def noisy(x: Any) -> Any:
    return x + keras.random.normal((4,))


def count(self: Any, x: Any) -> Any:
    self.state.assign_add(keras.ops.ones_like(self.state))
    return x


def broken(self: Any, x: Any, training: bool = False) -> Any:
    return x * (1 // (not training))


def with_state(self: Any, shape: Any) -> None:
    self.state = self.add_weight(shape=shape[-1:], trainable=False)


def with_a_scale(self: Any, shape: Any) -> None:
    self.scale = self.add_weight(shape=shape[-1:], initializer="zeros")


def with_a_layer(self: Any, shape: Any) -> None:
    self.inner = DropPath(0.01)


CHANGED: dict[str, tuple[layers.Layer, str]] = {
    "augmentation": (layers.RandomContrast(0.1), RANDOM),
    "a state": (layers.LSTM(2, stateful=True), CHANGES),
    "a bound": (layers.SpectralNormalization(layers.Dense(2)), CHANGES),
    "a Lambda": (layers.Lambda(lambda x: keras.random.dropout(x, 0.1)), RANDOM),
    "random by TensorFlow, which keeps the state": (odd(lambda self, x: x + tf.random.normal(tf.shape(x))), RANDOM),
    "follows what it sees": (odd(follow, build=with_state), OTHERWISE),
    "depends on the batch, without a state": (odd(centre, compute_output_shape=lambda self, shape: shape), OTHERWISE),
    "a random layer within": (odd(lambda self, x: self.inner(x), build=with_a_layer), RANDOM),
    "leaves an image out, one of a hundred": (DropPath(0.01), RANDOM),
    "random where the scale is zero": (odd(hidden, build=with_a_scale), RANDOM),
    "counts, and does nothing with it": (odd(count, build=with_state), OTHERWISE),
    "an activation": (layers.Dense(4, activation=noisy), RANDOM),
    "large values alone": (odd(large), OTHERWISE),
    "negative values alone": (odd(negative), OTHERWISE),
    "cannot be run": (odd(broken), "fails in training: ZeroDivisionError"),
    "ends the process": (odd(ends), "fails in training: SystemExit"),
    "at each step": (
        layers.TimeDistributed(odd(centre, compute_output_shape=lambda self, shape: shape)), OTHERWISE
    ),
}  # fmt: skip


@pytest.mark.parametrize(("layer", "does"), CHANGED.values(), ids=CHANGED)
def test_what_training_changes_all_the_same_is_refused_and_nothing_is_changed(layer: layers.Layer, does: str) -> None:
    inputs = keras.Input((3, 4), batch_size=2)
    x = layers.Dropout(0.5, name="drop")(layers.Dense(4, name="dense")(inputs))
    model = keras.Model(inputs, layers.Dense(4, name="end")(layer(x)))
    model.get_layer("dense").bias.trainable = False  # by hand
    flags = {path: variable.trainable for path, variable in variables_by_path(model).items()}
    config = model.get_config()
    with pytest.raises(OptionError) as caught:
        freeze_all(model)
    fix = "leaves random layers on" if does == RANDOM else "lets it train"
    assert str(caught.value) == (
        f"{layer.name!r} is a {type(layer).__name__} that {does}\n"
        f"  fix: leave it out of the network, or choose a freeze policy that {fix}"
    )
    assert {path: variable.trainable for path, variable in variables_by_path(model).items()} == flags
    assert model.get_config() == config
    freeze(model, read_graph(model, "Net"), FreezePlan(weights=frozenset({"dense"}), stochastic="on"), "'some'")
    assert {path.split("/")[0] for path in under_a_head(model)} <= {layer.name, "end"}


def test_a_layer_named_like_one_of_keras_is_not_taken_for_that() -> None:
    class StochasticDepth(DropPath):
        pass

    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, StochasticDepth(0.0, name="path")(inputs))
    assert freeze_all(model).silenced == {}
    model.get_layer("path").rate = 0.5
    with pytest.raises(OptionError, match="'path' is a StochasticDepth that draws random numbers in training"):
        freeze_all(model)


class Block(layers.Layer):
    """What packages have: layers within, normalisation among them, several inputs, and a path that is left out at times."""

    def __init__(self, **about: Any) -> None:
        super().__init__(**about)
        self.dense, self.norm, self.drop = layers.Dense(4), layers.BatchNormalization(), DropPath(0.0)

    def build(self, x_shape: Any, other_shape: Any, more_shape: Any = None) -> None:
        for layer in self.dense, self.norm:
            layer.build(x_shape)

    def call(self, x: Any, other: Any, more: Any = None) -> Any:
        return self.drop(self.norm(self.dense(x))) + other + (0 if more is None else more)


class Harder(layers.Dropout):
    """A dropout of another package."""


def of_block(inputs: Any) -> Any:
    x = layers.Dense(4)(inputs)
    block = Block(name="block")
    return block(block(x, inputs), inputs, more=Harder(0.5)(x))


def of_nested(inputs: Any) -> Any:
    inner = keras.Input((3, 4))
    return keras.Model(inner, Block(name="block")(inner, inner), name="inner")(Harder(0.5)(inputs))


@pytest.mark.parametrize("build", [of_block, of_nested], ids=["called twice", "nested"])
def test_a_layer_of_another_package_that_training_does_not_change_is_frozen(build: Callable[[Any], Any]) -> None:
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, build(inputs))
    randomize(model)
    assert len(under_a_head(model)) >= 4
    report = freeze_all(model)
    assert report.everything
    assert list(report.silenced.values()) == [0.5]
    assert under_a_head(model) == set()
    values = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_array_equal(model(values, training=True), model(values))
    freeze(model, read_graph(model, "Net"), FreezePlan(stochastic="on"), "'none'")
    assert report_of(model).adapts
    assert (np.asarray(model(values, training=True)) != np.asarray(model(values))).any()


def test_a_layer_that_cannot_be_drawn_as_a_graph_is_compared_all_the_same() -> None:
    eager = odd(
        lambda self, x: keras.ops.convert_to_tensor(np.asarray(x) * 2),
        compute_output_spec=lambda self, x: keras.KerasTensor(x.shape, x.dtype),
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, eager(inputs))
    assert freeze_all(model).everything
    assert np.asarray(model(np.ones((1, 4)), training=True)).tolist() == [[2, 2, 2, 2]]


def test_what_is_random_and_reads_the_number_of_images_is_refused_and_draws_nothing_of_the_users() -> None:
    def drop(self: Any, x: Any, training: bool = False) -> Any:
        return x * keras.random.uniform((x.shape[0], 1)) if training else x  # None where a graph is drawn

    inputs = keras.Input((4,))
    model = keras.Model(inputs, odd(drop)(inputs))
    keras.utils.set_random_seed(0)
    expected = [float(keras.random.uniform(())) for _ in range(2)]
    keras.utils.set_random_seed(0)
    found = [float(keras.random.uniform(()))]
    with pytest.raises(OptionError, match=f"'it' is a Odd that {RANDOM}"):
        freeze_all(model)
    assert [*found, float(keras.random.uniform(()))] == expected


def test_a_layer_of_unknown_code_that_is_not_frozen_leaves_not_everything_frozen() -> None:
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, layers.Dense(2, name="end")(DropPath(0.5, name="path")(inputs)))
    graph = read_graph(model, "Net")
    plan = FreezePlan(weights=frozenset(node.name for node in graph) - {"path"}, stochastic="on")
    report = freeze(model, graph, plan, "'most'")
    assert (report.trains, report.adapts, report.everything) == ((), (), False)


def test_a_layer_of_keras_that_is_told_of_training_is_frozen_after_load(create: Create, tmp_path: Path) -> None:
    backbone = create("return keras.Model(images, layers.Conv2D(2, 1)(layers.Resizing(4, 4)(images)))")
    assert torso.load(backbone.save(tmp_path / "saved")).manifest["frozen"]["everything"]


def test_what_training_does_in_each_layer_of_keras_is_known() -> None:
    """Those with a ``training`` argument; layers of images that are not in the list are compared."""
    kinds = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, layers.Layer)}
    kinds = {kind for kind in kinds if ".preprocessing." not in kind.__module__}
    unknown = {kind.__name__ for kind in kinds if not freeze_checks._is_known(kind)}
    assert unknown == {"FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"}


INNER = """x = layers.Reshape((16, 4))(layers.Conv2D(4, 3, strides=2, padding="same")(images))
    x = layers.MultiHeadAttention(2, 2, dropout=0.11, name="heads")(x, x)
    x = layers.GroupQueryAttention(2, 2, 1, dropout=0.12, name="grouped")(x, x)
    x = layers.Attention(dropout=0.13, name="plain")([x, x])
    x = layers.AdditiveAttention(dropout=0.14, name="additive")([x, x])
    x = layers.LSTM(4, dropout=0.15, recurrent_dropout=0.16, return_sequences=True, name="lstm")(x)
    x = layers.Bidirectional(layers.GRU(4, dropout=0.17, return_sequences=True), name="both")(x)
    x = layers.RNN([layers.GRUCell(4), layers.LSTMCell(4, dropout=0.18)], return_sequences=True, name="cells")(x)
    return keras.Model(images, layers.TimeDistributed(layers.Dropout(0.19), name="each")(x))"""
INNER_RATES = {
    "heads": 0.11, "heads/dropout": 0.11, "grouped": 0.12, "grouped/dropout": 0.12, "plain": 0.13, "additive": 0.14,
    "lstm/lstm_cell/dropout": 0.15, "lstm/lstm_cell/recurrent_dropout": 0.16, "both/gru_cell/dropout": 0.17,
    "both/gru_cell/dropout:1": 0.17, "cells/lstm_cell/dropout": 0.18, "each/dropout": 0.19,
}  # fmt: skip


def test_dropout_within_layers_is_off_where_frozen_whoever_loads_it_and_on_again(create: Create, tmp_path: Path) -> None:
    backbone = create(INNER)
    randomize(backbone.model)
    assert backbone.manifest["frozen"]["silenced"] == INNER_RATES
    assert quiet(backbone.model)
    folder = save(backbone, tmp_path / "saved", lost=True)
    loaded = torso.load(folder)
    assert quiet(keras.models.load_model(folder / "model.keras"))
    assert quiet(loaded.model)
    for model in backbone, loaded:
        model.unfreeze()
        assert model.manifest["frozen"]["silenced"] == {}
        for name in dict.fromkeys(path.split("/")[0] for path in INNER_RATES):  # each of them draws anew
            x = np.ones((8, 16, 8 if name == "cells" else 4), "float32")
            given: Any = {"heads": (x, x), "grouped": (x, x), "plain": ([x, x],), "additive": ([x, x],)}.get(name, (x,))
            one, other = (np.asarray(model.model.get_layer(name)(*given, training=True)) for _ in range(2))
            assert (one != other).any(), name
        model.freeze()
        assert (model.manifest["frozen"]["silenced"], quiet(model.model)) == (INNER_RATES, True)


def test_all_is_torsos_own_though_a_plugin_offers_a_policy_of_that_name(tmp_path: Path) -> None:
    source = """
        @torso.hookimpl
        def torso_freeze_policies():
            yield torso.FreezePolicy(name="all", doc="", select=lambda graph, options: torso.FreezePlan(stochastic="on"))
        """
    acme = Acme(tmp_path, source)
    backbone = acme.create(freeze="acme/all")
    assert backbone.model.trainable_weights
    backbone.freeze("all", registry=acme.registry)
    assert not backbone.model.trainable_weights


def test_the_stochastic_depth_of_keras_own_convnext_is_turned_off_and_on_again(create: Create, tmp_path: Path) -> None:
    """Its layer has no random generator of its own, so that nothing tells of it but its name."""
    body = """from keras.src.applications.convnext import ConvNeXt
    return ConvNeXt(
        depths=[1, 1, 1, 1], projection_dims=[4, 4, 4, 4], drop_path_rate=0.5, include_top=False,
        include_preprocessing=False, weights=None, input_shape=input_shape, name="convnext_tiny",
    )"""
    backbone = create(body, input={"size": [32, 32]})
    randomize(backbone.model)
    rates = backbone.manifest["frozen"]["silenced"]
    assert [round(rate, 3) for rate in rates.values()] == [0.167, 0.333, 0.5]
    assert quiet(backbone.model)
    loaded = torso.load(backbone.save(tmp_path / "saved"))
    assert quiet(loaded.model)
    loaded.unfreeze()
    assert {name: layer.drop_path_rate for name, layer in leaves(loaded.model) if name in rates} == rates
    assert not quiet(loaded.model)
