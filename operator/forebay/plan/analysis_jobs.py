"""The Jobs of a step that say whether its revision is good, named by what they are about: one each for a step and an
attempt, whoever makes them, and however often that dies.
"""

from dataclasses import dataclass
from typing import Any

from forebay.api.analysis_jobs import JobCheck
from forebay.plan import security
from forebay.plan.envoy_revisions import MARK
from forebay.plan.merge import merge
from forebay.plan.names import COMPONENT_LABEL, REVISION_LABEL, build_owner_labels, build_route_name, digest
from forebay.plan.resolve import Serving
from forebay.plan.site import Site
from forebay.plan.units import parse_duration_s

Json = dict[str, Any]

CONTAINER = "check"
_CHECK_LABEL = "forebay.dev/check"
_STEP_LABEL = "forebay.dev/step"
_ATTEMPT_LABEL = "forebay.dev/attempt"
_COMPONENT = {COMPONENT_LABEL: "analysis"}
_TMP = "/tmp"  # noqa: S108  (the container's own)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the Jobs are about: a revision in a step, for the `attempt`-th time, beside the one that serves."""

    revision: str
    stable: str
    step: int
    attempt: int

    @property
    def labels(self) -> dict[str, str]:
        """What its Jobs have, and those of another step haven't."""
        return {REVISION_LABEL: self.revision, _STEP_LABEL: str(self.step), _ATTEMPT_LABEL: str(self.attempt)}


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """A check, and the Job that it asks for."""

    check: JobCheck
    manifest: Json

    @property
    def name(self) -> str:
        """Of the Job."""
        return str(self.manifest["metadata"]["name"])


def plan_jobs(serving: Serving, checked: Checked, site: Site) -> list[JobPlan]:
    """All Jobs of a step."""
    checks = serving.strategy.analysis.jobs if serving.strategy.analysis else ()
    return [JobPlan(check=each, manifest=_build_job(serving, each, checked, site)) for each in checks]


def _name_job(serving: Serving, check: JobCheck, checked: Checked) -> str:
    """The name follows from what is asked, and of what: an operator of another version asks nothing anew."""
    content = check.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return f"{serving.name}-analysis-{digest([content, checked.labels])}"


def _build_job(serving: Serving, check: JobCheck, checked: Checked, site: Site) -> Json:
    """The Job of a check. It runs once, unless its pod had to make room."""
    patch = check.pod_template
    about = {**_COMPONENT, **checked.labels, _CHECK_LABEL: check.name}
    # Its pods are no instances, and mustn't be taken for these, whatever labels somebody adds.
    ours = {"app.kubernetes.io/name": "forebay", "app.kubernetes.io/managed-by": "forebay-analysis", **about}
    metadata: Json = {"labels": {**patch.metadata.labels, **ours}}
    if patch.metadata.annotations:
        metadata["annotations"] = dict(patch.metadata.annotations)
    changes = patch.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    labels = {**serving.labels, **build_owner_labels(deployment=serving.name), **about}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": _name_job(serving, check, checked), "namespace": serving.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(1, int(parse_duration_s(check.timeout))),
            "podFailurePolicy": {"rules": [disrupted]},
            "template": {
                "metadata": metadata,
                "spec": merge(_build_pod_spec(check, _build_env(serving, checked, site)), changes),
            },
        },
    }


def _build_pod_spec(check: JobCheck, env: list[Json]) -> Json:
    resources = check.resources
    told = {"command", "args", "env"}
    written = check.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True, include=told)
    container = {
        "name": CONTAINER,
        "image": check.image,
        "env": env,
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory},
            "limits": {"memory": resources.memory},
        },
        "securityContext": security.CONTAINER,
        # Why it failed; where it says nothing, its last lines.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": _TMP}],
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security.POD,
        "containers": [merge(container, written)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _build_env(serving: Serving, checked: Checked, site: Site) -> list[Json]:
    """What it is told. By their names both revisions answer whatever their shares are."""
    route = build_route_name(namespace=serving.namespace, deployment=serving.name)
    variables = {
        "FOREBAY_NAMESPACE": serving.namespace,
        "FOREBAY_NAME": serving.name,
        "FOREBAY_MODEL": serving.model_name,
        "FOREBAY_REVISION": checked.revision,
        "FOREBAY_STABLE": checked.stable,
        "FOREBAY_STEP": str(checked.step),
        "FOREBAY_URL": f"http://{site.gateway_host}/{route}{MARK}{checked.revision}",
        "FOREBAY_STABLE_URL": f"http://{site.gateway_host}/{route}{MARK}{checked.stable}",
    }
    return [{"name": name, "value": value} for name, value in variables.items()]
