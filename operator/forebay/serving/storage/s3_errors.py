"""What S3 and boto3 say when they fail, in our words."""

import os
from collections.abc import Callable, Mapping

from botocore import exceptions as boto
from botocore import parsers

from forebay.serving.storage import wording
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.s3_transport import EndlessAnswerError, RedirectedError
from forebay.serving.storage.words import S3

_CODES: dict[str, Reason] = {
    "NoSuchBucket": Reason.BUCKET_NOT_FOUND,
    "InvalidBucketName": Reason.BUCKET_NOT_FOUND,
    "NoSuchKey": Reason.NOT_FOUND,
    "NotFound": Reason.NOT_FOUND,
    "404": Reason.NOT_FOUND,
    "AccessDenied": Reason.ACCESS_DENIED,
    "AllAccessDisabled": Reason.ACCESS_DENIED,
    "403": Reason.ACCESS_DENIED,
    "InvalidAccessKeyId": Reason.ACCESS_DENIED,
    "SignatureDoesNotMatch": Reason.ACCESS_DENIED,
    "InvalidObjectState": Reason.ACCESS_DENIED,
    "RequestTimeTooSkewed": Reason.ACCESS_DENIED,
    "ExpiredToken": Reason.CREDENTIALS_EXPIRED,
    "ExpiredTokenException": Reason.CREDENTIALS_EXPIRED,
    "TokenRefreshRequired": Reason.CREDENTIALS_EXPIRED,
    "InvalidToken": Reason.CREDENTIALS_EXPIRED,
    "PermanentRedirect": Reason.WRONG_REGION,
    "AuthorizationHeaderMalformed": Reason.WRONG_REGION,
    "IllegalLocationConstraintException": Reason.WRONG_REGION,
    "301": Reason.WRONG_REGION,
    "PreconditionFailed": Reason.CORRUPT_DOWNLOAD,
    "412": Reason.CORRUPT_DOWNLOAD,
}

# Said instead of the reason's own advice.
_ADVICE: dict[str, str] = {
    "InvalidAccessKeyId": "the server doesn't know this AWS_ACCESS_KEY_ID: look for a typing error, or for a key of "
    "another server (AWS_ENDPOINT_URL)",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY doesn't belong to this AWS_ACCESS_KEY_ID: copy both again, "
    "without spaces or line ends",
    "InvalidObjectState": "the object is archived (Glacier): restore it first",
    "RequestTimeTooSkewed": "this machine's clock differs from the server's: set the clock",
}

_SAID: Mapping[Reason, Callable[[str], StorageError]] = {
    Reason.BUCKET_NOT_FOUND: S3.no_bucket,
    Reason.NOT_FOUND: S3.gone,
    Reason.ACCESS_DENIED: S3.denied,
    Reason.CREDENTIALS_EXPIRED: S3.expired,
    Reason.CORRUPT_DOWNLOAD: S3.replaced,
}


def from_client_error(error: boto.ClientError, *, where: str, signed: bool) -> StorageError:
    """Translate an answer of the server. `where` names bucket and key; `signed` says that credentials were sent."""
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    if error.operation_name.startswith("AssumeRole"):
        return _no_session(error.operation_name, code, where=where)
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    reason = _CODES.get(code)
    if reason is None and code == "InvalidArgument" and "region" in str(details.get("Message", "")):
        reason = Reason.WRONG_REGION
    if reason is None:
        # Not transient: boto3 has tried four times by now.
        return wording.server_error(where, f"{status} {code}")
    if reason is Reason.ACCESS_DENIED and not signed:
        return S3.missing_credentials(where)
    if reason is Reason.WRONG_REGION:
        region = details.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
        where_to = region or "the region of the bucket"
        return StorageError(reason, f"{where}: the bucket lies in another region: set AWS_REGION to {where_to}")
    if (advice := _ADVICE.get(code)) is not None:
        return StorageError(reason, f"{where}: {advice}")
    return _SAID[reason](where)


def _no_session(operation: str, code: str, *, where: str) -> StorageError:
    """Say that STS doesn't give a role's credentials: this isn't about the bucket yet."""
    role = os.environ.get("AWS_ROLE_ARN") or "the role of the profile"
    if code in ("ExpiredTokenException", "ExpiredToken"):
        return StorageError(
            Reason.CREDENTIALS_EXPIRED,
            f"{where}: STS says that the token for {role} has expired: look at AWS_WEB_IDENTITY_TOKEN_FILE, which "
            "something must renew (in a pod Kubernetes does), and at this machine's clock",
        )
    who = (
        "the ServiceAccount (system:serviceaccount:NAMESPACE:NAME) and the cluster's OIDC provider"
        if operation == "AssumeRoleWithWebIdentity"
        else "whoever these credentials belong to"
    )
    return StorageError(
        Reason.ACCESS_DENIED,
        f"{where}: STS answers {code}, so that {role} can't be assumed: let the role's trust policy name {who}, and "
        "look for a typing error in its ARN",
    )


_LISTING = (boto.PaginationError, parsers.ResponseParserError, EndlessAnswerError)
_UNREACHABLE = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)
# What boto3 finds on its own, most special class first; the lambdas take where it was, and the server.
_FOUND: tuple[tuple[tuple[type[Exception], ...], Callable[[str, str], StorageError]], ...] = (
    (_NO_CREDENTIALS, lambda where, _: S3.missing_credentials(where)),
    ((boto.SSLError,), lambda where, _: wording.untrusted(where, "AWS_CA_BUNDLE")),
    (_UNREACHABLE, S3.unreachable),
    ((boto.IncompleteReadError, boto.ResponseStreamingError), lambda where, _: wording.breaks_off(where)),
    ((boto.FlexibleChecksumError,), lambda where, _: S3.damaged(where, "checksum")),
    ((boto.HTTPClientError,), S3.unreachable),
    (_LISTING, lambda where, server: S3.not_storage(where, server, "S3")),
    (
        (RedirectedError,),
        lambda where, server: StorageError(
            Reason.SERVER_ERROR,
            f"{where}: {server} sends requests on to another address, which isn't followed: set AWS_ENDPOINT_URL to "
            "the server itself",
        ),
    ),
    (
        (boto.InvalidRegionError, boto.NoRegionError),
        lambda where, _: StorageError(
            Reason.WRONG_REGION, f"{where}: AWS_REGION isn't a region: set it to the bucket's, like eu-west-1"
        ),
    ),
    ((boto.ParamValidationError,), lambda where, _: S3.no_name(where)),
)


def from_boto_error(error: boto.BotoCoreError, *, where: str, endpoint: str) -> StorageError:
    """Translate what boto3 found on its own: no connection, no credentials, wrong bytes."""
    for kinds, say in _FOUND:
        if isinstance(error, kinds):
            return say(where, endpoint)
    return StorageError(Reason.SERVER_ERROR, f"{where}: boto3 says {type(error).__name__}: look at the AWS_* variables")
