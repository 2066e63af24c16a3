"""The contract of export formats: a way to write a backbone for another runtime, and a way to run what was written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from typing import Final

from torso.errors import OptionError

SIGNATURE: Final = "serving_default"
"""The signature of the SavedModel that every format begins from."""

INPUT: Final = "images"
"""What the one input of every export is called."""

FLOAT32_BOUND: Final = 1e-4
"""How far features may be off, relative to the largest of each, where everything is computed in float32.

Two right programs differ in the order of their sums. On whole networks of ``keras.applications`` that came to 1e-5 at most,
with real photographs and statistics from data; lower precision (float16, bfloat16) begins at 1e-3.
"""


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format that a backbone can be written in.

    Its two functions are named as ``package.module:function``, and called in processes of their own, one each, which see no
    accelerator: what they import, print and configure is gone with the process.

    Attributes:
        name: What stands behind ``torso export --to``; ``provider/name`` where it must be told from another's.
        doc: One sentence for a person who has to choose.
        write: ``write(saved_model, folder)`` takes two :class:`pathlib.Path`: a SavedModel whose signature
            ``serving_default`` gives, for ``images``, the features by their names; and an empty folder, which it fills.
            torso writes ``export.json`` beside what it finds there.
        run: ``run(folder, images)`` takes that folder and images ``(N, H, W, C)`` as the network expects them, and returns
            the features ``(N, …)`` as numpy arrays by their names, from the files in the folder alone, on the CPU.
        needs: Modules that the two functions import, without TensorFlow, Keras and numpy. They are looked for, and not
            imported, before anything else is done.
        install: What pip installs to have them: ``torso[onnx]``.
        bound: How far a feature may be off where the user does not say it: the largest difference from what the Keras model
            gives, relative to the feature's largest value.
    """

    name: str
    doc: str
    write: str
    run: str
    needs: tuple[str, ...] = ()
    install: str | None = None
    bound: float = FLOAT32_BOUND

    def __post_init__(self) -> None:
        for name in ("write", "run"):
            reference = getattr(self, name)
            if not (isinstance(reference, str) and all(reference.partition(":"))):
                raise TypeError(f"{name} of export format {self.name!r} must be 'module:function', not {reference!r}")


def tolerance_of(form: ExportFormat, bound: float | None) -> float:
    """How far a feature may be off: what the user says, or else the format.

    Raises:
        OptionError: What the user says is no such number.
    """
    if bound is None:
        return form.bound
    if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not (isfinite(bound) and bound >= 0):
        raise OptionError(f"the bound must be a number from 0 on, as 1e-4, not {bound!r}")
    return float(bound)


def require_installed(form: ExportFormat) -> None:
    """Refuse a format whose converter is not there, before any time is spent on it.

    Raises:
        OptionError: What is missing, and how to get it.
    """
    missing = [name for name in form.needs if find_spec(name) is None]
    if missing:
        fix = f"pip install '{form.install}'" if form.install else f"install {', '.join(missing)}"
        raise OptionError(
            f"export format {form.name!r} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed",
            notes=[("fix", fix)],
        )
