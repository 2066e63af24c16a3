"""The command line: arguments in, one result on stdout, everything else on stderr.

A command returns a :class:`~torso.cli.result.Result` and prints nothing; :mod:`torso.cli.run` writes it as text or JSON.
"""

from torso.cli.app import main

__all__ = ["main"]
