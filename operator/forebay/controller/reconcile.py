"""One look at a ModelDeployment: resolve, observe, decide, plan, apply, tell. Repeating it changes nothing."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from forebay.controller.applying import apply_all
from forebay.controller.mlflow import Resolution, name_mlflow
from forebay.controller.planning import Plan, Planner
from forebay.controller.pod_logs import PodLogs
from forebay.controller.registry import name_version
from forebay.controller.service_times import ServiceTimes
from forebay.controller.world import World
from forebay.kube.apply import Applier, OwnerReference
from forebay.kube.children import Child, Id
from forebay.kube.client import Client
from forebay.kube.events import post_event
from forebay.kube.gateways import Gateways
from forebay.kube.holdings import Owner
from forebay.kube.resources import MODEL_DEPLOYMENT
from forebay.kube.statuses import write_status
from forebay.observation import Observation, Reason, Trouble
from forebay.plan.cluster import check_reachable
from forebay.plan.manifests import with_service_times
from forebay.plan.names import cut_digest
from forebay.plan.versions import AmbiguousAliasError, RegistryUnavailableError, UnusableVersionError, VersionError
from forebay.plan.workloads import Revision
from forebay.rollout.decide import decide
from forebay.rollout.state import Decision, RevisionState, RolloutState, WorkloadState
from forebay.settings import Settings
from forebay.status import is_settled, needs_log, needs_watch, summarize, summarize_invalid, tell_events

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
    gateways: Gateways
    service_times: ServiceTimes
    settings: Settings
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def reconcile(self, owner: Owner) -> float | None:
        """Make the cluster as the object says; seconds until the next look, None when the object is gone."""
        body = self.world.find(owner)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self.gateways.settle(owner)
            return None
        if not self._is_known(body):
            return _PROGRESS_S
        previous: Json = body.get("status", {})
        delay_s = _RESYNC_S
        try:
            resolution = self._resolve(body)
            plan = self.planner.plan(body, resolution.version)
            if await self._is_gone(body, plan, previous):
                self.world.drop(owner, uid=body["metadata"]["uid"])
                self.gateways.settle(owner)
                return None if self.world.find(owner) is None else 0.0
        except ValidationError as error:
            trouble = Trouble(reason=Reason.INVALID_SPEC, message=describe_invalid(error), stalled=True)
            status = summarize_invalid(body["metadata"]["generation"], [trouble], previous, self.clock())
        except VersionError as error:
            trouble = explain_unresolved(error)
            generation, field = body["metadata"]["generation"], "uri" if name_mlflow(body) else "version"
            status = summarize_invalid(generation, [trouble], previous, self.clock(), f"what spec.model.{field} names")
            # Versions that nobody names don't wake it, but the message tells of those there are.
            delay_s = _TROUBLED_S
        else:
            status, troubles = await self._serve(body, plan, previous, resolution.doubt)
            # Nobody tells when a quota has room again, or when somebody else's object is gone.
            delay_s = _TROUBLED_S if troubles else _RESYNC_S
        await self._tell(body, previous, status)
        return min(delay_s, choose_delay_s(self.world.pods.of(owner)))

    def _is_known(self, body: Json) -> bool:
        """Whether it is known what a version is that an object names, or that there is none."""
        if name_version(body):
            return self.world.versions.is_listed(body["metadata"]["namespace"])
        return self.world.mlflow.is_asked(body)

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
        if not previous.get("targetRevision") or all(identify(each) in known for each in plan.manifests):
            return False
        path = MODEL_DEPLOYMENT.path(namespace=owner.namespace, name=owner.name)
        found = await self.client.find(path)
        # Another of its name has been told of already, or will be.
        return found is None or bool(found["metadata"]["uid"] != body["metadata"]["uid"])

    async def _serve(self, body: Json, plan: Plan, previous: Json, doubt: str) -> tuple[Json, Sequence[Trouble]]:
        owner, generation = refer_to(body).owner, body["metadata"]["generation"]
        unreachable = check_reachable(plan.serving)
        if unreachable:
            trouble = Trouble(reason=Reason.UNREACHABLE_MODEL, message=unreachable, stalled=True)
            return summarize_invalid(generation, [trouble], previous, self.clock()), ()
        decision, troubles = await self._apply(body, plan, previous)
        self._follow(owner, decision, previous, generation)
        pods = self.world.pods.of(owner)
        observation = Observation(
            generation=generation,
            serving=plan.serving,
            target=plan.target,
            decision=decision,
            gateway=self.gateways.state_of(owner),
            version=plan.version,
            uri=name_mlflow(body),
            doubt=doubt,
            deployments=unpack_deployments(self.world.children.of(owner)),
            pods=pods,
            troubles=troubles,
            downloaded_pct=await self.logs.read_progress(pods),
            logs=await self.logs.read_ends(pods),
            url=f"http://{owner.name}.{owner.namespace}.svc.{self.settings.cluster_domain}",
            external_url=f"{self.settings.gateway_url.rstrip('/')}/{owner.namespace}/{owner.name}"
            if self.settings.gateway_url
            else "",
        )
        status = summarize(observation, previous, self.clock())
        if is_settled(status):
            self.gateways.settle(owner)
        return status, troubles

    async def _apply(self, body: Json, plan: Plan, previous: Json) -> tuple[Decision, list[Trouble]]:
        """Make the target's children, and let go of what serves no more."""
        reference, target = refer_to(body), plan.target
        owner = reference.owner
        known = self.world.children.of(owner)
        deployments = unpack_deployments(known)
        state = RolloutState(
            target=RevisionState(name=target.name, workloads=tuple(each.name for each in target.workloads)),
            active=read_active(previous),
            workloads={name: count(deployment) for name, deployment in deployments.items()},
            gateway=self.gateways.state_of(owner),
        )
        replicas = choose_replicas(target, state)
        manifests = with_service_times(plan.serving, plan.manifests, self.service_times.choose(plan.serving, known))
        troubles = await apply_all(self.applier, reference, manifests, dict(known), replicas=replicas)
        decision = decide(state)
        wanted = {identify(each) for each in manifests}
        others = decision.keep - {each.name for each in target.workloads}
        for key in await self.applier.prune(reference, wanted | find_kept(deployments, others)):
            _log.info("%s/%s: deleted %s %s", *owner, key.kind, key.name)
        return decision, troubles

    def _follow(self, owner: Owner, decision: Decision, previous: Json, generation: int) -> None:
        """Ask the gateway soon when something is about to change for it."""
        if decision.active is None:
            self.gateways.settle(owner)
        elif decision.active != read_active(previous) or previous.get("observedGeneration") != generation:
            self.gateways.expect(owner)
        else:
            self.gateways.watch(owner)

    async def _tell(self, body: Json, previous: Json, status: Json) -> None:
        """Write the status if it changed, and the events of the change."""
        if status == previous:
            return
        reference = refer_to(body)
        written = await write_status(self.client, MODEL_DEPLOYMENT, body["metadata"], status)
        if written is None:
            return  # deleted meanwhile, which is told soon
        self.world.put(written)
        self.world.note_own(reference.owner, written)
        for event in tell_events(previous, status):
            await post_event(self.client, reference, event, now=self.clock(), reporter=self.settings.pod_name)


