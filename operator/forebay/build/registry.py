"""Registries of images: which is asked by http, and a repository that is pushed to."""

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode, urljoin, urlsplit

import httpx

from forebay.build import registry_errors
from forebay.build.image import Descriptor, Document
from forebay.build.names import ImageName
from forebay.serving.storage.oci_errors import token_over
from forebay.serving.storage.oci_registry import Registry
from forebay.serving.storage.retry import READ_TRIES, retried

CONNECTIONS = 8
_PROBE_S = 5.0
# What is read of a registry's refusal.
_MOST_SAID = 4096


def is_plain(name: ImageName, *, insecure: bool) -> bool:
    """Whether the registry is to be asked by http: one on this machine, or where the user says so, that has no TLS."""
    if not (insecure or name.is_local):
        return False
    # Whether the certificate is right is asked later: here it only shows that there is one.
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        httpx.get(f"https://{name.registry}/v2/", verify=unverified, timeout=_PROBE_S)
    except httpx.TransportError:
        return True
    return False


class Target(Registry):
    """A repository that is pushed to. Methods raise StorageError and BuildError."""

    def __init__(self, name: ImageName, *, allow_loopback: bool, plain: bool, source: ImageName | None = None) -> None:
        """`source` is the base's name: in the same registry its blobs needn't be sent."""
        super().__init__(name.reference, connections=CONNECTIONS, allow_loopback=allow_loopback, plain=plain)
        self._name = name
        self._beside = source.repository if source and source.registry == name.registry else ""
        scopes = [f"repository:{name.repository}:pull,push"]
        if self._beside not in ("", name.repository):
            scopes.append(f"repository:{self._beside}:pull")
        self._scopes = tuple(scopes)

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        with self._ask("HEAD", f"{self._base}/blobs/{digest}") as answer:
            if answer.status_code != httpx.codes.NOT_FOUND:
                self._check(answer)
            return answer.is_success

    def mount(self, digest: str) -> bool:
        """Take a blob of the base over from where it lies in the same registry; False where that can't be."""
        if not self._beside:
            return False
        query = urlencode({"mount": digest, "from": self._beside})
        with self._ask("POST", f"{self._base}/blobs/uploads/?{query}") as answer:
            self._check(answer)
            mounted = answer.status_code == httpx.codes.CREATED
            place = self._find_place(answer)
        if not mounted:
            self._cancel(place)
        return mounted

    def upload(self, blob: Descriptor, read: Callable[[], Iterable[bytes]]) -> None:
        """Send a blob. What `read` gives is read anew for each try."""

        def send() -> None:
            with self._ask("POST", f"{self._base}/blobs/uploads/") as answer:
                self._check(answer)
                place = self._find_place(answer)
            sign = "&" if "?" in place else "?"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
            url = f"{place}{sign}{urlencode({'digest': blob.digest})}"
            with self._ask("PUT", url, headers, read()) as answer:
                self._check(answer)

        retried(send, tries=READ_TRIES)

    def put(self, document: Document, version: str) -> None:
        """Send a manifest or an index under a tag, or under its own digest."""

        def send() -> None:
            headers = {"Content-Type": document.descriptor.media_type, "Content-Length": str(len(document.body))}
            with self._ask("PUT", f"{self._base}/manifests/{version}", headers, [document.body]) as answer:
                self._check(answer)

        retried(send, tries=READ_TRIES)

    def _find_challenge(self) -> str | None:
        """By what is going to be done: many registries let anybody read."""
        with self._client.ask("POST", f"{self._base}/blobs/uploads/", {"Content-Length": "0"}) as answer:
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                return str(answer.headers.get("www-authenticate", ""))
            place = self._find_place(answer) if answer.is_success else ""
        if place:
            self._cancel(place, headers={})
        return None

    @contextmanager
    def _ask(
        self, method: str, url: str, headers: dict[str, str] | None = None, content: Iterable[bytes] | None = None
    ) -> Iterator[httpx.Response]:
        # Where a store of its own takes the blobs, the registry has signed the address.
        ours = urlsplit(url).netloc == urlsplit(self._base).netloc
        signed = self._authorize() if ours else {}
        length = {} if content is not None or method == "HEAD" else {"Content-Length": "0"}
        with self._client.ask(method, url, {**length, **signed, **(headers or {})}, content) as answer:
            if answer.status_code == httpx.codes.UNAUTHORIZED and "Bearer" in signed.get("Authorization", ""):
                with self._lock:
                    self._authorization = None
                raise token_over(self._where)
            yield answer

    def _check(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            said = b"".join(answer.iter_raw(_MOST_SAID))[:_MOST_SAID]
            raise registry_errors.explain(answer.status_code, said, self._name, signed=self._basic is not None)

    def _find_place(self, answer: httpx.Response) -> str:
        return urljoin(f"{self._base}/", str(answer.headers.get("location", "")))

    def _cancel(self, place: str, headers: dict[str, str] | None = None) -> None:
        """Let go of an upload that isn't needed. A registry that can't forgets it by itself."""
        with self._client.ask("DELETE", place, self._authorize() if headers is None else headers):
            pass
