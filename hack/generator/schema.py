"""values.schema.json: types and bounds from here, descriptions and defaults from values.yaml.

`examples` are what editors offer, and what the tests set.
"""

from typing import Any

from generator.values import Value

Json = dict[str, Any]

NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
OPTIONAL_NAME = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"
DURATION = r"^([0-9]+(ms|s|m|h))+$"
BOOLEAN: Json = {"type": "boolean"}


def text(pattern: str, *examples: str) -> Json:
    return {"type": "string", "pattern": pattern, "examples": list(examples)}


def number(least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most, "examples": [least]}


def share(example: float) -> Json:
    return {"type": "number", "minimum": 0, "maximum": 1, "examples": [example]}


def choice(*values: str) -> Json:
    return {"type": "string", "enum": list(values)}


def strings(example: Json, pattern: str = "") -> Json:
    """A mapping of names to texts, as labels and annotations are."""
    return {
        "type": "object",
        "additionalProperties": {"type": "string", **({"pattern": pattern} if pattern else {})},
        "examples": [example],
    }


def texts(pattern: str, *example: str) -> Json:
    items = {"type": "string", "pattern": pattern}
    return {"type": "array", "items": items, "uniqueItems": True, "examples": [list(example)]}


def verbatim(kind: str, example: Any) -> Json:
    """A piece of Kubernetes' own API, which the apiserver checks."""
    items = {"items": {"type": "object"}} if kind == "array" else {}
    return {"type": kind, **items, "examples": [example]}


def strict(**properties: Any) -> Json:
    return {"type": "object", "additionalProperties": False, "properties": properties}


QUANTITIES: Json = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
LABELS = strings({"team": "models"}, r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
ANNOTATIONS = strings({"example.com/note": "a text"})
RESOURCES = strict(requests=QUANTITIES, limits=QUANTITIES) | {
    "examples": [{"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "1Gi"}}]
}
TOLERATION = strict(
    key={"type": "string"},
    operator=choice("Exists", "Equal"),
    value={"type": "string"},
    effect=choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
    tolerationSeconds={"type": "integer"},
)
VARIABLE = strict(name={"type": "string", "minLength": 1}, value={"type": "string"}, valueFrom={"type": "object"}) | {
    "required": ["name"]
}
SPREAD = {
    "topologyKey": "kubernetes.io/hostname",
    "maxSkew": 1,
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "forebay"}},
}
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}]
        }
    }
}


def describe_pod(account: str) -> Json:
    """What may be said of the operator's and of the gateway's pods."""
    return {**POD, "serviceAccount": strict(create=BOOLEAN, name=text(OPTIONAL_NAME, account), annotations=ANNOTATIONS)}


POD = {
    "podAnnotations": ANNOTATIONS,
    "podLabels": LABELS,
    "nodeSelector": LABELS,
    "tolerations": {"type": "array", "items": TOLERATION, "examples": [[{"key": "infra", "operator": "Exists"}]]},
    "affinity": verbatim("object", AFFINITY),
    "topologySpreadConstraints": verbatim("array", [SPREAD]),
    "priorityClassName": text(OPTIONAL_NAME, "system-cluster-critical"),
    "podDisruptionBudget": strict(
        enabled=BOOLEAN,
        maxUnavailable={
            "oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]{1,2}%$|^100%$"}],
            "examples": ["50%"],
        },
    ),
    "extraEnv": {"type": "array", "items": VARIABLE, "examples": [[{"name": "HTTPS_PROXY", "value": "http://p:1"}]]},
}
# A tag or a digest, or both: `latest` would be anybody's guess.
IMAGE = text(
    r"^$|^[^\s@]+(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*@sha256:[0-9a-f]{64})$",
    "registry.example.com:5000/forebay/image:1.2.3-rc.1",
    f"registry.example.com/forebay/image@sha256:{'0' * 64}",
)
MODE = choice("Auto", "Enabled", "Disabled")
HOST = r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
WEBHOOK_HOST = r"^[-a-z0-9.*:]+$"
PARENT = {"type": "object", "required": ["name"]}

