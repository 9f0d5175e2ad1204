"""Keeps the DaemonSets that fetch versions on nodes, and tells how far they are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from forebay.controller.applying import apply_all
from forebay.controller.registry import Entry, Model
from forebay.kube.apply import Applier, OwnerReference
from forebay.kube.children import Children, Id
from forebay.kube.client import Client
from forebay.kube.holdings import Owner
from forebay.kube.resources import DAEMON_SET, MODEL_VERSION
from forebay.observation import Reason, Trouble
from forebay.plan.prefetch import build_prefetch, build_prefetch_name
from forebay.plan.site import Site
from forebay.status.conditions import find_previous
from forebay.status.versions import PREFETCHED

_DISABLED = Trouble(
    reason=Reason.NODE_CACHE_DISABLED,
    message="nothing is fetched ahead, as the cluster's nodes have no cache: set the chart's nodeCache.enabled",
)


class Prefetcher:
    """Brings the DaemonSet of a version in line with its spec.prefetch, whoever has changed either."""

    def __init__(self, client: Client, site: Site) -> None:
        self._client, self._site = client, site
        # By the version's uid: what was found settled there isn't written again for ever.
        self._children: defaultdict[Model, defaultdict[str, Children]] = defaultdict(lambda: defaultdict(Children))

    def forget_others(self, model: Model, entries: Sequence[Entry]) -> None:
        """These are the versions that there are of a model."""
        there = {entry.uid for entry in entries}
        for uid in self._children[model].keys() - there:
            del self._children[model][uid]
        if not self._children[model]:
            del self._children[model]

    async def keep(self, entry: Entry) -> Trouble | None:
        """Make or delete it; what there is to tell, None where nothing is wanted. Raises ApiError."""
        reference = refer_to(entry)
        wanted = entry.prefetch is not None and self._site.node_cache
        if not wanted:
            if find_previous(entry.status, PREFETCHED):
                await self._build_applier(await self._read(entry)).prune(reference, ())
            return None if entry.prefetch is None else _DISABLED
        manifest = build_prefetch(entry.name, entry.namespace, entry.version, entry.prefetch or {}, self._site)
        children = await self._read(entry)
        known = children.of(reference.owner)
        if troubles := await apply_all(self._build_applier(children), reference, [manifest], known, replicas={}):
            return troubles[0]
        return describe(children.of(reference.owner)[_identify(entry)].content)

    async def _read(self, entry: Entry) -> Children:
        """What is there: a version is looked at now and then, for which nobody needs to watch all DaemonSets."""
        children, key, owner = self._children[entry.model][entry.uid], _identify(entry), refer_to(entry).owner
        if found := await self._client.find(DAEMON_SET.path(namespace=entry.namespace, name=key.name)):
            children.put(owner, found)
        elif known := children.of(owner).get(key):
            children.drop(owner, key, uid=known.uid)
        return children

    def _build_applier(self, children: Children) -> Applier:
        return Applier(self._client, children, on_own=lambda _owner, _body: None)


def refer_to(entry: Entry) -> OwnerReference:
    """The reference to a ModelVersion that its DaemonSet carries."""
    owner = Owner(entry.namespace, entry.name)
    return OwnerReference(owner=owner, uid=entry.uid, api_version=MODEL_VERSION.api_version, kind=MODEL_VERSION.kind)


def _identify(entry: Entry) -> Id:
    return Id(DAEMON_SET.kind, build_prefetch_name(entry.name))


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
