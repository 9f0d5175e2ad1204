"""A real MLflow server from PyPI, in an environment of its own under the cache: it is too large to depend on."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from tests.local.storage_servers import free_port
from tests.programs import MLFLOW, ensure_mlflow

Json = dict[str, Any]

START_S = 400
ADMIN = ("admin", "kept-for-tests")
AUTH = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder}/auth.db
admin_username = admin
admin_password = kept-for-tests
"""


class Mlflow:
    """A tracking server with a database and artifacts of its own, which may be stopped and started again."""

    def __init__(self, folder: Path, *, port: int = 0, has_users: bool = False) -> None:
        self._folder, self._has_users = folder, has_users
        self._port = port or free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._client = httpx.Client(base_url=self.url, auth=ADMIN if has_users else None, trust_env=False, timeout=60)
        self._experiment = ""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """As `mlflow server` is started; it answers."""
        self._folder.mkdir(exist_ok=True)
        auth = self._folder / "auth.ini"
        auth.write_text(AUTH.format(folder=self._folder))
        command = [
            str(ensure_mlflow() / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self._port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db",
            "--artifacts-destination", str(self._folder / "artifacts"),
            *(["--app-name", "basic-auth"] if self._has_users else []),
        ]  # fmt: skip
        environment = {
            "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_AUTH_CONFIG_PATH": str(auth),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a dozen processes that nobody needs here
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "for tests", "MLFLOW_TRACKING_URI": "",
        }  # fmt: skip
        with (self._folder / "server.log").open("a") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=self._folder, env={**os.environ, **environment},
                start_new_session=True,  # it has children, which outlive it
            )  # fmt: skip
        deadline_s = time.monotonic() + START_S
        while not self._is_up():
            assert self._process.poll() is None, self.log_text[-2000:]
            assert time.monotonic() < deadline_s, self.log_text[-2000:]
            time.sleep(0.2)
        return self

    def _is_up(self) -> bool:
        try:
            return self._client.get("/health").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """As a crash does it; what it holds stays."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def log(self, name: str, files: dict[str, bytes]) -> str:
        """A logged model of these files, registered as a new version of a model, whose number is the answer."""
        if not self._experiment:
            self._experiment = self.post("experiments/create", name="tests")["experiment_id"]
        model = self.post("logged-models", experiment_id=self._experiment, name=name)["model"]["info"]
        place = model["artifact_uri"].removeprefix("mlflow-artifacts:/")
        for path, content in files.items():
            where = f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{place}/{path}')}"
            self._client.put(where, content=content).raise_for_status()
        return self.register(name, f"models:/{model['model_id']}", model_id=model["model_id"])

    def register(self, name: str, source: str, **fields: str) -> str:
        """A new version of a model whose files are somewhere; its number."""
        if self._client.get("/api/2.0/mlflow/registered-models/get", params={"name": name}).status_code == 404:
            self.post("registered-models/create", name=name)
        made = self.post("model-versions/create", name=name, source=source, **fields)
        return str(made["model_version"]["version"])

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Give an alias to a version, and take it from any other."""
        self.post("registered-models/alias", name=name, alias=alias, version=version)

    def drop_alias(self, name: str, alias: str) -> None:
        """Take an alias away."""
        where = "/api/2.0/mlflow/registered-models/alias"
        self._client.request("DELETE", where, json={"name": name, "alias": alias}).raise_for_status()

    def post(self, path: str, **body: Any) -> Json:
        """Any request of MLflow's API; one that is refused fails the test."""
        answer = self._client.post(f"/api/2.0/mlflow/{path}", json=body)
        assert answer.is_success, f"{path}: {answer.text}"
        made: Json = answer.json()
        return made

    @property
    def log_text(self) -> str:
        """What the server said."""
        return (self._folder / "server.log").read_text()


def write_mlmodel(**flavors: str) -> bytes:
    """An MLmodel file as MLflow writes it: flavours and their files."""
    lines = [f"  {name}:\n    data: {data}\n" for name, data in flavors.items()]
    return f"flavors:\n{''.join(lines)}mlflow_version: {MLFLOW}\n".encode()
