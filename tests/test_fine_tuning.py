"""The two phases of docs/freezing.md, on digits that the network was not trained for: turned by 90 degrees and inverted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import torso
from torso_digits.train import split

PAGE = (Path(__file__).parents[1] / "docs" / "freezing.md").read_text(encoding="utf-8")


def phase(number: int) -> str:
    (code,) = re.findall(rf"<!-- python: phase {number} -->\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(code)


def shifted(digits: Any) -> np.ndarray:
    return 255 - np.rot90(digits.images, axes=(1, 2))


@pytest.mark.slow
def test_unfreezing_the_top_beats_the_head_alone() -> None:
    keras.utils.set_random_seed(0)
    training, held_out = split()
    names: dict[str, Any] = {"torso": torso, "keras": keras, "images": shifted(training), "labels": training.labels}

    def accuracy() -> float:
        scores = names["classifier"](names["backbone"].preprocess(shifted(held_out)))
        return float(np.mean(np.argmax(scores, axis=-1) == held_out.labels))

    exec(phase(1), names)
    head_alone = accuracy()
    learnt, frozen = names["head"].get_weights(), names["backbone"].model.get_weights()
    names["classifier"].fit(names["pixels"], names["labels"], epochs=10, verbose=0)  # as long as both phases take
    head_longer = accuracy()
    names["head"].set_weights(learnt)
    exec(phase(2), names)
    both = accuracy()
    print(f"\nhead alone {head_alone:.1%}, as long as both phases {head_longer:.1%}; both phases {both:.1%}")

    assert head_alone > 0.5  # the features are of use, so that the comparison is fair
    assert both > max(head_alone, head_longer) + 0.08
    moved = [not np.array_equal(old, new) for old, new in zip(frozen, names["backbone"].model.get_weights(), strict=True)]
    assert 0 < sum(moved) == len(names["backbone"].manifest["frozen"]["trains"])
