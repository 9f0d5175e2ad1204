"""What keeps a pilot running, around small programs that end, hang and obey."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.local.ports import find_free_ports
from tests.controller.site import wait_for

KEEPER = """
import sys
from forebay.gateway.keeper import keep
from forebay.logs import set_up_logs
set_up_logs(form="text", level="INFO")
sys.exit(keep([sys.executable, "-c", sys.argv[1]], port=int(sys.argv[2]), look_s=float(sys.argv[3])))
"""
# It answers as the pilot does, until it is told to stop.
PILOT = """
import http.server, pathlib, signal, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with pathlib.Path("starts").open("a") as starts:
    starts.write("x")
{trouble}
http.server.HTTPServer(("127.0.0.1", {port}), Health).serve_forever()
"""


class Kept:
    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder

    @property
    def starts(self) -> int:
        path = self._folder / "starts"
        return len(path.read_text()) if path.exists() else 0

    @property
    def children(self) -> list[int]:
        return [
            int(each) for each in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextmanager
def keeping(folder: Path, trouble: str = "", *, look_s: float = 10) -> Iterator[Kept]:
    (port,) = find_free_ports(1)
    pilot = PILOT.format(trouble=textwrap.dedent(trouble), port=port)
    command = [sys.executable, "-c", KEEPER, pilot, str(port), str(look_s)]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Kept(process, folder)
        finally:
            process.kill()


def test_one_that_is_killed_starts_again(tmp_path: Path) -> None:
    with keeping(tmp_path) as kept:
        for starts in (1, 2, 3):
            wait_for(lambda starts=starts: kept.starts == starts)
            (child,) = kept.children
            if starts < 3:
                os.kill(child, signal.SIGKILL)
        code, said = kept.stop()
    assert code == 0, "as the pilot itself ended"
    assert said.count("the pilot ended with -9") == 2
    assert "Envoy serves by what it was told last" in said
    assert not Path(f"/proc/{child}").exists()


def test_one_that_ends_again_and_again_is_tried_on(tmp_path: Path) -> None:
    with keeping(tmp_path, "sys.exit('no')") as kept:
        wait_for(lambda: kept.starts >= 5)
        assert kept.process.poll() is None
        code, said = kept.stop()
    assert code in (0, 1, 128 + signal.SIGTERM)
    waits = [line.partition("again in ")[2][:3] for line in said.splitlines() if "again in" in line]
    assert waits[:4] == ["0.1", "0.2", "0.4", "0.8"]


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    hang = """
    if pathlib.Path("starts").read_text() == "x":
        signal.pause()
    """
    with keeping(tmp_path, hang, look_s=0.05) as kept:
        wait_for(lambda: kept.starts >= 2)
        _, said = kept.stop()
    assert "the pilot hangs" in said


def test_settings_that_cannot_be_used_are_not_tried_again(tmp_path: Path) -> None:
    with keeping(tmp_path, "sys.exit(2)") as kept:
        assert kept.process.wait(60) == 2
        assert kept.starts == 1


def test_wrong_settings_are_said_at_once() -> None:
    environment = os.environ | {"FOREBAY_LOG_LEVEL": "LOUD"}
    command = [sys.executable, "-m", "forebay.gateway.keeper"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert found.stderr == "error: FOREBAY_LOG_LEVEL is `LOUD`: write DEBUG or INFO or WARNING or ERROR\n"
