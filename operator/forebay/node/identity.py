"""What a listing tells of a file's content, so that the same content needn't come twice: pure.

What a server says is believed of its own bucket or repository alone. Else whoever runs a server, and knows a digest,
could have the file of others, or put another under its name.
"""

import hashlib
import json
import re
from collections.abc import Mapping

from forebay.serving.storage.errors import split
from forebay.serving.storage.source import Item, Listing

# The variables that say which server an address is of.
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("STORAGE_EMULATOR_HOST",),
    "az": ("AZURE_STORAGE_CONNECTION_STRING",),
    "hf": ("HF_ENDPOINT",),
}
# How many steps of the path name the bucket, the container or the repository.
_STEPS = {"s3": 0, "gs": 0, "az": 1, "hf": 1}
_S3_SUM = re.compile(r"[0-9a-f]{32}(-\d+)?")


def find_origin(uri: str, environ: Mapping[str, str]) -> str:
    """The server, and the bucket or repository of it, whose word counts. Raises StorageError(UnsupportedURI)."""
    parts = split(uri.partition("#")[0])
    endpoint = next((environ[name] for name in _ENDPOINTS.get(parts.scheme, ()) if environ.get(name)), "")
    if parts.scheme == "https":
        return _hash("https", uri.partition("#")[0])
    path = parts.path.strip("/")
    if parts.scheme == "oci":
        inside = path.partition("@")[0].rpartition(":")[0] or path.partition("@")[0]
    else:
        inside = "/".join(path.split("/")[: _STEPS.get(parts.scheme, 0)])
        inside = re.split("[@:]", inside)[0] if parts.scheme == "hf" else inside
    return _hash(parts.scheme, endpoint, parts.netloc, inside)


def identify(scheme: str, origin: str, item: Item) -> str:
    """What tells one content from another in an origin; empty where the server doesn't tell versions apart."""
    if not item.etag:
        return ""
    checksum = _find_checksum(scheme, item.etag)
    return _hash(origin, checksum or [item.key, item.etag], item.size)


def identify_listing(scheme: str, origin: str, listing: Listing) -> str:
    """As `identify`, of all that is listed: for archives, which become other files."""
    each = [identify(scheme, origin, item) for item in listing.items]
    return _hash(origin, sorted(zip(each, (item.path for item in listing.items), strict=True))) if all(each) else ""


def name_download(origin: str, uri: str, listing: Listing) -> str:
    """The folder of a download: whoever is given the same listing, by the same server, goes on with it."""
    return _hash(origin, uri, sorted((item.path, item.size, item.etag) for item in listing.items))


def _find_checksum(scheme: str, etag: str) -> str:
    """The part of an etag that says what is in the file, wherever it lies; empty if there is none."""
    if scheme == "s3":
        return etag if _S3_SUM.fullmatch(etag) else ""
    if scheme == "gs":
        _, algorithm, value = [*etag.split(":", 2), "", ""][:3]
        return f"{algorithm}:{value}" if value else ""
    if scheme == "az":
        return etag.partition(" ")[2]
    return etag if scheme in ("hf", "oci") else ""


def _hash(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
