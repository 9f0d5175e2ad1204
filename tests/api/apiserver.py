"""A real kube-apiserver with its etcd, for tests: on free ports of loopback, in a folder of its own, with no root.

    with ControlPlane(folder) as plane:
        plane.install_crds()
        plane.kubectl("get", "md", "-A")

Its controller-manager (garbage collection, HPA, Deployments to ReplicaSets) runs where it is asked for. There are no
nodes: pods stay Pending.
"""

import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import die_with_parent, read_tail

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
READY_S = 60
BUILD_S = 3600
_FIND = """
import os, sys
from cluster_tool import kubectl, programs
there = programs.locate_kubernetes()
if not there.exists() and not os.environ.get("CI"):
    sys.exit(f"{there} is not built: hack/cluster up builds it")
print(programs.ensure_kubernetes(), kubectl.find(), sep="\\n")
"""
# Names and groups that Kubernetes' own roles are bound to; tests take other ones with `kubectl --as`.
_USERS = {"admin": "system:masters", "system:kube-controller-manager": ""}


def require_programs() -> tuple[Path, Path]:
    """Kubernetes and kubectl; in CI they are built, on a laptop the test is skipped without them."""
    done = subprocess.run(
        [sys.executable, "-c", _FIND], capture_output=True, text=True, timeout=BUILD_S, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "hack")},
    )  # fmt: skip
    if done.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(done.stderr.strip())
    kubernetes, kubectl = done.stdout.splitlines()[-2:]
    return Path(kubernetes), Path(kubectl)


