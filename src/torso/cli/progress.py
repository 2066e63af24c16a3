"""Progress on stderr: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from torso.cli.result import UsageError
from torso.cli.text import is_interactive, printable, write
from torso.files.descriptors import diverted

if TYPE_CHECKING:
    from torso.graph import Graph
    from torso.planning import Plan


def step(text: str) -> None:
    """Report the current step, unless -q is given; on a terminal the next one replaces it."""
    if _is_quiet():
        return
    clear()
    if is_interactive(sys.stderr):
        sys.stderr.write(printable(text)[: get_terminal_size().columns - 1])  # a line that wraps cannot be cleared
        sys.stderr.flush()
    else:
        write(printable(text), sys.stderr)


def steps_of(name: str) -> Callable[[str], None]:
    """A function that reports steps of one of several backbones."""
    return lambda text: step(f"{name}: {text}")


def done(text: str) -> None:
    """Report what was done, unless -q is given; the line stays."""
    if not _is_quiet():
        say(text)


def say(text: str) -> None:
    """Report a line that stays, as a warning."""
    clear()
    write(printable(text), sys.stderr)


def _is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and context.obj.quiet


def clear() -> None:
    """Remove the current step from a terminal."""
    if is_interactive(sys.stderr):
        sys.stderr.write("\r\033[2K")
        sys.stderr.flush()


def start_tensorflow() -> None:
    """Import TensorFlow and find its devices, as a step of its own."""
    step("starting TensorFlow")
    try:
        import_module("torso.modeling")
        wanted = os.environ["TF_CPP_MIN_LOG_LEVEL"] in ("0", "1")
        with nullcontext() if wanted else diverted(2, to=None):
            import_module("keras").ops.zeros(())  # it finds the devices, and logs that
    except ImportError as error:
        notes = [("cause", str(error).split("\n")[0]), ("fix", "pip install --force-reinstall tensorflow")]
        raise UsageError("TensorFlow cannot be imported", notes=notes) from error


def draw_graph(plan: Plan) -> Graph:
    """The whole headless network of a plan, drawn without values."""
    start_tensorflow()
    from torso.modeling.draw import headless_graph

    step(f"drawing {plan.architecture.value.name}")
    return headless_graph(plan)
