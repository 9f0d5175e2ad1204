"""`forebay history` and `forebay diff`: the revisions that were rolled out, and what changed between them."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forebay.api.dump import Dumper
from forebay.cluster.deployments import find_deployment, list_workloads
from forebay.cluster.errors import ClusterError
from forebay.cluster.records import choose_record, list_records
from forebay.cluster.report import build_grid
from forebay.cluster.session import Target, connect
from forebay.cluster.wording import describe_age
from forebay.plan.history import Outcome, Record, list_latest

Json = dict[str, Any]

_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_DIGEST_LETTERS = len("sha256:") + 12


async def show_history(target: Target, name: str, *, as_json: bool, console: Console) -> None:
    """Print the revisions, the latest first."""
    async with connect(target) as cluster:
        found = await find_deployment(cluster, name)
        records = await list_records(cluster, found)
        workloads = await list_workloads(cluster, name)
    ordered = list_latest(records)
    states = find_states(ordered, found.get("status", {}), workloads)
    if as_json:
        console.file.write(json.dumps([dump_record(each, states[each.name]) for each in ordered], indent=1) + "\n")
    elif not ordered:
        console.print(f"no revision of {name} was rolled out yet", highlight=False)
    else:
        console.print(build_history(ordered, states, now=datetime.now(UTC)), markup=False, highlight=False)


async def show_diff(target: Target, name: str, before: str, after: str, *, console: Console) -> None:
    """Print what changed between two revisions. Raises ClusterError where one isn't kept."""
    async with connect(target) as cluster:
        found = await find_deployment(cluster, name)
        records = await list_records(cluster, found)
    active = found.get("status", {}).get("activeRevision")
    if not after and not active:
        raise ClusterError(f"nothing serves yet: write forebay diff {name} {before} REVISION")
    one, other = choose_record(records, before, name), choose_record(records, after or active, name)
    lines = list(build_diff(one, other))
    for line in lines:
        console.print(Text(line, style=_STYLES.get(line[:1], "")), soft_wrap=True)
    if not lines:
        said = (
            f"{one.title} and {other.title} have the same spec: the version of Forebay, its settings or labels differ"
        )
        console.print(f"{one.title} is {other.title}" if one is other else said, highlight=False)


def find_states(records: Sequence[Record], status: Mapping[str, Any], workloads: Sequence[Json]) -> dict[str, str]:
    """What each revision does now, by its name."""
    ready = {each["metadata"]["name"] for each in workloads if each.get("status", {}).get("readyReplicas")}
    return {each.name: _find_state(each, status, ready) for each in records}


def _find_state(record: Record, status: Mapping[str, Any], ready: set[str]) -> str:
    shares = {each["revision"]: each["weightPct"] for each in status.get("traffic", ())}
    is_target = record.name == status.get("targetRevision")
    if record.name in shares:
        share = shares[record.name]
        return "serving" if share == 100 else f"{'target' if is_target else 'serving'} {share} %"
    if record.outcome in (Outcome.ABORTED, Outcome.FAILED):
        return record.outcome.lower()
    if is_target:
        return "target"
    return "warm" if ready.issuperset(record.data.get("workloads") or [""]) else "-"


def build_history(records: Sequence[Record], states: Mapping[str, str], *, now: datetime) -> Table:
    """A line for each."""
    table = build_grid("NUMBER", "REVISION", "AGE", "WHO", "MODEL", "STATE", "CAUSE")
    for each in records:
        age = describe_age(each.change.at, now) if each.change.at else ""
        model, state = describe_model(each), states[each.name]
        table.add_row(f"r{each.number}", each.name, age, each.change.by, model, state, each.change.cause)
    return table


def describe_model(record: Record) -> str:
    """The model's version, or where it is, and the digest of its content where that is known."""
    version, source = record.version, record.data["spec"].get("model") or {}
    if version is None:
        return str(source.get("uri", ""))
    return f"{version.reference} {version.digest[:_DIGEST_LETTERS]}".rstrip()


def dump_record(record: Record, state: str) -> Json:
    """A revision for programs."""
    return {
        "number": record.number,
        "revision": record.name,
        "rolledOutAt": record.change.at,
        "changedBy": record.change.by,
        "cause": record.change.cause,
        "outcome": record.outcome,
        "state": state,
        "model": record.data.get("model") or {},
        "spec": record.data["spec"],
    }


def build_diff(one: Record, other: Record) -> Iterator[str]:
    """The lines of a unified diff; none where there is no difference."""
    before, after = (_write(each).splitlines() for each in (one, other))
    return difflib.unified_diff(before, after, fromfile=one.title, tofile=other.title, lineterm="")


def _write(record: Record) -> str:
    """As the spec has it, with the version that was meant."""
    version = {"version": record.data["model"]} if record.data.get("model") else {}
    return yaml.dump({"spec": record.data["spec"], **version}, Dumper=Dumper, sort_keys=True, width=116)
