"""Uploads a version's files to a bucket: in parallel, and not what is there already. Nothing is ever overwritten."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import boto3
from boto3.exceptions import Boto3Error, S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from forebay.cluster.registry.content import File
from forebay.errors import UserError

# In an object's metadata: what tells whether a file is there already.
_SHA256 = "forebay-sha256"
_WORKERS = 8
# How a server says that somebody else was quicker, and that it can't tell.
_TAKEN, _UNKNOWN = "PreconditionFailed", "NotImplemented"
_PARTS = TransferConfig(multipart_threshold=16 * 1024 * 1024, multipart_chunksize=16 * 1024 * 1024, max_concurrency=4)


class Uploaded(NamedTuple):
    """What an upload came to, in files."""

    sent: int
    there: int


class Bucket:
    """A prefix of a bucket. Credentials, region and endpoint are those of the AWS tools."""

    def __init__(self, uri: str) -> None:
        """Raises UserError where the address is not a bucket's."""
        self._uri = uri
        self._name, _, prefix = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not self._name:
            raise UserError(f"{uri} is no bucket: write --to s3://BUCKET/PREFIX")
        self._prefix = f"{prefix.strip('/')}/"
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 4},
            max_pool_connections=_WORKERS * 5,
            # Servers other than AWS have no name per bucket.
            s3={"addressing_style": "path" if endpoint else "auto"},
        )
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        try:
            session = boto3.session.Session(region_name=region)
            self._client: Any = session.client("s3", config=config, region_name=session.region_name or "us-east-1")
        except (BotoCoreError, ValueError) as error:
            raise UserError(f"{uri}: {error}") from None
        self._tells_who_is_first = True
        # upload_file knows no such argument.
        for call in ("PutObject", "CompleteMultipartUpload"):
            self._client.meta.events.register(f"provide-client-params.s3.{call}", self._create_only)

    def upload(self, files: Sequence[File], *, on_bytes: Callable[[int], None]) -> Uploaded:
        """Make the prefix hold exactly these files. `on_bytes` hears of what is there, from several threads.

        Raises UserError, too where the prefix holds other files, which would be part of the model, or other content
        under the same names, which may be served. Then nothing is sent.
        """
        try:
            listed = {key.removeprefix(self._prefix) for key in self._list()}
            if others := sorted(listed - {each.name for each in files}):
                raise UserError(
                    f"{self._uri} holds {len(others)} files that are not of this model, such as {others[0]}: they "
                    "would be served with it. Choose another --version or --to, or delete them"
                )
            there = [each for each in files if each.name in listed]
            with ThreadPoolExecutor(_WORKERS) as pool:
                [*pool.map(self._check_same, there)]
                on_bytes(sum(each.size for each in there))
                missing = [each for each in files if each.name not in listed]
                sent = sum(pool.map(lambda each: self._send(each, on_bytes), missing))
        except NoCredentialsError:
            raise UserError(
                f"{self._uri}: no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE"
            ) from None
        except (BotoCoreError, Boto3Error, ClientError) as error:
            raise UserError(
                f"{self._uri}: {error}. What was uploaded stays: run the same again, and only the rest is"
            ) from None
        return Uploaded(sent=sent, there=len(files) - sent)

    def _list(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=self._prefix)
        for page in pages:
            for each in page.get("Contents", ()):
                if not each["Key"].endswith("/"):
                    yield each["Key"]

    def _send(self, file: File, on_bytes: Callable[[int], None]) -> bool:
        """Upload a file, unless another push does so now."""
        key, extra = self._prefix + file.name, {"Metadata": {_SHA256: file.sha256}}
        try:
            self._client.upload_file(str(file.path), self._name, key, ExtraArgs=extra, Config=_PARTS, Callback=on_bytes)
        except S3UploadFailedError as error:
            answer = error.__context__
            code = answer.response["Error"]["Code"] if isinstance(answer, ClientError) else ""
            if code == _UNKNOWN and self._tells_who_is_first:
                self._tells_who_is_first = False
                return self._send(file, on_bytes)
            if code != _TAKEN:
                raise
            self._check_same(file)
            return False
        return True

    def _check_same(self, file: File) -> None:
        """Raises UserError where what is there under the file's name is, as far as it says, another."""
        found = self._client.head_object(Bucket=self._name, Key=self._prefix + file.name)
        if found.get("Metadata", {}).get(_SHA256) != file.sha256:
            raise UserError(
                f"{self._uri} holds {file.name} already, with other content or by something else than a push: it may "
                "be served, so that it stays. Choose another --version or --to, or delete what is there"
            )

    def _create_only(self, params: dict[str, Any], **_: object) -> None:
        if self._tells_who_is_first:
            params["IfNoneMatch"] = "*"
