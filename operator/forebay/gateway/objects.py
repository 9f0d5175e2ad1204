"""What the pilot takes from objects of the apiserver. It reads no more of them, so that new fields are no matter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.gateway.drills import Drill, read_drill
from forebay.gateway.fallbacks import read_fallback, read_model_name
from forebay.gateway.shadows import Wish, read_wish
from forebay.plan.depth import derive_depth
from forebay.plan.envoy import Address
from forebay.plan.envoy_access import RateLimit
from forebay.plan.envoy_fallback import Fallback
from forebay.plan.envoy_gateway import derive_timeout_s
from forebay.plan.envoy_revisions import NO_PICKS, Picks, Target
from forebay.plan.names import build_route_name
from forebay.plan.units import parse_duration_s

Raw = Mapping[str, Any]
SERVICE_LABEL = "kubernetes.io/service-name"
_PORT = "http"
# What the apiserver fills in.
_TIMEOUT = "30s"
_HOLD, _MOST_HELD = "2m", 1000
_SLOTS = 8


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """How requests wait for the instances of a ModelDeployment that may sleep, or that are replaced (a recreation), and
    what an instance takes then: `slots` requests to work on at once, and `depth` that wait.
    """

    timeout_s: float
    max_held: int
    slots: int
    depth: int
    is_recreation: bool = False


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A ModelDeployment, as far as the gateway is concerned. An empty `secret` asks for no API keys.

    `needs` are the clusters without which its targets answer nothing. Without a `cold_start` it never sleeps. Where
    `held_since` says when, requests are held, whoever might answer.
    """

    namespace: str
    name: str
    generation: int
    timeout_s: float
    targets: tuple[Target, ...]
    secret: str
    limit: RateLimit | None
    suspended: bool = False
    needs: frozenset[str] = frozenset()
    cold_start: ColdStart | None = None
    held_since: str = ""
    picks: Picks = NO_PICKS
    # What clients call its model.
    model: str = ""
    fallback: Fallback | None = None
    drill: Drill | None = None
    shadow: Wish | None = None

    @property
    def route(self) -> str:
        """What it is called in the gateway."""
        return build_route_name(namespace=self.namespace, deployment=self.name)

    @property
    def stand_in(self) -> str:
        """What the one that answers for it is called there; empty where none does."""
        named = self.fallback and self.fallback.name
        return build_route_name(namespace=self.namespace, deployment=named) if named else ""

    @property
    def shadowed_by(self) -> str:
        """What the one that gets copies is called there; empty where it is none other."""
        named = self.shadow and self.shadow.name
        return build_route_name(namespace=self.namespace, deployment=named) if named else ""

    @property
    def others(self) -> frozenset[str]:
        """Those that its routes lead to, too."""
        return frozenset(each for each in (self.stand_in, self.shadowed_by) if each)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """An EndpointSlice: ready endpoints of one Service."""

    cluster: str
    family: str
    members: tuple[Address, ...]


def read_deployment(raw: Raw) -> Deployment:
    """A ModelDeployment, which the apiserver has checked and filled with defaults."""
    metadata, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    access = spec.get("access") or {}
    namespace, suspended = metadata["namespace"], bool(spec.get("suspend"))
    # Whoever had the requests has none now: its workloads are let go of.
    traffic = () if suspended else status.get("traffic") or ()
    rollout = (not suspended and status.get("rollout")) or {}
    return Deployment(
        namespace=namespace,
        name=metadata["name"],
        generation=metadata.get("generation", 0),
        timeout_s=derive_timeout_s(parse_duration_s((spec.get("queue") or {}).get("timeout", _TIMEOUT))),
        targets=_read_targets(namespace, traffic, rollout),
        secret=(access.get("apiKeys") or {}).get("secretName", ""),
        limit=_read_limit(access.get("rateLimit")),
        suspended=suspended,
        needs=frozenset(
            f"{namespace}/{name}" for each in traffic if each["weightPct"] for name in each.get("workloads") or ()
        ),
        cold_start=_read_recreation(spec) if rollout.get("heldSince") else _read_cold_start(spec),
        held_since=rollout.get("heldSince") or "",
        picks=_read_picks(spec) if rollout else NO_PICKS,
        model=read_model_name(raw),
        fallback=read_fallback(spec),
        drill=read_drill(spec),
        shadow=read_wish(spec, rollout),
    )


