"""README and docs: every block runs and prints what is shown, every name is in its table, every link works."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import BLOCK, PAGES, ROOT, rewritten, run_command, transcript, workplace

import torso

TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]
REGENERATE = "python tests/support/docs_pages.py rewrites the pages"


def readme_command(name: str) -> str:
    (command,) = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*?)\n```", README)
    return str(command)


@pytest.mark.parametrize("page", TEXTS)
def test_a_page_shows_what_its_blocks_print(page: str) -> None:
    with workplace(TEXTS[page]) as place:
        assert rewritten(TEXTS[page]) == TEXTS[page], REGENERATE
        registry = torso.Registry.load(plugins_dirs=[str(folder) for folder in place.glob("plugins-here")])
        for spec in place.glob("*.yaml"):
            if spec.name != "wrong.yaml" and spec.name[0] != ".":
                torso.load_specs(spec, registry=registry)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if "<!-- slow -->" in text])
def test_a_page_shows_what_its_slow_blocks_print(page: str) -> None:
    with workplace(TEXTS[page]):
        assert rewritten(TEXTS[page], slow=True) == TEXTS[page], REGENERATE


@pytest.mark.parametrize("page", TEXTS)
def test_every_block_is_run(page: str) -> None:
    notes = {"yaml": "file: ", "sh": "command: ", "python": "(file: |python: |slow|$)", "console": "(slow|$)"}
    for match in BLOCK.finditer(TEXTS[page]):
        assert match["name"] or re.match(notes[match["language"]], match["note"] or ""), match[0]
        for code in re.findall(r"^```python\n(.*?)^```$", match[0] if match["name"] else "", re.M | re.S):
            compile(code, page, "exec")


def test_a_command_prints_the_same_in_a_shell() -> None:
    command = "torso check wrong.yaml"
    with workplace(TEXTS["docs/tutorial.md"]):
        run = subprocess.run([sys.executable, "-m", *shlex.split(command)], capture_output=True, text=True, check=False)
        assert f"$ {command}\n{run.stdout or run.stderr}" == transcript(f"$ {command}")


@pytest.mark.parametrize(
    ("page", "row", "catalogue"),
    [
        ("docs/cuts.md", "| `truncate:` |", "truncations"),
        ("docs/freezing.md", "| `freeze:` |", "freeze_policies"),
        ("docs/channels.md", "| `adapt:` |", "channel_adapters"),
        ("docs/weights.md", "| `weights:` |", "weight_sources"),
    ],
)
def test_every_name_is_in_the_table(page: str, row: str, catalogue: str) -> None:
    own = [one.value.name for one in getattr(torso.Registry.load(discover=False), catalogue)]
    table = TEXTS[page].partition(row)[2].partition("\n\n")[0]
    names = re.findall(r"^\| `{(\w+):" if catalogue == "weight_sources" else r"^\| `(\w+)", table, re.M)
    assert sorted(own) == sorted(names)


def test_every_export_format_says_what_it_needs() -> None:
    formats = [one.value for one in torso.Registry.load(discover=False).export_formats]
    rows = dict(re.findall(r"^\| `(\w+)` \| .+ \| `?([^`]*?)`? ?\|$", TEXTS["docs/export.md"], re.M))
    assert rows == {form.name: form.install or "" for form in formats}


def test_the_spec_page_has_every_key() -> None:
    document = json.loads(run_command("torso schema"))
    keys = [*document["properties"], *document["$defs"]["backbone"]["properties"]]
    tables = TEXTS["docs/spec.md"].partition("## Options")[0]
    assert sorted(keys) == sorted(re.findall(r"^\| `(\w+)` \|", tables, re.M))


def test_the_default_transform_is_the_one_shown() -> None:
    with workplace(TEXTS["docs/pixels.md"]):
        plan = torso.load_specs("photos.yaml").plans["photos"]
    assert plan.include_preprocessing
    assert plan.transform == torso.Transform()


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_paths_exist(page: str) -> None:
    for target, _, anchor in re.findall(r"\]\((?!http)([^)#]*)(#([^)]*))?\)", TEXTS[page]):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings]
    for path in re.findall(r"(?<![\w/])(?:tests|src|plugins|docs)/[\w/.-]*\w", TEXTS[page]):
        assert (ROOT / path).exists(), path


def test_the_glossary_defines_what_a_newcomer_does_not_know() -> None:
    for word in ("clean cut", "level", "C1 to C5", "C4@expansion", "spec", "plan", "manifest", "lock"):
        assert f"\n| {word} |" in TEXTS["docs/glossary.md"]


def test_the_architecture_page_has_every_package() -> None:
    packages = re.findall(r"^\| `(\w+)/?` \|", TEXTS["docs/architecture.md"], re.M)
    assert sorted(packages) == sorted({path.stem for path in (ROOT / "src/torso").glob("[!_]*")} - {"py"})


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    reads = next(line for line in script.splitlines() if line.startswith("command=$("))
    found = subprocess.run(["bash", "-c", f"{reads}; echo $command"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == readme_command("test")


@pytest.mark.slow
def test_the_main_command_works_in_a_clean_checkout(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "torso"], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL", "TORSO"))}
    subprocess.run(["bash", "-c", readme_command("build")], cwd=tmp_path / "torso", env=environment, check=True)
    built = sorted(path.parent.name for path in tmp_path.glob("torso/backbones/*/model.keras"))
    assert built == ["named", "narrow", "popped", "staged", "tunable", "whole"]
