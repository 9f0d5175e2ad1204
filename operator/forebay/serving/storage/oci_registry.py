"""A repository of a registry, by the distribution API: manifests, blobs, and the tokens for them."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from forebay.serving.storage import nearest, oci_errors
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.https_client import HttpsClient
from forebay.serving.storage.https_errors import corrupt
from forebay.serving.storage.oci_credentials import find_basic

# What a registry may say at most before it must be a file.
MOST_BYTES = 4 * 1024 * 1024
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_FIELD = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Reference:
    """An artifact's address: `version` is a tag or a digest."""

    registry: str
    repository: str
    version: str

    def __str__(self) -> str:
        sign = "@" if self.version.startswith("sha256:") else ":"
        return f"oci://{self.registry}/{self.repository}{sign}{self.version}"


class Registry:
    """One repository, opened for reading. Its methods are called from several threads."""

    def __init__(self, reference: Reference, *, connections: int, allow_loopback: bool, plain: bool = False) -> None:
        """`plain`: by http. Raises StorageError when the docker config can't be read."""
        self._reference, self._where = reference, str(reference)
        host = _HOSTS.get(reference.registry, reference.registry)
        # What a token is asked for.
        self._scopes: tuple[str, ...] = (f"repository:{reference.repository}:pull",)
        self._base = f"{'http' if plain else 'https'}://{host}/v2/{reference.repository}"
        self._basic = find_basic(reference.registry)
        self._authorization: dict[str, str] | None = None
        self._lock = threading.Lock()
        self._client = HttpsClient(self._where, connections=connections, allow_loopback=allow_loopback, plain=plain)

    def read_manifest(self) -> dict[str, Any]:
        """The artifact's manifest, checked where it is named by its digest. Raises StorageError."""
        manifest = self._parse(self.read_document(self._reference.version))
        if "manifests" in manifest:
            raise StorageError(
                Reason.BAD_LAYOUT,
                f"{self._where} is an index of several manifests: name one of them by its digest, "
                f"@{next((each.get('digest') for each in manifest['manifests']), 'sha256:...')}",
            )
        return manifest

    def read_document(self, version: str) -> bytes:
        """A manifest or an index as it is there, by tag or (then checked) by digest. Raises StorageError."""
        body = self._get(f"manifests/{version}", Accept=_MANIFESTS)
        if version.startswith("sha256:") and f"sha256:{hashlib.sha256(body).hexdigest()}" != version:
            raise corrupt(self._where, "the manifest doesn't have this digest")
        return body

    def read_blob(self, digest: str, span: tuple[int, int] | None) -> Iterator[bytes]:
        """Stream a blob, or bytes [start, end) of it. Raises StorageError, transient when a token has run out."""
        headers = self._authorize()

        def check(answer: httpx.Response) -> None:
            if answer.status_code == httpx.codes.UNAUTHORIZED and headers:
                with self._lock:
                    self._authorization = None
                raise oci_errors.token_over(self._where)
            oci_errors.check_status(answer, where=self._where, signed=self._basic is not None)

        yield from self._client.read(f"{self._base}/blobs/{digest}", headers, span, check)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _authorize(self) -> dict[str, str]:
        """Headers that the registry lets us in with: asked for once, then kept."""
        with self._lock:
            if self._authorization is None:
                challenge = self._find_challenge()
                self._authorization = {} if challenge is None else self._answer(challenge)
            return self._authorization

    def _find_challenge(self) -> str | None:
        """What the registry asks for before it lets anybody in; None where it asks for nothing."""
        with self._client.get(f"{self._base}/manifests/{self._reference.version}", {"Accept": _MANIFESTS}) as answer:
            needed = answer.status_code == httpx.codes.UNAUTHORIZED
            return answer.headers.get("www-authenticate", "") if needed else None

    def _answer(self, challenge: str) -> dict[str, str]:
        scheme = challenge.partition(" ")[0].lower()
        fields = dict(_FIELD.findall(challenge))
        basic = {"Authorization": f"Basic {self._basic}"} if self._basic else {}
        if scheme != "bearer" or "realm" not in fields:
            return basic
        query = {"service": fields.get("service", ""), "scope": self._scopes}
        sign = "&" if "?" in fields["realm"] else "?"
        with self._client.get(f"{fields['realm']}{sign}{urlencode(query, doseq=True)}", basic) as answer:
            oci_errors.check_status(answer, where=self._where, signed=self._basic is not None)
            said = self._parse(_read_all(answer, self._where))
        return {"Authorization": f"Bearer {said.get('token') or said.get('access_token')}"}

    def _get(self, path: str, **headers: str) -> bytes:
        with self._client.get(f"{self._base}/{path}", {**self._authorize(), **headers}) as answer:
            found = answer.status_code != httpx.codes.NOT_FOUND or not path.startswith("manifests/")
            if found:
                oci_errors.check_status(answer, where=self._where, signed=self._basic is not None)
                return _read_all(answer, self._where)
        raise self._not_found()

    def _not_found(self) -> StorageError:
        try:
            tags = [str(tag) for tag in self._parse(self._get("tags/list?n=100")).get("tags") or []]
        except StorageError:
            tags = []
        if not tags:
            return StorageError(
                Reason.NOT_FOUND, f"{self._where}: the registry has no such repository: correct the uri"
            )
        guess, found = nearest.suggest(self._reference.version, lambda _: tags, lambda tag: tag in tags)
        address = f"oci://{self._reference.registry}/{self._reference.repository}"
        hint = nearest.phrase(guess=guess, places=[f"{address}:{tag}" for tag in found])
        return StorageError(Reason.NOT_FOUND, f"{self._where}: the repository has no such tag or digest; {hint}")

    def _parse(self, body: bytes) -> dict[str, Any]:
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise StorageError(
                Reason.SERVER_ERROR, f"{self._where}: the server answers something else than a registry does"
            )
        return said


def _read_all(answer: httpx.Response, where: str) -> bytes:
    body = b""
    for data in answer.iter_raw():
        body += data
        if len(body) > MOST_BYTES:
            raise StorageError(Reason.SERVER_ERROR, f"{where}: the registry's answer is larger than {MOST_BYTES} bytes")
    return body
