"""Strict readers of weights files: arrays and their names, and nothing else.

One reader for each format. A file is opened once; its hash is checked before a parser sees it, through that same open file.
Nothing in a file is run or followed out of it, and no array is read before it is asked for.

| format | told by | what is read |
|---|---|---|
| ``.h5`` in the older way | HDF5 with ``layer_names`` | a list of layers in order, each with its arrays in order |
| ``.weights.h5`` of Keras 3 | HDF5 without | every array by its path, as ``layers/conv2d/vars/0`` |
| ``.keras`` | a zip archive | the ``model.weights.h5`` in it; its configuration is never looked at |
"""

from torso.weights_files.open import open_weights
from torso.weights_files.stored import StoredArray, StoredLayer, StoredWeights

__all__ = ["StoredArray", "StoredLayer", "StoredWeights", "open_weights"]