SERVICE = strict(
    type=choice("ClusterIP", "NodePort", "LoadBalancer"),
    port=number(1, 65535),
    nodePort={"type": "integer", "minimum": 0, "maximum": 65535, "examples": [30080]},
    appProtocol=text(r"^\S*$", "kubernetes.io/h2c"),
    annotations=ANNOTATIONS,
    loadBalancerClass=text(r"^\S*$", "example.com/internal"),
    loadBalancerSourceRanges=texts(r"^[0-9a-f.:]+/[0-9]+$", "10.0.0.0/8", "fd00::/8"),
    externalTrafficPolicy=choice("", "Cluster", "Local"),
)
GATEWAY = strict(
    replicas=number(1, 1000),
    externalUrl=text(r"^(https?://[^\s/]+)?$", "https://models.example.com"),
    drainSeconds=number(1, 3600),
    envoy=strict(concurrency=number(1, 256), resources=RESOURCES),
    pilot=strict(resources=RESOURCES),
    autoscaling=strict(
        enabled=BOOLEAN,
        minReplicas=number(1, 1000),
        maxReplicas=number(1, 1000),
        targetCPUUtilizationPercentage=number(1, 1000),
        behavior=verbatim("object", {"scaleDown": {"stabilizationWindowSeconds": 600}}),
    ),
    service=SERVICE,
    **describe_pod("for-the-gateway"),
)
NODE_CACHE = strict(
    enabled=BOOLEAN,
    sizeLimit=text(r"^[1-9][0-9]{0,14}(\.[0-9]{1,3})?([kMGTP]|[KMGTP]i)?$", "1.5Ti"),
    path=text(r"^/[^\s:]+$", "/mnt/disks/ssd0/forebay"),
    kubeletDir=text(r"^/[^\s:]+$", "/var/snap/microk8s/common/var/lib/kubelet"),
    downloads=number(1, 64),
    namespace=strict(create=BOOLEAN, name=text(OPTIONAL_NAME, "for-the-agent")),
    resources=RESOURCES,
    **{
        name: POD[name]
        for name in ("podAnnotations", "podLabels", "nodeSelector", "tolerations", "priorityClassName", "extraEnv")
    },
)
PROPERTIES: Json = {
    # Helm's own, where the chart is a dependency of another.
    "global": {"type": "object", "description": "Values that a chart above this one shares; none is read."},
    "fullnameOverride": text(r"^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$", "models"),
    "commonLabels": LABELS,
    "watchNamespaces": texts(NAME, "vision", "speech"),
    "clusterDomain": text(NAME, "example.internal"),
    "runAsUser": {"type": ["integer", "null"], "minimum": 1, "examples": [None]},
    "crds": strict(enabled=BOOLEAN, keep=BOOLEAN),
    "images": strict(
        operator=IMAGE, runtime=IMAGE, triton=IMAGE, envoy=IMAGE, pullPolicy=choice("Always", "IfNotPresent", "Never")
    ),
    "imagePullSecrets": {
        "type": "array",
        "items": strict(name={"type": "string", "pattern": NAME}) | {"required": ["name"]},
        "examples": [[{"name": "registry"}]],
    },
    "rbac": strict(create=BOOLEAN, aggregate=BOOLEAN),
    "log": strict(format=choice("json", "text"), level=choice("debug", "info", "warning", "error")),
    "operator": strict(
        replicas=number(1, 100), workers=number(1, 256), resources=RESOURCES, **describe_pod("for-the-operator")
    ),
    "gateway": GATEWAY,
    "autoscaling": strict(
        provider=choice("forebay", "prometheus-adapter", "keda", "none"),
        prometheusUrl=text(r"^(https?://[^/@?# ]+(/[^?# ]*)?)?$", "http://prometheus.monitoring.svc:9090"),
        adapterNamespace=text(OPTIONAL_NAME, "monitoring"),
    )
    # KEDA asks it for every metric.
    | {
        "if": {"properties": {"provider": {"const": "keda"}}},
        "then": {"properties": {"prometheusUrl": {"minLength": 1}}},
    },
    "notifications": strict(
        enabled=BOOLEAN, hosts=texts(WEBHOOK_HOST, "hooks.slack.com", "*.example.com"), secrets=BOOLEAN
    ),
    "metrics": strict(replicas=number(1, 100), resources=RESOURCES, **describe_pod("for-the-metrics")),
    "nodeCache": NODE_CACHE,
    "ingress": strict(
        enabled=BOOLEAN,
        className=text(OPTIONAL_NAME, "nginx"),
        annotations=ANNOTATIONS,
        hosts=texts(HOST, "models.example.com", "*.models.example.com"),
        tls={
            "type": "array",
            "items": strict(secretName={"type": "string"}, hosts=texts(HOST)),
            "examples": [[{"secretName": "models-tls", "hosts": ["models.example.com"]}]],
        },
    ),
    "httpRoute": strict(
        enabled=BOOLEAN,
        annotations=ANNOTATIONS,
        parentRefs={"type": "array", "items": PARENT, "examples": [[{"name": "public", "namespace": "infra"}]]},
        hostnames=texts(HOST, "models.example.com"),
    )
    # A route that belongs to no Gateway would do nothing.
    | {
        "if": {"properties": {"enabled": {"const": True}}},
        "then": {"properties": {"parentRefs": {"minItems": 1}}},
    },
    "networkPolicy": strict(enabled=BOOLEAN, **{"from": verbatim("array", [{"ipBlock": {"cidr": "10.0.0.0/8"}}])}),
    "mlflow": strict(
        trackingUri=text(r"^(https?://[^/@?# ]+(/[^?# ]*)?)?$", "http://mlflow.mlflow.svc:5000/prefix"),
        intervalSeconds=number(1, 86400),
        secretName=text(OPTIONAL_NAME, "mlflow"),
    ),
    "monitoring": strict(
        scrapeNamespace=text(OPTIONAL_NAME, "monitoring"),
        monitors=MODE,
        rules=MODE,
        dashboard=MODE,
        labels=LABELS,
        dashboardLabels=LABELS,
        interval=text(DURATION, "1m"),
        alerts=strict(
            notReadyFor=text(DURATION, "1h"),
            rejectedRatio=share(0.2),
            errorRatio=share(0.2),
            latencySeconds={"type": "number", "exclusiveMinimum": 0, "examples": [0.25]},
        ),
    ),
}


def build_schema(values: list[Value]) -> Json:
    """The schema, with what values.yaml says of each value. Both must know the same values."""
    described = {each.path: each for each in values}
    schema = strict(**_describe("", PROPERTIES, described))
    if described:
        raise ValueError(f"values.yaml has values that hack/generator/schema.py doesn't know: {', '.join(described)}")
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart forebay", **schema}


def _describe(path: str, properties: Json, described: dict[str, Value]) -> Json:
    result: Json = {}
    for name, schema in properties.items():
        here = f"{path}.{name}".strip(".")
        if value := described.pop(here, None):
            result[name] = {"description": value.description, **schema, "default": value.default}
        elif "description" in schema:
            result[name] = schema
        elif "properties" in schema:
            result[name] = {**schema, "properties": _describe(here, schema["properties"], described)}
        else:
            raise ValueError(f"{here} is in hack/generator/schema.py, but values.yaml doesn't have or explain it")
    return result
