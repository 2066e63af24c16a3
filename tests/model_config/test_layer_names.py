from __future__ import annotations

import keras
import pytest

from torso.model_config.layer_names import automatic_stem, canonical_names


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        *(("Conv2D", (1, 1)), ("SeparableConv2D", (1, 1)), ("LSTM", (1,)), ("GRU", (1,)), ("InputLayer", ((1,),))),
        *((name, ()) for name in ("ReLU", "PReLU", "ELU", "Add", "GlobalAveragePooling2D", "ZeroPadding2D")),
        *((name, ()) for name in ("RMSNormalization", "UpSampling2D")),
    ],
)
def test_automatic_stem_is_what_keras_calls_an_unnamed_layer(layer, arguments):
    name = getattr(keras.layers, layer)(*arguments).name
    assert automatic_stem(layer) in (name, name.rsplit("_", 1)[0])


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
