"""What only a process of its own can show: signals, pipes, full disks, and what is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torso.cli.app import COMMANDS

PLUGINS = str(Path(__file__).parents[1] / "fixtures" / "plugin_folder")
COMMAND = [sys.executable, "-m", "torso", "--plugins-dir", PLUGINS]
SLOW = "version: 1\nbackbones: {slow: {architecture: SlowNet, weights: none, freeze: none}}\n"
LIGHT = """
import os, sys
from torso.cli import main
print([name for name in sys.modules if name.startswith(("torso.cli.commands.", "pluggy"))], file=sys.stderr)
os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "torso plan tiny.yaml ", "3"
for words in ("--help", "list", "show VGG16", "check own.yaml", "plan tiny.yaml", "plugins", "schema",
              "completion zsh", "fetch own.yaml --to bundle", "build tiny.yaml none -o out", "export x --to bare", None):
    if words is None:
        os.environ["_TORSO_COMPLETE"] = "bash_complete"
    try:
        main([*sys.argv[1:], *(words or "").split()], "torso")
    except SystemExit as end:
        print(words, end.code, file=sys.stderr)
print(sorted({"tensorflow", "keras", "numpy", "h5py", "requests", "matplotlib"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def environment():
    dropped = ("COLUMNS", "NO_COLOR", "TF_CPP_MIN_LOG_LEVEL", "TORSO_DISABLED_PLUGINS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def process(environment, tmp_path):
    def run(*words, command=COMMAND, **more):
        more = {"capture_output": True, "env": environment, **more}
        return subprocess.run([*command, *words], cwd=tmp_path, text=True, check=False, **more)

    return run


def test_commands_that_need_no_network_import_no_tensorflow(process, spec, tmp_path):
    (tmp_path / "own.yaml").write_text("version: 1\nbackbones: {a: {architecture: VGG16, weights: {file: own.yaml}}}\n")
    formats = str(Path(PLUGINS).with_name("export_formats"))
    words = ("--plugins-dir", PLUGINS, "--plugins-dir", formats)
    lines = process(*words, command=[sys.executable, "-c", LIGHT]).stderr.split("\n")
    assert lines[0] == "[]"  # a command is imported when it is used
    ends = dict(line.rsplit(" ", 1) for line in lines if line.split(" ")[0] in ("fetch", "build", "export", "None"))
    assert list(ends.values()) == ["0", "2", "2", "0"]
    assert "  fix: install no_such_module" in lines
    assert (tmp_path / "bundle" / "weights" / "own.yaml").exists()
    assert lines[-2] == "[]"


def test_ctrl_c_ends_a_build_at_once_and_leaves_nothing(environment, tmp_path):
    (tmp_path / "slow.yaml").write_text(SLOW)
    with subprocess.Popen(
        [*COMMAND, "build", "slow.yaml", "-o", "out", "--json"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as running:
        assert running.stderr.readline() == "starting TensorFlow\n"
        assert running.stderr.readline() == "slow: building SlowNet\n"  # and none of TensorFlow's log lines
        time.sleep(0.5)  # the builder sleeps by now
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)  # the builder would sleep for 60
    assert (running.returncode, out, err.strip()) == (130, "", "interrupted")
    assert os.listdir(tmp_path) == ["slow.yaml"]


def test_sigterm_ends_a_command_as_terminated(process, tmp_path):
    (tmp_path / "ends.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    result = process("list", "--plugins-dir", ".")
    assert (result.returncode, result.stdout, result.stderr.strip()) == (143, "", "terminated")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_is_one_line_once_a_model_is_needed(process, environment, backend):
    environment["KERAS_BACKEND"] = backend
    assert process("list", env=environment).returncode == 0
    result = process("show", "TinyNet", env=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"starting TensorFlow\nerror: torso needs Keras with TensorFlow, and its backend is {backend!r}\n"
        "  fix: set KERAS_BACKEND=tensorflow before Keras is imported\n"
    )


def test_a_reader_who_leaves_is_no_error(environment, tmp_path):
    (tmp_path / "many.py").write_text(
        "import torso\n@torso.hookimpl\ndef torso_architectures():\n"
        "    for number in range(5000):\n"
        "        yield torso.Architecture(name=f'Net{number}', family='F', builder='a:b',\n"
        "            input=torso.InputRules(default=(8, 8)), preprocessing=torso.Preprocessing())\n"
    )
    with subprocess.Popen(
        [*COMMAND, "list", "--plugins-dir", str(tmp_path)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout.readline().startswith(b"name ")
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(20) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_result_that_cannot_be_written_is_an_error(process):
    with open("/dev/full", "w") as full:
        result = process("list", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 5
    assert result.stderr == "error: cannot write the result to stdout\n  cause: No space left on device\n"


def test_closed_streams_are_no_defect(process):
    closed = process("list", "nosuch*", command=["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *COMMAND])
    assert closed.returncode == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torso ", list(COMMANDS)),
        ("torso pl", ["plan", "plugins"]),
        ("torso show vgg", ["VGG16", "VGG19"]),
        ("torso list keras/vgg", ["keras/VGG16", "keras/VGG19"]),
        (f"torso --plugins-dir {PLUGINS} show tiny/t", ["tiny/TinyNet"]),
        ("torso plan tiny.yaml ", ["whole", "stem"]),
        ("torso build tiny.yaml whole s", ["stem"]),
        ("torso fetch tiny.yaml s", ["stem"]),
        ("torso plan nix.yaml ", []),
        ("torso list -p wei", ["weight-sources"]),
        ("torso -p no:wei", ["no:weight-sources"]),
        ("torso list -p nix.nix vgg", []),
        ("torso list --max", ["--max-params", "--max-macs"]),
        ("torso export edge --to o", ["onnx", "openvino"]),
        ("torso completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_completion_knows_names(torso, spec, monkeypatch, line, expected):
    request = {"_TORSO_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    for name, value in request.items():
        monkeypatch.setenv(name, value)
    result = torso(plugins=False)
    assert (result.err, result.code) == ("", 0)
    assert [word.partition(",")[2] for word in result.out.split()] == expected
