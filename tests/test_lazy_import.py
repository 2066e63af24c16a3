"""Naming, listing and checking import nothing that takes seconds to import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "numpy", "h5py", "requests", "filelock")


@pytest.mark.parametrize(
    "code",
    [
        "import torso",
        "import torso.contracts.hookspecs",
        "import torso.plugins.registry",
        "from torso.plugins.registry import Registry\n"
        "registry = Registry.load()\n"
        "assert 'ResNet50' in [one.name for one in registry.architectures]\n"
        "for kind in (registry.truncations, registry.freeze_policies, registry.weight_sources): list(kind)\n"
        "assert 'onnx' in [one.name for one in registry.export_formats]",
    ],
    ids=["API", "contract", "registry", "listing"],
)
def test_a_light_import_imports_nothing_heavy(code):
    report = f"\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    environment = {**os.environ, "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code + report], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.stderr, result.stdout) == ("", "[]\n")
