"""Resources that only the forebay command reads or writes."""

from forebay.kube.resources import Resource

NAMESPACE = Resource("v1", "Namespace", "namespaces")
NODE = Resource("v1", "Node", "nodes")
VOLUME_CLAIM = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
REPLICA_SET = Resource("apps/v1", "ReplicaSet", "replicasets")
CRD = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
ACCESS_REVIEW = Resource("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")

SYSTEM_NAMESPACE = "forebay-system"
