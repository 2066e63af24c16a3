"""``torso schema``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.contracts.preprocessing import PREPROCESS
from torso.plugins.registry import Catalogue
from torso.specs.json_schema import ArchitectureEntry, Entry, json_schema


@verb("schema", example="torso schema > torso.schema.json", codes=(0, 2, 4))
def command(session: Session) -> Outcome:
    """Print the JSON Schema of a spec, with what the installed plugins add.

    An editor that knows it completes and checks specs. For many editors, this as the first line of a spec is enough:
    "# yaml-language-server: $schema=torso.schema.json".
    """
    registry = session.registry()
    document = json_schema(
        architectures=[
            ArchitectureEntry(name=name, options=card.options, tags=card.tags)
            for name, card in _spellings(registry.architectures)
        ],
        truncations=[
            Entry(name=name, doc=value.doc, options=value.options, positional=value.positional)
            for name, value in _spellings(registry.truncations)
        ],
        preprocess=PREPROCESS,
        freeze_policies=[
            Entry(name=name, doc=value.doc, options=value.options, positional=value.positional)
            for name, value in _spellings(registry.freeze_policies)
        ],
        weight_sources=[
            Entry(name=source.name, doc=source.value.doc, options=source.value.options) for source in registry.weight_sources
        ],
        channel_adapters=[
            Entry(name=name, doc=value.doc, options=value.options, positional=value.positional)
            for name, value in _spellings(registry.channel_adapters)
        ],
    )
    return Outcome(document=document, text=json.dumps(document, indent=2))


def _spellings(catalogue: Catalogue[Any]) -> Iterator[tuple[str, Any]]:  # Any: of the catalogue's kind
    """Each contribution by its bare name, where that is its alone, and by its qualified one."""
    bare = Counter(one.name.casefold() for one in catalogue)
    for one in catalogue:
        if bare[one.name.casefold()] == 1:
            yield one.name, one.value
        yield one.qualified, one.value
