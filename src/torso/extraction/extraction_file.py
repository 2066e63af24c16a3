"""``extraction.json``: what the features of a folder were computed from, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from torso.artifact.documents import digest_of
from torso.errors import IntegrityError, OptionError
from torso.files.folder import Folder

if TYPE_CHECKING:
    from torso.backbone import Backbone
    from torso.plugins.registry import Registry
    from torso.runtimes import Runtime

NAME: Final = "extraction.json"
VERSION: Final = 1


@dataclass(frozen=True)
class Options:
    """What the features depend on, beside the backbone and the pictures."""

    pool: Literal["avg", "max"] | None = "avg"
    runtime: str = "tensorflow"
    precision: str = "float32"
    dtype: str = "float32"
    shard: int = 512  # pictures

    def open(self, backbone: Backbone, threads: int | None = None, registry: Registry | None = None) -> Runtime:
        """The runtime, compared with Keras."""
        pool, precision = self.pool, self.precision
        return backbone.runtime(self.runtime, pool=pool, threads=threads, precision=precision, registry=registry)


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """The record of an extraction. Each field is one key of ``extraction.json``."""

    facts: Mapping[str, Any]  # what of the backbone the features depend on
    options: Options
    listing: str  # SHA-256 of listing.parquet
    backbone: Mapping[str, Any]  # its manifest
    source: str
    pictures: int
    features: Sequence[Mapping[str, Any]]  # name and shape in the files
    runtime_error: float  # how far it was from Keras
    runtime_cosine: float
    made_with: Mapping[str, str | None]
    failed: int | None = None  # pictures; None before all are done

    @property
    def key(self) -> str:
        """What its parts carry."""
        return digest_of({"facts": self.facts, "options": asdict(self.options), "listing": self.listing})

    @property
    def shards(self) -> int:
        return len(range(0, self.pictures, self.options.shard))

    def rows(self, shard: int) -> range:
        """Which rows of the listing a shard has."""
        return range(self.pictures)[shard * self.options.shard :][: self.options.shard]

    def to_json(self) -> dict[str, Any]:
        return {"extraction": VERSION, "shards": self.shards, **asdict(self)}

    def publish(self, folder: Folder) -> None:
        text = json.dumps(self.to_json(), indent=1, sort_keys=True, ensure_ascii=False)
        folder.publish(NAME, f"{text}\n".encode())


def read_extraction(folder: Folder) -> Extraction:
    """The record in a folder; an OptionError where there is none, an IntegrityError where it cannot be read."""
    name = repr(f"{folder.address}/{NAME}")
    try:
        document = json.loads(folder.read(NAME))
        if document["extraction"] != VERSION:
            raise ValueError(f"it is of version {document['extraction']}, and this torso reads {VERSION}")
        given = {one.name: document[one.name] for one in fields(Extraction)}
        return Extraction(**given | {"options": Options(**given["options"])})
    except OSError as error:
        raise OptionError(f"{folder.address!r} holds no features: it has no {NAME}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{name} cannot be read", notes=[("cause", f"{type(error).__name__}: {error}")]) from error
