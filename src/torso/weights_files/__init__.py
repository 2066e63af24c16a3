"""Strict readers of weights files. They read arrays and names, and run nothing that a file holds.

A file is opened once, and its hash is checked through that same open file before a parser sees it. Three formats are read:
the older ``.h5`` (HDF5 with ``layer_names``: layers in order), ``.weights.h5`` of Keras 3 (HDF5: arrays by path, as
``layers/conv2d/vars/0``), and ``.keras`` (a zip archive with such a ``model.weights.h5``;
its configuration is compared with that of the network, and nothing is built from it).
"""

from torso.weights_files.open import open_weights
from torso.weights_files.stored import StoredArray, StoredLayer, StoredWeights

__all__ = ["StoredArray", "StoredLayer", "StoredWeights", "open_weights"]
