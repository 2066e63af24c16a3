"""The contract of export formats: how to write a backbone for another runtime, and how to open what was written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from typing import Any, Final

from torso.errors import OptionError
from torso.specs.checked import Checked

SIGNATURE: Final = "serving_default"  # of the SavedModel that every format is converted from
INPUT: Final = "images"  # name of the input of every export

# Two correct programs sum in different orders. On keras.applications with real photographs and trained statistics that came
# to at most 1e-5 of the largest feature value; lower precision (float16, bfloat16) begins at 1e-3.
FLOAT32_BOUND: Final = 1e-4


@dataclass(frozen=True, kw_only=True)
class ExportFormat(Checked):
    """A format that a backbone can be written in.

    ``write`` and ``open`` are named as ``package.module:function``. torso calls ``write`` in a process of its own without an
    accelerator; ``open`` too where it compares what was written, and in the user's process where that computes features.

    Attributes:
        name: The value of ``torso export --to``.
        doc: One sentence that helps to choose.
        write: ``write(saved_model, folder)`` takes two :class:`pathlib.Path`: a SavedModel, whose signature
            ``serving_default`` computes the features by name from ``images``, and an empty folder to fill. torso adds
            ``export.json``.
        open: ``open(folder, threads)`` takes that folder, and how many threads to use or None. It returns a function from
            images ``(N, H, W, C)`` as the network expects them, float32, to the features ``(N, …)`` by name, computed on the
            CPU: numpy arrays that the next call leaves as they are. The folder may be gone when it is called.
        needs: Modules that the two functions import, apart from TensorFlow, Keras and numpy.
        install: What to pip install for them: ``torso[onnx]``.
        precisions: The precisions it can compute in. If there are several, ``open`` takes a third argument, which is one.
        bound: Default tolerance: the largest difference from the Keras model, relative to the feature's largest value.
    """

    name: str
    doc: str
    write: str
    open: str
    needs: tuple[str, ...] = ()
    install: str | None = None
    precisions: tuple[str, ...] = ("float32",)
    bound: float = FLOAT32_BOUND

    def __new__(cls, **values: Any) -> ExportFormat:
        if "run" in values:
            fix = "open='module:function', and def function(folder, threads): return lambda images: run(folder, images)"
            raise TypeError(f"'run' of export format {values.get('name')!r} is now 'open': write {fix}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(part for name in (self.write, self.open) for part in name.partition(":")) or not all(self.needs):
            raise TypeError(f"write and open of export format {self.name!r} must be 'module:function'; needs are modules")


def tolerance_of(form: ExportFormat, bound: float | None) -> float:
    """The user's bound, or else the format's; OptionError for a bound that is no number from 0 on."""
    if bound is None:
        return form.bound
    if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not (isfinite(bound) and bound >= 0):
        raise OptionError(f"the bound must be a number from 0 on, as 1e-4, not {bound!r}")
    return float(bound)


def require_installed(form: ExportFormat) -> None:
    """Refuse a format whose converter is not installed: OptionError says how to get it."""
    missing = [name for name in form.needs if find_spec(name.partition(".")[0]) is None]
    if missing:
        fix = f"pip install '{form.install}'" if form.install else f"install {', '.join(missing)}"
        what = f"{' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        raise OptionError(f"export format {form.name!r} needs {what}", notes=[("fix", fix)])
