"""One module for each command; its ``command`` is what :mod:`torso.cli.app` runs."""
