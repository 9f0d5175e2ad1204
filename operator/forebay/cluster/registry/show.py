"""`forebay models` and `forebay compare`: the registry as tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from forebay.cluster.wording import describe_age
from forebay.plan.versions import Version, read_version, sort_versions

Json = dict[str, Any]


def build_models_table(bodies: Sequence[Json], deployments: Sequence[Json]) -> Table:
    """A line for each model."""
    table = Table("MODEL", "VERSIONS", "LATEST", "ALIASES", "SERVED BY", box=None, pad_edge=False)
    models: defaultdict[str, list[Version]] = defaultdict(list)
    for each in sort_versions(map(read_version, bodies)):
        models[each.model].append(each)
    for model, versions in models.items():
        aliases = [f"{alias}={each.version}" for each in versions for alias in sorted(each.aliases)]
        served = _list_users(deployments, f"{model}:", exact=False)
        table.add_row(model, str(len(versions)), versions[0].version, ", ".join(aliases), served)
    return table


def build_versions_table(bodies: Sequence[Json], deployments: Sequence[Json], now: datetime) -> Table:
    """A line for each version of a model, with what was measured of it."""
    metrics = list(dict.fromkeys(name for each in bodies for name in each["spec"].get("metrics", {})))
    heads = ("VERSION", "ALIASES", *(name.upper() for name in metrics), "FORMAT", "SERVED BY", "AGE", "URI")
    table = Table(*heads, box=None, pad_edge=False)
    by_reference = {read_version(each).reference: each for each in bodies}
    for version in sort_versions(map(read_version, bodies)):
        body = by_reference[version.reference]
        measured = [show_number(body["spec"].get("metrics", {}).get(name)) for name in metrics]
        table.add_row(
            version.version,
            ", ".join(sorted(version.aliases)),
            *measured,
            body["spec"].get("format", ""),
            _list_users(deployments, version.reference, exact=True),
            describe_age(body["metadata"]["creationTimestamp"], now),
            version.uri,
        )
    return table


def build_comparison(one: Json, other: Json) -> Table:
    """What was measured of two versions, side by side, and what differs of all else."""
    references = [read_version(each).reference for each in (one, other)]
    table = Table("", *references, "DIFFERENCE", box=None, pad_edge=False)
    left, right = (each["spec"].get("metrics", {}) for each in (one, other))
    for name in dict.fromkeys([*left, *right]):
        table.add_row(name, show_number(left.get(name)), show_number(right.get(name)), _subtract(left, right, name))
    for field in ("format", "inputs", "outputs", "labels"):
        shown = [describe_field(each["spec"].get(field)) for each in (one, other)]
        if any(shown):
            table.add_row(field, *shown, "" if one["spec"].get(field) == other["spec"].get(field) else "differ")
    digests = [one["spec"].get("digest", ""), other["spec"].get("digest", "")]
    same = "" if digests[0] != digests[1] else "the same content"
    table.add_row("digest", *(each.removeprefix("sha256:")[:12] for each in digests), same)
    return table


def describe_field(value: Any) -> str:
    """A signature or labels in a few words."""
    if not isinstance(value, list):
        return str(value or "")
    if any(isinstance(each, str) for each in value):
        return f"{len(value)} labels"
    return ", ".join(f"{each['name']} {each['dataType']}{each['shape']}" for each in value)


def show_number(value: float | None) -> str:
    """A number with as many digits as tell something."""
    return "" if value is None else f"{value:.6g}"


def _subtract(left: Mapping[str, float], right: Mapping[str, float], name: str) -> str:
    return f"{right[name] - left[name]:+.6g}" if name in left and name in right else ""


def _list_users(deployments: Sequence[Json], reference: str, *, exact: bool) -> str:
    """The ModelDeployments that serve it, by what they say themselves."""
    serving = {each["metadata"]["name"]: each.get("status", {}).get("model", {}).get("version") for each in deployments}
    using = [name for name, used in serving.items() if used and used.startswith(reference)]
    return ", ".join(sorted(name for name in using if not exact or serving[name] == reference))
