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
def test_automatic_stem_is_what_keras_calls_an_unnamed_layer(layer):
    arguments = {
        "Conv2D": (1, 1), "SeparableConv2D": (1, 1), "LSTM": (1,), "GRU": (1,), "InputLayer": ((1,),),
    }.get(layer.__name__, ())  # fmt: skip
    name = layer(*arguments).name
    assert name == automatic_stem(layer.__name__) or name.rsplit("_", 1)[0] == automatic_stem(layer.__name__)


@pytest.mark.parametrize(
    ("names", "keep"),
    [
        ({"conv2d_12": "conv2d_1", "stem": "stem", "conv2d_9": "conv2d", "add_3": "add"}, ()),  # in the order of creation
        ({"conv2d_10": "conv2d_2", "conv2d_9": "conv2d_1", "conv2d": "conv2d"}, ()),  # numbers, not texts
        ({"conv2d_7": "conv2d_1", "conv2d (Dense)": "conv2d", "conv2d_8": "conv2d_2"}, ()),  # an author's name is taken
        ({"dense_4": "dense", "dense_1": "dense_1"}, {"dense_1"}),
        ({"add_5": "add_1", "add_4": "add"}, ()),  # of ops and layers of one class name
    ],
)
def test_canonical_names_count_from_zero(names, keep):
    kinds = {"conv2d": "Conv2D", "stem": "Conv2D", "add": "Add", "dense": "Dense"}
    layers = [(name.split(" ")[0], "Dense" if "(" in name else kinds[name.split("_")[0]]) for name in names]
    assert list(canonical_names(layers, keep=keep).values()) == list(names.values())
