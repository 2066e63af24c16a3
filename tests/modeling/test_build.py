"""From a plan to a frozen model: the build modes, when torso leaves one for the next, and what plugins do in between."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import assert_same_and_meaningful, images, randomize, save_listed
from provider import SHAPE, Acme, assert_as_plain, built, told

import torso
from torso.api import build
from torso.errors import IntegrityError, OptionError, PluginError, TorsoError
from torso.modeling import build as building, draw as drawing, keras_private as private
from torso.modeling.draw import EAGER, LEAN, PARTIAL

Make = Callable[..., Acme]


def failure(act: Callable[[], Any]) -> str:
    with pytest.raises(PluginError) as caught:
        act()
    return told(caught.value)


# --- build modes --------------------------------------------------------------------------------------------------------

NO_NAMES = "the names in the weights file do not say which arrays belong to the part before the cut"
CUTS: dict[str, tuple[str, Any, tuple[str, str]]] = {
    "declared clean": ("w.h5", {"layer": "join"}, (PARTIAL, "")),
    "insisted on": ("w.h5", {"layer": {"name": "left", "allow_partial": True}}, (PARTIAL, "")),
    "sought in the graph": ("w.h5", {"layer": "end"}, (LEAN, "")),
    "popped": ("w.h5", {"pop": 1}, (LEAN, "")),
    "none": ("w.h5", "none", (LEAN, "")),
    "newer format": ("w.weights.h5", {"layer": "join"}, (LEAN, NO_NAMES)),
    "archive": ("w.keras", {"layer": "join"}, (LEAN, NO_NAMES)),
}


@pytest.mark.parametrize(("file", "truncate", "way"), CUTS.values(), ids=CUTS)
def test_the_leanest_way_that_fits_is_taken(make: Make, file: str, truncate: Any, way: tuple[str, str]) -> None:
    acme = make(file=file)
    full = acme.written()
    backbone = acme.create(truncate=truncate)
    assert built(backbone) == way
    assert_as_plain(backbone, full)
    assert backbone.manifest["dropped"]["parameters"] == full.count_params() - backbone.model.count_params()


def test_nothing_is_drawn_after_the_cut(make: Make) -> None:
    acme = make(
        """
        def build(*, input_shape):
            images = keras.Input(input_shape, name="images")
            x = layers.Conv2D(4, 3, name="stem")(images)
            if __name__ != "acme_by_itself":
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
    [
        ("drop", "the strategy selected a different node"),
        ("absent", ""),
        ("stem", "the strategy needs to see"),
    ],
)
def test_a_strategy_that_foresees_wrongly_is_asked_again(make: Make, foreseen: str, why: str) -> None:
    acme = make(LIAR.format(foreseen=foreseen, selected="join" if foreseen != "stem" else "end"))
    full = acme.written()
    backbone = acme.create(truncate="acme/liar")
    assert built(backbone)[0] == LEAN
    assert built(backbone)[1].startswith(why)
    assert_as_plain(backbone, full)


def test_names_that_keras_counted_are_not_trusted(make: Make) -> None:
    acme = make(
        body="x = layers.Conv2D(3, 3, padding='same')(images)\n    x = layers.Conv2D(3, 3, padding='same')(x)\n"
        "    return keras.Model(images, layers.Conv2D(3, 3, name='stem')(x))"
    )
    keras.layers.Conv2D(1, 1)
    full = acme.plain()  # its layers have other numbers than those that torso gives: by name they would be swapped
    acme.write(full)
    backbone = acme.create(truncate={"layer": {"name": "conv2d_1", "allow_partial": True}})
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
}


@pytest.mark.parametrize("source", STOPPED_AT_JOIN.values(), ids=STOPPED_AT_JOIN)
def test_odd_builders_are_stopped_at_the_cut(make: Make, source: str) -> None:
    acme = make(source)
    full = acme.written()
    backbone = acme.create(truncate={"layer": "join"})
    assert built(backbone) == (PARTIAL, "")
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
        assert_as_plain(acme.create(truncate=truncate), near)  # what is kept is there by name, whatever comes after
        return
    expected = pytest.warns(UserWarning, match="has 2 arrays of 'extra' left over")
    if case != "one layer more":
        expected = pytest.raises(IntegrityError, match="was written from a different model")
    with expected:
        assert_as_plain(acme.create(truncate=truncate), near)


