"""Compare two documents of JSON fact by fact, and describe what differs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from torso.artifact.manifest import Difference
from torso.model_config.layer_settings import by_node

_LAST_BIT: Final = 2.0**-24  # half the relative distance of float32 numbers: bits differ, but no number that is kept does


def differences(one: Any, other: Any) -> tuple[Difference, ...]:
    """Compare two documents of JSON fact by fact, sorted by path. A list of texts or numbers is one fact."""
    first, second = dict(_facts(one)), dict(_facts(other))
    pairs = ((path, first.get(path), second.get(path)) for path in sorted({*first, *second}))
    return tuple(pair for pair in pairs if pair[1] != pair[2])


def error_of_described(saved: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """How far a described feature is off, relative to its largest value; 0 only where all bits are the same."""
    if saved["shape"] != found["shape"]:
        return float("inf")
    if saved["sha256"] == found["sha256"]:
        return 0.0
    scale = max(abs(saved["min"]), abs(saved["max"])) or 1.0
    pairs = [(saved[key], found[key]) for key in ("mean", "std", "min", "max")]
    pairs += zip(saved["sketch"], found["sketch"], strict=True)
    return float(max(_LAST_BIT, max(abs(one - other) for one, other in pairs) / scale))


def is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def short_value(value: Any) -> str:
    """A fact for a person: the beginning of a hash, the two ends of a long text or list."""
    if value is None:
        return "-"
    if is_hash(value):
        return f"{value[:12]}…"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:30]}…{text[-29:]}"


def _facts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            below = by_node(below) if key == "layers" else below  # of a graph, in manifests and locks
            yield from _facts(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for position, below in enumerate(value):
            name = below.get("name", position) if isinstance(below, Mapping) else position
            yield from _facts(below, f"{path}.{name}")
    else:
        yield path, value
