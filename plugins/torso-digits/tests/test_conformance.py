"""What torso asks of every architecture."""

from __future__ import annotations

from torso.testing import ArchitectureTests


class TestDigitNet(ArchitectureTests):
    architecture = "digits/DigitNet"
    options = ({}, {"width": 0.5})
