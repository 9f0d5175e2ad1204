"""The status of an object of ours, written as a whole."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from forebay.kube.children import MANAGER
from forebay.kube.client import JSON_PATCH, ApiError, Client
from forebay.kube.resources import Resource

Json = dict[str, Any]


async def write_status(client: Client, resource: Resource, metadata: Mapping[str, Any], status: Json) -> Json | None:
    """Replace the status of the very object that `metadata` is of; the object as it is then, None when it is gone.

    Raises ApiError, with 422 also where another has its name by now.
    """
    path = resource.path(namespace=metadata["namespace"], name=metadata["name"], subresource="status")
    patch: list[Json] = [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "add", "path": "/status", "value": status},
    ]
    try:
        answer = await client.write(
            "PATCH", path, patch, content_type=JSON_PATCH, fieldManager=MANAGER, fieldValidation="Strict"
        )
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    client.on_write(resource.kind, "status")
    return answer.body
