"""The gateway's routes: by host, by path, and for gRPC by authority or header."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forebay.plan import names
from forebay.plan.envoy import Json, build_any, build_header, build_retry_policy, build_virtual_host
from forebay.plan.envoy_access import METADATA, OPEN, Access, build_route_access, build_route_identity
from forebay.plan.envoy_drill import Fault, build_route_fault
from forebay.plan.envoy_fallback import (
    Fallback,
    build_fixed_route,
    build_mark,
    build_passing_action,
    build_rename,
    mark_first,
    mark_second,
    match_first,
    match_second,
)
from forebay.plan.envoy_hold import build_held_route, build_no_hold, build_route_hold
from forebay.plan.envoy_replies import Refusal, build_refusal_routes
from forebay.plan.envoy_revisions import (
    MARK,
    NO_PICKS,
    Picks,
    Target,
    build_no_preview,
    build_no_revision,
    build_picked_match,
    with_header,
)
from forebay.plan.envoy_shadow import Shadow, build_copied_routes, build_copy_route
from forebay.plan.units import format_envoy_duration

ROUTES = "gateway"
_MISSING = "no ModelDeployment is served here: the path is /NAMESPACE/NAME/..., see `kubectl get md -A`"
_ANY = {"prefix": "/"}
_NOT_READY = "not-ready"
# Between two looks at a deployment that is not ready.
_RETRY_S = 5
# Of a fallback's fixed answer: its characters may take four bytes each.
_LONGEST_ANSWER_BYTES = 4 * 4096
# Held requests are many at once: who is refused by a full queue is tried again.
_HELD_INSTANCES = 3


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """One ModelDeployment in the gateway. Without targets it is not ready yet. `instances` are how many it has.

    On hold its requests wait for instances, for as long as `hold_s` at most. Targets without a share are asked by name.
    Where it has a `fallback` that is another deployment, `stand_in` is that one. In a drill, a `fault` is what the
    requests of one of its targets meet. A `shadow` gets copies.
    """

    namespace: str
    deployment: str
    timeout_s: float
    targets: tuple[Target, ...]
    instances: int
    access: Access = OPEN
    suspended: bool = False
    hold_s: float = 0.0
    picks: Picks = NO_PICKS
    fallback: Fallback | None = None
    stand_in: "Entrance | None" = None
    fault: Fault | None = None
    shadow: Shadow | None = None

    @property
    def name(self) -> str:
        """What it is called in paths, in the header and in metrics."""
        return names.build_route_name(namespace=self.namespace, deployment=self.deployment)


def pair_entrances(entrance: Entrance, fallback: Fallback, other: Entrance, *, models: tuple[str, str]) -> Entrance:
    """An entrance whose fallback is another deployment; `models` are what clients call theirs, its own first."""
    own, others = models
    named = replace(fallback, model=others, for_grpc=own == others)
    return replace(
        entrance, fallback=named, stand_in=replace(other, access=OPEN, fallback=None, stand_in=None, shadow=None)
    )


@dataclass(frozen=True, kw_only=True)
class EntranceRoutes:
    """The routes of one entrance, ready to be put beside those of others."""

    host: Json
    # Routes by the header, and by the path: matched actions.
    by_header: Json
    by_path: Json
    # By a path that names a revision, where there are several.
    by_revision: Json | None = None


def build_entrance_routes(entrance: Entrance) -> EntranceRoutes:
    """Everything that leads to one deployment."""
    host = f"{entrance.deployment}.{entrance.namespace}"
    # `/namespace/name/v2/...` becomes `/v2/...`, so that tritonclient's base path works.
    by_path = _build_routes(entrance, {"prefix": f"/{entrance.name}/"}, prefix_rewrite="/")
    # Whatever way its request came, a copy is at its host's or at its header's routes.
    whole = [*_build_copy_routes(entrance), *_build_routes(entrance, _ANY)]
    return EntranceRoutes(
        host={
            **build_virtual_host(entrance.name, domains=[host, f"{host}:*", f"{host}.*"], routes=whole),
            **_say_filters(_build_filters(entrance)),
        },
        by_header=_build_list(_guard(each, entrance) for each in whole),
        by_path=_build_list(_guard(each, entrance) for each in by_path),
        by_revision=_build_list(_guard(each, entrance) for each in _build_revision_routes(entrance))
        if _has_several(entrance) and not find_refusal(entrance)
        else None,
    )


def build_shared_host(routes: Mapping[str, EntranceRoutes], *, fallback: Sequence[Json]) -> Json:
    """Whatever the host: by header, then by path. Trees, not lists: a request must not pass by 1,000 routes."""
    # Envoy takes no empty map.
    return build_shared_stem(routes, fallback=fallback) if routes else build_empty_host(fallback)


def build_empty_host(fallback: Sequence[Json]) -> Json:
    """The shared host where there is nothing to lead to."""
    return build_virtual_host("paths", domains=["*"], routes=fallback)


def build_shared_stem(routes: Mapping[str, EntranceRoutes], *, fallback: Sequence[Json]) -> Json:
    """The shared host, into which `build_shared_part` of others may be merged: of none it is not whole yet."""
    by_header, by_path = _build_entries(routes)
    rest = {"action": _build_action(_build_list(fallback))}
    paths = _build_tree(":path", "prefix_match_map", by_path, rest)
    matcher = _build_tree(names.DEPLOYMENT_HEADER, "exact_match_map", by_header, paths)
    return {**build_empty_host(()), **matcher}


def build_shared_part(routes: Mapping[str, EntranceRoutes]) -> Json:
    """What of the shared host is of these alone, to be merged into that of others."""
    by_header, by_path = _build_entries(routes)
    paths = {"matcher": {"matcher_tree": {"prefix_match_map": {"map": by_path}}}}
    return {"matcher": {"matcher_tree": {"exact_match_map": {"map": by_header}}, "on_no_match": paths}}


def _build_entries(routes: Mapping[str, EntranceRoutes]) -> tuple[Json, Json]:
    by_header = {name: {"action": _build_action(each.by_header)} for name, each in routes.items()}
    by_path = {f"/{name}/": {"action": _build_action(each.by_path)} for name, each in routes.items()}
    revisions = {name: each.by_revision for name, each in routes.items() if each.by_revision}
    by_path |= {f"/{name}{MARK}": {"action": _build_action(each)} for name, each in revisions.items()}
    return by_header, by_path


def build_route_head() -> Json:
    """The route configuration without its virtual hosts. Answers tell the revision, which is written in its cluster."""
    revision = build_header(names.REVISION_HEADER, f"%METADATA(CLUSTER:{METADATA}:revision)%")
    longest = {"max_direct_response_body_size_bytes": _LONGEST_ANSWER_BYTES}
    return {"name": ROUTES, "response_headers_to_add": [revision], **longest}


def build_missing_routes(message: str = _MISSING) -> list[Json]:
    """The answer to whoever asks for a deployment that is not there, or for a revision where there is but one."""
    revision = {"safe_regex": {"regex": f"/[^/{MARK}]+/[^/{MARK}]+{MARK}.*"}}
    return [
        *build_refusal_routes(revision, build_no_preview()),
        *build_refusal_routes(_ANY, build_missing(message)),
    ]


def build_missing(message: str = _MISSING) -> Refusal:
    """What there is to say of a deployment that is not there."""
    return Refusal(status=404, grpc_status=5, reason="no-such-deployment", message=message)


def build_any_path_routes(entrance: Entrance) -> list[Json]:
    """Any path of any host goes to this one."""
    return [_guard(each, entrance) for each in _build_routes(entrance, _ANY)]


def _build_tree(header: str, kind: str, entries: dict[str, Json], rest: Json) -> Json:
    request_header = build_any("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header)
    tree = {"input": {"name": header, "typed_config": request_header}, kind: {"map": entries}}
    return {"matcher": {"matcher_tree": tree, "on_no_match": rest}}


def _build_list(routes: Iterable[Json]) -> Json:
    return build_any("config.route.v3.RouteList", routes=list(routes))


def _build_action(routes: Json) -> Json:
    return {"name": "routes", "typed_config": routes}


def _guard(route: Json, entrance: Entrance) -> Json:
    """What the virtual host says for all routes of a host each route of the shared host says for itself."""
    config = {**_build_filters(entrance), **route.get("typed_per_filter_config", {})}
    return {**route, "typed_per_filter_config": config} if config else route


def _build_filters(entrance: Entrance) -> Json:
    # Of one that has a fallback no entrance is held, but what is behind.
    is_held = entrance.hold_s and not find_refusal(entrance) and not entrance.fallback
    return {**build_route_access(entrance.access), **(build_route_hold(entrance.name) if is_held else {})}


def _say_filters(config: Json) -> Json:
    return {"typed_per_filter_config": config} if config else {}


def _has_several(entrance: Entrance) -> bool:
    """Whether a revision may be meant that isn't the only one."""
    return len(entrance.targets) > 1


