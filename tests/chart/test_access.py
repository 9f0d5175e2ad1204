"""RBAC of the chart: what each part may do, and where."""

import pytest

from tests.chart.charts import NAMESPACE, Json, of_kind, render

READ = {"get", "list", "watch"}
CHILDREN = {
    "configmaps",
    "controllerrevisions",
    "deployments",
    "horizontalpodautoscalers",
    "jobs",
    "networkpolicies",
    "poddisruptionbudgets",
    "serviceaccounts",
    "services",
}
OPERATOR = {
    "modeldeployments": READ,
    "modeldeployments/status": {"patch", "update"},
    "modelversions": READ,
    "modelversions/status": {"patch", "update"},
    "imagebuilds": READ,
    "imagebuilds/status": {"patch", "update"},
    **{child: READ | {"create", "patch", "delete"} for child in CHILDREN},
    "daemonsets": {"get", "create", "patch", "delete"},
    "deployments/scale": {"patch"},
    "pods": READ,
    "pods/log": {"get"},
    "events": {"create", "patch"},
}
GATEWAY = {
    "modeldeployments": READ,
    "endpointslices": READ,
    "secrets": {"get"},
    "deployments/scale": {"get", "patch"},
}
METRICS = {"pods": READ}
REGISTERING = {"apiservices": {"get", "patch"}}
OWN = {"leases": {"create", "get", "update"}, "pods": READ}


def read_rules(role: Json) -> dict[str, set[str]]:
    rules: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            rules.setdefault(resource, set()).update(rule["verbs"])
    return rules


def read_roles(manifests: list[Json]) -> dict[tuple[str, str], dict[str, set[str]]]:
    """Rules by namespace (empty: the cluster) and name."""
    return {
        (each["metadata"].get("namespace", ""), each["metadata"]["name"]): read_rules(each)
        for each in of_kind(manifests, "Role", "ClusterRole")
    }


def test_a_cluster_has_one_role_each():
    roles = read_roles(render({"rbac": {"aggregate": False}}))
    assert roles == {
        ("", "forebay-operator"): OPERATOR,
        ("", "forebay-gateway"): GATEWAY,
        ("", "forebay-metrics"): METRICS,
        ("", "forebay-metrics-api"): REGISTERING,
        (NAMESPACE, "forebay-operator-own"): OWN,
        (NAMESPACE, "forebay-metrics-own"): {"secrets": {"get", "patch"}},
    }


def test_secrets_are_read_for_webhooks_alone_and_only_where_that_is_wanted():
    secrets = {"secrets": {"get"}}
    wanted = read_roles(render({"notifications": {"secrets": True}}))
    assert wanted["", "forebay-operator"] == OPERATOR | secrets
    for off in ({"enabled": False}, {"hosts": []}):
        assert read_roles(render({"notifications": {"secrets": True, **off}}))["", "forebay-operator"] == OPERATOR


def test_who_serves_no_metrics_may_read_none():
    roles = read_roles(render({"autoscaling": {"provider": "none"}, "watchNamespaces": ["vision"]}))
    assert not [name for _, name in roles if "metrics" in name]


def test_namespaces_have_roles_of_their_own():
    manifests = render({"watchNamespaces": ["vision", "speech"]})
    assert read_roles(manifests) == {
        ("speech", "forebay-operator"): OPERATOR,
        ("speech", "forebay-gateway"): GATEWAY,
        ("vision", "forebay-operator"): OPERATOR,
        ("vision", "forebay-gateway"): GATEWAY,
        ("speech", "forebay-metrics"): METRICS,
        ("vision", "forebay-metrics"): METRICS,
        # The API is the cluster's.
        ("", "forebay-metrics-api"): REGISTERING,
        (NAMESPACE, "forebay-metrics-own"): {"secrets": {"get", "patch"}},
        (NAMESPACE, "forebay-operator-own"): OWN,
        (NAMESPACE, "forebay-gateway-own"): {"endpointslices": READ},
    }
    kinds = {each["kind"] for each in manifests if "namespace" not in each["metadata"]}
    assert kinds == {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "APIService"}


def test_the_lease_is_its_own():
    own = next(each for each in of_kind(render(), "Role") if each["metadata"]["name"] == "forebay-operator-own")
    named = [rule for rule in own["rules"] if rule["resources"] == ["leases"] and rule["verbs"] != ["create"]]
    assert [rule["resourceNames"] for rule in named] == [["forebay-operator"]]


def test_who_edits_a_namespace_edits_its_models():
    roles = {each["metadata"]["name"]: each for each in of_kind(render(), "ClusterRole")}
    view, edit = roles["forebay-view"], roles["forebay-edit"]
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key.removeprefix(prefix) for key in view["metadata"]["labels"] if prefix in key} == {
        "view",
        "edit",
        "admin",
    }
    assert {key.removeprefix(prefix) for key in edit["metadata"]["labels"] if prefix in key} == {"edit", "admin"}
    assert read_rules(view) == {
        "modeldeployments": READ,
        "modeldeployments/scale": {"get"},
        "modelversions": READ,
        "imagebuilds": READ,
        "nodecaches": READ,
    }
    assert "patch" in read_rules(edit)["modelversions"]
    assert "patch" in read_rules(edit)["modeldeployments/scale"]


@pytest.mark.parametrize("watched", [[], ["vision"]])
def test_none_where_somebody_else_makes_them(watched: list[str]):
    kinds = {each["kind"] for each in render({"rbac": {"create": False}, "watchNamespaces": watched})}
    assert not {kind for kind in kinds if "Role" in kind}


def test_nothing_is_allowed_wholesale():
    for role in of_kind(render(), "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
