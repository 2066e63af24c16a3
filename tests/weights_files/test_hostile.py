"""Files that are not what they seem: each refused with one clear error, and nothing in it run, followed or unpacked."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

from torso.errors import IntegrityError, OptionError, TorsoError
from torso.weights_files import open_weights

PLACE = "layers/dense/vars"
Spoil = Callable[[h5py.File, Path], object]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense"), keras.layers.Dense(2, name="end")])
    model.save_weights(tmp_path / "w.weights.h5")
    model.save(tmp_path / "w.keras")
    return tmp_path / "w.weights.h5"


def everything(path: Path) -> dict[str, np.ndarray]:
    with open_weights(path) as stored:
        arrays = {name: array.read() for name, array in stored.arrays.items()}
        return arrays | {array.name: array.read() for layer in stored.layers or () for array in layer.arrays}


def refused(path: Path, kind: type[TorsoError] = IntegrityError) -> str:
    with pytest.raises(kind) as caught:
        everything(path)
    text = str(caught.value)
    assert path.name in text
    return text


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(48))
    made = h5p.create(h5p.DATASET_CREATE)
    made.set_external(os.fsencode(folder / "secret"), 0, 48)
    h5d.create(file[PLACE].id, b"9", h5t.IEEE_F32LE, h5s.create_simple((12,)), made)


def virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.zeros(3, "f4")
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (3,))
    file[PLACE].create_virtual_dataset("9", layout)


def shape_bomb(file: h5py.File, folder: Path) -> None:
    file[PLACE].create_dataset("9", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))  # 4 TB that nobody wrote


def put(name: str, value: Any) -> Spoil:
    return lambda file, folder: file.__setitem__(name, value(file) if callable(value) else value)


def listing(names: Any, x: Any = None) -> Spoil:
    def spoil(file: h5py.File, folder: Path) -> None:
        file.attrs["layer_names"] = names
        if x is not None:
            file["x"] = x

    return spoil


def nowhere(file: h5py.File, folder: Path) -> None:
    file.attrs["layer_names"] = ["layers"]
    file["layers"].attrs["weight_names"] = ["nowhere"]


NINE = f"{PLACE}/9"
REAL = "weights are real numbers"
HDF5: dict[str, tuple[Spoil, str]] = {
    "external link": (put("layers/x", h5py.ExternalLink("other.h5", "/")), "is a link to"),
    "loop": (put("layers/loop", lambda file: file["/"]), "is nested too deeply"),
    "external storage": (external_storage, "has its values in a different file"),
    "virtual": (virtual, "has its values in a different file"),
    "shape bomb": (shape_bomb, "should have 4398046511104 bytes, and the file does not hold them"),
    "complex": (put(NINE, np.zeros(3, "c8")), REAL),
    "text": (put(NINE, "import os"), REAL),
    "enumeration": (lambda file, folder: file[PLACE].create_dataset("9", (3,), h5py.enum_dtype({"a": 1})), REAL),
    "empty": (put(NINE, h5py.Empty("f4")), REAL),
    "named type": (put(NINE, np.dtype("f4")), "is not an array"),
    "layers that are numbers": (listing([1, 2]), "is not a list of names"),
    "a layer that is an array": (listing([b"x"], np.zeros(3)), "is not a group"),
    "a layer that is linked": (listing([b"x"], h5py.SoftLink("/layers")), "is a link to"),
    "a model that is an array": (put("model_weights", 3), "is not a group"),
    "an array that is not there": (nowhere, "is damaged, or not as Keras writes them"),
    "a layer that is not there": (listing([b"x"]), "is damaged, or not as Keras writes them"),
}


@pytest.mark.parametrize("case", HDF5)
def test_hdf5_that_holds_anything_else_than_arrays_of_its_own_is_refused(good, case):
    spoil, fact = HDF5[case]
    assert len(everything(good)) == 4
    with h5py.File(good, "a") as file:
        spoil(file, good.parent)
    assert fact in refused(good)


WEIGHTS = "model.weights.h5"


@pytest.mark.parametrize(
    ("members", "fact"),
    [
        ({"config.json": b"{}"}, f"There is no item named '{WEIGHTS}' in the archive"),
        ({WEIGHTS: b"none"}, "file signature not found"),
        (None, f"Bad CRC-32 for file '{WEIGHTS}'"),
    ],
)
def test_an_archive_that_does_not_hold_its_weights_is_refused(good, members, fact):
    archive = good.with_name("w.keras")
    if members is None:  # a value is changed
        data = bytearray(archive.read_bytes())
        data[data.index(everything(archive)["layers/dense/vars/0"].tobytes())] ^= 1
        archive.write_bytes(bytes(data))
    else:
        with zipfile.ZipFile(archive, "w") as new:
            for name, content in members.items():
                new.writestr(name, content)
    assert fact in refused(archive)


def test_an_archive_that_would_fill_the_disk_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "w.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(WEIGHTS, bytes(80_000_000))
    monkeypatch.setattr("shutil.copyfileobj", None)
    assert f"{WEIGHTS} would be 80000000 bytes, unpacked from " in refused(tmp_path / "w.keras")


def test_files_of_other_formats_and_what_is_no_file_are_refused(tmp_path):
    (tmp_path / "w.pt").write_bytes(pickle.dumps(len))
    assert "w.pt' is a pickle, as PyTorch writes it, and torso reads" in refused(tmp_path / "w.pt", OptionError)
    (tmp_path / "w.bin").write_bytes(b"anything else")
    assert refused(tmp_path / "w.bin", OptionError) == (
        "weights cannot be read from a file like 'w.bin'\n  known: the older .h5, .weights.h5 and .keras"
    )
    os.mkfifo(tmp_path / "pipe.h5")
    for name in ("pipe.h5", "", "absent.h5"):
        assert "cannot be opened" in refused(tmp_path / name, OptionError)
    (tmp_path / "text.h5").write_text("not at all")
    assert "its first bytes are b'not at a'" in refused(tmp_path / "text.h5")


def test_a_link_to_a_file_is_followed(good):
    good.with_name("link.h5").symlink_to(good)
    assert len(everything(good.with_name("link.h5"))) == 4


DAMAGE = """
import sys
from pathlib import Path
import numpy as np
from torso.errors import TorsoError
from torso.weights_files import open_weights

