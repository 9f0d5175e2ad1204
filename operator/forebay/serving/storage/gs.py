"""gs://BUCKET/PREFIX: every object under the prefix, or the one object of that name, of Google Cloud Storage."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import google.auth
import requests
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account

from forebay.serving.storage.checksums import Arrived, write_base64
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.gs_errors import bad_credentials, translate
from forebay.serving.storage.prefix import MOST_SIBLINGS, Entry, find_under, names_under
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import Sum
from forebay.serving.storage.words import GS

TIMEOUT_S = (5, 30)
RETRY_S = 15
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)


class GsSource:
    """A prefix of a bucket. Credentials come from GOOGLE_APPLICATION_CREDENTIALS(_JSON), or as Google's tools do it."""

    def __init__(self, uri: str, *, connections: int) -> None:
        """Raises StorageError: UnsupportedURI when the address names no bucket, or what is wrong with credentials."""
        bucket, _, prefix = uri.removeprefix("gs://").partition("/")
        if not bucket:
            raise StorageError(Reason.UNSUPPORTED_URI, f"{uri} names no bucket: write gs://BUCKET/PREFIX")
        self._address, self._prefix = f"gs://{bucket}", prefix.strip("/")
        credentials = _find_credentials()
        self._signed = not isinstance(credentials, AnonymousCredentials)
        # The project is only asked for when buckets are made.
        self._client = storage.Client(project="forebay", credentials=credentials)
        adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=connections)
        self._client._http.mount("https://", adapter)
        self._bucket: Any = self._client.bucket(bucket)
        self._options: dict[str, Any] = {"timeout": TIMEOUT_S, "retry": DEFAULT_RETRY.with_timeout(RETRY_S)}

    def find(self) -> Listing:
        """List the prefix as a folder, or else as one object. Raises StorageError, NotFound with a suggestion."""
        return find_under(self._address, self._prefix, self._objects, self._children)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Bring bytes [start, end) of an object, of the generation that was listed: one piece, in memory."""
        if not item.size:
            return
        generation = int(item.etag.partition(":")[0])
        with self._translated(item.key, reading=True):
            yield self._bucket.blob(item.key).download_as_bytes(
                start=start,
                end=(item.size if end is None else end) - 1,
                if_generation_match=generation,
                # As it is stored, gzip or not: that is what size and checksum speak of.
                raw_download=True,
                checksum=None,
                **self._options,
            )

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """The object's CRC32C, or else its MD5."""
        _, algorithm, wanted = item.etag.split(":", 2)
        return (Sum(algorithm.lower()),) if wanted else ()

    def check(self, item: Item, file: Arrived) -> None:
        """Compare the file with the object's CRC32C, or else its MD5. Raises StorageError(CorruptDownload)."""
        _, algorithm, wanted = item.etag.split(":", 2)
        if file.size == item.size and wanted in ("", write_base64(file.read_sum(Sum(algorithm.lower())))):
            return
        raise GS.damaged(f"{self._address}/{item.key}", algorithm)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _objects(self, prefix: str) -> Iterator[Entry]:
        with self._translated(self._prefix):
            for blob in self._client.list_blobs(self._bucket, prefix=prefix, **self._options):
                kind, digest = ("CRC32C", blob.crc32c) if blob.crc32c else ("MD5", blob.md5_hash or "")
                yield Entry(blob.name, int(blob.size), f"{blob.generation}:{kind}:{digest}")

    def _children(self, parent: str) -> list[str]:
        prefix = f"{parent}/" if parent else ""
        with self._translated(parent):
            found = self._client.list_blobs(
                self._bucket, prefix=prefix, delimiter="/", max_results=MOST_SIBLINGS, **self._options
            )
            names = [blob.name for blob in found]
        return names_under(parent, [*found.prefixes, *names])

    @contextmanager
    def _translated(self, key: str, *, reading: bool = False) -> Iterator[None]:
        try:
            yield
        except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
            raise translate(error, where=f"{self._address}/{key}", signed=self._signed, reading=reading) from error


def _find_credentials() -> Any:
    try:
        if text := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS_JSON"):
            return service_account.Credentials.from_service_account_info(json.loads(text), scopes=_SCOPES)
        if not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") and os.environ.get("STORAGE_EMULATOR_HOST"):
            return AnonymousCredentials()
        return google.auth.default(scopes=_SCOPES)[0]
    except (GoogleAuthError, ValueError, AttributeError) as error:
        wanted = any(os.environ.get(f"GOOGLE_APPLICATION_CREDENTIALS{end}") for end in ("", "_JSON"))
        if isinstance(error, DefaultCredentialsError) and not wanted:
            # Without credentials a public bucket can still be read.
            return AnonymousCredentials()
        raise bad_credentials() from error
