"""Who may reach the pods: the gateway, the transformer its predictor, and who reads metrics."""

from forebay.plan import names
from forebay.plan.envoy import Json
from forebay.plan.names import Role, build_labels
from forebay.plan.resolve import Workload
from forebay.plan.site import Site


def build_network_policy_spec(workload: Workload, site: Site) -> Json:
    """The spec of the NetworkPolicy of a workload's pods. The kubelet's probes always pass."""
    callers = [_from_site(site, "gateway")]
    if workload.role is Role.PREDICTOR:
        # Also where there is none any more: the policy is one for all revisions, of which the last may still serve.
        transformer = build_labels(deployment=workload.deployment, role=Role.TRANSFORMER)
        callers.append({"podSelector": {"matchLabels": transformer}})
    readers = [_from_site(site, "operator"), _from_site(site, "metrics")]
    if site.scrape_namespace:
        readers.append({"namespaceSelector": _namespace(site.scrape_namespace)})
    return {
        "podSelector": {"matchLabels": _labels(workload)},
        "policyTypes": ["Ingress"],
        "ingress": [_allow(callers, port=names.QUEUE_PORT), _allow(readers, port=names.METRICS_PORT)],
    }


def _labels(workload: Workload) -> dict[str, str]:
    return build_labels(deployment=workload.deployment, role=workload.role)


def _allow(peers: list[Json], *, port: int) -> Json:
    return {"from": peers, "ports": [{"protocol": "TCP", "port": port}]}


def _from_site(site: Site, component: str) -> Json:
    labels = {"app.kubernetes.io/name": "forebay", names.COMPONENT_LABEL: component}
    return {"namespaceSelector": _namespace(site.namespace), "podSelector": {"matchLabels": labels}}


def _namespace(name: str) -> Json:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}