def _build_routes(entrance: Entrance, match: Json, **rewrite: Any) -> list[Json]:
    refusal = find_refusal(entrance)
    if entrance.fallback and (not refusal or refusal.reason == _NOT_READY):
        is_renamed = "prefix_rewrite" in rewrite
        # Whatever way it came, a request that has passed is at its host's or at its header's routes.
        passed = [] if is_renamed else _build_passed_routes(entrance, entrance.fallback, match)
        return [*passed, *_build_passing_routes(entrance, entrance.fallback, match, **rewrite)]
    return _build_own_routes(entrance, match, **rewrite)


def _build_passing_routes(entrance: Entrance, fallback: Fallback, match: Json, **rewrite: Any) -> list[Json]:
    """The entrance of a deployment that has a fallback."""
    alone = replace(entrance, fallback=None)
    other = entrance.stand_in
    idle_s = entrance.timeout_s + entrance.hold_s + (other.timeout_s + other.hold_s if other else 0)
    grpc = [_guard(each, alone) for each in _build_own_routes(alone, {**match, "grpc": {}}, **rewrite)]
    # Who asks a revision by its name wants that one, or an error.
    named = [_guard(each, alone) for each in _build_own_routes(alone, match, **rewrite)]
    route = {
        "match": with_header(match, is_needed=False),
        "route": build_passing_action(entrance.name, fallback, idle_s=idle_s, **rewrite),
        "request_headers_to_add": build_mark(entrance.name),
        "response_headers_to_remove": [names.CAUSE_HEADER],
        **build_route_identity(entrance.name, entrance.access),
    }
    return [*([] if fallback.for_grpc else grpc), route, *named]


