"""oci://REGISTRY/REPOSITORY:TAG or @DIGEST: an artifact whose layers are files, or archives of files."""

import re
from collections.abc import Iterator
from typing import Any

from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.https_errors import corrupt
from forebay.serving.storage.oci_registry import Reference, Registry
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import SHA256, Sum

_URI = re.compile(
    r"oci://([\w.-]+(?::\d+)?|\[[\da-fA-F:.]+\](?::\d+)?)/([\w./-]+)(?::([\w][\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?"
)
_TITLE, _UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
_TAR = re.compile(r"[.+/]tar(\+gzip|\.gzip|-gzip)?$")


class OciSource:
    """One manifest. Credentials come from a docker config.json; every layer is checked by its digest."""

    def __init__(self, uri: str, *, connections: int, allow_loopback: bool) -> None:
        """Raises StorageError(UnsupportedURI) when the address names no artifact."""
        if (match := _URI.fullmatch(uri)) is None:
            raise StorageError(
                Reason.UNSUPPORTED_URI,
                f"{redact(uri)} names no artifact: write oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST",
            )
        self._reference = Reference(match[1], match[2].strip("/"), match[4] or match[3] or "latest")
        self._registry = Registry(self._reference, connections=connections, allow_loopback=allow_loopback)

    def find(self) -> Listing:
        """List the layers. Raises StorageError, NotFound with a tag that is probably meant."""
        layers = self._registry.read_manifest().get("layers") or []
        items = tuple(self._read_layer(number, layer) for number, layer in enumerate(layers, 1))
        if not items:
            raise self._bad("has no layers: push the model's files, as with `oras push`")
        paths = [item.path for item in items]
        if len({*paths}) < len(paths):
            raise self._bad("has two layers of one name: push it anew")
        return Listing(items)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Stream bytes [start, end) of a layer."""
        span = None if end is None or (start, end) == (0, item.size) else (start, end)
        yield from self._registry.read_blob(item.key, span)

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """Of each layer the one that it is named by."""
        return (SHA256,)

    def check(self, item: Item, file: Arrived) -> None:
        """Compare a layer with its digest. Raises StorageError(CorruptDownload)."""
        got = f"sha256:{file.read_sum(SHA256).hex()}"
        if got != item.key:
            raise corrupt(f"{self._reference}: {item.path}", f"the digest of what arrived is {got}, not {item.key}")

    def close(self) -> None:
        """Let the connections go."""
        self._registry.close()

    def _read_layer(self, number: int, layer: dict[str, Any]) -> Item:
        digest, kind = str(layer.get("digest")), str(layer.get("mediaType"))
        if re.fullmatch("sha256:[0-9a-f]{64}", digest) is None or not isinstance(layer.get("size"), int):
            raise self._bad(f"has a layer ({number}) without a sha256 digest and a size: push it anew")
        annotations = layer.get("annotations") or {}
        title, is_tar = annotations.get(_TITLE), _TAR.search(kind) is not None
        packed = is_tar and (not title or annotations.get(_UNPACK) == "true")
        if not title and not packed:
            raise self._bad(
                f"has a layer ({number}, of type {kind}) that is no tar archive and has no name: give it the "
                f"annotation {_TITLE}, as `oras push` does"
            )
        # An archive's own name is nobody's: it is gone when the archive is unpacked.
        path = f"layer-{number}.tar" if packed else str(title)
        return Item(path, digest, int(layer["size"]), digest, packed=packed)

    def _bad(self, what: str) -> StorageError:
        return StorageError(Reason.BAD_LAYOUT, f"{self._reference} {what}")
