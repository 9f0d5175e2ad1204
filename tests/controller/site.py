"""The operator as its pod runs it, beside a real apiserver; and what a cluster with nodes would do: see `Nodes`."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from forebay.kube.resources import CHECKS, CHILDREN, IMAGE_BUILD, MODEL_DEPLOYMENT, MODEL_VERSION, RECORDS, Resource
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import die_with_parent, read_tail
from tests import loopback
from tests.api.apiserver import ROOT, ControlPlane

Json = dict[str, Any]
WAIT_S = 60.0
OURS = "app.kubernetes.io/managed-by=forebay"
BY_KIND = {each.kind: each for each in (*CHILDREN, *RECORDS, *CHECKS, MODEL_DEPLOYMENT, MODEL_VERSION, IMAGE_BUILD)}
SCRIPT = "class Transformer:\n    def preprocess(self, inputs):\n        return inputs\n"
TRITON: Json = {"model": {"uri": "s3://models/digits"}, "predictor": {"triton": {}}}
WITH_TRANSFORMER: Json = {**TRITON, "transformer": {"custom": {"script": SCRIPT}}}
SCALED: Json = {"autoscaling": {"min": 2, "max": 8, "target": {"cpu": 70}}}


def wait_for(what: Callable[[], Any], *, limit_s: float = WAIT_S, every_s: float = 0.05, why: Any = "") -> Any:
    """Until it is true; returns what it is."""
    deadline_s = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(httpx.HTTPError, KeyError, StopIteration):
            found = what()
            if found:
                return found
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited in vain: {why() if callable(why) else why}")
        time.sleep(every_s)


class Cluster:
    """Objects of an apiserver, as people and other programs read and write them."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.client = plane.client(timeout=30)

    def make_namespace(self, name: str) -> str:
        """A namespace; its name."""
        self.write("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def write(self, method: str, path: str, body: Any = None, *, form: str = "application/json", **query: str) -> Json:
        """Any request that changes something; one that is refused fails the test."""
        content = None if body is None else json.dumps(body)
        answer = self.client.request(method, path, content=content, headers={"content-type": form}, params=query)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        made: Json = answer.json()
        return made

    def create(self, namespace: str, spec: Json, *, name: str = "digits", **metadata: Any) -> Json:
        """A new ModelDeployment."""
        body = {"apiVersion": MODEL_DEPLOYMENT.api_version, "kind": MODEL_DEPLOYMENT.kind, "spec": spec}
        return self.write(
            "POST", MODEL_DEPLOYMENT.path(namespace=namespace),
            body | {"metadata": {"name": name, "namespace": namespace, **metadata}},
        )  # fmt: skip

    def replace(self, namespace: str, spec: Json, *, name: str = "digits") -> Json:
        """The same ModelDeployment with another spec."""
        return self.patch(namespace, "ModelDeployment", name, [{"op": "replace", "path": "/spec", "value": spec}])

    def find(self, namespace: str, kind: str, name: str) -> Json:
        """An object; empty where there is none."""
        answer = self.client.get(BY_KIND[kind].path(namespace=namespace, name=name))
        if answer.status_code == 404:
            return {}
        found: Json = answer.raise_for_status().json()
        return found

    def patch(self, namespace: str, kind: str, name: str, body: Any, *, manager: str = "somebody") -> Json:
        """A merge patch of another manager, or a JSON patch where `body` is a list."""
        form = "application/json-patch+json" if isinstance(body, list) else "application/merge-patch+json"
        return self.write("PATCH", BY_KIND[kind].path(namespace=namespace, name=name), body, form=form,
                          fieldManager=manager)  # fmt: skip

    def delete(self, namespace: str, kind: str, name: str) -> None:
        """Delete an object, and don't mind if it is gone."""
        answer = self.client.delete(BY_KIND[kind].path(namespace=namespace, name=name))
        assert answer.status_code in (200, 202, 404), answer.text

    def list_all(self, resource: Resource, namespace: str = "", selector: str = OURS) -> list[Json]:
        """Objects of a kind, with their type."""
        answer = self.client.get(resource.path(namespace=namespace), params={"labelSelector": selector})
        typed = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**item, **typed} for item in answer.raise_for_status().json()["items"]]

    def list_children(self, namespace: str) -> dict[str, Json]:
        """What is ours in a namespace, as kind/name."""
        found = [item for resource in CHILDREN for item in self.list_all(resource, namespace)]
        return {f"{item['kind']}/{item['metadata']['name']}": item for item in found}

    def deployments(self, namespace: str) -> dict[str, Json]:
        """Our Deployments in a namespace, by name."""
        return {each["metadata"]["name"]: each for each in self.list_all(BY_KIND["Deployment"], namespace)}

    def status(self, namespace: str, name: str = "digits") -> Json:
        """The status of a ModelDeployment; empty before there is one."""
        found: Json = self.find(namespace, "ModelDeployment", name).get("status", {})
        return found

    def condition(self, namespace: str, name: str = "digits", type_: str = "Ready") -> Json:
        """One of its conditions; empty before it has it."""
        return next((each for each in self.status(namespace, name).get("conditions", []) if each["type"] == type_), {})

    def wait_reason(self, namespace: str, reason: str, name: str = "digits", *, limit_s: float = WAIT_S) -> Json:
        """Until Ready says this of the present generation."""

        def find_said(found: Json) -> Json:
            ready: Json = next(each for each in found["status"]["conditions"] if each["type"] == "Ready")
            said = ready["reason"] == reason and ready["observedGeneration"] == found["metadata"]["generation"]
            return ready if said else {}

        why = lambda: f"{reason}: {self.status(namespace, name)}"  # noqa: E731
        # By what changes, and not again and again: many wait at once.
        return wait_for(lambda: self._await_change(namespace, name, find_said), limit_s=limit_s, why=why)

    def _await_change(self, namespace: str, name: str, look: Callable[[Json], Json]) -> Json:
        """What is looked for in a ModelDeployment as it is, or as it becomes within seconds; empty where it doesn't."""
        path = MODEL_DEPLOYMENT.path(namespace=namespace)
        query = {"fieldSelector": f"metadata.name={name}", "timeoutSeconds": "5"}
        listed = self.client.get(path, params=query).raise_for_status().json()
        found = [{"object": each} for each in listed["items"]]
        query |= {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
        with self.client.stream("GET", path, params=query) as lines:
            for event in itertools.chain(found, map(json.loads, lines.iter_lines())):
                with contextlib.suppress(KeyError, StopIteration):
                    if said := look(event["object"]):
                        return said
        return {}

    @contextlib.contextmanager
    def follow(self, item: Json) -> Iterator[Iterator[Json]]:
        """The versions of an object after the given one; httpx.TimeoutException where none comes for long."""
        metadata = item["metadata"]
        path = BY_KIND[item["kind"]].path(namespace=metadata["namespace"])
        query = {"watch": "1", "fieldSelector": f"metadata.name={metadata['name']}",
                 "resourceVersion": metadata["resourceVersion"]}  # fmt: skip
        with self.client.stream("GET", path, params=query, timeout=WAIT_S) as lines:
            yield (json.loads(line)["object"] for line in lines.iter_lines())

    def events(self, namespace: str) -> list[Json]:
        """Events, the oldest first."""
        found = self.client.get(f"/api/v1/namespaces/{namespace}/events").raise_for_status().json()["items"]
        return sorted(found, key=lambda each: int(each["metadata"]["resourceVersion"]))

    def drop(self, namespace: str, name: str = "digits") -> None:
        """Delete a ModelDeployment and, as the garbage collector would, its children."""
        self.delete(namespace, "ModelDeployment", name)
        wait_for(lambda: not self.find(namespace, "ModelDeployment", name))
        for resource in (*CHILDREN, *RECORDS, *CHECKS):
            path, query = resource.path(namespace=namespace), {"labelSelector": f"app.kubernetes.io/instance={name}"}
            self.client.delete(path, params=query).raise_for_status()


def normalize(item: Json) -> Json:
    """An object without what is another's each time it is made."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences", "finalizers")
    metadata = {name: item["metadata"][name] for name in kept if name in item["metadata"]}
    owners = [{**each, "uid": "UID"} for each in metadata.get("ownerReferences", [])]
    rest = {name: value for name, value in item.items() if name not in ("metadata", "status")}
    return {**rest, "metadata": {**metadata, "ownerReferences": owners}}


def normalize_status(status: Json) -> Json:
    """A status without times and generations, and without what was there before."""
    conditions = [
        {name: value for name, value in each.items() if name not in ("lastTransitionTime", "observedGeneration")}
        for each in status.get("conditions", [])
    ]
    gone = ("observedGeneration", "activeNumber", "targetNumber", "previousRevision")
    rest = {name: value for name, value in status.items() if name not in gone}
    return {**rest, "conditions": conditions}


class Operator:
    """The operator's process. It looks after all namespaces but where `watch` names some."""

    def __init__(self, folder: Path, kubeconfig: Path, *, namespace: str, watch: str = "", **environment: str) -> None:
        self._folder = folder
        self._settings = {
            "KUBECONFIG": str(kubeconfig), "FOREBAY_NAMESPACE": namespace, "FOREBAY_WATCH_NAMESPACES": watch,
            "FOREBAY_LOG_FORMAT": "text", **environment,
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Start it, at first or anew, with the same settings."""
        (self.port,) = find_free_ports(1)
        self.log_file = self._folder / f"operator-{self.port}.log"
        settings = {**self._settings, "FOREBAY_PORT": str(self.port)}
        with self.log_file.open("ab") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forebay.controller"],
                env={**os.environ, **settings}, stdout=written, stderr=written, cwd=ROOT,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What it said so far."""
        return self.log_file.read_text()

    @property
    def is_leading(self) -> bool:
        """Whether it leads."""
        return bool(self.metrics().get("forebay_leader"))

    def metrics_text(self) -> str:
        """Its metrics, as scraped."""
        return loopback.get(f"http://{HOST}:{self.port}/metrics", timeout=30).text

    def metrics(self) -> dict[str, float]:
        """Its metrics: names with the values of their labels."""
        families = text_string_to_metric_families(self.metrics_text())
        samples = [sample for family in families for sample in family.samples]
        return {" ".join([each.name, *each.labels.values()]): each.value for each in samples}

    def count_writes(self) -> int:
        """Its writes so far."""
        return int(sum(value for name, value in self.metrics().items() if name.startswith("forebay_api_writes_total")))

    def wait_leading(self, *, limit_s: float = WAIT_S) -> Self:
        """Until it leads."""
        wait_for(lambda: self.is_leading, limit_s=limit_s, why=lambda: read_tail(self.log_file, max_bytes=4000))
        return self

    def wait_quiet(self, *, for_s: float = 1.0, limit_s: float = WAIT_S) -> None:
        """Until it has looked at nothing for a while."""
        seen, since = -1.0, 0.0
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            found = self.metrics()
            looks = sum(value for name, value in found.items() if name.startswith("forebay_reconciles_total"))
            if looks != seen or found["forebay_reconcile_queue"]:
                seen, since = looks, time.monotonic()
            elif time.monotonic() - since > for_s:
                return
            time.sleep(0.1)
        raise AssertionError(f"no rest:\n{read_tail(self.log_file, max_bytes=4000)}")

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """As the kubelet does it; the exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """As a crash does it."""
        self.process.kill()
        self.process.wait()


def write_kubeconfig(path: Path, *, url: str, token: str, ca: Path | None = None) -> Path:
    """A kubeconfig of another user, or by another way."""
    cluster = {"server": url, **({"certificate-authority": str(ca)} if ca else {})}
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path


class Nodes:
    """Makes the instances of all Deployments ready, but those in `held` namespaces, and tells where they are."""

    def __init__(self, plane: ControlPlane, *, address: str = "") -> None:
        self.held: set[str] = set()
        self._address = address
        self._cluster = Cluster(plane)
        self._again, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(5)

    def release(self, namespace: str) -> None:
        """Make instances there ready from now on."""
        self.held.discard(namespace)
        self._again.set()

    def _run(self) -> None:
        version = ""
        while not self._stopped.is_set():
            with contextlib.suppress(httpx.HTTPError, KeyError):
                if not version or self._again.is_set():
                    self._again.clear()
                    found = self._cluster.client.get(_DEPLOYMENTS).raise_for_status().json()
                    for each in found["items"]:
                        self._look(each)
                    version = found["metadata"]["resourceVersion"]
                version = self._follow(version)
                continue
            version = ""
            self._stopped.wait(0.3)

    def _follow(self, version: str) -> str:
        """Changes for a second; the version seen last."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
        with self._cluster.client.stream("GET", _DEPLOYMENTS, params=query) as lines:
            for line in lines.iter_lines():
                event = json.loads(line)
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] == "DELETED" and self._address:
                    namespace, name = _id(event["object"])
                    self._cluster.client.delete(f"{_SLICES}/namespaces/{namespace}/endpointslices/{name}-a")
                elif event["type"] in ("ADDED", "MODIFIED"):
                    self._look(event["object"])
                if self._again.is_set():
                    break
        return version

    def _look(self, deployment: Json) -> None:
        namespace, name = _id(deployment)
        if (
            namespace in self.held
            or deployment["metadata"].get("labels", {}).get("app.kubernetes.io/name") != "forebay"
        ):
            return
        number, generation = deployment["spec"]["replicas"], deployment["metadata"]["generation"]
        wanted = {"observedGeneration": generation, "replicas": number, "updatedReplicas": number,
                  "readyReplicas": number, "availableReplicas": number}  # fmt: skip
        if deployment.get("status", {}).items() >= {key: each for key, each in wanted.items() if each}.items():
            return
        if self._address:
            self._put_slice(deployment)
        path = BY_KIND["Deployment"].path(namespace=namespace, name=name, subresource="status")
        self._cluster.client.patch(
            path, json={"status": wanted}, headers={"content-type": "application/merge-patch+json"},
            params={"fieldManager": "nodes"},
        )  # fmt: skip

    def _put_slice(self, deployment: Json) -> None:
        namespace, name = _id(deployment)
        labels = {**deployment["metadata"]["labels"], "kubernetes.io/service-name": name}
        number = deployment["spec"]["replicas"]
        body = {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{name}-a", "namespace": namespace, "labels": labels},
            "endpoints": [{"addresses": [self._address], "conditions": {"ready": True}}] * bool(number),
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }  # fmt: skip
        self._cluster.client.patch(
            f"{_SLICES}/namespaces/{namespace}/endpointslices/{name}-a", content=json.dumps(body),
            headers={"content-type": "application/apply-patch+yaml"}, params={"fieldManager": "nodes"},
        )  # fmt: skip


class History:
    """Every version of the objects of a kind in a namespace, from now on."""

    def __init__(self, cluster: Cluster, namespace: str, kind: str = "Deployment") -> None:
        self.seen: list[tuple[str, Json]] = []
        path = BY_KIND[kind].path(namespace=namespace)
        self._client = cluster.plane.client(timeout=60)
        version = self._client.get(path).json()["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": version}
        threading.Thread(target=self._follow, args=(path, query), daemon=True).start()

    def _follow(self, path: str, query: dict[str, str]) -> None:
        with (
            contextlib.suppress(httpx.HTTPError, RuntimeError),
            self._client.stream("GET", path, params=query) as lines,
        ):
            for line in lines.iter_lines():
                event = json.loads(line)
                self.seen.append((event["type"], event["object"]))

    def numbers(self, name: str) -> list[int]:
        """How many instances a Deployment was to have, one after the other."""
        found = [each["spec"]["replicas"] for _, each in list(self.seen) if each["metadata"]["name"] == name]
        return [number for index, number in enumerate(found) if not index or found[index - 1] != number]

    def conditions(self, type_: str) -> list[Json]:
        """What a condition of the ModelDeployment was, one after the other."""
        return [
            each
            for _, item in list(self.seen)
            for each in item.get("status", {}).get("conditions", ())
            if each["type"] == type_
        ]

    def close(self) -> None:
        self._client.close()


_SLICES = "/apis/discovery.k8s.io/v1"
_DEPLOYMENTS = "/apis/apps/v1/deployments"


def _id(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


@contextlib.contextmanager
def running(operators: list[Operator]) -> Iterator[list[Operator]]:
    """Operators that are killed in the end."""
    try:
        yield operators
    finally:
        for each in operators:
            each.kill()
