"""Which storage an address is of. Each one's library is imported when it is needed: it takes half a second."""

from forebay.serving.storage import mounted
from forebay.serving.storage.download import WORKERS
from forebay.serving.storage.errors import Reason, StorageError, split
from forebay.serving.storage.source import Source

# Addresses may carry a fragment or a signature, so they are matched by their beginning alone.
_HTTPS, _S3, _GS, _AZ, _HF, _OCI = "https://", "s3://", "gs://", "az://", "hf://", "oci://"
_ARTIFACTS = "mlflow-artifacts:/"


def open_source(uri: str, *, allow_loopback: bool) -> Source:
    """The storage that an address is of. Raises StorageError(UnsupportedURI)."""
    split(uri)
    found = _open_cloud(uri) or _open_web(uri, allow_loopback=allow_loopback)
    if found is not None:
        return found
    if uri.startswith(mounted.SCHEMES):
        raise StorageError(
            Reason.UNSUPPORTED_URI, f"{uri} is a volume that a pod mounts: mount it, and say where by --mounted-at"
        )
    scheme = uri.partition(":")[0]
    raise StorageError(
        Reason.UNSUPPORTED_URI,
        f"{scheme}: is no scheme that is understood: write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, "
        "az://ACCOUNT/CONTAINER/PREFIX, hf://ORG/MODEL, oci://REGISTRY/REPOSITORY:TAG, https://HOST/FILE or file:/PATH",
    )


def _open_cloud(uri: str) -> Source | None:
    """Where the installation's or the credentials' owner says which server is asked."""
    if uri.startswith(_S3):
        from forebay.serving.storage.s3 import S3Source  # noqa: PLC0415

        return S3Source(uri, connections=WORKERS)
    if uri.startswith(_GS):
        from forebay.serving.storage.gs import GsSource  # noqa: PLC0415

        return GsSource(uri, connections=WORKERS)
    if uri.startswith(_AZ):
        from forebay.serving.storage.az import AzSource  # noqa: PLC0415

        return AzSource(uri)
    return None


def _open_web(uri: str, *, allow_loopback: bool) -> Source | None:
    """Where an address, or what a server answers, may lead anywhere."""
    if uri.startswith(_HF):
        from forebay.serving.storage.hf import HfSource  # noqa: PLC0415

        return HfSource(uri, connections=WORKERS, allow_loopback=allow_loopback)
    if uri.startswith(_OCI):
        from forebay.serving.storage.oci import OciSource  # noqa: PLC0415

        return OciSource(uri, connections=WORKERS, allow_loopback=allow_loopback)
    if uri.startswith(_HTTPS):
        from forebay.serving.storage.https import HttpsSource  # noqa: PLC0415

        return HttpsSource(uri, connections=WORKERS, allow_loopback=allow_loopback)
    if uri.startswith(_ARTIFACTS):
        from forebay.serving.storage.mlflow import MlflowSource  # noqa: PLC0415

        return MlflowSource(uri, connections=WORKERS, allow_loopback=allow_loopback)
    return None
