"""The node's agent in the chart: off unless asked for, and where it is, whole."""

from forebay.node.driver import NAME
from forebay.node.options import read_options
from forebay.plan.model_volume import build_cache_volume
from tests.chart.charts import NAMESPACE, PROMETHEUS, containers, find, nest, of_kind, render

ON = {"nodeCache.enabled": True}


def test_there_is_none_unless_it_is_wanted():
    manifests = render()
    assert not of_kind(manifests, "DaemonSet", "CSIDriver", "Namespace")
    (operator,) = containers(find(manifests, "Deployment", "operator"))
    assert {"name": "FOREBAY_NODE_CACHE", "value": "false"} in operator["env"]


def test_the_agent_takes_its_arguments():
    values = ON | {"nodeCache.sizeLimit": "1.5Ti", "nodeCache.path": "/disk/f", "nodeCache.kubeletDir": "/k/kubelet"}
    (agent,) = containers(find(render(nest(values)), "DaemonSet"))
    options = read_options(agent["args"])
    assert options.limit_bytes == 3 * 1024**4 // 2
    mounts = {each["name"]: each for each in agent["volumeMounts"]}
    assert (str(options.root), str(options.kubelet)) == (mounts["cache"]["mountPath"], mounts["kubelet"]["mountPath"])
    # What it mounts is seen by the kubelet.
    assert mounts["kubelet"]["mountPropagation"] == "Bidirectional"
    assert agent["ports"] == [{"name": "metrics", "containerPort": options.port}]


def test_its_privileges_are_in_a_namespace_of_its_own():
    manifests = render(nest(ON))
    namespace = find(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    own = namespace["metadata"]["name"]
    assert own != NAMESPACE
    assert find(manifests, "DaemonSet")["metadata"]["namespace"] == own
    role = find(manifests, "ClusterRole", "forebay-node")
    assert "secrets" not in str(role["rules"])
    (agent,) = containers(find(manifests, "DaemonSet"))
    privileged = [
        container["name"]
        for workload in of_kind(manifests, "Deployment", "DaemonSet")
        for container in containers(workload)
        if container["securityContext"].get("privileged")
    ]
    assert privileged == [agent["name"]]


def test_a_namespace_of_somebody_elses():
    manifests = render(nest(ON | {"nodeCache.namespace.create": False, "nodeCache.namespace.name": "storage"}))
    assert not of_kind(manifests, "Namespace")
    assert find(manifests, "DaemonSet")["metadata"]["namespace"] == "storage"


def test_pods_find_the_driver():
    driver = find(render(nest(ON)), "CSIDriver")
    volume = build_cache_volume("s3://b/m", digest="", secret_name="")
    assert driver["metadata"]["name"] == NAME == volume["csi"]["driver"]
    assert driver["spec"]["volumeLifecycleModes"] == ["Ephemeral"]


def test_it_is_scraped():
    monitor = find(render(nest(ON), apis=PROMETHEUS), "PodMonitor", "node")
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == ["forebay-node"]