def test_two_layers_that_are_swapped_in_the_file_are_told(make: Make) -> None:
    acme = make()
    acme.written()
    with h5py.File(acme.path, "a") as file:
        names = [name.decode() if isinstance(name, bytes) else name for name in file.attrs["layer_names"]]
        left, end = names.index("left"), names.index("end")
        names[left], names[end] = "end", "left"
        file.attrs["layer_names"] = names
    with pytest.raises(IntegrityError, match="the file has layers in another order: 'stem', 'end', 'left'"):
        acme.create(truncate="none")


EAGER_ONLY = {
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
        "the builder sets the values of its weights itself",
    ),
    "a tensor kept": (
        """
        class Scaled(layers.Layer):
            def build(self, shape):
                self.factor = self.add_weight(shape=(1,), initializer="random_normal", name="factor")
                self.derived = self.factor * 2.0

            def call(self, x):
                return x * self.factor

            def compute_output_shape(self, shape):
                return shape

        def build(*, input_shape):
            model = network(input_shape)
            return keras.Model(model.input, Scaled(name="odd")(model.output))
        """,
        "layer 'odd' stores 'derived', an array that it computed when it was created",
    ),
}


@pytest.mark.parametrize(("source", "why"), EAGER_ONLY.values(), ids=EAGER_ONLY)
def test_a_builder_that_does_not_fit_is_run_as_its_author_wrote_it(make: Make, source: str, why: str) -> None:
    acme = make(source)
    full = acme.written()
    for _ in range(2):
        backbone = acme.create()
        assert built(backbone)[0] == EAGER
        assert built(backbone)[1].startswith(why)
        assert_as_plain(backbone, full)
    if why.startswith("the builder sets"):
        drawn = acme.create(weights="none").model
        assert {float(value) for value in np.unique(drawn.get_layer("stem").kernel)} == {0.5}
        assert len(np.unique(drawn.get_layer("left").kernel)) > 9


def test_a_builder_that_keeps_its_network_is_refused_once_that_has_values(make: Make) -> None:
    acme = make("import functools\n\n@functools.cache\ndef build(*, input_shape):\n    return network(input_shape)\n")
    full = acme.written()
    acme.graph()
    assert_as_plain(acme.create(), full)
    assert failure(acme.create) == (
        "the builder of 'acme/Net' returned 'stem/kernel', which an earlier call of it had made\n"
        "  fix: let it make new layers in each call"
    )


# --- values -------------------------------------------------------------------------------------------------------------


def test_layers_that_compute_with_what_they_derive_from_their_weights(make: Make) -> None:
    acme = make(
        body="""x = layers.Normalization(name="learned")(images)
    x = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0], name="given")(x)
    inner = keras.Sequential([keras.Input(input_shape), layers.Normalization(name="inside")], name="inner")
    return keras.Model(images, layers.Conv2D(3, 3, name="end")(inner(x)))"""
    )
    full = acme.plain()
    inside = full.get_layer("inner").layers[0]
    inside.set_weights([np.full(3, 7, "f4"), np.full(3, 9, "f4"), np.array(1)])
    inside.finalize_state()
    acme.write(full)
    backbone = acme.create()
    assert built(backbone)[0] == LEAN
    assert_as_plain(backbone, full)


