"""One generic way to write children: server-side apply with one field manager, then prune by owner."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from forebay.kube.children import APPLIED, Child, Children, Id, build_child
from forebay.kube.client import APPLY, Answer, ApiError, Client
from forebay.kube.holdings import Owner
from forebay.kube.match import is_as_wanted
from forebay.kube.resources import BY_KIND, CHILDREN
from forebay.plan.names import digest

Json = dict[str, Any]

MANAGER = "forebay"
# Owns nothing but `replicas` until a HorizontalPodAutoscaler does.
SCALER = "forebay-scaler"


class ChildConflictError(Exception):
    """An object of this name exists, and belongs to somebody else."""


@dataclass(frozen=True, kw_only=True)
class OwnerReference:
    """The ModelDeployment that children are made for."""

    owner: Owner
    uid: str
    api_version: str
    kind: str

    def build(self) -> Json:
        """The entry of `metadata.ownerReferences`. It never blocks a deletion."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.owner.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


class Applier:
    """Writes children."""

    def __init__(self, client: Client, children: Children) -> None:
        self._client = client
        self._children = children

    async def apply(self, reference: OwnerReference, manifest: Json) -> bool:
        """Make a child as the manifest says; False if it was so already.

        Raises ApiError when the apiserver refuses, ChildConflictError when somebody else's object has the name.
        """
        wanted = _complete(manifest, reference)
        key = Id(manifest["kind"], manifest["metadata"]["name"])
        known = self._children.of(reference.owner).get(key)
        if known is not None:
            if known.owner_uid and known.owner_uid != reference.uid:
                # Of a ModelDeployment of the same name that was deleted: it goes sooner or later anyway.
                await self._delete(reference.owner, key, known)
                known = None
            elif not _is_ours(known, reference):
                raise ChildConflictError(_describe_conflict(manifest))
            elif self._is_settled(known, wanted):
                return False
        answer = await (self._write(wanted, force=True) if known else self._create(wanted, reference))
        self._children.put(reference.owner, answer.body)
        made = self._children.of(reference.owner)[key]
        if made.resource_version == answer.body["metadata"]["resourceVersion"]:
            # Should the apiserver write something in a way that isn't recognized, it is not written again for ever.
            self._children.settle(made, _applied(wanted))
        return True

    def is_settled(self, reference: OwnerReference, manifest: Json) -> bool:
        """Whether a child is as the manifest says, as far as is known."""
        known = self._children.of(reference.owner).get(Id(manifest["kind"], manifest["metadata"]["name"]))
        return known is not None and self._is_settled(known, _complete(manifest, reference))

    async def apply_replicas(self, reference: OwnerReference, name: str, replicas: int) -> None:
        """Set the number of a Deployment's instances once, for an autoscaler to take over."""
        resource = BY_KIND["Deployment"]
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": reference.owner.namespace},
            "spec": {"replicas": replicas},
        }
        answer = await self._write(body, force=True, manager=SCALER)
        self._children.put(reference.owner, answer.body)

    async def prune(self, reference: OwnerReference, keep: Iterable[Id]) -> list[Id]:
        """Delete the children that nobody wants any more; an earlier owner's go with their owner."""
        kept = set(keep)
        found = self._children.of(reference.owner)
        order = {resource.kind: index for index, resource in enumerate(CHILDREN)}
        gone = sorted((key for key in found if key not in kept and key.kind in order), key=lambda key: order[key.kind])
        deleted = []
        for key in gone:
            child = found.get(key)
            if child is not None and _is_ours(child, reference):
                await self._delete(reference.owner, key, child)
                deleted.append(key)
        return deleted

    async def _delete(self, owner: Owner, key: Id, child: Child) -> None:
        resource = BY_KIND[key.kind]
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": child.uid},
        }
        try:
            await self._client.write("DELETE", resource.path(namespace=owner.namespace, name=key.name), body)
            self._client.on_write(key.kind, "delete")
        except ApiError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise
        self._children.drop(owner, key, uid=child.uid)

    def _is_settled(self, known: Child, wanted: Json) -> bool:
        digest = _applied(wanted)
        if self._children.is_settled(known, digest):
            return True
        if known.applied != digest or not is_as_wanted(wanted, known.content):
            return False
        self._children.settle(known, digest)
        return True

    async def _create(self, wanted: Json, reference: OwnerReference) -> Answer:
        """Write what isn't known to be there. It may be all the same: somebody else's, or ours without its labels."""
        there = await self._find(wanted, resourceVersion="0") if _may_merge(wanted, reference) else None
        try:
            if there is None:
                return await self._write(wanted, force=False)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            there = await self._find(wanted)
        if there is not None and not _is_ours(there, reference):
            raise ChildConflictError(_describe_conflict(wanted))
        return await self._write(wanted, force=True)

    async def _find(self, wanted: Json, **params: str) -> Child | None:
        metadata = wanted["metadata"]
        path = BY_KIND[wanted["kind"]].path(namespace=metadata["namespace"], name=metadata["name"])
        found = await self._client.find(path, **params)
        return build_child(found) if found else None

    async def _write(self, body: Json, *, force: bool, manager: str = MANAGER) -> Answer:
        metadata, resource = body["metadata"], BY_KIND[body["kind"]]
        path = resource.path(namespace=metadata["namespace"], name=metadata["name"])
        params = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        answer = await self._client.write("PATCH", path, body, content_type=APPLY, **params)
        self._client.on_write(resource.kind, "apply")
        return answer


def _is_ours(child: Child, reference: OwnerReference) -> bool:
    return child.owner_uid == reference.uid or child.is_orphan


def _may_merge(wanted: Json, reference: OwnerReference) -> bool:
    """Whether somebody else's object may have the name, and no field in which the apiserver sees a conflict: it would
    quietly become ours. People call things as the ModelDeployment, and ConfigMaps merge by their keys.
    """
    if wanted["kind"] == "ConfigMap":
        return "immutable" not in wanted  # one that is has its content's digest in its name
    return bool(wanted["metadata"]["name"] == reference.owner.name)


def _complete(manifest: Json, reference: OwnerReference) -> Json:
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED: digest(manifest)}
    owned = {**metadata, "annotations": annotations, "ownerReferences": [reference.build()]}
    return {**manifest, "metadata": owned}


def _applied(wanted: Json) -> str:
    return str(wanted["metadata"]["annotations"][APPLIED])


def _describe_conflict(manifest: Mapping[str, Any]) -> str:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    return (
        f"{kind} {name} exists already and belongs to somebody else: rename the ModelDeployment, or delete the {kind} "
        f"(kubectl delete {kind.lower()} {name} -n {manifest['metadata']['namespace']})"
    )
