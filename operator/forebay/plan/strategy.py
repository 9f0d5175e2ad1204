"""How a revision takes over from another: the spec's rollout, with every default decided."""

from dataclasses import dataclass, replace
from enum import StrEnum

from forebay.api.rollout import Promote, Rollout
from forebay.plan.analysis import Analysis, resolve_analysis
from forebay.plan.units import parse_duration_s

_WARM_S = 30.0
_HOLD_S, _DEADLINE_S = 120.0, 600.0


class Way(StrEnum):
    """How a revision takes over: when it is whole, step by step, as one after it could be looked at, or in the place of
    the one before.
    """

    WHOLE = "whole"
    CANARY = "canary"
    BLUE_GREEN = "blueGreen"
    RECREATE = "recreate"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A share of the requests, and how long it stays so; None is until a person says so.

    The one step of BLUE_GREEN has none of them: the revision can be looked at. With a shadow it has copies of a share.
    """

    weight_pct: int
    pause_s: float | None
    shadow_pct: int = 0


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Without steps a revision takes over when it is up.

    Of the `promoted` revision the steps up to `promoted_step` need no waiting; `promoted_fully` lets it take over
    whatever was found of it. `aborted` is one that is not to take over, `retried` one that is tried for the
    `attempt`-th time. In place of `unwanted` what was kept of `restored` is the target. Empty is none.

    For `warm_s` the instances of the one before are kept. A RECREATE holds a request for `hold_s` at most, and is to be
    over after `deadline_s`: also one that was begun before the spec said another way.
    """

    way: Way = Way.WHOLE
    steps: tuple[Step, ...] = ()
    paused: bool = False
    promoted: str = ""
    promoted_step: int = 0
    promoted_fully: bool = False
    aborted: str = ""
    retried: str = ""
    attempt: int = 1
    analysis: Analysis | None = None
    warm_s: float = 0.0
    hold_s: float = _HOLD_S
    deadline_s: float = _DEADLINE_S
    unwanted: str = ""
    restored: str = ""
    # How many revisions are kept.
    history: int = 10


def resolve_strategy(rollout: Rollout | None) -> Strategy:
    """Decide what is left out."""
    if rollout is None:
        return Strategy()
    way, steps = _resolve_steps(rollout)
    promote, retry, recreate, rollback = rollout.promote, rollout.retry, rollout.recreate, rollout.rollback
    analysis = rollout.canary.analysis if rollout.canary else None
    return Strategy(
        way=way,
        steps=steps,
        paused=rollout.paused,
        promoted=promote.revision if promote else "",
        promoted_step=_resolve_step(promote, len(steps)),
        promoted_fully=promote is not None and promote.step is None,
        aborted=rollout.abort or "",
        retried=retry.revision if retry else "",
        attempt=retry.attempt if retry else 1,
        analysis=resolve_analysis(analysis) if analysis else None,
        warm_s=_resolve_warm_s(rollout),
        hold_s=parse_duration_s(recreate.hold) if recreate else _HOLD_S,
        deadline_s=parse_duration_s(recreate.deadline) if recreate else _DEADLINE_S,
        unwanted=rollback.unwanted if rollback else "",
        restored=rollback.to if rollback else "",
        history=rollout.history,
    )


def without_steps(strategy: Strategy) -> Strategy:
    """As for what is served again: it takes over as soon as it is up, unless somebody aborts that, too. Where there is
    no room for both, there is none now: it may fail, and be wanted all the same.
    """
    way = Way.RECREATE if strategy.way is Way.RECREATE else Way.WHOLE
    promoted = strategy.promoted if strategy.promoted_fully else ""
    return replace(strategy, way=way, steps=(), analysis=None, paused=False, promoted=promoted, promoted_step=0)


def _resolve_steps(rollout: Rollout) -> tuple[Way, tuple[Step, ...]]:
    if rollout.blue_green:
        pause_s = _parse(rollout.blue_green.pause)
        return Way.BLUE_GREEN, () if pause_s == 0 else (Step(weight_pct=0, pause_s=pause_s),)
    if rollout.canary:
        steps = (
            Step(weight_pct=each.weight or 0, pause_s=_parse(each.pause), shadow_pct=each.shadow or 0)
            for each in rollout.canary.steps
        )
        return Way.CANARY, tuple(steps)
    return Way.RECREATE if rollout.recreate else Way.WHOLE, ()


def _parse(pause: str | None) -> float | None:
    return None if pause is None else parse_duration_s(pause)


def _resolve_warm_s(rollout: Rollout) -> float:
    if rollout.scale_down_delay is not None:
        return parse_duration_s(rollout.scale_down_delay)
    return _WARM_S if rollout.blue_green else 0.0


def _resolve_step(promote: Promote | None, most: int) -> int:
    if promote is None:
        return 0
    return most if promote.step is None else min(promote.step, most)
