from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pytest
import yaml
from refusals import refusal
from tables import table

from torso.errors import DiskError, ManyErrors, Place, SpecError, UnknownNameError
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, from_python
from torso.specs.yaml_reader import MAX_BYTES, read_file, read_yaml


def read(text: str | bytes):
    return read_yaml(text if isinstance(text, bytes) else text.encode(), file="a.yaml")


message = partial(refusal, read, kind=SpecError)


def test_read_yaml_keeps_texts_as_they_were_written():
    text = "a: [no, 1.10, 0644, 'it''s', \"1\\t2\", '3']\nb:\n  c: |\n    x\n    y\n  d:\n"
    texts = [*map(ScalarNode, ("no", "1.10", "0644", "it's", "1\t2")), ScalarNode("3", quoted=True)]
    below = MappingNode(((ScalarNode("c"), ScalarNode("x\ny\n")), (ScalarNode("d"), ScalarNode(""))))
    assert read(text) == MappingNode(((ScalarNode("a"), SequenceNode(tuple(texts))), (ScalarNode("b"), below)))


def test_read_yaml_knows_where_each_word_stands():
    def places(node: Node) -> Iterator[str]:
        yield f"{node.place.line}:{node.place.column} {node.place.path}"
        below = [part for entry in node for part in entry] if isinstance(node, MappingNode) else getattr(node, "items", ())
        for part in below:
            yield from places(part)

    root = read("\ufeffa: 1\r\nb:\r\n  - x\r\n  - {v1.5: [y]}\r\n")
    assert root.place.file == "a.yaml"
    assert list(places(root)) == [
        *("1:1 $", "1:1 $.a", "1:4 $.a", "2:1 $.b", "3:3 $.b", "3:5 $.b[0]", "4:5 $.b[1]"),
        *("4:6 $.b[1]['v1.5']", "4:12 $.b[1]['v1.5']", "4:13 $.b[1]['v1.5'][0]"),
    ]


@pytest.mark.parametrize(("text", "expected"), table("wrong_yaml"))
def test_read_yaml_says_what_is_wrong_and_where(text, expected):
    assert message(text) == expected


@pytest.mark.parametrize(("bytes_as_latin_1", "expected"), table("wrong_bytes"))
def test_read_yaml_names_the_byte_that_is_no_text(bytes_as_latin_1, expected):
    assert message(bytes_as_latin_1.encode("latin-1")) == expected


def test_read_yaml_names_all_keys_that_occur_twice():
    assert refusal(read, "a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\n", kind=ManyErrors) == (
        "the key 'a' occurs twice, on line 1 and on line 2 (at a.yaml:2:1, $.a)\n"
        "the key 'c' occurs twice, on line 3 and on line 3 (at a.yaml:3:11, $.b.c)\n"
        "the key 'a' occurs twice, on line 1 and on line 4 (at a.yaml:4:1, $.a)"
    )


def test_read_yaml_takes_twenty_levels():
    read("[" * 20 + "]" * 20)
    assert message("[" * 1000) == "lists and mappings are nested more than 20 deep (at a.yaml:1:21, $)"
    deep = "{a: " * 20 + "1" + "}" * 20
    assert read(deep) == from_python(yaml.safe_load(deep))
    assert message("{a: " * 1000) == "lists and mappings are nested more than 20 deep (at a.yaml:1:81, $)"


@pytest.mark.parametrize("tag", table("tags"))
def test_read_yaml_refuses_every_tag_and_runs_nothing(tag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = "a spec has no tags (at a.yaml:2:6, $)\n  fix: leave it out, or put the text in quotes"
    assert message(f"a:\n  b: {tag}") == expected
    assert os.listdir() == []


def test_read_file_suggests_its_neighbours_when_there_is_no_such_file(spec_file):
    for name in "backbones.yaml", "other.yml", "notes.txt":
        spec_file("a: 1", name)
    assert refusal(read_file, "backbone.yaml", kind=UnknownNameError) == (
        "there is no file 'backbone.yaml'\n  did you mean: 'backbones.yaml'\n  known: backbones.yaml, other.yml"
    )
    said = refusal(read_file, "specs/a.yaml", place=Place("$.extends", "b.yaml", 2, 10))
    assert said == "there is no file 'specs/a.yaml' (at b.yaml:2:10, $.extends)\n  cause: there is no folder 'specs'"
    said = refusal(read_file, "notes.txt/a.yaml")
    assert said == "there is no file 'notes.txt/a.yaml'\n  cause: there is no folder 'notes.txt'"


def test_read_file_refuses_what_is_not_a_regular_file(spec_file):
    spec_file("a: 1")
    os.mkdir("folder")
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    for path in "folder", "pipe", "/dev/zero":
        said = refusal(read_file, path, kind=SpecError)
        assert said == f"{path!r} cannot be read: it is a directory, a pipe or a device, not a file"
    said = refusal(read_file, "loop", kind=DiskError)
    assert said == "'loop' cannot be read: Too many levels of symbolic links"


def test_read_file_reads_no_more_than_a_spec_can_have(spec_file):
    name = spec_file("")
    os.truncate(name, 2**40)
    assert refusal(read_file, name) == "a spec has 524288 bytes at most (at spec.yaml, $)"

    spec_file("a: 1\n#" + "x" * (MAX_BYTES - 6))
    assert read_file("spec.yaml") == from_python({"a": 1})
