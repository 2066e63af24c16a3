"""Look up, list and suggest what the plugins offer, by name; two plugins that offer one name are an error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, TypeVar

from torso.contracts.architecture import Architecture, InputRules
from torso.contracts.engine import Engine
from torso.contracts.export_format import ExportFormat
from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.hookspecs import hookimpl
from torso.contracts.preprocessing import Preprocessing
from torso.contracts.truncation import Truncation
from torso.contracts.weights import ChannelAdapter, WeightSource
from torso.errors import ClashError, Note, TorsoError, UnknownNameError, known, nearest
from torso.plugins import PluginInfo, Plugins
from torso.plugins.calling import plugin_errors
from torso.plugins.discovery import registered
from torso.specs.options import Options, Value

T = TypeVar("T", bound=Any)  # a contract of torso.contracts: a value with a name; or a builder

_KINDS: Final[Mapping[str, type[Any]]] = {
    "torso_architectures": Architecture,
    "torso_truncations": Truncation,
    "torso_freeze_policies": FreezePolicy,
    "torso_weight_sources": WeightSource,
    "torso_channel_adapters": ChannelAdapter,
    "torso_export_formats": ExportFormat,
    "torso_engines": Engine,
}

YOURS: Final = (  # the note of an error, where no known architecture is near
    "fix",
    "if it is of your own, load its plugin: install it, or --plugins-dir FOLDER; "
    "in Python registry=torso.Registry.load(plugins_dirs=[…])",
)

_RENAMED: Final = {"last": "all_but_last", "norm_only": "all_but_norm"}  # names that were, with those that are


@dataclass(frozen=True, kw_only=True)
class Contribution(Generic[T]):
    """One value, and the plugin that offers it."""

    value: T
    plugin: PluginInfo

    @property
    def name(self) -> str:
        return str(self.value.name)

    @property
    def qualified(self) -> str:
        """The name that no other contribution of the kind has: ``acme/eyenet``."""
        return f"{self.plugin.name}/{self.name}"


class Catalogue(Generic[T]):
    """The contributions of one kind, in natural order: ``ResNet50`` before ``ResNet101``."""

    def __init__(
        self, noun: str, contributions: Iterable[Contribution[T]] = (), *, absent: Iterable[PluginInfo] = ()
    ) -> None:
        self._noun = noun  # for messages: "architecture"
        self._absent = tuple(absent)  # plugins that may have offered a name that is not found
        self._sorted = sorted(contributions, key=lambda one: (_natural(one.name), _natural(one.plugin.name)))
        self._by_name: dict[str, list[Contribution[T]]] = {}
        for contribution in self._sorted:
            self._by_name.setdefault(_folded(contribution.name), []).append(contribution)

    def __iter__(self) -> Iterator[Contribution[T]]:
        return iter(self._sorted)

    def __len__(self) -> int:
        return len(self._sorted)

    def resolve(self, name: str) -> Contribution[T]:
        """The contribution of a bare name, or of ``provider/name``; letter case and underscores do not count.

        Raises UnknownNameError where there is none, and ClashError where several plugins offer that bare name.
        """
        provider, _, bare = name.casefold().rpartition("/")  # neither holds a slash, see check_name
        namesakes = self._by_name.get(_folded(bare), [])
        if "/" in name:
            namesakes = [one for one in namesakes if one.plugin.name.casefold() == provider]
        namesakes = [one for one in namesakes if one.name.casefold() == bare] or namesakes
        if len(namesakes) == 1:
            return namesakes[0]
        raise self._clash(name, namesakes) if namesakes else self._unknown(name)

    def search(self, *patterns: str) -> tuple[Contribution[T], ...]:
        """Those whose bare or qualified name matches any of the shell patterns; letter case and underscores do not count.

        A pattern without a wildcard that is no name is sought within the names.
        """
        found = {one for text in patterns for one in self._matching(text) or self._matching(f"*{text}*", text)}
        return tuple(one for one in self if one.qualified in found)

    def _matching(self, pattern: str, name: str = "") -> set[str]:
        if any(sign in name for sign in "*?["):
            return set()
        names = {one.qualified: (one.name, one.qualified) for one in self}
        return {key for key, both in names.items() if any(fnmatchcase(_folded(one), _folded(pattern)) for one in both)}

    def _clash(self, name: str, namesakes: list[Contribution[T]]) -> ClashError:
        namesakes = sorted(namesakes, key=lambda one: one.qualified)
        names = " or ".join(repr(one.qualified) for one in namesakes)
        blocks = " or ".join(f"-p no:{one.plugin.name}" for one in namesakes)
        offers = [("known", f"{one.qualified}, by {one.plugin}") for one in namesakes]
        notes = [*offers, ("fix", f"write {names}, or block with {blocks}")]
        return ClashError(f"{self._noun} {name!r} is offered by {len(namesakes)} plugins", notes=notes)

    def _unknown(self, name: str) -> UnknownNameError:
        provider, _, bare = name.rpartition("/")
        # Names of the provider that the user wrote, if there is such a provider.
        siblings = [one for one in self if one.plugin.name.casefold() == provider.casefold()] or list(self)
        near = nearest(_RENAMED.get(bare.casefold(), bare), (one.name for one in siblings))
        if provider:
            near = tuple(one.qualified for word in near for one in siblings if one.name == word)
        notes: list[Note] = [("did you mean", ", ".join(map(repr, near)))] if near else []
        if provider and all(one.plugin.name.casefold() != provider.casefold() for one in self):
            notes.append(("cause", f"no plugin {provider!r} offers any {self._noun}"))
        notes += [known(dict.fromkeys(one.name for one in self)), *(info.note for info in self._absent)]
        notes += [YOURS] if self._noun == "architecture" and not near else []
        return UnknownNameError(f"unknown {self._noun} {name!r}", notes=notes)


class Registry:
    """All that the plugins offer, one catalogue for each kind."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        offered = plugins.collect(_KINDS)  # all kinds at once: a plugin that fails in one of them is out of all

        def catalogue(noun: str, hook: str) -> Catalogue[Any]:
            contributions = (Contribution(value=value, plugin=info) for info, value in offered[hook])
            return Catalogue(noun, contributions, absent=plugins.absent)

        self.architectures: Catalogue[Architecture] = catalogue("architecture", "torso_architectures")
        self.truncations: Catalogue[Truncation] = catalogue("truncation strategy", "torso_truncations")
        self.freeze_policies: Catalogue[FreezePolicy] = catalogue("freeze policy", "torso_freeze_policies")
        self.weight_sources: Catalogue[WeightSource] = catalogue("weight source", "torso_weight_sources")
        self.channel_adapters: Catalogue[ChannelAdapter] = catalogue("channel adapter", "torso_channel_adapters")
        self.export_formats: Catalogue[ExportFormat] = catalogue("export format", "torso_export_formats")
        self.engines: Catalogue[Engine] = catalogue("engine", "torso_engines")

    @classmethod
    def load(
        cls, *, plugins: Iterable[object] = (), plugins_dirs: str | Path | Iterable[str | Path] = (), discover: bool = True
    ) -> Registry:
        """The registry of all plugins that are installed or named, each loaded on its own.

        ``TORSO_DISABLED_PLUGINS`` in the environment holds names to block, separated by commas;
        ``TORSO_DISABLE_PLUGIN_AUTOLOAD=1`` is the same as ``discover=False``.

        Args:
            plugins: As after ``-p``: a plugin's name, a module or its name, or ``no:NAME`` to block a plugin unimported.
            plugins_dirs: Folders, or one, whose ``*.py`` files are one plugin each.
            discover: Whether to load the plugins of installed distributions that ``plugins`` does not name.

        Raises:
            UnknownNameError: There is no plugin of a name to block.
            OptionError: A folder cannot be read.
            PluginError: A plugin that ``plugins`` names is at fault.
        """
        folders = [plugins_dirs] if isinstance(plugins_dirs, (str, Path)) else plugins_dirs
        return cls(Plugins.load(plugins=plugins, plugins_dirs=folders, discover=discover))

    def build_arguments(
        self,
        architecture: Contribution[Architecture],
        options: Options,
        weights: str,
        input_shape: tuple[int | None, int | None, int],
    ) -> dict[str, Value]:
        """The arguments that plugins add for the builder, merged."""
        merged: dict[str, tuple[PluginInfo, Value]] = {}
        for info, call in self.plugins.callers("torso_build_arguments"):
            answer = call(architecture=architecture.value, options=options, weights=weights, input_shape=input_shape)
            with plugin_errors(info, "reading the answer of hook 'torso_build_arguments'"):
                given = dict(answer or {})
                json.dumps(given)  # as the plan and the manifest have them
            for name, value in given.items():
                first, other = merged.setdefault(name, (info, value))
                if other != value:
                    fact = f"two plugins set the argument {name!r} of architecture {architecture.name!r} differently"
                    fix = f"block one of them with -p no:{first.name} or -p no:{info.name}"
                    notes = [("known", f"{other!r}, by {first}"), ("known", f"{value!r}, by {info}"), ("fix", fix)]
                    raise ClashError(fact, notes=notes)
        return {name: value for name, (_, value) in merged.items()}


