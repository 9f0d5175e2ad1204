"""Who answers for a ModelDeployment that can't: what its spec says, and whether that one can."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from forebay.plan.envoy_access import OPEN
from forebay.plan.envoy_fallback import Answer, Fallback
from forebay.plan.envoy_routes import Entrance, find_refusal
from forebay.plan.units import parse_duration_s

Raw = Mapping[str, Any]
# What the apiserver fills in.
_CAUSES = ("Down", "Refused", "Slow")
_JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """The entrance of the ModelDeployment that answers, or why it can't: `problem` is a sentence."""

    entrance: Entrance | None = None
    problem: str = ""


def read_fallback(spec: Raw) -> Fallback | None:
    """The fallback of a ModelDeployment; the model's name is that one's to tell."""
    raw = spec.get("fallback")
    if not raw:
        return None
    fixed = raw.get("response")
    return Fallback(
        causes=frozenset(raw.get("when") or _CAUSES),
        after_s=parse_duration_s(raw["after"]) if raw.get("after") else 0.0,
        budget_pct=int(raw.get("budget", 100)),
        answer=_read_answer(fixed) if fixed else None,
        name=raw.get("deployment", ""),
    )


def _read_answer(raw: Raw) -> Answer:
    return Answer(status=int(raw.get("status", 200)), content_type=raw.get("contentType", _JSON), body=raw["body"])


def read_model_name(raw: Raw) -> str:
    """The name by which clients call the model of a ModelDeployment: in paths, and in gRPC requests."""
    spec = raw["spec"]
    triton = (spec.get("predictor") or {}).get("triton") or {}
    named = "" if spec.get("transformer") else triton.get("model", "")
    return named or str(raw["metadata"]["name"])


def check_stand_in(entrance: Entrance | None, *, name: str, served: bool) -> StandIn:
    """Whether a ModelDeployment can answer for another. `served`: it has instances, or is to be woken."""
    if entrance is None:
        return StandIn(problem=f"there is no ModelDeployment {name} in this namespace")
    asked = replace(entrance, access=OPEN, fallback=None)
    refusal = find_refusal(asked)
    if refusal:
        return StandIn(problem=refusal.message)
    if not served:
        return StandIn(problem=f"{name} has no instance that is ready")
    return StandIn(entrance=asked)
