"""What a cluster can't do of what this machine can."""

from forebay.errors import UserError
from forebay.plan.resolve import Serving

_LOCAL = "file:"


class UnreachableError(UserError):
    """Pods can't fetch the model, in words for people."""


def check_reachable(serving: Serving) -> str:
    """Why pods can't fetch the model, and what to write instead; empty when they can."""
    uri = serving.predictor.model.uri
    if not uri.startswith(_LOCAL):
        return ""
    return (
        f"{uri} is on this machine, which pods can't read: upload it to a bucket or a web server and write "
        f"s3://BUCKET/{serving.name} or https://HOST/{serving.name}.tar.gz. `forebay serve` takes it as it is"
    )
