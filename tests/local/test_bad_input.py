"""What people get wrong, each through the real command: what it says, that it says how to mend it, and that it ends."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pytest

from tests import loopback
from tests.local.serving_session import REPOSITORIES, ServingSession, forebay, serving
from tests.local.test_storage import environment, s3  # noqa: F401  (a fixture)
from tests.unit.serving.storage.conftest import Web, authority, web  # noqa: F401  (fixtures)

HEAD = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: m}\nspec:\n"
TRITON = HEAD + "  model: {uri: 'URI'}\n  predictor: {triton: {}}\n"
# A model that there is, for what goes wrong with Triton itself.
SLOW = HEAD + f"  model: {{uri: 'file:{REPOSITORIES}/slow'}}\n  predictor: {{triton: {{model: slow}}}}\n"
WITH_FILES = HEAD + "  model: {uri: 'URI'}\n  predictor: {custom: {script: script.py}}\n"
IMAGE = HEAD + "  predictor: {custom: {image: registry.example.com/m:1}}\n"
SCRIPTED = HEAD + "  predictor:\n    custom:\n      script: |\n"
ECHO = "class Echo:\n  def predict(self, inputs):\n    return inputs\n"
FOR_EVER = "import time\nclass A:\n  def load(self): time.sleep(600)\n  def predict(self, i): pass\n"
IO = (
    'input [{name: "x" data_type: TYPE_FP32 dims: [-1]}] output [{name: "y" data_type: TYPE_FP32 dims: [-1]}] '
    "instance_group [{kind: KIND_CPU}]"
)

Refuse = Callable[..., str]


def scripted(script: str) -> str:
    return SCRIPTED + indent(script, " " * 8)


def still_running(state: Path) -> list[str]:
    """Processes that were started with this state folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"FOREBAY_STATE={state}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Run a command that must be refused; `{manifest}` among its arguments is a file with that text."""

    def run(*args: str, manifest: str = "", status: int = 1, **env: str) -> str:
        file, state = tmp_path / "m.yaml", tmp_path / "state"
        file.write_text(manifest)
        done = forebay(*(str(file) if arg == "{manifest}" else arg for arg in args), state=state, **env)
        told = done.stdout + done.stderr
        assert done.returncode == status, told
        assert "Traceback" not in told
        assert still_running(state) == []
        assert not list(state.glob("*/record.json"))
        return told

    return run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  predictor: {triton: {}, concurency: 2}\n  model: {uri: 's3://a/b'}\n", "did you mean concurrency?"),
        ("  predictor: {triton: {}, custom: {image: a}}\n  model: {uri: 's3://a/b'}\n", "exactly one of triton and"),
        ("  predictor: {triton: {}}\n", "Triton needs a model: write model: {uri: s3://BUCKET/PREFIX}"),
        ("  predictor: [triton\n", "m.yaml:6"),
    ],
)
def test_a_manifest_that_is_wrong(refuse: Refuse, text: str, message: str) -> None:
    told = refuse("validate", "{manifest}", manifest=HEAD + text)
    assert told.startswith("error: ")
    assert re.search(r"m\.yaml:\d+: ", told), "the line is named"
    assert message in told


@pytest.mark.parametrize("command", ["serve", "render", "validate"])
def test_every_command_reads_alike(refuse: Refuse, command: str) -> None:
    told = refuse(command, "{manifest}", manifest=HEAD + "  predictor: {custom: {scritp: a}}\n")
    assert "m.yaml:5: spec.predictor.custom.scritp: unknown field: did you mean script?" in told
    assert "there is no folder" in refuse(command, "/no/such/file.yaml")


def test_no_argument_and_no_such_command(refuse: Refuse) -> None:
    assert "--help" in refuse("serve", status=2)
    assert "No such command" in refuse("sevre", status=2)


