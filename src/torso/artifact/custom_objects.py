"""Classes and functions in a saved model that are not Keras' own. Only a plugin names the modules that register them."""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import packages_distributions
from typing import Any

import keras

from torso.artifact.manifest import Manifest, SavedManifest
from torso.errors import PluginError
from torso.plugins.calling import plugin_errors
from torso.plugins.discovery import FILE
from torso.plugins.registry import Registry


def names_in(config: Any) -> Iterator[str]:
    """The name of each custom class and function in the configuration of a model."""
    if isinstance(config, dict):
        # Keras writes null for the main program, and "builtins" for a function of any module
        name, module = config.get("class_name"), config.get("module", "keras") or "__main__"
        if name and module.split(".")[0] != "keras":
            yield str(config["config"] if name == "function" else config.get("registered_name") or name)
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from names_in(part)


def custom_objects(names: Iterable[str], manifest: Manifest) -> tuple[Mapping[str, str | None], ...]:
    """What a model with these custom names needs; a PluginError for one that no module of its architecture registers."""
    modules = tuple(f"{module}." for module in (manifest.plan["builder"].partition(":")[0], *manifest.layer_modules))
    found = {name: keras.saving.get_custom_objects().get(name) for name in sorted({*names})}
    homes = {name: getattr(one, "__module__", "") for name, one in found.items()}
    homes |= {
        name: "package.module" for name, one in found.items() if "<locals>" in getattr(one, "__qualname__", "<locals>")
    }
    if others := [name for name, home in homes.items() if not f"{home}.".startswith(modules)]:
        fact = f"the saved model would not load with plain Keras: it uses {', '.join(others)}"
        fix = "register it with @keras.saving.register_keras_serializable(), at the top level of a module"
        notes = [("fix", fix), ("and", f"name that: Architecture(layers=({homes[others[0]]!r},)); see docs/plugins.md")]
        raise PluginError(fact, notes=notes)
    distributions = packages_distributions() if found else {}  # reads the list of files of all that is installed
    return tuple(
        {
            "name": name,  # under which it is registered: "acme>Gate"
            "module": None if home.startswith(("__main__", FILE)) else home,  # None: nobody else can import it
            "distribution": distributions.get(home.partition(".")[0], [None])[0],
        }
        for name, home in homes.items()
    )


def import_layers(manifest: SavedManifest, registry: Registry | None) -> None:
    """Import the modules that the architecture of a saved backbone names, unless all that it needs is registered."""
    known, qualified = keras.saving.get_custom_objects(), manifest.plan["architecture"]
    if all(one["name"] in known for one in manifest.custom_objects):
        return
    registry = registry or Registry.load()
    if card := next((one for one in registry.architectures if one.qualified == qualified), None):
        with plugin_errors(card.plugin, f"importing the layers of {qualified!r}"):
            for module in (card.value.builder_name.partition(":")[0], *card.value.layers):
                import_module(module)
    if missing := [str(one["name"]) for one in manifest.custom_objects if one["name"] not in known]:
        (plugin,) = (one for one in manifest.plugins if one.name == qualified.partition("/")[0])
        here = [info.note for info in registry.plugins.absent if info.name == plugin.name]
        here += [("found", f"{card.plugin}, which registers no such name")] if card else []
        fix = "load it as then: --plugins-dir, -p, registry=torso.Registry.load(plugins_dirs=[…]), torso.register"
        fix = f"pip install {plugin.distribution}=={plugin.version}" if plugin.distribution else fix
        fact = f"{manifest.name!r} needs {', '.join(missing)}, which the plugin {plugin.name!r} registers"
        raise PluginError(fact, notes=[*here, ("fix", fix)])
