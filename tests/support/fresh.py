"""Fresh processes with Keras in them: importing TensorFlow takes 4 s, forking a process that has imported it takes none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SERVER = """
import gc, json, os, sys
import keras  # and TensorFlow; neither has computed anything yet, so that a fork is as good as a new process
def questions():
    for line in sys.stdin:
        if not (child := os.fork()):
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()
gc.freeze()  # or each child would copy all memory to look for garbage
question = questions()
for descriptor, path in enumerate((os.devnull, *question["files"])):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
os.chdir(question["folder"])
os.environ.clear()
os.environ.update(question["environment"])
sys.argv[1:] = question["arguments"]
if not question["torso"]:
    sys.modules["torso"] = None  # an import of it fails
exec(compile(question["code"], "<string>", "exec"), {"__name__": "__main__"})
sys.stdout.flush()
os._exit(0)  # to take TensorFlow apart would take half a second
"""


class Fresh:
    """Runs programs, each in a process of its own that has imported Keras and nothing else. Call it in place of
    ``subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)``.

    Not for tests of what is imported or of how a process ends, nor for variables that Keras reads at import, as
    ``KERAS_BACKEND``.
    """

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        words = [sys.executable, "-W", "ignore", "-c", SERVER]
        self._server = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)

    def __call__(
        self, code: str, *arguments: object, torso: bool = True, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``code`` with the environment as it is now.

        Args:
            code: The program.
            *arguments: ``sys.argv[1:]``.
            torso: Whether torso can be imported.
            check: Fail the test where the program fails.
            cwd: The folder that it runs in.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("stdout", "stderr")]
            question: dict[str, Any] = {"code": code, "arguments": [str(one) for one in arguments], "torso": torso}
            question |= {"files": [str(file) for file in files], "folder": str(cwd or Path.cwd())}
            print(json.dumps({**question, "environment": dict(os.environ)}), file=self._server.stdin, flush=True)
            status = int(self._server.stdout.readline())
            stdout, stderr = (file.read_text(encoding="utf-8") for file in files)
        assert not (check and status), f"exit code {status}\n{stdout}{stderr}"
        return subprocess.CompletedProcess(code, status, stdout, stderr)

    def close(self) -> None:
        """End the server."""
        self._server.communicate()
