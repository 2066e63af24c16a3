"""The command line: a command returns a Result and prints nothing; :mod:`torso.cli.run` writes it as text or JSON."""

from torso.cli.app import main

__all__ = ["main"]
