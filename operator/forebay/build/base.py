"""The image below: found in its registry for each platform, and never unpacked."""

import hashlib
import json
import platform as machine
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.build.errors import BuildError
from forebay.build.image import Descriptor, join_platform, read_descriptor, read_env
from forebay.build.names import ImageName
from forebay.build.registry import CONNECTIONS
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.oci_registry import MOST_BYTES, Registry
from forebay.serving.storage.retry import LIST_TRIES, retried

Json = dict[str, Any]

# On the runtime and on what is built from it: the version of the forebay.serving inside.
RUNTIME_LABEL = "dev.forebay.runtime"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class Base:
    """The image below, for one platform. `digest` is that of its manifest."""

    platform: str
    digest: str
    config: Json
    layers: Sequence[Descriptor]

    @property
    def python(self) -> str:
        """The Python inside, as 3.13; empty where the image doesn't tell."""
        found = re.match(r"3\.\d+", read_env(self.config).get("PYTHON_VERSION", ""))
        return found[0] if found else ""

    @property
    def is_runtime(self) -> bool:
        """Whether it says that it can serve a script."""
        return RUNTIME_LABEL in ((self.config.get("config") or {}).get("Labels") or {})


class BaseImage:
    """An image in a registry, to build on."""

    def __init__(self, name: ImageName, *, allow_loopback: bool, plain: bool) -> None:
        self.name = name
        self._registry = Registry(name.reference, connections=CONNECTIONS, allow_loopback=allow_loopback, plain=plain)

    def find(self, platforms: Sequence[str]) -> list[Base]:
        """The image for each platform. Raises BuildError where it lacks one."""
        try:
            return retried(lambda: self._find(platforms), tries=LIST_TRIES)
        except StorageError as error:
            raise _explain(error, self.name) from error

    def read(self, blob: Descriptor) -> Iterator[bytes]:
        """Stream a blob of it. Raises StorageError."""
        yield from self._registry.read_blob(blob.digest, None)

    def close(self) -> None:
        """Let the connections go."""
        self._registry.close()

    def _find(self, platforms: Sequence[str]) -> list[Base]:
        body = self._registry.read_document(self.name.reference.version)
        document = _parse(body)
        if "manifests" not in document:
            return [self._read_one(body, platforms)]
        entries = {join_platform(each.get("platform") or {}): each for each in document["manifests"]}
        found = []
        for platform in platforms:
            entry = entries.get(platform) or next((entries[each] for each in entries if _fits(each, platform)), None)
            if entry is None:
                raise self._lacks(platform, [each for each in entries if "unknown" not in each])
            found.append(self._read(platform, self._registry.read_document(str(entry["digest"]))))
        return found

    def _read_one(self, body: bytes, platforms: Sequence[str]) -> Base:
        base = self._read("", body)
        there = join_platform(base.config)
        for platform in platforms:
            if not _fits(there, platform):
                raise self._lacks(platform, [there])
        return Base(platform=platforms[0], digest=base.digest, config=base.config, layers=base.layers)

    def _read(self, platform: str, body: bytes) -> Base:
        manifest = _parse(body)
        if "config" not in manifest or not isinstance(manifest.get("layers"), list):
            raise BuildError(f"{self.name} is no container image, but something else that registries keep")
        config = read_descriptor(manifest["config"])
        if config.size > MOST_BYTES:
            raise BuildError(f"{self.name} is no container image: its config is larger than {MOST_BYTES} bytes")
        return Base(
            platform=platform,
            digest=f"sha256:{hashlib.sha256(body).hexdigest()}",
            config=_parse(b"".join(self.read(config))),
            layers=[read_descriptor(each) for each in manifest["layers"]],
        )

    def _lacks(self, platform: str, there: Sequence[str]) -> BuildError:
        return BuildError(
            f"{self.name} is not for {platform}: it is for {', '.join(sorted(there))}. Write one of these as platform, "
            f"or another base"
        )


def choose_platform() -> str:
    """That of this machine."""
    name = machine.machine()
    return f"linux/{_ARCHITECTURES.get(name, name)}"


def _fits(there: str, wanted: str) -> bool:
    """linux/arm64 is linux/arm64/v8, which is the only one."""
    return there == wanted or there.startswith(f"{wanted}/") or (wanted == "linux/arm64/v8" and there == "linux/arm64")


def _parse(body: bytes) -> Json:
    said: Mapping[str, Any] | None
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise StorageError(Reason.SERVER_ERROR, "the server answers something else than a registry does")
    return said


def _explain(error: StorageError, name: ImageName) -> BuildError:
    if error.reason is Reason.CREDENTIALS_MISSING:
        return BuildError(
            f"the base {name} isn't public, or isn't there: correct the base, or `docker login {name.registry}` (in an "
            "ImageBuild: spec.pushSecretName)"
        )
    plain = (
        f"; if {name.registry} has no TLS, say so: --insecure" if error.reason is Reason.ENDPOINT_UNREACHABLE else ""
    )
    return BuildError(f"the base can't be had: {error.message}{plain}", passing=error.transient)
