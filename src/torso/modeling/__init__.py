"""Everything that touches Keras objects: read, build, cut, fill, freeze, save.

It is imported once a model is needed.
"""

import os
from importlib import import_module

from torso.errors import OptionError

# The variable comes first: what it names may not be installed.
if (backend := os.environ.get("KERAS_BACKEND") or import_module("keras").config.backend()) != "tensorflow":
    fix = "set KERAS_BACKEND=tensorflow before Keras is imported"
    raise OptionError(f"torso needs Keras with TensorFlow, and its backend is {backend!r}", notes=[("fix", fix)])
