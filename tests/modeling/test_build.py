"""From a builder to a model with values: the three build modes, when torso leaves one for the next, and what is left."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import assert_same_and_meaningful, images, randomize, save_listed

import torso
from torso.errors import IntegrityError, OptionError, PluginError, TorsoError
from torso.files.hashing import hash_of
from torso.modeling import build as building, draw as drawing, keras_private as private, load_weights as loading
from torso.modeling.draw import EAGER, LEAN, PARTIAL
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import has_value

SHAPE = (16, 16, 3)
HEAD = """
import keras
import torso
from keras import layers, ops

def network(input_shape):
    images = keras.Input(input_shape, name="images")
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(images)
    y = layers.Conv2D(4, 3, padding="same", name="left")(x)
    x = layers.Add(name="join")([x, layers.BatchNormalization(name="norm")(y)])
    x = layers.Dropout(0.5, name="drop")(x)
    return keras.Model(images, layers.Conv2D(6, 3, padding="same", name="end")(x))

def build(*, input_shape):
    return network(input_shape)
"""
HOOK = """
@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Net", family="Net", builder=f"{__name__}:build", input=torso.InputRules(default=(16, 16)),
        preprocessing=torso.Preprocessing(), clean="stem|join|drop",
    )
"""
Make = Callable[..., "Acme"]


class Acme:
    """A provider whose network is written in the test, and a weights file of it that plain Keras wrote."""

    def __init__(self, folder: Path, source: str, file: str) -> None:
        self.text = HEAD + textwrap.dedent(source) + HOOK
        (folder / "acme.py").write_text(self.text)
        self.registry = torso.Registry.load(plugins_dirs=[folder], discover=False)
        self.path = folder / file
        self._names: dict[str, Any] = {"__name__": "acme_by_itself"}
        exec(compile(self.text.replace("@torso.hookimpl", ""), "acme_by_itself.py", "exec"), self._names)

    def plain(self, seed: int = 0) -> keras.Model:
        """The network as Keras alone builds it, with values that its initialisers would not make."""
        model: keras.Model = self._names["build"](input_shape=SHAPE)
        randomize(model, seed)
        return model

    def write(self, model: keras.Model) -> None:
        if self.path.name.endswith(".weights.h5"):
            model.save_weights(self.path)
        elif self.path.suffix == ".keras":
            model.save(self.path)
        else:
            save_listed(model, self.path)

    def written(self) -> keras.Model:
        """The plain network, whose values are in the file now."""
        full = self.plain()
        self.write(full)
        return full

    def create(self, **spec: Any) -> torso.Backbone:
        return torso.create_backbone("Net", registry=self.registry, **{"weights": {"file": self.path}, **spec})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda source="", file="w.h5": Acme(tmp_path, source, file)


def built(backbone: torso.Backbone) -> tuple[str, str]:
    told = backbone.manifest["built"]
    return told["way"], told["why"]


def assert_as_plain(backbone: torso.Backbone, full: keras.Model) -> None:
    """The same features as the plain way gives at the same node, and no variable without a value."""
    assert all(has_value(variable) for variable in backbone.model.variables)
    node = backbone.features[0].node
    plain = keras.Model(full.input, next(op for op in full.operations if op.name == node).output)
    pixels = images(SHAPE)
    assert_same_and_meaningful(backbone.model(pixels), plain(pixels))
    for weight, wanted in zip(backbone.model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(weight, wanted)


# --- which way ----------------------------------------------------------------------------------------------------------

CUTS = {
    "declared clean": ({"layer": "join"}, (PARTIAL, "")),
    "insisted on": ({"layer": {"name": "left", "allow_partial": True}}, (PARTIAL, "")),
    "sought in the graph": ({"layer": "end"}, (LEAN, "")),
    "popped": ({"pop": 1}, (LEAN, "")),
    "none": ("none", (LEAN, "")),
}


@pytest.mark.parametrize("case", CUTS)
def test_the_leanest_way_that_fits_is_taken(make: Make, case: str) -> None:
    truncate, way = CUTS[case]
    acme = make()
    full = acme.written()
    backbone = acme.create(truncate=truncate)
    assert built(backbone) == way
    assert_as_plain(backbone, full)
    ordinary = sum(int(np.prod(weight.shape)) for weight in full.weights)
    assert backbone.manifest["dropped"]["parameters"] == ordinary - backbone.model.count_params()


def test_nothing_is_drawn_behind_the_cut(make: Make) -> None:
    acme = make(
        """
        def build(*, input_shape):
            images = keras.Input(input_shape, name="images")
            x = layers.Conv2D(4, 3, name="stem")(images)
            if torso.__name__ == "torso" and __name__ != "acme_by_itself":
                raise SystemExit("the builder went on")
            return keras.Model(images, layers.Conv2D(4, 3, name="end")(x))
        """
    )
    full = acme.written()
    backbone = acme.create(truncate={"layer": "stem"})
    assert built(backbone) == (PARTIAL, "")
    assert_as_plain(backbone, full)
    with pytest.raises(PluginError, match="the builder went on"):
        acme.create(truncate={"layer": "end"})


@pytest.mark.parametrize("file", ["w.weights.h5", "w.keras"])
def test_where_a_file_tells_no_names_the_whole_network_is_drawn(make: Make, file: str) -> None:
    acme = make(file=file)
    full = acme.written()
    backbone = acme.create(truncate={"layer": "join"})
    why = "the weights file does not tell by names which of its arrays belong to a part of the network"
    assert built(backbone) == (LEAN, why)
    assert_as_plain(backbone, full)


LIAR = """
@torso.hookimpl
def torso_truncations():
    yield torso.Truncation(
        name="liar", doc="Foresees what it does not choose.", static_cut=lambda declared, options: [{foreseen!r}],
        select=lambda graph, options: {selected!r},
    )
