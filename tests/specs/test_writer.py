from __future__ import annotations

import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st

from torso.specs.backbone_spec import Choice, InputSpec
from torso.specs.spec_file import BackboneSpec, read_spec, write_spec
from torso.specs.yaml_nodes import ILLEGAL_CHARACTER, MappingNode, Node, ScalarNode, SequenceNode


def test_write_spec_writes_as_a_user_would():
    examples = Path(__file__).parent / "examples"
    assert write_spec(read_spec(examples / "smaller.yaml").values()) == (examples / "smaller_written.yaml").read_text()


SPECIAL = [
    "", "~", "null", "none", "true", "no", "1", "1.10", "-.5", "+1e-3", "0644", "1_000", "0x1F", "12:30", "---", "...",
    "- a", "? a", "a: b", "a #b", "#", "&a", "*a", "!a", "%a", "@", "`", "|", ">", "<<", "=", " a ", "'", '"', "\\", "\n",
]  # fmt: skip
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r")
texts = st.sampled_from(SPECIAL) | st.text(CHARACTERS, max_size=20).filter(
    lambda text: not re.search(ILLEGAL_CHARACTER, text)
)
names = texts.filter(bool)
numbers = st.integers(-(2**62), 2**62).map(str) | st.floats(allow_nan=False).map(repr)
scalars = (
    st.builds(ScalarNode, texts, st.just(True))
    | numbers.map(ScalarNode)
    | st.sampled_from(["none", "true", "~"]).map(ScalarNode)
)


def tables(values: st.SearchStrategy[Node]) -> st.SearchStrategy[MappingNode]:
    keys = texts.filter(lambda text: text not in ("", "<<"))
    entries = st.dictionaries(keys, values | st.just(ScalarNode("")), max_size=3)
    return entries.map(lambda entries: MappingNode(tuple((ScalarNode(key), value) for key, value in entries.items())))


nodes: st.SearchStrategy[Node] = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3).map(lambda items: SequenceNode(tuple(items))) | tables(below),
    max_leaves=6,
)
sides = st.integers(1, 2**62)
choices = st.builds(Choice, name=names) | st.builds(
    Choice, name=texts.filter(lambda text: text not in ("", "<<")), value=nodes
)
backbones = st.builds(
    BackboneSpec,
    name=st.from_regex("[A-Za-z0-9_]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?", fullmatch=True),
    architecture=texts.filter(bool).map(ScalarNode),
    options=st.none() | tables(nodes),
    weights=st.none() | names.map(ScalarNode) | tables(nodes).filter(len),
    input=st.none()
    | st.builds(
        InputSpec,
        size=st.none() | st.tuples(sides, sides) | st.just((None, None)),
        channels=st.none() | sides,
        adapt=st.none() | choices.filter(lambda choice: choice != Choice(name="none")),
    ),
    truncate=st.none() | choices,
    freeze=st.none() | choices,
)
specs = st.lists(backbones, min_size=1, max_size=3, unique_by=lambda backbone: backbone.name.casefold())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(spec=specs)
def test_any_spec_is_equal_when_written_and_read_again(spec, tmp_path):
    (tmp_path / "written.yaml").write_bytes(write_spec(spec).encode())
    assert list(read_spec(tmp_path / "written.yaml").values()) == spec
