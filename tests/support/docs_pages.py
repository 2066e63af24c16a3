"""Run the code blocks of README.md and docs/, and put what they print into the pages.

    python tests/support/docs_pages.py [PAGE...]

rewrites the pages; tests/test_docs.py compares them. A page has

- ``console`` blocks: each line ``$ torso ...`` is followed by what it prints;
- ``python`` blocks, which run one after the other; a ``text`` block right after one is what it printed;
- ``<!-- file: NAME -->`` above a block that is written to the file NAME before anything runs;
- ``<!-- generated: NAME -->`` to ``<!-- end -->``: text made from the code;
- ``<!-- slow -->`` above a block that takes more than ten seconds, and runs with the slow tests only;
- ``<!-- command: NAME -->`` and ``<!-- python: NAME -->`` above blocks that other tests run.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np

import torso
from torso.cli.app import COMMANDS, main
from torso.contracts import hookspecs
from torso.contracts.preprocessing import PREPROCESS
from torso.plugins.discovery import registered
from torso.specs.backbone_spec import REGULARIZE
from torso.specs.options import Option

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

VALUES = [  # what hooks yield, in their order
    "Architecture", "InputRules", "Preprocessing", "Weights", "WeightsFile", "License", "Option",
    "Truncation", "FreezePolicy", "FreezePlan", "WeightSource", "ChannelAdapter", "ExportFormat",
]  # fmt: skip

BLOCK = re.compile(
    r"(?P<head><!-- generated: (?P<name>\w+) -->\n).*?(?=^<!-- end -->$)"
    r"|(?:<!-- (?P<note>.+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$(?P<gap>\n+```text\n(?P<output>.*?)^```$)?",
    re.M | re.S,
)


def rewritten(text: str, *, slow: bool = False) -> str:
    """The text of a page with what its blocks print now; they run in the current folder."""
    photos = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), dtype="uint8")
    names: dict[str, Any] = {"__name__": "page", "photos": photos}

    def replaced(match: re.Match[str]) -> str:
        if match["name"]:
            return match["head"] + GENERATED[match["name"]]()
        runs = not match["note"] or (slow and match["note"] == "slow")
        if runs and match["language"] == "console":
            return match[0].replace(match["code"], transcript(match["code"]))
        if runs and match["language"] == "python":
            printed = run_python(match["code"], names)
            return match[0].removesuffix(f"{match['output']}```") + f"{printed}```" if match["gap"] else match[0]
        return match[0]

    return BLOCK.sub(replaced, text)


def run_python(code: str, names: dict[str, Any]) -> str:
    with redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "<page>", "exec"), names)
    return out.getvalue()


def run_command(command: str) -> str:
    """What ``torso ...`` prints in this process: its result, or else its errors."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err, suppress(SystemExit):
        main(shlex.split(command)[1:], "torso")
    errors = err.getvalue()
    return out.getvalue() or errors[errors.find("error: ") :]


def transcript(code: str) -> str:
    commands = [line for line in code.splitlines() if line.startswith("$ torso ")]
    return "\n".join(f"{command}\n{run_command(command[2:])}" for command in commands)


@contextmanager
def workplace(text: str) -> Iterator[Path]:
    """An empty folder, made the current one, with what a page uses: its files, the plugin, pictures and weights."""
    with tempfile.TemporaryDirectory() as folder:
        import keras

        before, environment = Path.cwd(), dict(os.environ)
        place = Path(folder)
        (place / "plugins").symlink_to(ROOT / "plugins")
        for match in BLOCK.finditer(text):
            if (match["note"] or "").startswith("file: "):
                path = place / match["note"].removeprefix("file: ")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(match["code"], encoding="utf-8")
        os.environ.update(COLUMNS="80", KERAS_HOME=str(place / "keras"))
        os.environ.pop("TORSO_OFFLINE", None)
        if "flowers" in text:
            draw_pictures(place / "flowers")
            keras.utils.set_random_seed(0)  # for the head of the README
        if "0.35" in text:
            publish_weights(place / "keras" / "models")
        os.chdir(place)
        try:
            yield place
        finally:
            registered.clear()
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)


