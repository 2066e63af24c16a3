"""The hooks, without Keras: what they select and what they refuse."""

from __future__ import annotations

import pytest

from torso import CutError, FreezePlan, Graph, Node, OptionError, Registry, plan
from torso_digits.stages import freeze_stages, select_stage


def chain(*names: str) -> Graph:
    """A graph in which each node reads the one before it."""
    before: list[tuple[str, ...]] = [(), *((name,) for name in names)]
    nodes = (Node(name=name, kind="ReLU", inputs=inputs) for name, inputs in zip(names, before, strict=False))
    return Graph("Chain", tuple(nodes))


CHAIN = chain("images", "stage1_block1_out", "stage2_block1_out", "stage2_block2_out", "top")


def test_the_plan_turns_the_width_of_a_digitnet_alone_into_filters(registry: Registry) -> None:
    for weights, width, filters in ("uci", 0.5, (8, 12, 16)), ("none", 0.75, (12, 18, 24)):
        planned = plan("digits/DigitNet", options={"width": width}, weights=weights, registry=registry)
        assert planned.arguments == {"width": width, "filters": filters}
    assert "filters" not in plan("ResNet50", weights="none", registry=registry).arguments


def test_a_width_that_was_not_trained_is_refused_with_those_that_were(registry: Registry) -> None:
    with pytest.raises(OptionError, match="DigitNet has no uci weights for width") as caught:
        plan("digits/DigitNet", options={"width": 0.75}, registry=registry)
    assert caught.value.notes[0] == ("known", "width 0.5, width 1.0")


def test_stage_and_stages_go_by_the_end_of_the_stage() -> None:
    assert select_stage(CHAIN, {"number": 2}) == "stage2_block2_out"
    assert freeze_stages(CHAIN, {"count": 1}) == FreezePlan(weights=frozenset({"images", "stage1_block1_out"}))


def test_a_stage_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(CutError) as caught:
        select_stage(CHAIN, {"number": 3})
    assert str(caught.value) == (
        "stage 3 is not in Chain\n  known: 1 (ends at 'stage1_block1_out'), 2 (ends at 'stage2_block2_out')"
    )
    with pytest.raises(CutError, match="stage 1 is not in Chain\n  known: no stages"):
        freeze_stages(chain("images", "conv"), {"count": 1})
