"""What Envoy serves right now, for the operator: GET /routes."""

from typing import Any

from forebay.gateway.objects import Deployment
from forebay.gateway.state import State
from forebay.gateway.xds import Conversation
from forebay.plan.names import split_route_name

Json = dict[str, Any]


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
        "generation": _find_generation(state, conversation, deployment),
        "error": _find_error(state, conversation, deployment),
    }


def _find_generation(state: State, conversation: Conversation, deployment: Deployment) -> int:
    """That of the settings that are live; 0 when there are none."""
    live = conversation.find_entrance(deployment.route)
    limits = conversation.limits.limits if conversation.limits else {}
    if live is None:
        return 0
    current = live is state.find_entrance(deployment.route) and limits.get(deployment.route) == deployment.limit
    return deployment.generation if current else min(live.generation, deployment.generation - 1)


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