def _read_targets(namespace: str, traffic: Sequence[Raw], rollout: Raw) -> tuple[Target, ...]:
    """Who has a share of the requests, and who is to take over: an older operator tells no workload of that."""
    preview = rollout.get("revision") if rollout.get("workload") else None
    targets = [
        Target(
            cluster=f"{namespace}/{each['workload']}",
            revision=each["revision"],
            weight_pct=int(each["weightPct"]),
            is_preview=each["revision"] == preview,
        )
        for each in traffic
    ]
    if preview and not any(each.is_preview for each in targets):
        cluster = f"{namespace}/{rollout['workload']}"
        targets.append(Target(cluster=cluster, revision=preview, weight_pct=0, is_preview=True))
    return tuple(targets)


def _read_picks(spec: Raw) -> Picks:
    canary = (spec.get("rollout") or {}).get("canary") or {}
    headers, sticky = (canary.get("match") or {}).get("headers") or (), canary.get("stickyBy") or {}
    return Picks(
        headers=tuple((each["name"], each["value"]) for each in headers),
        sticky_header=sticky.get("header", ""),
        sticky_cookie=sticky.get("cookie", ""),
    )


def _read_cold_start(spec: Raw) -> ColdStart | None:
    predictor = spec.get("predictor") or {}
    auto = predictor.get("autoscaling") or {}
    if auto.get("min") != 0:
        return None
    told = auto.get("coldStart") or {}
    slots, depth = _read_room(spec)
    return ColdStart(
        timeout_s=parse_duration_s(told.get("timeout", _HOLD)),
        max_held=int(told.get("maxHeld", _MOST_HELD)),
        slots=slots,
        depth=depth,
    )


def _read_recreation(spec: Raw) -> ColdStart:
    """How they wait until one revision has taken the other's place, which may have begun before the spec changed."""
    told = (spec.get("rollout") or {}).get("recreate") or {}
    slots, depth = _read_room(spec)
    return ColdStart(
        timeout_s=parse_duration_s(told.get("hold", _HOLD)),
        max_held=int(told.get("maxHeld", _MOST_HELD)),
        slots=slots,
        depth=depth,
        is_recreation=True,
    )


def _read_room(spec: Raw) -> tuple[int, int]:
    """How many requests an instance works on at once, and how many wait."""
    queue, entry = spec.get("queue") or {}, spec.get("transformer") or spec.get("predictor") or {}
    slots, deadline_s = int(entry.get("concurrency", _SLOTS)), parse_duration_s(queue.get("timeout", _TIMEOUT))
    return slots, int(queue.get("depth") or derive_depth(slots=slots, service_s=0, deadline_s=deadline_s))


def _read_limit(raw: Raw | None) -> RateLimit | None:
    if not raw:
        return None
    per_s = parse_duration_s(raw.get("per", "1s"))
    return RateLimit(requests=raw["requests"], per_s=per_s, by_client=raw.get("by") == "client")


def read_slice(raw: Raw) -> Slice:
    """An EndpointSlice. Instances that are not ready, or are going, get no new requests."""
    metadata = raw["metadata"]
    ports = raw.get("ports") or []
    port = next((each.get("port") for each in ports if each.get("name") == _PORT), None)
    ready = (each for each in raw.get("endpoints") or [] if port and _is_ready(each.get("conditions") or {}))
    return Slice(
        cluster=f"{metadata['namespace']}/{metadata.get('labels', {}).get(SERVICE_LABEL, '')}",
        family=raw.get("addressType", "IPv4"),
        members=tuple(Address(each["addresses"][0], port or 0) for each in ready),
    )


def _is_ready(conditions: Raw) -> bool:
    # Nothing said of readiness counts as ready, says the API.
    return conditions.get("ready") is not False and not conditions.get("terminating")
