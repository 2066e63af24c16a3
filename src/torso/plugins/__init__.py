"""Find plugins, load each on its own, disable those at fault and keep the reason, and look up what the others offer."""

from torso.plugins.discovery import BUILTINS
from torso.plugins.info import PluginInfo
from torso.plugins.manager import Plugins

__all__ = ["BUILTINS", "PluginInfo", "Plugins"]
