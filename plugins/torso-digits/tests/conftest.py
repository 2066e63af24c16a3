"""What the tests of torso-digits share; the distribution must be installed, as `pip install -e .` does."""

from __future__ import annotations

import pytest

from torso import Registry


@pytest.fixture(scope="session")
def registry() -> Registry:
    """All that the installed plugins offer."""
    return Registry.load()
