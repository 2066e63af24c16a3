"""Find plugins, load each on its own, keep those that are fit, and say why the others are not.

What the plugins offer is collected here and looked up in the registry.
"""

from torso.plugins.discovery import BUILTINS
from torso.plugins.info import PluginInfo
from torso.plugins.manager import Plugins

__all__ = ["BUILTINS", "PluginInfo", "Plugins"]
