"""What an HTTP answer says of the file: its size, and its digest."""

import base64
import binascii
import re
from dataclasses import dataclass

import httpx

# RFC 3230 (`Digest: sha-256=BASE64`) and RFC 9530 (`Repr-Digest: sha-256=:BASE64:`) speak of the whole file even when
# a range is sent; Content-Digest and Content-MD5 speak of the range, so they say nothing here.
_DIGEST = re.compile(r"(?:^|,)\s*sha-(256|512)=:?([A-Za-z0-9+/]+=*):?", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


@dataclass(frozen=True)
class Expected:
    """What the file's digest must be, and who says so."""

    algorithm: str
    hex_digest: str
    source: str


def read_digest(headers: httpx.Headers) -> Expected | None:
    """The digest of the whole file, if the server sends one that is understood."""
    for name in ("Repr-Digest", "Digest"):
        if (match := _DIGEST.search(headers.get(name, ""))) is not None:
            try:
                return Expected(f"sha{match[1]}", base64.b64decode(match[2]).hex(), "the server")
            except binascii.Error:
                continue
    return None


def read_size(answer: httpx.Response) -> int | None:
    """The size of the whole file in bytes, None when the server doesn't say."""
    if answer.status_code == httpx.codes.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        return int(match[1]) if match else None
    length = answer.headers.get("content-length", "")
    # With a content encoding the length is that of the encoded bytes.
    plain = answer.headers.get("content-encoding", "identity") == "identity"
    return int(length) if length.isdigit() and plain else None


def read_version(answer: httpx.Response) -> str:
    """What tells this version of the file from others; empty where the server says nothing of that."""
    return str(answer.headers.get("etag") or answer.headers.get("last-modified") or "")
