"""pvc://CLAIM/PATH, nfs://SERVER/PATH and oci://IMAGE#PATH: volumes that a pod mounts, used where they lie."""

from pathlib import Path

from forebay.serving.storage import nearest
from forebay.serving.storage.errors import Reason, StorageError

SCHEMES = ("pvc://", "nfs://")


def find(uri: str, mount: Path) -> Path:
    """The path of a model whose volume is mounted. Raises StorageError: NotFound, AccessDenied or UnsupportedURI."""
    place, _, path = uri.partition("://")[2].partition("/")
    # Of a claim or an image all is mounted, of an NFS server the folder itself.
    whole, inside = (f"pvc://{place}", path.strip("/")) if uri.startswith("pvc://") else (uri, "")
    if uri.startswith("oci://"):
        whole, inside = (part.strip("/") for part in uri.split("#", 1))
    if ".." in inside.split("/"):
        raise StorageError(Reason.UNSUPPORTED_URI, f"{uri} leads out of its volume: write the path without ..")
    found = mount / inside
    try:
        if found.is_dir():
            next(found.iterdir(), None)
        else:
            found.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        guess, paths = nearest.suggest(
            inside, lambda parent: _children(mount / parent), lambda name: (mount / name).exists()
        )
        hint = nearest.phrase(guess=guess, places=[f"{whole}/{name}" for name in paths])
        raise StorageError(Reason.NOT_FOUND, f"{uri} does not exist; {hint}") from error
    except PermissionError as error:
        raise StorageError(
            Reason.ACCESS_DENIED,
            f"{uri} may not be read by the pod's user (uid 1000): chmod -R a+rX it, or set podTemplate.spec."
            "securityContext to a user who may",
        ) from error
    return found


def _children(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
