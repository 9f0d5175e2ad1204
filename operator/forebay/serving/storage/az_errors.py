"""What Azure Storage and its library say when they fail, in our words."""

from azure.core import exceptions as az

from forebay.serving.storage.az_account import Account
from forebay.serving.storage.errors import Reason, StorageError

_CODES: dict[str, tuple[Reason, str]] = {
    "ContainerNotFound": (
        Reason.BUCKET_NOT_FOUND,
        "there is no such container: look for a typing error, or for a container of another account",
    ),
    "ContainerBeingDeleted": (Reason.BUCKET_NOT_FOUND, "the container is being deleted: correct the uri"),
    "InvalidResourceName": (Reason.BUCKET_NOT_FOUND, "Azure can't have such a container or blob: correct the uri"),
    "BlobNotFound": (
        Reason.CORRUPT_DOWNLOAD,
        "the blob is gone: it was deleted during the download; run this again",
    ),
    "ConditionNotMet": (Reason.CORRUPT_DOWNLOAD, "the blob was replaced during the download: run this again"),
    "BlobArchived": (Reason.ACCESS_DENIED, "the blob is archived: rehydrate it first"),
    "AuthorizationPermissionMismatch": (
        Reason.ACCESS_DENIED,
        "the credentials don't allow it: grant the role Storage Blob Data Reader on the container, or a SAS token with "
        "the permissions r and l",
    ),
    "AuthorizationFailure": (
        Reason.ACCESS_DENIED,
        "the account doesn't allow it: look at its firewall and at the permissions (r and l) of a SAS token",
    ),
    "KeyBasedAuthenticationNotPermitted": (
        Reason.ACCESS_DENIED,
        "the account takes no keys: give an identity (AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET)",
    ),
}
# What an account answers to nobody in particular about what isn't public; it doesn't say whether it is there.
_PRIVATE = ("ResourceNotFound", "PublicAccessNotPermitted", "NoAuthenticationInformation", "AuthorizationFailure")


def translate(error: az.AzureError, *, where: str, account: Account) -> StorageError:
    """Translate an error of the library. `where` names account, container and blob."""
    if isinstance(error, az.HttpResponseError) and error.response is not None:
        return _from_answer(error, where=where, account=account)
    if isinstance(error, az.ClientAuthenticationError):
        if account.means != "AZURE_CLIENT_ID":  # a key that nothing can be signed with
            return _refused(where, account)
        return StorageError(
            Reason.CREDENTIALS_EXPIRED,
            f"{where}: Azure gives no token for this identity: look at AZURE_CLIENT_ID, AZURE_TENANT_ID and "
            "AZURE_CLIENT_SECRET (whose time may be over)",
        )
    if isinstance(error, az.ServiceRequestError):
        return StorageError(
            Reason.ENDPOINT_UNREACHABLE,
            f"{where}: {account.service.primary_hostname} can't be reached: look for a typing error in the account's "
            "name, at name resolution, proxies (HTTPS_PROXY) and network policies",
            transient=True,
        )
    return StorageError(
        Reason.CORRUPT_DOWNLOAD,
        f"{where} breaks off, again and again: look at the limits of the server, or of the proxy before it",
        transient=True,
    )


def _from_answer(error: az.HttpResponseError, *, where: str, account: Account) -> StorageError:
    code, status = str(getattr(error, "error_code", "") or ""), error.status_code or 0
    if not account.means and (code in _PRIVATE or status in (401, 403)):
        return StorageError(
            Reason.CREDENTIALS_MISSING,
            f"{where} isn't public, or isn't there, and no credentials are set: set AZURE_STORAGE_SAS_TOKEN, "
            "AZURE_STORAGE_KEY, or AZURE_CLIENT_ID with AZURE_TENANT_ID and AZURE_CLIENT_SECRET (in a ModelDeployment: "
            "spec.model.credentials.secretName)",
        )
    if status in (401, 403) and account.sas_expired():
        return StorageError(
            Reason.CREDENTIALS_EXPIRED,
            f"{where}: the SAS token's time is over: make a new one, with permissions r and l",
        )
    if code in _CODES:
        reason, advice = _CODES[code]
        return StorageError(reason, f"{where}: {advice}")
    if status in (401, 403):
        return _refused(where, account)
    return StorageError(
        Reason.SERVER_ERROR,
        f"{where}: the server answers {status} {code}: run this again, and look at the server's own log if it goes on",
    )


def _refused(where: str, account: Account) -> StorageError:
    return StorageError(
        Reason.ACCESS_DENIED,
        f"{where}: the account refuses what {account.means} gives: copy it again, without spaces or line ends, and "
        "look whether it is of this account and this machine's clock is right",
    )
