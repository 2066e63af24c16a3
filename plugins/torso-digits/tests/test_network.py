"""What is special about the network."""

from __future__ import annotations

import pytest

from torso import Registry, create_backbone


@pytest.mark.parametrize(("width", "channels"), [(0.25, 8), (0.5, 16), (1.0, 32), (1.3, 42), (4.0, 128)])
def test_the_width_multiplies_the_channels_at_a_quarter_of_the_resolution(
    registry: Registry, width: float, channels: int
) -> None:
    given = {"options": {"width": width}, "input": {"size": [4, 12]}}
    backbone = create_backbone("digits/DigitNet", weights="none", registry=registry, **given)
    assert backbone.model.output_shape == (None, 1, 3, channels)