def test_a_model_folder_that_is_not_there(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    told = refuse("serve", "{manifest}", manifest=TRITON.replace("URI", "file:repositroy"))
    assert f"file:{tmp_path}/repositroy does not exist; did you mean file:{tmp_path}/repository?" in told


def test_a_model_folder_that_is_empty(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    told = refuse("serve", "{manifest}", manifest=TRITON.replace("URI", "file:repository"))
    assert "the folder is empty" in told
    assert "what Triton expects" in told


def test_a_model_that_the_repository_does_not_have(refuse: Refuse) -> None:
    told = refuse("serve", "{manifest}", manifest=TRITON.replace("URI", f"file:{REPOSITORIES}/slow"))
    assert "has no model m: it has slow. Write predictor: {triton: {model: slow}}" in told


@pytest.mark.parametrize("uri", ["pvc://models/digits", "nfs://server/digits"])
def test_a_volume_needs_a_cluster(refuse: Refuse, uri: str) -> None:
    told = refuse("serve", "{manifest}", manifest=TRITON.replace("URI", uri))
    assert f"model.uri {uri} is a volume that pods mount" in told
    assert "write file:PATH to serve it here" in told


def test_an_image_needs_a_cluster(refuse: Refuse) -> None:
    told = refuse("serve", "{manifest}", manifest=IMAGE)
    assert "predictor.custom.image needs a cluster" in told
    assert "Write custom.script" in told


def test_a_model_of_this_machine_is_not_for_a_cluster(refuse: Refuse) -> None:
    told = refuse("render", "{manifest}", manifest=TRITON.replace("URI", "file:repository"))
    assert "spec.model.uri: file:///" in told
    assert "write s3://BUCKET/m or https://HOST/m.tar.gz" in told


@pytest.mark.parametrize(
    ("uri", "changes", "messages"),
    [
        ("s3://models/digit/3", {}, ["NotFound", "did you mean s3://models/digits/3?"]),
        ("s3://models/digits", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ["AccessDenied", "AWS_SECRET_ACCESS_KEY"]),
        (
            "s3://models/digits",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            ["CredentialsMissing", "set AWS_ACCESS_KEY_ID"],
        ),
        (
            "s3://model/digits",
            {"AWS_ACCESS_KEY_ID": "ADMIN", "AWS_SECRET_ACCESS_KEY": "admins-secret"},
            ["BucketNotFound", "no such bucket"],
        ),
    ],
)
def test_s3(  # noqa: PLR0913, PLR0917 (one argument per fixture and parameter)
    refuse: Refuse,
    s3: str,  # noqa: F811
    tmp_path: Path,
    uri: str,
    changes: dict[str, str],
    messages: list[str],
) -> None:
    (tmp_path / "script.py").write_text(ECHO)
    env = environment(s3, **changes)
    env |= {name: "" for name in changes if name not in env}
    told = refuse(
        "serve",
        "{manifest}",
        manifest=WITH_FILES.replace("URI", uri),
        **{**env, "FOREBAY_CACHE": str(tmp_path / "cache")},
    )
    for message in messages:
        assert message in told
    assert "admins-secret" not in told


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("weights.bin")
        info.size = 1_000_000
        tar.addfile(info, io.BytesIO(np.random.default_rng(1).bytes(info.size)))
    return packed.getvalue()


def test_a_download_that_is_corrupt(refuse: Refuse, web: Web, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "script.py").write_text(ECHO)
    whole = archive()
    cut = web.serve("/cut.tar.gz", whole[: len(whole) // 2])
    other = web.serve("/other.tar.gz", whole)
    for uri, fix in ((cut, "make the archive again"), (f"{other}#sha256={'0' * 64}", "sha256")):
        manifest = WITH_FILES.replace("URI", uri)
        told = refuse("serve", "{manifest}", manifest=manifest, FOREBAY_CACHE=str(tmp_path / "cache"))
        assert "CorruptDownload" in told
        assert fix in told, told


def write_repository(folder: Path, config: str, file: str = "", content: str = "") -> None:
    (folder / "m/1").mkdir(parents=True)
    (folder / "m/config.pbtxt").write_text(config)
    (folder / "m/1" / (file or "empty")).write_text(content)


MODEL = "class TritonPythonModel:\n  def execute(self, requests): return []\n"


@pytest.mark.parametrize(
    ("config", "file", "content", "message"),
    [
        (f'backend: "python"\nmax_batch_sise: 4\n{IO}', "model.py", MODEL, "m/config.pbtxt:2:15: Message type"),
        (f'backend: "tensorrt" {IO}', "model.plan", "", "`forebay serve` has the backends python, onnxruntime and fil"),
        (f'backend: "python" {IO}', "model.py", "import cv9", "No module named 'cv9'"),
    ],
    ids=["field", "backend", "import"],
)
def test_what_triton_refuses(  # noqa: PLR0913, PLR0917 (one argument per fixture and parameter)
    refuse: Refuse, tmp_path: Path, config: str, file: str, content: str, message: str
) -> None:
    write_repository(tmp_path / "repository", config, file, content)
    told = refuse("serve", "{manifest}", manifest=TRITON.replace("URI", "file:repository"))
    assert message in told
    assert "failed to load all models" not in told
    assert told.count(message) == 1, "said once"
    assert "log: " in told
    assert ".repository/" not in told, "paths are those of the person's own files"


@pytest.mark.parametrize(
    ("config", "file", "message"),
    [
        ('backend: "python"', "", "BadLayout: m/1/ holds only empty, and the backend python loads model.py: upload it"),
        (
            'backend: "onnxruntime"',
            "",
            "BadLayout: m/1/ holds only empty, and the backend onnxruntime loads model.onnx",
        ),
        ('backend: "onnxruntime"', "model.onnx", "BadFormat: m/1: model.onnx is no ONNX model"),
        (
            'platform: "ensemble" ensemble_scheduling {step {model_name: "n"}}',
            "",
            "BadLayout: ensemble m has a step with",
        ),
    ],
    ids=["no-model-py", "no-onnx", "no-protobuf", "ensemble"],
)
def test_half_a_repository(refuse: Refuse, tmp_path: Path, config: str, file: str, message: str) -> None:
    write_repository(tmp_path / "repository", config, file, "hello")
    told = refuse("serve", "{manifest}", manifest=TRITON.replace("URI", "file:repository"))
    assert f"{tmp_path}/repository: {message}" in told
    assert "log: " not in told, "it is told before Triton is started"


SCRIPTS = {
    "syntax": ("class A:\n  def predict(self, x) return 1\n", ":2: expected ':'"),
    "library": ("import cv9\nclass A:\n  def predict(self, x): pass\n", f" pip install --python {sys.executable} cv9"),
    "none": ("x = 1\ny = 2\n", "no class with predict"),
    "two": ("class A:\n  def predict(self, i): pass\nclass B:\n  def predict(self, i): pass\n", "2 classes"),
    "load": (
        "class A:\n  def load(self):\n    open('/no/such')\n  def predict(self, i): pass\n",
        "FileNotFoundError: [Errno 2] No such file or directory: '/no/such'",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_cannot_be_served(refuse: Refuse, name: str) -> None:
    script, message = SCRIPTS[name]
    told = refuse("serve", "{manifest}", manifest=scripted(script))
    assert told.count(message) == 1, told
    assert "log: " in told
    if name == "load":
        assert "predictor.py:3: load failed: " in told


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_does_not_pass_the_check(tmp_path: Path, name: str) -> None:
    script, message = SCRIPTS[name]
    (tmp_path / "script.py").write_text(script)
    done = forebay("check", str(tmp_path / "script.py"), state=tmp_path / "state")
    assert done.returncode == 1
    assert message in done.stdout
    # What the script itself raised is shown whole; what Forebay finds is a sentence.
    assert ("Traceback" in done.stdout) == (name == "load")
    assert "Traceback" not in done.stderr
    assert still_running(tmp_path / "state") == []


def test_a_script_that_is_not_there(refuse: Refuse, tmp_path: Path) -> None:
    told = refuse("check", str(tmp_path / "nothing.py"))
    assert "nothing.py cannot be read: No such file or directory. Check the path" in told


def test_a_port_that_is_taken(refuse: Refuse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refuse("serve", "{manifest}", "--port", str(port), manifest=scripted(ECHO))
    assert f"port {port} is taken by " in told
    assert "choose another with --port, or leave --port out" in told


def test_a_machine_that_triton_does_not_run_on(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'riscv64'\n")
    manifest = SLOW
    told = refuse("serve", "{manifest}", manifest=manifest, PYTHONPATH=str(tmp_path))
    assert "there is no Triton for Linux on riscv64" in told
    assert "predictor: {custom: {script: ...}}" in told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"may not mount a tmpfs here: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_for_state(small_disk: Path, tmp_path: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "full").open("wb", buffering=0) as full:
        while full.write(bytes(4096)):
            pass
    (tmp_path / "m.yaml").write_text(scripted(ECHO))
    done = forebay("serve", str(tmp_path / "m.yaml"), state=small_disk)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "$FOREBAY_STATE" in done.stderr
    assert "Traceback" not in done.stderr
    assert still_running(small_disk) == []


def test_a_full_disk_for_the_model(refuse: Refuse, web: Web, small_disk: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "script.py").write_text(ECHO)
    manifest = WITH_FILES.replace("URI", web.serve("/weights.bin", bytes(1024 * 1024)))
    told = refuse("serve", "{manifest}", manifest=manifest, FOREBAY_CACHE=str(small_disk / "cache"))
    assert "DiskFull: 1.0 MiB more are needed" in told
    assert str(small_disk) in told


def test_a_full_disk_for_triton(refuse: Refuse, small_disk: Path) -> None:
    manifest = SLOW
    told = refuse("serve", "{manifest}", manifest=manifest, FOREBAY_CACHE=str(small_disk))
    assert "Triton could not be installed" in told
    assert "The disk is full" in told
    assert "$FOREBAY_CACHE" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_a_script_loads(tmp_path: Path, number: signal.Signals) -> None:
    with started(scripted(FOR_EVER), tmp_path) as (process, state, output):
        log = state / "default.m/logs/predictor-0.log"
        wait_until(lambda: log.exists() and "listens" in log.read_text(), output.read_text())
        end(process, state, output, number)
        assert "stopped" in output.read_text()


def test_ctrl_c_while_triton_loads(tmp_path: Path) -> None:
    model = "import time\nclass TritonPythonModel:\n  def initialize(self, args): time.sleep(600)\n"
    write_repository(tmp_path / "repository", f'backend: "python" {IO}', "model.py", model)
    with started(TRITON.replace("URI", "file:repository"), tmp_path) as (process, state, output):
        log = state / "default.m/logs/predictor-0.log"
        wait_until(lambda: log.exists() and "loading: m:1" in log.read_text(), output.read_text())
        end(process, state, output, signal.SIGINT)


def test_ctrl_c_while_a_model_is_fetched(web: Web, tmp_path: Path) -> None:  # noqa: F811
    asked, release = threading.Event(), threading.Event()

    def never(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        release.wait(60)
        handler.close_connection = True

    web.routes["/weights.bin"] = never
    (tmp_path / "script.py").write_text(ECHO)
    manifest = WITH_FILES.replace("URI", f"{web.address}/weights.bin")
    with started(manifest, tmp_path, FOREBAY_CACHE=str(tmp_path / "cache")) as (process, state, output):
        assert asked.wait(30), output.read_text()
        end(process, state, output, signal.SIGINT)
    release.set()


def test_the_usual_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection of before may linger
        with contextlib.suppress(OSError):  # somebody else holds it
            holder.bind(("127.0.0.1", 8080))
            holder.listen()
        with started(scripted(ECHO), tmp_path) as (process, state, output):
            wait_until(lambda: "Ctrl-C drains" in output.read_text(), output.read_text())
            assert re.search(r"port 8080 is taken.*: serving at another", output.read_text())
            end(process, state, output, signal.SIGINT)


class started:  # noqa: N801  (a context manager, used as a function)
    """`forebay serve`, from its first moment; ended however the block ends."""

    def __init__(self, manifest: str, folder: Path, **env: str) -> None:
        (folder / "m.yaml").write_text(manifest)
        self.state, self.output = folder / "state", folder / "output.txt"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forebay.cli", "serve", str(folder / "m.yaml")],
                stdout=out,
                stderr=out,
                env=serve_environment(self.state, **env),
            )

    def __enter__(self) -> tuple[subprocess.Popen[bytes], Path, Path]:
        return self.process, self.state, self.output

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def serve_environment(state: Path, **env: str) -> dict[str, str]:
    return {**os.environ, "FOREBAY_STATE": str(state), "COLUMNS": "200", **env}


def end(process: subprocess.Popen[bytes], state: Path, output: Path, number: signal.Signals) -> None:
    process.send_signal(number)
    process.wait(30)
    told = output.read_text()
    assert "Traceback" not in told
    assert "is closed" not in told, "asyncio's own complaints"
    wait_until(lambda: still_running(state) == [], f"{still_running(state)} are left")
    assert not (state / "default.m/record.json").exists()


BUSY = """
import time
class Busy:
  def predict(self, inputs):
    time.sleep(float(inputs["seconds"].max()))
    return inputs
"""
BUSY_MANIFEST = SCRIPTED + indent(BUSY, " " * 8) + "    concurrency: 1\n  queue: {depth: 1}\n"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingSession]:
    """One slot, one place to wait."""
    with serving(BUSY_MANIFEST, tmp_path_factory.mktemp("busy")) as session:
        yield session


def predict(session: ServingSession, file: Path, name: str = "m") -> subprocess.CompletedProcess[str]:
    done = forebay("predict", name, "--file", str(file), state=session.state)
    assert "Traceback" not in done.stderr
    return done


def save(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def test_what_is_served_already(busy: ServingSession, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(scripted(ECHO))
    done = forebay("serve", str(tmp_path / "m.yaml"), state=busy.state)
    assert done.returncode == 1
    assert f"default/m is served already, by process {busy.process.pid}: end that one first" in done.stderr
    assert loopback.get(f"{busy.url}/v2/health/ready").status_code == 200, "the other one still serves"


def test_the_same_name_in_two_files(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "other.yaml").write_text(scripted(ECHO))
    told = refuse("serve", "{manifest}", str(tmp_path / "other.yaml"), manifest=scripted(ECHO))
    assert "default/m stands in two of the files" in told


def test_predict_where_nothing_is_served(refuse: Refuse) -> None:
    told = refuse("predict", "m", "--file", "a.npy")
    assert "m is not served here. Nothing is: run `forebay serve FILE.yaml` first" in told


def test_predict_with_a_name_that_is_not_served(busy: ServingSession, tmp_path: Path) -> None:
    done = predict(busy, tmp_path / "a.npy", name="n")
    assert (done.returncode, done.stderr) == (1, "error: n is not served here. Served: default/m\n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npy", None, "missing.npy is not a file"),
        ("text.npy", b"hello", "text.npy is no NumPy file"),
        ("cut.npz", b"PK\x03\x04cut", "cut.npz is broken"),
        ("broken.json", b"{", "400: the body is not JSON"),
        ("a.png", b"\x89PNG", "415: this model takes tensors, not image/png"),
    ],
)
def test_predict_with_a_wrong_file(
    busy: ServingSession, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = predict(busy, tmp_path / name)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr


def test_predict_with_values_that_no_model_takes(busy: ServingSession, tmp_path: Path) -> None:
    done = predict(busy, save(tmp_path / "complex.npy", np.zeros(2, np.complex64)))
    assert done.returncode == 1
    assert "complex.npy holds complex64, which no model takes: save numbers or text" in done.stderr


@pytest.mark.parametrize(
    "rows", [[{"seconds": 0.0}], {"instances": [{"seconds": 0.0}]}, {"inputs": {"seconds": [0.0]}}]
)
def test_predict_takes_the_json_that_curl_sends(busy: ServingSession, tmp_path: Path, rows: Any) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    answer = loopback.post(f"{busy.url}/predict", json=rows)
    done = predict(busy, tmp_path / "rows.json")
    assert done.returncode == 0
    assert json.loads(done.stdout.removeprefix("rows.json: ")) == answer.json()


def test_predict_shows_text_as_text(busy: ServingSession, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", seconds=np.zeros(1, np.float32), name=np.array(["é"]))
    done = predict(busy, tmp_path / "a.npz")
    assert json.loads(done.stdout.removeprefix("a.npz: ")) == {"seconds": [0.0], "name": ["é"]}


def test_predict_when_the_queue_is_full(busy: ServingSession, tmp_path: Path) -> None:
    body = {"inputs": [{"name": "seconds", "shape": [1], "datatype": "FP32", "data": [4]}]}
    (tmp_path / "a.json").write_text(json.dumps(body))
    np.savez(tmp_path / "a.npz", seconds=np.zeros(1, np.float32))
    with ThreadPoolExecutor(4) as pool:
        url = f"{busy.url}/v2/models/m/infer"
        filling = [pool.submit(loopback.post, url, json=body, timeout=60) for _ in range(2)]
        wait_until(lambda: re.search(r"^forebay_queue_queued\{.*\} 1\.0$", busy.metrics(), re.MULTILINE), "not full")
        refused = [pool.submit(predict, busy, tmp_path / name) for name in ("a.json", "a.npz")]
        for each in refused:
            assert each.result().returncode == 1
            assert "the queue of this instance is full: try again" in each.result().stdout
        assert [each.result().status_code for each in filling] == [200, 200]
