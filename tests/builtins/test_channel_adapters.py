"""The rules against the arithmetic that they promise: a first convolution in plain numpy, before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import torso
from torso.builtins.channel_adapters import mapped, mean, repeat, zero_extra

Array = np.ndarray[Any, Any]
widths = st.integers(1, 16)


def response(image: Array, kernel: Array) -> Array:
    """What a 1×1 convolution computes of an image (height, width, channels)."""
    return np.einsum("hwc,cf->hwf", image, kernel)


def adapted(kernel: Array, rows: Any) -> Array:
    """The kernels for other channels, one row after the other."""
    return np.stack([sum(weight * kernel[i] for i, weight in enumerate(row)) for row in rows])


def kernel_and_image(have: int) -> tuple[Array, Array]:
    numbers = np.random.default_rng(have)
    return numbers.normal(size=(have, 5)), numbers.normal(size=(4, 3, have))


@pytest.mark.parametrize("rule", [mean, repeat, zero_extra])
@given(have=widths, want=widths)
def test_a_rule_gives_one_row_for_each_channel_wanted(rule: Any, have: int, want: int) -> None:
    rows = rule(have, want, {})
    assert [len(row) for row in rows] == [have] * want
    assert np.isfinite(rows).all()
    assert np.any(rows)


@pytest.mark.parametrize("rule", [mean, repeat])
@given(have=widths, want=widths)
def test_a_grey_image_gives_about_as_much_as_before(rule: Any, have: int, want: int) -> None:
    """With all kernels equal, as much as before; where every kernel is used, whatever they are."""
    kernel, _ = kernel_and_image(have)
    grey = np.random.default_rng(want).normal(size=(4, 3, 1))
    if rule is repeat and want < have:
        kernel = np.repeat(kernel[:1], have, axis=0)
    before = response(np.repeat(grey, have, axis=2), kernel)
    after = response(np.repeat(grey, want, axis=2), adapted(kernel, rule(have, want, {})))
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9)


@given(have=widths, more=st.integers(0, 16))
def test_repeat_gives_the_same_for_an_image_whose_channels_repeat(have: int, more: int) -> None:
    kernel, image = kernel_and_image(have)
    copied = image[:, :, [channel % have for channel in range(have + more)]]
    after = response(copied, adapted(kernel, repeat(have, have + more, {})))
    np.testing.assert_allclose(after, response(image, kernel), rtol=1e-9, atol=1e-9)


@given(have=widths, want=widths)
def test_zero_extra_looks_at_the_trained_channels_alone(have: int, want: int) -> None:
    kernel, image = kernel_and_image(have)
    both = min(have, want)
    wide = np.concatenate([image[:, :, :both], np.full((4, 3, want - both), 1e6)], axis=2)
    after = response(wide, adapted(kernel, zero_extra(have, want, {})))
    np.testing.assert_array_equal(after, response(image[:, :, :both], kernel[:both]))


@given(data=st.data(), have=widths)
def test_a_map_that_names_all_gives_the_same_for_an_image_of_these_copies(data: st.DataObject, have: int) -> None:
    extra = data.draw(st.lists(st.integers(0, have - 1), max_size=8))
    sources = data.draw(st.permutations([*range(have), *extra]))
    kernel, image = kernel_and_image(have)
    rows = mapped(have, len(sources), {"sources": tuple(map(str, sources))})
    after = response(image[:, :, sources], adapted(kernel, rows))
    np.testing.assert_allclose(after, response(image, kernel), rtol=1e-9, atol=1e-9)


def test_the_rows_are_those_that_the_words_say() -> None:
    assert mean(3, 2, {}) == [[1 / 2] * 3] * 2
    assert repeat(3, 4, {}) == [[1 / 2, 0, 0], [0, 1, 0], [0, 0, 1], [1 / 2, 0, 0]]
    assert repeat(3, 2, {}) == [[1.5, 0, 0], [0, 1.5, 0]]
    assert repeat(1, 3, {}) == [[1 / 3]] * 3
    assert zero_extra(3, 4, {}) == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert zero_extra(3, 1, {}) == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("sources", "rows"),
    [
        (["B", "G", "R"], [[0, 0, 1], [0, 1, 0], [1, 0, 0]]),
        (["r", "None", 2], [[1, 0, 0], [0, 0, 0], [0, 0, 1]]),
        (["R", 0, "G", None], [[0.5, 0, 0], [0.5, 0, 0], [0, 1, 0], [0, 0, 0]]),
    ],
)
def test_a_map_takes_letters_numbers_and_none(sources: Any, rows: Any) -> None:
    plan = torso.plan("VGG16", input={"adapt": {"map": sources}}, registry=torso.Registry.load(discover=False))
    assert mapped(3, len(sources), plan.adapt.options) == rows
    for have, source in (4, "R"), (3, "3"), (3, "00"), (3, "RG"):
        with pytest.raises(torso.OptionError, match="the weights have no channel"):
            mapped(have, 1, {"sources": (source,)})
