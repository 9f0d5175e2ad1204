"""What `forebay status` shows, from what was found: pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forebay.cluster.wording import build_hint, describe_age, describe_model, describe_pod, describe_ready

Json = dict[str, Any]

_COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
_MOST_EVENTS = 8
# The columns that go on in a second line where the terminal is narrow.
_FOLDED = ("MESSAGE", "URL", "POD", "WORKLOAD")
_CONDITIONS = ("Ready", "Available", "Progressing", "Stalled", "PredictorReady", "TransformerReady")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A ModelDeployment, its pods and its events."""

    deployment: Json
    pods: Sequence[Json]
    events: Sequence[Json]


def build_table(found: Sequence[Json], *, everywhere: bool, now: datetime) -> RenderableType:
    """A line for each, as kubectl has it."""
    where = ("NAMESPACE",) if everywhere else ()
    table = build_grid(*where, "NAME", "READY", "REASON", "INSTANCES", "REVISION", "AGE", "URL")
    for each in found:
        metadata, status, ready = each["metadata"], each.get("status", {}), describe_ready(each)
        table.add_row(
            *((metadata["namespace"],) if everywhere else ()),
            metadata["name"],
            Text(ready["status"], style=_COLOURS.get(ready["status"], "")),
            ready["reason"],
            status.get("instances", ""),
            status.get("activeRevision") or status.get("targetRevision", ""),
            describe_age(metadata["creationTimestamp"], now),
            # `forebay status NAME` tells it in full.
            Text(status.get("url", ""), no_wrap=True, overflow="ellipsis"),
        )
    return table


def build_report(seen: Seen, *, flags: str, now: datetime) -> RenderableType:
    """All about one."""
    deployment, status = seen.deployment, seen.deployment.get("status", {})
    metadata, ready = deployment["metadata"], describe_ready(deployment)
    sentence = Text.assemble(
        (f"{metadata['namespace']}/{metadata['name']} ", "bold"),
        ("is ready" if ready["status"] == "True" else f"is not ready ({ready['reason']})", _COLOURS[ready["status"]]),
    )
    parts: list[RenderableType] = [sentence, Text(ready["message"])]
    if hint := build_hint(ready["reason"], name=metadata["name"], flags=flags):
        parts.append(Text.assemble(("next: ", "dim"), hint))
    facts = build_grid(header=False)
    for name, value in _list_facts(status):
        facts.add_row(Text(name, style="dim"), value)
    parts += [Text(""), facts]
    tables = (
        ("Components", _build_components(status)),
        ("Conditions", _build_conditions(deployment, now)),
        ("Pods", build_pods(seen.pods, now)),
        ("Events", _build_events(seen.events, now)),
    )
    for title, table in tables:
        if table.row_count:
            parts += [Text(f"\n{title}", style="bold"), table]
    return Group(*parts)


def _list_facts(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    active, target = status.get("activeRevision", ""), status.get("targetRevision", "")
    if status.get("url"):
        yield "url", status["url"]
    if status.get("externalUrl"):
        yield "from outside", status["externalUrl"]
    if status.get("instances"):
        yield "instances", f"{status['instances']} ready"
    if active and active == target:
        yield "revision", active
    elif target:
        yield "revision", f"{active or 'none'} serves, {target} is wanted"
    if model := status.get("model"):
        yield "model", f"{model['version']} at {model['uri']}"
    for each in status.get("traffic", []):
        yield "traffic", f"{each['weightPct']} % to {each['revision']} ({each['workload']})"


def _build_components(status: Mapping[str, Any]) -> Table:
    table = build_grid("COMPONENT", "READY", "MODEL", "WORKLOAD", "MESSAGE")
    for each in status.get("components", []):
        model = each.get("model") or {}
        said = describe_model(model) if model else ""
        ready = f"{each['readyReplicas']}/{each['replicas']}"
        table.add_row(each["name"], ready, said, each["workload"], model.get("message", ""))
    return table


def _build_conditions(deployment: Mapping[str, Any], now: datetime) -> Table:
    table = build_grid("CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE")
    conditions = deployment.get("status", {}).get("conditions", [])
    order = {name: index for index, name in enumerate(_CONDITIONS)}
    for each in sorted(conditions, key=lambda condition: order.get(condition["type"], len(order))):
        since = describe_age(each["lastTransitionTime"], now)
        table.add_row(each["type"], each["status"], each["reason"], since, each.get("message", ""))
    return table


def build_pods(pods: Sequence[Json], now: datetime) -> Table:
    """A line for each."""
    table = build_grid("POD", "READY", "STATE", "RESTARTS", "AGE", "NODE")
    for pod in pods:
        metadata, status = pod["metadata"], pod.get("status", {})
        containers = status.get("containerStatuses", [])
        sidecars = [
            each["name"] for each in pod["spec"].get("initContainers", []) if each.get("restartPolicy") == "Always"
        ]
        containers = [
            *containers,
            *(each for each in status.get("initContainerStatuses", []) if each["name"] in sidecars),
        ]
        table.add_row(
            metadata["name"],
            f"{sum(bool(each.get('ready')) for each in containers)}/{len(pod['spec']['containers']) + len(sidecars)}",
            describe_pod(pod),
            str(sum(each.get("restartCount", 0) for each in containers)),
            describe_age(metadata["creationTimestamp"], now),
            pod["spec"].get("nodeName", ""),
        )
    return table


def _build_events(events: Sequence[Json], now: datetime) -> Table:
    table = build_grid("AGE", "TYPE", "REASON", "MESSAGE")
    ordered = sorted(events, key=_find_time)
    for each in ordered[-_MOST_EVENTS:]:
        age, style = describe_age(_find_time(each), now), "yellow" if each.get("type") == "Warning" else ""
        table.add_row(age, Text(each.get("type", ""), style=style), each.get("reason", ""), each.get("message", ""))
    return table


def _find_time(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def build_grid(*titles: str, header: bool = True) -> Table:
    """A table with no lines, whose long columns go on in a second line where the terminal is narrow."""
    table = Table(box=None, show_header=header, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, no_wrap=title not in _FOLDED, overflow="fold")
    return table
