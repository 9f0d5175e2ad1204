"""RBAC of the chart: what each part may do, and where."""

import pytest

from tests.chart.charts import NAMESPACE, Json, of_kind, render

READ = {"get", "list", "watch"}
CHILDREN = {
    "configmaps",
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
    "pods": READ,
    "pods/log": {"get"},
    "events": {"create", "patch"},
}
GATEWAY = {"modeldeployments": READ, "endpointslices": READ, "secrets": {"get"}}
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
        (NAMESPACE, "forebay-operator-own"): OWN,
    }


def test_namespaces_have_roles_of_their_own():
    manifests = render({"watchNamespaces": ["vision", "speech"]})
    assert read_roles(manifests) == {
        ("speech", "forebay-operator"): OPERATOR,
        ("speech", "forebay-gateway"): GATEWAY,
        ("vision", "forebay-operator"): OPERATOR,
        ("vision", "forebay-gateway"): GATEWAY,
        (NAMESPACE, "forebay-operator-own"): OWN,
        (NAMESPACE, "forebay-gateway-own"): {"endpointslices": READ},
    }
    kinds = {each["kind"] for each in manifests if "namespace" not in each["metadata"]}
    assert kinds == {"CustomResourceDefinition"}


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
