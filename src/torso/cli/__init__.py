"""The command line: words in, one result on stdout, everything else on stderr.

A verb returns an :class:`~torso.cli.result.Outcome` and prints nothing; :mod:`torso.cli.app` turns that, or whatever was
raised, into text or JSON and an exit code. Modules of verbs are imported when their verb is used.
"""

from torso.cli.app import main

__all__ = ["main"]
