"""The checks as a test class, and as one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torso.errors import TorsoError
from torso.plugins.registry import Registry
from torso.testing.checks import CHECKS, Subject


class ArchitectureTests:
    """Inherit, set ``architecture``, and pytest runs every check."""

    architecture: ClassVar[str]  # provider/name
    options: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)  # the sets of options to check
    weights: ClassVar[str | None] = None  # a tag, or "none"; None for the architecture's first tag
    _subjects: ClassVar[tuple[Subject, ...]]

    @classmethod
    def setup_class(cls) -> None:
        registry = Registry.load()
        # Each set of options is planned and built once for all checks.
        cls._subjects = tuple(Subject(cls.architecture, registry, options, cls.weights) for options in cls.options)


def _as_test(check: Callable[[Subject], None]) -> Callable[[ArchitectureTests], None]:
    def test(self: ArchitectureTests) -> None:
        for subject in self._subjects:
            check(subject)

    return test


for _check in CHECKS:
    setattr(ArchitectureTests, _check.__name__.replace("check_", "test_", 1), _as_test(_check))


def check_architecture(
    architecture: str,
    *,
    registry: Registry | None = None,
    options: Mapping[str, Any] | None = None,  # as in a spec
    weights: str | None = None,
) -> None:
    """Run every check; one AssertionError has all that failed, a line each."""
    subject = Subject(architecture, registry or Registry.load(), options or {}, weights)
    failed = []
    for check in CHECKS:
        try:
            check(subject)
        except (AssertionError, TorsoError) as error:
            failed.append(f"{check.__name__}: {error}")
    if failed:
        raise AssertionError("\n".join(failed))
