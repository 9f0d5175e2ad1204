"""Which of a Secret's keys a download is given.

The agent is root on its node. AWS_CONFIG_FILE, LD_PRELOAD and their like would let whoever writes a Secret run programs
there: so a few are let through by name, and no others.
"""

import json
import os
import re
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from forebay.serving.storage.addresses import Guard
from forebay.serving.storage.errors import Reason, StorageError

ALLOWED = frozenset(
    {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
        "GOOGLE_APPLICATION_CREDENTIALS_JSON",
        "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET",
        "HF_TOKEN", "HF_ENDPOINT",
        "DOCKER_AUTH_CONFIG",
        "HTTPS_TOKEN",
    }
)  # fmt: skip
# Of the agent's own: how to find Python, the way out, and where roles are assumed.
_INHERITED = frozenset(
    {"PATH", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
     "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "AWS_REGION",
     "AWS_ENDPOINT_URL_STS"}
)  # fmt: skip
# An index is asked with these alone: UV_FIND_LINKS and its like would read the node's files.
OF_INDEX = ("UV_INDEX_CUSTOM_USERNAME", "UV_INDEX_CUSTOM_PASSWORD", "UV_DEFAULT_INDEX")
_OF_SECRET = OF_INDEX[:2]
_OF_AGENT = ("UV_DEFAULT_INDEX", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES")
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HF_ENDPOINT")
# No user, no backslash: of such, libraries read different hosts.
_ENDPOINT = re.compile(r"https?://[\w.:%\[\]-]+(?:[/?#][^\\\s]*)?", re.ASCII | re.IGNORECASE)
# The node's own identity is nobody's credentials.
_FIXED = {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true", "PYTHONUNBUFFERED": "1", "HOME": "/nonexistent"}


def build_environment(secret: Mapping[str, str]) -> dict[str, str]:
    """The environment of a download."""
    return {**_pick(os.environ, _INHERITED), **_FIXED, **_pick(secret, ALLOWED)}


def build_index_environment(secret: Mapping[str, str]) -> dict[str, str]:
    """The environment in which libraries are installed. The index that stands in for pypi.org is the agent's to say."""
    return {**_pick(os.environ, {*_INHERITED, *_OF_AGENT}), **_FIXED, **_pick(secret, _OF_SECRET)}


def _pick(every: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in every.items() if name in names}


def check_endpoints(environment: Mapping[str, str], *, allow_loopback: bool) -> None:
    """Refuse a server's address that leads to this machine or to its credentials: StorageError(UnsupportedURI)."""
    for name, url in _find_endpoints(environment):
        where = f"{name} of the credentials"
        if not _ENDPOINT.fullmatch(url):
            raise StorageError(
                Reason.UNSUPPORTED_URI, f"{where} is no server's address: write https://HOST or https://HOST:PORT"
            )
        guard = Guard(where, allow_loopback=allow_loopback)
        host = urlsplit(url).hostname or ""
        guard.check_host(host)
        for address in _resolve(host):
            guard.check_host(address)


def _find_endpoints(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Whose addresses the credentials themselves say, and where they say it."""
    for name in _ENDPOINTS:
        if url := environment.get(name):
            yield name, url
    for part, url in _find_in_connection_string(environment.get("AZURE_STORAGE_CONNECTION_STRING", "")):
        yield f"{part} in AZURE_STORAGE_CONNECTION_STRING", url
    with suppress(ValueError, TypeError, KeyError):  # the download says that it is no key
        key = json.loads(environment.get("GOOGLE_APPLICATION_CREDENTIALS_JSON", ""))
        yield "token_uri in GOOGLE_APPLICATION_CREDENTIALS_JSON", str(key["token_uri"])


def _find_in_connection_string(text: str) -> Iterator[tuple[str, str]]:
    """As Azure's library reads it: names in any case, the last one counts, and https:// may be left out."""
    fields = {name.upper(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
    if fields.get("USEDEVELOPMENTSTORAGE") == "true":
        yield "UseDevelopmentStorage", "http://127.0.0.1"
    for name in ("BlobEndpoint", "BlobSecondaryEndpoint"):
        if url := fields.get(name.upper()):
            yield name, url if url.lower().startswith("http") else f"https://{url}"
    if suffix := fields.get("ENDPOINTSUFFIX"):
        yield "EndpointSuffix", f"https://{fields.get('ACCOUNTNAME', '')}.blob.{suffix}"


def _resolve(host: str) -> set[str]:
    try:
        return {str(ip_address(found[4][0])) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, ValueError):
        return set()  # the connection fails for the same reason, and says so