def _build_passed_routes(entrance: Entrance, fallback: Fallback, match: Json) -> list[Json]:
    """What is behind the entrance: the deployment itself, and who answers when it doesn't."""
    alone = replace(entrance, fallback=None, access=OPEN)
    refusal = find_refusal(alone)
    reason = refusal.reason if refusal else ""
    first = [_unmark(each, alone) for each in _build_own_routes(alone, match_first(match))]
    if fallback.answer:
        second = [build_fixed_route(match_second(match), fallback.answer, name=entrance.name)]
    elif entrance.stand_in:
        other = replace(entrance.stand_in, access=OPEN)
        routes = _build_own_routes(other, match_second(match), **build_rename(fallback.model))
        second = [_unmark(each, other) for each in routes]
    else:
        second = []
    return [
        *(mark_first(each, fallback, reason=reason) for each in first),
        *(mark_second(each, fallback, entrance=entrance.name) for each in second),
    ]


def _unmark(route: Json, entrance: Entrance) -> Json:
    """Nobody behind the gateway is told of the mark; and it is here that requests are held."""
    removed = [names.PASSED_HEADER, *route.get("request_headers_to_remove", ())]
    return {**_guard(route, entrance), "request_headers_to_remove": removed}


def _build_own_routes(entrance: Entrance, match: Json, **rewrite: Any) -> list[Json]:
    identity = build_route_identity(entrance.name, entrance.access)
    refusal = find_refusal(entrance)
    if refusal:
        return [{**route, **identity} for route in build_refusal_routes(match, refusal)]
    action = _build_route_action(entrance, **rewrite)
    usual = {**_build_usual_route(entrance, _match_usual(entrance, match), action), **identity}
    copied = _build_copied_routes(entrance, usual)
    if not _has_several(entrance):
        return [*copied, usual]
    named = [
        _build_named_route(entrance, each, with_header(match, *each.names), action) for each in _list_named(entrance)
    ]
    picked = _build_picked_routes(entrance, match, action)
    return [*named, *picked, *copied, usual, *_build_revision_refusals(entrance, match)]


def _build_copy_routes(entrance: Entrance) -> list[Json]:
    return [build_copy_route(_ANY, entrance.shadow, name=entrance.name)] if entrance.shadow else []


def _build_copied_routes(entrance: Entrance, usual: Json) -> list[Json]:
    """The route of the share that is copied. A request that is held is not: its shadow would be asked before it."""
    if entrance.shadow is None or entrance.hold_s:
        return []
    return build_copied_routes(usual, entrance.shadow, entrance=entrance.name)


