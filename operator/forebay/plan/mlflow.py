"""What an address such as models:/digits@champion says, and where MLflow keeps the files of a version: pure."""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from forebay.plan.versions import UnusableVersionError

ARTIFACTS = "mlflow-artifacts:/"
_SCHEME = "models:/"
_MOST_CHARACTERS = 2048
_AZURE = ("wasb", "wasbs", "abfs", "abfss")
_SAME = ("s3", "gs", "https")


class Reference(NamedTuple):
    """A model of MLflow's registry, and the number or the alias of a version of it: one of them is empty."""

    name: str
    version: str
    alias: str


def is_mlflow(uri: str) -> bool:
    """Whether an address is of MLflow's registry."""
    return uri.startswith(_SCHEME)


def is_artifact(uri: str) -> bool:
    """Whether MLflow's server itself hands the files out."""
    return uri.startswith(ARTIFACTS)


def read_reference(uri: str) -> Reference:
    """What an address that has passed the API's rules names. A name may hold spaces, which stand there as %20."""
    name, sign, rest = re.split("([/@])", uri.removeprefix(_SCHEME), maxsplit=1)
    return Reference(unquote(name), rest if sign == "/" else "", unquote(rest) if sign == "@" else "")


def write_reference(name: str, *, version: str = "", alias: str = "") -> str:
    """The address of a version."""
    return f"{_SCHEME}{quote(name, safe='')}" + (f"@{quote(alias, safe='')}" if alias else f"/{version}")


def read_location(location: str, where: str, *, has_files: bool) -> str:
    """Where MLflow says that the files are, as an address that a download understands.

    `has_files`: who downloads may read files of this machine. Raises UnusableVersionError, which names `where`.
    """
    if len(location) > _MOST_CHARACTERS or not location.isprintable():
        raise UnusableVersionError(f"{where} has an address that can't be one: {location[:80]!r}")
    parts = urlsplit(location)
    path = parts.path.strip("/")
    if parts.scheme in _SAME and parts.netloc and path:
        return location.rstrip("/")
    if parts.scheme == "mlflow-artifacts" and path:
        if parts.netloc:
            raise UnusableVersionError(
                f"{where} lies at {location}, which names an artifact server of its own: register it with a source at "
                "the tracking server (mlflow-artifacts:/...), or in s3, gs or Azure"
            )
        return ARTIFACTS + path
    if parts.scheme in _AZURE and parts.hostname and "@" in parts.netloc and path:
        return f"az://{parts.hostname.partition('.')[0]}/{parts.netloc.partition('@')[0]}/{path}"
    if parts.scheme in ("", "file") and parts.netloc in ("", "localhost"):
        return _read_file(location, parts.path, where, has_files=has_files)
    raise UnusableVersionError(
        f"{where} lies at {location}, and {parts.scheme}: is no storage that Forebay reads: log it to s3, gs or Azure "
        "storage, or let MLflow's server hand files out (mlflow server --serve-artifacts)"
    )


def _read_file(location: str, path: str, where: str, *, has_files: bool) -> str:
    if not has_files:
        raise UnusableVersionError(
            f"{where} lies at {location}, on the disk of whoever logged it, where no pod can read it: start the server "
            "with --artifacts-destination (it hands files out then), and log the model anew"
        )
    if not path.startswith("/"):
        raise UnusableVersionError(f"{where} lies at {location}, in a folder that isn't said: log the model anew")
    return f"file:{unquote(path) if location.startswith('file') else path}"
