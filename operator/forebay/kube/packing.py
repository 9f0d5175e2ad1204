"""Objects as they are kept in memory: a thousand ModelDeployments have eight thousand children."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
# Below this the time is worth more than the memory.
_SMALL = 3000


def pack(content: Mapping[str, Any]) -> bytes:
    """JSON, compressed where it is large."""
    text = json.dumps(content, separators=(",", ":")).encode()
    return text if len(text) < _SMALL else zlib.compress(text, 1)


def unpack(packed: bytes) -> Json:
    """What was packed."""
    content: Json = json.loads(packed if packed.startswith(b"{") else zlib.decompress(packed))
    return content