def _build_usual_route(entrance: Entrance, match: Json, action: Json) -> Json:
    """The route of those who ask no revision by its name."""
    if entrance.hold_s:
        return build_held_route(match, action)
    targets = [each for each in entrance.targets if each.weight_pct]
    fault = _say_filters(_build_fault(entrance))
    if len(targets) == 1:
        (target,) = targets
        return {"match": match, "route": {"cluster": target.cluster, **action}, **fault}
    weighted: Json = {"clusters": [{"name": each.cluster, "weight": each.weight_pct} for each in targets]}
    if not (policy := entrance.picks.hash_policy):
        return {"match": match, "route": {"weighted_clusters": weighted, **action}, **fault}
    weighted["use_hash_policy"] = True
    return {"match": match, "route": {"weighted_clusters": weighted, "hash_policy": policy, **action}, **fault}


def _build_picked_routes(entrance: Entrance, match: Json, action: Json) -> list[Json]:
    """The route of requests that a step of a rollout sends to the new revision, whatever its share."""
    target = next((each for each in entrance.targets if each.is_preview and each.weight_pct), None)
    if target is None or not entrance.picks.headers or entrance.hold_s:
        return []
    unnamed = with_header(match, is_needed=False)
    picked = {**unnamed, "headers": [*unnamed["headers"], *build_picked_match(entrance.picks)]}
    return [_build_named_route(entrance, target, picked, action)]


def _build_route_action(entrance: Entrance, **rewrite: str) -> Json:
    """What holds for all requests, whoever gets them."""
    instances = _HELD_INSTANCES if entrance.hold_s else entrance.instances
    return {
        **({"retry_policy": build_retry_policy(instances)} if instances > 1 else {}),
        # The queue answers first. This is for an instance that hangs, and bounds its silence: a stream may last.
        "timeout": "0s",
        # The silence of a request that is held is no instance's.
        "idle_timeout": format_envoy_duration(entrance.timeout_s + entrance.hold_s),
        **rewrite,
    }


def _match_usual(entrance: Entrance, match: Json) -> Json:
    """Of these requests those that name no revision, or the only one. In local mode none has a name."""
    if not all(each.revision for each in entrance.targets):
        return match
    held = [each.revision for each in entrance.targets if each.weight_pct and entrance.hold_s]
    only = [] if _has_several(entrance) else [each.revision for each in entrance.targets]
    return with_header(match, *(held or only), is_needed=False)


def _build_revision_routes(entrance: Entrance) -> list[Json]:
    """The routes by a path that names a revision."""
    action = _build_route_action(entrance, prefix_rewrite="/")
    routes = [
        _build_named_route(entrance, each, {"prefix": f"/{entrance.name}{MARK}{name}/"}, action)
        for each in _list_named(entrance)
        for name in each.names
    ]
    return [*routes, *_build_revision_refusals(entrance, _ANY)]


def _build_revision_refusals(entrance: Entrance, match: Json) -> list[Json]:
    """What is answered to all others."""
    refusals = build_refusal_routes(match, build_no_revision(entrance.deployment, entrance.targets))
    return [{**each, **_build_own(entrance)} for each in refusals]


def _list_named(entrance: Entrance) -> list[Target]:
    """Those that can be asked by their names: on hold who has a share is waited for."""
    return [each for each in entrance.targets if not (entrance.hold_s and each.weight_pct)]


def _build_named_route(entrance: Entrance, target: Target, match: Json, action: Json) -> Json:
    """A route to one revision, which has instances."""
    return {"match": match, "route": {"cluster": target.cluster, **action}, **_build_own(entrance)}


def _build_own(entrance: Entrance) -> Json:
    """What a route says for itself that is answered at once, whether its deployment is on hold or not."""
    freed = build_no_hold() if entrance.hold_s else {}
    return {**build_route_identity(entrance.name, entrance.access), **_say_filters({**freed, **_build_fault(entrance)})}


def _build_fault(entrance: Entrance) -> Json:
    return build_route_fault(entrance.fault) if entrance.fault else {}


def find_refusal(entrance: Entrance) -> Refusal | None:
    """What an entrance answers instead of an instance, or nothing."""
    told = f"kubectl describe md {entrance.deployment} -n {entrance.namespace}"
    if entrance.suspended:
        message = f"{entrance.deployment} is suspended: whoever runs it sets spec.suspend to false"
        return Refusal(status=503, grpc_status=14, reason="suspended", message=message)
    if entrance.access.shut:
        message = f"the API keys of {entrance.deployment} can't be read: {told}"
        return Refusal(status=503, grpc_status=14, reason="access-not-ready", message=message, retry_after_s=_RETRY_S)
    if not any(target.weight_pct for target in entrance.targets):
        message = f"{entrance.deployment} is not ready: {told}"
        return Refusal(status=503, grpc_status=14, reason=_NOT_READY, message=message, retry_after_s=_RETRY_S)
    return None
