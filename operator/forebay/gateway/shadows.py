"""Who gets copies of a ModelDeployment's requests: what its spec and the step of its rollout say, and who that is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.gateway.agreement import Tolerance
from forebay.plan.envoy_revisions import Target
from forebay.plan.envoy_shadow import Shadow
from forebay.plan.units import parse_duration_s

Raw = Mapping[str, Any]
# What the apiserver fills in.
_CONCURRENCY = 16
_TIMEOUT = "30s"
# A copy that takes longer is no answer that anybody would have waited for.
_LONGEST_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Copies for another ModelDeployment, by its name, or with no name for the revision that is to take over."""

    name: str = ""
    share_pct: int = 100
    concurrency: int = _CONCURRENCY
    timeout_s: float = 30.0
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Where the copies go, or why there are none: `problem` is a sentence."""

    shadow: Shadow | None = None
    problem: str = ""


def read_wish(spec: Raw, rollout: Raw) -> Wish | None:
    """The step of a rollout comes first: one revision is compared at a time."""
    timeout_s = min(_LONGEST_S, parse_duration_s((spec.get("queue") or {}).get("timeout", _TIMEOUT)))
    if rollout.get("shadowPct"):
        canary = (spec.get("rollout") or {}).get("canary") or {}
        agreement = (canary.get("analysis") or {}).get("agreement") or {}
        return Wish(share_pct=int(rollout["shadowPct"]), timeout_s=timeout_s, tolerance=_read_tolerance(agreement))
    raw = spec.get("shadow")
    if not raw:
        return None
    return Wish(
        name=raw["deployment"],
        share_pct=int(raw.get("share", 100)),
        concurrency=int(raw.get("concurrency", _CONCURRENCY)),
        timeout_s=timeout_s,
        tolerance=_read_tolerance(raw),
    )


def _read_tolerance(raw: Raw) -> Tolerance:
    told, default = raw.get("tolerance") or {}, Tolerance()
    return Tolerance(
        relative=float(told.get("relative", default.relative)), absolute=float(told.get("absolute", default.absolute))
    )


def choose_shadow(wish: Wish, targets: Iterable[Target], *, is_there: Callable[[str], bool], model: str = "") -> Copies:
    """Of these targets those that get copies: none that has no instance, which nobody wakes for a copy."""
    wanted = [each for each in targets if (each.weight_pct if wish.name else each.is_preview)]
    found = tuple(each for each in wanted if is_there(each.cluster))
    if not found:
        return Copies(problem=f"{wish.name or 'the new revision'} has no instance that is ready")
    shadow = Shadow(
        targets=found,
        share_pct=wish.share_pct,
        concurrency=wish.concurrency,
        timeout_s=wish.timeout_s,
        model=model,
    )
    return Copies(shadow=shadow)
