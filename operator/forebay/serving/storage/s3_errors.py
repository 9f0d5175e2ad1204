"""What S3 and boto3 say when they fail, in our words."""

import os

from botocore import exceptions as boto
from botocore import parsers

from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.s3_transport import EndlessAnswerError, RedirectedError

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

_REASON_ADVICE: dict[Reason, str] = {
    Reason.BUCKET_NOT_FOUND: "there is no such bucket: look for a typing error, or for a bucket of another server "
    "(AWS_ENDPOINT_URL)",
    Reason.NOT_FOUND: "the object is gone: it was deleted during the download; run this again",
    Reason.ACCESS_DENIED: "the credentials don't allow it, or there is no such bucket: grant s3:ListBucket on the "
    "bucket and s3:GetObject on its objects",
    Reason.CREDENTIALS_EXPIRED: "the session has expired: get a new AWS_SESSION_TOKEN, with the key and secret that "
    "belong to it",
    Reason.WRONG_REGION: "the bucket lies in another region: set AWS_REGION to",
    Reason.CORRUPT_DOWNLOAD: "the object was replaced during the download: run this again",
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
        advice = "run this again, and look at the server's own log if it goes on"
        return StorageError(Reason.SERVER_ERROR, f"{where}: the server answers {status} {code}: {advice}")
    if reason is Reason.ACCESS_DENIED and not signed:
        return credentials_missing(where)
    advice = _ADVICE.get(code) or _REASON_ADVICE[reason]
    if reason is Reason.WRONG_REGION:
        region = details.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
        advice = f"{advice} {region or 'the region of the bucket'}"
    return StorageError(reason, f"{where}: {advice}")


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


def credentials_missing(where: str) -> StorageError:
    """Say that there are no credentials, and that it doesn't go without."""
    return StorageError(
        Reason.CREDENTIALS_MISSING,
        f"{where} isn't public, and no credentials are set: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
        "(in a ModelDeployment: spec.model.credentials.secretName)",
    )


_NO_LISTING = "{endpoint} answers something else than S3 does: look at AWS_ENDPOINT_URL, and at the server's own log"
# What boto3 finds on its own, most special class first. {} is filled with bucket and key, and with the server.
_FOUND: tuple[tuple[tuple[type[Exception], ...], Reason, bool, str], ...] = (
    (
        (boto.SSLError,),
        Reason.ENDPOINT_UNREACHABLE,
        False,
        "{endpoint} has a certificate that isn't trusted: set AWS_CA_BUNDLE to the file of its authority",
    ),
    (
        (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError),
        Reason.ENDPOINT_UNREACHABLE,
        True,
        "{endpoint} can't be reached: look at AWS_ENDPOINT_URL, name resolution and network policies",
    ),
    (
        (boto.IncompleteReadError, boto.ResponseStreamingError),
        Reason.CORRUPT_DOWNLOAD,
        True,
        "{where} breaks off, again and again: look at the limits of the server, or of the proxy before it",
    ),
    (
        (boto.FlexibleChecksumError,),
        Reason.CORRUPT_DOWNLOAD,
        True,
        "{where}: the bytes that arrived don't match the object's checksum: upload it again if this stays",
    ),
    (
        (boto.HTTPClientError,),
        Reason.ENDPOINT_UNREACHABLE,
        True,
        "{endpoint} stopped answering while {where} was read: run this again (it goes on where it stopped)",
    ),
    ((boto.PaginationError, parsers.ResponseParserError, EndlessAnswerError), Reason.SERVER_ERROR, False, _NO_LISTING),
    (
        (RedirectedError,),
        Reason.SERVER_ERROR,
        False,
        "{endpoint} sends requests on to another address, which isn't followed: set AWS_ENDPOINT_URL to the server "
        "itself",
    ),
    (
        (boto.InvalidRegionError, boto.NoRegionError),
        Reason.WRONG_REGION,
        False,
        "AWS_REGION isn't a region: set it to the bucket's, like eu-west-1",
    ),
    (
        (boto.ParamValidationError,),
        Reason.BUCKET_NOT_FOUND,
        False,
        "{where}: S3 can't have such a bucket or key: correct the uri",
    ),
)


def from_boto_error(error: boto.BotoCoreError, *, where: str, endpoint: str) -> StorageError:
    """Translate what boto3 found on its own: no connection, no credentials, wrong bytes."""
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        return credentials_missing(where)
    for kinds, reason, transient, text in _FOUND:
        if isinstance(error, kinds):
            return StorageError(reason, text.format(where=where, endpoint=endpoint), transient=transient)
    return StorageError(Reason.SERVER_ERROR, f"{where}: boto3 says {type(error).__name__}: look at the AWS_* variables")
