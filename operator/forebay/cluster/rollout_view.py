"""What `forebay rollout` shows, in sections: who gets which share of the requests, and what is waited for. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forebay.cluster.deployments import is_current
from forebay.cluster.report import build_grid, build_pods
from forebay.cluster.wording import describe_age, describe_ready
from forebay.observation import UNUSABLE_REASONS
from forebay.status.pods import find_condition

Json = dict[str, Any]

# What doesn't go on by itself.
_ENDS = {"Aborted": "was aborted", "Failed": "failed"}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A ModelDeployment, its Deployments and its pods, at a time."""

    deployment: Json
    workloads: Sequence[Json]
    pods: Sequence[Json]
    now: datetime

    @property
    def status(self) -> Json:
        """The ModelDeployment's."""
        found: Json = self.deployment.get("status", {})
        return found

    @property
    def rollout(self) -> Json:
        """That of the rollout; empty where none is under way by steps."""
        found: Json = self.status.get("rollout") or {}
        return found


Section = Callable[[Seen], RenderableType | None]


def build_view(seen: Seen) -> RenderableType:
    """All sections that have something to show."""
    return Group(*(part for section in SECTIONS if (part := section(seen)) is not None))


def is_over(deployment: Mapping[str, Any]) -> bool:
    """Whether what the spec asks for now gets all requests."""
    status = deployment.get("status", {})
    traffic = [each["revision"] for each in status.get("traffic", ())]
    is_served = not status.get("rollout") and traffic == [status.get("targetRevision")]
    return is_current(deployment) and is_served and not _is_unusable(deployment)


def find_end(deployment: Mapping[str, Any]) -> str:
    """Why it won't be over by itself, and who serves, in words; empty where it may."""
    if not is_current(deployment):
        return ""
    if _is_unusable(deployment) and find_condition(deployment, "Stalled").get("status") == "True":
        return f"can't begin: {describe_ready(deployment)['message']}"
    status = deployment.get("status", {})
    end = _ENDS.get((status.get("rollout") or {}).get("phase", ""))
    return f"{end}: {status.get('activeRevision')} serves" if end else ""


def _is_unusable(deployment: Mapping[str, Any]) -> bool:
    """Whether the spec can't be used: what serves then isn't what it asks for."""
    return describe_ready(deployment)["reason"] in UNUSABLE_REASONS


def build_line(seen: Seen) -> str:
    """The same in one line, for a log."""
    shares = ", ".join(
        f"{row.revision} {row.weight_pct} %{f' ({row.actual} routed)' if row.actual else ''} {row.instances}".rstrip()
        for row in list_revisions(seen)
    )
    return f"{_describe_place(seen)}: {shares}: {describe_ready(seen.deployment)['message']}"


def _describe_place(seen: Seen) -> str:
    rollout = seen.rollout
    if not rollout:
        return "no steps under way"
    return f"{_name_step(rollout)}{rollout['phase']}"


def _build_head(seen: Seen) -> RenderableType:
    metadata = seen.deployment["metadata"]
    head = Text.assemble((f"{metadata['namespace']}/{metadata['name']} ", "bold"), _describe_place(seen))
    return Group(head, Text(describe_ready(seen.deployment)["message"]), Text(""))


def _build_facts(seen: Seen) -> RenderableType | None:
    facts = build_grid(header=False)
    for name, value in _list_facts(seen.status, seen.now):
        facts.add_row(Text(name, style="dim"), value)
    return facts if facts.row_count else None


def _name_step(rollout: Mapping[str, Any]) -> str:
    return f"step {rollout['step']} of {rollout['steps']}, " if rollout["steps"] else ""


def _list_facts(status: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str]]:
    rollout, warm = status.get("rollout") or {}, status.get("warm") or {}
    if since := rollout.get("since"):
        yield "since", f"{since} ({describe_age(since, now)})"
    if until := rollout.get("until"):
        left_s = (datetime.fromisoformat(until) - now).total_seconds()
        yield (
            "deadline" if rollout.get("heldSince") else "next step",
            f"{until} (in {left_s:.0f}s)" if left_s > 0 else until,
        )
    if held_since := rollout.get("heldSince"):
        yield "held", f"requests wait since {held_since}"
    if preview := rollout.get("preview"):
        yield "preview", preview
    if rollout.get("attempt", 1) > 1:
        yield "attempt", str(rollout["attempt"])
    if analysis := rollout.get("analysis"):
        yield "analysis", f"{analysis['verdict']}: {analysis['message']}"
    if warm:
        yield "warm", f"{warm['revision']} until {warm.get('until') or 'it serves again'}"


def _build_steps(seen: Seen) -> RenderableType | None:
    """The steps, while one is under way: those that are over, the present one, and those to come."""
    steps = ((seen.deployment["spec"].get("rollout") or {}).get("canary") or {}).get("steps", ())
    if not seen.rollout or not steps:
        return None
    table, here = build_grid("STEP", "WEIGHT", "PAUSE", ""), seen.rollout["step"]
    for number, step in enumerate(steps, start=1):
        mark = "done" if number < here else seen.rollout["phase"] if number == here else ""
        pause = step.get("pause", "until promoted")
        table.add_row(str(number), _show_share(step), pause, mark, style="bold" if number == here else "dim")
    return Group(table, Text(""))


def _show_share(step: Mapping[str, Any]) -> str:
    return f"{step['weight']} %" if "weight" in step else f"copies of {step['shadow']} %"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A revision that gets requests or is to. `actual` is the share that the gateway gives it, where that is known."""

    revision: str
    role: str
    weight_pct: int
    actual: str
    instances: str
    workloads: str


def list_revisions(seen: Seen) -> Iterator[Row]:
    """Who serves first; what the gateway gives is known of the new one."""
    counts = {each["metadata"]["name"]: _count(each) for each in seen.workloads}
    status, rollout, target = seen.status, seen.rollout, seen.status.get("targetRevision", "")
    routed = rollout.get("routedPct")
    rows = {each["revision"]: (each["weightPct"], each["workloads"]) for each in status.get("traffic", ())}
    if target and target not in rows:
        rows[target] = (0, [each["workload"] for each in status.get("components", ())])
    for revision, (weight_pct, names) in rows.items():
        yield Row(
            revision=revision,
            role="new" if revision == target and rollout else "serves",
            weight_pct=weight_pct,
            actual="" if routed is None else f"{routed if revision == target else 100 - routed} %",
            instances=", ".join(counts.get(name, "gone") for name in names),
            workloads=", ".join(names),
        )


def _build_revisions(seen: Seen) -> RenderableType:
    table = build_grid("REVISION", "ROLE", "WANTED", "ACTUAL", "INSTANCES", "WORKLOADS")
    for row in list_revisions(seen):
        table.add_row(row.revision, row.role, f"{row.weight_pct} %", row.actual, row.instances, row.workloads)
    return table


def _build_pods(seen: Seen) -> RenderableType | None:
    table: Table = build_pods(seen.pods, seen.now)
    return Group(Text(""), table) if table.row_count else None


def _count(deployment: Json) -> str:
    return f"{deployment.get('status', {}).get('readyReplicas', 0)}/{deployment['spec'].get('replicas', 1)}"


# In the order in which they are shown.
SECTIONS: tuple[Section, ...] = (_build_head, _build_facts, _build_steps, _build_revisions, _build_pods)
