"""What users of Kubernetes, KServe and Seldon write, and what it is called here."""

from forebay.api.rules import Path

_RESOURCES = "write cpu, memory and gpu directly under resources; memory is the limit as well"
_AUTOSCALING = "write autoscaling: {min: ..., max: ..., target: {cpu: 70}}"
_MODEL = "write model: {uri: ...} under spec"

# By the field's name, or by its parent's and its own where it depends.
ADVICE = {
    "storageUri": _MODEL,
    "modelUri": _MODEL,
    "containerConcurrency": "here it is called concurrency",
    "autoscaling.minReplicas": "here it is called min",
    "autoscaling.maxReplicas": "here it is called max",
    "minReplicas": _AUTOSCALING,
    "maxReplicas": _AUTOSCALING,
    "scaleTarget": _AUTOSCALING,
    "scaleMetric": _AUTOSCALING,
    "targetCPUUtilizationPercentage": "write target: {cpu: 70} under autoscaling",
    "targetMemoryUtilizationPercentage": "write target: {memory: 70} under autoscaling",
    "averageUtilization": "write target: {cpu: 70} under autoscaling",
    "scaleUp": "write behavior: {scaleUp: ...} under autoscaling",
    "scaleDown": "write behavior: {scaleDown: ...} under autoscaling",
    "resources.requests": _RESOURCES,
    "resources.limits": _RESOURCES,
    "limits": _RESOURCES,
    "nvidia.com/gpu": "write gpu: {count: 1}",
}

POD_FIELDS = frozenset({
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy",
    "enableServiceLinks", "ephemeralContainers", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostUsers",
    "hostname", "hostnameOverride", "imagePullSecrets", "initContainers", "nodeName", "nodeSelector", "os", "overhead",
    "preemptionPolicy", "priority", "priorityClassName", "readinessGates", "resourceClaims", "resources",
    "restartPolicy", "runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "serviceAccount",
    "serviceAccountName", "setHostnameAsFQDN", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds",
    "tolerations", "topologySpreadConstraints", "volumes", "workloadRef",
})  # fmt: skip
CONTAINER_FIELDS = frozenset({
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports",
    "readinessProbe", "resizePolicy", "resources", "restartPolicy", "restartPolicyRules", "securityContext",
    "startupProbe", "stdin", "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices",
    "volumeMounts", "workingDir",
})  # fmt: skip


def find_advice(path: Path) -> str:
    """What to write instead of an unknown field; empty if nothing is known of it."""
    names = [step for step in path if isinstance(step, str)]
    name = names[-1]
    advice = ADVICE.get(".".join(names[-2:])) or ADVICE.get(name, "")
    if advice or name in ("containers", "resources") or "podTemplate" in names[:-2]:
        return advice
    if name in POD_FIELDS:
        return f"write podTemplate: {{spec: {{{name}: ...}}}} under predictor or transformer"
    if name in CONTAINER_FIELDS - {"args", "command", "env", "image", "name"}:
        return f"write podTemplate: {{spec: {{containers: [{{name: predictor, {name}: ...}}]}}}} under predictor"
    return ""
