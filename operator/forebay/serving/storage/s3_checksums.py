"""What S3 says of an object's bytes: a checksum that was uploaded with it, or an ETag that is made of MD5s."""

import re
from collections.abc import Mapping
from typing import Any

from forebay.serving.storage.checksums import Arrived, write_base64
from forebay.serving.storage.source import Item
from forebay.serving.storage.sums import MD5, Sum

_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTS_MD5 = re.compile(r"[0-9a-f]{32}-(\d+)")
# Quickest first; CRC64NVME needs a library of its own, and beside it there is an ETag.
_ALGORITHMS = ("CRC32C", "CRC32", "SHA1", "SHA256")


class Checks:
    """The checks of one bucket's objects."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket
        self._algorithms: dict[str, tuple[str, bool]] = {}
        self._told: dict[str, str] = {}
        self._part_bytes: dict[str, int] = {}

    def note(self, entry: Mapping[str, Any]) -> None:
        """Keep what the listing says of an object's checksum."""
        given = [each for each in _ALGORITHMS if each in entry.get("ChecksumAlgorithm", ())]
        if given:
            self._algorithms[entry["Key"]] = (given[0], entry.get("ChecksumType") == "COMPOSITE")

    def remember(self, item: Item, headers: Mapping[str, str]) -> None:
        """Keep the checksum that came with the whole object."""
        if item.key in self._algorithms:
            name = f"x-amz-checksum-{self._algorithms[item.key][0].lower()}"
            if name in headers:
                self._told[item.key] = headers[name]

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """The sum to take, where the server tells anything."""
        algorithm, in_parts = self._find_kind(item)
        if not in_parts:
            return (Sum(algorithm),) if algorithm else ()
        part_bytes = self._find_part_bytes(item)
        return (Sum(algorithm, part_bytes),) if part_bytes else ()

    def matches(self, item: Item, file: Arrived) -> bool:
        """Whether the file is what the server says; True as well when it says nothing about the bytes."""
        (wanted,) = self.sums(item) or (None,)
        value = self._find_value(item, wanted.algorithm) if wanted else ""
        if wanted is None or not value or _write(wanted.algorithm, file.read_sum(wanted)) == value:
            return True
        if wanted.algorithm == MD5.algorithm and self._is_encrypted(item):
            return True
        return wanted.part_bytes > 0 and self._matches_uneven(item, file, wanted.algorithm, value)

    def _find_kind(self, item: Item) -> tuple[str, bool]:
        """The algorithm, empty for none, and whether it was taken of each part."""
        if (known := self._algorithms.get(item.key)) is not None:
            return known[0].lower(), known[1]
        if _MD5.fullmatch(item.etag):
            return MD5.algorithm, False
        in_parts = _PARTS_MD5.fullmatch(item.etag) is not None
        return MD5.algorithm if in_parts else "", in_parts

    def _find_value(self, item: Item, algorithm: str) -> str:
        """What the sum must be; of one that was taken of parts without their number."""
        if algorithm == MD5.algorithm:
            return item.etag.partition("-")[0]
        if item.key not in self._told:
            head = self._client.head_object(Bucket=self._bucket, Key=item.key, ChecksumMode="ENABLED")
            self._told[item.key] = str(head.get(f"Checksum{algorithm.upper()}", ""))
        return self._told[item.key].partition("-")[0]

    def _find_part_bytes(self, item: Item) -> int:
        """Size of the first part, 0 when the server doesn't tell parts apart."""
        if item.key not in self._part_bytes:
            self._part_bytes[item.key] = self._ask_part_bytes(item, 1) or 0
        return self._part_bytes[item.key]

    def _matches_uneven(self, item: Item, file: Arrived, algorithm: str, value: str) -> bool:
        """As parts may differ in size: ask for each before anything is called damaged."""
        numbers = range(1, int(item.etag.rpartition("-")[2]) + 1) if _PARTS_MD5.fullmatch(item.etag) else ()
        sizes = [self._ask_part_bytes(item, number) or 0 for number in numbers]
        return sum(sizes) != item.size or _write(algorithm, file.read_sum_of_parts(algorithm, sizes)) == value

    def _is_encrypted(self, item: Item) -> bool:
        """Whether the server encrypts the object with a key of its own service: then the ETag is of the ciphertext."""
        head = self._client.head_object(Bucket=self._bucket, Key=item.key)
        return str(head.get("ServerSideEncryption", "AES256")) != "AES256" or "SSECustomerAlgorithm" in head

    def _ask_part_bytes(self, item: Item, number: int) -> int | None:
        """Size of one part in bytes; None when the server doesn't tell parts apart."""
        head = self._client.head_object(Bucket=self._bucket, Key=item.key, PartNumber=number)
        return int(head["ContentLength"]) if "PartsCount" in head else None


def _write(algorithm: str, digest: bytes) -> str:
    """As S3 does: an ETag in hexadecimal, checksums in base64."""
    return digest.hex() if algorithm == MD5.algorithm else write_base64(digest)
