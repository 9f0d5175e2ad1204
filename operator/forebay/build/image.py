"""The documents of an image, as OCI has them: config, manifest, index. Pure: the same input, the same bytes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]

_PREFIX = "application/vnd.oci.image"
CONFIG, MANIFEST, INDEX = (f"{_PREFIX}.{kind}.v1+json" for kind in ("config", "manifest", "index"))
TAR, TAR_GZIP = f"{_PREFIX}.layer.v1.tar", f"{_PREFIX}.layer.v1.tar+gzip"
# What Docker's own tools call the same.
_DOCKER = "application/vnd.docker"
DOCKER_INDEX = f"{_DOCKER}.distribution.manifest.list.v2+json"
_DOCKER_LAYERS = {
    f"{_DOCKER}.image.rootfs.diff.tar.gzip": TAR_GZIP,
    f"{_DOCKER}.image.rootfs.diff.tar": TAR,
    f"{_DOCKER}.image.rootfs.diff.tar.zstd": f"{TAR}+zstd",
}


class Descriptor(NamedTuple):
    """What a manifest says of a blob."""

    media_type: str
    digest: str
    size: int

    def build(self, **more: Any) -> Json:
        """The entry."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **more}


def read_descriptor(entry: Mapping[str, Any]) -> Descriptor:
    """An entry of a manifest, Docker's types by OCI's names."""
    kind = str(entry["mediaType"])
    return Descriptor(_DOCKER_LAYERS.get(kind, kind), str(entry["digest"]), int(entry["size"]))


class Document(NamedTuple):
    """A config, a manifest or an index, as it is pushed."""

    descriptor: Descriptor
    body: bytes


def hash_bytes(body: bytes) -> str:
    """The digest of a blob."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def write_document(media_type: str, content: Mapping[str, Any]) -> Document:
    """A document's bytes, and what they are called by."""
    body = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return Document(Descriptor(media_type, hash_bytes(body), len(body)), body)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a container of the image is started with, over what the base says."""

    entrypoint: Sequence[str] = ()
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = ()


def read_env(config: Mapping[str, Any]) -> dict[str, str]:
    """The environment that an image's config sets."""
    entries = (config.get("config") or {}).get("Env") or ()
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def build_config(base: Mapping[str, Any], diffs: Mapping[str, str], settings: Settings, *, created: str = "") -> Json:
    """The config of an image that lies over `base`, whose layers have these diff ids, by what each is called."""
    ran = dict(base.get("config") or {})
    env = {**read_env(base), **settings.env}
    ran["Env"] = [f"{name}={value}" for name, value in env.items()]
    if settings.entrypoint:
        ran["Entrypoint"] = list(settings.entrypoint)
        ran.pop("Cmd", None)
    if settings.user:
        ran["User"] = settings.user
    if settings.ports:
        ran["ExposedPorts"] = {**(ran.get("ExposedPorts") or {}), **{f"{port}/tcp": {} for port in settings.ports}}
    if settings.labels:
        ran["Labels"] = {**(ran.get("Labels") or {}), **settings.labels}
    below = base.get("rootfs") or {}
    kept = {name: base[name] for name in ("architecture", "os", "variant", "os.version", "os.features") if name in base}
    told = [{"created_by": f"forebay build: {name}", **({"created": created} if created else {})} for name in diffs]
    history = {"history": [*base["history"], *told]} if base.get("history") else {}
    return {
        **kept,
        **({"created": created} if created else {}),
        "config": ran,
        "rootfs": {"type": "layers", "diff_ids": [*(below.get("diff_ids") or ()), *diffs.values()]},
        **history,
    }


def build_manifest(
    config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str] | None = None
) -> Document:
    """The manifest of one platform's image."""
    content: Json = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.build(),
        "layers": [layer.build() for layer in layers],
    }
    return write_document(MANIFEST, content | ({"annotations": dict(annotations)} if annotations else {}))


def build_index(manifests: Mapping[str, Descriptor]) -> Document:
    """The index of an image for several platforms, by platform."""
    entries = [each.build(platform=split_platform(platform)) for platform, each in sorted(manifests.items())]
    return write_document(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def split_platform(platform: str) -> Json:
    """`linux/arm64/v8` as an index has it."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def join_platform(platform: Mapping[str, Any]) -> str:
    """A platform as people write it: linux/amd64."""
    return "/".join(str(platform[part]) for part in ("os", "architecture", "variant") if platform.get(part))