def explain_unresolved(error: VersionError) -> Trouble:
    """What it means that no version is named, or none that can be used."""
    is_unavailable = isinstance(error, RegistryUnavailableError)
    reason = {
        AmbiguousAliasError: Reason.AMBIGUOUS_ALIAS,
        UnusableVersionError: Reason.UNREACHABLE_MODEL,
        RegistryUnavailableError: Reason.MODEL_REGISTRY_UNAVAILABLE,
    }.get(type(error), Reason.UNKNOWN_MODEL_VERSION)
    return Trouble(reason=reason, message=str(error), stalled=not is_unavailable)


def choose_delay_s(pods: Sequence[Json]) -> float:
    """Until the next look when nothing wakes it: pods don't tell of a change in what they log."""
    if needs_watch(pods):
        return _PROGRESS_S
    return _LOG_S if needs_log(pods) else _RESYNC_S


def identify(manifest: Mapping[str, Any]) -> Id:
    """What a manifest is of."""
    return Id(manifest["kind"], manifest["metadata"]["name"])


def describe_invalid(error: ValidationError) -> str:
    """What an object that the CRD let through lacks: the CRD is older or newer than this operator."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:3])
    return f"this operator can't read the object, so the CRD is of another version: upgrade the chart. {said}"


def refer_to(body: Mapping[str, Any]) -> OwnerReference:
    """The reference to a ModelDeployment that its children carry."""
    metadata = body["metadata"]
    return OwnerReference(
        owner=Owner(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        api_version=MODEL_DEPLOYMENT.api_version,
        kind=MODEL_DEPLOYMENT.kind,
    )


def read_active(status: Mapping[str, Any]) -> RevisionState | None:
    """Who got the traffic last, from the status."""
    traffic = status.get("traffic") or []
    if not traffic:
        return None
    return RevisionState(name=traffic[0]["revision"], workloads=tuple(traffic[0]["workloads"]))


def unpack_deployments(children: Mapping[Id, Child]) -> dict[str, Json]:
    """The Deployments among the children, by name."""
    return {key.name: child.content for key, child in children.items() if key.kind == "Deployment"}


def count(deployment: Mapping[str, Any]) -> WorkloadState:
    """The instances of a Deployment. Until its controller has seen the latest spec none counts."""
    spec, status = deployment["spec"], deployment.get("status", {})
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0)) if current else 0
    return WorkloadState(wanted=spec.get("replicas", 1), ready=ready)


def choose_replicas(target: Revision, state: RolloutState) -> dict[str, int]:
    """With how many instances a workload begins that is scaled: as many as it has, or as the one that serves has."""
    chosen = {}
    for planned in target.workloads:
        scaling = planned.workload.scaling
        names = [planned.name, *(state.active.workloads if state.active else ())]
        same_role = [name for name in names if cut_digest(name) == cut_digest(planned.name)]
        running = [state.workloads[name].wanted for name in same_role if name in state.workloads]
        chosen[planned.name] = max(scaling.least, min(running[0] if running else scaling.least, scaling.most))
    return chosen


def find_kept(deployments: Mapping[str, Json], workloads: frozenset[str]) -> set[Id]:
    """The children of workloads that stay: what they are, what their pods read, and what protects these."""
    kept = set()
    for name in workloads & deployments.keys():
        kept |= {Id(kind, name) for kind in ("Deployment", "Service", "HorizontalPodAutoscaler")}
        kept |= {Id(kind, cut_digest(name)) for kind in ("PodDisruptionBudget", "NetworkPolicy")}
        volumes = deployments[name]["spec"]["template"]["spec"].get("volumes", ())
        kept |= {Id("ConfigMap", volume["configMap"]["name"]) for volume in volumes if "configMap" in volume}
    return kept
