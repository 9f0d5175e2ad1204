"""The resources that Forebay reads and writes, and their paths in the apiserver."""

from typing import NamedTuple


class Resource(NamedTuple):
    """A kind, and where the apiserver has it."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version in its group."""
        return self.api_version.rpartition("/")[2]

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object, or one of its subresources."""
        steps = ["apis" if self.group else "api", self.api_version]
        steps += ["namespaces", namespace] if namespace else []
        return "/" + "/".join([*steps, self.plural, *(step for step in (name, subresource) if step)])


MODEL_DEPLOYMENT = Resource("forebay.dev/v1alpha1", "ModelDeployment", "modeldeployments")
MODEL_VERSION = Resource("forebay.dev/v1alpha1", "ModelVersion", "modelversions")
IMAGE_BUILD = Resource("forebay.dev/v1alpha1", "ImageBuild", "imagebuilds")
SERVICE_ACCOUNT = Resource("v1", "ServiceAccount", "serviceaccounts")
SERVICE = Resource("v1", "Service", "services")
CONFIG_MAP = Resource("v1", "ConfigMap", "configmaps")
NETWORK_POLICY = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGET = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments")
CONTROLLER_REVISION = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
DAEMON_SET = Resource("apps/v1", "DaemonSet", "daemonsets")
AUTOSCALER = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
SCALED_OBJECT = Resource("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
JOB = Resource("batch/v1", "Job", "jobs")
POD = Resource("v1", "Pod", "pods")
LEASE = Resource("coordination.k8s.io/v1", "Lease", "leases")
SECRET = Resource("v1", "Secret", "secrets")
ENDPOINT_SLICE = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
API_SERVICE = Resource("apiregistration.k8s.io/v1", "APIService", "apiservices")
EVENT = Resource("v1", "Event", "events")

# Whose objects these are: what the operator makes, and its own and the gateway's pods.
OURS = "app.kubernetes.io/managed-by=forebay"
OPERATOR_SELECTOR = "app.kubernetes.io/name=forebay,app.kubernetes.io/component=operator"
GATEWAY_SELECTOR = "app.kubernetes.io/name=forebay,app.kubernetes.io/component=gateway"

# All kinds of a ModelDeployment's children, in the order in which they go: who serves before what it serves with.
CHILDREN = (
    AUTOSCALER,
    DEPLOYMENT,
    SERVICE,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
)
# Those of which a cluster may not know the kind.
OPTIONAL_CHILDREN = (SCALED_OBJECT,)
# What is kept of revisions that were, and no part of what runs.
RECORDS = (CONTROLLER_REVISION,)
# What judges a revision for a while.
CHECKS = (JOB,)
# With those of an ImageBuild, and of a ModelVersion.
BY_KIND = {resource.kind: resource for resource in (JOB, DAEMON_SET, *OPTIONAL_CHILDREN, *CHILDREN, *RECORDS)}
