"""A Keras user with a folder of pictures: from the first guess to a fine-tuned classifier and a file of features."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from refusals import fix_of, refusal

import torso

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def small(**more: object) -> torso.Backbone:
    return torso.create_backbone("mobilenet_v2", alpha=0.35, input_shape=(96, 96, 3), **more)


def test_from_guess_to_fine_tuning_in_two_sessions(here: Path) -> None:
    assert torso.list_architectures("mobilenet_v2") == ("MobileNetV2",)
    assert fix_of(refusal(small, truncate="C3")) == 'write truncate={"level": "C3"}'
    backbone = small(truncate={"level": "C3"})
    backbone.summary()
    assert (
        repr(backbone)
        == "<Backbone 'MobileNetV2': keras/MobileNetV2, ends at block_5_add 12×12×16, 0 of 15.7k parameters train>"
    )
    dataset = backbone.dataset("flowers").cache()

    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    classifier = keras.Sequential([backbone.model, *head])
    classifier.compile(keras.optimizers.Adam(0.05), LOSS, metrics=["accuracy"])
    history = classifier.fit(dataset, epochs=12, verbose=0, shuffle=False, callbacks=[torso.FreezeGuard(backbone)])
    assert history.history["accuracy"][-1] > 0.9
    backbone.save("saved/flowers")
    classifier.save("phase1.keras")

    # The next day.
    classifier = keras.models.load_model("phase1.keras")
    said = refusal(torso.load, "phase1.keras")
    assert fix_of(said) == "keras.models.load_model('phase1.keras'), or weights={'file': 'phase1.keras'}"
    assert "did you mean: 'saved/flowers'" in refusal(torso.load, "saved")
    backbone = torso.attach(classifier, "saved/flowers")
    assert fix_of(refusal(backbone.unfreeze, "block_4_expand")) == "write from_node, and a node that begins a block"
    backbone.unfreeze(from_node="block_4_expand")
    backbone.unfreeze(from_level="C3")
    optimizer = keras.optimizers.Adam(1e-3)
    said = refusal(torso.scale_learning_rates, optimizer, classifier, decay=0.5)
    assert fix_of(said) == "give torso.attach(model, FOLDER) in its place"
    assert set(torso.scale_learning_rates(optimizer, backbone, decay=0.5)) == {"C1", "C2", "C3"}
    classifier.compile(optimizer, LOSS)
    frozen = backbone.model.get_layer("Conv1").kernel.numpy()
    classifier.fit(backbone.dataset("flowers"), verbose=0, shuffle=False, callbacks=[torso.FreezeGuard(backbone)])
    assert np.array_equal(backbone.model.get_layer("Conv1").kernel, frozen)
    classifier.save("phase2.keras")

    # Its weights, in a backbone that ends elsewhere.
    with pytest.warns(UserWarning, match="2 arrays of 'dense"):
        tuned = small(truncate={"level": "C2"}, weights={"file": "phase2.keras"})
    expected = keras.Model(backbone.model.input, backbone.model.get_layer(tuned.features[0].node).output)
    pixels = backbone.transform("flowers/rose")
    np.testing.assert_array_equal(tuned(pixels), expected(backbone.preprocess(pixels)))


def test_features_once_and_a_head_in_seconds(here: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    backbone = small(truncate={"level": "C2"})
    (here / "flowers/rose/broken.jpg").write_bytes(b"")
    features = torso.extract(backbone, "flowers", "features", progress=lambda *counts: None)
    vectors, labels, paths, failed = torso.Features("features").arrays()
    assert (vectors.shape, paths[0], failed) == ((24, 8), "daisy/0.jpg", 1)
    assert LogisticRegression(max_iter=1000).fit(vectors, labels).score(vectors, labels) == 1

    # A head that trains on them becomes the one that trains behind the frozen backbone.
    (here / "flowers/rose/broken.jpg").unlink()
    head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    same = keras.models.clone_model(head)
    same.set_weights(head.get_weights())
    classifier = keras.Sequential([backbone.model, keras.layers.GlobalAveragePooling2D(), same])
    for model, data in (head, features.dataset(batch_size=8)), (classifier, backbone.dataset("flowers", batch_size=8)):
        model.compile(keras.optimizers.Adam(0.05), LOSS)
        model.fit(data, epochs=5, verbose=0, shuffle=False)
    for one, other in zip(same.get_weights(), head.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_an_export_for_tensorflow_serving(here: Path) -> None:
    import tensorflow as tf

    backbone = small(truncate={"level": "C3"}, preprocess={"include": True})
    assert "did you mean: 'litert'" in refusal(backbone.export, "served", to="tflite")
    backbone.export("served", to="saved_model")
    pixels = backbone.transform("flowers/rose/3.jpg")
    (served,) = tf.saved_model.load("served").signatures["serving_default"](tf.constant(pixels)).values()
    np.testing.assert_allclose(served, backbone(pixels), atol=1e-3)
