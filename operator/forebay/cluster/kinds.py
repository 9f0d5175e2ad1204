"""What only the forebay command needs to know of a cluster: more resources, the namespace, and the oldest version."""

from forebay.kube.resources import Resource

NAMESPACE = Resource("v1", "Namespace", "namespaces")
NODE = Resource("v1", "Node", "nodes")
VOLUME_CLAIM = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
REPLICA_SET = Resource("apps/v1", "ReplicaSet", "replicasets")
CRD = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
ACCESS_REVIEW = Resource("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")

SYSTEM_NAMESPACE = "forebay-system"
# Of Kubernetes 1, as in the chart: native sidecars came with 29, a preStop hook that sleeps without a shell with 30.
OLDEST_MINOR = 30
