"""Bodies of REST requests: read within bounds, decompressed, and turned into what a script works on."""

import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from forebay.serving.errors import BadRequest, ServingError, quote
from forebay.serving.v2 import load_json

_WINDOW_BITS = {"gzip": 31, "deflate": 15}


async def read_body(request: HttpRequest, limit_bytes: int) -> bytearray:
    """The whole body, decompressed where Content-Encoding says so. Beyond the limit: 413.

    It is a bytearray so that arrays over it can be written to.
    """
    body = bytearray()
    too_big = ServingError(f"the body is bigger than {limit_bytes} bytes: see --max-request-mib", status=413)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit_bytes:
        raise too_big
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit_bytes:
                raise too_big
    except ClientDisconnect as error:
        raise ServingError("the client went away", status=499) from error
    encoding = request.headers.get("content-encoding", "identity").lower()
    return body if encoding == "identity" else _decompress(body, encoding, limit_bytes)


def _decompress(body: bytearray, encoding: str, limit_bytes: int) -> bytearray:
    if encoding not in _WINDOW_BITS:
        raise ServingError(f"content-encoding must be gzip or deflate, not {quote(encoding)}", status=415)
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = bytearray(stream.decompress(body, limit_bytes + 1))
    except zlib.error as error:
        raise BadRequest(f"the body is not {encoding}: {error}") from error
    if len(plain) > limit_bytes:
        raise ServingError(f"the body is bigger than {limit_bytes} bytes when decompressed", status=413)
    if not stream.eof:
        raise BadRequest(f"the body ends in the middle of its {encoding} stream")
    return plain


async def decode_payload(headers: Headers, body: bytearray) -> tuple[Any, str, dict[str, str]]:
    """What /predict was sent: the payload, its content type, and the plain fields of a form.

    JSON is decoded. The one file of a form is its bytes; several are a dict of bytes by field. Everything else is
    bytes. Where the client names no type, or the one that curl makes up, JSON is taken as JSON.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _decode_form(headers, body)
    if content_type == "application/json" or content_type.endswith("+json"):
        return load_json(body), content_type, {}
    if content_type in ("", "application/x-www-form-urlencoded"):
        if re.match(rb"\s*[\[{]", body):
            return load_json(body), "application/json", {}
        content_type = "application/octet-stream"
    return bytes(body), content_type, {}


class _InMemoryParser(MultiPartParser):
    """The body is in memory already, and in a pod there may be no disk to write its parts to."""

    spool_max_size = 2**62


async def _decode_form(headers: Headers, body: bytearray) -> tuple[Any, str, dict[str, str]]:
    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(body)
        yield b""

    try:
        form = await _InMemoryParser(headers, chunks(), max_files=64, max_fields=256).parse()  # type: ignore[arg-type]
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadRequest(f"the form cannot be read: {getattr(error, 'message', error)}") from error
    return await _read_form(form)


async def _read_form(form: FormData) -> tuple[Any, str, dict[str, str]]:
    files: dict[str, bytes] = {}
    fields: dict[str, str] = {}
    content_type = "multipart/form-data"
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files[name] = await value.read()
            content_type = value.content_type or "application/octet-stream"
        else:
            fields[name] = value
    if not files:
        raise BadRequest("the form has no file: send one, as `curl -F file=@image.png` does")
    return (
        (files, "multipart/form-data", fields) if len(files) > 1 else (next(iter(files.values())), content_type, fields)
    )
