"""The forebay command on a cluster with real pods: what it shows, sends and reads, with no kubectl."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from forebay.cluster.port_forward import PortForward
from forebay.cluster.predict import find_gateway
from forebay.cluster.session import Target, connect
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import build, build_secret, list_pods, wait_ready

pytestmark = pytest.mark.usefixtures("gateway")
BROKEN = """
class A:
    def load(self):
        raise OSError("no such weights")

    def predict(self, inputs):
        return inputs
"""


class Command:
    """forebay, in the module's namespace and with none of this machine's own state."""

    def __init__(self, kubectl: Kubectl, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "FOREBAY"))}
        own = {"KUBECONFIG": kubectl.kubeconfig, "HOME": str(home), "FOREBAY_STATE": str(home / "state")}
        # There is no kubectl on the PATH.
        self.environment = kept | own | {"PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
        self.namespace = kubectl.namespace

    def build(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "forebay.cli", *map(str, arguments), "-n", self.namespace]

    def __call__(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        env = self.environment | environment
        return subprocess.run(self.build(*arguments), env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def forebay(namespace: Kubectl, tmp_path: Path) -> Command:
    return Command(namespace, tmp_path)


@pytest.fixture(scope="module")
def models(namespace: Kubectl) -> Kubectl:
    """`open`, two instances for all; `locked` asks for a key; `broken` never loads."""
    locked = build("locked", access={"apiKeys": {"secretName": "keys"}})
    opened, broken = build("open"), build("broken")
    opened["spec"]["predictor"]["replicas"] = 2
    broken["spec"]["predictor"]["custom"]["script"] = BROKEN
    namespace.apply(build_secret("keys", {"alice": "right"}), opened, locked, broken)
    wait_ready(namespace, "open", "locked")
    return namespace


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.json"
    file.write_text("[[1, 2]]")
    return file


def test_check_finds_nothing_missing(models: Kubectl, forebay: Command) -> None:
    done = forebay("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "✗" not in done.stdout
    assert " leads\n" in done.stdout
    assert "nvidia.com/gpu" in done.stdout
    assert f"namespace {models.namespace} enforces Pod Security `restricted`" in done.stdout


def test_status_tells_what_is_ready(models: Kubectl, forebay: Command) -> None:
    table = forebay("status")
    assert table.returncode == 1  # broken isn't ready
    rows = {line.split()[0]: line.split()[1:4] for line in table.stdout.splitlines()[1:]}
    assert rows["open"] == ["True", "Ready", "2/2"]
    assert rows["broken"][0] == "False"
    one = forebay("status", "open")
    assert one.returncode == 0
    assert f"{models.namespace}/open is ready" in one.stdout
    for pod in list_pods(models, "open"):
        assert pod["metadata"]["name"] in one.stdout


def test_predict_goes_through_the_gateway(models: Kubectl, forebay: Command, rows: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[3, 4]], np.float32))
    done = forebay("predict", "open", rows, tmp_path / "x.npy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == 'rows.json: [[2.0, 4.0]]\nx.npy: {"y": [[6.0, 8.0]]}\n'


def test_predict_takes_megabytes_both_ways(models: Kubectl, forebay: Command, tmp_path: Path) -> None:
    x = np.arange(1 << 20, dtype=np.float32).reshape(-1, 2)
    np.save(tmp_path / "x.npy", x)
    done = forebay("predict", "open", tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(json.loads(done.stdout.removeprefix("x.npy: "))["y"], 2 * x)


def test_predict_with_keys(models: Kubectl, forebay: Command, rows: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[3, 4]], np.float32))
    for key, message in (("", "an API key is needed"), ("wrong", "this is no API key of this ModelDeployment")):
        done = forebay("predict", "locked", rows, tmp_path / "x.npy", FOREBAY_API_KEY=key)
        assert done.returncode == 1
        assert done.stdout.count(f"401: {message}") == 2
        assert done.stdout.count("give the key with --api-key KEY or $FOREBAY_API_KEY") == 2
    assert forebay("predict", "locked", rows, "--api-key", "right").stdout == "rows.json: [[2.0, 4.0]]\n"


def test_predict_to_what_does_not_load(models: Kubectl, forebay: Command, rows: Path) -> None:
    eventually(lambda: "no such weights" in forebay("status", "broken").stdout, timeout_s=90)
    done = forebay("predict", "broken", rows)
    assert done.returncode == 1
    assert "error: broken is not ready (" in done.stderr
    assert "no such weights" in done.stderr
    assert f"More: forebay status broken -n {models.namespace}" in done.stderr


def test_logs_of_all_pods(models: Kubectl, forebay: Command) -> None:
    done = forebay("logs", "open")
    assert done.returncode == 0
    for pod in list_pods(models, "open"):
        assert f"{pod['metadata']['name']}/predictor " in done.stdout
    assert done.stdout.count("'open' is ready: loaded in") == 2
    assert "/queue " in forebay("logs", "open", "--container", "queue").stdout
    last = forebay("logs", "broken", "--tail", "1", "--previous")
    assert last.stdout.count("\n") == 1
    assert "no such weights" in forebay("logs", "broken", "--tail", "-1").stdout


def test_logs_go_on_after_a_restart_and_with_new_pods(models: Kubectl, forebay: Command, tmp_path: Path) -> None:
    before = {pod["metadata"]["name"] for pod in list_pods(models, "open")}
    restarted, deleted = sorted(before)
    with follow(forebay, tmp_path / "log", "open") as log:
        eventually(lambda: log.read_text().count("is ready: loaded in") == 2)
        models("exec", restarted, "-c", "predictor", "--", "python", "-c", "import os; os.kill(1, 15)")
        eventually(lambda: log.read_text().count(f"{restarted}/predictor ") > 2, timeout_s=60)
        eventually(lambda: _count_starts(log, restarted) == 2, timeout_s=60)
        models("delete", "pod", deleted, "--wait=false")
        eventually(lambda: log.read_text().count("is ready: loaded in") == 4, timeout_s=60)
    (new,) = {pod["metadata"]["name"] for pod in list_pods(models, "open")} - before
    assert _count_starts(log, new) == 1


def _count_starts(log: Path, pod: str) -> int:
    return sum(line.startswith(pod) and "is ready: loaded in" in line for line in log.read_text().splitlines())


async def test_a_port_of_a_pod(models: Kubectl) -> None:
    """Many connections at once; a port that nobody listens on is told of."""
    target = Target(namespace=models.namespace, kubeconfig=models.kubeconfig)
    async with connect(target) as cluster, httpx.AsyncClient(trust_env=False) as client:
        pod = (await find_gateway(cluster))["metadata"]
        gateway = PortForward(cluster.client, namespace=pod["namespace"], pod=pod["name"], port=8080)
        async with gateway.listen() as address:
            urls = [f"http://{address}/{models.namespace}/open/v2/health/ready"] * 30
            answers = await asyncio.gather(*map(client.get, urls))
        assert {answer.status_code for answer in answers} == {200}
        assert gateway.trouble == ""
        nothing = PortForward(cluster.client, namespace=pod["namespace"], pod=pod["name"], port=9999)
        async with nothing.listen() as address:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"http://{address}/")
        assert "connection refused" in nothing.trouble


@contextmanager
def follow(forebay: Command, log: Path, name: str) -> Iterator[Path]:
    with log.open("w") as written:
        process = subprocess.Popen(
            forebay.build("logs", name, "--follow"), env=forebay.environment, stdout=written, stderr=written,
            # As from a terminal: what a shell starts in the background is deaf to Ctrl-C, and so are its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )  # fmt: skip
        try:
            yield log
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
