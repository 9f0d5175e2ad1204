"""The gateway's routes: by host, by path, and for gRPC by authority or header."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forebay.plan import names
from forebay.plan.envoy import Json, build_any, build_header, build_retry_policy, build_virtual_host
from forebay.plan.envoy_access import METADATA, OPEN, Access, build_route_access, build_route_identity
from forebay.plan.envoy_replies import Refusal, build_refusal_routes
from forebay.plan.units import format_envoy_duration

ROUTES = "gateway"
_MISSING = "no ModelDeployment is served here: the path is /NAMESPACE/NAME/..., see `kubectl get md -A`"
_ANY = {"prefix": "/"}
# Between two looks at a deployment that is not ready.
_RETRY_S = 5


@dataclass(frozen=True, kw_only=True)
class Target:
    """A cluster, the revision that it serves, and its share of the requests."""

    cluster: str
    revision: str = ""
    weight_pct: int = 100


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """One ModelDeployment in the gateway. Without targets it is not ready yet. `instances` are how many it has."""

    namespace: str
    deployment: str
    timeout_s: float
    targets: tuple[Target, ...]
    instances: int
    access: Access = OPEN

    @property
    def name(self) -> str:
        """What it is called in paths, in the header and in metrics."""
        return names.build_route_name(namespace=self.namespace, deployment=self.deployment)


@dataclass(frozen=True, kw_only=True)
class EntranceRoutes:
    """The routes of one entrance, ready to be put beside those of others."""

    host: Json
    # Routes by the header, and by the path: matched actions.
    by_header: Json
    by_path: Json


def build_entrance_routes(entrance: Entrance) -> EntranceRoutes:
    """Everything that leads to one deployment."""
    host = f"{entrance.deployment}.{entrance.namespace}"
    # `/namespace/name/v2/...` becomes `/v2/...`, so that tritonclient's base path works.
    by_path = _build_routes(entrance, {"prefix": f"/{entrance.name}/"}, prefix_rewrite="/")
    return EntranceRoutes(
        host={
            **build_virtual_host(
                entrance.name, domains=[host, f"{host}:*", f"{host}.*"], routes=_build_routes(entrance, _ANY)
            ),
            **build_route_access(entrance.access),
        },
        by_header=_build_list(_guard(each, entrance) for each in _build_routes(entrance, _ANY)),
        by_path=_build_list(_guard(each, entrance) for each in by_path),
    )


def build_shared_host(routes: dict[str, EntranceRoutes], *, fallback: Sequence[Json]) -> Json:
    """Whatever the host: by header, then by path. Trees, not lists: a request must not pass by 1,000 routes."""
    if not routes:  # Envoy takes no empty map
        return build_virtual_host("paths", domains=["*"], routes=fallback)
    by_header = {name: {"action": _build_action(each.by_header)} for name, each in routes.items()}
    by_path = {f"/{name}/": {"action": _build_action(each.by_path)} for name, each in routes.items()}
    rest = {"action": _build_action(_build_list(fallback))}
    paths = _build_tree(":path", "prefix_match_map", by_path, rest)
    matcher = _build_tree(names.DEPLOYMENT_HEADER, "exact_match_map", by_header, paths)
    host = build_virtual_host("paths", domains=["*"], routes=[])
    return {**host, **matcher}


def build_route_head() -> Json:
    """The route configuration without its virtual hosts. Answers tell the revision, which is written in its cluster."""
    revision = build_header(names.REVISION_HEADER, f"%METADATA(CLUSTER:{METADATA}:revision)%")
    return {"name": ROUTES, "response_headers_to_add": [revision]}


def build_missing_routes(message: str = _MISSING) -> list[Json]:
    """The answer to whoever asks for a deployment that is not there."""
    return build_refusal_routes(_ANY, Refusal(status=404, grpc_status=5, reason="no-such-deployment", message=message))


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
    return {**route, **build_route_access(entrance.access)}


def _build_routes(entrance: Entrance, match: Json, **rewrite: str) -> list[Json]:
    identity = build_route_identity(entrance.name, entrance.access)
    refusal = _find_refusal(entrance)
    if refusal:
        return [{**route, **identity} for route in build_refusal_routes(match, refusal)]
    action = {
        **({"retry_policy": build_retry_policy(entrance.instances)} if entrance.instances > 1 else {}),
        # The queue answers first. This is for an instance that hangs, and bounds its silence: a stream may last.
        "timeout": "0s",
        "idle_timeout": format_envoy_duration(entrance.timeout_s),
        **rewrite,
    }
    targets = [each for each in entrance.targets if each.weight_pct]
    if len(targets) == 1:
        (target,) = targets
        return [{"match": match, "route": {"cluster": target.cluster, **action}, **identity}]
    weighted = {"clusters": [{"name": each.cluster, "weight": each.weight_pct} for each in targets]}
    return [{"match": match, "route": {"weighted_clusters": weighted, **action}, **identity}]


def _find_refusal(entrance: Entrance) -> Refusal | None:
    told = f"kubectl describe md {entrance.deployment} -n {entrance.namespace}"
    if entrance.access.shut:
        message = f"the API keys of {entrance.deployment} can't be read: {told}"
        return Refusal(status=503, grpc_status=14, reason="access-not-ready", message=message, retry_after_s=_RETRY_S)
    if not any(target.weight_pct for target in entrance.targets):
        message = f"{entrance.deployment} is not ready: {told}"
        return Refusal(status=503, grpc_status=14, reason="not-ready", message=message, retry_after_s=_RETRY_S)
    return None
