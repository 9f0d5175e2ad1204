"""The README, run: its files are written, its commands run in order, and what it shows must be printed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from forebay.local import exporter
from forebay.local.ports import find_free_ports
from forebay.metrics import InstanceSample, QueueStats, build_families
from tests.local.image_registry import ImageRegistry, serving_images

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "hack/examples"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


class Terminal:
    """A folder and a shell. `forebay serve` goes to the background once it is ready; a new one ends the last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self.env = {
            **os.environ,
            "FOREBAY_STATE": str(folder / "state"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "160",
        }
        self.port = str(find_free_ports(1)[0])

    def run(self, command: str) -> str:
        if command.startswith("forebay serve"):
            return self._serve(command)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def _serve(self, command: str) -> str:
        self.close()
        output = self.folder / "serve.txt"
        with output.open("wb") as out:
            self._server = subprocess.Popen(
                [*command.split(), "--port", self.port], cwd=self.folder, env=self.env, stdout=out, stderr=out
            )
        deadline = time.monotonic() + 120
        while "Ctrl-C drains" not in output.read_text():
            assert self._server.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        return output.read_text()

    def close(self) -> None:
        if self._server and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)
            assert self._server.wait(60) == 0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if not (EXAMPLES / "digits/build/repository").exists():
        subprocess.run([sys.executable, str(EXAMPLES / "digits/prepare.py")], check=True, timeout=120)
    shutil.copytree(EXAMPLES / "digits", tmp_path / "digits")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def as_pattern(expected: str) -> str:
    return ".*".join(re.escape(part) for part in expected.split("..."))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry with a base in it, of which only the name is that of the runtime."""
    folder = tmp_path / "registry"
    with serving_images(folder) as host, httpx.Client(base_url=f"http://{host}", timeout=30) as client:
        platforms = ("linux/amd64", "linux/arm64/v8")
        ImageRegistry(host, client).push_base("forebay/runtime", "0.1.0", *platforms, folder=folder)
        yield host


@pytest.mark.timeout(900)
def test_every_command_does_what_the_readme_shows(terminal, registry):
    text = (ROOT / "README.md").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{terminal.port}")
    text = text.replace("localhost:5000", registry)
    commands = 0
    for block in BLOCK.finditer(text):
        if block["kind"] in ("python", "yaml"):
            name = block["text"].splitlines()[0].removeprefix("# ")
            (terminal.folder / name).write_text(block["text"])
        output = ""
        for line in block["text"].splitlines() if block["kind"] == "console" else ():
            if line.startswith("$ "):
                output = terminal.run(line.removeprefix("$ "))
                commands += 1
            else:
                assert re.search(as_pattern(line), output), f"{line!r} is not in:\n{output}"
    assert commands >= 12


def test_every_serving_script_compiles():
    for block in BLOCK.finditer((ROOT / "README.md").read_text()):
        if block["kind"] == "python":
            compile(block["text"], "README.md", "exec")


def test_every_metric_of_the_readme_exists():
    sample = InstanceSample(labels=("a", "b", "c", "d"), stats=QueueStats(), slots=1, depth=1)
    known = {family.name for family in build_families([sample])}
    known |= set(re.findall(r"forebay_instance_\w+", Path(exporter.__file__).read_text()))
    named = set(re.findall(r"forebay_(?:queue|instance)_\w+", (ROOT / "README.md").read_text()))
    assert {name.removesuffix("_total") for name in named} == known
