"""s3://BUCKET/PREFIX: every object under the prefix, or the one object of that name."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.crc import Data
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.prefix import MOST_SIBLINGS, Entry, find_under, names_under, too_many
from forebay.serving.storage.s3_checksums import Checks
from forebay.serving.storage.s3_errors import from_boto_error, from_client_error
from forebay.serving.storage.s3_get import CONNECT_TIMEOUT_S, READ_BYTES, READ_TIMEOUT_S, LeanGet
from forebay.serving.storage.s3_transport import build_transport
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import Sum
from forebay.serving.storage.words import S3

# A page has a thousand keys, or fewer: those of a server that never comes to an end may have none.
MOST_PAGES = 1000


class S3Source:
    """A prefix of a bucket. Credentials, region and endpoint come from the environment, as boto3 reads them."""

    def __init__(self, uri: str, *, connections: int) -> None:
        """Raises StorageError(UnsupportedURI) when the address names no bucket."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not bucket:
            raise StorageError(Reason.UNSUPPORTED_URI, f"{uri} names no bucket: write s3://BUCKET/PREFIX")
        self._bucket, self._prefix = bucket, prefix.strip("/")
        # AWS_REGION is what people and pods set; boto3 itself reads only AWS_DEFAULT_REGION.
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        with self._translated():
            # As boto3 does, whose own import takes a tenth of a second more.
            session = Session()
            session.set_config_variable("region", region)
            # Nobody asks for the dates in a listing, and to read them takes half of its time.
            session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
            self._signed = session.get_credentials() is not None
            self._client: Any = session.create_client("s3", config=self._config(connections))
            self._transport = build_transport(session, self._client)
            self._client.meta.events.register("before-send.s3", self._transport.send)
        self._endpoint = redact(self._client.meta.endpoint_url)
        with self._translated():
            self._lean = LeanGet(session, self._client, bucket)
        self._checks = Checks(self._client, bucket)

    def _config(self, connections: int) -> Config:
        custom = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 4},
            max_pool_connections=connections,
            # Without credentials a public bucket can still be read.
            signature_version=None if self._signed else UNSIGNED,
            # Servers other than AWS have no name per bucket.
            s3={"addressing_style": "path" if custom else "auto"},
        )

    _endpoint = "s3"
    _signed = False

    def find(self) -> Listing:
        """List the prefix as a folder, or else as one object. Raises StorageError, NotFound with a suggestion."""
        return find_under(f"s3://{self._bucket}", self._prefix, self._objects, self._children)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[Data]:
        """Stream bytes [start, end) of an object, of the version that was listed."""
        span = (start, item.size if end is None else end)
        ranged = {} if span == (0, item.size) else {"Range": f"bytes={start}-{(end or 0) - 1}"}
        with self._translated(item.key):
            if (answer := self._lean.get(item.key, {"If-Match": f'"{item.etag}"', **ranged})) is not None:
                self._require_version(item, answer.headers.get("etag"))
                if not ranged:
                    self._checks.remember(item, answer.headers)
                yield from answer.read(expected_bytes=(span[1] or 0) - start)
                return
            # boto3 tries again, follows the bucket to its region, and reads the error.
            extra = {"Range": ranged["Range"]} if ranged else {}
            slow = self._client.get_object(Bucket=self._bucket, Key=item.key, IfMatch=f'"{item.etag}"', **extra)
            self._require_version(item, slow.get("ETag"))
            with closing(slow["Body"]) as body:
                yield from body.iter_chunks(READ_BYTES)

    def _require_version(self, item: Item, etag: str | None) -> None:
        """As not every server looks at If-Match."""
        if etag is not None and etag.strip('"') != item.etag:
            raise S3.replaced(self._name(item.key))

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """The checksum that was uploaded with the object, or else the MD5 that its ETag is made of."""
        with self._translated(item.key):
            return self._checks.sums(item)

    def check(self, item: Item, file: Arrived) -> None:
        """Compare the file with the object's checksum, or its ETag. Raises StorageError(CorruptDownload)."""
        with self._translated(item.key):
            if file.size == item.size and self._checks.matches(item, file):
                return
        raise S3.damaged(self._name(item.key), "checksum or ETag")

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()
        self._lean.close()
        self._transport.close()

    def _objects(self, prefix: str) -> Iterator[Entry]:
        with self._translated(self._prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for number, page in enumerate(pages):
                if number == MOST_PAGES:
                    raise too_many(self._name(prefix))
                for entry in page.get("Contents", []):
                    self._checks.note(entry)
                    yield Entry(entry["Key"], int(entry["Size"]), str(entry["ETag"]).strip('"'))

    def _children(self, parent: str) -> list[str]:
        prefix = f"{parent}/" if parent else ""
        with self._translated(parent):
            page = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/", MaxKeys=MOST_SIBLINGS
            )
        keys = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        return names_under(parent, keys + [entry["Key"] for entry in page.get("Contents", [])])

    def _name(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    @contextmanager
    def _translated(self, key: str = "") -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise from_client_error(error, where=self._name(key), signed=self._signed) from error
        except BotoCoreError as error:
            raise from_boto_error(error, where=self._name(key), endpoint=self._endpoint) from error
