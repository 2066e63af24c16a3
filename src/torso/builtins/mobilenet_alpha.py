"""Which widths a MobileNet may have: any with random values, the trained ones with published weights.

The trained combinations are those of the published files, so nothing is written twice. A size that was not trained is
legal: weights for another size fit, and the plan warns.
"""

from __future__ import annotations

from collections.abc import Mapping

from torso.contracts.architecture import Architecture, Weights
from torso.contracts.hookspecs import hookimpl
from torso.errors import OptionError, TorsoError, known, raise_all
from torso.specs.options import Options, Value

_BUILDER = "torso.builtins.keras_applications.builder:build"  # by name: plugins do not import each other


@hookimpl
def torso_build_arguments(
    architecture: Architecture, options: Options, weights: str, input_shape: tuple[int | None, int | None, int]
) -> Mapping[str, Value] | None:
    """Refuse an alpha that cannot be built or has no weights."""
    if architecture.builder != _BUILDER or all(option.name != "alpha" for option in architecture.options):
        return None
    alpha = options["alpha"]
    if not isinstance(alpha, (int, float)) or not alpha > 0:
        # Keras builds MobileNetV2 and V3 for 0 and below too: eight channels everywhere.
        raise OptionError(f"alpha cannot be {alpha}", notes=[("known", "any number above 0")])
    for published in architecture.weights:
        if published.tag == weights:
            _require_trained(architecture.name, published, options)
    return {"alpha": float(alpha)}  # MobileNetV3 looks its file up by str(alpha): an alpha of 1 is a KeyError in Keras


def _require_trained(name: str, weights: Weights, options: Options) -> None:
    trained = [{key: value for key, value in file.when.items() if key != "size"} for file in weights.files]
    if any(row.items() <= options.items() for row in trained):
        return
    errors: list[TorsoError] = []
    for key in trained[0]:
        values = [row[key] for row in trained]
        if options[key] not in values:
            errors.append(_untrained(name, weights.tag, key, options[key], values))
    if not errors:  # each value was trained, but not together: the other options leave fewer widths
        others = {key: options[key] for key in trained[0] if key != "alpha"}
        values = [row["alpha"] for row in trained if others.items() <= row.items()]
        setting = ", ".join(f"{key}: {str(value).lower()}" for key, value in others.items())
        errors.append(_untrained(f"{name} with {setting}", weights.tag, "alpha", options["alpha"], values))
    raise_all(errors)


def _untrained(subject: str, tag: str, key: str, value: Value, trained: list[Value]) -> OptionError:
    notes = [known(dict.fromkeys(map(str, trained))), ("fix", "take a known value, or weights: none for random values")]
    widths = [width for width in trained if isinstance(width, float)]
    if widths and isinstance(value, (int, float)):
        notes.insert(0, ("did you mean", str(min(widths, key=lambda width: abs(width - value)))))
    return OptionError(f"{key} {value} has no {tag} weights on {subject}", notes=notes)
