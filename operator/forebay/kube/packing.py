"""Objects as they are kept in memory: a thousand ModelDeployments have eight thousand children."""

import zlib
from collections.abc import Mapping
from typing import Any

import orjson

Json = dict[str, Any]
# Below this the time is worth more than the memory.
_SMALL = 3000


def pack(content: Mapping[str, Any]) -> bytes:
    """JSON, compressed where it is large."""
    text = orjson.dumps(content)
    return text if len(text) < _SMALL else zlib.compress(text, 1)


def unpack(packed: bytes) -> Json:
    """What was packed."""
    content: Json = orjson.loads(packed if packed.startswith(b"{") else zlib.decompress(packed))
    return content