class ControlPlane:
    """An apiserver that runs until it is stopped. `kubeconfig` is an administrator's."""

    def __init__(self, folder: Path, *, controller_manager: bool = False, autoscaler_sync: str = "2s") -> None:
        self.folder = folder
        self.kubernetes, self.kubectl_program = require_programs()
        etcd, etcd_peer, apiserver, controllers = find_free_ports(4)
        self.url = f"https://{HOST}:{apiserver}"
        self.token = os.urandom(16).hex()
        self.ca = folder / "certificates/ca.crt"
        self.kubeconfig = folder / "kubeconfig"
        self._etcd_url = f"http://{HOST}:{etcd}"
        self._tokens = {user: os.urandom(16).hex() for user in _USERS} | {"admin": self.token}
        self._with_controllers = controller_manager
        self._autoscaler_sync = autoscaler_sync
        self._commands = {
            "etcd": self._build_etcd(f"http://{HOST}:{etcd_peer}"),
            "kube-apiserver": self._build_apiserver(apiserver),
            "kube-controller-manager": self._build_controller_manager(controllers),
        }
        self._health = {
            "etcd": f"{self._etcd_url}/health",
            "kube-apiserver": f"{self.url}/readyz",
            "kube-controller-manager": f"https://{HOST}:{controllers}/healthz",
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.ca.exists():
            self.ca.parent.mkdir()
            hosts = [HOST, "localhost", "kubernetes.default.svc"]
            subprocess.run([self.kubernetes, "certificates", self.ca.parent, *hosts], check=True, capture_output=True)
        rows = [f'{self._tokens[user]},{user},{user},"{group}"\n' for user, group in _USERS.items()]
        (self.folder / "tokens.csv").write_text("".join(rows))
        self._write_kubeconfig(self.kubeconfig, self.token)
        self._write_kubeconfig(self.folder / "controllers", self._tokens["system:kube-controller-manager"])
        try:
            for name in self._commands:
                if name != "kube-controller-manager" or self._with_controllers:
                    self.start_component(name)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, at once: nothing of it is kept."""
        for name in reversed(list(self._running)):
            self.stop_component(name)

    def start_component(self, name: str) -> None:
        """Start etcd, kube-apiserver or kube-controller-manager (again), and wait until it answers."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as written:
            process = subprocess.Popen(
                [self.kubernetes, name, *self._commands[name]],
                stdin=subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  (nothing else may be left behind)
            )  # fmt: skip
        self._running[name] = process
        deadline = time.monotonic() + READY_S
        while not self._answers(self._health[name]):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{read_tail(log, max_bytes=4000)}")
            time.sleep(0.05)

    def stop_component(self, name: str) -> None:
        """Kill one of them, as a crash would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def kubectl(
        self, *arguments: str | Path, given: str | None = None, check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator. `check` fails the test where kubectl fails."""
        files = (f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.folder / 'kubectl-cache'}")
        done = subprocess.run(
            [self.kubectl_program, *files, *arguments],
            input=given, capture_output=True, text=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        if check and done.returncode:
            pytest.fail(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done

    def get(self, *arguments: str) -> dict[str, Any]:
        """What `kubectl get` finds."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json").stdout)
        return found

    def install_crds(self) -> None:
        """Apply the CRDs of this checkout, and wait until they are served."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", CRDS)
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", CRDS)
        # Established says that objects are served; that they are listed and described comes a moment later.
        deadline = time.monotonic() + READY_S
        for crd in CRDS.glob("*.yaml"):
            names = yaml.safe_load(crd.read_text())["spec"]["names"]
            while self.kubectl("explain", names["plural"], check=False).returncode:
                assert time.monotonic() < deadline, f"{names['plural']} are not served"
                time.sleep(0.1)

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client of the apiserver, as the administrator."""
        context = ssl.create_default_context(cafile=str(self.ca))
        # Python 3.13 wants key identifiers, which those of the test cluster lack.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, verify=context, headers=headers, trust_env=False, **options)

    def _answers(self, url: str) -> bool:
        # The controller-manager has a certificate of its own making.
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(url, verify=False, trust_env=False, timeout=5).is_success  # noqa: S501
        return False

    def _write_kubeconfig(self, path: Path, token: str) -> None:
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "forebay-test",
            "contexts": [{"name": "forebay-test", "context": {"cluster": "forebay-test", "user": "forebay-test"}}],
            "clusters": [{"name": "forebay-test", "cluster": cluster}],
            "users": [{"name": "forebay-test", "user": {"token": token}}],
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))

    def _build_etcd(self, peer: str) -> list[str]:
        flags = {
            "name": "test", "data-dir": self.folder / "etcd", "listen-client-urls": self._etcd_url,
            "advertise-client-urls": self._etcd_url, "listen-peer-urls": peer, "initial-advertise-peer-urls": peer,
            "initial-cluster": f"test={peer}", "unsafe-no-fsync": "true", "log-level": "warn",
        }  # fmt: skip
        return _as_arguments(flags)

    def _build_apiserver(self, port: int) -> list[str]:
        certificates = self.ca.parent
        flags = {
            "etcd-servers": self._etcd_url,
            "bind-address": HOST,
            "secure-port": port,
            # The Endpoints of `kubernetes` may not name loopback.
            "endpoint-reconciler-type": "none",
            "service-cluster-ip-range": "10.96.0.0/12",
            "tls-cert-file": certificates / "apiserver.crt",
            "tls-private-key-file": certificates / "apiserver.key",
            "client-ca-file": self.ca,
            "token-auth-file": self.folder / "tokens.csv",
            "authorization-mode": "RBAC",
            # As of any cluster that has CSI drivers.
            "allow-privileged": "true",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": certificates / "service-account.key",
            "service-account-signing-key-file": certificates / "service-account.key",
        }
        if not self._with_controllers:
            # Nobody makes the ServiceAccount `default`, without which no pod would be let in.
            flags["disable-admission-plugins"] = "ServiceAccount"
        # Extensions of the API are called at the addresses of their Services' endpoints, as there is no kube-proxy.
        flags |= {
            "enable-aggregator-routing": "true",
            "requestheader-client-ca-file": self.ca,
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": certificates / "front-proxy-client.crt",
            "proxy-client-key-file": certificates / "front-proxy-client.key",
        }
        return _as_arguments(flags)

    def _build_controller_manager(self, port: int) -> list[str]:
        config = self.folder / "controllers"
        flags = {
            "kubeconfig": config,
            "authentication-kubeconfig": config,
            "authorization-kubeconfig": config,
            "bind-address": HOST,
            "secure-port": port,
            "leader-elect": "false",
            "root-ca-file": self.ca,
            "service-account-private-key-file": self.ca.parent / "service-account.key",
            "use-service-account-credentials": "true",
            "horizontal-pod-autoscaler-sync-period": self._autoscaler_sync,
            # Garbage of a thousand objects is to be collected while the test waits.
            "kube-api-qps": 300,
            "kube-api-burst": 600,
        }
        return _as_arguments(flags)


def _as_arguments(flags: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]