"""


@pytest.mark.parametrize(
    ("foreseen", "why"),
    [("drop", "the strategy ends elsewhere than it foresaw"), ("absent", ""), ("stem", "the strategy needs to see")],
)
def test_a_strategy_that_foresees_wrongly_is_asked_again(make: Make, foreseen: str, why: str) -> None:
    acme = make(LIAR.format(foreseen=foreseen, selected="join" if foreseen != "stem" else "end"))
    full = acme.written()
    backbone = acme.create(truncate="acme/liar")
    assert built(backbone)[0] == LEAN
    assert built(backbone)[1].startswith(why)
    assert_as_plain(backbone, full)


def test_what_was_cut_off_is_counted_for_the_options_that_were_chosen(tmp_path: Path) -> None:
    with private.without_weights():
        full = keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=(32, 32, 3))
    save_listed(full, tmp_path / "w.h5")
    spec: dict[str, Any] = {"options": {"alpha": 0.25}, "input": {"size": [32, 32]}, "weights": {"file": tmp_path / "w.h5"}}
    backbone = torso.create_backbone("MobileNet", truncate={"layer": "conv_pw_3_relu"}, **spec)
    assert built(backbone)[0] == PARTIAL
    assert backbone.manifest["dropped"] == {
        "nodes": None,
        "parameters": full.count_params() - backbone.model.count_params(),
    }


def test_what_a_source_brings_is_hashed_before_it_is_read(make: Make) -> None:
    acme = make(
        """
        @torso.hookimpl
        def torso_weight_sources():
            yield torso.WeightSource(
                name="trusting", doc="Looks at no hash.", fetch=lambda options: Path(options["trusting"]),
                options=(torso.Option(name="trusting", type=str), torso.Option(name="sha256", type=str, default=None)),
            )

        from pathlib import Path
        """
    )
    acme.written()
    right = hash_of(acme.path)
    acme.create(weights={"trusting": str(acme.path), "sha256": right})
    with pytest.raises(IntegrityError, match="does not have the expected hash"):
        acme.create(weights={"trusting": str(acme.path), "sha256": right[::-1]})


def test_names_that_keras_counted_are_not_trusted(make: Make) -> None:
    acme = make(
        """
        def build(*, input_shape):
            images = keras.Input(input_shape, name="images")
            x = layers.Conv2D(3, 3, padding="same")(images)
            x = layers.Conv2D(3, 3, padding="same")(x)
            return keras.Model(images, layers.Conv2D(3, 3, name="stem")(x))
        """
    )
    full = acme.plain()  # its layers have other numbers than those that torso gives: by name they would be swapped
    acme.write(full)
    truncate = {"layer": {"name": "conv2d_1", "allow_partial": True}}
    backbone = acme.create(truncate=truncate)
    assert built(backbone)[0] == LEAN
    pixels = images(SHAPE)
    assert_same_and_meaningful(backbone.model(pixels), keras.Model(full.input, full.layers[2].output)(pixels))


STOPPED_AT_JOIN = {
    "a name inside a nested model is not the one outside": """
        def build(*, input_shape):
            images = keras.Input(input_shape, name="images")
            inner = keras.Sequential([layers.Conv2D(3, 3, padding="same", name="join")], name="inner")
            x = layers.Conv2D(3, 3, name="join")(inner(images))
            return keras.Model(images, layers.Conv2D(2, 3, name="end")(x))
        """,
    "a builder that goes on after errors": """
        def build(*, input_shape):
            try:
                return network(input_shape)
            except Exception:
                return "nothing"
        """,
    "a builder that swallows everything": """
        def build(*, input_shape):
            try:
                return network(input_shape)
            except BaseException:
                return "nothing"
        """,
}


@pytest.mark.parametrize("case", STOPPED_AT_JOIN)
def test_odd_builders_are_stopped_at_the_cut_or_given_what_they_want(make: Make, case: str) -> None:
    acme = make(STOPPED_AT_JOIN[case])
    full = acme.written()
    backbone = acme.create(truncate={"layer": "join"})
    assert (built(backbone) == (PARTIAL, "")) == ("swallows" not in case)
    assert_as_plain(backbone, full)


@pytest.mark.parametrize("case", ["another shape of left", "one layer more"])
@pytest.mark.parametrize("truncate", [{"layer": "join"}, "none"])
def test_a_file_of_nearly_the_same_network_is_refused_or_read_right(make: Make, case: str, truncate: Any) -> None:
    acme = make()
    inputs = keras.Input(SHAPE, name="images")
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
    kernel = 5 if case == "another shape of left" else 3
    y = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, kernel, padding="same", name="left")(x))
    x = keras.layers.Conv2D(6, 3, padding="same", name="end")(keras.layers.Add(name="join")([x, y]))
    if case == "one layer more":
        x = keras.layers.Conv2D(2, 1, name="extra")(x)
    near = keras.Model(inputs, x)
    randomize(near)
    acme.write(near)
    if case == "one layer more" and truncate != "none":
        assert_as_plain(acme.create(truncate=truncate), near)  # what is kept is there by name, whatever comes behind
        return
    with pytest.raises(IntegrityError, match="was written from another model"):
        acme.create(truncate=truncate)


def test_two_layers_that_are_swapped_in_the_file_are_told(make: Make) -> None:
    acme = make()
    acme.written()
    import h5py

    with h5py.File(acme.path, "a") as file:
        names = [name.decode() if isinstance(name, bytes) else name for name in file.attrs["layer_names"]]
        left, end = names.index("left"), names.index("end")
        names[left], names[end] = "end", "left"
        file.attrs["layer_names"] = names
    with pytest.raises(IntegrityError, match="layer 'end' of the file stands where 'left' belongs"):
        acme.create(truncate="none")


# --- builders that do not fit -------------------------------------------------------------------------------------------

TENSOR = """
class Scaled(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(1,), initializer="random_normal", name="factor")
        self.derived = {derived}

    def call(self, x):
        return x * self.factor

    def compute_output_shape(self, shape):
        return shape
