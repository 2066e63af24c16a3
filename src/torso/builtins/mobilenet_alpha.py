"""The least width of a MobileNet. Which widths have published weights is known of the files, as for every architecture."""

from __future__ import annotations

from torso.contracts.architecture import Architecture
from torso.contracts.hookspecs import hookimpl
from torso.errors import OptionError
from torso.specs.options import Options

_BUILDER = "torso.builtins.keras_applications.builder:build"  # by name: plugins do not import each other


@hookimpl
def torso_build_arguments(architecture: Architecture, options: Options) -> None:
    """Refuse an alpha of 0 or less."""
    if architecture.builder != _BUILDER or "alpha" not in options:
        return
    alpha = options["alpha"]
    if not isinstance(alpha, (int, float)) or not alpha > 0:
        # Keras builds MobileNetV2 and V3 for 0 and below too: eight channels everywhere.
        raise OptionError(f"alpha cannot be {alpha}", notes=[("known", "any number above 0")])
