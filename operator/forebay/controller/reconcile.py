"""One look at a ModelDeployment: resolve, observe, decide, plan, apply, tell. Repeating it changes nothing."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from forebay.controller.analyses import Analyses
from forebay.controller.analysis_jobs import AnalysisJobs
from forebay.controller.applying import SCALERS, apply_all
from forebay.controller.history import History, list_kept, name_previous, read_records
from forebay.controller.mlflow import Resolution, name_mlflow
from forebay.controller.notifier import Notifier
from forebay.controller.own_children import find_kept, identify, refer_to, unpack_deployments, unpack_scalers
from forebay.controller.panic import Floors, Panic
from forebay.controller.planning import Plan, Planner
from forebay.controller.pod_logs import PodLogs
from forebay.controller.registry import name_version
from forebay.controller.rollouts import (
    choose_replicas,
    count_all,
    count_pods,
    count_transformers,
    find_beside,
    is_as_told,
    measure_due_s,
    read_active,
    read_progress,
    read_warm,
    without_instances,
)
from forebay.controller.scale_events import ScaleEvents
from forebay.controller.service_times import ServiceTimes
from forebay.controller.sleepers import Sleepers, rouse
from forebay.controller.unusable import UNUSABLE, explain_unusable
from forebay.controller.wakeups import spread
from forebay.controller.world import World
from forebay.kube.apply import Applier, OwnerReference
from forebay.kube.children import Child, Id
from forebay.kube.client import Client
from forebay.kube.events import post_event
from forebay.kube.gateways import Gateways
from forebay.kube.holdings import Owner
from forebay.kube.resources import AUTOSCALER, MODEL_DEPLOYMENT, SCALED_OBJECT
from forebay.kube.scale import write_scale
from forebay.kube.statuses import write_status
from forebay.observation import Observation, RolledBack, Trouble, Unusable
from forebay.plan.manifests import build_autoscaler, with_service_times
from forebay.plan.names import build_preview_path
from forebay.plan.workloads import Planned
from forebay.rollout.decide import decide
from forebay.rollout.state import Decision, RevisionState, RolloutState
from forebay.scaling.floors import with_floors
from forebay.settings import Settings
from forebay.status import (
    Event,
    is_settled,
    list_notices,
    measure_drill_s,
    measure_patience_s,
    needs_log,
    needs_watch,
    summarize,
    summarize_invalid,
    tell_events,
    tell_rollback,
    tell_rollout,
)

Json = dict[str, Any]

_log = logging.getLogger(__name__)
# Everything is looked at now and then, whatever the watches missed.
_RESYNC_S = 600.0
_PROGRESS_S = 3.0
_TROUBLED_S = 10.0
_LOG_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """What a look at a ModelDeployment needs."""

    client: Client
    world: World
    planner: Planner
    logs: PodLogs
    applier: Applier
    history: History
    gateways: Gateways
    service_times: ServiceTimes
    panic: Panic
    sleepers: Sleepers
    analyses: Analyses
    analysis_jobs: AnalysisJobs
    scale_events: ScaleEvents
    notifier: Notifier
    settings: Settings
    # Whether the cluster knows KEDA's ScaledObjects.
    has_keda: Callable[[], bool]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def reconcile(self, owner: Owner) -> float | None:
        """Make the cluster as the object says; seconds until the next look, None when the object is gone."""
        body = self.world.find(owner)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._forget(owner)
            return None
        if not self._is_known(body):
            return _PROGRESS_S
        # The whole look is at one time: what is due between two that it takes would be due to neither.
        previous, now = body.get("status", {}), self.clock()
        plan = self._choose_plan(body)
        unusable = plan if isinstance(plan, Unusable) else plan.unusable
        delay_s = spread(_TROUBLED_S if unusable and unusable.is_elsewhere else _RESYNC_S)
        if isinstance(plan, Unusable):
            self.sleepers.forget(owner)
            generation = body["metadata"]["generation"]
            status = summarize_invalid(generation, [plan.trouble], previous, now, plan.what)
        elif await self._is_gone(body, plan, previous):
            self.world.drop(owner, uid=body["metadata"]["uid"])
            self._forget(owner)
            return None if self.world.find(owner) is None else 0.0
        else:
            status, troubles, due_s = await self._serve(body, plan, previous, now)
            # Nobody tells when a quota has room again, or when somebody else's object is gone.
            delay_s = min(spread(_TROUBLED_S) if troubles else delay_s, due_s)
            delay_s = min(delay_s, self.panic.delay_s(owner), measure_drill_s(plan.serving, now))
            delay_s = min(delay_s, self.analysis_jobs.delay_s(owner))
            delay_s = min(delay_s, measure_patience_s(plan.serving, status, now))
            await self.sleepers.look(owner, plan.serving, status)
        await self._tell(body, previous, status)
        return min(delay_s, choose_delay_s(self.world.pods.of(owner)), self.scale_events.delay_s(owner))

    def _forget(self, owner: Owner) -> None:
        self.gateways.settle(owner)
        self.panic.forget(owner)
        self.sleepers.forget(owner)
        self.analyses.forget(owner)
        self.analysis_jobs.forget(owner)
        self.scale_events.forget(owner)

    def _is_known(self, body: Json) -> bool:
        """Whether it is known what a version is that an object names, or that there is none."""
        if name_version(body):
            return self.world.versions.is_listed(body["metadata"]["namespace"])
        return self.world.mlflow.is_asked(body)

    def _choose_plan(self, body: Json) -> Plan | Unusable:
        """What is to serve: what the spec asks for, or else what serves already; why neither can be planned."""
        records = read_records(self.world.children.of(refer_to(body).owner), body["metadata"]["uid"])
        try:
            resolution = self._resolve(body)
            return replace(self.planner.choose(body, resolution.version, records), doubt=resolution.doubt)
        except UNUSABLE as error:
            unusable = explain_unusable(error, body)
            return self.planner.serve_on(body, records, unusable) or unusable

    def _resolve(self, body: Json) -> Resolution:
        """The version that an object names, if it does. Raises VersionError."""
        if name_mlflow(body):
            return self.world.mlflow.choose(body)
        reference = name_version(body)
        return Resolution(self.world.versions.choose(body["metadata"]["namespace"], reference) if reference else None)

    async def _is_gone(self, body: Json, plan: Plan, previous: Json) -> bool:
        """Whether an object that lost children is gone itself: kopf doesn't tell of what went while its stream was
        interrupted, and whatever is made for what is gone is garbage at once.
        """
        owner = refer_to(body).owner
        known = self.world.children.of(owner)
        if not previous.get("targetRevision") or all(identify(each) in known for each in self._choose(plan.manifests)):
            return False
        path = MODEL_DEPLOYMENT.path(namespace=owner.namespace, name=owner.name)
        found = await self.client.find(path)
        # Another of its name has been told of already, or will be.
        return found is None or bool(found["metadata"]["uid"] != body["metadata"]["uid"])

    async def _serve(
        self, body: Json, plan: Plan, previous: Json, now: datetime
    ) -> tuple[Json, Sequence[Trouble], float]:
        """The status, what there is to try again, and the seconds until a step of the rollout is due."""
        owner, generation, uid = refer_to(body).owner, body["metadata"]["generation"], body["metadata"]["uid"]
        decision, troubles = await self._apply(body, plan, previous, now)
        if decision.active is None and not plan.serving.suspended:
            self.gateways.settle(owner)
        else:
            self._follow(owner, decision, previous, generation)
        pods, records = self.world.pods.of(owner), read_records(self.world.children.of(owner), uid)
        observation = Observation(
            generation=generation,
            serving=plan.serving,
            target=plan.target,
            decision=decision,
            gateway=self.gateways.state_of(owner),
            version=plan.version,
            # What is served again has the version of then.
            uri="" if plan.restored else name_mlflow(body),
            doubt=plan.doubt,
            numbers={each.name: each.number for each in records.values()},
            previous_revision=name_previous(records, plan, decision),
            rolled_back=RolledBack(before=plan.unwanted, after=plan.target.name) if plan.unwanted else None,
            unusable=plan.unusable,
            deployments=unpack_deployments(self.world.children.of(owner)),
            scalers=unpack_scalers(self.world.children.of(owner)),
            lacks_keda=not self.has_keda() and any(each["kind"] == SCALED_OBJECT.kind for each in plan.manifests),
            rivals=self._find_rivals(owner, plan),
            pods=pods,
            troubles=troubles,
            downloaded_pct=await self.logs.read_progress(pods),
            logs=await self.logs.read_ends(pods),
            url=f"http://{owner.name}.{owner.namespace}.svc.{self.settings.cluster_domain}",
            external_url=f"{self.settings.gateway_url.rstrip('/')}/{owner.namespace}/{owner.name}"
            if self.settings.gateway_url
            else "",
            preview_url=self._find_preview_url(owner),
        )
        status = summarize(observation, previous, now)
        # What is pending is looked at again when it was asked for, whatever it is: it may be as it was.
        if is_settled(status) and not observation.gateway.pending:
            self.gateways.settle(owner)
        return status, troubles, measure_due_s(decision, plan.serving.strategy, now)

    def _find_preview_url(self, owner: Owner) -> str:
        base = self.settings.gateway_url.rstrip("/") or f"http://{self.settings.site.gateway_host}"
        return f"{base}{build_preview_path(owner.namespace, owner.name)}"

    async def _apply(self, body: Json, plan: Plan, previous: Json, now: datetime) -> tuple[Decision, list[Trouble]]:
        """Make the target's children, and let go of what serves no more."""
        reference, target = refer_to(body), plan.target
        owner = reference.owner
        known = self.world.children.of(owner)
        deployments, pods = unpack_deployments(known), self.world.pods.of(owner)
        records, progress = read_records(known, reference.uid), read_progress(previous)
        state = RolloutState(
            target=RevisionState(name=target.name, workloads=tuple(each.name for each in target.workloads)),
            active=read_active(previous),
            warm=read_warm(previous),
            workloads=count_all(deployments, pods),
            pods=count_pods(pods),
            transformers=count_transformers(deployments, pods, now),
            gateway=self.gateways.state_of(owner),
            suspended=plan.serving.suspended,
            strategy=plan.serving.strategy,
            progress=progress,
            verdict=self.analyses.verdict_of(owner, progress),
            generation=body["metadata"]["generation"],
            now_s=now.timestamp(),
        )
        decision = decide(await self.analysis_jobs.judge(reference, plan.serving, state))
        self.analyses.look(owner, plan.serving, decision)
        rousing = rouse(plan.serving, target, state, previous)
        replicas = choose_replicas(target, state, decision, asleep=rousing.asleep)
        # Who has a share alone has but that of the requests that are held.
        is_held = plan.serving.idle_s > 0 and not decision.progress
        beside = find_beside(target, decision.active)
        floors = self.panic.choose(owner, target, is_held=is_held, beside=beside)
        chosen = self._choose([*plan.manifests, *self._build_beside(plan, beside, known)])
        planned = without_instances(with_floors(chosen, floors.raised, floors.spared), decision.ended)
        await self._hand_over(reference, planned)
        manifests = with_service_times(plan.serving, planned, self.service_times.choose(plan.serving, known))
        troubles = await apply_all(self.applier, reference, manifests, dict(known), replicas=replicas)
        await self._raise(owner, floors)
        raised = {name: number for name, number in rousing.numbers.items() if name not in decision.ended}
        await self.sleepers.raise_all(owner, raised)
        await self._exchange(owner, decision)
        await self.history.keep_target(reference, body, plan, records)
        records = read_records(self.world.children.of(owner), reference.uid)
        await self.history.keep_outcome(reference, decision, records)
        wanted = {identify(each) for each in manifests} | list_kept(plan, records, decision, owner.name)
        others = decision.keep - {each.name for each in target.workloads}
        wanted |= await self.analysis_jobs.make(reference, plan.serving, decision, progress)
        for key in await self.applier.prune(reference, wanted | find_kept(deployments, others, decision)):
            _log.info("%s/%s: deleted %s %s", *owner, key.kind, key.name)
        return decision, troubles

    def _gives_way(self, manifest: Mapping[str, Any]) -> bool:
        """Whether it is an autoscaler where somebody else's scales the same: two would undo each other's work."""
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        return manifest["kind"] == "HorizontalPodAutoscaler" and bool(self.world.rivals.find(namespace, name))

    def _find_rivals(self, owner: Owner, plan: Plan) -> dict[str, str]:
        """Autoscalers that somebody else made for what is to be made, by the Deployments' names."""
        names = [each["metadata"]["name"] for each in plan.manifests if each["kind"] == "Deployment"]
        found = {name: self.world.rivals.find(owner.namespace, name) for name in names}
        return {name: rival for name, rival in found.items() if rival}

    async def _raise(self, owner: Owner, floors: Floors) -> None:
        """Bring what is below its floor up to it: the autoscaler would do so at its next look."""
        deployments = unpack_deployments(self.world.children.of(owner))
        for name, floor in floors.raised.items():
            before = deployments.get(name, {}).get("spec", {}).get("replicas", 0)
            # What was stopped stays so.
            if 0 < before < floor.instances:
                await write_scale(self.client, owner, name, before=before, after=floor.instances)

    async def _exchange(self, owner: Owner, decision: Decision) -> None:
        """End the instances of those that make room, and have them again."""
        for name, deployment in unpack_deployments(self.world.children.of(owner)).items():
            before = deployment["spec"].get("replicas", 1)
            after = 0 if name in decision.ended else before or decision.restored.get(name, 0)
            if after != before:
                await write_scale(self.client, owner, name, before=before, after=after)

    def _build_beside(self, plan: Plan, beside: Sequence[Planned], known: Mapping[Id, Child]) -> list[Json]:
        """The autoscalers of what serves beside the target: the limits of now are its own, too. Who had none gets none:
        its number may be ours, and would be lost with its next plan.
        """
        scaled = [each for each in beside if any(Id(kind, each.name) in known for kind in SCALERS)]
        return [made for each in scaled for made in build_autoscaler(plan.serving, each, self.settings.site)]

    def _choose(self, manifests: Sequence[Json]) -> list[Json]:
        """The children that the cluster knows the kinds of, less what gives way to somebody else's."""
        known = (each for each in manifests if each["kind"] != SCALED_OBJECT.kind or self.has_keda())
        return [each for each in known if not self._gives_way(each)]

    async def _hand_over(self, reference: OwnerReference, manifests: Sequence[Json]) -> None:
        """Take away the scaler of a workload before it gets one of another kind: KEDA refuses what is scaled."""
        wanted = {identify(each) for each in manifests}
        scaled = {key.name for key in wanted if key.kind in SCALERS}
        known = set(self.world.children.of(reference.owner))
        replaced = {key for key in known - wanted if key.kind in SCALERS and key.name in scaled}
        if replaced:
            await self.applier.prune(reference, known - replaced)

    def _follow(self, owner: Owner, decision: Decision, previous: Json, generation: int) -> None:
        """Ask the gateway soon when something is about to change for it."""
        if not is_as_told(decision, previous) or previous.get("observedGeneration") != generation:
            self.gateways.expect(owner)
        else:
            self.gateways.watch(owner)

    async def _tell(self, body: Json, previous: Json, status: Json) -> None:
        """Write the status if it changed, and the events of the change."""
        reference = refer_to(body)
        if status != previous:
            written = await write_status(self.client, MODEL_DEPLOYMENT, body["metadata"], status)
            if written is None:
                return  # deleted meanwhile, which is told soon
            self.world.put(written)
            self.world.note_own(reference.owner, written)
            self.scale_events.note(reference.owner, previous, status)
            events = [
                *tell_rollback(previous, status),
                *tell_events(previous, status),
                *tell_rollout(previous, status, self.clock()),
            ]
            self.notifier.tell(reference, body["spec"], list_notices(reference.owner, events, status, self.clock()))
            await self._post(reference, events)
        await self._post(reference, await self._collect_scale_events(reference.owner))

    async def _collect_scale_events(self, owner: Owner) -> list[Event]:
        """What there is to tell of changed numbers. What an autoscaler saw isn't kept: it is asked for here."""
        waiting, scalers = self.scale_events.list_waiting(owner), unpack_scalers(self.world.children.of(owner))
        names = {
            each["spec"]["scaleTargetRef"]["name"]: each["metadata"]["name"]
            for each in scalers
            if each["kind"] == AUTOSCALER.kind
        }
        paths = {name: AUTOSCALER.path(namespace=owner.namespace, name=names[name]) for name in waiting & names.keys()}
        found = {name: await self.client.find(path) for name, path in paths.items()}
        autoscalers = {name: body for name, body in found.items() if body}
        return self.scale_events.collect(owner, self.world, self.panic.floors_of(owner), autoscalers)

    async def _post(self, reference: OwnerReference, events: Sequence[Event]) -> None:
        for event in events:
            await post_event(self.client, reference, event, now=self.clock(), reporter=self.settings.pod_name)


def choose_delay_s(pods: Sequence[Json]) -> float:
    """Until the next look when nothing wakes it: pods don't tell of a change in what they log."""
    if needs_watch(pods):
        return _PROGRESS_S
    return _LOG_S if needs_log(pods) else _RESYNC_S
