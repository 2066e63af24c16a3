"""Weights from a disk, from a package, and over HTTP from a server on this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback, serving
from refusals import refusal

import torso
from torso.builtins.weight_sources import check_download, download, local_file, packaged_file

DATA = b"values" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as server:
        server.files["/w.h5"] = DATA
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras' cache, in a folder that is not there yet."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("TORSO_OFFLINE", raising=False)
    return tmp_path / "keras" / "models"


def request(server: Loopback, name: str = "w.h5", **more: Any) -> dict[str, Any]:
    return {"url": server.url(f"/{name}"), "sha256": None, "md5": None, "cached_as": "w.h5", **more}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("promise", [{}, {"sha256": SHA256}, {"md5": hashlib.md5(DATA).hexdigest().upper()}])
def test_a_download_goes_into_the_cache_once(server: Loopback, cache: Path, promise: dict[str, str]) -> None:
    asked = request(server, cached_as="other.h5", **promise)
    assert download(asked) == cache / "other.h5"
    assert (cache / "other.h5").read_bytes() == DATA
    download(asked)
    assert server.paths == ["/w.h5"]


@pytest.mark.slow
def test_keras_itself_takes_its_folder_from_the_same_variable(cache: Path) -> None:
    code = "import keras; print(keras.src.backend.config.keras_home())"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(said.strip(), "models") == cache


def test_files_of_keras_are_where_keras_looks_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".keras" / "models" / "w.h5"
    own.parent.mkdir(parents=True)
    own.write_bytes(DATA)
    for unset in (lambda: monkeypatch.setenv("KERAS_HOME", ""), lambda: monkeypatch.delenv("KERAS_HOME")):
        unset()
        for path in ("tensorflow/x/w.h5", "keras-applications/w.h5"):
            url = f"https://storage.googleapis.com/{path}"
            assert download({"url": url, "sha256": SHA256, "md5": None, "cached_as": None}) == own


def test_files_of_one_name_from_two_addresses_do_not_meet(server: Loopback, cache: Path) -> None:
    server.files["/v/w.h5"] = b"others"
    found = [download(request(server, name, cached_as=None)) for name in ("w.h5", "v/w.h5", "w.h5")]
    assert [path.read_bytes() for path in found] == [DATA, b"others", DATA]
    assert [path.name.partition("-")[2] for path in found] == ["w.h5"] * 3
    assert server.paths == ["/w.h5", "/v/w.h5"]


def test_what_is_wrong_in_the_cache_is_moved_aside(server: Loopback, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "w.h5").write_bytes(b"x" + DATA[1:])
    assert download(request(server, sha256=SHA256)).read_bytes() == DATA
    assert names(cache) == ["w.h5", "w.h5.rejected"]
    assert (cache / "w.h5.rejected").read_bytes() == b"x" + DATA[1:]


def test_offline_the_cache_is_enough(server: Loopback, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(server, sha256=SHA256)
    download(asked)
    monkeypatch.setenv("TORSO_OFFLINE", "1")
    check_download(asked)
    assert download(asked).read_bytes() == DATA
    (cache / "w.h5").write_bytes(b"x" + DATA[1:])
    with pytest.raises(torso.IntegrityError, match="does not have the expected hash") as caught:
        download(asked)
    assert caught.value.notes[-1] == ("fix", "put the right file there, or name a local one with weights: {file: PATH}")
    assert names(cache) == ["w.h5"]
    assert server.paths == ["/w.h5"]


def test_offline_what_is_missing_is_known_before_it_is_fetched(
    server: Loopback, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORSO_OFFLINE", "1")
    for act in (check_download, download):
        assert refusal(act, request(server), kind=torso.DiskError) == (
            f"'{server.url('/w.h5')}' is not in the cache, and TORSO_OFFLINE forbids to download it\n"
            f"  cause: there is no '{cache}/w.h5'\n"
            "  fix: run `torso fetch` on a machine with a connection, or name a local file with weights: {file: PATH}"
        )
    assert server.asked == []


def test_a_file_in_the_cache_needs_no_lock(server: Loopback, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(server, sha256=SHA256)
    download(asked)
    monkeypatch.setattr("torso.files.download.locked", None)  # a cache that cannot be written has no place for one
    assert download(asked).read_bytes() == DATA


def test_a_cache_that_cannot_be_made_is_told_of(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "keras"))
    assert refusal(download, request(server), kind=torso.DiskError) == (
        f"'{tmp_path}/file/keras/models' could not be made\n"
        "  cause: Not a directory\n"
        "  fix: set KERAS_HOME to a folder that can be written"
    )


def test_a_name_that_would_leave_the_cache_and_what_is_no_address_are_refused_at_once(server: Loopback) -> None:
    for name in ("../w.h5", "/etc/w.h5", "a\\b", "..", ".", "", "x" * 201):
        with pytest.raises(torso.OptionError, match="a file in the cache cannot be called"):
            check_download(request(server, cached_as=name))
    with pytest.raises(torso.OptionError, match="cannot be downloaded"):
        check_download(request(server, url="ftp://x/w.h5"))


@pytest.mark.parametrize(
    ("name", "cause"), [("", "it is a directory, a pipe or a device, not a file"), ("gone", "No such file or directory")]
)
def test_what_is_no_weights_file_is_refused_at_once(tmp_path: Path, name: str, cause: str) -> None:
    said = refusal(local_file, {"file": str(tmp_path / name), "sha256": "0" * 64}, kind=torso.OptionError)
    assert said == f"the weights file '{tmp_path / name}' cannot be read\n  cause: {cause}"


def test_a_file_of_a_package_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packaged_file({"resource": "torso:errors.py"}).name == "errors.py"
    assert packaged_file({"resource": "torso.builtins.keras_applications:catalogue.json"}).name == "catalogue.json"
    monkeypatch.delitem(sys.modules, "this", raising=False)
    for package in ("this.inner", "no_such_package", "no_such.package_either", "abc", ""):
        said = refusal(packaged_file, {"resource": f"{package}:w.h5"}, kind=torso.OptionError)
        assert said == f"the weights come with the package {package!r}, which is not installed"
    assert "this" not in sys.modules


def test_a_local_file_is_compared_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"values")
    right = {name: hashlib.new(name, b"values").hexdigest() for name in ("sha256", "md5")}
    assert local_file({"file": str(path), **right}) == path
    for name, value in right.items():
        wrong = "0" * len(value)
        with pytest.raises(torso.IntegrityError, match=f"{name} expected: {wrong}\n  {name} found: {value}"):
            local_file({"file": str(path), **right, name: wrong})
        said = refusal(local_file, {"file": str(path), name: "zz"}, kind=torso.OptionError)
        assert said == f"{name} cannot be 'zz'\n  known: {len(value)} hexadecimal digits"


def test_a_source_says_which_of_its_options_are_hashes_of_the_file() -> None:
    sources = {source.name: source.value for source in torso.Registry.load(discover=False).weight_sources}
    assert {name: source.hashes for name, source in sources.items()} == {
        "file": ("sha256",), "resource": ("sha256", "md5"), "url": ("sha256", "md5"),
    }  # fmt: skip
    request = {"url": "https://x/w.h5", "sha256": "AB12", "md5": None}
    assert sources["url"].expected_hashes(request) == {"sha256": "ab12"}
    options = tuple(torso.Option(name=name, type=str) for name in ("store", "blake2b"))
    own = torso.WeightSource(name="store", doc="", options=options, fetch=Path, hashes=("blake2b",))
    assert own.expected_hashes({"store": "w", "blake2b": "0F"}) == {"blake2b": "0f"}
