"""Resources that only the forebay command reads or writes."""

from forebay.kube.resources import Resource

NAMESPACE = Resource("v1", "Namespace", "namespaces")
NODE = Resource("v1", "Node", "nodes")
SECRET = Resource("v1", "Secret", "secrets")
VOLUME_CLAIM = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
REPLICA_SET = Resource("apps/v1", "ReplicaSet", "replicasets")
CRD = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
ACCESS_REVIEW = Resource("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")

OPERATOR_SELECTOR = "app.kubernetes.io/name=forebay,app.kubernetes.io/component=operator"
GATEWAY_SELECTOR = "app.kubernetes.io/name=forebay,app.kubernetes.io/component=gateway"
SYSTEM_NAMESPACE = "forebay-system"
