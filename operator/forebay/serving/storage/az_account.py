"""A storage account of Azure, opened with what the AZURE_* variables give."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.storage.blob import BlobServiceClient

from forebay.serving.storage.errors import Reason, StorageError

_OPTIONS: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 30, "retry_total": 3, "initial_backoff": 1}


@dataclass(frozen=True)
class Account:
    """The client, and what it was opened with: `means` names the variables, empty for none."""

    service: BlobServiceClient
    means: str
    sas_token: str = field(default="", repr=False)

    def sas_expired(self) -> bool:
        """Whether the time in a SAS token is over."""
        end = parse_qs(self.sas_token.lstrip("?")).get("se", [""])[0]
        try:
            at = datetime.fromisoformat(end)
        except ValueError:
            return False
        return (at if at.tzinfo else at.replace(tzinfo=UTC)) < datetime.now(UTC)


def open_account(name: str) -> Account:
    """Open an account with the first of: connection string, SAS token, key, identity, nothing. Raises StorageError."""
    if text := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return _from_connection_string(name, text)
    endpoint = os.environ.get("AZURE_STORAGE_SERVICE_ENDPOINT") or f"https://{name}.blob.core.windows.net"
    credential: Any = None
    means = sas_token = ""
    key = os.environ.get("AZURE_STORAGE_KEY") or os.environ.get("AZURE_STORAGE_ACCESS_KEY")
    if sas_token := os.environ.get("AZURE_STORAGE_SAS_TOKEN", ""):
        means, credential = "AZURE_STORAGE_SAS_TOKEN", AzureSasCredential(sas_token)
    elif key:
        means, credential = "AZURE_STORAGE_KEY", AzureNamedKeyCredential(name, key)
    elif os.environ.get("AZURE_CLIENT_ID"):
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415  (takes half a second, and most don't need it)

        means = "AZURE_CLIENT_ID"
        # What is asked for is a pod's or a person's identity, never whoever is logged in on this machine.
        credential = DefaultAzureCredential(
            exclude_cli_credential=True,
            exclude_developer_cli_credential=True,
            exclude_powershell_credential=True,
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
        )
    try:
        return Account(BlobServiceClient(endpoint, credential=credential, **_OPTIONS), means, sas_token)
    except ValueError as error:
        raise StorageError(
            Reason.UNSUPPORTED_URI, f"{endpoint} is no address of an account: look at AZURE_STORAGE_SERVICE_ENDPOINT"
        ) from error


def _from_connection_string(name: str, text: str) -> Account:
    try:
        service = BlobServiceClient.from_connection_string(text, **_OPTIONS)
    except ValueError as error:
        raise StorageError(
            Reason.CREDENTIALS_MISSING,
            "AZURE_STORAGE_CONNECTION_STRING is no connection string: copy it again from the account's access keys",
        ) from error
    if service.account_name not in (None, name):
        raise StorageError(
            Reason.ACCESS_DENIED,
            f"AZURE_STORAGE_CONNECTION_STRING is of account {service.account_name}, and the uri names {name}: correct "
            "one of them",
        )
    fields = dict(part.partition("=")[::2] for part in text.split(";"))
    return Account(service, "AZURE_STORAGE_CONNECTION_STRING", fields.get("SharedAccessSignature", ""))
