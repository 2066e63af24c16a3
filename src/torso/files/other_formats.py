"""Name a file or folder of weights in a format that torso does not read, with the Python that converts it."""

from contextlib import suppress
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from torso.errors import OptionError

_RECIPES: Final = {
    "a SavedModel": """
        import tensorflow as tf
        values = {{one.name.removesuffix(":0"): one for one in tf.saved_model.load({path!r}).variables}}
        for weight in model.weights: weight.assign(values[weight.path])""",
    "a TensorFlow checkpoint": """
        import tf_keras  # and model made with tf_keras: pip install tf-keras
        model.load_weights({path!r})""",
    "an .npz of NumPy": """
        import numpy as np
        values = np.load({path!r})
        model.set_weights([values[name] for name in values.files])  # in the order of model.weights""",
    "a safetensors file": """
        from safetensors.numpy import load_file
        values = load_file({path!r})
        for weight in model.weights: weight.assign(values[weight.path])  # write the file's own names here""",
    "a pickle, as PyTorch writes it": """
        import torch
        values = torch.load({path!r}, weights_only=True)
        names = [...]  # of values, in the order of model.weights
        for weight, name in zip(model.weights, names, strict=True):
            value = values[name].numpy()  # channels first: a kernel of a depthwise convolution is transposed (2, 3, 0, 1)
            weight.assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T)""",
}


def refuse_other_format(path: Path) -> None:
    """Raise an OptionError for what is known to be in another format; its content is looked at, and not run."""
    if kind := _kind_of(path):
        # TensorFlow is asked for the folder of a SavedModel, and for a checkpoint without its ending.
        name = path.name.removesuffix("saved_model.pb").removesuffix(".index").partition(".data-0")[0]
        lines = _RECIPES[kind].format(path=str(path.parent / name)).replace("\n        ", "\n    ")
        save = "model.save('model.h5')" if "checkpoint" in kind else "model.save_weights('model.weights.h5')"
        fix = f"convert it in Python, where model is the network it was saved from:{lines}\n    {save}"
        raise OptionError(f"{str(path)!r} is {kind}, and torso reads .keras, .weights.h5 and .h5", notes=[("fix", fix)])


def _kind_of(path: Path) -> str:
    if path.name == "saved_model.pb" or (path / "saved_model.pb").is_file():
        return "a SavedModel"
    if path.suffix == ".index" or ".data-0" in path.name:
        return "a TensorFlow checkpoint"
    if not path.is_file():
        return "a TensorFlow checkpoint" if (path.parent / f"{path.name}.index").is_file() else ""
    with path.open("rb") as stream:
        start = stream.read(9)
    names: list[str] = []
    with suppress(Exception), ZipFile(path) as archive:  # if it is a damaged one, its reader says so
        names = archive.namelist()
    if (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5") or any(name.endswith("/data.pkl") for name in names):
        return "a pickle, as PyTorch writes it"
    if names and all(name.endswith(".npy") for name in names):
        return "an .npz of NumPy"
    return "a safetensors file" if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size else ""
