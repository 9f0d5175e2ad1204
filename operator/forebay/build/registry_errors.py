"""What registries say when they don't take an image, in our words."""

import json

import httpx

from forebay.build.errors import BuildError
from forebay.build.names import ImageName
from forebay.serving.storage.errors import Reason, StorageError

_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT)
_LOGIN = (
    "`docker login` (or podman, oras) on a laptop, DOCKER_AUTH_CONFIG with the text of a docker config.json in a "
    "pipeline, spec.pushSecretName of an ImageBuild"
)


def explain(status: int, said: bytes, name: ImageName, *, signed: bool) -> Exception:
    """The error that fits a refused push; one that another try may mend is a transient StorageError."""
    words = _read(said)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) and not signed:
        return BuildError(f"{name.registry} lets nobody push to {name.repository} without a login: {_LOGIN}")
    if status == httpx.codes.UNAUTHORIZED:
        return BuildError(f"{name.registry} doesn't take the user and password of the docker config: log in anew")
    if status == httpx.codes.FORBIDDEN:
        return BuildError(
            f"the user of the docker config may not push to {name.registry}/{name.repository}{words}: allow it there, "
            "or write another name"
        )
    if status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
        return BuildError(
            f"{name.registry} has no place for {name.repository}{words}: make the repository there first, or correct "
            "the name"
        )
    if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        return BuildError(
            f"{name.registry} takes no layer of this size{words}: raise the limit of the proxy in front of it"
        )
    passing = status in _BUSY or status >= httpx.codes.INTERNAL_SERVER_ERROR
    return StorageError(
        Reason.SERVER_ERROR,
        f"{name}: the registry answers {status}{words}: run this again, and look at its own log if it goes on",
        transient=passing,
    )


def _read(said: bytes) -> str:
    """The registry's own words, where it has some."""
    try:
        told = [str(each.get("message") or each.get("code")) for each in json.loads(said)["errors"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({'; '.join(told)[:300]})" if told else ""
