"""The API's place in the cluster: its certificates in a Secret, and their authority in the APIService."""

import asyncio
import base64
import json
import logging
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import API_SERVICE, CONFIG_MAP, SECRET
from forebay.metrics_api.answers import GROUP, VERSION
from forebay.metrics_api.certificates import VALID, Certificates, make_certificates
from forebay.metrics_api.settings import MetricsApiSettings

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_MERGE = "application/merge-patch+json"
_MANAGER = "forebay-metrics"
# Where every cluster tells extensions by which certificates its apiserver comes:
# https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
_CALLERS = CONFIG_MAP.path(namespace="kube-system", name="extension-apiserver-authentication")
_PERIOD_S = 3600.0
_RETRY_S = 5.0
_TRIES = 5


class Registration:
    """Keeps the certificates, and who may call, up to date in `context`, which a server listens with."""

    def __init__(self, client: Client, settings: MetricsApiSettings, *, valid: timedelta = VALID) -> None:
        self._client = client
        self._settings = settings
        self._valid = valid
        self._callers: frozenset[str] = frozenset()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.verify_mode = ssl.CERT_REQUIRED

    def is_trusted(self, request: web.Request) -> bool:
        """Whether it is the apiserver that asks: TLS has checked by whom its certificate was signed."""
        found: Json = (request.transport and request.transport.get_extra_info("peercert")) or {}
        names = {value for part in found.get("subject", ()) for key, value in part if key == "commonName"}
        return bool(found) and (not self._callers or bool(names & self._callers))

    async def run(self) -> None:
        """Look again now and then, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            try:
                await self.renew()
            except (ApiError, *UNANSWERED) as error:
                _log.warning("the certificates were not looked at: %s", error)

    async def begin(self) -> None:
        """As `renew`, and tried again until it works: without certificates there is nothing to serve."""
        while True:
            try:
                await self.renew()
            except (ApiError, *UNANSWERED) as error:
                _log.warning("no certificates yet: %s", error)
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def renew(self) -> None:
        """Make certificates if it is time, tell the apiserver of them, and serve with them."""
        certificates = await self._find_certificates()
        await self._register(certificates.authorities)
        callers: Json = (await self._client.read(_CALLERS)).get("data", {})
        self._callers = frozenset(json.loads(callers.get("requestheader-allowed-names") or "[]"))
        self.context.load_verify_locations(cadata=callers["requestheader-client-ca-file"])
        await asyncio.to_thread(self._load, certificates)

    def _load(self, certificates: Certificates) -> None:
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
            certificate.write_text(certificates.certificate)
            key.touch(mode=0o600)
            key.write_text(certificates.key)
            self.context.load_cert_chain(certificate, key)

    async def _find_certificates(self) -> Certificates:
        """Those of the Secret. Whoever finds that it is time makes others; of two, one wins."""
        names = self._settings.list_hosts()
        place = SECRET.path(namespace=self._settings.namespace, name=self._settings.secret)
        for _ in range(_TRIES):
            found = await self._client.read(place)
            known = _unpack(found.get("data") or {})
            now = datetime.now(UTC)
            if known is not None and not known.is_due(now, names):
                return known
            made = make_certificates(names, now=now, valid=self._valid, earlier=known)
            body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "data": _pack(made)}
            try:
                await self._client.write("PATCH", place, body, content_type=_MERGE, fieldManager=_MANAGER)
            except ApiError as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
                continue
            _log.info("made a certificate that is valid until %s", now + self._valid)
            return made
        raise ApiError(HTTPStatus.CONFLICT, "Conflict", f"the Secret {self._settings.secret} changes all the time")

    async def _register(self, authorities: str) -> None:
        """Write the authorities into the APIService, if that is ours."""
        place = API_SERVICE.path(name=f"{VERSION}.{GROUP}")
        spec = (await self._client.read(place))["spec"]
        service = spec.get("service") or {}
        if (service.get("namespace"), service.get("name")) != (self._settings.namespace, self._settings.service):
            owner = f"{service.get('namespace')}/{service.get('name')}"
            _log.error(
                "%s is served by %s: set autoscaling.provider of the chart to prometheus-adapter or keda", GROUP, owner
            )
            return
        bundle = base64.b64encode(authorities.encode()).decode()
        if spec.get("caBundle") != bundle:
            body = {"spec": {"caBundle": bundle}}
            await self._client.write("PATCH", place, body, content_type=_MERGE, fieldManager=_MANAGER)


def _pack(certificates: Certificates) -> Json:
    parts = {"ca.crt": certificates.authorities, "tls.crt": certificates.certificate, "tls.key": certificates.key}
    return {name: base64.b64encode(text.encode()).decode() for name, text in parts.items()}


def _unpack(data: Json) -> Certificates | None:
    try:
        parts = [base64.b64decode(data[name]).decode() for name in ("ca.crt", "tls.crt", "tls.key")]
    except (KeyError, ValueError):
        return None
    if not all(parts):
        return None
    return Certificates(authorities=parts[0], certificate=parts[1], key=parts[2])
