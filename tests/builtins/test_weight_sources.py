"""Weights from a disk, from a package, and over HTTP from a server on this machine."""

from __future__ import annotations

import gc
import hashlib
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import randomize, save_listed

import torso
from torso.builtins.weight_sources import check_download, download, local_file, packaged_file
from torso.plugins import BUILTINS, Plugins


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """Serves the folder ``published`` on loopback."""
    (tmp_path / "published").mkdir()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path / "published")))
    serving.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras' cache, in an empty folder."""
    (tmp_path / "cache").mkdir()  # Keras goes to /tmp/.keras where its folder cannot be written, or is not there
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def request(server: ThreadingHTTPServer, name: str, **more: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.server_port}/{name}"
    return {"url": url, "sha256": None, "md5": None, "cached_as": None, **more}


def test_a_download_goes_into_the_cache_of_keras_once(server: ThreadingHTTPServer, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "published" / "w.h5").write_bytes(b"values")
    asked = request(server, "w.h5", sha256=hashlib.sha256(b"values").hexdigest(), cached_as="other.h5")
    assert download(asked) == cache / "other.h5"
    assert (cache / "other.h5").read_bytes() == b"values"
    download(asked)
    assert server.asked == ["/w.h5"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("promise", ["sha256", "md5"])
def test_a_download_of_other_bytes_is_refused(
    server: ThreadingHTTPServer, cache: Path, tmp_path: Path, promise: str
) -> None:
    (tmp_path / "published" / "w.h5").write_bytes(b"others")
    promised = hashlib.new(promise, b"values").hexdigest()
    with pytest.raises(torso.IntegrityError, match="is not the published file"):
        download(request(server, "w.h5", **{promise: promised}))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Keras leaves the refused connection open
def test_a_file_that_is_not_published_is_a_failed_download(server: ThreadingHTTPServer, cache: Path) -> None:
    with pytest.raises(torso.DiskError) as caught:
        download(request(server, "none.h5"))
    first, cause, fix = str(caught.value).split("\n")
    assert first == f"'http://127.0.0.1:{server.server_port}/none.h5' could not be downloaded"
    assert "404" in cause
    assert fix == "  fix: connect, or name a local file with weights: {file: PATH}, or write weights: none"
    del caught
    gc.collect()


def test_a_file_of_a_package_is_found_without_importing_it() -> None:
    path = packaged_file({"resource": "torso:py.typed", "sha256": hashlib.sha256(b"").hexdigest(), "md5": None})
    assert path.name == "py.typed"


@pytest.mark.parametrize("package", ["no_such_package", "no_such.package_either", "abc", ""])
def test_a_file_of_a_package_that_is_not_there_is_refused(package: str) -> None:
    with pytest.raises(torso.OptionError) as caught:
        packaged_file({"resource": f"{package}:w.h5", "sha256": None, "md5": None})
    assert str(caught.value) == f"the weights come with the package {package!r}, and that is not installed"


def test_a_local_file_is_held_against_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"values")
    right = {name: hashlib.new(name, b"values").hexdigest() for name in ("sha256", "md5")}
    assert local_file({"file": str(path), **right}) == path
    for name in right:
        wrong = "0" * len(right[name])
        with pytest.raises(torso.IntegrityError, match=f"{name} expected: {wrong}\n  {name} found: {right[name]}"):
            local_file({"file": str(path), **right, name: wrong})


@pytest.mark.parametrize(("name", "length"), [("sha256", 64), ("md5", 32)])
def test_a_hash_that_cannot_be_one_is_refused(tmp_path: Path, name: str, length: int) -> None:
    (tmp_path / "w.h5").write_bytes(b"values")
    with pytest.raises(torso.OptionError) as caught:
        local_file({"file": str(tmp_path / "w.h5"), name: "zz"})
    assert str(caught.value) == f"{name} cannot be 'zz'\n  known: {length} hexadecimal digits"


def test_what_is_no_address_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(torso.OptionError, match=r"'ftp://x/w\.h5' is no address of a download"):
        check_download({"url": "ftp://x/w.h5"})


def test_a_package_inside_a_package_is_found_without_importing_the_outer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with pytest.raises(torso.OptionError):
        packaged_file({"resource": "this.inner:w.h5"})
    assert "this" not in sys.modules
    found = packaged_file({"resource": "torso.builtins.keras_applications:catalogue.json"})
    assert found.name == "catalogue.json"


PLUGIN = """
import torso

def build(*, input_shape):
    import keras
    inputs = keras.Input(input_shape, name="image")
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, name="conv")(inputs))

@torso.hookimpl
def torso_architectures():
    file = torso.WeightsFile(source="url", address={url!r}, sha256={sha256!r})
    yield torso.Architecture(
        name="Remote", family="Remote", builder=f"{{__name__}}:build", input=torso.InputRules(default=(8, 8)),
        preprocessing=torso.Preprocessing(), weights=(torso.Weights(tag="ours", files=(file,)),),
    )
"""


def test_published_weights_come_over_http_into_the_backbone(
    server: ThreadingHTTPServer, cache: Path, tmp_path: Path
) -> None:
    inputs = keras.Input((8, 8, 3))
    trained = keras.Model(inputs, keras.layers.Conv2D(3, 3, name="conv")(inputs))
    randomize(trained)
    published = tmp_path / "published" / "remote.h5"
    save_listed(trained, published)
    url = f"http://127.0.0.1:{server.server_port}/remote.h5"
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    text = PLUGIN.format(url=url, sha256=hashlib.sha256(published.read_bytes()).hexdigest())
    (plugins / "remote.py").write_text(text)
    registry = torso.Registry(Plugins.load(plugins_dirs=[plugins], discover=False, builtins=BUILTINS))
    assert torso.plan("Remote", registry=registry).weights.address == url
    assert server.asked == []  # type: ignore[attr-defined]  # planning asks nobody
    backbone = torso.create_backbone("Remote", registry=registry)
    np.testing.assert_array_equal(backbone.model.get_layer("conv").kernel, trained.get_layer("conv").kernel)
    assert backbone.manifest["weights_file"] == {
        "path": str(cache / "remote.h5"),
        "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
    }
