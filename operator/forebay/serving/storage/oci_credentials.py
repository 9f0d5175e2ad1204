"""User names and passwords of registries, as docker, podman and oras keep them."""

import base64
import json
import os
from pathlib import Path
from typing import Any

from forebay.serving.storage.errors import Reason, StorageError

_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


def find_basic(registry: str) -> str | None:
    """What stands behind `Basic` for a registry; None without credentials.

    DOCKER_AUTH_CONFIG holds the text of a config.json (in a pod: of a Secret), else it lies in DOCKER_CONFIG or
    ~/.docker. Raises StorageError when it is no such text.
    """
    where = "DOCKER_AUTH_CONFIG"
    text = os.environ.get(where)
    if not text:
        path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
        where = str(path)
        try:
            text = path.read_text("utf-8")
        except OSError:
            return None
    try:
        return _find(json.loads(text)["auths"], registry)
    except KeyError:
        return None
    except (ValueError, TypeError, AttributeError) as error:
        raise StorageError(
            Reason.CREDENTIALS_MISSING,
            f'{where} is no docker config: write {{"auths": {{"{registry}": {{"auth": "BASE64 OF USER:PASSWORD"}}}}}}',
        ) from error


def _find(auths: dict[str, Any], registry: str) -> str | None:
    hub = registry in _DOCKER_HUB
    for key, entry in auths.items():
        host = key.removeprefix("https://").partition("/")[0]
        if host != registry and not (hub and host in _DOCKER_HUB):
            continue
        if "username" in entry and "password" in entry:
            return base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
        if "auth" in entry:
            return base64.b64encode(base64.b64decode(entry["auth"], validate=True)).decode()
    return None
