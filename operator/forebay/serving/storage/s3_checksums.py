"""Checks a file against an S3 ETag, which is an MD5, an MD5 of the parts' MD5s, or nothing of the kind."""

import hashlib
import math
import re
from pathlib import Path
from typing import Any

from forebay.serving.storage.source import Item

_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTS_MD5 = re.compile(r"[0-9a-f]{32}-(\d+)")
_READ_BYTES = 1024 * 1024


def matches(client: Any, bucket: str, item: Item, path: Path) -> bool:
    """Whether the file is what the ETag says; True as well when the ETag says nothing about the bytes."""
    if _MD5.fullmatch(item.etag):
        return md5_of_parts(path, [item.size or 0]) == item.etag or _is_encrypted(client, bucket, item)
    if (parts := _PARTS_MD5.fullmatch(item.etag)) is None:
        return True
    count = int(parts[1])
    first = _part_size(client, bucket, item, 1)
    if first is None:
        return True
    if first and math.ceil((item.size or 0) / first) == count:
        sizes = [first] * (count - 1) + [(item.size or 0) - first * (count - 1)]
        if md5_of_parts(path, sizes) == item.etag:
            return True
    if _is_encrypted(client, bucket, item):
        return True
    # Parts may differ in size: ask for each before anything is called damaged.
    asked = [first, *(_part_size(client, bucket, item, number) for number in range(2, count + 1))]
    known = [size for size in asked if size is not None]
    return sum(known) != item.size or md5_of_parts(path, known) == item.etag


def md5_of_parts(path: Path, sizes: list[int]) -> str:
    """The ETag of a file that was uploaded in parts of these sizes (bytes); of a single part, its plain MD5."""
    digests = []
    with path.open("rb") as file:
        for size in sizes:
            digest, left = hashlib.md5(usedforsecurity=False), size
            while left and (data := file.read(min(left, _READ_BYTES))):
                digest.update(data)
                left -= len(data)
            digests.append(digest)
    if len(digests) == 1:
        return digests[0].hexdigest()
    joined = hashlib.md5(b"".join(digest.digest() for digest in digests), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(digests)}"


def _is_encrypted(client: Any, bucket: str, item: Item) -> bool:
    """Whether the server encrypts the object with a key of its own service: then the ETag is of the ciphertext."""
    head = client.head_object(Bucket=bucket, Key=item.key)
    return str(head.get("ServerSideEncryption", "AES256")) != "AES256" or "SSECustomerAlgorithm" in head


def _part_size(client: Any, bucket: str, item: Item, number: int) -> int | None:
    """Size of one part in bytes; None when the server doesn't tell parts apart."""
    head = client.head_object(Bucket=bucket, Key=item.key, PartNumber=number)
    return int(head["ContentLength"]) if "PartsCount" in head else None
