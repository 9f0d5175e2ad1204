"""s3://BUCKET/PREFIX: every object under the prefix, or the one object of that name."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from forebay.serving.storage import s3_checksums
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.prefix import MOST_SIBLINGS, Entry, find_under, names_under
from forebay.serving.storage.s3_errors import from_boto_error, from_client_error
from forebay.serving.storage.source import Item, Listing

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
READ_BYTES = 256 * 1024


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
            session = boto3.session.Session(region_name=region)
            self._signed = session.get_credentials() is not None
            self._client: Any = session.client("s3", config=self._config(connections))
        self._endpoint = redact(self._client.meta.endpoint_url)

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

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Stream bytes [start, end) of an object, of the version that was listed."""
        extra = {"Range": f"bytes={start}-{end - 1}"} if end is not None and (start, end) != (0, item.size) else {}
        with self._translated(item.key):
            answer = self._client.get_object(Bucket=self._bucket, Key=item.key, IfMatch=f'"{item.etag}"', **extra)
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(READ_BYTES)

    def check(self, item: Item, path: Path) -> None:
        """Compare the file with the object's ETag, where that is a checksum. Raises StorageError(CorruptDownload)."""
        with self._translated(item.key):
            if path.stat().st_size == item.size and s3_checksums.matches(self._client, self._bucket, item, path):
                return
        raise StorageError(
            Reason.CORRUPT_DOWNLOAD,
            f"{self._name(item.key)}: the bytes that arrived don't match the object's ETag: run this again (the file "
            "is fetched anew); if it stays, the object is damaged: upload it again",
        )

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _objects(self, prefix: str) -> Iterator[Entry]:
        with self._translated(self._prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
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
