"""https://HOST/FILE: one file, or an archive."""

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import httpx

from forebay.serving.storage.archive import is_archive
from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.https_client import HttpsClient
from forebay.serving.storage.https_errors import check_status, corrupt
from forebay.serving.storage.https_headers import Expected, read_digest, read_size, read_version
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import Sum
from forebay.serving.storage.words import HTTPS

_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})")


class HttpsSource:
    """One address. `#sha256=HEX` at its end says what must arrive; HTTPS_TOKEN is sent as a bearer token."""

    def __init__(self, uri: str, *, connections: int, allow_loopback: bool = False) -> None:
        """Raises StorageError(UnsupportedURI) when the address names no file or has a wrong fragment."""
        parts = urlsplit(uri)
        self._name = redact(uri)
        self._file = unquote(parts.path.rpartition("/")[2])
        if not parts.hostname or not self._file:
            raise StorageError(Reason.UNSUPPORTED_URI, f"{self._name} names no file: write https://HOST/PATH/FILE")
        self._expected = _read_fragment(parts.fragment, self._name)
        self._url = parts._replace(fragment="").geturl()
        self._version = ""
        self._has_token = bool(os.environ.get("HTTPS_TOKEN"))
        self._headers = {"Authorization": f"Bearer {os.environ['HTTPS_TOKEN']}"} if self._has_token else {}
        self._client = HttpsClient(self._name, connections=connections, allow_loopback=allow_loopback)

    def find(self) -> Listing:
        """Ask for the first byte: that tells size, version and whether ranges work, of servers without HEAD too."""
        with self._client.get(self._url, {**self._headers, "Range": "bytes=0-0"}) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                size: int | None = 0
            else:
                self._check_status(answer)
                size = read_size(answer)
            self._expected = self._expected or read_digest(answer.headers)
            self._version = read_version(answer)
            etag = self._version or (self._expected.hex_digest if self._expected else "")
            # Without anything to tell versions apart by, pieces of two would be put together.
            ranged = answer.status_code == httpx.codes.PARTIAL_CONTENT and size is not None and bool(etag)
        return Listing((Item(self._file, self._url, size, etag, ranged=ranged, packed=is_archive(self._file)),))

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Stream bytes [start, end), of the version that was listed as far as the server tells versions apart."""
        span = None if end is None or (start, end) == (0, item.size) else (start, end)
        headers = self._headers | ({"If-Match": item.etag} if item.etag.startswith('"') else {})

        def check(answer: httpx.Response) -> None:
            self._check_status(answer)
            size = read_size(answer)
            is_other = bool(self._version) and read_version(answer) != self._version
            if is_other or (size != item.size and None not in (size, item.size)):
                raise HTTPS.replaced(self._name)

        yield from self._client.read(self._url, headers, span, check)

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """The one that the address or the server gives."""
        return (Sum(self._expected.algorithm),) if self._expected and item.size != 0 else ()

    def check(self, item: Item, file: Arrived) -> None:
        """Compare the file with the sha256 of the address, or else with the server's digest, and the size."""
        size = file.size
        if item.size is not None and size != item.size:
            raise corrupt(self._name, f"{item.size} bytes were announced, {size} arrived")
        if self._expected is None:
            return
        got = file.read_sum(Sum(self._expected.algorithm)).hex()
        if got != self._expected.hex_digest:
            what = f"{self._expected.algorithm} of what arrived is {got}, {self._expected.source} says"
            raise corrupt(self._name, f"the {what} {self._expected.hex_digest}")

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _check_status(self, answer: httpx.Response) -> None:
        check_status(answer, where=self._name, has_token=self._has_token)


def _read_fragment(fragment: str, name: str) -> Expected | None:
    if not fragment:
        return None
    if (match := _SHA256.fullmatch(fragment)) is None:
        raise StorageError(
            Reason.UNSUPPORTED_URI, f"{name}: what follows # must be sha256= and 64 hexadecimal digits, or nothing"
        )
    return Expected("sha256", match[1].lower(), "the uri")
