"""What becomes of a Secret with API keys."""

import base64

import pytest

from forebay.gateway.keys import describe_unread, parse_api_keys


def parse(**keys: bytes):
    return parse_api_keys("ns", "keys", {client: base64.b64encode(key).decode() for client, key in keys.items()})


def test_keys_by_client_without_the_newline_of_an_editor():
    found = parse(anna=b"a-key\n", bert=b"b-key")
    assert (dict(found.keys), found.problem) == ({"anna": "a-key", "bert": "b-key"}, "")


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"two words", "has a space or a control character in it"),
        (b"a\x00b", "has a space or a control character in it"),
        ("schlüssel".encode(), "is not ASCII text"),
        (b"\xff\xfe", "is not ASCII text"),
        (b"x" * 4097, "is longer than 4096 characters"),
        (b"a-key", "is the same as that of anna"),
    ],
)
def test_a_key_that_can_t_be_used_is_left_out_and_told(key, problem):
    found = parse(anna=b"a-key", zoe=key)
    assert dict(found.keys) == {"anna": "a-key"}
    assert found.problem == f"the Secret keys of access.apiKeys in namespace ns: the key of zoe {problem}"


def test_an_empty_secret_lets_nobody_in():
    found = parse()
    assert not found.keys
    assert "is empty: write a client's name" in found.problem


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "does not exist: kubectl create secret generic keys -n ns --from-literal=CLIENT=KEY"),
        (403, "the gateway's ServiceAccount may not `get` Secrets there"),
        (500, "the apiserver answered 500"),
        (0, "the apiserver is away"),
    ],
)
def test_why_there_are_no_keys(status, told):
    found = describe_unread("ns", "keys", status=status)
    assert not found.keys
    assert told in found.problem


def test_no_key_is_in_any_representation():
    found = parse(anna=b"canary")
    assert "canary" not in repr(found) + str(found)
