"""The README's commands for a cluster, run on the test cluster in the order in which they stand."""

import os
import re
import subprocess
from pathlib import Path

from tests.e2e.cluster import HACK, Kubectl

ROOT = HACK.parent
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
# Blank lines of a shell's session end nothing, and `...` stands for anything.
COMMAND_S = 300
END = "state of the shell"


class Shell:
    """Commands one by one; what is exported stays."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.env, self.folder = env, folder

    def run(self, command: str) -> str:
        # The README starts in the checkout; files are written beside it.
        script = f"{command}\necho\necho '{END}'\nenv -0"
        done = subprocess.run(
            ["bash", "-ec", script], capture_output=True, timeout=COMMAND_S, check=False, cwd=self.folder, env=self.env
        )
        output, _, state = done.stdout.decode().partition(f"\n{END}\n")
        assert done.returncode == 0, f"$ {command}\n{output}{done.stderr.decode()}"
        self.env = dict(line.split("=", 1) for line in state.split("\0") if "=" in line)
        return output + done.stderr.decode()


def as_pattern(expected: str) -> str:
    return r"\s*".join(".*".join(re.escape(part) for part in word.split("...")) for word in expected.split())


def test_every_command_does_what_the_readme_shows(kubectl: Kubectl, gateway: str, tmp_path: Path) -> None:
    assert gateway
    for name in ("charts", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "hack").mkdir()
    for name in ("cluster", "images"):  # which go by the folder that they lie in
        (tmp_path / "hack" / name).write_text(f'#!/bin/sh\nexec {ROOT}/hack/{name} "$@"\n')
        (tmp_path / "hack" / name).chmod(0o755)
    path = f"{Path(kubectl.program).parent}:{ROOT}/.venv/bin:{os.environ['PATH']}"
    shell = Shell({**os.environ, "PATH": path, "COLUMNS": "200"}, tmp_path)
    commands = 0
    try:
        for block in BLOCK.finditer((ROOT / "README.md").read_text()):
            if block["kind"] == "yaml":
                name = block["text"].splitlines()[0].removeprefix("# ")
                (tmp_path / name).write_text(block["text"])
            output = ""
            for line in block["text"].splitlines() if block["kind"] == "shell" else ():
                if line.startswith("$ "):
                    output = shell.run(line.removeprefix("$ "))
                    commands += 1
                else:
                    assert re.search(as_pattern(line), output), f"{line!r} is not in:\n{output}"
        assert commands >= 20
    finally:
        kubectl.run("delete", "md/halver", "secret/halver-keys", "--ignore-not-found", "--wait=false")
