"""What makes a plugin unfit, each fault as one sentence."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import pluggy

import torso.contracts.hookspecs as hookspecs
from torso.errors import nearest

MOST_VALUES: Final = 100_000
"""How many values one hook of one plugin may yield."""

FAULTS: Final = (Exception, SystemExit)
"""What is a plugin's own fault; KeyboardInterrupt is the user."""

HOOKS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {name: tuple(inspect.signature(hook).parameters) for name, hook in vars(hookspecs).items() if name.startswith("torso_")}
)
"""The hooks that torso calls, and the names of their arguments."""


class Unfit(Exception):
    """A plugin is to be set aside; the text is the reason."""


@contextmanager
def plugin_errors(act: str) -> Iterator[None]:
    """Make whatever a plugin's code raises the reason to set it aside."""
    try:
        yield
    except Unfit:
        raise
    except FAULTS as error:
        raise Unfit(f"{act}: {described(error)}") from error


def described(error: BaseException) -> str:
    """An exception of a plugin as one short line."""
    try:
        lines = str(error).split("\n")
    except FAULTS:
        lines = [""]
    kind = type(error).__name__
    return f"{kind}: {lines[0][:300]}" if lines[0] else kind


def check_name(name: object, what: str) -> str:
    """A name that a user can write in YAML and before or behind a ``/``.

    Raises:
        Unfit: It is none.
    """
    if isinstance(name, str) and name and name.isprintable() and not set(name) & {" ", "/"}:
        return name
    raise Unfit(f"{what} is {name!r}; a name is text without '/' and spaces")


def managed(plugin: object, name: str) -> tuple[pluggy.PluginManager, tuple[str, ...]]:
    """A manager that knows this plugin alone, and the hooks that the plugin implements.

    Raises:
        Unfit: What it implements is not what torso calls.
    """
    manager = pluggy.PluginManager("torso")
    manager.register(plugin, name)  # before the hooks are specified: what is wrong with it is told here, in our words
    callers = {caller.name: caller.get_hookimpls() for caller in manager.get_hookcallers(plugin) or ()}
    for hook, implementations in callers.items():
        for implementation in implementations:
            _check_implementation(hook, implementation)
        if len(implementations) > 1:
            raise Unfit(f"it implements the hook {hook!r} {len(implementations)} times")
    for hook in HOOKS:
        if hook not in callers and callable(getattr(plugin, hook, None)):
            raise Unfit(f"its function {hook!r} is not marked with @torso.hookimpl")
    if not callers:
        raise Unfit("nothing in it is marked with @torso.hookimpl")
    manager.add_hookspecs(hookspecs)
    return manager, tuple(sorted(callers.keys() & HOOKS.keys()))


def _check_implementation(hook: str, implementation: pluggy.HookImpl) -> None:
    if implementation.wrapper or implementation.hookwrapper:
        raise Unfit(f"its hook {hook!r} is a wrapper; torso calls plugins one at a time and wraps none")
    if hook not in HOOKS:
        if implementation.optionalhook:
            return
        near = nearest(hook, HOOKS, most=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(sorted(HOOKS))}"
        raise Unfit(f"torso has no hook {hook!r}; {hint}")
    for parameter in inspect.signature(implementation.function).parameters.values():
        if parameter.name not in HOOKS[hook]:
            legal = ", ".join(HOOKS[hook])
            hint = f"the hook's arguments are {legal}" if legal else "the hook has no arguments"
            raise Unfit(f"its hook {hook!r} asks for {parameter.name!r}; {hint}")
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.default is not parameter.empty:
            raise Unfit(f"its hook {hook!r} must take {parameter.name!r} as a plain argument without default")


def offered(manager: pluggy.PluginManager, hook: str, kind: type[Any]) -> tuple[Any, ...]:
    """All that a plugin yields from one of its plural hooks, every value checked.

    Raises:
        Unfit: It fails, or yields something else.
    """
    with plugin_errors(f"its hook {hook!r} failed"):
        return _offered(manager, hook, kind)


def _offered(manager: pluggy.PluginManager, hook: str, kind: type[Any]) -> tuple[Any, ...]:
    results = getattr(manager.hook, hook)()
    if not results:  # pluggy keeps no None
        raise Unfit(f"its hook {hook!r} returned None; it must yield values")
    values = tuple(islice(results[0], MOST_VALUES + 1))
    if len(values) > MOST_VALUES:
        raise Unfit(f"its hook {hook!r} yields more than {MOST_VALUES} values")
    names = set()
    for value in values:
        if not isinstance(value, kind):
            raise Unfit(f"its hook {hook!r} yields a value of type {type(value).__name__}, not {kind.__name__}")
        name = check_name(value.name, f"a name that its hook {hook!r} yields").casefold()
        if name in names:
            raise Unfit(f"its hook {hook!r} yields the name {value.name!r} twice")
        names.add(name)
    return values
