"""ImageBuilds: for each a Job that builds, and a status that says what came of it."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from forebay.api import ImageBuild
from forebay.controller.applying import apply_all
from forebay.controller.own_children import identify
from forebay.controller.unusable import describe_invalid
from forebay.controller.wakeups import Wakeups
from forebay.controller.world import follow_owned, state_of
from forebay.kube.apply import Applier, OwnerReference
from forebay.kube.children import Child, Children, Id
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.holdings import Owner
from forebay.kube.lease import LostLeaseError
from forebay.kube.resources import CONFIG_MAP, IMAGE_BUILD, JOB, POD, Resource
from forebay.kube.statuses import write_status
from forebay.kube.watch import Follower, Scope, Watch
from forebay.observation import Reason, Trouble
from forebay.plan.builds import BUILD_LABEL, BuildPlan, plan_build
from forebay.settings import Settings
from forebay.status.builds import BuildObservation, is_done, renew, summarize_build, summarize_invalid_build

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_WORKERS = 4
# What a pod waits for doesn't change its Job: nobody tells.
_BUILDING_S = 5.0
_RETRY_S = 5.0
_RESYNC_S = 600.0


class Builds:
    """The ImageBuilds as they are now, and their Jobs."""

    def __init__(
        self, client: Client, settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client, self._settings, self._clock = client, settings, clock
        self._wakeups = Wakeups()
        self._bodies: dict[Owner, Json] = {}
        self._children = Children()
        # What a build's own writes changed is no reason to look again.
        explain = self._wakeups.explain
        self._applier = Applier(client, self._children, on_own=lambda owner, body: explain(owner, state_of(body)))

    def run(self) -> list[Coroutine[Any, Any, None]]:
        """What is to be run, each until cancelled."""
        scopes = self._settings.namespaces or ("",)
        return [*(each for scope in scopes for each in self._run_in(scope)),
                self._wakeups.run(self._work, workers=_WORKERS)]  # fmt: skip

    def _run_in(self, namespace: str) -> list[Coroutine[Any, Any, None]]:
        children = [
            Watch(self._client, each, Scope(namespace=namespace, selector=BUILD_LABEL), self._follow(each, namespace))
            for each in (JOB, CONFIG_MAP)
        ]
        own = Watch(self._client, IMAGE_BUILD, Scope(namespace=namespace), self._follow_builds(namespace))
        return [*(watch.run() for watch in children), self._begin(children, own.run)]

    async def _begin(self, children: Sequence[Watch], run: Callable[[], Awaitable[None]]) -> None:
        """A Job that isn't known would be taken for missing."""
        for watch in children:
            await watch.synced.wait()
        await run()

    def _follow(self, resource: Resource, namespace: str) -> Follower:
        replace = partial(self._children.replace, resource.kind, namespace=namespace)
        return follow_owned(self._children, replace, wake=self._wakeups.wake, owner_of=owner_of)

    def _follow_builds(self, namespace: str) -> Follower:
        def on_list(bodies: Sequence[Json]) -> None:
            there = {_name(body): body for body in bodies}
            self._bodies = {
                owner: body for owner, body in self._bodies.items() if namespace and owner.namespace != namespace
            } | there
            for owner in there:
                self._wakeups.wake(owner)

        def on_change(is_there: bool, body: Json) -> None:
            owner = _name(body)
            if is_there:
                self._bodies[owner] = body
                self._wakeups.wake(owner)
            else:
                self._bodies.pop(owner, None)
                self._wakeups.forget(owner)

        return Follower(on_list, on_change)

    async def _work(self, owner: Owner) -> None:
        try:
            delay_s = await self._reconcile(owner)
        except LostLeaseError:
            raise
        except Exception as error:  # noqa: BLE001  (one object's failure must not end the others': told, and tried again)
            passing = isinstance(error, (ApiError, *UNANSWERED))
            _log.warning("the build %s/%s: tried again soon: %s", *owner, error, exc_info=None if passing else error)
            delay_s = _RETRY_S
        if owner in self._bodies:
            self._wakeups.wake_in(owner, delay_s)

    async def _reconcile(self, owner: Owner) -> float:
        """Make the Job as the object says, and tell; seconds until the next look."""
        body = self._bodies.get(owner)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return _RESYNC_S
        previous: Json = body.get("status", {})
        generation: int = body["metadata"]["generation"]
        try:
            plan = self._plan(body)
        except ValidationError as error:
            trouble = Trouble(reason=Reason.INVALID_SPEC, message=describe_invalid(error), stalled=True)
            status = summarize_invalid_build(generation, trouble, previous, self._clock())
        else:
            if is_done(previous, plan.job):
                status = renew(previous, generation, self._clock())
            else:
                status = await self._build(body, plan, previous)
        await self._tell(body, previous, status)
        done = status.get("completionTime")
        return _RESYNC_S if done else _BUILDING_S

    def _plan(self, body: Json) -> BuildPlan:
        spec_only = {name: value for name, value in body.items() if name != "status"}
        build = ImageBuild.model_validate(spec_only, strict=True, by_alias=True, by_name=False)
        return plan_build(build, self._settings.site)

    async def _build(self, body: Json, plan: BuildPlan, previous: Json) -> Json:
        reference = refer_to(body)
        owner = reference.owner
        troubles: list[Trouble] = []
        if self._find_job(reference, plan) is None:
            troubles = await apply_all(self._applier, reference, plan.manifests, self._children.of(owner), replicas={})
        # An earlier spec's: nobody wants what it would push.
        await self._applier.prune(reference, {identify(each) for each in plan.manifests})
        job = self._find_job(reference, plan)
        observation = BuildObservation(
            generation=body["metadata"]["generation"],
            job_name=plan.job,
            job=job.content if job else {},
            pods=await self._list_pods(owner.namespace, plan.job) if job else (),
            troubles=troubles,
        )
        return summarize_build(observation, previous, self._clock())

    def _find_job(self, reference: OwnerReference, plan: BuildPlan) -> Child | None:
        """The Job, but not one of an earlier ImageBuild of the name. It is left as it is: its pods can't be changed."""
        found = self._children.of(reference.owner).get(Id(JOB.kind, plan.job))
        return found if found and found.owner_uid == reference.uid else None

    async def _list_pods(self, namespace: str, job: str) -> list[Json]:
        selector = f"batch.kubernetes.io/job-name={job}"
        found = await self._client.read(POD.path(namespace=namespace), labelSelector=selector)
        pods: list[Json] = found["items"]
        return pods

    async def _tell(self, body: Json, previous: Json, status: Json) -> None:
        if status == previous:
            return
        try:
            written = await write_status(self._client, IMAGE_BUILD, body["metadata"], status)
        except ApiError as error:
            # Another of its name: that is told soon.
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            return
        known = self._bodies.get(_name(body))
        # What was heard of meanwhile is newer.
        if written is not None and known is body:
            self._bodies[_name(body)] = written


def owner_of(body: Mapping[str, Any]) -> Owner | None:
    """The ImageBuild that an object was made for, by its labels."""
    name = body["metadata"].get("labels", {}).get(BUILD_LABEL)
    return Owner(body["metadata"]["namespace"], name) if name else None


def refer_to(body: Mapping[str, Any]) -> OwnerReference:
    """The reference to an ImageBuild that its children carry."""
    return OwnerReference(
        owner=_name(body), uid=body["metadata"]["uid"], api_version=IMAGE_BUILD.api_version, kind=IMAGE_BUILD.kind
    )


def _name(body: Mapping[str, Any]) -> Owner:
    return Owner(body["metadata"]["namespace"], body["metadata"]["name"])
