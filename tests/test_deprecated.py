"""Names of torso 0.1 that stay until 1.0: they work, and say what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from random_graphs import graph_of

import torso

GRAPH = graph_of({"image": (), "stem": ("image",)})


@pytest.mark.parametrize(
    ("name", "method", "args", "settings"),
    [
        ("boundary", "block_boundary", ("stem",), {}),
        ("branches_lost", "lost_branches", ("stem",), {}),
        ("clean_costs", "clean_costs", (), {}),
        ("cost_of", "cost", (), {}),
        ("freeze_through", "freeze_through", ("stem",), {"norm": "train", "stochastic": "off"}),
        ("require_clean", "require_clean", ("stem",), {}),
    ],
)
def test_functions_of_a_graph_are_methods_now(name: str, method: str, args: Any, settings: Any) -> None:
    warned = rf"torso\.{name}\(graph, …\) is deprecated: write graph\.{method}"
    with pytest.warns(DeprecationWarning, match=warned) as caught:
        function = getattr(torso, name)
    assert caught[0].filename == __file__
    assert function(GRAPH, *args, **settings) == getattr(GRAPH, method)(*args, **settings)


@pytest.mark.parametrize(
    ("kind", "needed", "old", "new", "value"),
    [
        ("Truncation", "select", "main", "positional", "count"),
        ("Truncation", "select", "foresee", "static_cut", print),
        ("FreezePolicy", "select", "main", "positional", "count"),
        ("ChannelAdapter", "mix", "main", "positional", "count"),
    ],
)
def test_old_keywords_of_a_contribution_still_work(kind: str, needed: str, old: str, new: str, value: Any) -> None:
    options = (torso.Option(name="count", type=int),)
    make, given = getattr(torso, kind), {"name": "new", "doc": "", "options": options, needed: len}
    warned = rf"'{old}' of torso\.{kind} is deprecated: write '{new}'"
    with pytest.warns(DeprecationWarning, match=warned) as caught:
        made = make(**given, **{old: value})
    assert caught[0].filename == __file__
    assert made == make(**given, **{new: value})
    with pytest.warns(DeprecationWarning, match=warned):
        assert getattr(made, old) is value
