"""Has the Jobs run that say whether a new revision is good, one each in a step, and reads what they say.

All that is known of them is in the cluster, but why the apiserver refused one: that is found out anew.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from forebay.kube.apply import Applier, ChildConflictError, OwnerReference
from forebay.kube.children import Child, Children, Id
from forebay.kube.client import PASSING, ApiError, Client
from forebay.kube.holdings import Owner
from forebay.kube.resources import JOB, POD
from forebay.observation import Json
from forebay.plan.analysis_jobs import Checked, JobPlan, plan_jobs
from forebay.plan.resolve import Serving
from forebay.plan.site import Site
from forebay.rollout.analysis.outside import combine
from forebay.rollout.analysis.verdict import NOT_COUNTED, Finding
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, RevisionState, RolloutState
from forebay.status.analysis_jobs import is_done, judge_job, judge_missing
from forebay.status.jobs import is_complete

# What a pod waits for doesn't change its Job: nobody tells. Nor when a quota has room again.
_RUNNING_S = 5.0
_REFUSED_S = 10.0
_SOON_S = 1.0


class AnalysisJobs:
    """The Jobs of all ModelDeployments whose rollouts are judged by some."""

    def __init__(
        self, client: Client, applier: Applier, children: Children, site: Site, *, clock: Callable[[], datetime]
    ) -> None:
        self._client, self._applier, self._children = client, applier, children
        self._site, self._clock = site, clock
        # Why a Job can't be made, by its name.
        self._refusals: dict[Owner, dict[str, str]] = {}
        self._delays_s: dict[Owner, float] = {}

    def delay_s(self, owner: Owner) -> float:
        """Until the next look at them."""
        return self._delays_s.get(owner, math.inf)

    def forget(self, owner: Owner) -> None:
        """It is gone."""
        self._refusals.pop(owner, None)
        self._delays_s.pop(owner, None)

    async def judge(self, reference: OwnerReference, serving: Serving, state: RolloutState) -> RolloutState:
        """The state with the Jobs' word in its verdict: before they have ended, a step isn't passed."""
        findings = [await self._judge(reference, each) for each in self._plan(serving, state.progress, state.active)]
        return replace(state, verdict=combine(state.verdict or NOT_COUNTED, findings)) if findings else state

    def _plan(self, serving: Serving, progress: Progress | None, active: RevisionState | None) -> list[JobPlan]:
        """The Jobs of a step, once its revision has its share."""
        if progress is None or active is None or progress.since_s is None or not progress.is_live:
            return []
        return plan_jobs(serving, _describe(progress, active), self._site)

    async def _judge(self, reference: OwnerReference, plan: JobPlan) -> Finding:
        owner, found = reference.owner, self._find(reference, plan)
        if found is None:
            return judge_missing(plan.check, self._refusals.get(owner, {}).get(plan.name, ""))
        if is_complete(found.content):
            return judge_job(plan.check, found.content, ())
        selector = f"batch.kubernetes.io/controller-uid={found.uid}"
        pods = await self._client.read(POD.path(namespace=owner.namespace), labelSelector=selector)
        return judge_job(plan.check, found.content, pods["items"])

    def _find(self, reference: OwnerReference, plan: JobPlan) -> Child | None:
        """A Job, but not one of an earlier ModelDeployment of the name."""
        found = self._children.of(reference.owner).get(Id(JOB.kind, plan.name))
        return found if found and found.owner_uid == reference.uid else None

    async def make(
        self, reference: OwnerReference, serving: Serving, decision: Decision, before: Progress | None
    ) -> set[Id]:
        """Begin the Jobs of the step that a rollout is in now; those that are to stay.

        Those of the step `before`, as the status tells it, stay until it tells another: whoever comes after an operator
        that dies would miss them, and begin them anew.
        """
        owner, progress, active = reference.owner, decision.progress, decision.active
        plans = self._plan(serving, progress, active)
        wait_s = self._measure_wait_s(serving, progress) if plans else math.inf
        refusals = await self._begin(reference, plans) if wait_s <= 0 else {}
        kept = self._list_kept(reference, plans, progress)
        left = self._list_kept(reference, self._plan(serving, before, active), before) - kept
        # What a quota says changes with whatever else there is.
        if left or refusals.keys() != self._refusals.get(owner, {}).keys():
            self._note(owner, refusals, _SOON_S)
        elif refusals:
            self._note(owner, refusals, _REFUSED_S)
        elif wait_s > 0:
            self._note(owner, {}, wait_s)
        else:
            self._note(owner, {}, math.inf if self._are_done(reference, plans) else _RUNNING_S)
        return kept | left

    def _measure_wait_s(self, serving: Serving, progress: Progress | None) -> float:
        """Until the Jobs begin; infinite for a step that is promoted, of which nobody asks what they say."""
        analysis = serving.strategy.analysis
        if analysis is None or progress is None or progress.since_s is None or progress.verdict is None:
            return math.inf
        return max(0.0, progress.since_s + analysis.delay_s - self._clock().timestamp())

    async def _begin(self, reference: OwnerReference, plans: Sequence[JobPlan]) -> dict[str, str]:
        """Make those that aren't there, and leave the others as they are: their pods can't be changed. Why some can't
        be made, by their names.
        """
        refusals = {}
        for each in plans:
            if self._find(reference, each) is None:
                try:
                    await self._applier.apply(reference, each.manifest)
                except (ApiError, ChildConflictError) as error:
                    if isinstance(error, ApiError) and error.status in PASSING:
                        raise
                    refusals[each.name] = str(error)
        return refusals

    def _are_done(self, reference: OwnerReference, plans: Sequence[JobPlan]) -> bool:
        return all((found := self._find(reference, each)) and is_done(found.content) for each in plans)

    def _list_kept(self, reference: OwnerReference, plans: Sequence[JobPlan], progress: Progress | None) -> set[Id]:
        """Those that are planned, or are of a revision that failed, for their logs."""
        ours = {
            key: child
            for key, child in self._children.of(reference.owner).items()
            if key.kind == JOB.kind and child.owner_uid == reference.uid
        }
        if progress and progress.phase is Phase.FAILED:
            return {key for key, child in ours.items() if _is_about(child.content, _describe(progress, None))}
        return ours.keys() & {Id(JOB.kind, each.name) for each in plans}

    def _note(self, owner: Owner, refusals: dict[str, str], delay_s: float) -> None:
        self.forget(owner)
        if refusals:
            self._refusals[owner] = refusals
        if math.isfinite(delay_s):
            self._delays_s[owner] = delay_s


def _describe(progress: Progress, active: RevisionState | None) -> Checked:
    return Checked(
        revision=progress.revision,
        stable=active.name if active else "",
        step=progress.step,
        attempt=progress.attempt,
    )


def _is_about(job: Json, checked: Checked) -> bool:
    labels: Json = job["metadata"].get("labels", {})
    return labels.items() >= checked.labels.items()