def register(plugin: object) -> None:
    """Add a plugin to every registry that this process makes from now on, in place of what was registered as that.

    Args:
        plugin: A module, or an object with functions marked ``@torso.hookimpl``. The provider's name, ``acme`` in
            ``acme/eyenet``, is the last part of the module's name, or the name of the object's class.

    Raises:
        PluginError: The plugin is at fault, or another one has that name. It is not registered then.
    """
    name = getattr(plugin, "__name__", type(plugin).__name__).rpartition(".")[2]
    registered[name] = plugin
    try:
        Registry.load(plugins=[name])  # one that is named and at fault is an error
    except TorsoError:
        del registered[name]
        raise


def architecture(*, name: str, preprocessing: Preprocessing, **fields: Any) -> Callable[[T], T]:
    """Register the function below as the builder of an architecture, for this process.

    Args:
        name: Its name, and that of its family and provider.
        preprocessing: What its weights expect of the pixels.
        **fields: Further fields of :class:`torso.Architecture`. ``input`` is images of 224x224 unless it is given.

    Raises:
        PluginError: No spec can write that name, or another plugin has it.
    """

    def decorate(builder: T) -> T:
        given: dict[str, Any] = {"family": name, "input": InputRules(default=(224, 224)), **fields}
        value = Architecture(name=name, builder=builder, preprocessing=preprocessing, **given)
        plugin: Any = ModuleType(name)
        plugin.torso_architectures = hookimpl(lambda: [value])
        register(plugin)
        return builder

    return decorate


def _folded(name: str) -> str:
    return name.casefold().replace("_", "")


def _natural(text: str) -> list[Any]:
    """A key that sorts the numbers inside a text by value, and letters without case."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split("([0-9]+)", text.casefold()))]
