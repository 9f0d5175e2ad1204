"""The pods that fetch a version before it is served."""

import kubernetes_validate
import pytest

from forebay.plan.prefetch import build_prefetch
from forebay.plan.site import Site
from forebay.plan.versions import Version

WANTED = {"nodeSelector": {"gpu": "L40S"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
VERSION = Version("digits", "3", "s3://models/digits/3", digest=f"sha256:{'0' * 64}", secret_name="models-s3")


@pytest.mark.parametrize("wanted", [WANTED, {}])
def test_kubernetes_takes_it(wanted: dict[str, object]) -> None:
    made = build_prefetch("digits-3", "vision", VERSION, wanted, Site(node_cache=True))
    kubernetes_validate.validate(made, "1.34", strict=True)
    spec = made["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == wanted.get("nodeSelector", {})
    assert spec["tolerations"] == wanted.get("tolerations", [])


def test_it_holds_what_a_models_pods_would_ask_for() -> None:
    made = build_prefetch("digits-3", "vision", VERSION, WANTED, Site(node_cache=True))
    template = made["spec"]["template"]
    (volume,) = template["spec"]["volumes"]
    assert volume["csi"] == {
        "driver": "models.forebay.dev",
        "readOnly": True,
        "volumeAttributes": {"uri": VERSION.uri, "digest": VERSION.digest},
        "nodePublishSecretRef": {"name": "models-s3"},
    }
    assert made["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    # Who looks for the pods of models doesn't find these.
    assert "app.kubernetes.io/managed-by" not in template["metadata"]["labels"]


def test_it_is_restricted() -> None:
    spec = build_prefetch("digits-3", "vision", VERSION, WANTED, Site(node_cache=True))["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["initContainers"] + spec["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
