"""Which files are the same, and whose word counts for it."""

import pytest

from forebay.node.identity import find_origin, identify, identify_listing, name_download
from forebay.serving.storage.errors import StorageError
from forebay.serving.storage.source import Item, Listing

MD5 = "9e107d9d372bb6826bd81d3542a419d6"


def item(path: str, etag: str, size: int = 3, key: str = "") -> Item:
    return Item(path, key or path, size, etag)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://models/digits/1", "s3://models/digits/2"),
        ("gs://models/digits/1", "gs://models/other"),
        ("az://account/container/a", "az://account/container/b"),
        ("hf://org/model", "hf://org/model@v2/folder"),
        ("oci://registry:5000/a/b:1", "oci://registry:5000/a/b:2"),
        ("oci://registry:5000/a/b:1", f"oci://registry:5000/a/b@sha256:{'0' * 64}"),
    ],
)
def test_one_bucket_or_repository_is_one_origin(one: str, other: str) -> None:
    assert find_origin(one, {}) == find_origin(other, {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://models/a", "s3://others/a"),
        ("s3://models/a", "gs://models/a"),
        ("az://account/one/a", "az://account/two/a"),
        ("hf://org/model", "hf://org/other"),
        ("oci://registry/a/b:1", "oci://registry/a/c:1"),
        ("https://host/a.zip", "https://host/b.zip"),
    ],
)
def test_what_another_says_does_not_count(one: str, other: str) -> None:
    assert find_origin(one, {}) != find_origin(other, {})


def test_an_address_that_is_none_has_no_origin() -> None:
    with pytest.raises(StorageError, match="s3://models\\[old/x is no address"):
        find_origin("s3://models[old/x", {})


def test_a_server_of_ones_own_is_another_origin() -> None:
    assert find_origin("s3://models/a", {}) != find_origin("s3://models/a", {"AWS_ENDPOINT_URL": "http://mine"})
    assert find_origin("hf://a/b", {}) != find_origin("hf://a/b", {"HF_ENDPOINT": "http://mine"})


@pytest.mark.parametrize(
    ("scheme", "etag"),
    [
        ("s3", MD5),
        ("s3", f"{MD5}-12"),
        ("gs", "17:MD5:abc="),
        ("az", '"0x8D" abc='),
        ("hf", f"sha256:{'0' * 64}"),
        ("oci", f"sha256:{'0' * 64}"),
    ],
)
def test_a_checksum_is_the_content_wherever_it_lies(scheme: str, etag: str) -> None:
    assert identify(scheme, "o", item("1/a", etag)) == identify(scheme, "o", item("2/b", etag))
    assert identify(scheme, "o", item("a", etag)) != identify(scheme, "other", item("a", etag))
    assert identify(scheme, "o", item("a", etag)) != identify(scheme, "o", item("a", etag, size=4))


def test_a_generation_is_no_part_of_the_content() -> None:
    assert identify("gs", "o", item("a", "17:MD5:abc=")) == identify("gs", "o", item("b", "18:MD5:abc="))


@pytest.mark.parametrize(("scheme", "etag"), [("s3", "opaque"), ("gs", "17::"), ("az", '"0x8D"'), ("https", '"v1"')])
def test_what_says_nothing_of_the_bytes_is_of_its_place(scheme: str, etag: str) -> None:
    assert identify(scheme, "o", item("a", etag)) == identify(scheme, "o", item("a", etag))
    assert identify(scheme, "o", item("a", etag)) != identify(scheme, "o", item("b", etag))


def test_a_server_that_tells_no_versions_apart_is_always_asked() -> None:
    assert identify("https", "o", item("a", "")) == ""
    assert identify_listing("https", "o", Listing((item("a.zip", ""),))) == ""


def test_a_download_goes_on_with_the_same_listing_alone() -> None:
    one, other = Listing((item("a", MD5),)), Listing((item("a", MD5, size=4),))
    name = name_download("o", "s3://b/a", one)
    assert name == name_download("o", "s3://b/a", one) != name_download("o", "s3://b/a", other)
    # What another server sent is not to be gone on with: it may be anything.
    assert name != name_download("another", "s3://b/a", one)
