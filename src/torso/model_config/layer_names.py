"""Canonical names of layers, which do not depend on what was built before.

Keras numbers unnamed layers by how many of their class the process has made. torso counts again from zero within each model;
names that an author gave stay. The result is what Keras gives in a fresh process that builds this architecture first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping


def automatic_stem(class_name: str) -> str:
    """What Keras calls an unnamed layer of this class: ``GlobalAveragePooling2D`` gives ``global_average_pooling2d``."""
    text = re.sub(r"\W+", "", class_name)
    text = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", text)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", text).lower()


def canonical_names(layers: Iterable[tuple[str, str]], *, keep: Collection[str] = ()) -> Mapping[str, str]:
    """The canonical name for each name. A name in the form of Keras, as ``conv2d_7`` of a ``Conv2D``, is numbered anew.

    Args:
        layers: Name and class of each layer or op of one model, in any order.
        keep: Names that stay, as an author wrote them.
    """
    stems = {name: _stem(name, class_name) for name, class_name in layers}
    taken = {name for name, stem in stems.items() if stem is None or name in keep}
    renamed: dict[str, str] = {}
    for name in sorted((name for name, stem in stems.items() if stem is not None), key=_number):
        stem = stems[name]
        if name in keep or stem is None:
            continue
        count = 0
        while (new := f"{stem}_{count}" if count else stem) in taken:
            count += 1
        taken.add(new)
        renamed[name] = new
    return {name: renamed.get(name, name) for name in stems}


def _stem(name: str, class_name: str) -> str | None:
    stem = automatic_stem(class_name)
    return stem if re.fullmatch(re.escape(stem) + r"(_[0-9]+)?", name) else None


def _number(name: str) -> int:
    match = re.search(r"_([0-9]+)$", name)
    return int(match[1]) if match else 0
