"""mlflow-artifacts:/PATH: files that MLflow's tracking server hands out itself."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from forebay.serving.mlflow_login import read_login
from forebay.serving.storage import mlflow_errors
from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.https_client import HttpsClient
from forebay.serving.storage.https_errors import corrupt
from forebay.serving.storage.https_headers import read_size
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import Sum
from forebay.serving.storage.words import MLFLOW

_API = "api/2.0/mlflow-artifacts/artifacts"
_MOST_FILES = 20_000
_MOST_DEPTH = 32


class MlflowSource:
    """A folder of artifacts. MLFLOW_TRACKING_URI is the server; its credentials are sent to it alone."""

    def __init__(self, uri: str, *, connections: int, allow_loopback: bool) -> None:
        """Raises StorageError(UnsupportedURI) when it isn't said where the server is."""
        self._path = uri.partition(":")[2].strip("/")
        self._address = f"mlflow-artifacts:/{self._path}"
        server = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
        if urlsplit(server).scheme not in ("http", "https"):
            raise StorageError(
                Reason.UNSUPPORTED_URI,
                f"{self._address} lies at an MLflow server: set MLFLOW_TRACKING_URI to its address, https://HOST",
            )
        self._server = redact(server)
        self._url = f"{server}/{_API}"
        self._headers = read_login(os.environ).build_headers()
        self._client = HttpsClient(
            self._address, connections=connections, allow_loopback=allow_loopback, plain=server.startswith("http://")
        )

    def find(self) -> Listing:
        """List all files below the folder, or the one file of that name. Raises StorageError."""
        files = list(self._walk("", depth=0))
        if not files:
            return Listing((self._find_file(),))
        smallest = min((each for each in files if each[1]), key=lambda each: each[1], default=None)
        is_kept = smallest is not None and self._keeps_files(smallest[0])
        return Listing(tuple(self._describe(path, size, is_kept=is_kept) for path, size in files))

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Stream bytes [start, end) of a file, of the version that was listed where the server tells versions apart."""
        span = None if end is None or (start, end) == (0, item.size) else (start, end)

        def check(answer: httpx.Response) -> None:
            self._check(answer)
            if item.etag and answer.headers.get("etag") != item.etag:
                raise MLFLOW.replaced(f"{self._address}/{item.path}")

        yield from self._client.read(item.key, self._headers, span, check)

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """None: MLflow keeps no digests."""
        return ()

    def check(self, item: Item, file: Arrived) -> None:
        """Compare the file's size with the listing's. Raises StorageError(CorruptDownload)."""
        size = file.size
        if item.size is not None and size != item.size:
            raise corrupt(f"{self._address}/{item.path}", f"{item.size} bytes were announced, {size} arrived")

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _walk(self, folder: str, *, depth: int) -> Iterator[tuple[str, int]]:
        """Paths below the folder, and their sizes in bytes."""
        if depth > _MOST_DEPTH:
            raise StorageError(
                Reason.BAD_LAYOUT, f"{self._address} has folders in folders without end: look at {folder}"
            )
        for each in self._list(folder):
            path = f"{folder}/{each['path']}" if folder else str(each["path"])
            if each.get("is_dir"):
                yield from self._walk(path, depth=depth + 1)
            else:
                yield path, int(each.get("file_size") or 0)

    def _list(self, folder: str) -> list[dict[str, Any]]:
        path = f"{self._path}/{folder}".rstrip("/")
        with self._client.get(f"{self._url}?path={quote(path, safe='')}", self._headers) as answer:
            self._check(answer)
            answer.read()
        try:
            files = json.loads(answer.content).get("files", [])
            names = [str(each["path"]) for each in files]
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise mlflow_errors.no_mlflow(self._address, self._server) from error
        if len(names) > _MOST_FILES:
            raise StorageError(Reason.BAD_LAYOUT, f"{self._address}/{folder} holds more than {_MOST_FILES} files")
        return list(files)

    def _find_file(self) -> Item:
        """The one file that the address is: its listing is empty, as that of what isn't there."""
        url = f"{self._url}/{quote(self._path)}"
        with self._client.get(url, {**self._headers, "Range": "bytes=0-0"}) as answer:
            self._check(answer)
            is_ranged = answer.status_code == httpx.codes.PARTIAL_CONTENT and bool(answer.headers.get("etag"))
            size = read_size(answer)
        return Item(self._path.rpartition("/")[2], url, size, "", ranged=is_ranged and size is not None)

    def _keeps_files(self, path: str) -> bool:
        """Whether the server has the files on a disk of its own. Else it brings the whole file here for each request,
        under a new etag or none: pieces would cost it the file each, and say nothing of the file's version.
        """
        seen = {self._read_etag(path) for _ in range(2)}
        return len(seen) == 1 and "" not in seen

    def _describe(self, path: str, size: int, *, is_kept: bool) -> Item:
        etag = self._read_etag(path) if is_kept else ""
        return Item(path, self._url_of(path), size, etag, ranged=bool(etag))

    def _read_etag(self, path: str) -> str:
        """What the server tells versions of a file apart by; empty where it sends no ranges, as of an empty file."""
        with self._client.get(self._url_of(path), {**self._headers, "Range": "bytes=0-0"}) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return ""
            self._check(answer)
            is_ranged = answer.status_code == httpx.codes.PARTIAL_CONTENT
            return str(answer.headers.get("etag", "")) if is_ranged else ""

    def _url_of(self, path: str) -> str:
        return f"{self._url}/{quote(f'{self._path}/{path}')}"

    def _check(self, answer: httpx.Response) -> None:
        mlflow_errors.check_status(answer, where=self._address, server=self._server, has_login=bool(self._headers))
