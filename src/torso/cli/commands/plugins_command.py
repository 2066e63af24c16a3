"""``torso plugins``."""

from dataclasses import asdict

from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import key_values, section, table


@torso_command("plugins", example="torso plugins -p no:acme", codes=(0, 2, 4))
def command(session: Session) -> Result:
    """List the plugins, and why some are disabled.

    A plugin with an error is disabled, and the others work without it. The exit code is still 0, unless the plugin was
    named with -p.
    """
    plugins = list(session.registry().plugins)
    rows = []
    for info in plugins:
        distribution = " ".join(filter(None, (info.distribution, info.version)))
        hooks = ", ".join(hook.removeprefix("torso_") for hook in info.hooks)
        rows.append((info.name, distribution or info.origin, info.status, hooks))
    text = table(("name", "from", "status", "hooks"), rows)
    if absent := [(info.name, info.reason) for info in plugins if info.reason]:
        text += "\n\n" + section("not in use", key_values(absent))
    return Result(document={"plugins": [asdict(info) for info in plugins]}, text=text)
