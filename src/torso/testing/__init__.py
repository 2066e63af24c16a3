"""Conformance tests for plugins: what every architecture must pass, ready to be inherited.

    from torso.testing import ArchitectureTests

    class TestEyenet(ArchitectureTests):
        architecture = "acme/eyenet"
        options = ({}, {"width": 0.5})

Each check is one test, run for each of ``options``. Outside pytest, call :func:`check_architecture`. For a channel adapter,
call :func:`check_channel_adapter`; for an export format, :func:`check_export_format`.
"""

from torso.testing.checks import CHECKS, Subject
from torso.testing.suite import ArchitectureTests, check_architecture, check_channel_adapter, check_export_format

__all__ = ["CHECKS", "ArchitectureTests", "Subject", "check_architecture", "check_channel_adapter", "check_export_format"]
