"""A node's agent as the kubelet sees it: its process, its sockets, and the volumes of pods."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
import pytest

import forebay
from forebay.node import mounts
from forebay.node.messages import CSI, REGISTRATION
from tests.local.storage_servers import free_port

Json = dict[str, Any]
T = TypeVar("T")
CALL_S = 60
WORKER = 1000


def eventually(ask: Callable[[], T], timeout_s: float = 120) -> T:
    deadline_s = time.monotonic() + timeout_s
    while not (found := ask()):
        assert time.monotonic() < deadline_s, f"still {found!r} after {timeout_s} s"
        time.sleep(0.05)
    return found


@functools.cache
def find_python() -> tuple[str, dict[str, str]]:
    """A Python that the worker's user may run, too, and what to set for it: pyenv's lies in a home."""
    packages = os.pathsep.join([str(Path(forebay.__file__).parents[1]), sysconfig.get_path("purelib")])
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for program, extra in ((sys.executable, {}), (system, {"PYTHONPATH": packages})):
        try:
            subprocess.run(
                [program, "-c", "import boto3, forebay.node.worker"],
                env={**os.environ, **extra}, user=WORKER, group=WORKER, extra_groups=[], cwd="/",
                check=True, timeout=CALL_S,
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        return program, extra
    pytest.skip(f"needs a Python that the user {WORKER} may run")


class Node:
    """A machine's folders, and the agent that runs over them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.kubelet, self.log = folder / "cache", folder / "kubelet", folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        self.port = 0

    @property
    def socket(self) -> Path:
        return self.kubelet / "plugins/models.forebay.dev/csi.sock"

    @property
    def registration_socket(self) -> Path:
        return self.kubelet / "plugins_registry/models.forebay.dev-reg.sock"

    def start(self, *, size_limit: str = "1Gi", **options: str) -> None:
        self.port = free_port()
        program, environment = find_python()
        command = [program, "-m", "forebay.node", "--node=node-1", f"--root={self.root}", "--allow-loopback"]
        command += [f"--kubelet={self.kubelet}", f"--size-limit={size_limit}", f"--port={self.port}"]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **environment, **self.environment}
            )
        eventually(self._is_up)

    def _is_up(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False).is_success
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.wait(60)

    def call(self, method: str, socket: Path | None = None, messages: Json = CSI, **fields: Any) -> Any:
        """A call of the kubelet. Raises grpc.RpcError."""
        service, name = method.rsplit(".", 1)
        asked = {"GetInfo": "InfoRequest", "NotifyRegistrationStatus": "RegistrationStatus"}.get(name, f"{name}Request")
        answered = {"GetInfo": "PluginInfo", "NotifyRegistrationStatus": "RegistrationStatusResponse"}.get(
            name, f"{name}Response"
        )
        with grpc.insecure_channel(f"unix:{socket or self.socket}") as channel:
            call = channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=messages[asked].SerializeToString,
                response_deserializer=messages[answered].FromString,
            )
            return call(messages[asked](**fields), timeout=CALL_S, wait_for_ready=True)

    def register(self, method: str, **fields: Any) -> Any:
        name = f"pluginregistration.Registration.{method}"
        return self.call(name, self.registration_socket, REGISTRATION, **fields)

    def target(self, name: str) -> Path:
        return self.kubelet / f"pods/{name}/volumes/kubernetes.io~csi/model/mount"

    def publish(self, name: str, uri: str, secret: dict[str, str], **attributes: str) -> Path:
        """Give a pod its volume, as the kubelet does; answers where the pod finds it."""
        about = {
            "csi.storage.k8s.io/ephemeral": "true",
            "csi.storage.k8s.io/pod.namespace": "default",
            "csi.storage.k8s.io/pod.name": name,
            "uri": uri,
            **attributes,
        }
        # The kubelet makes the parent.
        self.target(name).parent.mkdir(parents=True, exist_ok=True)
        self.call(
            "csi.v1.Node.NodePublishVolume",
            volume_id=f"csi-{name}",
            target_path=str(self.target(name)),
            readonly=True,
            secrets=secret,
            volume_context=about,
        )
        return self.target(name)

    def unpublish(self, name: str) -> None:
        self.call("csi.v1.Node.NodeUnpublishVolume", volume_id=f"csi-{name}", target_path=str(self.target(name)))

    def metric(self, series: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text
        return float(next(line.split(" ")[-1] for line in text.splitlines() if line.startswith(series + " ")))

    def clean(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        for place in sorted(mounts.list_mounts(), reverse=True):
            if place.startswith((f"{self.kubelet}/", f"{self.root}/")):
                mounts.unmount(Path(place))


def read_state(volume: Path) -> Json:
    try:
        found: Json = json.loads((volume / "state.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def await_state(volume: Path, state: str) -> Json:
    found = eventually(lambda: read_state(volume) if read_state(volume).get("state") in (state, "Failed") else None)
    assert found["state"] == state, found
    return found


def walk(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def walk_children(pid: int) -> list[int]:
    """Of all threads: any may have started one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (task / "children").read_text().split()]
    return found


def read_command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