def test_no_value_is_random_where_there_is_a_file(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make()
    full = acme.written()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a random value was drawn")

    for name in ("normal", "uniform", "truncated_normal"):
        monkeypatch.setattr(keras.random, name, refuse)
    for kind in (keras.initializers.GlorotUniform, keras.initializers.Ones, keras.initializers.Zeros):
        monkeypatch.setattr(kind, "__call__", refuse)
    backbone = acme.create(truncate={"layer": "join"})
    monkeypatch.undo()
    assert_as_plain(backbone, full)


def test_without_a_file_the_initialisers_draw_for_what_is_kept_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make()
    shapes: list[tuple[int, ...]] = []
    draw = keras.initializers.GlorotUniform.__call__

    def watched(self: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
        shapes.append(tuple(shape))
        return draw(self, shape, dtype)

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", watched)
    backbone = acme.create(truncate={"layer": "join"})
    assert sorted(shapes) == sorted(tuple(w.shape) for w in backbone.model.weights if w.name == "kernel")
    assert np.asarray(backbone.model.get_layer("stem").kernel).std() > 0


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


def test_a_type_that_would_lose_something_is_refused(make: Make) -> None:
    acme = make(file="w.weights.h5")
    full = acme.written()
    with h5py.File(acme.path, "a") as file:
        place = "layers/conv2d/vars/1"
        value = file[place][()].astype("f8")
        del file[place]
        file[place] = value
    with pytest.warns(UserWarning, match="holds float64 for variables of float32"):
        assert_as_plain(acme.create(), full)  # the same numbers, only wider
    with h5py.File(acme.path, "a") as file:
        file[place][...] = value + 1e-12
    with pytest.raises(IntegrityError, match="as float64, and float32 loses some of it"):
        acme.create()


def test_the_name_scopes_of_a_builder_are_no_part_of_its_variables_paths(make: Make) -> None:
    acme = make(
        body="""with keras.name_scope("block"):
        x = layers.Conv2D(4, 3, name="stem")(images)
        x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    return keras.Model(images, layers.BatchNormalization(name="end")(x))"""
    )
    full = acme.written()
    assert full.weights[0].path == "block/stem/kernel"
    backbone = acme.create()
    assert_as_plain(backbone, full)
    paths = [weight.path for weight in backbone.model.weights]
    assert (paths[0], paths[2], paths[-1]) == ("stem/kernel", "attention/query/kernel", "end/moving_variance")
    assert not any("block" in path for path in paths)


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
    acme.graph()
    second = keras.layers.Dense(1).name
    assert int(second.rsplit("_", 1)[1]) == int(f"{first}_0".split("_")[1]) + 1  # Keras counts on as if nothing had been
    with pytest.raises(TorsoError):
        acme.create(weights={"file": acme.path.with_name("absent.h5")})
    save_listed(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), acme.path)
    with pytest.raises(IntegrityError):
        acme.create()
    assert traces() == before


@pytest.mark.parametrize("error", ["ZeroDivisionError", "KeyboardInterrupt", "GeneratorExit", "SystemExit"])
def test_nothing_is_left_behind_by_a_builder_that_ends_in_the_middle(make: Make, error: str) -> None:
    acme = make(f"def build(*, input_shape):\n    network(input_shape)\n    raise {error}\n")
    before = traces()
    with pytest.raises(PluginError, match=error):
        acme.create()
    assert traces() == before
    assert keras.layers.Dense(3)(keras.ops.ones((1, 4))).shape == (1, 3)


def test_a_layer_that_is_made_later_has_a_name_of_its_own(make: Make) -> None:
    body = "return keras.Model(images, layers.Activation('relu')(layers.Conv2D(4, 3)(layers.Conv2D(4, 3)(images)) + 1.0))"
    backbone = make(body=body).create()
    assert [op.name for op in backbone.model.operations][1:] == ["conv2d_1", "conv2d", "add", "activation"]
    x = keras.layers.Activation("relu")(keras.layers.Conv2D(2, 1)(backbone.model.output) + 1.0)
    assert keras.Model(backbone.model.input, x).count_params() > backbone.model.count_params()


def test_threads_build_side_by_side_and_disturb_nobody(make: Make) -> None:
    acme = make()
    full = acme.written()
    before = traces()

    def ordinary() -> None:
        for _ in range(20):
            model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)])
            assert np.isfinite(model(np.ones((1, 4, 4, 3)))).all()

    with ThreadPoolExecutor(4) as pool:
        specs: list[dict[str, Any]] = [{"truncate": {"layer": "join"}}, {}, {"weights": "none"}]
        backbones = [pool.submit(acme.create, **spec) for spec in specs]
        pool.submit(ordinary).result()
    for backbone in backbones[:2]:
        assert_as_plain(backbone.result(), full)
    assert built(backbones[2].result())[0] == LEAN
    assert traces() == before