"""
ODD = {
    "made by value": (
        """
        class Odd(layers.Layer):
            def build(self, shape):
                self.table = keras.Variable([1.0, 2.0, 3.0, 4.0], name="table")

            def call(self, x):
                return x * self.table

        def build(*, input_shape):
            model = network(input_shape)
            return keras.Model(model.input, Odd(name="odd")(model.get_layer("join").output))
        """,
        "the builder of 'acme/Net' failed: ValueError: You are attempting to create a variable",
    ),
    "values assigned": (
        """
        def build(*, input_shape):
            model = network(input_shape)
            model.get_layer("stem").set_weights([w * 0 + 0.5 for w in model.get_layer("stem").get_weights()])
            return model
        """,
        "the builder gives values to its weights itself",
    ),
    "a tensor kept": (
        TENSOR.format(derived="self.factor * 2.0") + "def build(*, input_shape):\n    model = network(input_shape)\n"
        "    return keras.Model(model.input, Scaled(name='odd')(model.output))\n",
        "layer 'odd' keeps 'derived', which it computed when it was made",
    ),
    "an array kept": (
        TENSOR.format(derived="self.factor.numpy()") + "def build(*, input_shape):\n    model = network(input_shape)\n"
        "    return keras.Model(model.input, Scaled(name='odd')(model.output))\n",
        "",  # whichever of the two is seen first
    ),
    "kept from before": (
        """
        kept = []

        def build(*, input_shape):
            if not kept:
                with keras.name_scope("before"):
                    kept.append(network(input_shape))
                [w.value for w in kept[0].weights]
            return kept[0]
        """,
        None,
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_a_builder_that_does_not_fit_is_run_as_its_author_wrote_it(make: Make, case: str) -> None:
    source, why = ODD[case]
    acme = make(source)
    full = acme.written()
    backbone = acme.create()
    if why is not None:
        assert built(backbone)[0] == EAGER
        assert built(backbone)[1].startswith(why)
    assert_as_plain(backbone, full)
    again = acme.create()
    assert_as_plain(again, full)


def test_values_that_a_builder_gives_are_kept_where_no_others_are_asked_for(make: Make) -> None:
    acme = make(ODD["values assigned"][0])
    backbone = acme.create(weights="none")
    assert built(backbone) == (EAGER, "the builder gives values to its weights itself")
    assert {float(value) for value in np.unique(backbone.model.get_layer("stem").kernel)} == {0.5}
    assert len(np.unique(backbone.model.get_layer("left").kernel)) > 9


def test_two_backbones_of_a_builder_that_keeps_its_network_are_strangers(make: Make) -> None:
    acme = make(
        """
        kept = []

        def build(*, input_shape):
            if not kept:
                kept.append(network(input_shape))
            return kept[0]
        """
    )
    one_values, other_values = acme.plain(1), None
    acme.write(one_values)
    one = acme.create(truncate={"pop": 1})
    before = [np.array(weight) for weight in one.model.weights]
    other_values = keras.models.clone_model(one_values)
    randomize(other_values, 2)
    acme.write(other_values)
    other = acme.create(truncate={"pop": 1}, freeze="none")
    assert built(one)[0] == LEAN
    assert built(other) == (EAGER, "the builder returns 'stem/kernel', which it made before")
    assert_as_plain(other, other_values)
    for weight, value in zip(one.model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert one.model.get_layer("drop").rate == 0.0
    assert other.model.get_layer("drop").rate == 0.5
    assert one.model.trainable_weights == []
    assert len(other.model.trainable_weights) == 6
    assert not {id(layer) for layer in one.model.layers} & {id(layer) for layer in other.model.layers}


# --- values -------------------------------------------------------------------------------------------------------------


def test_layers_that_compute_with_what_they_derive_from_their_weights(make: Make) -> None:
    acme = make(
        """
        def build(*, input_shape):
            images = keras.Input(input_shape, name="images")
            x = layers.Normalization(name="learned")(images)
            x = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0], name="given")(x)
            inner = keras.Sequential([keras.Input(input_shape), layers.Normalization(name="inside")], name="inner")
            return keras.Model(images, layers.Conv2D(3, 3, name="end")(inner(x)))
        """
    )
    full = acme.plain()
    inside = full.get_layer("inner").layers[0]
    inside.set_weights([np.full(3, 7, "f4"), np.full(3, 9, "f4"), np.array(1)])
    inside.finalize_state()
    acme.write(full)
    backbone = acme.create()
    assert built(backbone)[0] == LEAN
    assert_as_plain(backbone, full)


def test_random_generators_start_anew_and_draw(make: Make) -> None:
    acme = make()
    acme.written()
    trained = acme.create(freeze="none", truncate={"layer": "drop"})
    pixels = images(SHAPE)
    first, second = (np.asarray(trained.model(pixels, training=True)) for _ in range(2))
    assert (first != second).any()
    frozen = acme.create(truncate={"layer": "drop"})
    np.testing.assert_array_equal(frozen.model(pixels, training=True), frozen.model(pixels, training=False))


@pytest.mark.parametrize("freeze", ["all", "none"])
def test_no_value_is_random_where_there_is_a_file(make: Make, freeze: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make()
    full = acme.written()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a random value was drawn")

    for name in ("normal", "uniform", "truncated_normal"):
        monkeypatch.setattr(keras.random, name, refuse)
    for kind in (keras.initializers.GlorotUniform, keras.initializers.Ones, keras.initializers.Zeros):
        monkeypatch.setattr(kind, "__call__", refuse)
    backbone = acme.create(truncate={"layer": "join"}, freeze=freeze)
    monkeypatch.undo()
    assert built(backbone)[0] == PARTIAL
    assert_as_plain(backbone, full)


def test_a_weight_that_nothing_gives_a_value_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make()
    acme.written()
    rebuild = building.rebuild

    def forgetful(*args: Any, **kwargs: Any) -> Any:
        trunk, pairs = rebuild(*args, **kwargs)
        return trunk, pairs[:-1]

    monkeypatch.setattr(building, "share_layers", lambda *args, **kwargs: None)
    monkeypatch.setattr(building, "rebuild", forgetful)
    with pytest.raises(PluginError, match="'end/bias' is a weight of 'acme/Net' that would be left at random"):
        acme.create()


def test_without_a_file_the_initialisers_draw_for_what_is_kept_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make()
    shapes: list[tuple[int, ...]] = []
    draw = keras.initializers.GlorotUniform.__call__

    def watched(self: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
        shapes.append(tuple(shape))
        return draw(self, shape, dtype)

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", watched)
    backbone = acme.create(weights="none", truncate={"layer": "join"})
    assert sorted(shapes) == sorted(tuple(w.shape) for w in backbone.model.weights if w.name == "kernel")
    assert np.asarray(backbone.model.get_layer("stem").kernel).std() > 0


def test_what_is_left_of_a_network_without_values_is_not_computed_with(make: Make) -> None:
    acme = make("seen = []\n\ndef build(*, input_shape):\n    seen.append(network(input_shape))\n    return seen[-1]\n")
    acme.written()
    backbone = acme.create(truncate={"pop": 1})
    assert built(backbone)[0] == LEAN
    seen = importlib.import_module(backbone.manifest["plan"]["builder"].split(":")[0]).seen
    left = [weight for weight in seen[-1].weights if not has_value(weight)]
    assert [weight.path for weight in left] == ["end/kernel", "end/bias"]
    with pytest.raises(RuntimeError, match="'end/kernel' belongs to a network that torso built without values"):
        seen[-1](images(SHAPE))


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "float64"])
def test_other_types(make: Make, policy: str) -> None:
    acme = make()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        full = acme.written()
        backbone = acme.create(truncate={"layer": "join"})
        assert {weight.dtype for weight in backbone.model.weights} == {weight.dtype for weight in full.weights}
        assert_as_plain(backbone, full)
    finally:
        keras.config.set_dtype_policy(before)


def test_what_reads_back_otherwise_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make()
    acme.written()
    monkeypatch.setattr(loading, "give_value", lambda variable, value: private.give_value(variable, value * 2))
    with pytest.raises(IntegrityError, match=r"the value of 'stem/kernel' is not the one that was loaded"):
        acme.create()


@pytest.mark.parametrize(("value", "file"), [(np.nan, "w.h5"), (np.inf, "w.weights.h5"), (-np.inf, "w.keras")])
def test_values_that_are_not_finite_are_refused(make: Make, value: float, file: str) -> None:
    acme = make(file=file)
    full = acme.plain()
    full.get_layer("left").bias.assign([0, value, 0, 0])
    acme.write(full)
    with pytest.raises(IntegrityError, match=r"holds values of '.*' that are not finite"):
        acme.create()


def test_what_was_built_before_does_not_make_a_build_slower(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make("def build(*, input_shape):\n    return keras.Sequential([keras.Input(input_shape), layers.Conv2D(4, 3)])\n")
    monkeypatch.setattr(building, "rebuild", lambda *args, **kwargs: pytest.fail("made again, to change its names"))
    for _ in range(2):
        keras.layers.Conv2D(1, 1)  # Keras counts it
        assert acme.create(weights="none").model.layers[-1].name == "conv2d"


def test_a_type_that_would_lose_something_is_refused(make: Make) -> None:
    acme = make(file="w.weights.h5")
    full = acme.written()
    import h5py

    with h5py.File(acme.path, "a") as file:
        place = "layers/conv2d/vars/1"
        value = file[place][()].astype("f8")
        del file[place]
        file[place] = value
    assert_as_plain(acme.create(), full)  # the same numbers, only wider
    with h5py.File(acme.path, "a") as file:
        file[place][...] = value + 1e-12
    with pytest.raises(IntegrityError, match="as float64, and float32 loses some of it"):
        acme.create()


def test_the_name_scopes_of_a_builder_are_no_part_of_its_variables_paths(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = make(
        """
        def build(*, input_shape):
            images = keras.Input(input_shape, name="images")
            with keras.name_scope("block"):
                x = layers.Conv2D(4, 3, name="stem")(images)
                x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
            return keras.Model(images, layers.BatchNormalization(name="end")(x))
        """
    )
    full = acme.written()
    assert full.weights[0].path == "block/stem/kernel"
    shared = acme.create()
    monkeypatch.setattr(private, "leave_scopes", lambda model: False)
    anew = acme.create()
    assert_as_plain(shared, full)
    assert shared.model.weights[0].path == "stem/kernel"
    assert [weight.path for weight in shared.model.weights] == [weight.path for weight in anew.model.weights]
    assert [layer.path for layer in shared.model.layers] == [layer.path for layer in anew.model.layers]


# --- no trace -----------------------------------------------------------------------------------------------------------


def traces() -> dict[str, Any]:
    state = private._global_state
    return {
        "call": keras.Layer.__call__,
        "op": keras.Operation.symbolic_call,
        "load": keras.Model.load_weights,
        "pending": list(state.get_global_attribute(private._PENDING) or ()),
        "scope": state.get_global_attribute("stateless_scope"),
    }


def test_nothing_is_left_behind(make: Make) -> None:
    acme = make()
    before = traces()
    acme.written()
    acme.create(truncate={"layer": "join"})
    acme.create()
    acme.create(weights="none")
    first = keras.layers.Dense(1).name
    torso.read_graph("Net", registry=acme.registry)
    second = keras.layers.Dense(1).name
    assert int(second.rsplit("_", 1)[1]) == int(f"{first}_0".split("_")[1]) + 1  # Keras counts on as if nothing had been
    with pytest.raises(TorsoError):
        acme.create(weights={"file": acme.path.with_name("absent.h5")})
    save_listed(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), acme.path)
    with pytest.raises(IntegrityError):
        acme.create()
    assert traces() == before


@pytest.mark.parametrize("error", ["ZeroDivisionError", "KeyboardInterrupt", "SystemExit"])
def test_nothing_is_left_behind_by_a_builder_that_ends_in_the_middle(make: Make, error: str) -> None:
    acme = make(f"def build(*, input_shape):\n    network(input_shape)\n    raise {error}\n")
    before = traces()
    with pytest.raises(KeyboardInterrupt if error == "KeyboardInterrupt" else PluginError):
        acme.create(weights="none")
    assert traces() == before
    assert keras.layers.Dense(3)(keras.ops.ones((1, 4))).shape == (1, 3)


def test_a_layer_that_is_made_later_has_a_name_of_its_own(make: Make) -> None:
    acme = make(
        """
        def build(*, input_shape):
            images = keras.Input(input_shape, name="images")
            x = layers.Conv2D(4, 3)(layers.Conv2D(4, 3)(images))
            return keras.Model(images, layers.Activation("relu")(x + 1.0))
        """
    )
    backbone = acme.create(weights="none")
    assert [op.name for op in backbone.model.operations][1:] == ["conv2d_1", "conv2d", "add", "activation"]
    x = keras.layers.Activation("relu")(keras.layers.Conv2D(2, 1)(backbone.model.output) + 1.0)
    assert keras.Model(backbone.model.input, x).count_params() > backbone.model.count_params()


def test_a_network_drawn_for_its_graph_and_kept_gets_values_when_it_is_built(make: Make) -> None:
    acme = make(
        "kept = []\n\ndef build(*, input_shape):\n    kept or kept.append(network(input_shape))\n    return kept[0]\n"
    )
    full = acme.written()
    torso.read_graph("Net", registry=acme.registry)
    with pytest.raises(RuntimeError, match="belongs to a network that torso built without values"):
        importlib.import_module(acme.create().manifest["plan"]["builder"].split(":")[0]).kept[0](images(SHAPE))
    assert_as_plain(acme.create(), full)
    assert np.asarray(acme.create(weights="none").model.get_layer("left").kernel).std() > 0


def test_threads_build_side_by_side_and_disturb_nobody(make: Make) -> None:
    acme = make()
    full = acme.written()
    before = traces()

    def ordinary() -> None:
        for _ in range(20):
            model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)])
            assert np.isfinite(model(np.ones((1, 4, 4, 3)))).all()
        assert all(has_value(weight) for weight in model.weights)

    with ThreadPoolExecutor(4) as pool:
        specs: list[dict[str, Any]] = [{"truncate": {"layer": "join"}}, {}, {"weights": "none"}]
        backbones = [pool.submit(acme.create, **spec) for spec in specs]
        pool.submit(ordinary).result()
    for backbone in backbones[:2]:
        assert_as_plain(backbone.result(), full)
    assert built(backbones[2].result())[0] == LEAN
    assert traces() == before


# --- where Keras has moved its private names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "moved", "way"),
    [
        ("_global_state", None, EAGER),
        ("can_draw_lean", lambda: False, EAGER),
        ("leave_scopes", lambda model: False, LEAN),
    ],
)
@pytest.mark.parametrize("file", ["w.h5", "w.weights.h5"])
def test_without_a_private_name_the_public_way_gives_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, moved: Any, way: str, file: str
) -> None:
    acme = make(file=file)
    full = acme.written()
    for module in (private, drawing, building):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, moved)
    backbone = acme.create(truncate={"pop": 1})
    assert built(backbone)[0] == way
    assert_as_plain(backbone, full)


def test_a_backbone_is_not_built_inside_a_graph(make: Make) -> None:
    acme, fact = make(), r"cannot be built inside a tf\.function or a graph"
    with tf.Graph().as_default(), pytest.raises(OptionError, match=fact):
        acme.create(weights="none")


# --- the graph of the trunk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "truncate", ["none", {"layer": "join"}, {"pop": 2}, {"layers": ["join", "end"]}, {"layers": ["end", "stem"]}]
)
def test_the_graph_is_that_which_is_read_off_the_trunk(make: Make, truncate: Any) -> None:
    backbone = make().create(weights="none", truncate=truncate)
    read = read_graph(backbone.model, "Net")
    assert backbone.graph.nodes == read.nodes
    assert backbone.graph.ends == read.ends
