"""What Envoy serves right now, for the operator: GET /routes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from forebay.gateway.objects import Deployment
from forebay.gateway.snapshot import EntranceConfig
from forebay.gateway.state import State
from forebay.gateway.xds import Conversation
from forebay.plan.envoy_revisions import Target
from forebay.plan.names import split_route_name

Json = dict[str, Any]
_NO_GRPC = "gRPC has no fallback"


def build_report(state: State, conversation: Conversation) -> Json:
    """Every deployment: its entry workloads with their acknowledged instances, and the generation that is live."""
    return {route: _describe(state, conversation, deployment) for route, deployment in state.built.items()}


def _describe(state: State, conversation: Conversation, deployment: Deployment) -> Json:
    members = conversation.members
    live = conversation.find_entrance(deployment.route)
    targets = live.entrance.targets if live else ()
    counts = {each.cluster: members[each.cluster].count if each.cluster in members else 0 for each in targets}
    return {
        "workloads": {split_route_name(cluster)[1]: count for cluster, count in counts.items()},
        "weights": _find_weights(targets),
        **_find_hold(deployment, live),
        "generation": _find_generation(state, conversation, deployment),
        "error": _find_error(state, conversation, deployment),
        **_describe_shadow(state, deployment, live),
        **({"fallback": _describe_fallback(state, deployment, live)} if deployment.fallback else {}),
    }


def _describe_shadow(state: State, deployment: Deployment, live: EntranceConfig | None) -> Json:
    """Who gets copies, or why nobody does although somebody is to."""
    copies = state.find_copies(deployment)
    if copies is None:
        return {}
    shadow = live.entrance.shadow if live else None
    problem = copies.problem or ("" if shadow else "the gateway is about to take it over")
    if live and live.entrance.hold_s and not problem:
        return {"shadow": {"problem": "requests are held, and such are not copied"}}
    told = {"sharePct": shadow.share_pct, "workloads": [_cut(each) for each in shadow.targets]} if shadow else {}
    return {"shadow": {"problem": problem, **told}}


def _cut(target: Target) -> str:
    return split_route_name(target.cluster)[1]


def _find_hold(deployment: Deployment, live: EntranceConfig | None) -> Json:
    """Since when requests are held, where they are: until Envoy has taken over that they no longer are."""
    if live is None or not live.entrance.hold_s:
        return {}
    since = deployment.held_since or live.held_since
    return {"heldSince": since} if since else {}


def _describe_fallback(state: State, deployment: Deployment, live: EntranceConfig | None) -> Json:
    """Why nobody answers for a deployment that has a fallback, or what has none although somebody does."""
    if not deployment.stand_in:
        return {"problem": "", "note": _NO_GRPC}
    other, problem = state.deployments.get(deployment.stand_in), state.find_stand_in(deployment).problem
    if not problem and (live is None or live.entrance.stand_in is None):
        problem = "the gateway is about to take it over"
    if problem or other is None or other.model == deployment.model:
        return {"problem": problem, "note": ""}
    names = f"which is {other.model} there and {deployment.model} here"
    return {"problem": "", "note": f"{_NO_GRPC}: it names the model, {names}"}


def _find_weights(targets: Sequence[Target]) -> dict[str, int]:
    """The shares in percent, as Envoy takes them: of those that have any."""
    total = sum(each.weight_pct for each in targets) or 1
    return {
        split_route_name(each.cluster)[1]: round(100 * each.weight_pct / total) for each in targets if each.weight_pct
    }


def _find_generation(state: State, conversation: Conversation, deployment: Deployment) -> int:
    """That of the settings that are live; 0 when there are none."""
    live = conversation.find_entrance(deployment.route)
    limits = conversation.limits.limits if conversation.limits else {}
    if live is None:
        return 0
    wanted = state.find_entrance(deployment.route)
    current = _is_same(live, wanted) and limits.get(deployment.route) == deployment.limit
    return deployment.generation if current else min(live.generation, deployment.generation - 1)


def _is_same(live: EntranceConfig, wanted: EntranceConfig | None) -> bool:
    """Whether the settings are the same: that requests are held is none."""
    if live is wanted or wanted is None:
        return live is wanted
    return replace(live.entrance, hold_s=0.0) == replace(wanted.entrance, hold_s=0.0)


def _find_error(state: State, conversation: Conversation, deployment: Deployment) -> str:
    route = deployment.route
    if route in state.broken:
        return state.broken[route]
    if deployment.secret and (problem := state.find_keys(deployment).problem):
        return problem
    if conversation.find_entrance(route) is state.find_entrance(route):
        return ""
    error = conversation.find_error(route)
    return f"Envoy refused the gateway's routes: {error}" if error else ""
