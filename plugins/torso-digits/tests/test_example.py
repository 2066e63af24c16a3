"""The example spec does what its comments say, and the example in the README what it prints."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from torso import Backbones, Registry, load_specs

ENDS = {
    "whole": ["stage3_block2_out"],
    "named": ["stage1_block1_out"],
    "popped": ["stage3_block1_out"],
    "staged": ["stage2_block1_out"],
    "narrow": ["stage3_block2_out"],
    "tunable": ["stage3_block2_out"],
}


@pytest.fixture(scope="module")
def backbones(registry: Registry) -> Backbones:
    return load_specs(str(files("torso_digits") / "digits.yaml"), registry=registry)


def test_the_backbones_of_the_example_are_what_it_says(backbones: Backbones) -> None:
    assert {name: [feature.node for feature in backbones[name].features] for name in backbones} == ENDS
    assert {(plan.weights.label, plan.warnings) for plan in backbones.plans.values()} == {("uci", ())}
    assert [name for name in backbones if backbones[name].model.trainable_weights] == ["tunable"]


def test_tunable_trains_stages_2_and_3_only(backbones: Backbones) -> None:
    trained = {weight.path.split("/")[-2] for weight in backbones["tunable"].model.trainable_weights}
    assert {name.partition("_")[0] for name in trained} == {"stage2", "stage3"}


def test_the_example_in_the_readme_reads_a_seven(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall("```python\n(.*?)```", readme, re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out == "7\n"
