"""What only a process of its own can show: signals, pipes, disks that fill up, terminals, and what is imported."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torso.cli.app import VERBS

PLUGINS = str(Path(__file__).parents[1] / "fixtures" / "plugin_folder")
COMMAND = [sys.executable, "-m", "torso", "--plugins-dir", PLUGINS]
SLOW = "version: 1\nbackbones: {slow: {architecture: SlowNet, weights: none}}\n"


@pytest.fixture
def environment():
    dropped = ("COLUMNS", "NO_COLOR", "TF_CPP_MIN_LOG_LEVEL", "TORSO_DISABLED_PLUGINS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def process(environment, tmp_path):
    def run(*words, input=None, **more):
        more = {"capture_output": True, **more}
        env = {**environment, **more.pop("env", {})}
        return subprocess.run([*COMMAND, *words], cwd=tmp_path, env=env, text=True, check=False, **more)

    return run


@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["show", "VGG16", "--card"], ["check", "tiny.yaml"], ["plan", "tiny.yaml"], ["plugins"],
     ["schema"], ["completion", "zsh"], ["build", "tiny.yaml", "none", "-o", "out"]],
    ids=" ".join,
)  # fmt: skip
def test_no_verb_that_does_without_a_network_imports_tensorflow(environment, spec, words):
    code = (
        "import sys, atexit\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'h5py', 'rich'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from torso.cli import main\n"
        f"main({['--plugins-dir', PLUGINS, *words]!r}, 'torso')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=spec.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert result.stderr.split("\n")[-2] == "[]"


def test_importing_the_command_line_imports_no_verb(environment):
    code = (
        "import sys, torso.cli\nprint([name for name in sys.modules if name.startswith(('torso.cli.commands.', 'pluggy'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_build_keeps_stderr_free_of_what_tensorflow_logs(process, spec):
    result = process("build", "tiny.yaml", "stem", "-o", "out")
    assert result.returncode == 0
    assert result.stderr.split("\n") == [
        "starting TensorFlow", "stem: building TinyNet", "a builder that talks", "stem: cutting at stem",
        "stem: freezing", "stem: saving", "stem: saved in out/stem", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_build_at_once_and_leaves_nothing(environment, tmp_path, number, code, word):
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
        for line in running.stderr:
            if line == "slow: building SlowNet\n":
                break
        running.send_signal(number)
        start = time.monotonic()
        out, err = running.communicate(timeout=20)
        assert time.monotonic() - start < 5
    assert (running.returncode, out, err.strip()) == (code, "", word)
    assert os.listdir(tmp_path) == ["slow.yaml"]


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
@pytest.mark.parametrize("words", [["list"], ["list", "--json"]])
def test_a_result_that_cannot_be_written_is_an_error(process, words):
    with open("/dev/full", "w") as full:
        result = process(*words, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 5
    assert result.stderr == "error: the result could not be written to stdout\n  cause: No space left on device\n"


def test_closed_streams_are_no_defect(environment):
    command = [*COMMAND, "list", "nosuch*"]
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], env=environment, check=False)
    assert closed.returncode == 2


def test_a_disk_that_fills_up_leaves_what_stood_there(process, spec, tmp_path):
    assert process("build", "tiny.yaml", "whole", "-o", "out").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(before) == 2

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = process("build", "tiny.yaml", "whole", "-o", "out", "--force", preexec_fn=limit)
    assert (result.returncode, result.stdout) == (5, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error: ") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != spec} == before


def test_bold_is_for_terminals_that_want_it(environment):
    def shown(**more):
        leader, follower = pty.openpty()
        code = subprocess.run(
            [*COMMAND, "list", "vgg16"], env={**environment, "TERM": "xterm", **more}, stdout=follower, check=True
        )
        os.close(follower)
        text = b""
        try:
            while chunk := os.read(leader, 4096):
                text += chunk
        except OSError:  # all is read
            os.close(leader)
        assert code.returncode == 0
        return text

    assert b"\x1b[1mname " in shown()
    assert b"\x1b" not in shown(NO_COLOR="1")
    assert b"\x1b" not in shown(TERM="dumb")


def test_a_poor_encoding_gets_plainer_characters(process):
    result = process("list", "vgg16", env={"PYTHONIOENCODING": "ascii"})
    assert "224x224" in result.stdout
    assert "----" in result.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torso ", list(VERBS)),
        ("torso pl", ["plan", "plugins"]),
        ("torso show vgg", ["VGG16", "VGG19"]),
        ("torso list keras/vgg", ["keras/VGG16", "keras/VGG19"]),
        (f"torso --plugins-dir {PLUGINS} show tiny/t", ["tiny/TinyNet"]),
        ("torso plan tiny.yaml ", ["whole", "stem"]),
        ("torso build tiny.yaml whole s", ["stem"]),
        ("torso plan nix.yaml ", []),
        ("torso list -p wei", ["weight-sources"]),
        ("torso -p no:wei", ["no:weight-sources"]),
        ("torso list -p nix.nix vgg", []),
        ("torso list --max", ["--max-params"]),
        ("torso export edge --to o", ["onnx", "openvino"]),
        ("torso completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_completion_knows_names(environment, spec, line, expected):
    words = line.split(" ")
    request = {"_TORSO_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys\nsys.modules.update(tensorflow=None, keras=None)\nfrom torso.cli import main\nmain(prog_name='torso')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=spec.parent,
        env={**environment, **request},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stderr, result.returncode) == ("", 0)
    assert [word.partition(",")[2] for word in result.stdout.split()] == expected
