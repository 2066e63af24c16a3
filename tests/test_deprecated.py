"""Names of torso 0.1 that stay until 1.0: they work, and say what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

import torso

GRAPH = torso.Graph(
    "Net",
    (
        torso.Node(name="image", kind="InputLayer", shape=(8, 8, 3), stride=1),
        torso.Node(name="stem", kind="Conv2D", inputs=("image",), shape=(4, 4, 8), stride=2, kernel=(3, 3)),
        torso.Node(name="end", kind="ReLU", inputs=("stem",), shape=(4, 4, 8), stride=2),
    ),
)


@pytest.mark.parametrize(
    ("name", "method", "args", "settings"),
    [
        ("boundary", "block_boundary", ("C1",), {}),
        ("branches_lost", "lost_branches", ("stem", "end"), {}),
        ("clean_costs", "clean_costs", (), {}),
        ("cost_of", "cost", (), {}),
        ("freeze_through", "freeze_through", ("stem",), {"norm": "train", "stochastic": "off"}),
        ("require_clean", "require_clean", ("stem",), {}),
    ],
)
def test_functions_of_a_graph_are_methods_now(name: str, method: str, args: Any, settings: Any) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"torso\.{name}\(graph, …\) is deprecated: write graph\.{method}"
    ) as caught:
        function = getattr(torso, name)
    assert caught[0].filename == __file__
    assert function(GRAPH, *args, **settings) == getattr(GRAPH, method)(*args, **settings)


VALUES: list[tuple[Any, dict[str, Any]]] = [
    (torso.Truncation, {"select": lambda graph, options: "stem"}),
    (torso.FreezePolicy, {"select": lambda graph, options: torso.FreezePlan()}),
    (torso.ChannelAdapter, {"mix": lambda have, want, options: [[1.0]]}),
]


@pytest.mark.parametrize(("kind", "needed"), VALUES, ids=lambda value: getattr(value, "__name__", ""))
def test_main_of_a_contribution_is_called_positional_now(kind: Any, needed: dict[str, Any]) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"'main' of torso\.{kind.__name__} is deprecated: write 'positional'"
    ) as caught:
        value = kind(name="new", doc="", main="count", **needed)
    assert caught[0].filename == __file__
    assert value == kind(name="new", doc="", positional="count", **needed)
    with pytest.warns(DeprecationWarning, match="write 'positional'"):
        assert value.main == "count"


def test_foresee_of_a_truncation_is_called_static_cut_now() -> None:
    make: Any = torso.Truncation
    with pytest.warns(DeprecationWarning, match=r"'foresee' of torso\.Truncation is deprecated: write 'static_cut'"):
        value = make(name="new", doc="", select=lambda graph, options: "", foresee=lambda declared, options: ["x"])
    assert value.static_cut(None, {}) == ["x"]
