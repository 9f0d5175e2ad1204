"""az://ACCOUNT/CONTAINER/PREFIX: every blob under the prefix, or the one blob of that name, of Azure Storage."""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError

from forebay.serving.storage.az_account import open_account
from forebay.serving.storage.az_errors import translate
from forebay.serving.storage.checksums import Arrived, write_base64
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.prefix import MOST_SIBLINGS, Entry, find_under, names_under
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import MD5, Sum
from forebay.serving.storage.words import AZ

# The account becomes a part of the host's name: nothing may be in it that ends one.
_URI = re.compile(r"az://([a-z0-9]{3,24})/([a-z0-9$][a-z0-9-]{2,62})(?:/(.*))?")


class AzSource:
    """A prefix of a container. Credentials come from the AZURE_* variables; without any a public one can be read."""

    def __init__(self, uri: str) -> None:
        """Raises StorageError: UnsupportedURI when the address names no container, or what is wrong in the AZURE_*."""
        if (match := _URI.fullmatch(uri)) is None:
            raise StorageError(
                Reason.UNSUPPORTED_URI,
                f"{redact(uri)} names no container: write az://ACCOUNT/CONTAINER/PREFIX, with the account's name alone "
                "(small letters and digits)",
            )
        account, container, prefix = match[1], match[2], match[3] or ""
        self._address, self._prefix = f"az://{account}/{container}", prefix.strip("/")
        self._account = open_account(account)
        self._client: Any = self._account.service.get_container_client(container)

    def find(self) -> Listing:
        """List the prefix as a folder, or else as one blob. Raises StorageError, NotFound with a suggestion."""
        return find_under(self._address, self._prefix, self._objects, self._children)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Stream bytes [start, end) of a blob, of the version that was listed."""
        if not item.size:
            return
        with self._translated(item.key):
            answer = self._client.download_blob(
                item.key,
                offset=start,
                length=(item.size if end is None else end) - start,
                etag=item.etag.partition(" ")[0],
                match_condition=MatchConditions.IfNotModified,
                # What was uploaded in blocks has no MD5 of its own: Azure then sends that of each 4 MiB.
                validate_content=not item.etag.partition(" ")[2],
            )
            yield from answer.chunks()

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """The MD5, where the blob has one: else each answer is compared with the MD5 that Azure sends with it."""
        return (MD5,) if item.etag.partition(" ")[2] else ()

    def check(self, item: Item, file: Arrived) -> None:
        """Compare the file with the blob's MD5, where its uploader gave one. Raises StorageError(CorruptDownload)."""
        wanted = item.etag.partition(" ")[2]
        if file.size == item.size and wanted in ("", write_base64(file.read_sum(MD5))):
            return
        raise AZ.damaged(f"{self._address}/{item.key}", "Content-MD5")

    def close(self) -> None:
        """Let the connections go."""
        self._account.service.close()

    def _objects(self, prefix: str) -> Iterator[Entry]:
        with self._translated(self._prefix):
            for blob in self._client.list_blobs(name_starts_with=prefix or None, include=["metadata"]):
                # Accounts with a hierarchical namespace list folders too, without a slash.
                slash = "/" if (blob.metadata or {}).get("hdi_isfolder") == "true" else ""
                md5 = bytes(blob.content_settings.content_md5 or b"")
                yield Entry(blob.name + slash, int(blob.size), f"{blob.etag} {base64.b64encode(md5).decode()}")

    def _children(self, parent: str) -> list[str]:
        prefix = f"{parent}/" if parent else None
        with self._translated(parent):
            pages = self._client.walk_blobs(
                name_starts_with=prefix, delimiter="/", results_per_page=MOST_SIBLINGS
            ).by_page()
            return names_under(parent, [each.name for each in next(iter(pages), [])])

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except AzureError as error:
            raise translate(error, where=f"{self._address}/{key}", account=self._account) from error
