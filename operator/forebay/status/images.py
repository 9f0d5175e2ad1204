"""Why a container's image isn't there."""

import re

from forebay.observation import Reason, Trouble
from forebay.status.containers import Container
from forebay.status.lines import clean, cut

_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
            "RegistryUnavailable", "SignatureValidationFailed")  # fmt: skip
# The kubelet says it in turn with and without these: it must read the same each time.
_WRAPPINGS = (
    re.compile(r'^Back-off pulling image "[^"]*"(: |\.?$)'),
    re.compile(r"^ErrImagePull:\s*"),
    re.compile(r"^rpc error: code = \w+ desc = "),
    re.compile(r'^failed to pull and unpack image "[^"]*": '),
    re.compile(r'^failed to resolve reference "[^"]*": '),
    re.compile(r'^Failed to apply default image tag "[^"]*": '),
)
_TOO_OFTEN = re.compile(r"toomanyrequests|too many requests", re.IGNORECASE)
_REFUSED = re.compile(r"unauthorized|forbidden|denied|authorization|authentication|no basic auth", re.IGNORECASE)
_ABSENT = re.compile(r"not found|manifest unknown|name unknown|no match for platform|does not exist", re.IGNORECASE)


def check_image(container: Container) -> Trouble | None:
    """Whether the image can't be had, and what to look at."""
    reason = container.waiting.get("reason")
    if reason not in _REASONS:
        return None
    words = clean(str(container.waiting.get("message") or ""))
    for wrapping in _WRAPPINGS:
        words = wrapping.sub("", words)
    advice, stalled = _advise(container, str(reason), words)
    told = f" ({cut(words)})" if words else ""
    image = container.spec.get("image", "")
    return Trouble(
        reason=Reason.IMAGE_PULL_FAILED,
        message=f"{container.where}: the image {image} can't be pulled{told}: {advice}",
        stalled=stalled,
    )


def _advise(container: Container, reason: str, words: str) -> tuple[str, bool]:
    """What to do, and whether nothing changes before somebody does."""
    template = f"{container.role}.podTemplate.spec"
    if reason == "InvalidImageName":
        return "write it as REGISTRY/NAME:TAG, in lower case", True
    if reason == "ErrImageNeverPull":
        return "load it onto the node, or allow pulling it (imagePullPolicy: IfNotPresent)", True
    if _TOO_OFTEN.search(words):
        return f"wait, or name a Secret with an account in {template}.imagePullSecrets", False
    if _REFUSED.search(words):
        return f"check its name, and name a Secret for its registry in {template}.imagePullSecrets", True
    # The registry's own name that isn't found may be a moment's trouble with DNS.
    if _ABSENT.search(words):
        return "check its name and its tag", True
    return "check the registry's name, and whether the node reaches it", False
