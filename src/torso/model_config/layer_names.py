"""Canonical names of layers, which do not depend on what was built before.

Keras numbers unnamed layers by how many of their class the process has made. torso counts again from zero within each model;
names that an author gave stay. The result is what Keras gives in a fresh process that builds this architecture first.
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping


def automatic_stem(class_name: str) -> str:
    """What Keras calls an unnamed layer of this class: ``GlobalAveragePooling2D`` gives ``global_average_pooling2d``."""
    text = re.sub(r"\W+", "", class_name)
    text = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", text)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", text).lower()


def canonical_names(layers: Iterable[tuple[str, str]], *, keep: Collection[str] = ()) -> Mapping[str, str]:
    """The canonical name for each name, from name and class of each layer or op of one model; names in ``keep`` stay."""
    # A name in the form of Keras, as conv2d_7 of a Conv2D, is numbered anew.
    names: dict[str, str] = {}
    automatic: list[tuple[int, str, str]] = []  # number, name and stem
    for name, class_name in dict(layers).items():  # several layers within one may have one name
        names[name] = name
        stem = automatic_stem(class_name)
        match = re.fullmatch(re.escape(stem) + r"(?:_([0-9]+))?", name)
        if match and name not in keep:
            automatic.append((int(match[1] or 0), name, stem))
    taken = names.keys() - {name for _, name, _ in automatic}
    for _, name, stem in sorted(automatic, key=lambda one: one[0]):  # equal numbers in the order of the layers
        numbered = (f"{stem}_{number}" for number in itertools.count(1))
        names[name] = next(new for new in itertools.chain([stem], numbered) if new not in taken)
        taken.add(names[name])
    return names
