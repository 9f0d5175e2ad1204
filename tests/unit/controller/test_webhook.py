"""What a webhook's address may be, and what becomes of what is sent to it."""

from collections.abc import Iterator

import pytest

from forebay.controller.webhook import WebhookError, check_url, send
from tests.unit.controller.listener import Listener

ALL = ("*",)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        yield made


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://hooks.test/x", "neither http:// nor https://"),
        ("file:///etc/passwd", "neither http:// nor https://"),
        ("https://", "neither http:// nor https://"),
        ("https://[::1", "is none"),
        ("https://me:secret@hooks.test/x", "has a user or a password in it"),
        ("http://169.254.169.254/latest/meta-data", "link-local and metadata"),
        ("http://[fe80::1]/x", "link-local and metadata"),
        ("http://[fd00:ec2::254]/x", "link-local and metadata"),
        ("http://[::ffff:169.254.169.254]/x", "link-local and metadata"),
        ("http://[64:ff9b::a9fe:a9fe]/x", "link-local and metadata"),
        ("http://[2002:a9fe:a9fe::1]/x", "link-local and metadata"),
        ("http://100.100.100.200/x", "link-local and metadata"),
        ("http://168.63.129.16/x", "link-local and metadata"),
        ("http://[fd20:ce::254]/x", "link-local and metadata"),
        ("http://[64:ff9b:1::a9fe:a9fe]/x", "link-local and metadata"),
        ("http://[::a9fe:a9fe]/x", "link-local and metadata"),
        ("http://240.0.0.1/x", "that no server has"),
        ("http://0.0.0.1/x", "that no server has"),
        ("http://0.0.0.0/x", "link-local and metadata"),
        ("http://224.0.0.1/x", "link-local and metadata"),
        ("http://127.0.0.1:9090/x", "loopback"),
        ("http://[::1]/x", "loopback"),
        ("http://127.1/x", "loopback"),
        ("http://0x7f000001/x", "loopback"),
        ("http://\uff11\uff12\uff17.0.0.1/x", "loopback"),
        ("http://\u246f\u2468.254.169.254/x", "link-local and metadata"),
        ("http://metadata.google.internal/x", "link-local and metadata"),
        ("http://METADATA./x", "link-local and metadata"),
    ],
)
def test_what_nothing_is_sent_to(url: str, said: str) -> None:
    with pytest.raises(WebhookError, match=said) as found:
        check_url(url, ALL)
    assert not found.value.passing
    assert "secret" not in str(found.value)


def test_only_to_hosts_that_are_allowed() -> None:
    hosts = ("hooks.slack.com", "*.example.com", "127.0.0.1", "169.254.169.254")
    for url in ("https://hooks.slack.com/services/x", "http://a.example.com:8080", "https://HOOKS.slack.com./x"):
        check_url(url, hosts)
    check_url("http://127.0.0.1:9000/x", hosts)
    for url in ("https://example.com/x", "https://hooks.slack.com.evil.test/x"):
        with pytest.raises(WebhookError, match=r"this installation sends to hooks\.slack\.com, "):
            check_url(url, hosts)
    with pytest.raises(WebhookError, match="link-local"):
        check_url("http://169.254.169.254/x", hosts)
    with pytest.raises(WebhookError, match="sends to nobody"):
        check_url("https://hooks.slack.com/x", ())


async def test_it_is_sent(listener: Listener) -> None:
    await send(f"{listener.url}/hook?key=1", b'{"a": 1}', ("127.0.0.1",))
    (seen,) = listener.seen
    assert (seen.path, seen.body) == ("/hook?key=1", b'{"a": 1}')
    assert seen.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("status", "passing"), [(500, True), (503, True), (429, True), (404, False), (302, False)])
async def test_what_it_answers(listener: Listener, status: int, passing: bool) -> None:
    listener.answers = [status]
    with pytest.raises(WebhookError, match=f"it answers {status}") as found:
        await send(f"{listener.url}/secret", b"{}", ("127.0.0.1",))
    assert found.value.passing is passing
    assert len(listener.seen) == 1, "redirects aren't followed"


async def test_a_name_that_becomes_a_refused_address(listener: Listener) -> None:
    port = listener.url.rpartition(":")[2]
    with pytest.raises(WebhookError, match="nothing is sent to loopback addresses") as found:
        await send(f"http://localhost:{port}/x", b"{}", ALL)
    assert not found.value.passing
    # As old libraries wrote 127.0.0.1.
    with pytest.raises(WebhookError, match="nothing is sent to loopback addresses"):
        await send(f"http://2130706433:{port}/x", b"{}", ALL)
    assert not listener.seen


async def test_who_is_not_there_may_come(listener: Listener) -> None:
    listener.close()
    with pytest.raises(WebhookError, match="it doesn't answer") as found:
        await send(f"{listener.url}/secret", b"{}", ("127.0.0.1",))
    assert found.value.passing
    assert "secret" not in str(found.value)
    with pytest.raises(WebhookError, match="its host isn't found") as found:
        await send("http://nobody.invalid/secret", b"{}", ALL)
    assert found.value.passing
