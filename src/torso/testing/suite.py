"""The checks as a test class, and as one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torso.errors import TorsoError
from torso.plugins.registry import Registry
from torso.testing.checks import CHECKS, Subject


class ArchitectureTests:
    """Inherit, set ``architecture``, and pytest runs every check.

    Attributes:
        architecture: Name of the architecture, ``provider/name``.
        options: The sets of options to check.
        weights: A tag, or ``"none"``; None for the architecture's first tag.
    """

    architecture: ClassVar[str]
    options: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    weights: ClassVar[str | None] = None
    _subjects: ClassVar[tuple[Subject, ...]]

    @classmethod
    def setup_class(cls) -> None:
        """One subject for each set of options: it is planned and built once for all checks."""
        registry = Registry.load()
        cls._subjects = tuple(Subject(cls.architecture, registry, options, cls.weights) for options in cls.options)


def _as_test(check: Callable[[Subject], None]) -> Callable[[ArchitectureTests], None]:
    def test(self: ArchitectureTests) -> None:
        for subject in self._subjects:
            check(subject)

    test.__doc__ = check.__doc__
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
    """Run every check and report all failures at once.

    Raises:
        AssertionError: What failed, one line each.
    """
    subject = Subject(architecture, registry or Registry.load(), options or {}, weights)
    failed = []
    for check in CHECKS:
        try:
            check(subject)
        except (AssertionError, TorsoError) as error:
            failed.append(f"{check.__name__}: {error}")
    if failed:
        raise AssertionError("\n".join(failed))