for path in map(Path, sys.argv[1:]):
    good, refused, random = path.read_bytes(), 0, np.random.default_rng(0)
    for number in range(240):
        data = bytearray(good)
        if number < 40:
            del data[int(len(data) * number / 40):]
        elif number < 130:
            data[random.integers(len(data))] ^= 1 << random.integers(8)
        else:
            start = random.integers(len(data)) // 512 * 512
            data[start:start + 512] = bytes(len(data[start:start + 512]))
        path.write_bytes(bytes(data))
        try:
            with open_weights(path) as stored:
                for array in [*stored.arrays.values(), *(array for layer in stored.layers or () for array in layer.arrays)]:
                    array.read()
        except TorsoError:
            refused += 1
    print(refused)
"""


def test_damage_is_reported_and_neither_hangs_nor_crashes(good):
    """In a process of its own, where a crash would be seen and time is bounded."""
    with h5py.File(good.with_name("w.h5"), "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.create_group("dense").attrs["weight_names"] = [b"kernel:0", b"bias:0"]
        file["dense/kernel:0"], file["dense/bias:0"] = np.ones((4, 3), "f4"), np.ones(3, "f4")
    with h5py.File(good.with_name("w.h5")) as file, h5py.File(good.with_name("names.h5"), "w") as new:
        for name in ("dense", *map(str, range(40))):  # a heap with the names, as Keras 3 writes it
            file.copy("dense", new, name)
            new[name].attrs["weight_names"] = ["kernel:0", "bias:0"]
        new.attrs["layer_names"] = ["dense"]
    names = ("w.weights.h5", "w.keras", "w.h5", "names.h5")
    command = [sys.executable, "-c", DAMAGE, *(str(good.with_name(name)) for name in names)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    refusals = list(map(int, run.stdout.split()))
    assert len(refusals) == len(names), run.stderr[-2000:]
    assert min(refusals) >= 40  # every truncation, at least; a flipped bit in a value is found by a hash alone
