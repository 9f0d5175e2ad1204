"""Reading objects of S3 with botocore's signer and urllib3 alone: boto3 takes 3 ms of CPU for each request.

Only what goes well is answered here. For everything else boto3 asks again: errors, redirects, and whatever is set up in
a way of its own.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ResponseStreamingError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
READ_BYTES = 256 * 1024
_PROBE = "forebay-probe"
_OK = (200, 206)


class LeanGet:
    """GET requests to one bucket."""

    def __init__(self, session: Any, client: Any, bucket: str, *, connections: int) -> None:
        """Learn from boto3's own client where the bucket is, and what is signed with."""
        self._credentials, self._region = session.get_credentials(), client.meta.region_name
        self._base = _find_base(client, bucket)
        self._usable = not get_environ_proxies(self._base) and not bucket.endswith("--x-s3")
        # As botocore reads it: AWS_CA_BUNDLE, or ca_bundle of the profile.
        trusted = session._session.get_config_variable("ca_bundle") or True
        secure = {"ca_certs": get_cert_path(trusted)} if self._base.startswith("https:") else {}
        self._pool = urllib3.connection_from_url(
            self._base,
            maxsize=connections,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            **secure,
        )
        self._path = urlsplit(self._base).path

    def get(self, key: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse | None:
        """The answer, whose body is still to be read; None where boto3 has to ask."""
        if not self._usable:
            return None
        name = quote(key, safe="/~")
        request = AWSRequest("GET", self._base + name, headers={"x-amz-checksum-mode": "ENABLED"})
        if self._credentials is not None:
            # Frozen: refreshed when it is due, and not in the middle of a signature.
            S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        try:
            answer = self._pool.urlopen(
                "GET",
                self._path + name,
                headers={**request.headers, **headers},
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except HTTPError:
            return None
        if answer.status in _OK and "content-encoding" not in answer.headers:
            return answer
        answer.close()
        return None

    def close(self) -> None:
        """Let the connections go."""
        self._pool.close()


def read_body(answer: urllib3.BaseHTTPResponse, *, expected_bytes: int) -> Iterator[bytes]:
    """Stream a body, and let the connection be used again. Raises ResponseStreamingError, as botocore does.

    What is longer than expected is read one byte too far, and no further.
    """
    left = expected_bytes
    try:
        while data := answer.read(min(READ_BYTES, max(left, 1)), decode_content=False):
            left -= len(data)
            yield data
            if left < 0:
                break
    except HTTPError as error:
        raise ResponseStreamingError(error=error) from error
    finally:
        if left:
            answer.close()
        answer.release_conn()


def _find_base(client: Any, bucket: str) -> str:
    """The address of the bucket with a slash at its end: endpoints, regions and address styles are boto3's business."""
    signed = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE})
    return str(signed).partition("?")[0].removesuffix(_PROBE)
