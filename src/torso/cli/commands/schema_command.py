"""``torso schema``."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.contracts.preprocessing import PREPROCESS
from torso.plugins.registry import Catalogue
from torso.specs.json_schema import Named, json_schema


@torso_command("schema", example="torso schema > torso.schema.json", codes=(0, 2, 4))
def command(session: Session) -> Result:
    """Print the JSON Schema of specs, for editors.

    It includes what the installed plugins add. An editor that knows the schema completes and checks specs. For many
    editors, start the spec with this line: "# yaml-language-server: $schema=torso.schema.json".
    """
    registry = session.registry()
    kinds = ("architectures", "truncations", "freeze_policies", "channel_adapters")
    offered = {kind: list(_spellings(getattr(registry, kind))) for kind in kinds}
    offered["weight_sources"] = [(source.name, source.value) for source in registry.weight_sources]
    document = json_schema(offered, PREPROCESS)
    return Result(document=document, text=json.dumps(document, indent=2))


def _spellings(catalogue: Catalogue[Any]) -> Iterator[Named]:  # Any: of the catalogue's kind
    """Each contribution by its bare name, unless another has it too, and by its qualified one."""
    bare = Counter(one.name.casefold() for one in catalogue)
    for one in catalogue:
        if bare[one.name.casefold()] == 1:
            yield one.name, one.value
        yield one.qualified, one.value
