"""The provider of the architectures of ``keras.applications``.

All that is known of them stands in ``catalogue.json``, next to this file: what repeats is written once for each family,
and the tests hold every figure against the installed Keras. Keras itself is imported by the builder only.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterator
from typing import Any

from torso.contracts.architecture import Architecture, InputRules, License, Weights
from torso.contracts.hookspecs import hookimpl
from torso.contracts.preprocessing import Preprocessing
from torso.contracts.weights import WeightsFile
from torso.specs.options import Option

_Row = dict[str, Any]  # a JSON object


@hookimpl
def torso_architectures() -> Iterator[Architecture]:
    """Offer the architectures of the catalogue."""
    catalogue: _Row = json.loads(pkgutil.get_data(__name__, "catalogue.json") or "")
    for family in catalogue["families"]:
        for row in family["architectures"]:
            yield _architecture(row, family, catalogue)


def _architecture(row: _Row, family: _Row, catalogue: _Row) -> Architecture:
    return Architecture(
        name=row["name"],
        family=family["family"],
        builder=f"{__name__}.builder:build",
        arguments={"constructor": row["name"], **family.get("arguments", {})},
        options=tuple(_option(name, option) for name, option in family.get("options", {}).items()),
        weights=(_weights(row, family, catalogue),),
        input=_input(row, family),
        preprocessing=_preprocessing(catalogue["preprocessing"][family["preprocessing"]]),
        parameters=row["parameters"],
        levels=row["levels"],
        clean=family["clean"],
        paper=family["paper"],
        license=License(code="Apache-2.0", weights=family["weights_license"]),
        source=catalogue["source"],
    )


def _input(row: _Row, family: _Row) -> InputRules:
    return InputRules(
        default=(row["size"], row["size"]),
        minimum=family["minimum"],
        any_size=family["any_size"],
        any_size_divisor=family.get("any_size_divisor", 1),
    )


def _option(name: str, row: _Row) -> Option:
    return Option(name=name, type=type(row["default"]), **row)


def _weights(row: _Row, family: _Row, catalogue: _Row) -> Weights:
    sources = ["Keras", family.get("figures") or catalogue["figures"]]
    if family["weights_license"]:
        sources.append(catalogue["licenses"])
    return Weights(
        tag="imagenet",
        files=tuple(_file(file, family["folder"]) for file in row["files"]),
        classes=1000,
        top1=row["top1"],
        top5=row["top5"],
        source="; ".join(sources),
    )


def _file(row: _Row, folder: str) -> WeightsFile:
    return WeightsFile(
        source="url",
        address=folder + row["file"],
        sha256=row.get("sha256"),
        md5=row.get("md5"),
        when=row.get("when", {}),
        cached_as=row.get("cached_as"),
    )


def _preprocessing(row: _Row) -> Preprocessing:
    numbers: _Row = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Preprocessing(**numbers)
