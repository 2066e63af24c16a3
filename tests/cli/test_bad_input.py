"""What a user can get wrong, with all that torso says of it: an exit code, one error, nothing on stdout, no traceback."""

from __future__ import annotations

import shutil

import pytest

TOP = "version: 1\nbackbones:\n"
BUILD = ("build", "bad.yaml", "-o", "out")


def one(**keys):
    """A spec of one backbone, its keys in YAML."""
    keys = {"architecture": "TinyNet", "weights": "none"} | keys
    return TOP + "  a:\n" + "".join(f"    {key}: {value}\n" for key, value in keys.items() if value)


CASES = [
    # command lines
    (
        "no such verb",
        "biuld",
        None,
        2,
        "there is no verb 'biuld'\n"
        "  did you mean: 'build'\n"
        "  known: list, show, check, plan, fetch, build, lock, verify, diff, export, plugins, schema, completion\n",
    ),
    (
        "no such option",
        "list --famly x",
        None,
        2,
        "there is no option '--famly'\n  did you mean: '--family'\n  see: torso list --help\n",
    ),
    ("no argument", "show", None, 2, "missing argument 'ARCHITECTURE'\n  see: torso show --help\n"),
    (
        "too many arguments",
        "show TinyNet FailNet",
        None,
        2,
        "got unexpected extra argument (FailNet)\n  see: torso show --help\n",
    ),
    ("no output", "build bad.yaml", one(), 2, "missing option '-o' / '--output'\n  see: torso build --help\n"),
    (
        "no such shell",
        "completion tcsh",
        None,
        2,
        "invalid value for 'SHELL': 'tcsh' is not one of 'bash', 'zsh', 'fish'\n  see: torso completion --help\n",
    ),
    (
        "not a count",
        "list --max-params 5X",
        None,
        2,
        "invalid value for '--max-params': '5X' is no number of parameters; write it as 5M or 25_000_000\n"
        "  see: torso list --help\n",
    ),
    ("no such pattern", "list tinynett", None, 2, "no architecture matches 'tinynett'\n  did you mean: 'TinyNet'\n"),
    ("no such family", "list --family Tinny", None, 2, "no architecture here has the family 'Tinny'"),
    (
        "no such provider",
        "list --provider keraz",
        None,
        2,
        "no architecture here has the provider 'keraz'\n  did you mean: 'keras'\n  known: keras, tiny\n",
    ),
    (
        "no such tag",
        "list --weights imagnet",
        None,
        2,
        "no architecture here has the weights 'imagnet'\n  did you mean: 'imagenet'\n  known: imagenet\n",
    ),
    ("no such architecture to show", "show Tinynat", None, 2, "unknown architecture 'Tinynat'"),
    ("no such backbone", "plan bad.yaml b", one(), 2, "no backbone is called 'b' (at bad.yaml, $.backbones)\n  known: a\n"),
    ("no such plugin to block", "list -p no:tinny", None, 2, "there is no plugin to block with -p no:tinny"),
    (
        "no such plugin to load",
        "list -p nowhere.at_all",
        None,
        4,
        "plugin 'at_all' (nowhere.at_all) cannot be used: its import failed: ",
    ),
    (
        "no such plugins folder",
        "list --plugins-dir nix",
        None,
        2,
        "the plugins folder 'nix' cannot be read: No such file or directory",
    ),
    # files
    (
        "no such spec",
        "check bed.yaml",
        "",
        2,
        "there is no file 'bed.yaml'\n  did you mean: 'bad.yaml'\n  known: bad.yaml\n",
    ),
    ("empty spec", "check bad.yaml", "", 2, "the spec is empty (at bad.yaml:1:1, $)"),
    ("spec is a folder", "check .", None, 2, "'.' is not a regular file"),
    ("spec in a folder that is none", "check bad.yaml/a.yaml", one(), 2, "there is no file 'bad.yaml/a.yaml'"),
    (
        "binary spec",
        "check bad.yaml",
        b"\x89HDF\r\n\x1a\n\x00\x00",
        2,
        "the byte 0x89 at offset 0 is not UTF-8 (at bad.yaml:1:1, $)",
    ),
    (
        "spec of another encoding",
        "check bad.yaml",
        "version: 1 # größer\n".encode("latin-1"),
        2,
        "the byte 0xf6 at offset 15 is not UTF-8 (at bad.yaml:1:16, $)",
    ),
    (
        "duplicate key",
        "check bad.yaml",
        one() + "    weights: none\n",
        2,
        "the key 'weights' occurs twice, on line 5 and on line 6 (at bad.yaml:6:5, $.backbones.a.weights)",
    ),
    (
        "alias bomb",
        "check bad.yaml",
        "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        2,
        "a spec has no anchors (at bad.yaml:1:4, $)",
    ),
    (
        "anchor",
        "check bad.yaml",
        TOP + "  a: &a {architecture: TinyNet}\n",
        2,
        "a spec has no anchors (at bad.yaml:3:6, $.backbones)",
    ),
    ("alias", "check bad.yaml", TOP + "  a: *a\n", 2, "a spec has no aliases (at bad.yaml:3:6, $.backbones)"),
    (
        "tag",
        "check bad.yaml",
        TOP + "  a: !!python/object/apply:os.system [id]\n",
        2,
        "a spec has no tags (at bad.yaml:3:6, $.backbones)",
    ),
    (
        "deep nesting",
        "check bad.yaml",
        "version: " + "[" * 10_000_000,
        2,
        "a spec has 524288 bytes at most (at bad.yaml, $)",
    ),
    (
        "deep nesting in a small file",
        "check bad.yaml",
        "version: " + "[" * 1000,
        2,
        "lists and mappings are nested more than 20 deep (at bad.yaml:1:29, $.version[0][0]",
    ),
    (
        "not YAML",
        "check bad.yaml",
        "version: 1\nbackbones: {a: [}\n",
        2,
        "not YAML: expected the node content, but found '}' (at bad.yaml:2:17, $.backbones.a)",
    ),
    ("a list for a spec", "check bad.yaml", "- a\n- b\n", 2, "a spec must be a mapping, not a list (at bad.yaml:1:1, $)"),
    (
        "no version",
        "check bad.yaml",
        "backbones: {a: {architecture: TinyNet, weights: none}}\n",
        2,
        "the spec has no version (at bad.yaml:1:1, $)",
    ),
    (
        "another version",
        "check bad.yaml",
        "version: 2\n" + one()[11:],
        2,
        "this torso reads version 1, not 2 (at bad.yaml:1:10, $.version)",
    ),
    ("no backbones", "check bad.yaml", "version: 1\n", 2, "the spec declares no backbone (at bad.yaml:1:1, $)"),
    # keys and values
    (
        "unknown key",
        "check bad.yaml",
        one(trunkate="{layer: stem}"),
        2,
        "backbone 'a' has no key 'trunkate' (at bad.yaml:6:5, $.backbones.a.trunkate)",
    ),
    (
        "wrong type",
        "check bad.yaml",
        one(options="[1]"),
        2,
        "options must be a mapping, not a list (at bad.yaml:6:14, $.backbones.a.options)",
    ),
    (
        "unknown architecture",
        "check bad.yaml",
        one(architecture="TinyNot"),
        2,
        "unknown architecture 'TinyNot' (at bad.yaml:4:19, $.backbones.a.architecture)",
    ),
    (
        "unknown option",
        "check bad.yaml",
        one(options="{widht: 4}"),
        2,
        "architecture 'TinyNet' has no option 'widht' (at bad.yaml:6:15, $.backbones.a.options.widht)",
    ),
    (
        "option of another type",
        "check bad.yaml",
        one(options="{width: wide}"),
        2,
        "width must be a whole number, not the text 'wide' (at bad.yaml:6:22, $.backbones.a.options.width)",
    ),
    (
        "option out of range",
        "check bad.yaml",
        one(options="{width: 65}"),
        2,
        "width cannot be '65' (at bad.yaml:6:22, $.backbones.a.options.width)",
    ),
    (
        "unknown strategy",
        "check bad.yaml",
        one(truncate="{layr: stem}"),
        2,
        "unknown truncation strategy 'layr' (at bad.yaml:6:16, $.backbones.a.truncate.layr)",
    ),
    (
        "unknown option of a strategy",
        "check bad.yaml",
        one(truncate="{layer: {name: stem, nam: a}}"),
        2,
        "truncation strategy 'layer' has no option 'nam' (at bad.yaml:6:36, $.backbones.a.truncate.layer.nam)",
    ),
    (
        "unknown policy",
        "check bad.yaml",
        one(freeze="al"),
        2,
        "unknown freeze policy 'al' (at bad.yaml:6:13, $.backbones.a.freeze)",
    ),
    (
        "two strategies",
        "check bad.yaml",
        one(truncate="{layer: stem, pop: 1}"),
        2,
        "truncate must be a name, or a mapping with one key, not one of 2 keys (at bad.yaml:6:15, $.backbones.a.truncate)",
    ),
    (
        "illegal alpha",
        "check bad.yaml",
        one(architecture="MobileNetV2", weights="", options="{alpha: 0.36}"),
        2,
        "alpha 0.36 has no imagenet weights on MobileNetV2 (at bad.yaml:5:14, $.backbones.a.options)",
    ),
    (
        "unknown weights",
        "check bad.yaml",
        one(architecture="VGG16", weights="imagnet"),
        2,
        "VGG16 has no weights 'imagnet' (at bad.yaml:5:14, $.backbones.a.weights)",
    ),
    (
        "no weights are published",
        "check bad.yaml",
        one(weights=""),
        2,
        "TinyNet has no published weights (at bad.yaml:3:3, $.backbones.a)",
    ),
    (
        "weights of no source",
        "check bad.yaml",
        one(weights="{path: a.h5}"),
        2,
        "weights of TinyNet must be a tag, none or the mapping of a source (at bad.yaml:5:14, $.backbones.a.weights)",
    ),
    (
        "too small an input",
        "check bad.yaml",
        one(input="{size: [2, 2]}"),
        2,
        "TinyNet cannot take images of 2×2 pixels (at bad.yaml:6:19, $.backbones.a.input.size)",
    ),
    (
        "an input that does not divide",
        "check bad.yaml",
        one(input="{size: [8, 9]}"),
        2,
        "TinyNet cannot take images of 8×9 pixels (at bad.yaml:6:19, $.backbones.a.input.size)",
    ),
    (
        "an input of another rank",
        "check bad.yaml",
        one(input="{size: [8, 8, 3]}"),
        2,
        "size must be a list of two whole numbers, not a list of 3 (at bad.yaml:6:19, $.backbones.a.input.size)",
    ),
    (
        "an input of one number",
        "check bad.yaml",
        one(input="{size: 8}"),
        2,
        "size must be a list of two whole numbers, not the text '8' (at bad.yaml:6:19, $.backbones.a.input.size)",
    ),
    (
        "channels that cannot be",
        "check bad.yaml",
        one(input="{channels: 2}"),
        2,
        "TinyNet cannot take images of 2 channels (at bad.yaml:6:23, $.backbones.a.input.channels)",
    ),
    (
        "weights file missing",
        "check bad.yaml",
        one(weights="{file: nix.weights.h5}"),
        2,
        "the weights file 'nix.weights.h5' is not there (at bad.yaml:5:14, $.backbones.a.weights)",
    ),
    (
        "weights file is a folder",
        "check bad.yaml",
        one(weights="{file: .}"),
        2,
        "the weights file '.' is a directory or a device, not a file (at bad.yaml:5:14, $.backbones.a.weights)",
    ),
    (
        "weights file of another hash",
        "check bad.yaml",
        one(weights=f"{{file: good.weights.h5, sha256: {'0' * 64}}}"),
        7,
        "the weights file 'good.weights.h5' does not have the expected hash (at bad.yaml:5:14, $.backbones.a.weights)",
    ),
    # what only building shows
    (
        "unknown layer",
        BUILD,
        one(truncate="{layer: stam}"),
        2,
        "node 'stam' is not in TinyNet (at bad.yaml:6:23, $.backbones.a.truncate.layer)",
    ),
    (
        "a cut that loses a branch",
        BUILD,
        one(truncate="{layer: left}"),
        2,
        "a cut at 'left' would lose a branch of TinyNet that runs beside it (at bad.yaml:6:23, ",
    ),
    (
        "a cut that leaves nothing",
        BUILD,
        one(truncate="{pop: 6}"),
        2,
        "pop 6 leaves nothing of TinyNet: it has 7 nodes, the input included (at bad.yaml:6:21, ",
    ),
    (
        "weights file truncated",
        BUILD,
        one(weights="{file: half.weights.h5}"),
        7,
        "the weights file 'half.weights.h5' is damaged: it cannot be read",
    ),
    (
        "weights file of another architecture",
        BUILD,
        one(weights="{file: good.weights.h5}", options="{width: 8}"),
        7,
        "the weights file 'good.weights.h5' was written from another model",
    ),
    (
        "weights file of another format",
        BUILD,
        one(weights="{file: good.npz}"),
        2,
        "weights cannot be read from a file like 'good.npz'",
    ),
    (
        "a builder that fails",
        BUILD,
        one(architecture="FailNet"),
        4,
        "the builder of 'tiny/FailNet' failed: RuntimeError: no such kernel",
    ),
    (
        "a builder that ends the program",
        BUILD,
        one(architecture="QuitNet"),
        4,
        "the builder of 'tiny/QuitNet' failed: SystemExit: 0",
    ),
    (
        "a builder that takes all memory",
        BUILD,
        one(architecture="HungryNet"),
        6,
        "the memory is full\n"
        "  fix: take smaller images, an earlier cut or a smaller architecture, or build one backbone at a time\n",
    ),
    (
        "a strategy that fails",
        BUILD,
        one(truncate="rash"),
        4,
        "truncation strategy 'tiny/rash' failed: ZeroDivisionError: division by zero",
    ),
    # where to write
    (
        "output below a file",
        ("build", "bad.yaml", "-o", "good.npz/out"),
        one(),
        5,
        "nothing can be written in 'good.npz/out'",
    ),
    (
        "output stands there",
        ("build", "bad.yaml", "-o", "standing"),
        one(),
        2,
        "'standing/a' already exists\n  fix: choose another folder, or replace it with --force (Python: force=True)\n",
    ),
    (
        "output is not torso's",
        ("build", "bad.yaml", "-o", "foreign", "--force"),
        one(),
        2,
        "'foreign/a' already exists, and it is not a backbone that torso saved, or holds other files too",
    ),
]


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Weights of TinyNet of width 4, whole, cut off, and under a name of another format."""
    import keras

    layers = keras.layers
    images = layers.Input((8, 8, 3), name="images")
    stem = layers.Conv2D(4, 3, padding="same", name="stem")(images)
    joined = layers.Add(name="joined")(
        [layers.Conv2D(4, 1, name="left")(stem), layers.Conv2D(4, 3, padding="same", name="right")(stem)]
    )
    model = keras.Model(images, layers.Dropout(0.5, name="drop")(layers.MaxPooling2D(name="half")(joined)))
    folder = tmp_path_factory.mktemp("weights")
    model.save_weights(folder / "good.weights.h5")
    data = (folder / "good.weights.h5").read_bytes()
    (folder / "half.weights.h5").write_bytes(data[: len(data) // 2])
    (folder / "good.npz").write_bytes(b"\x93NUMPY" + data)  # it is told by what is in it
    return folder


@pytest.fixture
def places(tmp_path):
    """A folder that torso made, as far as anyone can see, and one that it did not."""
    (tmp_path / "standing" / "a").mkdir(parents=True)
    (tmp_path / "standing" / "a" / "manifest.json").write_text('{"manifest": 1}')
    (tmp_path / "standing" / "a" / "model.keras").touch()
    (tmp_path / "foreign" / "a").mkdir(parents=True)
    (tmp_path / "foreign" / "a" / "thesis.txt").write_text("years")


@pytest.mark.parametrize(
    ("words", "spec", "code", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_input_is_one_clear_error(torso, tmp_path, weights, places, words, spec, code, expected):
    for file in weights.iterdir():
        shutil.copy(file, tmp_path)
    if spec is not None:
        (tmp_path / "bad.yaml").write_bytes(spec.encode() if isinstance(spec, str) else spec)
    words = words.split() if isinstance(words, str) else words
    before = sorted(tmp_path.rglob("*"))
    result = torso(*words)
    assert result.errors.startswith(f"error: {expected}")
    if expected.endswith("\n"):  # the message is the command line's own: all of it is written down here
        assert result.errors == f"error: {expected}"
    assert (result.code, result.out, result.err.count("error: ")) == (code, "", 1)
    assert "Traceback" not in result.err
    assert sorted(tmp_path.rglob("*")) == before
    report = torso(*words, "--json")
    (error,) = report.json["errors"]
    assert (error["fact"][:60] in expected, error["exit_code"]) == (True, code)
    assert (report.code, report.errors) == (code, result.errors)
