"""The revisions that are kept of a ModelDeployment, as a command finds them."""

from collections.abc import Mapping
from typing import Any

from forebay.cluster.deployments import list_own
from forebay.cluster.errors import ClusterError
from forebay.cluster.session import Cluster
from forebay.kube.resources import CONTROLLER_REVISION
from forebay.plan.history import Record, find_previous, is_record, list_titles, read_record

Json = dict[str, Any]


async def list_records(cluster: Cluster, deployment: Json) -> dict[str, Record]:
    """Those of a ModelDeployment, by the revisions' names."""
    metadata = deployment["metadata"]
    found = await list_own(cluster, metadata["name"], CONTROLLER_REVISION)
    # Another of its name may have had some.
    own = [each for each in found if _owner_of(each) in (metadata["uid"], "")]
    return {each.name: each for each in map(read_record, filter(is_record, own))}


def choose_record(records: Mapping[str, Record], named: str, deployment: str) -> Record:
    """The revision that is named: r3, or 0a1b2c3d. Raises ClusterError with those that there are."""
    found = [each for each in records.values() if named in (each.name, f"r{each.number}")]
    if not found:
        raise ClusterError(f"there is no revision {named} of {deployment}: there are {list_titles(records)}")
    return found[0]


def find_last_served(records: Mapping[str, Record], status: Mapping[str, Any], deployment: str) -> Record:
    """What the target is rolled back to. Raises ClusterError."""
    target, active = status.get("targetRevision", ""), status.get("activeRevision", "")
    found = find_previous(records, target=target, active=active)
    if found is None:
        raise ClusterError(f"no revision of {deployment} served before {target}: there are {list_titles(records)}")
    return found


def _owner_of(body: Mapping[str, Any]) -> str:
    owners = body["metadata"].get("ownerReferences") or [{"uid": ""}]
    return str(owners[0]["uid"])
