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
    ({"a": False, "b": 0}, {}),
    ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "theirs"}, {"name": "x", "v": 1, "more": 2}]}),
    ({"a": [{"containerPort": 1}]}, {"a": [{"containerPort": 1, "protocol": "TCP"}]}),
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
    ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "x", "v": 2}]}),
    ({"a": [{"name": "x"}]}, {"a": [{"name": "y"}]}),
    ({"a": [{"x": 1}]}, {"a": [{"x": 1}, {"x": 2}]}),
    ({"a": {"b": 1}}, {"a": "b"}),
    ({"a": ""}, {"a": "b"}),
    ({"a": True}, {"a": False}),
    ({"a": True}, {}),
    ({"port": "http"}, {"port": "grpc"}),
    ({"text": "1"}, {"text": "one"}),
]


@pytest.mark.parametrize(("wanted", "found"), SAME)
def test_as_wanted(wanted: object, found: object) -> None:
    assert is_as_wanted(wanted, found)


@pytest.mark.parametrize(("wanted", "found"), OTHER)
def test_not_as_wanted(wanted: object, found: object) -> None:
    assert not is_as_wanted(wanted, found)
