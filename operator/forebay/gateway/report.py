"""What Envoy serves right now, for the operator: GET /routes."""

from typing import Any

from forebay.gateway.objects import Deployment
from forebay.gateway.state import State
from forebay.gateway.typed import RDS
from forebay.gateway.xds import Conversation

Json = dict[str, Any]


def build_report(state: State, conversation: Conversation) -> Json:
    """Every deployment: its entry workloads with their acknowledged instances, and the generation that is live."""
    return {route: _describe(state, conversation, deployment) for route, deployment in state.deployments.items()}


def _describe(state: State, conversation: Conversation, deployment: Deployment) -> Json:
    routes, members = conversation.routes, conversation.members
    live = routes.entrances.get(deployment.route) if routes else None
    wanted = state.snapshot.routes.entrances.get(deployment.route)
    clusters = sorted(live.references) if live else []
    return {
        "workloads": {
            cluster.partition("/")[2]: members[cluster].count if cluster in members else 0 for cluster in clusters
        },
        "generation": _find_generation(deployment, live is not None and live is wanted, live, conversation),
        "error": _find_error(state, conversation, deployment, refused=live is not wanted),
    }


def _find_generation(deployment: Deployment, current: bool, live: Any, conversation: Conversation) -> int:
    limits = conversation.limits
    limited = limits is not None and limits.limits.get(deployment.route) == deployment.limit
    if current and limited:
        return deployment.generation
    return live.generation if live is not None and not current else 0


def _find_error(state: State, conversation: Conversation, deployment: Deployment, *, refused: bool) -> str:
    if deployment.route in state.broken:
        return state.broken[deployment.route]
    if deployment.secret and (problem := state.find_keys(deployment).problem):
        return problem
    if refused and RDS in conversation.errors:
        return f"Envoy refused the gateway's routes: {conversation.errors[RDS]}"
    return ""
