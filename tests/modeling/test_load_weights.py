from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from networks import randomize, save_listed

from torso.errors import IntegrityError
from torso.modeling import load_weights as loading
from torso.modeling.keras_private import give_value
from torso.modeling.truncate import derive
from torso.weights_files import open_weights


def fill(model: keras.Model, path: Path) -> int:
    """Give every weight of a model its value from a file; how many there are."""
    with open_weights(path) as stored:
        try:
            matched = loading.match(model, stored)
        except loading.OtherWidth as other:
            raise other.error from other
        assert matched is not None
        for weight in model.weights:
            give_value(weight, loading.read_value(matched.arrays[id(weight)], weight, path))
    derive(model)
    return len(matched.arrays)


Saver = Callable[[keras.Model, Path], None]


def save_grouped(model: keras.Model, path: Path) -> None:
    model.save_weights(path)


FORMATS = [pytest.param(save_grouped, "w.weights.h5", id="grouped"), pytest.param(save_listed, "w.h5", id="listed")]
each_format = pytest.mark.parametrize(("save", "name"), FORMATS)


@pytest.fixture
def normalised() -> keras.Model:
    """Everything that is easily got wrong: derived values, a nested model, statistics, a random generator."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Normalization()(inputs)
    x = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.LayerNormalization()])(x)
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.Conv2D(5, 1)(x))
    randomize(model)
    return model


@each_format
def test_fill_gives_a_copy_the_same_features(normalised: keras.Model, tmp_path: Path, save: Saver, name: str) -> None:
    save(normalised, tmp_path / name)
    copy = keras.models.clone_model(normalised)
    pixels = np.random.default_rng(3).uniform(0, 9, (2, 8, 8, 3)).astype("float32")
    assert not np.array_equal(copy(pixels), normalised(pixels))
    assert fill(copy, tmp_path / name) == len(normalised.weights)
    np.testing.assert_array_equal(copy(pixels), normalised(pixels))


@each_format
def test_fill_refuses_the_file_of_another_model(residual: keras.Model, tmp_path: Path, save: Saver, name: str) -> None:
    inputs = keras.Input((8, 8, 3))
    save(keras.Model(inputs, keras.layers.Conv2D(7, 3, name="other")(inputs)), tmp_path / name)
    with pytest.raises(IntegrityError) as caught:
        fill(residual, tmp_path / name)
    assert str(caught.value) == (
        f"the weights file '{tmp_path / name}' was written from a different model\n"
        "  cause: none of the 4 layers is in the file by name; it has 'other'"
    )


@each_format
def test_fill_refuses_the_file_of_another_width(tmp_path: Path, save: Saver, name: str) -> None:
    def model(width: int) -> keras.Model:
        inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, keras.layers.Conv2D(width, 1, name="wide")(inputs))

    save(model(2), tmp_path / name)
    with pytest.raises(IntegrityError) as caught:
        fill(model(3), tmp_path / name)
    assert "was written from a different model" in str(caught.value)
    assert "(1, 1, 3, 2)" in str(caught.value)
    assert "(1, 1, 3, 3)" in str(caught.value)


def test_values_that_have_no_place_are_reported(residual: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "w.weights.h5"
    residual.save_weights(path)
    with h5py.File(path, "a") as file:
        file["layers/dense/vars/0"] = np.zeros(3)
    with pytest.warns(UserWarning, match="has 1 array of 'dense' left over$"):
        assert fill(residual, path) == len(residual.weights)


def test_fill_reads_the_newer_format_under_the_older_name(residual: keras.Model, tmp_path: Path) -> None:
    residual.save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "w.weights.h5").rename(tmp_path / "w.h5")
    copy = keras.models.clone_model(residual)
    assert fill(copy, tmp_path / "w.h5") == len(residual.weights)
    np.testing.assert_array_equal(copy.layers[-1].kernel, residual.layers[-1].kernel)


def test_fill_reads_a_list_of_layers_that_is_stored_in_parts(tmp_path: Path) -> None:
    inputs = x = keras.Input((1,))
    for index in range(300):  # an attribute of HDF5 holds 64 kB
        x = keras.layers.Rescaling(1.0, name=f"{'a_rather_long_name_for_one_layer_' * 7}{index}")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="end")(x))
    randomize(model)
    save_listed(model, tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert "layer_names1" in file.attrs
    copy = keras.models.clone_model(model)
    assert fill(copy, tmp_path / "w.h5") == 2
    np.testing.assert_array_equal(copy.layers[-1].kernel, model.layers[-1].kernel)


# --- a .keras archive also says what its network computes ---------------------------------------------------------------


def activated(last: object = None, **more: object) -> keras.Model:
    """A network with layers of every kind of name; ``more`` changes what no weight and no shape tells."""
    keras.layers.ReLU()  # Keras counts on
    inputs = keras.Input((more.get("size", 8), 8, 3))
    x = keras.layers.Conv2D(4, 3, activation=more.get("activation", "relu"), name="stem")(inputs)
    x = keras.layers.BatchNormalization(epsilon=more.get("epsilon", 1e-3), momentum=more.get("momentum", 0.9))(x)
    x = keras.layers.ReLU(more.get("top", 6))(x) * more.get("factor", 2.0)
    x = keras.layers.Dropout(more.get("rate", 0.5), name="drop")(x)
    return keras.Model(inputs, x if last is None else last(x))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation": "swish"}, "activation of 'stem' is silu in the file, and relu in the model"),
        ({"epsilon": 1e-5}, "epsilon of 'batch_normalization' is 1e-05 in the file, and 0.001 in the model"),
        ({"top": None}, "max_value of 're_lu' is false in the file, and 6 in the model"),
        ({"factor": 3.0}, "arguments of 'multiply' is"),
    ],
)
def test_an_archive_of_other_arithmetic_is_refused_by_layer_and_setting(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    activated(**change).save(tmp_path / "w.keras")
    with pytest.raises(IntegrityError, match="was written from a different model") as caught:
        fill(activated(), tmp_path / "w.keras")
    assert said in str(caught.value)


def test_what_no_value_depends_on_may_differ_in_an_archive(tmp_path: Path) -> None:
    model = activated(keras.layers.ReLU(1), rate=0.0, momentum=0.5, size=16)  # another ReLU: Keras counts otherwise
    model.trainable = False
    model.save(tmp_path / "w.keras")
    assert fill(activated(), tmp_path / "w.keras") == len(model.weights)


def branches(*order: str, nested: bool = False) -> keras.Model:
    """Two convolutions of equal shape; the first is subtracted from."""
    inputs = keras.Input((8, 8, 3))
    one, other = (keras.layers.Conv2D(4, 3, name=name)(inputs) for name in order)
    model = keras.Model(inputs, keras.layers.Subtract()([one, other]), name="inner")
    if not nested:
        return model
    outer = keras.Input((8, 8, 3))
    return keras.Model(outer, keras.layers.ReLU()(model(outer)))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_equal_shapes_in_another_order_are_told_apart_by_names(tmp_path: Path, name: str, nested: bool) -> None:
    model = branches("left", "right", nested=nested)
    model.save(tmp_path / name) if name.endswith("keras") else model.save_weights(tmp_path / name)
    assert fill(branches("left", "right", nested=nested), tmp_path / name) == 4
    with pytest.raises(IntegrityError) as caught:
        fill(branches("right", "left", nested=nested), tmp_path / name)
    inner = "inner/" if nested else ""
    said = f"  cause: the file has layers in another order: '{inner}left', '{inner}right'"
    assert said in str(caught.value)


def test_within_nested_models_and_composite_layers_the_older_format_tells_names(tmp_path: Path) -> None:
    model = branches("left", "right", nested=True)
    save_listed(model, tmp_path / "w.h5")
    assert fill(branches("left", "right", nested=True), tmp_path / "w.h5") == 4
    assert fill(branches("conv2d", "conv2d_1", nested=True), tmp_path / "w.h5") == 4
    turned = branches("right", "left", nested=True)
    fill(turned, tmp_path / "w.h5")  # in a nested model, the order of the older format tells nothing
    for name in ("left", "right"):
        layers = [one.get_layer("inner").get_layer(name) for one in (turned, model)]
        np.testing.assert_array_equal(*(layer.kernel for layer in layers))
    inputs = keras.Input((4, 6))
    attention = keras.Model(inputs, keras.layers.MultiHeadAttention(2, 3, name="it")(inputs, inputs))
    save_listed(attention, tmp_path / "a.h5")
    assert fill(attention, tmp_path / "a.h5") == 8
    before = attention.get_weights()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        names = list(file["it"].attrs["weight_names"])
        file["it"].attrs["weight_names"] = [*names[2:4], *names[:2], *names[4:]]
    assert fill(attention, tmp_path / "a.h5") == 8
    for now, then in zip(attention.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_names_that_drift_and_files_without_names_are_taken_by_place(tmp_path: Path) -> None:
    def model(*names: str | None) -> keras.Model:
        inputs = x = keras.Input((8, 8, 3))
        for name in names:
            x = keras.layers.Conv2D(3, 3, name=name)(x)
        return keras.Model(inputs, x)

    model("conv2d_8", "conv2d_9", "end").save_weights(tmp_path / "w.weights.h5")  # as after other networks in the process
    assert fill(model("conv2d", "conv2d_1", "end"), tmp_path / "w.weights.h5") == 6
    assert fill(model("one", "two", "end"), tmp_path / "w.weights.h5") == 6
    with pytest.raises(IntegrityError, match="layers in another order: 'conv2d_8', 'conv2d_9', 'end'"):
        fill(model("end", "conv2d", "conv2d_1"), tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5", "a") as file:
        file.visititems(lambda name, item: item.attrs.pop("name", None) and None)
    assert fill(model("end", "conv2d", "conv2d_1"), tmp_path / "w.weights.h5") == 6


@pytest.mark.parametrize("is_part", [False, True])
def test_gamma_and_beta_are_told_apart_by_the_names_in_the_older_format(tmp_path: Path, is_part: bool) -> None:
    def model(**which: bool) -> keras.Model:
        inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, keras.layers.BatchNormalization(name="norm", **which)(inputs))

    save_listed(model(center=False), tmp_path / "w.h5")
    save_listed(model(), tmp_path / "both.h5")
    with h5py.File(tmp_path / "both.h5", "a") as file:
        gamma, beta, *others = file["norm"].attrs["weight_names"]
        file["norm"].attrs["weight_names"] = [beta, gamma, *others]
    for name, scale in (("w.h5", False), ("both.h5", True)):
        with open_weights(tmp_path / name) as stored:
            if is_part:  # the lean mode is next, and reports it
                assert loading.match(model(scale=scale, center=True), stored, is_part=True) is None
                continue
            with pytest.raises(IntegrityError, match=r"of the file stands where 'norm/(beta|gamma)' belongs"):
                loading.match(model(scale=scale, center=True), stored)
    assert fill(model(center=False), tmp_path / "w.h5") == 3


@each_format
def test_zeros_and_other_types_are_reported_and_what_is_not_finite_is_refused(
    tmp_path: Path, save: Saver, name: str
) -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="conv")(inputs))  # with a bias of zeros, as it begins
    kernel = {"w.h5": "conv/conv/kernel", "w.weights.h5": "layers/conv2d/vars/0"}[name]
    for values, words in (
        (np.zeros((1, 1, 3, 2), "float32"), f"holds only zeros in {kernel.removeprefix('conv/')!r}"),
        (np.ones((1, 1, 3, 2), "float16"), "holds float16 for variables of float32"),
        (np.full((1, 1, 3, 2), np.inf, "float32"), "that are not finite"),
    ):
        save(model, tmp_path / name)
        with h5py.File(tmp_path / name, "a") as file:
            del file[kernel]
            file[kernel] = values
        with pytest.raises((UserWarning, IntegrityError), match=words):  # warnings are errors in these tests
            fill(model, tmp_path / name)
