"""A gateway that the operator finds as in a cluster: a pod, at whose address a real pilot answers, beside an Envoy."""

from pathlib import Path
from typing import Self

from forebay.kube.resources import POD
from forebay.local.ports import HOST
from tests.controller.relay import Relay
from tests.controller.site import Cluster, Json
from tests.gateway.site import GatewaySite

_PORT = 9090


class Gateway:
    """A pod of the gateway. Its address is a loopback one of its own, since the pilot's port is always the same."""

    def __init__(
        self, cluster: Cluster, folder: Path, *, namespace: str, name: str, address: str, **environment: str
    ) -> None:
        self.site = GatewaySite(folder, cluster.plane, **environment)
        self._cluster, self._path = cluster, POD.path(namespace=namespace)
        self.name, self.address = name, address
        self._relay = Relay((address, _PORT), lambda: (HOST, self.site.pilot_port))

    def __enter__(self) -> Self:
        self.site.__enter__()
        self._relay.__enter__()
        labels = {"app.kubernetes.io/name": "forebay", "app.kubernetes.io/component": "gateway"}
        container = {"name": "envoy", "image": "envoy"}
        body: Json = {"metadata": {"name": self.name, "labels": labels}, "spec": {"containers": [container]}}
        self._cluster.write("POST", self._path, body)
        self.tell(ready=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._relay.__exit__()
        self.site.__exit__()
        self._cluster.client.delete(f"{self._path}/{self.name}", params={"gracePeriodSeconds": "0"})

    def tell(self, *, ready: bool) -> None:
        """What the kubelet would tell of the pod."""
        conditions = [{"type": "Ready", "status": str(ready)}]
        containers = [{"name": "envoy", "ready": True, "restartCount": 0, "image": "envoy", "imageID": ""}]
        status = {"phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}], "conditions": conditions,
                  "containerStatuses": containers}  # fmt: skip
        path = f"{self._path}/{self.name}/status"
        self._cluster.write("PATCH", path, {"status": status}, form="application/merge-patch+json")
