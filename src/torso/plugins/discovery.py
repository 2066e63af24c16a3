"""Where plugins are found. No plugin is imported here."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torso.errors import OptionError, PluginError
from torso.plugins.calling import one_line
from torso.plugins.info import Origin, PluginInfo

BUILTINS: Final[Mapping[str, str]] = {  # torso's own plugins: name and module
    "keras": "torso.builtins.keras_applications",
    "mobilenet-alpha": "torso.builtins.mobilenet_alpha",
    "truncations": "torso.builtins.truncations",
    "freeze-policies": "torso.builtins.freeze_policies",
    "weight-sources": "torso.builtins.weight_sources",
    "channel-adapters": "torso.builtins.channel_adapters",
    "export-formats": "torso.builtins.export_formats",
    "engines": "torso.builtins.engines",
}
FILE: Final = "torso_file_"  # begins the module's name of a plugin that is a single file
registered: Final[dict[str, object]] = {}  # plugins of this process alone, by name


@dataclass(frozen=True, kw_only=True)
class Found:
    """A plugin before it is loaded."""

    info: PluginInfo  # what is known of it so far
    module: str
    load: Callable[[], object]  # imports it; runs its code
    named: bool = False  # the user named it with -p


def find_plugins(
    *, builtins: Mapping[str, str], named: Iterable[str], folders: Iterable[str | Path], entry_points: bool
) -> Iterator[Found]:
    """Everything that can be loaded, torso's own first; ``named`` are the plugins and modules after ``-p``."""
    wanted = dict.fromkeys(named)
    found_names = set(builtins)
    for name, module in builtins.items():
        yield _in_module(name, module, "built-in")
    for found in _installed() if entry_points else ():
        found_names |= {found.info.name, found.module}
        yield replace(found, named=found.info.name in wanted or found.module in wanted)
    for name in registered:
        found_names.add(name)
        info = PluginInfo(name=name, origin="registered", location="this process", version="cannot be reproduced elsewhere")
        yield Found(info=info, module="", load=partial(registered.get, name), named=name in wanted)
    for module in wanted:
        if module.endswith(".py"):
            fix = f"--plugins-dir {Path(module).parent}"
            raise OptionError(f"a plugin is named by its module, and {module!r} is a file", notes=[("fix", fix)])
        if module not in found_names:  # a module of an entry point has the entry point's name; any other its own last part
            yield _in_module(module.rpartition(".")[2], module, "-p", named=True)
    for path in dict.fromkeys(path for folder in folders for path in _files(folder)):
        yield _in_file(path)


def _in_module(name: str, module: str, origin: Origin, *, named: bool = False) -> Found:
    info = PluginInfo(name=name, origin=origin, location=module)
    return Found(info=info, module=module, load=partial(import_module, module), named=named)


def _installed() -> list[Found]:
    from importlib import metadata  # takes a while to import

    found: list[Found] = []
    try:
        for entry in metadata.entry_points(group="torso"):
            by: Any = entry.dist
            module = entry.value.partition(":")[0].strip()
            info = PluginInfo(
                name=entry.name, origin="entry point", distribution=by.name, version=by.version, location=module
            )
            found.append(Found(info=info, module=module, load=entry.load))
    except Exception as error:  # one damaged file, of any distribution, ends the search
        damaged: list[str] = []
        for distribution in metadata.distributions():
            with suppress(Exception):
                damaged.append(distribution.name)
                _ = distribution.entry_points
                damaged.pop()
        names = " ".join(damaged) or "the damaged one"
        fix = f"pip install --force-reinstall {names}, or set TORSO_DISABLE_PLUGIN_AUTOLOAD=1 to look for none"
        notes = [("cause", f"entry_points.txt of {names} cannot be read: {one_line(error)}"), ("fix", fix)]
        raise PluginError("the plugins of installed distributions cannot be found", notes=notes) from error
    return found


def _files(folder: str | Path) -> list[Path]:
    try:
        paths = sorted(Path(folder).absolute().iterdir())
    except OSError as error:
        raise OptionError(f"the plugins folder {str(folder)!r} cannot be read: {error.strerror}") from error
    return [path for path in paths if path.suffix == ".py" and path.name[0] != "_" and not path.is_dir()]


def _in_file(path: Path) -> Found:
    # The module's name is made of the path: two folders may hold files of one name, and none may hide an installed module.
    from hashlib import sha256  # loads OpenSSL, which `torso list` does not need

    module = f"{FILE}{sha256(str(path).encode()).hexdigest()[:12]}"
    info = PluginInfo(name=path.stem, origin="--plugins-dir", location=str(path))
    return Found(info=info, module=module, load=partial(run_file, path, module))


def run_file(path: Path, name: str) -> ModuleType:
    """Run a plugin that is a single file as the module of this name."""
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018  # true for every path that ends in .py
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, pickle, and a builder reference f"{__name__}:build" look it up there
    if (folder := str(path.parent)) not in sys.path:
        sys.path.append(folder)  # last: it can import the files beside it, and they hide no installed module
    for beside in path.parent.glob("_[!_]*.py"):
        found = find_spec(beside.stem)
        if found is None or found.origin != str(beside):
            fact = f"it would not get {beside.name!r} beside it, but {found and found.origin!r}"
            raise OptionError(fact, notes=[("fix", f"give {beside.name!r} a name that nothing else has")])
    spec.loader.exec_module(module)
    return module
