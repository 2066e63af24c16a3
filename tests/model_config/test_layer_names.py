from __future__ import annotations

import keras
import pytest

from torso.model_config.layer_names import automatic_stem, canonical_names


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D, keras.layers.ReLU, keras.layers.PReLU, keras.layers.ELU, keras.layers.Add,
        keras.layers.GlobalAveragePooling2D, keras.layers.SeparableConv2D, keras.layers.LSTM, keras.layers.GRU,
        keras.layers.ZeroPadding2D, keras.layers.RMSNormalization, keras.layers.UpSampling2D, keras.layers.InputLayer,
    ],
)  # fmt: skip
def test_automatic_stem_is_what_keras_calls_an_unnamed_layer(layer: type[keras.Layer]) -> None:
    arguments = {
        "Conv2D": (1, 1), "SeparableConv2D": (1, 1), "LSTM": (1,), "GRU": (1,), "InputLayer": ((1,),),
    }.get(layer.__name__, ())  # fmt: skip
    name = layer(*arguments).name
    assert name == automatic_stem(layer.__name__) or name.rsplit("_", 1)[0] == automatic_stem(layer.__name__)


def test_canonical_names_count_again_from_zero_in_the_order_of_creation() -> None:
    layers = [("conv2d_12", "Conv2D"), ("stem", "Conv2D"), ("conv2d_9", "Conv2D"), ("add_3", "Add")]
    assert dict(canonical_names(layers)) == {"conv2d_12": "conv2d_1", "stem": "stem", "conv2d_9": "conv2d", "add_3": "add"}


def test_canonical_names_count_numbers_not_texts() -> None:
    layers = [("conv2d_10", "Conv2D"), ("conv2d_9", "Conv2D"), ("conv2d", "Conv2D")]
    assert dict(canonical_names(layers)) == {"conv2d_10": "conv2d_2", "conv2d_9": "conv2d_1", "conv2d": "conv2d"}


def test_canonical_names_never_take_a_name_that_an_author_gave() -> None:
    layers = [("conv2d_7", "Conv2D"), ("conv2d", "Dense"), ("conv2d_8", "Conv2D")]
    assert dict(canonical_names(layers)) == {"conv2d_7": "conv2d_1", "conv2d": "conv2d", "conv2d_8": "conv2d_2"}


def test_canonical_names_leave_alone_what_is_canonical_already() -> None:
    layers = [("dense_4", "Dense"), ("dense_1", "Dense")]
    assert dict(canonical_names(layers, keep={"dense_1"})) == {"dense_4": "dense", "dense_1": "dense_1"}


def test_an_op_and_a_layer_of_one_class_name_share_a_count() -> None:
    layers = [("add_5", "Add"), ("add_4", "Add")]
    assert dict(canonical_names(layers)) == {"add_5": "add_1", "add_4": "add"}
