"""The number of a Deployment's instances, by its `scale`: that and nothing else is written."""

from http import HTTPStatus
from typing import Any

from forebay.kube.client import JSON_PATCH, ApiError, Client
from forebay.kube.holdings import Owner
from forebay.kube.resources import DEPLOYMENT

Json = dict[str, Any]
MANAGER = "forebay-scaler"
_OVERTAKEN = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)


async def write_scale(client: Client, owner: Owner, name: str, *, before: int, after: int) -> bool:
    """Have so many instances where there are `before`; False if somebody has written another number meanwhile.

    Raises ApiError where the apiserver refuses.
    """
    # Of no instances the apiserver writes no number.
    spec = {"replicas": before} if before else {}
    patch: list[Json] = [
        {"op": "test", "path": "/spec", "value": spec},
        {"op": "add", "path": "/spec/replicas", "value": after},
    ]
    path = DEPLOYMENT.path(namespace=owner.namespace, name=name, subresource="scale")
    try:
        await client.write("PATCH", path, patch, content_type=JSON_PATCH, fieldManager=MANAGER)
    except ApiError as error:
        if error.status in _OVERTAKEN:
            return False
        raise
    client.on_write(DEPLOYMENT.kind, "scale")
    return True
