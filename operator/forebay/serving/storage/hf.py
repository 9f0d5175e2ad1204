"""hf://ORG/MODEL[@REVISION][/PATH]: a model of the Hugging Face Hub, or of a mirror of it."""

import os
import re
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import httpx2
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError

from forebay.serving.storage import hf_errors
from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.https_client import HttpsClient
from forebay.serving.storage.https_errors import corrupt
from forebay.serving.storage.prefix import Entry, find_under, names_under
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import SHA256, Sum

HUB = "https://huggingface.co"
TIMEOUT_S = 30
_URI = re.compile(r"hf://([^/@:]+/[^/@:]+)(?:[@:]([^/]+))?(?:/(.*))?")
_SIGNATURE_OVER = (401, 403, 404, 410)


class HfSource:
    """One commit of a model. HF_TOKEN is sent to HF_ENDPOINT alone; files come by ranges, from where that sends us."""

    def __init__(self, uri: str, *, connections: int, allow_loopback: bool) -> None:
        """Raises StorageError(UnsupportedURI) when the address names no model."""
        if (match := _URI.fullmatch(uri)) is None:
            raise StorageError(
                Reason.UNSUPPORTED_URI, f"{uri} names no model: write hf://ORG/MODEL or hf://ORG/MODEL@REVISION"
            )
        self._model, self._revision, self._prefix = match[1], match[2] or "main", (match[3] or "").strip("/")
        self._address = f"hf://{self._model}@{self._revision}"
        self._endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        self._token = get_token()
        # What the Hub sent us to for each file: it counts requests, and a large file has many pieces.
        self._targets: dict[str, str] = {}
        self._client = HttpsClient(
            self._address,
            connections=connections,
            allow_loopback=allow_loopback,
            plain=self._endpoint.startswith("http://"),
        )

    def find(self) -> Listing:
        """List the files of the commit that the revision is now. Raises StorageError."""
        api = HfApi(endpoint=self._endpoint, token=self._token or False, library_name="forebay")
        try:
            info = api.model_info(self._model, revision=self._revision, files_metadata=True, timeout=TIMEOUT_S)
        except (httpx2.HTTPError, HFValidationError, ValueError) as error:
            where = redact(self._endpoint)
            raise hf_errors.translate(
                error, where=self._address, endpoint=where, has_token=bool(self._token)
            ) from error
        commit = info.sha or self._revision
        files = {each.rfilename: each for each in info.siblings or ()}
        entries = [
            Entry(name, each.size or 0, f"sha256:{each.lfs.sha256}" if each.lfs else f"git:{each.blob_id or ''}")
            for name, each in files.items()
        ]
        listing = find_under(
            self._address,
            self._prefix,
            lambda prefix: [each for each in entries if each.key.startswith(prefix)],
            lambda parent: _children(parent, [*files]),
        )
        return Listing(
            tuple(
                # Files outside LFS are small, and come from the Hub itself, without ranges.
                Item(
                    item.path,
                    f"{commit}/{quote(item.key)}",
                    files[item.key].size,
                    item.etag,
                    ranged=files[item.key].lfs is not None,
                )
                for item in listing.items
            )
        )

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Stream bytes [start, end) of a file of that commit."""
        span = None if end is None or (start, end) == (0, item.size) else (start, end)
        known = self._targets.get(item.key)
        ours = {"Authorization": f"Bearer {self._token}"} if self._token and known is None else {}

        def check(answer: httpx.Response) -> None:
            if known is not None and answer.status_code in _SIGNATURE_OVER:
                self._targets.pop(item.key, None)
                raise hf_errors.signature_over(self._address)
            hf_errors.check_status(answer, where=f"{self._address}/{item.path}", has_token=bool(self._token))
            if answer.history:
                self._targets[item.key] = str(answer.url)

        yield from self._client.read(known or f"{self._endpoint}/{self._model}/resolve/{item.key}", ours, span, check)

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """Its SHA-256, or for small files the name of its git object."""
        if item.etag.startswith("sha256:"):
            return (SHA256,)
        return () if item.size is None else (Sum("sha1", beginning=b"blob %d\0" % item.size),)

    def check(self, item: Item, file: Arrived) -> None:
        """Compare the file with its SHA-256, or with its git object's name. Raises StorageError(CorruptDownload)."""
        kind, _, wanted = item.etag.partition(":")
        size = file.size
        if item.size is not None and size != item.size:
            raise corrupt(f"{self._address}/{item.path}", f"{item.size} bytes were announced, {size} arrived")
        sum_ = SHA256 if kind == "sha256" else Sum("sha1", beginning=b"blob %d\0" % size)
        if wanted and file.read_sum(sum_).hex() != wanted:
            raise corrupt(f"{self._address}/{item.path}", f"the bytes that arrived don't match the Hub's {kind} digest")

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()


def _children(parent: str, names: list[str]) -> list[str]:
    prefix = f"{parent}/" if parent else ""
    below = {name.removeprefix(prefix).partition("/")[0] for name in names if name.startswith(prefix)}
    return names_under("", sorted(below))
