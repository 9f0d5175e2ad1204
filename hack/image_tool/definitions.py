"""The images, layer by layer: what seldom changes lies below, so that a change of code is small."""

import platform
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import NamedTuple

from cluster_tool.places import REPOSITORY

from forebay.build import image as documents
from forebay.build.base import RUNTIME_LABEL
from forebay.build.tree import Tree, place
from forebay.local.envoy_binary import find_envoy
from forebay.local.triton.environment import ensure_triton
from image_tool.base import PREFIX, USER, build_identity, build_python_layer, compile_files, find_files
from image_tool.dependencies import PACKAGES, VENV, build_dependency_layer
from image_tool.layers import BuiltLayer, Layer, hash_file, hash_files, hash_text
from image_tool.libraries import find_libraries
from image_tool.triton import build_triton_layer

PACKAGE = REPOSITORY / "operator/forebay"
DRAIN = PACKAGE / "serving/drain.py"
ENVOY_TAG = "1.40.0"
STORE_TAG = "4.48"
PATH = "/usr/local/bin:/usr/bin:/bin"
PYTHON_ENV = {
    "PYTHON_VERSION": platform.python_version(),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "LANG": "C.UTF-8",
}
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


class Image(NamedTuple):
    name: str
    layers: list[Layer]
    env: Mapping[str, str]
    entrypoint: list[str]
    # A tag that stays, beside the one that names the content.
    tag: str | None = None
    labels: Mapping[str, str] = {}


def define_images(say: Callable[[str], None]) -> dict[str, Image]:
    python = build_python_layer()
    venv = {"PATH": f"{VENV}/bin:{PATH}", "VIRTUAL_ENV": VENV, **PYTHON_ENV}
    triton = build_triton_layer(ensure_triton(say), python)
    drain = Layer("drain", hash_file(DRAIN), lambda: {"/opt/forebay/drain.py": DRAIN})
    images = [
        Image("operator", [python, build_dependency_layer("operator"), build_package_layer("operator")], venv, []),
        Image(
            "runtime",
            [python, build_dependency_layer("runtime"), build_package_layer("runtime"), drain],
            venv,
            [],
            labels={RUNTIME_LABEL: VERSION},
        ),
        Image("triton", [python, triton, drain], {"PATH": PATH, **PYTHON_ENV}, []),
        Image("envoy", [build_envoy_layer()], {"PATH": PATH}, [f"{PREFIX}/bin/envoy"], ENVOY_TAG),
        Image("store", [build_store_layer()], {"PATH": PATH}, [f"{PREFIX}/bin/weed"], STORE_TAG),
    ]
    return {image.name: image for image in images}


def build_package_layer(image: str) -> Layer:
    """Forebay itself: all of it, or what serves, downloads and keeps models."""
    roots = [PACKAGE] if image == "operator" else [PACKAGE / "serving", PACKAGE / "node"]
    files = {root: find_files(root) for root in roots}
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires("forebay") or ())
    metadata = f"Metadata-Version: 2.1\nName: forebay\nVersion: {VERSION}\n{needs}"

    def build() -> Tree:
        return {
            f"{PACKAGES}/forebay/__init__.py": PACKAGE / "__init__.py",
            f"{PACKAGES}/forebay-{VERSION}.dist-info/METADATA": metadata.encode(),
            **{
                path: content
                for root, found in files.items()
                for path, content in place(
                    compile_files(found), f"{PACKAGES}/{root.relative_to(PACKAGE.parent)}"
                ).items()
            },
        }

    sources = hash_files(
        PACKAGE, {PACKAGE / "__init__.py", *(each for found in files.values() for each in found.values())}
    )
    return Layer(f"forebay-{image}", hash_text(PACKAGES, metadata, sources), build)


def build_envoy_layer() -> Layer:
    binary = find_envoy()

    def build() -> Tree:
        return {**build_identity(), **find_libraries([binary]), f"{PREFIX}/bin/envoy": binary}

    return Layer("envoy", hash_text(binary.stat().st_size, binary.stat().st_mtime_ns, platform.libc_ver()), build)


def build_store_layer() -> Layer:
    """An S3 server for demos and tests: one program, linked statically."""
    binary = Path(sys.executable).with_name("weed")

    def build() -> Tree:
        return {**build_identity(), f"{PREFIX}/bin/weed": binary}

    return Layer("store", hash_text(binary.stat().st_size, binary.stat().st_mtime_ns), build)


def build_config(image: Image, built: Sequence[BuiltLayer]) -> documents.Document:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    settings = documents.Settings(
        entrypoint=image.entrypoint,
        user=f"{USER}:{USER}",
        # Nothing at home: the root is read-only.
        env={**image.env, "HOME": "/tmp"},  # noqa: S108
        labels=image.labels,
    )
    base = {"architecture": architecture, "os": "linux", "config": {"WorkingDir": "/"}}
    diffs = {layer.name: f"sha256:{made.digest}" for layer, made in zip(image.layers, built, strict=True)}
    return documents.write_document(documents.CONFIG, documents.build_config(base, diffs, settings))
