"""``torso plugins``."""

from __future__ import annotations

from dataclasses import asdict

from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.text import facts, page_of, table
from torso.plugins import PluginInfo

_PREFIX = "torso_"


@verb("plugins", example="torso plugins -p no:acme", codes=(0, 2, 4))
def command(session: Session) -> Outcome:
    """List the plugins, and why some are not in use.

    A plugin at fault is disabled, and the others work without it. The exit code is still 0, unless the plugin
    was named with -p.
    """
    plugins = list(session.registry().plugins)
    titles = dict.fromkeys(("name", "from", "status", "hooks"), "<")
    parts = [table(titles, map(_row, plugins), session.out, page=page_of(session.out))]
    absent = [(info.name, f"{info.status}: {info.reason}") for info in plugins if info.reason]
    if absent:
        parts.append(facts(absent, session.out))
    return Outcome(document={"plugins": [asdict(info) for info in plugins]}, text="\n\n".join(parts))


def _row(info: PluginInfo) -> tuple[str, ...]:
    distribution = " ".join(filter(None, (info.distribution, info.version)))
    hooks = ", ".join(hook.removeprefix(_PREFIX) for hook in info.hooks)
    return (info.name, distribution or info.origin, info.status, hooks)
