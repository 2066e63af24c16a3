"""The least width of a MobileNet. Which widths have published weights is known of the files, as for every architecture."""

from torso.contracts.architecture import Architecture
from torso.contracts.hookspecs import hookimpl
from torso.errors import OptionError, known
from torso.specs.options import Options

_BUILDER = "torso.builtins.keras_applications:build"  # by name: plugins do not import each other


@hookimpl
def torso_build_arguments(architecture: Architecture, options: Options, weights: str) -> None:
    """Refuse an alpha of 0 or less."""
    if architecture.builder != _BUILDER or "alpha" not in options:
        return
    alpha = options["alpha"]
    if not isinstance(alpha, (int, float)) or not alpha > 0:
        # Keras builds MobileNetV2 and V3 for 0 and below too: eight channels everywhere.
        files = [file for one in architecture.weights if one.tag == weights for file in one.files]
        trained = dict.fromkeys(str(file.when["alpha"]) for file in files)
        raise OptionError(f"alpha cannot be {alpha}", notes=[known(trained) if trained else ("known", "any number above 0")])
