"""One generic way to write children: create, or server-side apply with one field manager, then prune by owner.

What isn't there is created: that costs the apiserver half of what applying it does, and never touches what somebody
else made meanwhile. When it is applied for the first time, its fields are counted as applied: see `_take_over`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from forebay.kube.children import APPLIED, MANAGER, Child, Children, Id, build_child
from forebay.kube.client import APPLY, JSON_PATCH, MERGE_PATCH, Answer, ApiError, Client
from forebay.kube.holdings import Owner
from forebay.kube.match import is_as_wanted
from forebay.kube.resources import BY_KIND
from forebay.plan.names import digest

Json = dict[str, Any]

# Owns nothing but `replicas` until a HorizontalPodAutoscaler does.
SCALER = "forebay-scaler"
_STRICTLY = {"fieldValidation": "Strict"}


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

    def __init__(self, client: Client, children: Children, *, on_own: Callable[[Owner, Json], None]) -> None:
        self._client = client
        self._children = children
        # Called with what was written: the watch may have told of it before the answer came.
        self._on_own = on_own

    async def apply(
        self, reference: OwnerReference, manifest: Json, *, at_first: Mapping[str, Any] = MappingProxyType({})
    ) -> bool:
        """Make a child as the manifest says; False if it was so already. Its `spec` begins with `at_first`, too.

        Raises ApiError when the apiserver refuses, ChildConflictError when somebody else's object has the name.
        """
        wanted = _complete(manifest, reference)
        key = Id(manifest["kind"], manifest["metadata"]["name"])
        known = self._children.of(reference.owner).get(key)
        if known and known.owner_uid and known.owner_uid != reference.uid:
            # Of a ModelDeployment of the same name that was deleted: it goes sooner or later anyway.
            await self._delete(reference.owner, key, known)
            known = None
        answer = None if known else await self._create(wanted, at_first)
        if answer is None:
            known = known or await self._find(wanted, reference)
            if not _is_ours(known, reference):
                raise ChildConflictError(_describe_conflict(manifest, reference.kind))
            if self._is_settled(known, wanted):
                return False
            if known.created_entry is not None:
                await self._take_over(reference.owner, key, known)
            answer = await self._write(wanted)
        self._keep(reference.owner, answer)
        made = self._children.of(reference.owner).get(key)
        if made and made.resource_version == answer.body["metadata"]["resourceVersion"]:
            # Should the apiserver write something in a way that isn't recognized, it is not written again for ever.
            self._children.settle(made, _applied(wanted))
        return True

    def is_settled(self, reference: OwnerReference, manifest: Json) -> bool:
        """Whether a child is as the manifest says, as far as is known."""
        known = self._children.of(reference.owner).get(Id(manifest["kind"], manifest["metadata"]["name"]))
        return known is not None and self._is_settled(known, _complete(manifest, reference))

    async def apply_replicas(self, reference: OwnerReference, name: str, replicas: int) -> None:
        """Set the number of a Deployment's instances once, for somebody else to take over. 0 is kept, and not set:
        ApiError (409) where somebody has changed the Deployment meanwhile.
        """
        resource = BY_KIND["Deployment"]
        known = self._children.of(reference.owner).get(Id("Deployment", name))
        seen = {} if replicas or known is None else {"resourceVersion": known.resource_version}
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": reference.owner.namespace, **seen},
            "spec": {"replicas": replicas},
        }
        answer = await self._write(body, manager=SCALER)
        self._keep(reference.owner, answer)

    async def amend(self, reference: OwnerReference, key: Id, patch: Json) -> None:
        """Merge fields into a child that nobody else writes. Raises ApiError, with 409 where another has its name."""
        resource, known = BY_KIND[key.kind], self._children.of(reference.owner)[key]
        body = {**patch, "metadata": {**patch.get("metadata", {}), "uid": known.uid}}
        path = resource.path(namespace=reference.owner.namespace, name=key.name)
        answer = await self._client.write("PATCH", path, body, content_type=MERGE_PATCH, fieldManager=MANAGER)
        self._client.on_write(key.kind, "patch")
        self._keep(reference.owner, answer)

    async def prune(self, reference: OwnerReference, keep: Iterable[Id]) -> list[Id]:
        """Delete the children that nobody wants any more; an earlier owner's go with their owner."""
        kept = set(keep)
        found = self._children.of(reference.owner)
        order = {kind: index for index, kind in enumerate(BY_KIND)}
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

    async def _create(self, wanted: Json, at_first: Mapping[str, Any]) -> Answer | None:
        """Make what isn't known to be there. None: it is all the same, somebody else's or ours without its labels."""
        metadata, resource = wanted["metadata"], BY_KIND[wanted["kind"]]
        path, params = resource.path(namespace=metadata["namespace"]), {"fieldManager": MANAGER, **_STRICTLY}
        body = {**wanted, "spec": {**wanted["spec"], **at_first}} if at_first else wanted
        try:
            answer = await self._client.write("POST", path, body, **params)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return None
            raise
        self._client.on_write(resource.kind, "create")
        return answer

    async def _find(self, wanted: Json, reference: OwnerReference) -> Child:
        body = await self._client.read(_path_of(wanted))
        child = build_child(body)
        if _is_ours(child, reference):
            self._children.put(reference.owner, body)
        return child

    async def _take_over(self, owner: Owner, key: Id, known: Child) -> None:
        """Count as applied what was created: else a field that is wanted no more would be kept for who created it.

        Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
        """
        entry = f"/metadata/managedFields/{known.created_entry}"
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": known.uid},
            {"op": "test", "path": f"{entry}/manager", "value": MANAGER},
            {"op": "replace", "path": f"{entry}/operation", "value": "Apply"},
        ]
        path = BY_KIND[key.kind].path(namespace=owner.namespace, name=key.name)
        try:
            answer = await self._client.write("PATCH", path, patch, content_type=JSON_PATCH, fieldManager=MANAGER)
        except ApiError as error:
            if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                said = f"{key.kind} {key.name} has changed meanwhile: {error}"
                raise ApiError(HTTPStatus.CONFLICT, "Conflict", said) from None
            raise
        self._client.on_write(key.kind, "takeover")
        self._keep(owner, answer)

    def _keep(self, owner: Owner, answer: Answer) -> None:
        self._children.put(owner, answer.body)
        self._on_own(owner, answer.body)

    async def _write(self, body: Json, *, manager: str = MANAGER) -> Answer:
        params = {"fieldManager": manager, "force": "true", **_STRICTLY}
        answer = await self._client.write("PATCH", _path_of(body), body, content_type=APPLY, **params)
        self._client.on_write(body["kind"], "apply")
        return answer


def _is_ours(child: Child, reference: OwnerReference) -> bool:
    return child.owner_uid == reference.uid or child.is_orphan


def _path_of(body: Json) -> str:
    metadata = body["metadata"]
    return BY_KIND[body["kind"]].path(namespace=metadata["namespace"], name=metadata["name"])


def _complete(manifest: Json, reference: OwnerReference) -> Json:
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED: digest(manifest)}
    owned = {**metadata, "annotations": annotations, "ownerReferences": [reference.build()]}
    return {**manifest, "metadata": owned}


def _applied(wanted: Json) -> str:
    return str(wanted["metadata"]["annotations"][APPLIED])


def _describe_conflict(manifest: Mapping[str, Any], owner_kind: str) -> str:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    return (
        f"{kind} {name} exists already and belongs to somebody else: rename the {owner_kind}, or delete the {kind} "
        f"(kubectl delete {kind.lower()} {name} -n {manifest['metadata']['namespace']})"
    )
