"""One module for each verb; its ``command`` is what :mod:`torso.cli.app` runs."""
