"""Whether an object is as it was applied."""

import pytest

from forebay.kube.match import is_as_wanted

SAME = [
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"cpu": "0.5"}, {"cpu": "500m"}),
    ({"memory": "1024Mi"}, {"memory": "1Gi"}),
    ({"cpu": "1e3m"}, {"cpu": "1"}),
    ({"a": {}}, {}),
    ({"a": []}, {"a": None}),
    ({"hostNetwork": False, "initialDelaySeconds": 0}, {}),
    ({"env": [{"name": "x", "v": 1}]}, {"env": [{"name": "theirs"}, {"name": "x", "v": 1, "more": 2}]}),
    ({"ports": [{"containerPort": 1}]}, {"ports": [{"containerPort": 1, "protocol": "TCP"}]}),
    ({"ports": [{"port": 1}]}, {"ports": [{"port": 1, "protocol": "TCP"}, {"port": 2}]}),
    ({"ownerReferences": [{"uid": "1"}]}, {"ownerReferences": [{"uid": "2"}, {"uid": "1"}]}),
    ({"metrics": [{"type": "Resource"}]}, {"metrics": [{"type": "Resource", "default": 1}]}),
    ({"selector": {"matchLabels": {"a": "b"}}}, {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": []}}),
    ({"emptyDir": {}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
    ({"env": []}, {"env": [{"name": "theirs"}]}),
    ({"a": ["x", "y"]}, {"a": ["x", "y"]}),
    ({"a": [{"x": 1}]}, {"a": [{"x": 1, "y": 2}]}),
    ({"port": "http"}, {"port": "http"}),
    ({"a": True}, {"a": True}),
]
OTHER = [
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {}),
    ({"cpu": "0.5"}, {"cpu": "501m"}),
    ({"a": ["x"]}, {"a": ["x", "y"]}),
    ({"a": ["x", "y"]}, {"a": ["y", "x"]}),
    ({"env": [{"name": "x", "v": 1}]}, {"env": [{"name": "x", "v": 2}]}),
    ({"env": [{"name": "x"}]}, {"env": [{"name": "y"}]}),
    # Whoever adds to one of these changes what the others in it mean.
    ({"selector": {"a": "b"}}, {"selector": {"a": "b", "c": "d"}}),
    ({"podSelector": {"matchLabels": {"a": "b"}}}, {"podSelector": {"matchLabels": {"a": "b", "c": "d"}}}),
    ({"ingress": [{"ports": [{"port": 1}]}]}, {"ingress": [{"ports": [{"port": 1}, {"port": 2}]}]}),
    ({"ingress": [{"from": [{"podSelector": {}}]}]}, {"ingress": [{"from": [{"podSelector": {"a": "b"}}]}]}),
    ({"httpHeaders": [{"name": "a"}]}, {"httpHeaders": [{"name": "a"}, {"name": "b"}]}),
    ({"tolerations": []}, {"tolerations": [{"operator": "Exists"}]}),
    ({"nodeSelector": {}}, {"nodeSelector": {"a": "b"}}),
    ({"a": [{"x": 1}]}, {"a": [{"x": 1}, {"x": 2}]}),
    ({"a": {"b": 1}}, {"a": "b"}),
    ({"a": ""}, {"a": "b"}),
    ({"a": True}, {"a": False}),
    ({"a": True}, {}),
    ({"automountServiceAccountToken": False}, {}),
    ({"maxUnavailable": 0}, {}),
    ({"port": "http"}, {"port": "grpc"}),
    ({"text": "1"}, {"text": "one"}),
]


@pytest.mark.parametrize(("wanted", "found"), SAME)
def test_as_wanted(wanted: object, found: object) -> None:
    assert is_as_wanted(wanted, found)


@pytest.mark.parametrize(("wanted", "found"), OTHER)
def test_not_as_wanted(wanted: object, found: object) -> None:
    assert not is_as_wanted(wanted, found)
