"""A git server on this machine: git's own (git http-backend) behind TLS, with a password where a test wants one."""

import base64
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from dulwich import porcelain
from dulwich.repo import Repo

from tests.unit.serving.storage.conftest import Web, send

GIT = shutil.which("git") or ""
AUTHOR = b"Ada <ada@example.com>"


@dataclass
class GitServer:
    """Repositories under `root`, at `address`; `password` is ada's, where one is asked for."""

    web: Web
    root: Path
    password: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"git+{self.web.address}/models.git"

    def start(self) -> None:
        Repo.init(str(self.root / "models.git"), mkdir=True).close()
        # As forges do: whoever may read may name any commit.
        (self.root / "models.git/.git/config").open("a").write("[uploadpack]\n\tallowAnySHA1InWant = true\n")
        self.web.routes["*"] = self.answer

    def commit(self, files: dict[str, str], *, tag: str = "", annotated: bool = False) -> str:
        """Commit files, and answer the commit's id."""
        folder = str(self.root / "models.git")
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            porcelain.add(folder, [str(path)])
        made = porcelain.commit(folder, message=b"change", author=AUTHOR, committer=AUTHOR)
        if tag:
            porcelain.tag_create(folder, tag, author=AUTHOR, message=b"tag", annotated=annotated)
        return made.decode()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, query = handler.path.partition("?")
        self.asked.append(path)
        wanted = "Basic " + base64.b64encode(f"ada:{self.password}".encode()).decode()
        if self.password and handler.headers.get("Authorization") != wanted:
            send(handler, 401, b"", {"WWW-Authenticate": "Basic"})
            return
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path.replace("models.git", "models.git/.git"), "QUERY_STRING": query,
            "REQUEST_METHOD": handler.command, "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)), "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }  # fmt: skip
        done = subprocess.run([GIT, "http-backend"], input=body, env=env, capture_output=True, check=False, timeout=60)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        send(handler, int(headers.pop("Status", "200").split()[0]), content, headers)
