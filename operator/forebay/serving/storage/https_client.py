"""HTTP as downloads need it: guarded addresses, bounded redirects, and errors in our words."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import httpx

from forebay.serving.storage.addresses import Guard
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.https_errors import from_transport_error, too_many_redirects

TIMEOUT = httpx.Timeout(30, connect=5)
MOST_REDIRECTS = 5
READ_BYTES = 256 * 1024


class HttpsClient:
    """A pool of connections for one source. `where` names the source in messages."""

    def __init__(self, where: str, *, connections: int, allow_loopback: bool, plain: bool = False) -> None:
        """`plain`: the user named a server without TLS in so many words; redirects from TLS to it are still refused."""
        self._where, self._plain = where, plain
        self._guard = Guard(where, allow_loopback=allow_loopback)
        # httpx itself drops credentials when it is sent on to another host.
        self._client = httpx.Client(
            headers={"Accept-Encoding": "identity", "User-Agent": "forebay"},
            timeout=TIMEOUT,
            follow_redirects=True,
            max_redirects=MOST_REDIRECTS,
            limits=httpx.Limits(max_connections=connections),
            event_hooks={"request": [self._check_request]},
        )

    @contextmanager
    def get(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Ask for an address, and let the answer be read as a stream. Raises StorageError."""
        with self.ask("GET", url, headers) as answer:
            yield answer

    @contextmanager
    def ask(
        self, method: str, url: str, headers: dict[str, str], content: Iterable[bytes] | None = None
    ) -> Iterator[httpx.Response]:
        """The same by another method, with something sent."""
        extensions = {"trace": self._guard.trace}
        try:
            with self._client.stream(method, url, headers=headers, content=content, extensions=extensions) as answer:
                yield answer
        except httpx.TooManyRedirects as error:
            raise too_many_redirects(self._where, MOST_REDIRECTS) from error
        except httpx.TransportError as error:
            raise from_transport_error(error, where=self._where) from error
        except httpx.InvalidURL as error:
            raise StorageError(Reason.UNSUPPORTED_URI, f"{self._where} is no valid address: {error}") from error

    def read(
        self, url: str, headers: dict[str, str], span: tuple[int, int] | None, check: Callable[[httpx.Response], None]
    ) -> Iterator[bytes]:
        """Stream bytes [start, end) of what lies at an address, all without a span. `check` raises for statuses."""
        ranged = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        with self.get(url, headers | ranged) as answer:
            check(answer)
            if span and answer.status_code != httpx.codes.PARTIAL_CONTENT:
                raise StorageError(
                    Reason.SERVER_ERROR,
                    f"{self._where}: the server takes ranges at one time and not at another: run this again, or serve "
                    "the file without ranges",
                    transient=True,
                )
            yield from answer.iter_raw(READ_BYTES)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _check_request(self, request: httpx.Request) -> None:
        if request.url.scheme != "https" and not self._plain:
            raise StorageError(
                Reason.UNSUPPORTED_URI,
                f"{self._where} leads to {redact(str(request.url))}, which isn't https: correct the uri, or give "
                "that server a certificate",
            )
        self._guard.check_host(request.url.host)
