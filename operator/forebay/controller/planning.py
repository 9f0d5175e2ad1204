"""The plan of a ModelDeployment, made once per generation for as long as it is being worked on."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.api import ModelDeployment
from forebay.plan.manifests import build_manifests
from forebay.plan.resolve import Serving, resolve
from forebay.plan.site import Site
from forebay.plan.versions import Version, pin
from forebay.plan.workloads import Revision, build_revision

Json = dict[str, Any]
# A plan is made in milliseconds, but an object that begins is looked at several times within seconds.
_MOST = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a ModelDeployment asks for. `version` is the ModelVersion that it names, if it does."""

    serving: Serving
    target: Revision
    manifests: Sequence[Json]
    version: Version | None = None


class Planner:
    """Makes plans, and remembers the last ones."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: OrderedDict[tuple[object, ...], Plan] = OrderedDict()

    def plan(self, body: Mapping[str, Any], version: Version | None = None) -> Plan:
        """The plan of an object as the apiserver keeps it, with the version that it names; pydantic's ValidationError
        if it can't be read.
        """
        metadata = body["metadata"]
        # Labels and the version are part of the plan, and change without a new generation.
        labels = str(sorted(metadata.get("labels", {}).items()))
        key = (metadata["uid"], metadata["generation"], labels, version and version.content)
        if key not in self._made:
            self._made[key] = self._make(body, version)
            if len(self._made) > _MOST:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def _make(self, body: Mapping[str, Any], version: Version | None) -> Plan:
        spec_only = {name: value for name, value in body.items() if name != "status"}
        read = ModelDeployment.model_validate(spec_only, strict=True, by_alias=True, by_name=False)
        serving = resolve(pin(read, version) if version else read)
        target = build_revision(serving, self._site)
        manifests = build_manifests(serving, self._site, target)
        return Plan(serving=serving, target=target, manifests=manifests, version=version)
