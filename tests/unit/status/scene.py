"""Scenes of a cluster to make statuses of: a ModelDeployment, its Deployments and pods, and the gateway."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from forebay.api.load import load_text
from forebay.observation import Observation, Trouble, Unusable
from forebay.plan.names import WORKLOAD_LABEL
from forebay.plan.resolve import resolve
from forebay.plan.site import Site
from forebay.plan.workloads import Planned, Revision, build_revision
from forebay.rollout.state import Decision, GatewayState, RevisionState
from forebay.status import summarize

HERE = Path(__file__).parent
PODS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "pods.yaml").read_text())
DEPLOYMENTS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "deployments.yaml").read_text())
NOW = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
# What the CRD's default makes of a new object.
UNKNOWN = {
    "conditions": [
        {
            "type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
    ]
}  # fmt: skip
MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits, namespace: vision}
spec:
  model: {uri: "s3://models/digits"}
  predictor: {triton: {}, replicas: 2}
"""
TRANSFORMER = '  transformer: {custom: {script: "class A:\\n  def preprocess(self, i): return i\\n"}}\n'


@dataclass
class Scene:
    """What is there. Everything is up and served, unless a test says otherwise."""

    text: str = MANIFEST
    generation: int = 3
    active: RevisionState | None = None
    is_active: bool = True
    ready: dict[str, int] = field(default_factory=dict)
    gateway: dict[str, Any] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    deployments: dict[str, Any] = field(default_factory=dict)
    troubles: Sequence[Trouble] = ()
    unusable: Unusable | None = None
    downloaded_pct: Mapping[str, int] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    scalers: Sequence[dict[str, Any]] = ()
    lacks_keda: bool = False
    rivals: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Revision:
        return build_revision(self._serving, Site())

    @property
    def _serving(self):
        (made,) = load_text(self.text, file="m.yaml", folder=HERE)
        return resolve(made)

    def observe(self) -> Observation:
        target = self.target
        own = RevisionState(name=target.name, workloads=tuple(each.name for each in target.workloads))
        active = self.active or (own if self.is_active else None)
        gateway = {
            "pods": 2,
            "answered": 2,
            "routed": {active.entry: 2} if active else {},
            "generation": 3,
        } | self.gateway
        return Observation(
            generation=self.generation,
            serving=self._serving,
            target=target,
            decision=Decision(active=active, keep=frozenset()),
            gateway=GatewayState(**{"instances": sum(gateway["routed"].values()), **gateway}),
            deployments={each.name: self.build_deployment(each) for each in target.workloads} | self.deployments,
            scalers=self.scalers,
            lacks_keda=self.lacks_keda,
            rivals=self.rivals,
            pods=self.pods,
            troubles=self.troubles,
            unusable=self.unusable,
            downloaded_pct=self.downloaded_pct,
            logs=self.logs,
            url="http://digits.vision",
        )

    def build_deployment(self, planned: Planned) -> dict[str, Any]:
        wanted = planned.workload.replicas
        ready = self.ready.get(str(planned.role), wanted)
        labels = planned.template["metadata"]["labels"]
        return {
            "metadata": {"name": planned.name, "namespace": "vision", "generation": 1, "labels": labels},
            "spec": {"replicas": wanted},
            "status": {"observedGeneration": 1, "replicas": wanted, "readyReplicas": ready},
        }

    def add_pod(self, kind: str, name: str = "", role: str = "predictor", container: str = "") -> dict[str, Any]:
        """A captured pod, as one of the target's."""
        planned = next(each for each in self.target.workloads if each.role == role)
        pod = capture(kind, server=role)
        pod["metadata"]["name"] = name or f"{planned.name}-{len(self.pods)}"
        pod["metadata"]["labels"] = {**planned.template["metadata"]["labels"], WORKLOAD_LABEL: planned.name}
        self.pods.append(pod)
        return pod

    def summarize(self, previous: Mapping[str, Any] = UNKNOWN, now: datetime = NOW) -> dict[str, Any]:
        return summarize(self.observe(), previous, now)


def capture(kind: str, *, server: str = "predictor") -> dict[str, Any]:
    """A pod as it was found in a cluster, its server called as the component."""
    pod = deepcopy(PODS[kind])
    for each in (*pod["spec"]["containers"], *pod["status"].get("containerStatuses", [])):
        each["name"] = server if each["name"] == "predictor" else each["name"]
    return pod


def get_condition(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (each for each in status["conditions"] if each["type"] == kind)
    return found


def told(status: Mapping[str, Any], kind: str = "Ready") -> tuple[str, str]:
    """A condition's status and reason."""
    found = get_condition(status, kind)
    return found["status"], found["reason"]
