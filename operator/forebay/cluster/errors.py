"""What can go wrong on a cluster, as sentences that say what to do."""

from http import HTTPStatus

from forebay.errors import UserError


class ClusterError(UserError):
    """The cluster can't do what was asked for."""


def explain_refusal(status: int, message: str, *, context: str) -> str:
    """The apiserver's refusal, and what to do about it."""
    if status == HTTPStatus.UNAUTHORIZED:
        return (
            f"the cluster of context {context} doesn't know you: log in to it again, and try `kubectl get namespaces`"
        )
    if status == HTTPStatus.FORBIDDEN:
        return f"{message}: ask the cluster's administrator for this right"
    return f"the apiserver of context {context} refused: {message}"
