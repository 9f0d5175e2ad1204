"""A real MLflow server: what its addresses come to, the files that it hands out, and a prediction from them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from forebay.mlflow.lookup import Lookup
from forebay.mlflow.server import Server
from forebay.plan.versions import RegistryUnavailableError, Version, VersionError
from forebay.serving.mlflow_login import Login
from tests.controller.site import wait_for
from tests.local.mlflow_server import ADMIN, Mlflow, write_mlmodel
from tests.local.relay import relaying
from tests.local.serving_session import forebay, serving
from tests.local.test_formats import ROWS, save_classifier
from tests.local.test_readme import BLOCK, ROOT, Terminal, as_pattern
from tests.programs import ensure_mlflow

pytestmark = pytest.mark.timeout(600)

README = (ROOT / "README.md").read_text()
MIB = 1024 * 1024
BIG = os.urandom(MIB) * 96
# Eight pieces of 8 MiB are on their way at once: of so much some have arrived whole.
PASSED_BYTES = 84 * MIB
WAIT_S = 200
MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: m}}
spec:
  model: {{uri: "{uri}"}}
  predictor: {{triton: {{}}}}
"""


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with Mlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """A server that asks for a name and a password."""
    with Mlflow(tmp_path_factory.mktemp("guarded"), has_users=True) as server:
        yield server


async def find(url: str, uri: str, login: Login = Login(), *, has_files: bool = False) -> Version:  # noqa: B008
    async with Server(url, login) as server:
        return await Lookup(server, has_files=has_files).find(uri)


async def refuse(url: str, uri: str, login: Login = Login()) -> VersionError:  # noqa: B008
    with pytest.raises(VersionError) as caught:
        await find(url, uri, login)
    return caught.value


def fetch(server: str, uri: str, to: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "forebay.serving.storage", "--uri", uri, "--to", str(to), *options]
    variables = {**os.environ, "MLFLOW_TRACKING_URI": server, **environment}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)


def run(server: str, uri: str, to: Path, *options: str, **environment: str) -> list[dict[str, Any]]:
    """Download to the end; the events."""
    with fetch(server, uri, to, "--allow-loopback", *options, **environment) as process:
        assert process.stdout
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == (events[-1]["event"] == "error")
    return events


