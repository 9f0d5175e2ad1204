"""The ModelVersions of a namespace, as the commands read and write them."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from forebay.cluster.deployments import NOT_INSTALLED
from forebay.cluster.errors import ClusterError
from forebay.cluster.session import Cluster
from forebay.kube.client import APPLY, ApiError
from forebay.kube.resources import MODEL_VERSION
from forebay.plan.versions import Version, VersionError, choose_version, read_version, split_reference

Json = dict[str, Any]

_PUSH, _ALIAS = "forebay-push", "forebay-alias"
_MERGE = "application/merge-patch+json"
_TRIES = 5
_MOST_NAMED = 8


async def list_bodies(cluster: Cluster) -> list[Json]:
    """All ModelVersions of the namespace."""
    found = await cluster.client.find(MODEL_VERSION.path(namespace=cluster.namespace))
    if found is None:
        raise ClusterError(NOT_INSTALLED)
    return list(found["items"])


def choose_body(bodies: Sequence[Json], reference: str) -> Json:
    """The one that a reference, or its own name, means. Raises VersionError with what there is instead."""
    named = next((each for each in bodies if each["metadata"]["name"] == reference), None)
    if named is not None:
        return named
    if not set(reference) & set(":@"):
        there = ", ".join(sorted(each["metadata"]["name"] for each in bodies)[:_MOST_NAMED]) or "none"
        raise VersionError(f"there is no ModelVersion named {reference} here: there are {there}")
    chosen = choose_version(reference, map(read_version, bodies))
    return next(each for each in bodies if read_version(each).reference == chosen.reference)


async def apply_version(cluster: Cluster, manifest: Json) -> None:
    """Write a ModelVersion. What others wrote to it stays: aliases among it."""
    path = MODEL_VERSION.path(namespace=cluster.namespace, name=manifest["metadata"]["name"])
    await cluster.client.write(
        "PATCH", path, manifest, content_type=APPLY, fieldManager=_PUSH, force="true", fieldValidation="Strict"
    )


async def move_alias(cluster: Cluster, reference: str, version: str) -> Sequence[Version]:
    """Give MODEL@ALIAS to a version, and take it from those that had it, which are answered."""
    for _ in range(_TRIES):
        bodies = await list_bodies(cluster)
        model, alias = split_reference(reference)
        target = choose_version(f"{model}:{version}", map(read_version, bodies))
        had = [each for each in bodies if reference in read_version(each).references]
        losing = [each for each in had if read_version(each).reference != target.reference]
        gaining = [each for each in bodies if each not in had and read_version(each).reference == target.reference]
        try:
            # First to the new one: if this ends between the two, nothing is lost but that both claim it.
            for body in gaining:
                await _write_aliases(cluster, body, [*body["spec"].get("aliases", ()), alias])
            for body in losing:
                await _write_aliases(cluster, body, [each for each in body["spec"]["aliases"] if each != alias])
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            continue
        return [read_version(each) for each in losing]
    raise ClusterError(f"somebody else moves aliases of {split_reference(reference)[0]}, too: try again")


async def _write_aliases(cluster: Cluster, body: Json, aliases: list[str]) -> None:
    """Write them where nobody else changed the object meanwhile."""
    metadata = body["metadata"]
    path = MODEL_VERSION.path(namespace=metadata["namespace"], name=metadata["name"])
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"aliases": aliases}}
    await cluster.client.write("PATCH", path, patch, content_type=_MERGE, fieldManager=_ALIAS)
