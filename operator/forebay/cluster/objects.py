"""Writing and deleting the objects of manifests, whatever kind they are of."""

import asyncio
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from forebay.cluster.errors import ClusterError
from forebay.cluster.kinds import CRD, NAMESPACE, OLDEST_MINOR
from forebay.kube.client import APPLY, ApiError, Client
from forebay.kube.resources import Resource
from forebay.status.pods import find_condition

Json = dict[str, Any]

MANAGER = "forebay-install"
_SERVED_S = 30.0


class Objects:
    """Finds out where the apiserver has each kind."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, dict[str, Json]] = {}

    async def apply(self, manifest: Json) -> bool:
        """Server-side apply; False if it was so already."""
        path = await self.find_path(manifest)
        before = await self._find_version(path)
        answer = await self._client.write(
            "PATCH", path, manifest, content_type=APPLY, fieldManager=MANAGER, force="true", fieldValidation="Strict"
        )
        return bool(answer.body["metadata"]["resourceVersion"] != before)

    async def delete(self, manifest: Json) -> bool:
        """Delete with all that belongs to it; False if it isn't there."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        try:
            await self._client.write("DELETE", await self.find_path(manifest), options)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    async def find_path(self, manifest: Json) -> str:
        """The path of a manifest's object."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        if version not in self._known:
            root = f"/apis/{version}" if "/" in version else f"/api/{version}"
            found = await self._client.read(root)
            self._known[version] = {each["kind"]: each for each in found["resources"] if "/" not in each["name"]}
        resource = self._known[version].get(kind)
        if resource is None:
            raise ClusterError(
                f"this cluster has no {kind} of {version}: is it older than Kubernetes 1.{OLDEST_MINOR}?"
            )
        metadata = manifest["metadata"]
        namespace = metadata.get("namespace", "default") if resource["namespaced"] else ""
        return Resource(version, kind, resource["name"]).path(namespace=namespace, name=metadata["name"])

    async def _find_version(self, path: str) -> str:
        found = await self._client.find(path)
        return str(found["metadata"]["resourceVersion"]) if found else ""


async def apply_all(client: Client, manifests: Sequence[Json], *, say: Callable[[str], None]) -> None:
    """Apply manifests in their order, CRDs and namespaces first, and tell of each."""
    objects = Objects(client)
    first = (NAMESPACE.kind, CRD.kind)
    for manifest in sorted(manifests, key=lambda each: each["kind"] not in first):
        changed = await objects.apply(manifest)
        if changed:
            say(f"{manifest['kind']} {manifest['metadata']['name']} applied")
        if manifest["kind"] == CRD.kind:
            await _wait_until_served(client, manifest["metadata"]["name"])


async def _wait_until_served(client: Client, name: str) -> None:
    deadline = time.monotonic() + _SERVED_S
    while time.monotonic() < deadline:
        crd = await client.read(CRD.path(name=name))
        if find_condition(crd, "Established").get("status") == "True":
            return
        accepted = find_condition(crd, "NamesAccepted")
        if accepted.get("status") == "False":
            raise ClusterError(f"the CRD {name} is refused: {accepted.get('message', '')}")
        await asyncio.sleep(0.2)
    raise ClusterError(f"the CRD {name} is not served after {_SERVED_S:.0f} s: kubectl describe crd {name}")
