"""The members of a cluster in a file that Envoy watches (EDS)."""

import json
from collections.abc import Iterable
from pathlib import Path

from forebay.plan.envoy import Address, EndpointFile, build_assignment

_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


class Endpoints:
    """One cluster's endpoint file."""

    def __init__(self, path: Path, *, cluster: str) -> None:
        self._path = path
        self._cluster = cluster
        self._version = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write([])

    @property
    def members(self) -> EndpointFile:
        """What the Envoy builders take."""
        return EndpointFile(str(self._path))

    def write(self, addresses: Iterable[Address]) -> None:
        """Replace the members. Envoy sees the rename at once."""
        self._version += 1
        assignment = {"@type": _TYPE, **build_assignment(self._cluster, addresses)}
        content = {"version_info": str(self._version), "resources": [assignment]}
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(content))
        draft.rename(self._path)