@pytest.mark.parametrize(
    ("name", "moved", "way"),
    [
        ("_global_state", None, EAGER),
        ("can_draw_lean", lambda: False, EAGER),
        ("has_scopes", lambda model: True, LEAN),
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


# --- random values that are the same everywhere -------------------------------------------------------------------------

SEEDED = """
x = layers.Conv2D(4, 3, kernel_initializer="he_normal", name="stem")(images)
x = layers.Dropout(0.5, name="drop")(layers.Conv2D(4, 3, kernel_initializer=keras.initializers.Orthogonal(), name="two")(x))
return keras.Model(images, layers.Conv2D(6, 1, name="end")(x))""".strip().replace("\n", "\n    ")


def bits(model: keras.Model) -> dict[str, bytes]:
    return {re.sub("_[0-9]+/", "/", variable.path): np.asarray(variable).tobytes() for variable in model.variables}


MOVED = {"": None, "has_scopes": lambda model: True, "can_draw_lean": lambda: False}  # names of Keras


@pytest.mark.parametrize("moved", MOVED)
def test_a_seed_gives_the_same_bits_in_every_mode_and_up_to_every_cut(
    make: Make, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    """They are those of Keras after ``set_random_seed``; nothing of the user's own random numbers is drawn or set."""
    acme = make(body=SEEDED)
    for module in (private, drawing) if moved else ():
        monkeypatch.setattr(module, moved, MOVED[moved], raising=False)
    random.seed(1)
    before = random.getstate()
    seeded = {seed: bits(acme.create(weights={"none": {"seed": seed}}).model) for seed in (7, 8)}
    assert random.getstate() == before
    assert seeded[7] == bits(acme.create(weights={"none": {"seed": 7}}).model) != seeded[8]
    part = bits(acme.create(weights={"none": {"seed": 7}}, truncate={"layer": "two"}).model)
    assert part.items() <= seeded[7].items()
    monkeypatch.undo()
    keras.utils.set_random_seed(7)
    plain = bits(acme.plain(seed=None))
    assert {path: value for path, value in seeded[7].items() if "seed" not in path}.items() <= plain.items()
    digest = hashlib.sha256(b"".join(seeded[7][f"{name}/kernel"] for name in ("stem", "two", "end"))).hexdigest()
    known = {("3.15.1", "2.21.0"): "19d4280153e4f5a57d9f0949646fabd7b71e37bdf2564a7b549b6b1b84805502"}
    assert digest == known.get((keras.version(), tf.__version__), digest)


@pytest.mark.parametrize("drawn", ["np.random.normal(size=shape)", "keras.random.normal(shape)"])
def test_what_no_seed_reaches_is_refused(make: Make, drawn: str) -> None:
    acme = make(
        f"""
        import numpy as np

        class Own(keras.initializers.Initializer):
            def __call__(self, shape, dtype=None):
                return {drawn}
        """,
        body="return keras.Model(images, layers.Conv2D(4, 3, kernel_initializer=Own(), name='stem')(images))",
    )
    acme.create()
    with pytest.raises(OptionError) as caught:
        acme.create(weights={"none": {"seed": 7}})
    fact = "'stem/kernel' has a different value at each build, whatever the seed: what draws it is not Keras' own"
    assert str(caught.value) == f"{fact} (argument weights)\n  fix: leave the seed out, or name a weights file"


# --- the graph ----------------------------------------------------------------------------------------------------------


def test_a_graph_is_read_off_a_model_without_values(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    kept = "x = layers.Conv2D(2, 3, name='conv')(images)\n    model = keras.Model(images, x)\n    "
    graph = make(body=f"{kept}print(model.weights[0]._value is not None)\n    return model").graph()
    assert capsys.readouterr().out.startswith("False\n")
    assert [(node.name, node.parameters) for node in graph] == [("images", 0), ("conv", 3 * 3 * 3 * 2 + 2)]
    assigned = make(body=f"{kept}model.weights[0].assign(model.weights[0].numpy() * 2)\n    return model")
    assert assigned.graph().nodes == graph.nodes
    assert assigned.create().graph.nodes[1:] == (replace(graph.nodes[1], inputs=("Net_input",)),)


def test_a_level_that_is_declared_by_a_counted_name_holds_with_default_options_only(make: Make) -> None:
    acme = make(
        body="x = images\n    for _ in range(depth - 1):\n        x = layers.Conv2D(2, 3, padding='same')(x)\n"
        "    return keras.Model(images, layers.ReLU()(layers.Conv2D(4, 3, strides=2, padding='same')(x)))",
        options=", depth=1",
        more='levels={"C1": "conv2d"}, options=(torso.Option(name="depth", type=int, default=1),),',
    )
    assert dict(acme.graph().levels) == {"C1": "conv2d"}
    assert dict(acme.graph(options={"depth": 3}).levels) == {"C1": "re_lu"}
    assert len(acme.create(options={"depth": 3}).graph) == 5  # as many as the options of the spec say


# --- whose fault it is --------------------------------------------------------------------------------------------------

ONE_INPUT = "\n  fix: let it return a keras.Model with one input, of its input_shape"
BLAMED = {
    "1 / 0": "failed: ZeroDivisionError: division by zero",
    "exit('no more')": "failed: SystemExit: no more",
    "images": f"returned KerasTensor, no model{ONE_INPUT}",
    "keras.Model(a := keras.Input((None, None, 3)), layers.Conv2D(1, 1)(a))": (
        f"returned a model with the inputs [(None, None, 3)], not [(16, 16, 3)]{ONE_INPUT}"
    ),
    "[y := keras.Input((16, 16, 3)), keras.Model([images, y], layers.Add()([images, y]))][1]": (
        f"returned a model with the inputs [(16, 16, 3), (16, 16, 3)], not [(16, 16, 3)]{ONE_INPUT}"
    ),
}


@pytest.mark.parametrize("returned", BLAMED)
def test_a_builder_that_fails_or_returns_something_else_is_named(make: Make, returned: str) -> None:
    acme = make(body=f"return {returned}")
    assert failure(acme.create) == failure(acme.graph) == f"the builder of 'acme/Net' {BLAMED[returned]}"


def test_a_builder_loads_no_weights_by_itself_where_the_spec_names_some(make: Make) -> None:
    full = make().written()
    acme = make(body="model = network(input_shape)\n    model.load_weights('no.weights.h5')\n    return model")
    assert_as_plain(acme.create(), full)
    with pytest.raises(PluginError, match=r"the builder of 'acme/Net' failed: FileNotFoundError: .*'no\.weights\.h5'"):
        acme.create(weights="none")


NO_CUT = """that is no cut of Net
  fix: return a node name, or a dict {output name: node name}"""
HOOKS = """
@torso.hookimpl
def torso_truncations():
    yield torso.Truncation(name="mine", doc="", select=lambda graph, options: TRUNCATE)

@torso.hookimpl
def torso_freeze_policies():
    yield torso.FreezePolicy(name="mine", doc="", select=lambda graph, options: FREEZE)
"""


@pytest.mark.parametrize(
    ("key", "selected", "fact"),
    [
        *(("truncate", given, f"returned {given}, and {NO_CUT}")
          for given in ("'conv7'", "None", "{}", "{'a': 'end', 'b': 'end'}", "{1: 'stem'}")),
        ("truncate", "type('Own', (), {'__eq__': lambda *both: 1 / 0})()",
         "failed: ZeroDivisionError: division by zero (argument truncate)"),
        ("truncate", "1 / 0", "failed: ZeroDivisionError: division by zero (argument truncate)"),
        ("freeze", "['stem']", "returned list, not a FreezePlan (argument freeze)"),
        ("freeze", "torso.FreezePlan(weights=frozenset({'steam'}))",
         "selected 'steam', which is not in the truncated model (argument freeze)\n  did you mean: 'stem'"),
        ("freeze", "graph.nodes[9]", "failed: IndexError: tuple index out of range (argument freeze)"),
        *(("freeze", f"torso.FreezePlan({what})", f"{fact} (argument freeze)") for what, fact in (
            ("adapt={'stem'}", "lets 'stem' adapt, which is no BatchNormalization"),
            ("norm={'stem'}", "freezes the norm 'stem', which is no BatchNormalization"),
            ("stochastic=False", "set stochastic to False, not to 'off' or 'on'"),
        )),
    ],
)  # fmt: skip
def test_a_strategy_or_policy_that_fails_is_blamed(make: Make, key: str, selected: str, fact: str) -> None:
    acme = make(HOOKS.replace(key.upper(), selected))
    kind = {"truncate": "truncation strategy", "freeze": "freeze policy"}[key]
    assert failure(lambda: acme.create(**{key: "mine"})) == f"{kind} 'acme/mine' {fact}"


def test_channels_first_is_refused(make: Make) -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(torso.OptionError) as caught:
            make().create()
    finally:
        keras.config.set_image_data_format("channels_last")
    assert str(caught.value) == (
        "Keras is set to channels_first, and torso builds for images (N, H, W, C)\n"
        "  fix: call keras.config.set_image_data_format('channels_last')"
    )


def test_a_backbone_is_not_built_inside_a_graph(make: Make) -> None:
    fact = r"cannot be built inside a tf\.function or a graph"
    with tf.Graph().as_default(), pytest.raises(torso.OptionError, match=fact):
        make().create(weights="none")


def test_a_weight_that_nothing_gives_a_value_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make()
    acme.written()
    rebuild = building.rebuild

    def forgetful(*args: Any, **kwargs: Any) -> Any:
        model, pairs = rebuild(*args, **kwargs)
        return model, pairs[:-1]

    monkeypatch.setattr(building, "share_layers", lambda *args, **kwargs: None)
    monkeypatch.setattr(building, "rebuild", forgetful)
    assert failure(acme.create) == "'end/bias' is a weight of 'acme/Net' that would be left at random (argument weights)"


# --- hooks --------------------------------------------------------------------------------------------------------------


def test_the_steps_and_the_finished_backbone_are_told(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    acme = make("@torso.hookimpl\ndef torso_backbone_built(backbone):\n    print(backbone.name, backbone.model.trainable)\n")
    steps: list[str] = []
    build(torso.plan("Net", weights="none", name="edge", registry=acme.registry), acme.registry, progress=steps.append)
    assert steps == ["building Net", "cutting at end", "freezing"]
    assert capsys.readouterr().out == "edge False\n"


BEFORE = """
@torso.hookimpl
def torso_before_freeze(model, plan):
    return {0}
"""


def test_before_freeze_comes_between_the_cut_and_the_freeze(make: Make) -> None:
    acme = make(BEFORE.replace("{0}", "keras.Model(model.input, layers.Conv2D(5, 1)(model.output))"))
    for _ in range(2):  # the name of what the plugin adds does not drift either
        backbone = acme.create(truncate={"layer": "join"})
        names = ["Net_input", "stem", "left", "norm", "join", "conv2d"]
        assert [node.name for node in backbone.graph] == [layer.name for layer in backbone.model.layers] == names
        assert backbone.model.trainable_weights == []
        assert backbone.features[0].channels == 5
    assert dict(acme.create().graph.levels) == {"C1": "end"}  # where it was


def test_names_stay_where_the_layers_that_they_were_counted_after_are_gone(make: Make) -> None:
    body = """a = keras.Input(input_shape)
    both = layers.Add(name="add")([layers.Conv2D(4, 1)(a), layers.Conv2D(4, 3, padding="same")(a)])
    return keras.Model(images, keras.Model(a, both, name="inner")(images))"""
    hook = BEFORE.replace("{0}", "keras.Model(model.input, layers.ReLU(name='more')(model.output))")
    backbone = make(hook, body=body).create(truncate={"layer": {"name": "inner/conv2d_1", "allow_partial": True}})
    assert [node.name for node in backbone.graph] == ["Net_input", "inner/conv2d_1", "more"]
    assert backbone.model.get_layer("inner").layers[-1].name == "conv2d_1"


def test_before_freeze_may_leave_the_model_or_return_another_and_nothing_else(make: Make) -> None:
    assert make(BEFORE.replace("{0}", "None")).create().graph.end.name == "end"
    for wrong, what in (
        ("model.output", "KerasTensor with inputs []"),
        ("keras.Sequential([layers.ReLU()])", "Sequential with inputs []"),
        ("(lambda x: keras.Model(x, x + 1))(keras.Input((8, 8, 1)))", "Functional with inputs [(None, 8, 8, 1)]"),
    ):
        assert failure(make(BEFORE.replace("{0}", wrong)).create) == (
            f"hook 'torso_before_freeze' failed: TypeError: it returned {what}, not a keras.Model with [(None, 16, 16, 3)]"
        )


@pytest.mark.parametrize("change", ["model.trainable = True", "unfreeze()", "model.layers[-2].rate = 0.5", "record = None"])
def test_an_observer_that_changes_what_was_built_is_blamed(make: Make, change: str) -> None:
    acme = make(f"@torso.hookimpl\ndef torso_backbone_built(backbone):\n    backbone.{change}\n")
    assert failure(acme.create) == "hook 'torso_backbone_built' changed the backbone, or what trains in it"


def test_a_declared_level_that_the_network_contradicts_is_the_plugins_error(make: Make) -> None:
    for level, node in ("C2", "stem"), ("C1", "x"):
        acme = make(more=f"levels={ {level: node} }")
        for act in acme.create, acme.graph:
            assert f" failed: ValueError: level {level} is declared to be {node!r}, whose stride is " in failure(act)


def test_a_plugin_may_give_the_truncated_model_several_outputs(make: Make) -> None:
    outputs = "keras.Model(model.input, {'deep': model.output, 'wide': model.get_layer('stem').output})"
    backbone = make(BEFORE.replace("{0}", outputs)).create()
    assert [(feature.name, feature.node) for feature in backbone.features] == [("deep", "end"), ("wide", "stem")]
    assert list(backbone.model(images(SHAPE))) == ["deep", "wide"]
    assert not backbone.model.trainable_weights
