"""The AWS role of a pod's ServiceAccount, as EKS knows it: what its download assumes in the pod's place.

In a pod EKS's webhook mounts a token, and says which role it is for. Here the kubelet hands over the same token, and
the ServiceAccount's annotation names the role, whose trust policy decides as ever.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from forebay.node.apiserver import Apiserver
from forebay.node.volumes import Asked
from forebay.serving.storage.errors import Reason, StorageError

# A key of the volume's context. No Secret has one like it.
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
_AUDIENCE = "sts.amazonaws.com"
_ANNOTATION = "eks.amazonaws.com/role-arn"


@dataclass(frozen=True)
class Role:
    """A role, and a token that may assume it. Both are empty where there is none."""

    arn: str = ""
    token: str = ""


class Roles:
    """Finds roles; without an apiserver there are none."""

    def __init__(self, server: Apiserver | None) -> None:
        self._server = server

    def find(self, asked: Asked, secret: Mapping[str, str]) -> Role:
        """The role for an address. Raises StorageError(EndpointUnreachable) where the apiserver doesn't answer."""
        token = json.loads(secret.get(TOKENS) or "{}").get(_AUDIENCE, {}).get("token", "")
        # Keys are taken before a role, as by AWS's own tools.
        if not (self._server and token and asked.uri.startswith("s3://")) or "AWS_ACCESS_KEY_ID" in secret:
            return Role()
        path = f"/api/v1/namespaces/{asked.namespace}/serviceaccounts/{asked.account}"
        try:
            metadata = self._server.get(path).raise_for_status().json()["metadata"]
        except (httpx.HTTPError, OSError) as error:
            message = f"the role of the ServiceAccount {asked.account} can't be looked up ({error}): it is tried again"
            raise StorageError(Reason.ENDPOINT_UNREACHABLE, message, transient=True) from error
        arn = (metadata.get("annotations") or {}).get(_ANNOTATION, "")
        return Role(arn, token) if arn else Role()
