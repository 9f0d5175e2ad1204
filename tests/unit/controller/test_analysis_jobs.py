"""When the Jobs of a step are looked at again."""

import math
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forebay.api import ModelDeployment
from forebay.controller.analysis_jobs import AnalysisJobs
from forebay.kube.apply import Applier, OwnerReference
from forebay.kube.children import Children
from forebay.kube.client import Client
from forebay.kube.connection import Connection
from forebay.kube.holdings import Owner
from forebay.plan.analysis_jobs import Checked, plan_jobs
from forebay.plan.resolve import resolve
from forebay.plan.site import Site
from forebay.rollout.analysis.verdict import NOT_COUNTED
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, RevisionState

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
OWNER = OwnerReference(
    owner=Owner("default", "digits"), uid="u", api_version="forebay.dev/v1alpha1", kind="ModelDeployment"
)
SITE = Site()
OLD, NEW = RevisionState(name="old", workloads=("p1",)), RevisionState(name="new", workloads=("p2",))
CHECK = {"name": "smoke", "image": "registry.test/smoke:1"}
ROLLOUT = {"canary": {"steps": [{"weight": 50}], "analysis": {"initialDelay": "30s", "jobs": [CHECK]}}}
SERVING = resolve(
    ModelDeployment.model_validate(
        {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "digits"},
            "spec": {"model": {"uri": "s3://models/digits"}, "predictor": {"triton": {}}, "rollout": ROLLOUT},
        }
    )
)


async def build_headers() -> Mapping[str, str]:
    return {}


@pytest.mark.parametrize(
    ("ended", "after_s", "again_s"),
    [("Complete", 60, math.inf), ("Failed", 60, math.inf), ("", 60, 5.0), ("", 10, 20.0)],
)
async def test_what_is_over_is_not_looked_at_again(ended: str, after_s: float, again_s: float) -> None:
    """A step may go on for days after its Jobs have ended."""
    children = Children()
    since_s = (NOW - timedelta(seconds=after_s)).timestamp()
    progress = Progress(
        revision="new", phase=Phase.WAITING, step=1, weight_pct=50, since_s=since_s, verdict=NOT_COUNTED
    )
    decision = Decision(active=OLD, keep=frozenset(), target=NEW, progress=progress)
    (plan,) = plan_jobs(SERVING, Checked(revision="new", stable="old", step=1, attempt=1), SITE)
    conditions: list[Any] = [{"type": ended, "status": "True"}] if ended else []
    metadata = {**plan.manifest["metadata"], "uid": "j", "resourceVersion": "5", "ownerReferences": [OWNER.build()]}
    children.put(OWNER.owner, {**plan.manifest, "metadata": metadata, "status": {"conditions": conditions}})
    # Nothing is asked of an apiserver.
    connection = Connection("https://127.0.0.1:9", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), build_headers)
    async with Client(connection) as client:
        applier = Applier(client, children, on_own=lambda *_: None)
        jobs = AnalysisJobs(client, applier, children, SITE, clock=lambda: NOW)
        kept = await jobs.make(OWNER, SERVING, decision, progress)
    assert {each.name for each in kept} == {plan.name}
    assert jobs.delay_s(OWNER.owner) == again_s