async def test_a_version_an_alias_and_where_the_files_are(mlflow: Mlflow) -> None:
    mlflow.log("my digits", {"MLmodel": b"flavors: {}"})
    logged = await find(mlflow.url, "models:/my%20digits/1")
    assert logged.reference == "models:/my%20digits/1"
    assert logged.uri.startswith("mlflow-artifacts:/")
    assert logged.uri.endswith("/artifacts"), "MLflow resolves its own models:/m-... "
    experiment = mlflow.post("experiments/create", name="runs")["experiment_id"]
    run_id = mlflow.post("runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
    mlflow.register("my digits", f"runs:/{run_id}/model", run_id=run_id)
    mlflow.set_alias("my digits", "champion", "2")
    of_run = await find(mlflow.url, "models:/my%20digits@champion")
    assert (of_run.version, of_run.run) == ("2", run_id)
    assert of_run.uri == f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/model"
    mlflow.register("my digits", "s3://models/digits/3")
    assert (await find(mlflow.url, "models:/my%20digits/3")).uri == "s3://models/digits/3"


async def test_what_there_is_instead_is_said(mlflow: Mlflow) -> None:
    mlflow.log("letters", {"MLmodel": b"flavors: {}"})
    assert "it has no alias at all" in str(await refuse(mlflow.url, "models:/letters@champion"))
    mlflow.set_alias("letters", "champion", "1")
    said = str(await refuse(mlflow.url, "models:/letters@chmpion"))
    assert "did you mean models:/letters@champion (version 1)?" in said
    assert "has no version 7 of letters: there are 1" in str(await refuse(mlflow.url, "models:/letters/7"))
    assert "did you mean letters?" in str(await refuse(mlflow.url, "models:/leters/1"))


async def test_who_asks_without_a_right_is_told(guarded: Mlflow) -> None:
    guarded.log("secret", {"MLmodel": b"flavors: {}"})
    guarded.post("users/create", username="bob", password="bobs-password")
    assert "asks for credentials" in str(await refuse(guarded.url, "models:/secret/1"))
    for login in (Login(username="admin", password="wrong"), Login(token="wrong")):
        error = await refuse(guarded.url, "models:/secret/1", login)
        assert isinstance(error, RegistryUnavailableError)
        assert "doesn't accept the credentials" in str(error)
    denied = await refuse(guarded.url, "models:/secret/1", Login(username="bob", password="bobs-password"))
    assert "doesn't allow it" in str(denied)
    assert (await find(guarded.url, "models:/secret/1", Login("", *ADMIN))).version == "1"


async def test_a_server_that_is_none(mlflow: Mlflow) -> None:
    assert "Connection refused" in str(await refuse("http://127.0.0.1:1", "models:/digits/1"))
    assert "answers HTTP 404" in str(await refuse(f"{mlflow.url}/elsewhere", "models:/digits/1"))


async def test_files_arrive_and_are_not_fetched_again(mlflow: Mlflow, tmp_path: Path) -> None:
    files = {"MLmodel": b"flavors: {}", "data/a b ü.txt": b"text", "data/deep/model.bin": BIG[: 9 * MIB], "none": b""}
    mlflow.log("files", files)
    uri = (await find(mlflow.url, "models:/files/1")).uri
    done = run(mlflow.url, uri, tmp_path / "m")[-1]
    assert (done["event"], done["bytes"]) == ("done", sum(map(len, files.values())))
    assert {name: (tmp_path / "m" / name).read_bytes() for name in files} == files
    one = run(mlflow.url, f"{uri}/data/deep/model.bin", tmp_path / "one")[-1]
    assert (Path(one["path"]) / "model.bin").read_bytes() == files["data/deep/model.bin"]


async def test_what_is_there_is_not_fetched_again(mlflow: Mlflow, tmp_path: Path) -> None:
    mlflow.log("same", {"MLmodel": b"flavors: {}", "model.onnx": b"x"})
    uri = (await find(mlflow.url, "models:/same/1")).uri
    assert [run(mlflow.url, uri, tmp_path / "m")[-1]["cached"] for _ in range(2)] == [False, True]


async def test_killed_in_the_middle_and_taken_up_again(mlflow: Mlflow, tmp_path: Path) -> None:
    mlflow.log("big", {"MLmodel": b"flavors: {}", "model.bin": BIG})
    uri = (await find(mlflow.url, "models:/big/1")).uri
    with (
        relaying(mlflow.url, limit_bytes=PASSED_BYTES) as relay,
        fetch(relay.address, uri, tmp_path / "m", "--allow-loopback") as process,
    ):
        assert relay.held.wait(WAIT_S)
        journal = tmp_path / "m.partial/journal"
        wait_for(lambda: "piece" in journal.read_text(), limit_s=WAIT_S)
        process.kill()
    assert not (tmp_path / "m").exists(), "nothing half is ever seen"
    events = run(mlflow.url, uri, tmp_path / "m")
    assert events[0]["bytes"] > 0, "what had arrived whole isn't fetched again"
    assert (tmp_path / "m/model.bin").read_bytes() == BIG


async def test_a_download_that_may_not_be(mlflow: Mlflow, guarded: Mlflow, tmp_path: Path) -> None:
    def refused(server: str, uri: str, **environment: str) -> tuple[str, str]:
        last = run(server, uri, tmp_path / "m", **environment)[-1]
        return last["reason"], last["message"]

    guarded.log("files", {"MLmodel": b"flavors: {}"})
    uri = (await find(guarded.url, "models:/files/1", Login("", *ADMIN))).uri
    assert refused(guarded.url, uri)[0] == "CredentialsMissing"
    assert refused(guarded.url, uri, MLFLOW_TRACKING_TOKEN="wrong")[0] == "CredentialsExpired"
    login = {"MLFLOW_TRACKING_USERNAME": ADMIN[0], "MLFLOW_TRACKING_PASSWORD": ADMIN[1]}
    assert run(guarded.url, uri, tmp_path / "m", **login)[-1]["event"] == "done"
    reason, message = refused(mlflow.url, "mlflow-artifacts:/9/models/m-none/artifacts")
    assert (reason, "has no such files" in message) == ("NotFound", True)
    assert refused("", uri)[0] == "UnsupportedURI"
    assert refused("http://127.0.0.1:1", uri)[0] == "EndpointUnreachable"
    assert refused(f"{mlflow.url}/elsewhere", uri)[0] == "NotFound"


@pytest.mark.parametrize("server", ["http://169.254.169.254", "http://2852039166", "http://metadata.google.internal"])
def test_no_address_that_hands_out_credentials(tmp_path: Path, server: str) -> None:
    assert run(server, "mlflow-artifacts:/1/m", tmp_path / "m")[-1]["reason"] == "UnsupportedURI"


def test_in_a_pod_not_the_pod_itself(mlflow: Mlflow, tmp_path: Path) -> None:
    with fetch(mlflow.url, "mlflow-artifacts:/1/m", tmp_path / "m") as process:
        assert process.stdout
        assert "in a pod is the pod itself" in process.stdout.read()


def test_a_model_of_mlflow_is_served(mlflow: Mlflow, tmp_path: Path) -> None:
    model = save_classifier(tmp_path / "model.onnx", zipmap=False)
    files = {"MLmodel": write_mlmodel(python_function="model.onnx", onnx="model.onnx"), "conda.yaml": b"{}"}
    mlflow.log("iris", files | {"model.onnx": (tmp_path / "model.onnx").read_bytes()})
    mlflow.set_alias("iris", "champion", "1")
    manifest = MANIFEST.format(uri="models:/iris@champion")
    with serving(manifest, tmp_path, MLFLOW_TRACKING_URI=mlflow.url) as session:
        client = tritonclient.http.InferenceServerClient(session.url.removeprefix("http://"))
        sent = tritonclient.http.InferInput("x", ROWS.shape, "FP32")
        sent.set_data_from_numpy(ROWS)
        answer = client.infer("m", [sent])
        np.testing.assert_array_equal(answer.as_numpy("label").ravel(), model.predict(ROWS))


def test_every_command_does_what_the_readme_shows(mlflow: Mlflow, tmp_path: Path) -> None:
    terminal, programs = Terminal(tmp_path), tmp_path / "bin"
    programs.mkdir()
    (programs / "python").write_text(f'#!/bin/sh\nexec {ensure_mlflow()}/python "$@"\n')
    (programs / "python").chmod(0o755)
    terminal.env |= {"PATH": f"{programs}:{terminal.env['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    text = README.replace("127.0.0.1:8080", f"127.0.0.1:{terminal.port}").replace("http://127.0.0.1:5000", mlflow.url)
    for block in BLOCK.finditer(text):
        if block["kind"] in ("python", "yaml"):
            (tmp_path / block["text"].splitlines()[0].removeprefix("# ")).write_text(block["text"])
    subprocess.run([sys.executable, "export.py"], cwd=tmp_path, check=True, timeout=WAIT_S)
    (section,) = re.findall(r"^## Serve from MLflow.*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    output, commands = "", []
    try:
        for line in re.findall(r"```bash\n(.*?)```", section, re.DOTALL)[0].splitlines():
            if not line.startswith("$ "):
                assert re.search(as_pattern(line), output), f"{line!r} is not in:\n{output}"
            elif line != "$ mlflow server --port 5000":
                command = line.removeprefix("$ ")
                variable, _, rest = command.partition(" ")
                if "=" in variable:
                    terminal.env |= [variable.split("=")]
                    command = rest
                output = terminal.run(command)
                commands.append(command)
    finally:
        terminal.close()
    assert len(commands) == 3


def test_what_can_not_be_served_is_said(mlflow: Mlflow, tmp_path: Path) -> None:
    def said(uri: str, command: str = "serve", **environment: str) -> str:
        (tmp_path / "m.yaml").write_text(MANIFEST.format(uri=uri))
        variables = {"MLFLOW_TRACKING_URI": mlflow.url, **environment}
        done = forebay(command, str(tmp_path / "m.yaml"), state=tmp_path / "state", **variables)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    mlflow.log("sklearn", {"MLmodel": write_mlmodel(sklearn="model.pkl"), "model.pkl": b"x"})
    assert "convert it to ONNX (skl2onnx)" in said("models:/sklearn/1")
    assert "has no version 9 of sklearn" in said("models:/sklearn/9", "render")
    assert "MLFLOW_TRACKING_URI isn't set" in said("models:/sklearn/1", MLFLOW_TRACKING_URI="")
    assert "sqlite" in said("models:/sklearn/1", MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
    assert "stages and `latest` are not served" in said("models:/sklearn/Production", "validate")
