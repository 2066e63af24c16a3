"""The conformance kit: what every architecture of a plugin must pass, ready to be inherited.

    from torso.testing import ArchitectureTests

    class TestEyenet(ArchitectureTests):
        architecture = "acme/eyenet"
        options = ({}, {"width": 0.5})

Each check is a test of its own, run once for each of ``options``; outside pytest, call :func:`check_architecture`. A channel
adapter is checked with :func:`check_channel_adapter`.
"""

from torso.testing.adapters import check_channel_adapter
from torso.testing.checks import CHECKS, Subject
from torso.testing.suite import ArchitectureTests, check_architecture

__all__ = ["CHECKS", "ArchitectureTests", "Subject", "check_architecture", "check_channel_adapter"]
