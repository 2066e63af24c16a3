"""Everything that touches Keras objects: read, build, cut, fill, freeze, save.

It is imported once a model is needed. What TensorFlow logs then is kept out, unless TF_CPP_MIN_LOG_LEVEL asks for it.
"""

import os
from contextlib import nullcontext
from importlib import import_module

from torso.errors import OptionError
from torso.files.descriptors import diverted

_asked = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1")
# The level alone is not enough: TensorFlow logs several lines before it reads the variable.
with nullcontext() if _asked else diverted(2, to=None):
    # The variable comes first: what it names may not be installed.
    if (backend := os.environ.get("KERAS_BACKEND") or import_module("keras").config.backend()) != "tensorflow":
        fix = "set KERAS_BACKEND=tensorflow before Keras is imported"
        raise OptionError(f"torso needs Keras with TensorFlow, and its backend is {backend!r}", notes=[("fix", fix)])
    import_module("keras")  # no more: a process that forks after TensorFlow has computed would hang
