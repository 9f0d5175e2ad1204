"""What the server of a script runs on: libraries that share its process, so that no requirement may replace them."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What forebay.serving imports. What the download alone uses (boto3, ...) runs in a process of its own, and is free.
_ROOTS = (
    "forebay", "grpcio", "numpy", "prometheus-client", "python-multipart", "starlette", "swagger-ui-bundle",
    "tritonclient[grpc]", "uvicorn[standard]", "uvloop",
)  # fmt: skip


@cache
def find_brought() -> Mapping[str, str]:
    """Names and versions of these libraries and of what they need, as they are installed here."""
    found: dict[str, str] = {}
    waiting = [Requirement(root) for root in _ROOTS]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        try:
            found[name] = distribution(name).version
        except PackageNotFoundError:
            continue
        # Of forebay itself the server uses a part: the others of its libraries are free, too.
        waiting += [] if name == "forebay" else _needs(wanted)
    return dict(sorted(found.items()))


def _needs(wanted: Requirement) -> Iterator[Requirement]:
    for text in distribution(wanted.name).requires or []:
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
            yield need
