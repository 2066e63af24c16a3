"""Load plugins one by one, and call their hooks one plugin at a time: one plugin's fault harms no other."""

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

import torso.contracts.hookspecs as hookspecs
from torso.errors import PluginError, TorsoError, UnknownNameError, did_you_mean, known
from torso.plugins.calling import plugin_errors
from torso.plugins.discovery import BUILTINS, Found, find_plugins
from torso.plugins.info import PluginInfo
from torso.plugins.validation import check_hooks, check_name, checked_values


class Plugins:
    """The plugins of one registry: those in use, and those that are not with the reason why."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("torso")
        self._manager.add_hookspecs(hookspecs)
        self._loaded: dict[str, PluginInfo] = {}
        self._absent: list[PluginInfo] = []
        self._named: set[str] = set()

    @classmethod
    def load(
        cls,
        *,
        plugins: Iterable[object] = (),
        plugins_dirs: Iterable[str | Path] = (),
        discover: bool = True,
        builtins: Mapping[str, str] = BUILTINS,
    ) -> Plugins:
        """Load all plugins that are installed or named; see :meth:`torso.Registry.load`."""
        given = [getattr(one, "__name__", str(one)) for one in plugins]
        named = [text for text in given if not text.startswith("no:")]
        blocks = _blocks(given)
        discover = discover and os.environ.get("TORSO_DISABLE_PLUGIN_AUTOLOAD", "0") in ("", "0")
        entry_points = discover or bool(named or blocks)  # one that is named or blocked must be found in any case
        found = list(find_plugins(builtins=builtins, named=named, folders=plugins_dirs, entry_points=entry_points))
        names = sorted({one.info.name for one in found}, key=str.casefold)
        for block, text in blocks.items():
            if block not in map(str.casefold, names):
                notes = [*did_you_mean(block, names), known(names)]
                raise UnknownNameError(f"there is no plugin to block with {text}", notes=notes)
        if not discover:
            found = [one for one in found if one.named or one.info.origin != "entry point"]

        self = cls()
        self._named = {one.info.name for one in found if one.named}
        for one in found:
            name = one.info.name.casefold()
            if name in blocks:
                reason = f"it is blocked with {blocks[name]}"
                self._absent.append(replace(one.info, status="blocked", reason=reason))
            else:
                self._load(one, rivals=[rival.info for rival in found if rival.info.name.casefold() == name])
        return self

    def __iter__(self) -> Iterator[PluginInfo]:
        """Every plugin, in use or not: torso's own, then the others by name."""
        everything = [*self._loaded.values(), *self._absent]
        return iter(sorted(everything, key=lambda info: (info.origin != "built-in", info.name.casefold())))

    @property
    def absent(self) -> tuple[PluginInfo, ...]:
        """The plugins that are disabled or blocked."""
        return tuple(info for info in self if info.status != "loaded")

    def collect(self, kinds: Mapping[str, type[Any]]) -> dict[str, list[tuple[PluginInfo, Any]]]:
        """For each of these plural hooks, every value that the plugins yield, of that type, with its plugin."""
        collected: dict[str, list[tuple[PluginInfo, Any]]] = {hook: [] for hook in kinds}
        for info in list(self._loaded.values()):
            values: list[tuple[str, Any]] = []
            try:
                for hook in (hook for hook in info.hooks if hook in kinds):
                    with plugin_errors(info, f"its hook {hook!r}"):
                        answer = self._implementation(info, hook).function()
                        values += [(hook, value) for value in checked_values(hook, answer, kinds[hook])]
            except TorsoError as fault:  # in one hook: the plugin contributes to none
                del self._loaded[info.name]
                self._manager.unregister(name=info.name)
                self._disable(info, fault)
            else:
                for hook, value in values:
                    collected[hook].append((info, value))
        return collected

    def callers(self, hook: str) -> Iterator[tuple[PluginInfo, Callable[..., Any]]]:
        """The plugins that implement a singular hook, sorted by name, each with a function that calls its hook alone."""
        for info in sorted(self._loaded.values(), key=lambda info: info.name):
            if hook in info.hooks:
                yield info, partial(self._call, info, hook)

    def _call(self, info: PluginInfo, hook: str, /, **arguments: object) -> Any:
        implementation = self._implementation(info, hook)
        with plugin_errors(info, f"hook {hook!r}"):
            return implementation.function(*(arguments[name] for name in implementation.argnames))

    def _implementation(self, info: PluginInfo, hook: str) -> pluggy.HookImpl:
        # Called one by one, not through pluggy's hook(): a hook that fails is one plugin's failure, and the order is ours.
        implementations: list[pluggy.HookImpl] = getattr(self._manager.hook, hook).get_hookimpls()
        return next(one for one in implementations if one.plugin_name == info.name)

    def _load(self, found: Found, rivals: list[PluginInfo]) -> None:
        info = found.info
        try:
            check_name(info.name, "its name")
            _check_rivals(info, rivals)
            with plugin_errors(info, "its import"):
                plugin = found.load()
                info = replace(info, location=getattr(sys.modules.get(found.module), "__file__", None) or info.location)
                info = replace(info, hooks=check_hooks(self._manager, plugin))
                self._manager.register(plugin, info.name)  # a ValueError for one module under two names
        except TorsoError as fault:
            self._disable(info, fault)
        else:
            self._loaded[info.name] = info

    def _disable(self, info: PluginInfo, fault: TorsoError) -> None:
        cause = fault.__cause__  # what the plugin raised; None for what torso found wrong with it
        if info.name in self._named:
            raise PluginError(f"{info} cannot be used: {fault.fact}") from cause
        text = "".join(traceback.format_exception(cause)) if cause else None
        self._absent.append(replace(info, status="disabled", reason=fault.fact, traceback=text))


def _blocks(given: Iterable[str]) -> dict[str, str]:
    """The names to block, in lower case, each with what the user wrote."""
    variable = "TORSO_DISABLED_PLUGINS"
    names = (name.strip() for name in os.environ.get(variable, "").split(","))
    blocks = {name.casefold(): f"{variable}={name}" for name in names if name}
    return blocks | {text[3:].casefold(): f"-p {text}" for text in given if text.startswith("no:")}


def _check_rivals(info: PluginInfo, rivals: list[PluginInfo]) -> None:
    """Refuse every plugin that shares its name, but for a built-in one."""
    if len(rivals) == 1 or info.origin == "built-in":
        return
    if any(rival.origin == "built-in" for rival in rivals):
        raise PluginError(f"its name {info.name!r} is that of a built-in plugin")
    sources = " and ".join(sorted(rival.source for rival in rivals))
    raise PluginError(f"{sources} share the name {info.name!r}; keep one, or block all with -p no:{info.name}")
