"""A team lead: backbones as YAML in version control, checked, locked, built, compared and handed on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from refusals import fix_of

SPEC = """\
version: 1
backbones:
  edge:
    architecture: MobileNetV2
    options: {alpha: 0.35}
    input: {size: [96, 96]}
    truncate: TRUNCATE
"""


def test_a_spec_from_the_first_guess_to_the_second_version(here: Path, shell: Callable[..., str]) -> None:
    file = here / "backbones.yaml"
    file.write_text(SPEC.replace("TRUNCATE", "C4"))
    fix = fix_of(shell("check backbones.yaml", code=2))
    assert fix == "write truncate: {level: C4}"
    file.write_text(SPEC.replace("truncate: TRUNCATE", fix.removeprefix("write ")))
    assert shell("check backbones.yaml").startswith("backbones.yaml: ok")
    file.write_text("version: 1\nbackbones:\n  edge: MobileNetV2\n")
    assert fix_of(shell("check backbones.yaml", code=2)) == "write edge: {architecture: MobileNetV2}"
    file.write_text(SPEC.replace("TRUNCATE", "level: C4"))
    assert fix_of(shell("check backbones.yaml", code=2)) == "write it in braces, as truncate: {level: C4}"
    file.write_text(SPEC.replace("TRUNCATE", "{layer: block_8_ad}"))
    assert "did you mean: 'block_8_add'" in shell("check backbones.yaml", code=2)
    file.write_text(SPEC.replace("TRUNCATE", "{layer: block_8_add}"))
    assert shell("check backbones.yaml").startswith("backbones.yaml: ok")
    assert "block_8_add" in shell("plan backbones.yaml")
    json.loads(shell("schema"))

    shell("lock backbones.yaml")
    assert "backbones.lock.json" in {path.name for path in here.iterdir()}
    shell("lock --check backbones.yaml")
    shell("check --locked backbones.yaml")
    shell("build backbones.yaml -o saved --locked")
    shell("verify saved")

    (here / "v1.yaml").write_text(file.read_text())
    file.write_text(SPEC.replace("TRUNCATE", "{layer: block_12_add}"))
    told = shell("diff v1.yaml backbones.yaml", code=1)
    assert "truncate.layer" in told
    assert "block_8_add" in told
    assert "lock" in fix_of(shell("build backbones.yaml -o second --locked", code=7))
    stale = shell("lock --check backbones.yaml", code=7)
    assert "edge" in stale
    shell("lock backbones.yaml --force")
    shell("build backbones.yaml -o second --locked")
    assert "does not match" not in shell("verify second")
