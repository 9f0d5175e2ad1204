"""What Azure Storage and its library say when they fail, in our words."""

from collections.abc import Callable, Mapping

from azure.core import exceptions as az

from forebay.serving.storage import wording
from forebay.serving.storage.az_account import Account
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.words import AZ

_CODES: Mapping[str, Callable[[str], StorageError]] = {
    "ContainerNotFound": AZ.no_bucket,
    "ContainerBeingDeleted": AZ.no_bucket,
    "InvalidResourceName": AZ.no_name,
    "BlobNotFound": AZ.gone,
    "ConditionNotMet": AZ.replaced,
    "AuthorizationPermissionMismatch": AZ.denied,
}
# What only Azure says.
_ADVICE: Mapping[str, str] = {
    "BlobArchived": "the blob is archived: rehydrate it first",
    "AuthorizationFailure": "the account doesn't allow it: look at its firewall and at the permissions (r and l) of a "
    "SAS token",
    "KeyBasedAuthenticationNotPermitted": "the account takes no keys: give an identity (AZURE_CLIENT_ID, "
    "AZURE_TENANT_ID, AZURE_CLIENT_SECRET)",
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
        return AZ.expired(where)
    if isinstance(error, az.ServiceRequestError):
        return AZ.unreachable(where, account.service.primary_hostname)
    if "MD5 mismatch" in str(error):  # after four tries
        return StorageError(
            Reason.CORRUPT_DOWNLOAD,
            f"{where}: the bytes that arrive don't match the MD5 that Azure sends with them, again and again: look at "
            "the proxies between (HTTPS_PROXY)",
        )
    return wording.breaks_off(where)


def _from_answer(error: az.HttpResponseError, *, where: str, account: Account) -> StorageError:
    code, status = str(getattr(error, "error_code", "") or ""), error.status_code or 0
    if not account.means and (code in _PRIVATE or status in (401, 403)):
        return AZ.missing_credentials(where)
    if status in (401, 403) and account.sas_expired():
        return AZ.expired(where)
    if code in _CODES:
        return _CODES[code](where)
    if code in _ADVICE:
        return StorageError(Reason.ACCESS_DENIED, f"{where}: {_ADVICE[code]}")
    if status in (401, 403):
        return _refused(where, account)
    return wording.server_error(where, f"{status} {code}")


def _refused(where: str, account: Account) -> StorageError:
    return StorageError(
        Reason.ACCESS_DENIED,
        f"{where}: the account refuses what {account.means} gives: copy it again, without spaces or line ends, and "
        "look whether it is of this account and this machine's clock is right",
    )
