"""The Jobs of a step: what they are told, and by what they are named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from forebay.api import ModelDeployment
from forebay.api.load import load_text
from forebay.plan.analysis_jobs import Checked, plan_jobs
from forebay.plan.images import Images
from forebay.plan.resolve import Serving, resolve
from forebay.plan.site import Site

CHECKED = Checked(revision="new", stable="old", step=1, attempt=1)
SMOKE = {"name": "smoke", "image": "registry.test/smoke:1"}


def read(*jobs: dict[str, Any], **labels: str) -> Serving:
    text = yaml.safe_dump(
        {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "digits", "namespace": "ns", "labels": labels},
            "spec": {
                "model": {"uri": "s3://models/digits"},
                "predictor": {"triton": {"model": "mnist"}},
                "rollout": {"canary": {"steps": [{"weight": 5}], "analysis": {"jobs": list(jobs)}}},
            },
        }
    )
    (made,) = load_text(text, file="digits.yaml", folder=Path("/nowhere"))
    assert isinstance(made, ModelDeployment)
    return resolve(made)


def build(serving: Serving, checked: Checked = CHECKED, site: Site | None = None) -> dict[str, Any]:
    (plan,) = plan_jobs(serving, checked, site or Site())
    assert plan.name == plan.manifest["metadata"]["name"]
    return plan.manifest


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


def test_the_name_follows_from_what_is_asked_and_of_what() -> None:
    name = build(read(SMOKE))["metadata"]["name"]
    newer = Site(images=Images(operator="registry.test/operator:2"), gateway_service="other")
    assert build(read(SMOKE), site=newer)["metadata"]["name"] == name, (
        "an operator of another version asks nothing anew"
    )
    assert build(read({**SMOKE, "timeout": "10m", "args": []}))["metadata"]["name"] == name, "defaults, written out"
    assert build(read(SMOKE), replace(CHECKED, stable="older"))["metadata"]["name"] == name
    others = [build(read({**SMOKE, **each})) for each in ({"name": "b"}, {"args": ["x"]}, {"timeout": "1m"})]
    others += [build(read(SMOKE), replace(CHECKED, **each)) for each in ({"step": 2}, {"attempt": 2})]
    others.append(build(read(SMOKE), replace(CHECKED, revision="newer")))
    assert len({name, *(each["metadata"]["name"] for each in others)}) == 7
    assert name.startswith("digits-analysis-")


def test_it_runs_once_for_a_time() -> None:
    spec = build(read({**SMOKE, "timeout": "90s"}))["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 90)
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "Ignore", "a pod that is evicted says nothing of the revision"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_it_is_told_what_it_is_about() -> None:
    job = build(read({**SMOKE, "command": ["smoke"], "args": ["$(FOREBAY_URL)"], "env": [{"name": "A", "value": "b"}]}))
    (container,) = pod_of(job)["containers"]
    gateway = "http://forebay-gateway.forebay-system.svc.cluster.local/ns/digits"
    assert {each["name"]: each["value"] for each in container["env"]} == {
        "FOREBAY_NAMESPACE": "ns",
        "FOREBAY_NAME": "digits",
        "FOREBAY_MODEL": "mnist",
        "FOREBAY_REVISION": "new",
        "FOREBAY_STABLE": "old",
        "FOREBAY_STEP": "1",
        "FOREBAY_URL": f"{gateway}@new",
        "FOREBAY_STABLE_URL": f"{gateway}@old",
        "A": "b",
    }
    assert (container["command"], container["args"]) == (["smoke"], ["$(FOREBAY_URL)"])
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod_of(job)["securityContext"]["runAsNonRoot"]
    assert not pod_of(job)["automountServiceAccountToken"]


def test_an_image_s_own_command() -> None:
    (container,) = pod_of(build(read(SMOKE)))["containers"]
    assert not container.keys() & {"command", "args"}
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}}


def test_whatever_else_is_merged_over_it() -> None:
    template = {
        "metadata": {"labels": {"team": "vision", "app.kubernetes.io/instance": "digits"}, "annotations": {"a": "b"}},
        "spec": {
            "serviceAccountName": "smoke",
            "automountServiceAccountToken": True,
            "containers": [{"name": "check", "tty": True}, {"name": "other", "image": "x"}],
            "securityContext": {"runAsUser": 7},
        },
    }
    job = build(read({**SMOKE, "podTemplate": template}))
    pod = pod_of(job)
    assert [(each["name"], each["image"]) for each in pod["containers"]] == [("check", SMOKE["image"]), ("other", "x")]
    assert pod["containers"][0]["tty"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("smoke", True)
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (7, True)
    metadata = job["spec"]["template"]["metadata"]
    assert (metadata["labels"]["team"], metadata["annotations"]) == ("vision", {"a": "b"})


def test_its_pods_are_no_instances() -> None:
    job = build(read({**SMOKE, "podTemplate": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "forebay"}}}}))
    assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/managed-by"] != "forebay"
    labels = build(read(SMOKE, team="vision"))["metadata"]["labels"]
    assert (
        labels.items()
        >= {
            "team": "vision",
            "app.kubernetes.io/instance": "digits",
            "app.kubernetes.io/managed-by": "forebay",
            "app.kubernetes.io/component": "analysis",
            "forebay.dev/revision": "new",
            "forebay.dev/step": "1",
            "forebay.dev/attempt": "1",
            "forebay.dev/check": "smoke",
        }.items()
    )


def test_where_nothing_judges_there_are_none() -> None:
    serving = read(SMOKE)
    assert not plan_jobs(read(), CHECKED, Site())
    assert not plan_jobs(replace(serving, strategy=replace(serving.strategy, analysis=None)), CHECKED, Site())
