"""Load plugins one by one, and call their hooks one plugin at a time.

Each plugin has a pluggy manager of its own. So a plugin that is set aside leaves nothing behind, a hook that fails is
one plugin's failure, and the order of calls is torso's alone.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pluggy

from torso.errors import PluginError, TorsoError, UnknownNameError, did_you_mean, known
from torso.plugins.discovery import BUILTINS, Found, find_plugins
from torso.plugins.info import PluginInfo
from torso.plugins.validation import FAULTS, Unfit, check_name, described, managed, offered, plugin_errors


class Plugins:
    """The plugins of one registry: those in use, and those that are not with the reason why."""

    def __init__(self) -> None:
        self._managers: dict[PluginInfo, pluggy.PluginManager] = {}
        self._absent: list[PluginInfo] = []
        self._asked: set[str] = set()

    @classmethod
    def load(
        cls,
        *,
        plugins: Iterable[str] = (),
        plugins_dirs: Iterable[str | Path] = (),
        discover: bool = True,
        builtins: Mapping[str, str] = BUILTINS,
    ) -> Plugins:
        """Load all that is installed or named, each plugin on its own.

        The environment is read, too: ``TORSO_DISABLED_PLUGINS`` holds names to block, separated by commas, and
        ``TORSO_DISABLE_PLUGIN_AUTOLOAD=1`` is as ``discover=False``.

        Args:
            plugins: As after ``-p``: a plugin's name, a module, or ``no:NAME`` to block a plugin without importing it.
            plugins_dirs: Folders whose ``*.py`` files are a plugin each.
            discover: Whether to load the plugins of installed distributions that ``plugins`` does not name.
            builtins: Names and modules of torso's own plugins.

        Raises:
            UnknownNameError: A plugin is to be blocked that is not there.
            OptionError: A folder cannot be read.
            PluginError: A plugin that ``plugins`` names is at fault.
        """
        given = list(plugins)
        named = [text for text in given if not text.startswith("no:")]
        blocks = _blocks(given)
        if os.environ.get("TORSO_DISABLE_PLUGIN_AUTOLOAD", "0") not in ("", "0"):
            discover = False
        entry_points = discover or bool(named or blocks)
        found = list(find_plugins(builtins=builtins, named=named, folders=plugins_dirs, entry_points=entry_points))
        _check_blocks(blocks, [one.info.name for one in found])
        if not discover:
            found = [one for one in found if one.asked or one.info.origin != "entry point"]

        self = cls()
        self._asked = {one.info.name for one in found if one.asked}
        namesakes: dict[str, list[Found]] = {}
        for one in found:
            namesakes.setdefault(one.info.name.casefold(), []).append(one)
        for name, rivals in namesakes.items():
            for one in rivals:
                if name in blocks:
                    reason = f"it is blocked with {blocks[name]}"
                    self._absent.append(replace(one.info, status="blocked", reason=reason))
                else:
                    self._load(one, rivals)
        return self

    def __iter__(self) -> Iterator[PluginInfo]:
        """Every plugin, in use or not: torso's own, then the others by name."""
        everything = [*self._managers, *self._absent]
        return iter(sorted(everything, key=lambda info: (info.origin != "built-in", info.name.casefold())))

    @property
    def absent(self) -> tuple[PluginInfo, ...]:
        """The plugins that are set aside or blocked."""
        return tuple(info for info in self if info.status != "loaded")

    def collect(self, kinds: Mapping[str, type[Any]]) -> dict[str, list[tuple[PluginInfo, Any]]]:
        """All that the plugins yield from their plural hooks.

        A plugin with one fault is set aside whole: it contributes to none of the hooks.

        Args:
            kinds: The hooks, and the type of the values of each.

        Returns:
            For each hook, every value with its plugin.

        Raises:
            PluginError: A plugin that the user named with ``-p`` is at fault.
        """
        collected: dict[str, list[tuple[PluginInfo, Any]]] = {hook: [] for hook in kinds}
        for info, manager in list(self._managers.items()):
            try:
                values = {hook: offered(manager, hook, kind) for hook, kind in kinds.items() if hook in info.hooks}
            except Unfit as fault:
                del self._managers[info]
                self._set_aside(info, fault)
            else:
                for hook in values:
                    collected[hook] += [(info, value) for value in values[hook]]
        return collected

    def callers(self, hook: str) -> Iterator[tuple[PluginInfo, Callable[..., Any]]]:
        """The plugins that implement a singular hook, sorted by name, each with a function that calls its hook alone.

        The function takes the hook's arguments by keyword and returns what the plugin returns. A
        :class:`torso.TorsoError` of the plugin's passes through; whatever else it raises becomes a
        :class:`torso.PluginError`.
        """
        for info in sorted(self._managers, key=lambda info: info.name):
            if hook in info.hooks:
                yield info, partial(self._call, info, hook)

    def _call(self, info: PluginInfo, hook: str, /, **arguments: object) -> Any:
        try:
            results = getattr(self._managers[info].hook, hook)(**arguments)
        except TorsoError as error:
            if info.origin != "built-in":
                error.notes += (("raised by", str(info)),)
            raise
        except FAULTS as error:
            raise PluginError(f"{info} failed in {hook}: {described(error)}") from error
        return results[0] if results else None  # pluggy keeps no None

    def _load(self, found: Found, rivals: list[Found]) -> None:
        info = found.info
        try:
            check_name(info.name, "its name")
            _check_rivals(found, rivals)
            with plugin_errors("it cannot be imported"):
                plugin = found.load()
            info = replace(info, location=getattr(sys.modules.get(found.module), "__file__", None) or info.location)
            with plugin_errors("it cannot be registered"):
                manager, hooks = managed(plugin, info.name)
        except Unfit as fault:
            self._set_aside(info, fault)
        else:
            self._managers[replace(info, hooks=hooks)] = manager

    def _set_aside(self, info: PluginInfo, fault: Unfit) -> None:
        cause = fault.__cause__
        if info.name in self._asked:
            raise PluginError(f"{info} cannot be used: {fault}") from cause
        text = "".join(traceback.format_exception(cause)) if cause else None
        self._absent.append(replace(info, status="set aside", reason=str(fault), traceback=text))


def _blocks(given: Iterable[str]) -> dict[str, str]:
    """What is to be blocked, in lower case, and the user's words for it."""
    variable = "TORSO_DISABLED_PLUGINS"
    names = (name.strip() for name in os.environ.get(variable, "").split(","))
    blocks = {name.casefold(): f"{variable}={name}" for name in names if name}
    return blocks | {text[3:].casefold(): f"-p {text}" for text in given if text.startswith("no:")}


def _check_blocks(blocks: Mapping[str, str], names: list[str]) -> None:
    there = {name.casefold() for name in names}
    for name, words in blocks.items():
        if name not in there:
            notes = [*did_you_mean(name, names), known(sorted(names, key=str.casefold))]
            raise UnknownNameError(f"there is no plugin to block with {words}", notes=notes)


def _check_rivals(found: Found, rivals: list[Found]) -> None:
    others = [rival.info for rival in rivals if rival is not found]
    name = found.info.name
    if not others or found.info.origin == "built-in":
        return
    if any(info.origin == "built-in" for info in others):
        raise Unfit(f"its name {name!r} is that of a built-in plugin")
    sources = " and ".join(sorted(rival.info.source for rival in rivals))
    raise Unfit(f"its name {name!r} is not its own: {sources} share it; keep one, or block all with -p no:{name}")
