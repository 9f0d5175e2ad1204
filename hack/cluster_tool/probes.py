"""Is it ready? Each probe answers None, or says what is missing."""

import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

# The servers' certificates are made on this machine a moment ago, or by the component itself.
UNVERIFIED = ssl._create_unverified_context()  # noqa: S323
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=UNVERIFIED)
)  # fmt: skip


def answers(url: str) -> str | None:
    """None when the URL answers 200."""
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        said = error.read(300).decode(errors="replace").strip().splitlines()
        return f"{url} answers {error.code} {said[0] if said else ''}"
    except OSError as error:
        return f"{url}: {getattr(error, 'reason', error)}"
    return None


def listens(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError as error:
            return f"{path}: {error.strerror or error}"
    return None
