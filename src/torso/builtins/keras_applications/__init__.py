"""The provider of the architectures of ``keras.applications``.

All that is known of them stands in ``catalogue.json``, next to this file: what repeats is written once for each family,
and tests compare every figure with the installed Keras. Only the builder, at the end, imports Keras.

``graphs.zip`` has the graph of each, at its default size, with all options of its published weights. It is written by
``python tests/support/graphs.py``, and tests compare it with what Keras draws.
"""

import json
import pkgutil
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import Any, Final
from zipfile import ZipFile

from torso.contracts.architecture import Architecture, InputRules, License, Weights
from torso.contracts.hookspecs import hookimpl
from torso.contracts.preprocessing import Preprocessing
from torso.contracts.weights import WeightsFile
from torso.graph import Graph, Node
from torso.specs.options import Option, Options, Value

TESTED: Final = ("3.15.1",)  # the releases of Keras that draw the recorded graphs

_Row = dict[str, Any]  # a JSON object


@hookimpl
def torso_architectures() -> Iterator[Architecture]:
    catalogue: _Row = json.loads(pkgutil.get_data(__name__, "catalogue.json") or "")
    for family in catalogue["families"]:
        for row in family["architectures"]:
            yield _architecture(row, family, catalogue)


def _architecture(row: _Row, family: _Row, catalogue: _Row) -> Architecture:
    return Architecture(
        name=row["name"],
        family=family["family"],
        builder=f"{__name__}:build",
        arguments={"constructor": row["name"], **family.get("arguments", {})},
        options=tuple(
            Option(name=name, type=type(option["default"]), **option) for name, option in family.get("options", {}).items()
        ),
        weights=(_weights(row, family, catalogue),),
        input=InputRules(
            default=(row["size"], row["size"]),
            minimum=family["minimum"],
            any_size=family["any_size"],
            any_size_divisor=family.get("any_size_divisor", 1),
        ),
        preprocessing=Preprocessing(**catalogue["preprocessing"][family["preprocessing"]]),
        parameters=row["parameters"],
        macs=row["macs"],
        levels=row["levels"],
        clean=family["clean"],
        can_stop_early=True,
        paper=family["paper"],
        license=License(code="Apache-2.0", weights=family["weights_license"]),
        source=catalogue["source"],
    )


def _weights(row: _Row, family: _Row, catalogue: _Row) -> Weights:
    sources = ["Keras", family.get("figures") or catalogue["figures"]]
    if family["weights_license"]:
        sources.append(catalogue["licenses"])
    files = tuple(
        WeightsFile(source="url", address=family["folder"] + facts.pop("file"), **facts) for facts in map(dict, row["files"])
    )
    figures = {"classes": 1000, "top1": row["top1"], "top5": row["top5"]}
    return Weights(tag="imagenet", files=files, source="; ".join(sources), **figures)


def record_name(architecture: Architecture, options: Options) -> str:
    """``MobileNetV2 alpha=0.35``: without the options that are at their defaults."""
    changed = (option.name for option in architecture.options if options[option.name] != option.default)
    return " ".join([architecture.name, *(f"{name}={options[name]}" for name in changed)])


@cache
def recorded_graph(name: str) -> Graph | None:
    """The whole headless network of a record; None where there is none of that name."""
    with ZipFile(BytesIO(pkgutil.get_data(__name__, "graphs.zip") or b"")) as file:
        record = json.loads(file.read(name)) if name in file.namelist() else None
    if record is None:
        return None
    names, columns = record["nodes"].keys(), record["nodes"].values()  # by field of a node, without those at their default
    rows = ([tuple(one) if isinstance(one, list) else one for one in row] for row in zip(*columns, strict=True))
    nodes = tuple(Node(**dict(zip(names, row, strict=True))) for row in rows)
    return Graph(name.partition(" ")[0], nodes, ends=tuple(record["ends"]), known_levels=record["levels"])


def build(
    *, constructor: str, input_shape: tuple[int | None, int | None, int], weights: str | None = None, **options: Value
) -> Any:  # a keras.Model
    """Build the headless network of a constructor in ``keras.applications``; ``options`` are passed on to it.

    ``weights`` is the tag that the network is built for: EfficientNetB0 to B7 divide the pixels once more with weights than
    without (keras/src/applications/efficientnet.py). torso lets no builder download or load anything.
    """
    import keras

    if input_shape[2] != 3:
        weights = None  # Keras draws the graph of the weights for three channels only
    make = getattr(keras.applications, constructor)
    return make(input_shape=input_shape, include_top=False, weights=weights, **options)
