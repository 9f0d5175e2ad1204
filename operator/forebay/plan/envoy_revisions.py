"""Asking one revision of a ModelDeployment, instead of whichever serves: by the header forebay-revision, or by the path
/NAMESPACE/NAME@REVISION/. Both take its name, or `preview` for the one that is to take over.

Who names none is answered by those that serve, by their shares. What names no revision that has instances is refused,
and not answered by another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.plan.envoy import Json
from forebay.plan.envoy_replies import Refusal
from forebay.plan.names import ASKED_REVISION_HEADER, PREVIEW

# No revision's name holds this, nor does a ModelDeployment's.
MARK = "@"
_HOW = f"leave {MARK}REVISION in the path and the header {ASKED_REVISION_HEADER} out to ask those that serve"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A cluster, the revision that it serves, and its share of the requests. A preview is to take over."""

    cluster: str
    revision: str = ""
    weight_pct: int = 100
    is_preview: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """By which it can be asked."""
        return (self.revision, PREVIEW) if self.is_preview else (self.revision,)


@dataclass(frozen=True, kw_only=True)
class Picks:
    """Whose requests don't go by the shares alone: those with all of these headers go to the preview that has a share,
    and of one client all go to the same revision.
    """

    headers: tuple[tuple[str, str], ...] = ()
    sticky_header: str = ""
    sticky_cookie: str = ""

    @property
    def hash_policy(self) -> list[Json]:
        """What tells clients apart. Envoy hashes it, and divides the hashes by the shares, in their order: whoever is
        with the last stays there when its share grows.
        """
        if self.sticky_header:
            return [{"header": {"header_name": self.sticky_header}}]
        return [{"cookie": {"name": self.sticky_cookie}}] if self.sticky_cookie else []


NO_PICKS = Picks()


def build_picked_match(picks: Picks) -> list[Json]:
    """The headers of requests that go to the preview."""
    return [{"name": name, "string_match": {"exact": value}} for name, value in picks.headers]


def with_header(match: Json, *names: str, is_needed: bool = True) -> Json:
    """A route's match, and the header is one of these names; or, unless it `is_needed`, isn't there."""
    pattern = f"({'|'.join(names)})" + ("" if is_needed else "?")
    matched = {"safe_regex": {"regex": pattern}} if names else {"exact": ""}
    header: Json = {"name": ASKED_REVISION_HEADER, "string_match": matched}
    header |= {} if is_needed else {"treat_missing_header_as_empty": True}
    return {**match, "headers": [*match.get("headers", ()), header]}


def build_no_revision(deployment: str, targets: Sequence[Target]) -> Refusal:
    """What there is to say to who asks for another revision than there is."""
    there = " and ".join(_describe(each) for each in targets)
    message = f"{deployment} has no instances of that revision: there is {there}; {_HOW}"
    return Refusal(status=404, grpc_status=5, reason="no-such-revision", message=message)


def build_no_preview() -> Refusal:
    """The same where one revision has all requests, or there is none."""
    message = f"there is no such ModelDeployment, or no rollout of it by steps or blueGreen is under way: {_HOW}"
    return Refusal(status=404, grpc_status=5, reason="no-such-revision", message=message)


def _describe(target: Target) -> str:
    share = f"{target.weight_pct} % of the requests"
    return f"{target.revision} ({PREVIEW}, {share})" if target.is_preview else f"{target.revision} ({share})"