def draw_pictures(folder: Path) -> None:
    """Twelve pictures in a folder for each class: daisies are white, roses are red, in front of something green."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for name, colour in ("daisy", (240, 240, 240)), ("rose", (220, 20, 40)):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 60, (120, 160, 3)) + np.array([0, 100, 0])
            pixels[10:110, 10:150] = np.clip(colour + generator.integers(-30, 30, (100, 140, 3)), 0, 255)
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{number}.jpg")


def publish_weights(cache: Path) -> None:
    """A file of random weights where Keras keeps the published ones of MobileNetV2 (alpha 0.35, 96 pixels)."""
    cache.mkdir(parents=True)
    (cache / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5").write_bytes(_random_weights())


@functools.cache
def _random_weights() -> bytes:
    import keras
    from networks import save_listed

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the colours below, so that features differ from colour to colour
    model(np.random.default_rng(0).uniform(-1, 1, (16, 1, 1, 3)).repeat(96, 1).repeat(96, 2), training=True)
    with tempfile.TemporaryDirectory() as folder:
        save_listed(model, Path(folder, "weights.h5"))
        return Path(folder, "weights.h5").read_bytes()


def markdown(docstring: str | None) -> str:
    """A docstring in Google's style as Markdown."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", inspect.cleandoc(docstring or "").replace("``", "`")) + "\n"
    indented = r"((?:(?: {4}.*)?\n)+)"
    text = re.sub(
        rf"^(.*):(:\n\n){indented}", lambda m: f"{m[1]}:\n\n```python\n{dedent(m[3]).strip()}\n```\n", text, flags=re.M
    )
    text = re.sub(rf"^Args:\n{indented}", lambda m: re.sub(r"^    (\w+): ", r"- `\1`: ", m[1], flags=re.M), text, flags=re.M)
    return re.sub(rf"^(Returns|Raises):\n{indented}", lambda m: f"{m[1]}: {dedent(m[2])}", text, flags=re.M)


def hooks() -> str:
    parts = [markdown(hookspecs.__doc__)]
    for name, hook in vars(hookspecs).items():
        if name.startswith("torso_"):
            arguments, _, gives = str(inspect.signature(hook)).replace("'", "")[1:].rpartition(") -> ")
            if len(arguments) > 80:
                arguments = "\n    " + re.sub(r", (?=\w+:)", ",\n    ", arguments) + ",\n"
            signature = f"def {name}({arguments}) -> {gives}: ..."
            parts.append(f"### `{name}`\n\n```python\n{signature}\n```\n\n{markdown(hook.__doc__)}")
    return "\n" + "\n".join(parts) + "\n"


def values() -> str:
    """Tables of the fields of what hooks yield, from the docstrings."""
    parts = []
    for name in VALUES:
        value = getattr(torso, name)
        intro, _, attributes = markdown(value.__doc__).partition("\nAttributes:\n")
        told = dict(re.findall(r"^    (\w+): (.*?)(?=^    \w+: |^\S|\Z)", attributes, re.M | re.S))
        rows = []
        for field in dataclasses.fields(value):
            needed = " *" if field.default is field.default_factory else ""
            rows.append(f"| `{field.name}`{needed} | {' '.join(told.get(field.name, '').split())} |\n")
        parts.append(f"### `torso.{name}`\n\n{intro.strip()}\n\n| field | |\n|---|---|\n{''.join(rows)}")
    return "\n" + "\n".join(parts) + "\n"


def options() -> str:
    """Tables of everything that can stand under the keys of a backbone, with torso's own plugins alone."""
    registry = torso.Registry.load(discover=False)
    parts = [
        _table("truncate", [contribution.value for contribution in registry.truncations]),
        _table("freeze", [contribution.value for contribution in registry.freeze_policies]),
        _table("weights", [contribution.value for contribution in registry.weight_sources]),
        _table("adapt", [contribution.value for contribution in registry.channel_adapters]),
        "### `regularize`\n\n| option | value | default | |\n|---|---|---|---|\n" + "".join(map(_row, REGULARIZE)),
        "### `preprocess`\n\n| option | value | default | |\n|---|---|---|---|\n" + "".join(map(_row, PREPROCESS)),
    ]
    return "\n" + "\n".join(parts) + "\n"


def _table(key: str, entries: Iterable[Any]) -> str:
    lines = [f"### `{key}`\n\n| name | option | value | default | |\n|---|---|---|---|---|\n"]
    for entry in entries:
        lines.append(f"| `{entry.name}` | | | | {entry.doc} |\n")
        positional = getattr(entry, "positional", None)
        lines += [f"| {_row(option, positional=option.name == positional)}" for option in entry.options]
    return "".join(lines)


def _row(option: Option, *, positional: bool = False) -> str:
    value = ", ".join(f"`{choice}`" for choice in option.choices) or option.type_words
    default = "required" if option.required else "none" if option.default is None else f"`{str(option.default).lower()}`"
    return f"| `{option.name}`{', positional' if positional else ''} | {value} | {default} | {option.doc} |\n"


def commands() -> str:
    pages = [("torso", run_command("torso --help"))]
    pages += [(f"torso {name}", run_command(f"torso {name} --help")) for name in COMMANDS]
    return "\n" + "\n".join(f"### {name}\n\n```text\n{text}```\n" for name, text in pages) + "\n"


GENERATED: dict[str, Callable[[], str]] = {"hooks": hooks, "values": values, "options": options, "commands": commands}


def regenerate(pages: Iterable[Path]) -> None:
    for page in pages:
        text = page.read_text(encoding="utf-8")
        with workplace(text):
            new = rewritten(text, slow=True)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"rewrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    regenerate([Path(name).resolve() for name in sys.argv[1:]] or PAGES)
