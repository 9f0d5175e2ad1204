"""Names of images, as registries have them."""

import re
from typing import NamedTuple

from forebay.build.errors import BuildError
from forebay.serving.storage.oci_registry import Reference

_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?"
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?P<host>{_HOST})/(?P<path>{_PART}(/{_PART})*)(:(?P<tag>\w[\w.-]{{0,127}}))?(@(?P<digest>sha256:[0-9a-f]{{64}}))?",
    re.ASCII,
)
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[::1\]")


class ImageName(NamedTuple):
    """REGISTRY/REPOSITORY:TAG, or with a digest."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine: it may do without TLS."""
        return _LOOPBACK.fullmatch(self.registry.removesuffix(f":{self.registry.rpartition(':')[2]}")) is not None

    @property
    def reference(self) -> Reference:
        """As the registry's client takes it."""
        return Reference(self.registry, self.repository, self.digest or self.tag or "latest")

    def pin(self, digest: str) -> str:
        """The same by what it is now."""
        return f"{self.registry}/{self.repository}@{digest}"

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def read_name(text: str) -> ImageName:
    """An image's name. Raises BuildError."""
    found = _NAME.fullmatch(text)
    host = found["host"] if found else ""
    # Docker would take a first part with no dot for a folder of its own registry.
    if found is None or not ({".", ":"} & set(host) or host == "localhost"):
        hub = f", as in docker.io/{text}" if re.fullmatch(rf"{_PART}(/{_PART})*(:[\w.-]+)?", text) else ""
        raise BuildError(
            f"{text} names no image: write REGISTRY/NAME:TAG{hub}, the name in lower-case letters, digits, `-`, `_`, "
            "`.` and `/`"
        )
    return ImageName(host, found["path"], found["tag"] or "", found["digest"] or "")


def read_target(text: str) -> ImageName:
    """The name of an image that is to be pushed. Raises BuildError."""
    name = read_name(text)
    if name.digest:
        raise BuildError(f"{text}: the digest follows from what is built: write {name.registry}/{name.repository}:TAG")
    return name if name.tag else name._replace(tag="latest")
