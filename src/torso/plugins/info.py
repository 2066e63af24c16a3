"""What is known of one plugin, whether it is in use or not."""

from dataclasses import dataclass
from typing import Literal

from torso.errors import Note

Origin = Literal["built-in", "entry point", "-p", "--plugins-dir", "registered"]
Status = Literal["loaded", "disabled", "blocked"]  # disabled for a fault; blocked by the user, and not imported


@dataclass(frozen=True, kw_only=True)
class PluginInfo:
    """One plugin, as errors and ``torso plugins`` show it."""

    name: str  # the provider's name: "acme" in acme/eyenet
    origin: Origin
    distribution: str | None = None  # that it is installed with
    version: str | None = None  # of the distribution
    location: str | None = None  # its file; its module while the file is unknown
    hooks: tuple[str, ...] = ()  # that it implements, sorted
    status: Status = "loaded"
    reason: str | None = None  # why it is not in use, in one sentence
    traceback: str | None = None  # of its fault, for --debug

    @property
    def source(self) -> str:
        """Where it comes from: ``torso-acme 0.2.0``, ``built-in``, or its file or module."""
        if self.origin == "built-in":
            return "built-in"
        return f"{self.distribution} {self.version}" if self.distribution else str(self.location)

    @property
    def note(self) -> Note:
        """The line of an error that mentions a plugin which is not in use."""
        return (self.status, f"{self}: {self.reason}")

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.source})"
