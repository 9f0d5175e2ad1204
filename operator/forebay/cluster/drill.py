"""`forebay drill`: break a revision on purpose for a while, and tell what clients saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from forebay.cluster.deployments import find_deployment
from forebay.cluster.errors import ClusterError
from forebay.cluster.predict import build_receiver, reach
from forebay.cluster.probes import Probe, describe_answers, send_for
from forebay.cluster.session import Cluster, Target, connect
from forebay.cluster.wording import describe_ready
from forebay.kube.resources import MODEL_DEPLOYMENT
from forebay.status.conditions import write_time
from forebay.status.pods import find_condition

Json = dict[str, Any]
FAULTS = {"predictor-down": "PredictorDown", "refusing": "Refusing", "slow": "Slow"}
_MERGE_PATCH = "application/merge-patch+json"
_MANAGER = "forebay-cli"
_BEFORE_S = 3.0
_HEALTH = "/v2/health/ready"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be broken, and how. Without a `revision` it is the one that serves."""

    fault: str
    lasts_s: int
    revision: str = ""
    delay: str = ""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The requests that are sent meanwhile: to a `url` of the gateway, or a port of one of its pods."""

    per_s: float
    body: bytes = b""
    path: str = ""
    url: str = ""
    api_key: str = ""


async def choose_revision(target: Target, name: str, wanted: Wanted) -> str:
    """The revision that is to be broken. Raises ClusterError where no drill may be."""
    async with connect(target) as cluster:
        return check_drill(await find_deployment(cluster, name), wanted, flags=target.flags)


def check_drill(deployment: Json, wanted: Wanted, *, flags: str = "") -> str:
    """The revision that is to be broken, of a ModelDeployment that is well. Raises ClusterError where none may be."""
    name, status = deployment["metadata"]["name"], deployment.get("status", {})
    if find_condition(deployment, "Ready").get("status") != "True":
        ready = describe_ready(deployment)
        raise ClusterError(f"{name} is not ready ({ready['reason']}), so nothing more is broken: {ready['message']}")
    if find_condition(deployment, "Drill").get("status") == "True":
        raise ClusterError(f"a drill of {name} is going on: forebay status {name}{flags} tells until when")
    revision = wanted.revision or status.get("activeRevision", "")
    known = [each["revision"] for each in status.get("traffic", ())]
    if revision not in known:
        raise ClusterError(f"{name} has no revision {revision} that gets requests: it has {', '.join(known) or 'none'}")
    return revision


async def drill(target: Target, name: str, wanted: Wanted, load: Load, *, console: Console) -> None:
    """Break it, send requests, tell what became of them, and clear up. Whoever stops this ends the drill."""
    async with connect(target) as cluster:
        deployment = await find_deployment(cluster, name)
        revision = check_drill(deployment, wanted, flags=target.flags)
        if load.url:
            await _run(cluster, deployment, build_probe(deployment, load, base=load.url), (wanted, revision), console)
            return
        async with reach(cluster, deployment) as (base, _):
            await _run(cluster, deployment, build_probe(deployment, load, base=base), (wanted, revision), console)


def build_probe(deployment: Json, load: Load, *, base: str) -> tuple[Probe, float]:
    """What is sent, and how many seconds apart."""
    to = build_receiver(deployment, base=base, api_key=load.api_key)
    default = f"/v2/models/{to.model}/infer" if load.body else _HEALTH
    return Probe(url=to.url + (load.path or default), headers=to.headers, body=load.body), 1 / load.per_s


async def _run(
    cluster: Cluster, deployment: Json, probing: tuple[Probe, float], what: tuple[Wanted, str], console: Console
) -> None:
    (probe, every_s), (wanted, revision) = probing, what
    name = deployment["metadata"]["name"]
    before = await send_for(probe, lasts_s=_BEFORE_S, every_s=every_s)
    written = build_drill(wanted, revision, now=datetime.now(UTC))
    console.print(f"until {written['until']} revision {revision} of {name} is {wanted.fault}", highlight=False)
    await _patch(cluster, name, written)
    try:
        during = await send_for(probe, lasts_s=wanted.lasts_s, every_s=every_s)
    finally:
        await _clear(cluster, name, written)
    for line in (*describe_answers("before", before), *describe_answers("drill", during)):
        console.print(line, highlight=False, soft_wrap=True)


def build_drill(wanted: Wanted, revision: str, *, now: datetime) -> Json:
    """The field as it is written. It ends by itself, should nobody be there to end it."""
    until = now + timedelta(seconds=wanted.lasts_s)
    times = {"since": write_time(now), "until": write_time(until)}
    more = {"delay": wanted.delay} if wanted.delay else {}
    return {"fault": FAULTS[wanted.fault], "revision": revision, **times, **more}


async def _clear(cluster: Cluster, name: str, written: Mapping[str, Any]) -> None:
    """Take it away, unless somebody else has written another."""
    found = await find_deployment(cluster, name)
    if found["spec"].get("drill", {}).items() >= written.items():
        await _patch(cluster, name, None)


async def _patch(cluster: Cluster, name: str, written: Json | None) -> None:
    path = MODEL_DEPLOYMENT.path(namespace=cluster.namespace, name=name)
    body = {"spec": {"drill": written}}
    await cluster.client.write("PATCH", path, body, content_type=_MERGE_PATCH, fieldManager=_MANAGER)
