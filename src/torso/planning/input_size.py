"""Which size of images a backbone is planned for."""

from collections.abc import Sequence
from typing import Final

from torso.contracts.architecture import Architecture, InputRules
from torso.errors import OptionError
from torso.specs.backbone_spec import InputSpec, Size

# Values of one image: 4 GiB of float32. TensorFlow counts with 32-bit indices, which end at twice as many.
MOST_VALUES: Final = 2**30


def checked_size(architecture: Architecture, given: InputSpec, channels: int) -> Size:
    """The size that the user gives, or else the architecture's default; refused where one image would not fit in memory."""
    rules, place = architecture.input, given.places.get("size", given.place)
    size = given.size or rules.default
    notes = [("known", legal_sizes(rules))]
    if size[0] is None:
        if rules.fixed or not rules.any_size:
            notes.append(("fix", f"write a size, as [{rules.default[0]}, {rules.default[1]}]"))
            raise OptionError(f"{architecture.name} cannot be built for images of any size", place=place, notes=notes)
    elif size != rules.default if rules.fixed else not rules.takes(size):
        raise OptionError(f"{architecture.name} cannot take images of {in_words(size)}", place=place, notes=notes)
    least = [side or rules.minimum for side in size]
    if least[0] * least[1] * channels > MOST_VALUES:
        place = given.places.get("size") or given.places.get("channels") or given.place
        raise OptionError(f"one image of {in_words(least)} and {channels} channels takes more than 4 GiB", place=place)
    return size


def legal_sizes(rules: InputRules) -> str:
    """``32 pixels or more``."""
    if rules.fixed:
        return f"{in_words(rules.default)} only"
    least = f"{rules.minimum} pixel{'s' if rules.minimum > 1 else ''} or more"
    return f"{least}, multiples of {rules.divisor} pixels" if rules.divisor > 1 else least


def in_words(size: Sequence[int | None]) -> str:
    """``224×224 pixels``, or ``any size``."""
    return "any size" if None in size else f"{size[0]}×{size[1]} pixels"
