"""Making the children as the plan says, and saying what the apiserver had against it."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from forebay.kube.apply import Applier, ChildConflictError, OwnerReference
from forebay.kube.children import Child, Id
from forebay.kube.client import PASSING, ApiError
from forebay.kube.resources import AUTOSCALER, SCALED_OBJECT
from forebay.observation import Reason, Trouble
from forebay.plan.names import COMPONENT_LABEL

Json = dict[str, Any]

# Either of them sets the number of a Deployment's instances.
SCALERS = (AUTOSCALER.kind, SCALED_OBJECT.kind)
_UNTYPED = "failed to create typed patch object"


async def apply_all(
    applier: Applier,
    reference: OwnerReference,
    manifests: Sequence[Json],
    known: Mapping[Id, Child],
    *,
    replicas: Mapping[str, int],
) -> list[Trouble]:
    """Apply all manifests, in order; what can't be applied is told, and the others are applied all the same.

    `replicas` are of Deployments whose number an autoscaler is to take over from, by name. An apiserver that is
    overloaded or gone raises ApiError or NoClusterError: then all of it is tried again.
    """
    troubles = []
    for manifest in manifests:
        try:
            await _apply(applier, reference, manifest, known, replicas)
        except ChildConflictError as error:
            troubles.append(Trouble(reason=Reason.CHILD_CONFLICT, message=str(error), stalled=True))
        except ApiError as error:
            troubles.append(explain(error, manifest))
    return troubles


async def _apply(
    applier: Applier,
    reference: OwnerReference,
    manifest: Json,
    known: Mapping[Id, Child],
    replicas: Mapping[str, int],
) -> None:
    name = manifest["metadata"]["name"]
    if manifest["kind"] != "Deployment" or "replicas" in manifest["spec"]:
        await applier.apply(reference, manifest)
        return
    there = known.get(Id("Deployment", name))
    is_scaled = any(Id(kind, name) in known for kind in SCALERS)
    if there and not applier.is_settled(reference, manifest) and (there.created_entry is not None or not is_scaled):
        # Whoever wrote `replicas` before and doesn't now would set it to 1: somebody else must hold it meanwhile.
        await applier.apply_replicas(reference, name, replicas[name])
    await applier.apply(reference, manifest, at_first={"replicas": replicas[name]})


def explain(error: ApiError, manifest: Json) -> Trouble:
    """A refusal of the apiserver, as trouble; what is to be tried again as it stands is raised."""
    child = f"{manifest['kind']} {manifest['metadata']['name']}"
    said = str(error)
    # The apiserver takes a field that doesn't exist, or is of another type, for an error of its own.
    match HTTPStatus.BAD_REQUEST if _UNTYPED in said else error.status:
        case HTTPStatus.FORBIDDEN if "exceeded quota" in said:
            return Trouble(reason=Reason.QUOTA_EXCEEDED, message=f"{child} exceeds the namespace's quota: {said}")
        case HTTPStatus.FORBIDDEN if "being terminated" in said:
            return Trouble(reason=Reason.NAMESPACE_TERMINATING, message=f"the namespace is being deleted: {said}")
        case HTTPStatus.FORBIDDEN:
            return Trouble(reason=Reason.FORBIDDEN, message=f"{child} is forbidden: {said}", stalled=True)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY if manifest["kind"] == "Deployment":
            role = manifest["metadata"]["labels"][COMPONENT_LABEL]
            message = f"Kubernetes refuses the pods of the {role}: mend spec.{role}.podTemplate. It says: {said}"
            return Trouble(reason=Reason.INVALID_POD_TEMPLATE, message=message, stalled=True)
        case status if status in PASSING:
            raise error
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Trouble(reason=Reason.APPLY_FAILED, message=f"{child} is refused: {said}", stalled=True)
    raise error
