"""The apiserver, as the agent's own ServiceAccount may ask it."""

import ssl
from pathlib import Path

import httpx

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_S = 20


class Apiserver:
    """A client whose token is read anew for each request: it is renewed while we live."""

    def __init__(self, address: str, account: Path = ACCOUNT) -> None:
        """`account` is the folder of the token, and of the authority that the server is known by."""
        self._account = account
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        # By default Python 3.13 refuses the authorities of clusters made years ago: they have no key identifier.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        # Never by a proxy: the apiserver is near.
        self._client = httpx.Client(base_url=address, verify=context, timeout=_TIMEOUT_S, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        """Read. Raises httpx.HTTPError, OSError."""
        return self._client.get(path, headers=self._authorize())

    def apply(self, path: str, body: object) -> httpx.Response:
        """Apply as the agent. Raises httpx.HTTPError, OSError."""
        return self._client.patch(
            path,
            params={"fieldManager": "forebay-node", "force": "true"},
            json=body,
            headers={**self._authorize(), "content-type": "application/apply-patch+yaml"},
        )

    def _authorize(self) -> dict[str, str]:
        return {"authorization": f"Bearer {(self._account / 'token').read_text().strip()}"}
