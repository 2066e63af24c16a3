"""What is wrong with a plugin, each fault as one sentence."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pluggy

import torso.contracts.hookspecs as hookspecs
from torso.errors import PluginError, nearest

HOOKS: Final[Mapping[str, tuple[str, ...]]] = {  # that torso calls, and the names of their arguments
    name: tuple(inspect.signature(hook).parameters) for name, hook in vars(hookspecs).items() if name.startswith("torso_")
}


def check_name(name: object, what: str) -> str:
    """Return a name that a user can write in YAML, alone or as ``provider/name``."""
    if isinstance(name, str) and name and name.isprintable() and not set(name) & {" ", "/"}:
        return name
    raise PluginError(f"{what} is {name!r}; a name is text without '/' and spaces")


def check_hooks(manager: pluggy.PluginManager, plugin: object) -> tuple[str, ...]:
    """The hooks that a plugin implements, sorted; a PluginError for what torso would not call."""
    # Checked before pluggy registers anything, so that a plugin at fault leaves nothing behind, and in our words: pluggy
    # reports an unknown hook later, and passes nothing for an argument that has a default value.
    marked = {name: options for name in dir(plugin) if (options := manager.parse_hookimpl_opts(plugin, name))}
    for name in HOOKS:
        if name not in marked and callable(getattr(plugin, name, None)):
            raise PluginError(f"its function {name!r} is not marked with @torso.hookimpl")
    if not marked:
        raise PluginError("nothing in it is marked with @torso.hookimpl")
    hooks: list[str] = []
    for name, options in marked.items():
        hook = options.get("specname") or name
        if hook in HOOKS or not options.get("optionalhook"):
            _check_implementation(hook, getattr(plugin, name), wrapper=options["wrapper"] or options["hookwrapper"])
            hooks.append(hook)
    for hook in hooks:
        if hooks.count(hook) > 1:
            raise PluginError(f"it implements the hook {hook!r} {hooks.count(hook)} times")
    return tuple(sorted(hooks))


def _check_implementation(hook: str, function: Callable[..., Any], *, wrapper: bool) -> None:
    if wrapper:
        raise PluginError(f"its hook {hook!r} is a wrapper; torso calls plugins one at a time and wraps none")
    if hook not in HOOKS:
        near = nearest(hook, HOOKS, most=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(sorted(HOOKS))}"
        raise PluginError(f"torso has no hook {hook!r}; {hint}")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in HOOKS[hook]:
            legal = ", ".join(HOOKS[hook])
            hint = f"the hook's arguments are {legal}" if legal else "the hook has no arguments"
            raise PluginError(f"its hook {hook!r} asks for {parameter.name!r}; {hint}")
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.default is not parameter.empty:
            raise PluginError(f"its hook {hook!r} must take {parameter.name!r} as a plain argument without default")


def checked_values(hook: str, answer: Any, kind: type[Any]) -> tuple[Any, ...]:
    """What a plugin yields from one of its plural hooks: values of one type, each with a name of its own."""
    values: dict[str, Any] = {}
    if not isinstance(answer, Iterable):
        fix = f"write 'yield {kind.__name__}(…)' or 'return [{kind.__name__}(…)]'"
        raise PluginError(f"its hook {hook!r} returns a value of type {type(answer).__name__}: {fix}")
    for value in answer:  # checked one by one, so that a generator that never ends is a fault, not a hang: names repeat
        if not isinstance(value, kind):
            raise PluginError(f"its hook {hook!r} yields a value of type {type(value).__name__}, not {kind.__name__}")
        name = check_name(value.name, f"a name that its hook {hook!r} yields").casefold()
        if name in values:
            raise PluginError(f"its hook {hook!r} yields the name {value.name!r} twice")
        values[name] = value
    return tuple(values.values())
