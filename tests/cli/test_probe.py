"""``torso probe``: the table, the picture, and a spec that the next command takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image


def test_a_folder_is_probed(torso: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        place = tmp_path / "photos" / "ab"[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(100 * (number % 2), 120 + 100 * (number % 2), (8, 8, 3))
        Image.fromarray(pixels.astype("uint8")).save(place)
    words = "probe", "tinynet", "photos", "--weights", "none", "--folds", "3"
    done = torso(*words, "-o", "best.yaml", "--plot", "cuts.svg")
    assert done.code == 0
    title, _, *rows = re.sub(r" \d+\.\d\d ", " 0.00 ", done.out).split("\n")
    assert title.split() == ["backbone", "cut", "level", "channels", "accuracy", "params", "MACs", "ms", "front"]
    assert " ".join(rows[0].split()) == "TinyNet stem - 4 100.0 ± 0.0 % 112 6.9k 0.00 * best chosen"
    assert " ".join(rows[2].split()) == "TinyNet half C1 4 100.0 ± 0.0 % 280 17.2k - -"
    assert "over 3 folds of 12 pictures" in done.out
    assert done.out.endswith("\nplotted to cuts.svg\nwritten to best.yaml: stem of TinyNet\n")
    assert "TinyNet: warning: weights: none is random initialisation" in done.err
    texts = ElementTree.parse(tmp_path / "cuts.svg").iter("{http://www.w3.org/2000/svg}text")
    assert {"TinyNet", "front", "chosen: stem", "accuracy"} <= {"".join(text.itertext()) for text in texts}
    assert "    truncate: {layer: stem}\n" in (tmp_path / "best.yaml").read_text()
    assert torso("check", "best.yaml").code == 0
    assert torso(*words, "-o", "best.yaml").errors.startswith("error: 'best.yaml' already exists")
    (tmp_path / "photos/a/00.png").write_bytes(b"")
    failed = torso("probe", "best.yaml", "photos", "--folds", "3", "--json")
    assert failed.code == 3
    assert failed.json["failed"] == {"a/00.png": "'a/00.png' is no picture that can be decoded; it is empty"}
    assert [(one["node"], one["on_front"]) for one in failed.json["cuts"]] == [("stem", True)]
    assert failed.json["spec"] is None
    few = torso(*words[:-1], "9")
    assert (few.code, few.errors.split("\n")[0]) == (
        2,
        "error: class 'a' has 6, class 'b' has 6 pictures, and there are 9 folds",
    )
    assert torso("probe", "photos").errors.startswith("error: ARCHITECTURE SOURCE, or SPEC SOURCE\n  see: torso probe")
