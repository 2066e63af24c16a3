"""What a call computes with: its configuration and arguments, without names, seeds, initialisers and modules."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from torso.model_config.calls import Config
from torso.model_config.layer_names import automatic_stem, canonical_names

_IN_TRAINING: Final = re.compile("dtype|batch_shape|rate|drop_path_rate|stddev|.*(dropout|momentum|regularizer|constraint)")
_LEFT_OUT: Final = re.compile("name|trainable|seed|seed_generator|.*initializer")


def settings_of(entry: Config, number: int = 0) -> str:
    """The settings of one call, as ``max_value=6 threshold=0``; those that are None are left out."""
    tensors: list[Any] = []
    node = entry["inbound_nodes"][number] if entry.get("inbound_nodes") else {"args": [], "kwargs": {}}
    settings = {**_plain(entry["config"], []), "arguments": _plain([node["args"], node["kwargs"]], tensors)}
    words = {name: _word(value) for name, value in settings.items()}
    if re.findall(r'[^\[\]{},"]+', words["arguments"]) == [f"#{number}" for number in range(len(tensors))]:
        del words["arguments"]  # each tensor once, as the edges say, and nothing else
    return " ".join(f"{name}={word}" for name, word in words.items())


def settings_in_inference(settings: str) -> str:
    """Those of a node's settings that do not count in training alone."""
    return " ".join(word for word in settings.split(" ") if not _IN_TRAINING.fullmatch(word.partition("=")[0]))


def by_node(layers: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """By node its kind and settings, from the nodes by ``kind setting=value …``."""
    parsed = {text: dict(word.split("=", 1) for word in f"kind={text}".split(" ")) for text in layers}
    return {name: parsed[text] for text, names in layers.items() for name in names}


def differences_of(config: Config, other: Config, within: Sequence[str], kept: Collection[str]) -> list[str]:
    """Where layers of one name compute differently in a second configuration; what counts in training alone is left out.

    ``within`` has the names of the nested models of the other one to compare with, ``kept`` the layers to compare.
    """
    for name in within:
        other = next((one["config"] for one in other.get("layers", ()) if one["config"]["name"] == name), {})
    if "layers" not in other:  # Python code of a subclass
        return []
    part = {"layers": [entry for entry in config["layers"] if entry["config"]["name"] in kept]}
    found = [text for path, text in _differences(config, other) if path.partition("/")[0] in kept]
    return list(dict.fromkeys([*found, *(text for _, text in _differences(part, other))]))


def _differences(config: Config, other: Config) -> Iterator[tuple[str, str]]:
    ours, theirs = dict(_by_path(config)), dict(_by_path(other))
    kinds, others = (Counter(each["kind"] for each in one.values()) for one in (ours, theirs))
    for path, mine in ours.items():
        stem = automatic_stem(mine["kind"])
        is_counted_otherwise = path.startswith(stem) and kinds[mine["kind"]] != others[mine["kind"]]
        if path not in theirs or is_counted_otherwise:
            continue
        for name in sorted({*mine, *theirs[path]}):
            here, there = (each.get(name, "false") for each in (mine, theirs[path]))  # Keras adds settings that are off
            if here != there and not _IN_TRAINING.fullmatch(name):
                yield path, f"{name} of {path!r} is {there} in the file, and {here} in the model"


def _by_path(config: Config, prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    names = canonical_names((entry["config"]["name"], entry["class_name"]) for entry in config["layers"])
    for entry in config["layers"]:
        path = prefix + names[entry["config"]["name"]]
        if "layers" in entry["config"]:
            yield from _by_path(entry["config"], f"{path}/")
        else:
            yield from by_node({f"{entry['class_name']} {settings_of(entry)}".strip(): [path]}).items()


def _plain(value: Any, tensors: list[Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item, tensors) for item in value]
    if not isinstance(value, dict):
        return int(value) if isinstance(value, float) and value.is_integer() else value  # 6.0 is 6
    kind: Any = value.get("class_name")
    inner: Any = value.get("config")
    if kind == "__keras_tensor__":
        *call, output = inner["keras_history"]
        if call not in tensors:
            tensors.append(call)
        return f"#{tensors.index(call)}" + (f".{output}" if output else "")
    if kind is not None and inner is not None:  # how Keras writes an object or a function
        if str(kind).endswith("Policy"):
            return inner["name"]
        return {"class": kind, **_plain(inner, tensors)} if isinstance(inner, dict) else inner
    kept = (name for name in sorted(value) if value[name] is not None and not _LEFT_OUT.fullmatch(name))
    return {name: _plain(value[name], tensors) for name in kept if (name, value[name]) != ("training", False)}


def _word(value: Any) -> str:
    """A value as text without spaces; the hash of one that is long."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    return text if re.fullmatch(r"\S{1,80}", text) else f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
