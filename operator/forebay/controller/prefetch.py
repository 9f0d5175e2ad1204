"""Keeps the DaemonSets that fetch versions on nodes, and tells how far they are."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from forebay.controller.registry import Entry
from forebay.kube.apply import OwnerReference
from forebay.kube.children import APPLIED, MANAGER
from forebay.kube.client import APPLY, ApiError, Client
from forebay.kube.holdings import Owner
from forebay.kube.resources import DAEMON_SET, MODEL_VERSION
from forebay.observation import Reason, Trouble
from forebay.plan.names import digest
from forebay.plan.prefetch import build_prefetch, build_prefetch_name
from forebay.plan.site import Site
from forebay.status.conditions import find_previous
from forebay.status.versions import PREFETCHED

Json = dict[str, Any]
_REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)
_DISABLED = Trouble(
    reason=Reason.NODE_CACHE_DISABLED,
    message="nothing is fetched ahead, as the cluster's nodes have no cache: set the chart's nodeCache.enabled",
)


class Prefetcher:
    """Brings the DaemonSet of a version in line with its spec.prefetch."""

    def __init__(self, client: Client, site: Site) -> None:
        self._client, self._site = client, site

    async def keep(self, entry: Entry) -> Trouble | None:
        """Make or delete it; what there is to tell, None where nothing is wanted. Raises ApiError."""
        path = DAEMON_SET.path(namespace=entry.namespace, name=build_prefetch_name(entry.name))
        wanted = entry.prefetch is not None and self._site.node_cache
        if not wanted:
            if find_previous(entry.status, PREFETCHED):
                await self._delete(path, entry)
            return None if entry.prefetch is None else _DISABLED
        manifest = self._build(entry)
        found = await self._client.find(path)
        if found and not _is_of(found, entry):
            name = found["metadata"]["name"]
            return Trouble(reason=Reason.CHILD_CONFLICT, message=f"DaemonSet {name} is somebody else's: rename that")
        applied = manifest["metadata"]["annotations"][APPLIED]
        if not found or (found["metadata"].get("annotations") or {}).get(APPLIED) != applied:
            try:
                answer = await self._client.write(
                    "PATCH", path, manifest, content_type=APPLY, fieldManager=MANAGER, force="true"
                )
            except ApiError as error:
                if error.status not in _REFUSED:
                    raise
                return Trouble(reason=Reason.APPLY_FAILED, message=f"the DaemonSet is refused: {error}")
            self._client.on_write(DAEMON_SET.kind, "apply")
            found = answer.body
        return describe(found)

    def _build(self, entry: Entry) -> Json:
        manifest = build_prefetch(entry.name, entry.namespace, entry.version, entry.prefetch or {}, self._site)
        reference = OwnerReference(
            owner=Owner(entry.namespace, entry.name),
            uid=entry.uid,
            api_version=MODEL_VERSION.api_version,
            kind=MODEL_VERSION.kind,
        )
        added = {"annotations": {APPLIED: digest(manifest)}, "ownerReferences": [reference.build()]}
        return {**manifest, "metadata": {**manifest["metadata"], **added}}

    async def _delete(self, path: str, entry: Entry) -> None:
        found = await self._client.find(path)
        if not found or not _is_of(found, entry):
            return
        try:
            await self._client.write("DELETE", path, {"preconditions": {"uid": found["metadata"]["uid"]}})
            self._client.on_write(DAEMON_SET.kind, "delete")
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise


def describe(found: Mapping[str, Any]) -> Trouble:
    """On how many nodes it is."""
    status = found.get("status") or {}
    is_current = status.get("observedGeneration") == found["metadata"].get("generation")
    wanted, ready = int(status.get("desiredNumberScheduled") or 0), int(status.get("numberReady") or 0)
    if not is_current:
        return Trouble(reason=Reason.STARTING, message="the nodes are being told")
    if not wanted:
        message = "no node has the labels of prefetch.nodeSelector, and taints that prefetch.tolerations has"
        return Trouble(reason=Reason.UNSCHEDULABLE, message=message)
    if ready < wanted:
        message = f"it is on {ready} of {wanted} nodes: `kubectl get nodecaches` shows what comes or fails where"
        return Trouble(reason=Reason.DOWNLOADING, message=message)
    return Trouble(reason=Reason.READY, message=f"it is on {wanted} nodes" if wanted > 1 else "it is on 1 node")


def _is_of(found: Mapping[str, Any], entry: Entry) -> bool:
    return any(each.get("uid") == entry.uid for each in found["metadata"].get("ownerReferences") or [])
