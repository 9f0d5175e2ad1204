"""The workloads of a ModelDeployment with their pod templates, and the names that follow from these.

A workload is named by its content: another pod template is another workload, beside the one that serves.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from forebay.plan.envoy import DnsName, Json
from forebay.plan.names import QUEUE_PORT, WORKLOAD_LABEL, Role, build_labels, cut_digest, digest
from forebay.plan.pods import build_pod_template
from forebay.plan.providers import provide
from forebay.plan.resolve import Serving, Workload
from forebay.plan.site import Site


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A workload, its name, and the template of its pods."""

    workload: Workload
    name: str
    template: Json

    @property
    def role(self) -> Role:
        """What it is in its ModelDeployment."""
        return self.workload.role


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What serves together: switched as one. `workloads` are in the order of calls' answers, the predictor first."""

    name: str
    workloads: tuple[Planned, ...]

    @property
    def entry(self) -> Planned:
        """What the gateway sends requests to."""
        return self.workloads[-1]


def build_revision(serving: Serving, site: Site) -> Revision:
    """The workloads that a ModelDeployment asks for."""
    planned: list[Planned] = []
    for workload in (provide(each, site) for each in serving.workloads):
        # The transformer of a revision calls the predictor of the same revision.
        members = [
            DnsName(f"{each.name}.{serving.namespace}.svc.{site.cluster_domain}", QUEUE_PORT) for each in planned
        ]
        planned.append(_plan(workload, build_pod_template(workload, site, predictors=members)))
    return Revision(name=digest([each.name for each in planned]), workloads=tuple(planned))


def take_for_following(revision: Revision, names: Iterable[str]) -> list[Planned]:
    """Workloads of another revision, of which only their names are known, taken for those that are to follow them: as
    these they are scaled. Those that nothing follows are left out.
    """
    following = {cut_digest(each.name): each for each in revision.workloads}
    return [replace(following[cut_digest(name)], name=name) for name in names if cut_digest(name) in following]


def _plan(workload: Workload, template: Json) -> Planned:
    name = f"{workload.deployment}-{workload.role}-{digest(template)}"
    labels = build_labels(deployment=workload.deployment, role=workload.role) | {WORKLOAD_LABEL: name}
    metadata = {**template["metadata"], "labels": {**template["metadata"]["labels"], **labels}}
    return Planned(workload=workload, name=name, template={**template, "metadata": metadata})
