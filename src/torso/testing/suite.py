"""The checks as a test class, and as one call; and the check of channel adapters."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from torso.api import create_backbone
from torso.contracts.weights import ChannelAdapter
from torso.errors import TorsoError
from torso.planning import Chosen
from torso.planning.channel_mix import channels_of, mix_of
from torso.plugins.calling import one_line
from torso.plugins.registry import Registry
from torso.specs.options import read_options
from torso.specs.yaml_nodes import from_python
from torso.testing.checks import CHECKS, Subject


class ArchitectureTests:
    """Inherit, set ``architecture``, and pytest runs every check."""

    architecture: ClassVar[str]  # provider/name
    options: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)  # the sets of options to check
    weights: ClassVar[str | None] = None  # a tag, or "none"; None for the architecture's first tag
    plugins_dirs: ClassVar[tuple[str | Path, ...]] = ()  # folders of plugins that are single files
    _subjects: ClassVar[tuple[Subject, ...]]

    @classmethod
    def setup_class(cls) -> None:
        registry = Registry.load(plugins_dirs=cls.plugins_dirs)
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
        except Exception as error:  # noqa: BLE001  # a network raises whatever it likes
            is_told = isinstance(error, (AssertionError, TorsoError))
            failed.append(f"{check.__name__}: {error if is_told else one_line(error)}")
    if failed:
        raise AssertionError("\n".join(failed))


def check_channel_adapter(
    adapter: str,  # provider/name
    *,
    registry: Registry | None = None,  # by default all installed plugins
    options: Mapping[str, Any] | None = None,  # as in a spec
    have: int = 3,
    channels: Iterable[int] = (1, 2, 4, 13),  # unless the options imply one number
) -> None:
    """Check what a channel adapter returns for weights of ``have`` channels and images of each number of ``channels``.

    Raises:
        AssertionError: It fails, returns something of another shape, differs between two calls, or reads no channel; one
            line each.
    """
    contribution = (registry or Registry.load()).channel_adapters.resolve(adapter)
    value, given = contribution.value, from_python(dict(options or {}))
    read = read_options(f"channel adapter {adapter!r}", value.options, given, positional=value.positional)
    chosen: Chosen[ChannelAdapter] = Chosen(contribution=contribution, options=read)
    implied = channels_of(chosen)
    failed = []
    for want in channels if implied is None else (implied,):
        try:
            mix, again = mix_of(chosen, have, want), mix_of(chosen, have, want)
            assert mix == again, f"it returns {mix}, and then {again}"
            assert any(map(any, mix)), "it reads no channel of the image"
        except (AssertionError, TorsoError) as error:
            failed.append(f"for {want} channels: {error}")
    if failed:
        raise AssertionError("\n".join(failed))


def check_export_format(form: str, *, registry: Registry | None = None) -> None:
    """Check what an export format writes of a small network with two outputs, and what ``open`` makes of it.

    Raises:
        AssertionError: The files give other features than Keras, in a process of their own or in this one; those of an image
            depend on the images beside it; or an array changes at the next call.
    """
    from torso.artifact.reference_outputs import error_of

    registry = registry or Registry.load()
    spec: dict[str, Any] = {"input": {"size": [32, 32]}, "truncate": {"levels": ["C1", "C2"]}, "weights": "none"}
    backbone = create_backbone("keras/MobileNetV2", options={"alpha": 0.35}, registry=registry, **spec)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")
    bound = registry.export_formats.resolve(form).value.bound
    try:
        with tempfile.TemporaryDirectory() as temporary:
            backbone.export(Path(temporary, "export"), to=form, registry=registry)
        run = backbone.runtime(form, pool="avg", registry=registry)
        three = run(pixels)
        kept = {name: values.copy() for name, values in three.items()}
        for position, image in enumerate(pixels):
            for name, values in run(image[None]).items():
                error = error_of(kept[name][position], values[0])
                assert error <= bound, f"image {position} alone has another feature {name!r} than among three"
        for name, values in three.items():
            assert np.array_equal(values, kept[name]), f"the next call changes the array of feature {name!r}: return copies"
    except TorsoError as error:
        raise AssertionError(str(error)) from error
